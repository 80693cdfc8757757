#include "webhook/review.h"

#include "common/base/base64.h"
#include "common/base/json_text.h"
#include "common/base/quote.h"

#include <stdio.h>
#include <string.h>

#define V1 "admission.k8s.io/v1"
#define V1BETA1 "admission.k8s.io/v1beta1"

enum { AROUND_PATCH = 512 }; /* bytes of a reply beside its patch, mostly */
enum { HTTP_FORBIDDEN = 403 }; /* metav1.Status of a refusal, as Pod Security and quotas give it */

static bool text_is(const cJSON *object, const char *key, const char *word)
{
    const char *text = json_get_text(object, key);
    return text != NULL && strcmp(text, word) == 0;
}

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static int expected(const cJSON *parent, const char *key, const char *what, struct err *err)
{
    struct quoted q;
    const cJSON *item = json_get(parent, key);
    const char *got = item == NULL           ? "none"
                      : cJSON_IsString(item) ? quote_text(&q, item->valuestring)
                                             : json_type_name(item);
    return err_set(err, EINVAL, "%s: expected %s, got %s", key, what, got);
}

bool review_is_review(const cJSON *root)
{
    return text_is(root, "kind", "AdmissionReview");
}

/* The controllers of a Deployment leave the name to the API server, which has not made it yet: generateName. */
static const char *name_of(const cJSON *request, const cJSON *object)
{
    const cJSON *metadata = json_get(object, "metadata");
    const char *name = json_get_text(request, "name");
    if (name == NULL || name[0] == '\0')
        name = json_get_text(metadata, "name");
    if (name == NULL || name[0] == '\0')
        name = json_get_text(metadata, "generateName");
    return text_or_empty(name);
}

static bool is_creation_of_pod(const cJSON *request)
{
    const cJSON *kind = json_get(request, "kind");
    const char *group = json_get_text(kind, "group"), *part = json_get_text(request, "subResource");
    return text_is(request, "operation", "CREATE") && text_is(kind, "kind", "Pod") && text_is(kind, "version", "v1") &&
           text_or_empty(group)[0] == '\0' && text_or_empty(part)[0] == '\0';
}

int review_read(const cJSON *root, struct review *ret, struct err *err)
{
    if (!review_is_review(root))
        return expected(root, "kind", "AdmissionReview", err);
    const char *version = text_is(root, "apiVersion", V1)        ? V1
                          : text_is(root, "apiVersion", V1BETA1) ? V1BETA1
                                                                 : NULL;
    if (version == NULL)
        return expected(root, "apiVersion", V1 " or " V1BETA1, err);
    const cJSON *request = json_get_object(root, "request");
    if (request == NULL)
        return expected(root, "request", "an object", err);
    const char *uid = json_get_text(request, "uid");
    if (uid == NULL || uid[0] == '\0' || strlen(uid) > REVIEW_UID_MAX) {
        char what[40];
        snprintf(what, sizeof(what), "a text of 1 to %d bytes", REVIEW_UID_MAX);
        int rc = expected(request, "uid", what, err);
        return err_wrap(err, rc, "request");
    }
    const cJSON *object = json_get_object(request, "object");
    *ret = (struct review){
        .api_version = version,
        .uid = uid,
        .pod_namespace = text_or_empty(json_get_text(request, "namespace")),
        .name = name_of(request, object),
        .dry_run = json_get_true(request, "dryRun"),
        .object = is_creation_of_pod(request) ? object : NULL,
    };
    return 0;
}

int review_wrap_pod(const cJSON *pod, struct review *ret, struct err *err)
{
    if (!text_is(pod, "kind", "Pod"))
        return expected(pod, "kind", "AdmissionReview, Pod, List or a workload such as Deployment", err);
    if (!text_is(pod, "apiVersion", "v1"))
        return expected(pod, "apiVersion", "v1", err);
    *ret = (struct review){
        .api_version = V1,
        .uid = REVIEW_OFFLINE_UID,
        .pod_namespace = text_or_empty(json_get_text(json_get(pod, "metadata"), "namespace")),
        .name = name_of(NULL, pod),
        .dry_run = true,
        .object = pod,
    };
    return 0;
}

static void write_patch(struct json_text *json, struct span patch)
{
    struct buf *out = json->out;
    size_t size = base64_size(patch.len);
    json_text_word(json, "patchType", "JSONPatch");
    json_text_open(json, "patch", '"');
    if (buf_reserve(out, size) == 0) {
        *base64_encode(patch.ptr, patch.len, out->data + out->len) = '\0';
        out->len += size;
    }
    json_text_close(json, '"');
}

static void write_warnings(struct json_text *json, const struct warnings *warnings)
{
    unsigned shown = warnings != NULL ? warnings_shown(warnings) : 0;
    if (shown == 0)
        return;
    json_text_open(json, "warnings", '[');
    for (unsigned i = 0; i < shown; i++)
        json_text_string(json, NULL, warnings_text(warnings, i));
    json_text_close(json, ']');
}

static void write_audit(struct json_text *json, const struct review_response *response)
{
    if (response->decision == NULL)
        return;
    json_text_open(json, "auditAnnotations", '{');
    json_text_word(json, "decision", response->decision);
    if (response->reason[0] != '\0')
        json_text_word(json, "reason", response->reason);
    if (response->warnings != NULL && response->warnings->count > 0)
        json_text_string(json, "warning", warnings_text(response->warnings, 0));
    json_text_close(json, '}');
}

/* kubectl shows it after "admission webhook … denied the request: ", a ReplicaSet in its event FailedCreate. */
static void write_refusal(struct json_text *json, const struct warnings *warnings)
{
    unsigned shown = warnings != NULL ? warnings_shown(warnings) : 0;
    json_text_open(json, "status", '{');
    json_text_number(json, "code", HTTP_FORBIDDEN);
    json_text_word(json, "reason", "Forbidden");
    json_text_open(json, "message", '"');
    for (unsigned i = 0; i < shown; i++) {
        json_text_part(json, span_of(i > 0 ? " | " : ""));
        json_text_part(json, span_of(warnings_text(warnings, i)));
    }
    json_text_close(json, '"');
    json_text_close(json, '}');
}

static void write_response(struct json_text *json, const char *uid, const struct review_response *response)
{
    json_text_open(json, "response", '{');
    json_text_string(json, "uid", uid);
    json_text_bool(json, "allowed", response->allowed);
    if (!response->allowed)
        write_refusal(json, response->warnings);
    if (response->patch.len > 0)
        write_patch(json, response->patch);
    if (response->allowed)
        write_warnings(json, response->warnings);
    write_audit(json, response);
    json_text_close(json, '}');
}

int review_write(struct buf *out, const struct review *review, const struct review_response *response)
{
    struct json_text json;
    buf_reserve(out, AROUND_PATCH + base64_size(response->patch.len)); /* so that it need not grow */
    json_text_begin(&json, out, JSON_TEXT_REQUIRED);
    json_text_open(&json, NULL, '{');
    json_text_word(&json, "kind", "AdmissionReview");
    json_text_word(&json, "apiVersion", review->api_version);
    write_response(&json, review->uid, response);
    json_text_close(&json, '}');
    return buf_error(out);
}
