#include "webhook/patch_verify.h"

#include "common/base/cleanup.h"
#include "webhook/inject/patch_write.h"
#include "webhook/inject/status_note.h"
#include "webhook/review.h"

#include <stdlib.h>
#include <string.h>

static bool same_scalar(const cJSON *a, const cJSON *b)
{
    if (((a->type ^ b->type) & 0xFF) != 0)
        return false;
    if (cJSON_IsString(a))
        return strcmp(a->valuestring, b->valuestring) == 0;
    return !cJSON_IsNumber(a) || memcmp(&a->valuedouble, &b->valuedouble, sizeof(double)) == 0;
}

static int check_array(const cJSON *before, const cJSON *after, struct err *err)
{
    unsigned i = 0;
    const cJSON *b = after->child;
    for (const cJSON *a = before->child; a != NULL; a = a->next, b = b->next, i++) {
        if (b == NULL)
            return err_set(err, EINVAL, "%u: lost", i);
        int rc = patch_verify_nothing_lost(a, b, err);
        if (rc < 0)
            return err_wrap(err, rc, "%u", i);
    }
    return 0;
}

/* Ours goes after what was there. */
static bool is_longer_list(const cJSON *before, const cJSON *after)
{
    char separator = inject_list_separator(before->string);
    if (separator == '\0' || !cJSON_IsString(before) || !cJSON_IsString(after))
        return false;
    size_t len = strlen(before->valuestring);
    return strncmp(before->valuestring, after->valuestring, len) == 0 &&
           (len == 0 || after->valuestring[len] == separator);
}

struct member {
    const cJSON *item;
    size_t place; /* in the object */
};

struct members {
    struct member *items;
    size_t count;
};

static void members_done(struct members *members)
{
    free(members->items);
}

/* By key, and what stands later in the object first. */
static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = strcmp(x->item->string, y->item->string);
    return order != 0 ? order : x->place < y->place ? 1 : -1;
}

/* The members that count: of a key given twice the last, and none that is null. Sorted by key, so that two objects are
 * compared in one walk: a pod may have 100,000 labels. */
static int members_of(const cJSON *object, struct members *ret)
{
    size_t count = 0, kept = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next)
        count++;
    struct member *items = calloc(count > 0 ? count : 1, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    count = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next, count++)
        items[count] = (struct member){item, count};
    qsort(items, count, sizeof(*items), compare_members);
    const char *last_key = NULL;
    for (size_t i = 0; i < count; i++) {
        bool counts = last_key == NULL || strcmp(items[i].item->string, last_key) != 0;
        last_key = items[i].item->string;
        if (counts && !cJSON_IsNull(items[i].item))
            items[kept++] = items[i];
    }
    *ret = (struct members){items, kept};
    return 0;
}

static int check_member(const cJSON *before, const cJSON *after, struct err *err)
{
    if (strcmp(before->string, STATUS_NOTE_KEY) == 0)
        return 0;
    if (after == NULL)
        return err_set(err, EINVAL, "%s: lost", before->string);
    int rc = is_longer_list(before, after) ? 0 : patch_verify_nothing_lost(before, after, err);
    return rc < 0 ? err_wrap(err, rc, "%s", before->string) : 0;
}

static int check_members(const struct members *before, const struct members *after, struct err *err)
{
    size_t b = 0;
    for (size_t a = 0; a < before->count; a++) {
        const char *key = before->items[a].item->string;
        while (b < after->count && strcmp(after->items[b].item->string, key) < 0)
            b++;
        bool found = b < after->count && strcmp(after->items[b].item->string, key) == 0;
        int rc = check_member(before->items[a].item, found ? after->items[b].item : NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_object(const cJSON *before, const cJSON *after, struct err *err)
{
    CLEANUP(members_done) struct members was = {0}, is = {0};
    int rc = members_of(before, &was);
    if (rc == 0)
        rc = members_of(after, &is);
    return rc < 0 ? err_set(err, -rc, "no memory to compare the pods") : check_members(&was, &is, err);
}

int patch_verify_nothing_lost(const cJSON *before, const cJSON *after, struct err *err)
{
    if (cJSON_IsObject(before) && cJSON_IsObject(after))
        return check_object(before, after, err);
    if (cJSON_IsArray(before) && cJSON_IsArray(after))
        return check_array(before, after, err);
    return cJSON_IsNull(before) || same_scalar(before, after) ? 0 : err_set(err, EINVAL, "changed");
}

static cJSON *pod_of(const struct json *body)
{
    return review_is_review(body->root) ? json_get(json_get(body->root, "request"), "object") : body->root;
}

static int decide_again(const struct policy *policy, const cJSON *pod, bool all, struct err *err)
{
    CLEANUP(patch_done) struct patch patch;
    CLEANUP(inject_plan_done) struct injection_plan plan;
    patch_init(&patch);
    int rc = inject_decide(policy, pod, all, &plan, err);
    if (rc == 0)
        rc = patch_write(&plan, &patch);
    if (rc == 0 && patch.count > 0)
        return err_set(err, EINVAL, "deciding about the patched pod again: expected no patch, got %s",
                       buf_text(&patch.text));
    return rc;
}

int patch_verify(const struct policy *policy, struct span body, bool all, struct span patch, struct err *err)
{
    CLEANUP(json_done) struct json before = {0}, after = {0}, operations = {0};
    if (patch.len == 0)
        return 0;
    int rc = json_read(&before, body.ptr, body.len, err);
    if (rc == 0)
        rc = json_read(&after, body.ptr, body.len, err);
    if (rc == 0)
        rc = json_read(&operations, patch.ptr, patch.len, err);
    if (rc == 0)
        rc = patch_apply(&after, pod_of(&after), &operations, err);
    if (rc == 0)
        rc = patch_verify_nothing_lost(pod_of(&before), pod_of(&after), err);
    if (rc == 0)
        rc = decide_again(policy, pod_of(&after), all, err);
    return rc;
}
