#include "webhook/patch_verify.h"

#include "common/base/cleanup.h"
#include "webhook/inject/patch_write.h"
#include "webhook/review.h"
#include "webhook/inject/status_note.h"

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

static int check_object(const cJSON *before, const cJSON *after, struct err *err)
{
    for (const cJSON *a = before->child; a != NULL; a = a->next) {
        const cJSON *b = json_get(after, a->string);
        if (json_get(before, a->string) != a || strcmp(a->string, STATUS_NOTE_KEY) == 0)
            continue; /* null, or one of a key given twice that does not count */
        if (b == NULL)
            return err_set(err, EINVAL, "%s: lost", a->string);
        if (is_longer_list(a, b))
            continue;
        int rc = patch_verify_nothing_lost(a, b, err);
        if (rc < 0)
            return err_wrap(err, rc, "%s", a->string);
    }
    return 0;
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
