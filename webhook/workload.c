#include "webhook/workload.h"

#include "common/base/cleanup.h"
#include "common/base/json_text.h"
#include "common/base/quote.h"
#include "common/pod/pod.h"
#include "webhook/review.h"

#include <stdio.h>
#include <string.h>

#define TEMPLATE_HASH "0000000000" /* ten characters, as of a Deployment's */
#define MINUTES "00000000"         /* eight digits, as a CronJob has put into the names of its Jobs since 1989 */
#define RANDOM "00000"             /* five characters, as the API server puts behind a generateName */

enum { STEPS_MAX = 4 }; /* from a workload down to its pod template */

static const struct kind {
    const char *api_version, *name;
    const char *template_path[STEPS_MAX + 1]; /* NULL-ended */
    const char *made, *made_version;      /* what it makes, which makes the pods; NULL = it makes them itself */
    const char *suffix;                   /* of the name of what it makes */
    bool labels_hash;                     /* the pod has the suffix as its label pod-template-hash */
    bool names_pods;                      /* NAME-0, and not at random */
} kinds[] = {
    {.api_version = "apps/v1", .name = "Deployment", .template_path = {"spec", "template"},
     .made = "ReplicaSet", .made_version = "apps/v1", .suffix = TEMPLATE_HASH, .labels_hash = true},
    {.api_version = "apps/v1", .name = "ReplicaSet", .template_path = {"spec", "template"}},
    {.api_version = "apps/v1", .name = "StatefulSet", .template_path = {"spec", "template"}, .names_pods = true},
    {.api_version = "apps/v1", .name = "DaemonSet", .template_path = {"spec", "template"}},
    {.api_version = "batch/v1", .name = "Job", .template_path = {"spec", "template"}},
    {.api_version = "batch/v1", .name = "CronJob", .template_path = {"spec", "jobTemplate", "spec", "template"},
     .made = "Job", .made_version = "batch/v1", .suffix = MINUTES},
};

static bool is_of(const cJSON *object, const char *api_version, const char *kind)
{
    const char *its_version = json_get_text(object, "apiVersion"), *its_kind = json_get_text(object, "kind");
    return its_version != NULL && its_kind != NULL && strcmp(its_version, api_version) == 0 &&
           strcmp(its_kind, kind) == 0;
}

static const struct kind *find_kind(const cJSON *object)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (is_of(object, kinds[i].api_version, kinds[i].name))
            return &kinds[i];
    }
    return NULL;
}

static bool is_list(const cJSON *root)
{
    return is_of(root, "v1", "List");
}

static bool has_pod(const cJSON *item)
{
    return find_kind(item) != NULL || is_of(item, "v1", "Pod");
}

bool workload_is(const cJSON *root)
{
    return is_list(root) || find_kind(root) != NULL;
}

/* The one that is known of a kind; NULL = none. */
static const char *find_version_of(const char *name)
{
    if (strcmp(name, "List") == 0)
        return "v1";
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i].name) == 0)
            return kinds[i].api_version;
    }
    return NULL;
}

int workload_check_version(const cJSON *root, struct err *err)
{
    struct quoted q = {"none"};
    const char *name = json_get_text(root, "kind"), *got = json_get_text(root, "apiVersion");
    const char *version = name != NULL ? find_version_of(name) : NULL;
    if (version == NULL || (got != NULL && strcmp(got, version) == 0))
        return 0;
    if (got != NULL)
        quote_text(&q, got);
    return err_set(err, EINVAL, "apiVersion: expected %s of a %s, got %s", version, name, q.text);
}

/* A List holds more than workloads: Services, ConfigMaps. */
bool workload_iter_next(struct workload_iter *iter)
{
    if (!is_list(iter->root)) {
        iter->item = iter->started ? NULL : iter->root;
    } else {
        const cJSON *items = json_get_array(iter->root, "items");
        iter->item = iter->started ? iter->item->next : items != NULL ? items->child : NULL;
        while (iter->item != NULL && !has_pod(iter->item))
            iter->item = iter->item->next;
    }
    iter->started = true;
    return iter->item != NULL;
}

/* ---- one pod ---- */

/* Who makes the pod: the workload, or what it makes. */
struct maker {
    const char *api_version, *kind;
    char name[POD_NAME_MAX + sizeof("-" TEMPLATE_HASH)];
    const struct kind *of;
    const char *pod_namespace;
};

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* Names longer than any cluster takes are cut. */
static void name_maker(struct maker *maker, const cJSON *metadata)
{
    const struct kind *kind = maker->of;
    const char *given = text_or_empty(json_get_text(metadata, "name"));
    const char *name = given[0] != '\0' ? given : text_or_empty(json_get_text(metadata, "generateName"));
    snprintf(maker->name, sizeof(maker->name), "%.*s%s%s%s", POD_NAME_MAX, name,
             given[0] != '\0' || name[0] == '\0' ? "" : RANDOM, kind->suffix != NULL ? "-" : "",
             text_or_empty(kind->suffix));
}

static struct maker find_maker(const cJSON *item, const struct kind *kind, const char *pod_namespace)
{
    struct maker maker = {.of = kind, .pod_namespace = pod_namespace};
    maker.api_version = kind->made != NULL ? kind->made_version : kind->api_version;
    maker.kind = kind->made != NULL ? kind->made : kind->name;
    name_maker(&maker, json_get(item, "metadata"));
    return maker;
}

static const cJSON *find_template(const cJSON *item, const struct kind *kind)
{
    for (const char *const *step = kind->template_path; *step != NULL; step++)
        item = json_get(item, *step);
    return item;
}

/* Nothing where there is none. */
static int write_copy(struct json_text *json, const char *key, const cJSON *item)
{
    if (item == NULL)
        return 0;
    CLEANUP_FREE char *text = cJSON_PrintUnformatted(item);
    if (text == NULL)
        return -ENOMEM;
    json_text_raw(json, key, text);
    return 0;
}

static int write_labels(struct json_text *json, const struct maker *maker, const cJSON *labels)
{
    const cJSON *label;
    int rc = 0;
    if (!maker->of->labels_hash || (labels != NULL && !cJSON_IsObject(labels)))
        return write_copy(json, "labels", labels);
    json_text_open(json, "labels", '{');
    cJSON_ArrayForEach(label, labels)
    {
        rc = rc == 0 ? write_copy(json, label->string, label) : rc;
    }
    json_text_string(json, "pod-template-hash", maker->of->suffix);
    json_text_close(json, '}');
    return rc;
}

static void write_name(struct json_text *json, const struct maker *maker, const char *key, const char *suffix)
{
    json_text_open(json, key, '"');
    json_text_part(json, span_of(maker->name));
    json_text_part(json, span_of(suffix));
    json_text_close(json, '"');
}

static void write_owner(struct json_text *json, const struct maker *maker)
{
    json_text_open(json, "ownerReferences", '[');
    json_text_open(json, NULL, '{');
    json_text_string(json, "apiVersion", maker->api_version);
    json_text_string(json, "kind", maker->kind);
    json_text_string(json, "name", maker->name);
    json_text_string(json, "uid", REVIEW_OFFLINE_UID);
    json_text_bool(json, "controller", true);
    json_text_bool(json, "blockOwnerDeletion", true);
    json_text_close(json, '}');
    json_text_close(json, ']');
}

static int write_metadata(struct json_text *json, const struct maker *maker, const cJSON *metadata)
{
    json_text_open(json, "metadata", '{');
    if (maker->of->names_pods)
        write_name(json, maker, "name", "-0");
    write_name(json, maker, "generateName", "-");
    json_text_string(json, "namespace", maker->pod_namespace);
    write_owner(json, maker);
    int rc = write_labels(json, maker, json_get(metadata, "labels"));
    if (rc == 0)
        rc = write_copy(json, "annotations", json_get(metadata, "annotations"));
    if (rc == 0)
        rc = write_copy(json, "finalizers", json_get(metadata, "finalizers"));
    json_text_close(json, '}');
    return rc;
}

static int write_object(struct json_text *json, const cJSON *item, const char *pod_namespace)
{
    const struct kind *kind = find_kind(item);
    if (kind == NULL)
        return write_copy(json, "object", item);
    const struct maker maker = find_maker(item, kind, pod_namespace);
    const cJSON *template = find_template(item, kind);
    json_text_open(json, "object", '{');
    json_text_string(json, "kind", "Pod");
    json_text_string(json, "apiVersion", "v1");
    int rc = write_metadata(json, &maker, json_get(template, "metadata"));
    if (rc == 0)
        rc = write_copy(json, "spec", json_get(template, "spec"));
    json_text_close(json, '}');
    return rc;
}

/* ---- its review ---- */

static void write_uid(struct json_text *json, const cJSON *item, const char *pod_namespace)
{
    const cJSON *metadata = json_get(item, "metadata");
    const char *name = json_get_text(metadata, "name");
    char uid[REVIEW_UID_MAX + 1];
    int len = snprintf(uid, sizeof(uid), "%s/%.*s/%s", json_get_text(item, "kind"), POD_LABEL_MAX, pod_namespace,
                       text_or_empty(name != NULL ? name : json_get_text(metadata, "generateName")));
    json_text_span(json, "uid", (struct span){uid, len < (int)sizeof(uid) ? (size_t)len : sizeof(uid) - 1});
}

static void write_kind(struct json_text *json)
{
    json_text_open(json, "kind", '{');
    json_text_string(json, "group", "");
    json_text_string(json, "version", "v1");
    json_text_string(json, "kind", "Pod");
    json_text_close(json, '}');
}

static int write_request(struct json_text *json, const cJSON *item, const char *pod_namespace)
{
    json_text_open(json, "request", '{');
    write_uid(json, item, pod_namespace);
    write_kind(json);
    json_text_string(json, "namespace", pod_namespace);
    json_text_string(json, "operation", "CREATE");
    json_text_bool(json, "dryRun", true);
    int rc = write_object(json, item, pod_namespace);
    json_text_close(json, '}');
    return rc;
}

int workload_write_review(struct buf *out, const cJSON *item, const char *pod_namespace, struct err *err)
{
    struct json_text json;
    const char *own = json_get_text(json_get(item, "metadata"), "namespace");
    json_text_begin(&json, out, JSON_TEXT_REQUIRED);
    json_text_open(&json, NULL, '{');
    json_text_string(&json, "kind", "AdmissionReview");
    json_text_string(&json, "apiVersion", "admission.k8s.io/v1");
    int rc = write_request(&json, item, own != NULL && own[0] != '\0' ? own : pod_namespace);
    json_text_close(&json, '}');
    if (rc == 0)
        rc = buf_error(out);
    return rc == 0 ? 0 : err_set(err, -rc, rc == -ENOMEM ? "no memory for a review" : "the review would be too large");
}
