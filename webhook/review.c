#include "webhook/review.h"

#include "common/base/base64.h"
#include "common/base/quote.h"

#include <stdio.h>
#include <string.h>

#define V1 "admission.k8s.io/v1"
#define V1BETA1 "admission.k8s.io/v1beta1"
#define OFFLINE_UID "00000000-0000-0000-0000-000000000000" /* of a pod that came without a review */

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
        return expected(pod, "kind", "AdmissionReview or Pod", err);
    if (!text_is(pod, "apiVersion", "v1"))
        return expected(pod, "apiVersion", "v1", err);
    *ret = (struct review){
        .api_version = V1,
        .uid = OFFLINE_UID,
        .pod_namespace = text_or_empty(json_get_text(json_get(pod, "metadata"), "namespace")),
        .name = name_of(NULL, pod),
        .dry_run = true,
        .object = pod,
    };
    return 0;
}

static void write_base64(struct buf *out, struct span bytes)
{
    size_t size = base64_size(bytes.len);
    if (buf_reserve(out, size) < 0)
        return;
    *base64_encode(bytes.ptr, bytes.len, out->data + out->len) = '\0';
    out->len += size;
}

static void write_warnings(struct buf *out, const struct warnings *warnings)
{
    unsigned shown = warnings != NULL ? warnings_shown(warnings) : 0;
    if (shown == 0)
        return;
    buf_puts(out, ",\"warnings\":[");
    for (unsigned i = 0; i < shown; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_write_text(out, warnings_text(warnings, i));
    }
    buf_putc(out, ']');
}

static void write_audit(struct buf *out, const struct review_response *response)
{
    if (response->decision == NULL)
        return;
    buf_puts(out, ",\"auditAnnotations\":{\"decision\":");
    json_write_text(out, response->decision);
    if (response->reason[0] != '\0') {
        buf_puts(out, ",\"reason\":");
        json_write_text(out, response->reason);
    }
    if (response->warnings != NULL && response->warnings->count > 0) {
        buf_puts(out, ",\"warning\":");
        json_write_text(out, warnings_text(response->warnings, 0));
    }
    buf_putc(out, '}');
}

/* kubectl shows it after "admission webhook … denied the request: ", a ReplicaSet in its event FailedCreate. */
static void write_refusal(struct buf *out, const struct warnings *warnings)
{
    unsigned shown = warnings != NULL ? warnings_shown(warnings) : 0;
    buf_printf(out, ",\"status\":{\"code\":%d,\"reason\":\"Forbidden\",\"message\":\"", HTTP_FORBIDDEN);
    for (unsigned i = 0; i < shown; i++) {
        const char *text = warnings_text(warnings, i);
        buf_puts(out, i > 0 ? " | " : "");
        json_write_chars(out, (struct span){text, strlen(text)});
    }
    buf_puts(out, "\"}");
}

int review_write(struct buf *out, const struct review *review, const struct review_response *response)
{
    buf_reserve(out, AROUND_PATCH + response->patch.len / 3 * 4); /* so that it need not grow */
    buf_puts(out, "{\"kind\":\"AdmissionReview\",\"apiVersion\":");
    json_write_text(out, review->api_version);
    buf_puts(out, ",\"response\":{\"uid\":");
    json_write_text(out, review->uid);
    buf_puts(out, response->allowed ? ",\"allowed\":true" : ",\"allowed\":false");
    if (!response->allowed)
        write_refusal(out, response->warnings);
    if (response->patch.len > 0) {
        buf_puts(out, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
        write_base64(out, response->patch);
        buf_putc(out, '"');
    }
    if (response->allowed)
        write_warnings(out, response->warnings);
    write_audit(out, response);
    buf_puts(out, "}}");
    return buf_error(out);
}
