#include "common/pod/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_MIN = 8 * 1024,
    CHUNK_FIRST_MAX = 128 * 1024, /* under malloc's threshold for mmap: most reviews cost no system call */
    CHUNK_FACTOR = 8,             /* bytes of tree for a byte of text: what a pod takes */
    CHUNK_ALIGN = 8,              /* cJSON nodes hold pointers and doubles */
};

struct json_chunk {
    struct json_chunk *next;
    size_t size, used; /* bytes of data */
    char data[] __attribute__((aligned(CHUNK_ALIGN)));
};

/* The document being read: cJSON's hooks take no context. NULL outside json_read. */
static struct arena {
    struct json_chunk *chunks;
    size_t total; /* bytes of all chunks */
    int error;    /* -ENOMEM or -EFBIG: why an allocation failed */
} *arena;

static struct json_chunk *add_chunk(struct arena *a, size_t size)
{
    if (size > JSON_MEMORY_MAX - a->total) {
        a->error = -EFBIG;
        return NULL;
    }
    struct json_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL) {
        a->error = -ENOMEM;
        return NULL;
    }
    *chunk = (struct json_chunk){.next = a->chunks, .size = size};
    a->chunks = chunk;
    a->total += size;
    return chunk;
}

static void *arena_malloc(size_t size)
{
    struct json_chunk *chunk = arena->chunks;
    if (size > JSON_MEMORY_MAX) {
        arena->error = -EFBIG;
        return NULL;
    }
    size = (size + CHUNK_ALIGN - 1) / CHUNK_ALIGN * CHUNK_ALIGN;
    if (chunk == NULL || size > chunk->size - chunk->used) {
        size_t twice = chunk != NULL ? chunk->size * 2 : CHUNK_MIN;
        size_t room = JSON_MEMORY_MAX - arena->total;
        if (twice > room)
            twice = room;
        chunk = add_chunk(arena, size > twice ? size : twice);
        if (chunk == NULL)
            return NULL;
    }
    void *place = chunk->data + chunk->used;
    chunk->used += size;
    return place;
}

static void arena_free(void *place)
{
    (void)place; /* json_done frees the chunks */
}

static void free_chunks(struct json_chunk *chunk)
{
    while (chunk != NULL) {
        struct json_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

static cJSON *parse(struct arena *a, const char *bytes, size_t len, const char **ret_end)
{
    cJSON_Hooks hooks = {.malloc_fn = arena_malloc, .free_fn = arena_free};
    arena = a;
    cJSON_InitHooks(&hooks);
    cJSON *root = cJSON_ParseWithLengthOpts(bytes, len, ret_end, /* require_null_terminated= */ 0);
    cJSON_InitHooks(NULL);
    arena = NULL;
    return root;
}

static bool is_json_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int parse_all(struct arena *a, const char *bytes, size_t len, cJSON **ret_root, struct err *err)
{
    const char *end = bytes;
    size_t first = len * CHUNK_FACTOR < CHUNK_MIN ? CHUNK_MIN : len * CHUNK_FACTOR;
    if (add_chunk(a, first > CHUNK_FIRST_MAX ? CHUNK_FIRST_MAX : first) == NULL)
        return err_set(err, ENOMEM, "no memory to read JSON");
    cJSON *root = parse(a, bytes, len, &end);
    if (root == NULL && a->error == -EFBIG)
        return err_set(err, EFBIG, "expected JSON that takes at most %d bytes of memory", JSON_MEMORY_MAX);
    if (root == NULL && a->error == -ENOMEM)
        return err_set(err, ENOMEM, "no memory to read JSON");
    if (root == NULL)
        return err_set(err, EINVAL, "expected JSON, got something else near byte %zu", (size_t)(end - bytes));
    while (end < bytes + len && is_json_space(*end))
        end++;
    if (end != bytes + len)
        return err_set(err, EINVAL, "expected the end of the JSON at byte %zu", (size_t)(end - bytes));
    *ret_root = root;
    return 0;
}

/* The next \u0000 from an even place on: each backslash escapes what comes after it. NULL when there is none. */
static const char *find_nul_escape(const char *from, const char *end)
{
    static const char nul[] = "\\u0000";
    while (from < end) {
        const char *slash = memchr(from, '\\', (size_t)(end - from));
        if (slash == NULL)
            return NULL;
        if ((size_t)(end - slash) >= sizeof(nul) - 1 && memcmp(slash, nul, sizeof(nul) - 1) == 0)
            return slash;
        from = slash + 2;
    }
    return NULL;
}

/* A copy with each \u0000 made \ufffd; *ret_copy stays NULL when there is none, as in every honest review. */
static int replace_nul_escapes(const char *bytes, size_t len, char **ret_copy)
{
    static const char replacement[] = "\\ufffd";
    const char *found = find_nul_escape(bytes, bytes + len);
    if (found == NULL)
        return 0;
    char *copy = malloc(len);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, bytes, len);
    for (; found != NULL; found = find_nul_escape(found + sizeof(replacement) - 1, bytes + len))
        memcpy(copy + (found - bytes), replacement, sizeof(replacement) - 1);
    *ret_copy = copy;
    return 0;
}

int json_read(struct json *json, const char *bytes, size_t len, struct err *err)
{
    struct arena a = {0};
    char *copy = NULL;
    cJSON *root = NULL;
    if (len > JSON_MEMORY_MAX)
        return err_set(err, EFBIG, "expected JSON of at most %d bytes, got %zu", JSON_MEMORY_MAX, len);
    if (replace_nul_escapes(bytes, len, &copy) < 0)
        return err_set(err, ENOMEM, "no memory to read JSON");
    int rc = parse_all(&a, copy != NULL ? copy : bytes, len, &root, err);
    free(copy);
    if (rc < 0) {
        free_chunks(a.chunks);
        return rc;
    }
    *json = (struct json){.root = root, .chunks = a.chunks};
    return 0;
}

void json_done(struct json *json)
{
    free_chunks(json->chunks);
    *json = (struct json){0};
}

char *json_keep(struct json *json, struct span text)
{
    struct json_chunk *chunk = malloc(sizeof(*chunk) + text.len + 1);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct json_chunk){.next = json->chunks, .size = text.len + 1, .used = text.len + 1};
    json->chunks = chunk;
    memcpy(chunk->data, text.ptr, text.len);
    chunk->data[text.len] = '\0';
    return chunk->data;
}

cJSON *json_get(const cJSON *object, const char *key)
{
    cJSON *found = NULL;
    if (!cJSON_IsObject(object))
        return NULL;
    for (cJSON *item = object->child; item != NULL; item = item->next) {
        if (strcmp(item->string, key) == 0)
            found = item;
    }
    return cJSON_IsNull(found) ? NULL : found;
}

cJSON *json_get_object(const cJSON *object, const char *key)
{
    cJSON *item = json_get(object, key);
    return cJSON_IsObject(item) ? item : NULL;
}

cJSON *json_get_array(const cJSON *object, const char *key)
{
    cJSON *item = json_get(object, key);
    return cJSON_IsArray(item) ? item : NULL;
}

const char *json_get_text(const cJSON *object, const char *key)
{
    const cJSON *item = json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool json_get_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(json_get(object, key));
}

bool json_get_whole(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *ret)
{
    const cJSON *item = json_get(object, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= (double)min && item->valuedouble <= (double)max))
        return false;
    double whole = trunc(item->valuedouble);
    if (whole < item->valuedouble || whole > item->valuedouble)
        return false;
    *ret = (int64_t)whole;
    return true;
}

const char *json_type_name(const cJSON *item)
{
    return cJSON_IsString(item)   ? "a string"
           : cJSON_IsNumber(item) ? "a number"
           : cJSON_IsBool(item)   ? "a boolean"
           : cJSON_IsArray(item)  ? "a list"
           : cJSON_IsObject(item) ? "an object"
                                  : "null";
}
