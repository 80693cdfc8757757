#include "webhook/inject/patch.h"

#include "common/base/cleanup.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"

#include <stdlib.h>
#include <string.h>

void patch_init(struct patch *patch)
{
    *patch = (struct patch){.count = 0};
    buf_init(&patch->text, PATCH_MAX);
    json_text_begin(&patch->json, &patch->text, JSON_TEXT_REQUIRED);
    (void)buf_reserve(&patch->text, PATCH_USUAL); /* without memory for it the patch fails as a whole */
}

void patch_done(struct patch *patch)
{
    buf_done(&patch->text);
    patch->count = 0;
}

/* RFC 6901 §3: "~" becomes "~0", "/" becomes "~1". */
static void write_step(struct json_text *json, const char *key)
{
    json_text_part(json, span_of("/"));
    for (;;) {
        size_t len = strcspn(key, "~/");
        json_text_part(json, (struct span){key, len});
        if (key[len] == '\0')
            break;
        json_text_part(json, span_of(key[len] == '~' ? "~0" : "~1"));
        key += len + 1;
    }
}

struct json_text *patch_begin_add(struct patch *patch, const char *const *keys)
{
    struct json_text *json = &patch->json;
    if (patch->count == 0)
        json_text_open(json, NULL, '[');
    json_text_open(json, NULL, '{');
    json_text_word(json, "op", "add");
    json_text_open(json, "path", '"');
    for (; *keys != NULL; keys++)
        write_step(json, *keys);
    json_text_close(json, '"');
    json_text_key(json, "value");
    return json;
}

void patch_end_add(struct patch *patch)
{
    json_text_close(&patch->json, '}');
    patch->count++;
}

struct json_text *patch_items_next(struct patch_items *items)
{
    const char *const keys[] = {"spec", items->list, items->there ? "-" : NULL, NULL};
    struct json_text *json = &items->patch->json;
    if (items->open && items->there)
        patch_end_add(items->patch);
    if (!items->open || items->there)
        patch_begin_add(items->patch, keys);
    if (!items->open && !items->there)
        json_text_open(json, NULL, '[');
    items->open = true;
    return json;
}

void patch_items_end(struct patch_items *items)
{
    if (!items->open)
        return;
    if (!items->there)
        json_text_close(&items->patch->json, ']');
    patch_end_add(items->patch);
}

int patch_finish(struct patch *patch)
{
    if (patch->count > 0)
        json_text_close(&patch->json, ']');
    return buf_error(&patch->text);
}

/* ---- application ---- */

/* Takes the next step off a path and unescapes it: RFC 6901 §4. -EINVAL on a bad "~". The result is owned. */
static int next_step(const char **path, char **ret)
{
    const char *p = *path + 1;
    char *step = malloc(strcspn(p, "/") + 1);
    size_t len = 0;
    if (step == NULL)
        return -ENOMEM;
    for (; *p != '\0' && *p != '/'; p++) {
        if (*p == '~' && p[1] != '0' && p[1] != '1') {
            free(step);
            return -EINVAL;
        }
        step[len++] = *p != '~' ? *p : p[1] == '0' ? '~' : '/';
        p += *p == '~' ? 1 : 0;
    }
    step[len] = '\0';
    *path = p;
    *ret = step;
    return 0;
}

/* RFC 6901 §4: digits without leading zeros, at most `max`. */
static bool read_index(const char *step, int max, int *ret)
{
    uint64_t index;
    if (step[0] == '0' && step[1] != '\0')
        return false;
    if (number_parse_u64((struct span){step, strlen(step)}, 0, (uint64_t)max, &index, NULL) < 0)
        return false;
    *ret = (int)index;
    return true;
}

static cJSON *descend(const cJSON *parent, const char *step)
{
    int index;
    if (cJSON_IsArray(parent))
        return read_index(step, cJSON_GetArraySize(parent), &index) ? cJSON_GetArrayItem(parent, index) : NULL;
    return json_get(parent, step);
}

static void link_before(cJSON *parent, cJSON *next, cJSON *value)
{
    cJSON *last = parent->child != NULL ? parent->child->prev : NULL; /* cJSON: the first child's prev is the last */
    value->next = next;
    if (parent->child == NULL) {
        parent->child = value;
        value->prev = value;
    } else if (next == NULL) {
        last->next = value;
        value->prev = last;
        parent->child->prev = value;
    } else {
        value->prev = next->prev;
        if (next == parent->child)
            parent->child = value;
        else
            next->prev->next = value;
        next->prev = value;
    }
}

static int add_to_array(cJSON *parent, const char *step, cJSON *value)
{
    int index, size = cJSON_GetArraySize(parent);
    if (strcmp(step, "-") == 0)
        index = size;
    else if (!read_index(step, size, &index))
        return -EINVAL;
    value->string = NULL;
    link_before(parent, index < size ? cJSON_GetArrayItem(parent, index) : NULL, value);
    return 0;
}

/* RFC 6902 §4.1: a member that exists is replaced. */
static int add_to_object(struct json *json, cJSON *parent, const char *step, cJSON *value)
{
    char *key = json_keep(json, (struct span){step, strlen(step)});
    if (key == NULL)
        return -ENOMEM;
    cJSON *item = parent->child;
    while (item != NULL) {
        cJSON *next = item->next;
        if (strcmp(item->string, step) == 0)
            cJSON_DetachItemViaPointer(parent, item); /* stays in its document's memory */
        item = next;
    }
    value->string = key;
    link_before(parent, NULL, value);
    return 0;
}

static int add_at(struct json *json, cJSON *root, const char *path, cJSON *value)
{
    cJSON *parent = root;
    if (path[0] != '/')
        return -EINVAL;
    for (;;) {
        CLEANUP_FREE char *step = NULL;
        int rc = next_step(&path, &step);
        if (rc < 0)
            return rc;
        if (*path == '\0' && cJSON_IsArray(parent))
            return add_to_array(parent, step, value);
        if (*path == '\0')
            return cJSON_IsObject(parent) ? add_to_object(json, parent, step, value) : -EINVAL;
        parent = descend(parent, step);
        if (parent == NULL)
            return -EINVAL;
    }
}

static int apply_one(struct json *json, cJSON *root, cJSON *operation, struct err *err)
{
    struct quoted q;
    const char *op = json_get_text(operation, "op"), *path = json_get_text(operation, "path");
    cJSON *value = cJSON_GetObjectItemCaseSensitive(operation, "value");
    if (op == NULL || strcmp(op, "add") != 0 || path == NULL || value == NULL)
        return err_set(err, EINVAL, "expected an add with path and value");
    cJSON_DetachItemViaPointer(operation, value);
    int rc = add_at(json, root, path, value);
    if (rc == -ENOMEM)
        return err_set(err, ENOMEM, "no memory to apply a patch");
    if (rc < 0)
        return err_set(err, EINVAL, "expected a path whose parent is in the pod, got %s", quote_text(&q, path));
    return 0;
}

int patch_apply(struct json *json, cJSON *root, const struct json *patch, struct err *err)
{
    unsigned i = 0;
    cJSON *operation;
    if (!cJSON_IsArray(patch->root))
        return err_set(err, EINVAL, "expected a list of operations, got %s", json_type_name(patch->root));
    cJSON_ArrayForEach(operation, patch->root)
    {
        int rc = apply_one(json, root, operation, err);
        if (rc < 0)
            return err_wrap(err, rc, "patch operation %u", i);
        i++;
    }
    return 0;
}
