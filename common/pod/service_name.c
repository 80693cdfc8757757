#include "common/pod/service_name.h"

#include "common/base/ascii.h"
#include "common/pod/json.h"
#include "common/settings/settings.h"
#include "common/settings/settings_check.h"

#include <string.h>

enum {
    NUMBER_DIGITS_MIN = 8, /* a CronJob names its Jobs NAME-MINUTES, others their runs NAME-SECONDS: since 1970 */
    RANDOM_CHARS = 5,      /* that the API server puts behind a generateName */
};

/* Those characters: k8s.io/apimachinery pkg/util/rand; no vowels, so that few words look like it. */
#define RANDOM_ALPHABET "bcdfghjklmnpqrstvwxz2456789"

/* Labels and names were not validated yet: whatever profefe could not take as a name counts as absent. */
static bool is_usable(struct span name)
{
    return name.ptr != NULL && settings_check(SETTING_SERVICE, name, NULL) == 0;
}

static const cJSON *controlling_owner(const struct pod *pod)
{
    const cJSON *owner;
    cJSON_ArrayForEach(owner, json_get_array(pod->metadata, "ownerReferences"))
    {
        if (json_get_true(owner, "controller"))
            return owner;
    }
    return NULL;
}

/* Cuts "-SUFFIX" off the end. */
static struct span less_suffix(struct span name, struct span suffix)
{
    if (suffix.len == 0 || name.len < suffix.len + 1)
        return name;
    size_t rest = name.len - suffix.len;
    if (name.ptr[rest - 1] != '-' || memcmp(name.ptr + rest, suffix.ptr, suffix.len) != 0)
        return name;
    return (struct span){name.ptr, rest - 1};
}

static struct span less_number(const struct pod *pod, struct span name)
{
    size_t digits = 0;
    (void)pod;
    while (digits < name.len && ascii_is_digit(name.ptr[name.len - 1 - digits]))
        digits++;
    if (digits < NUMBER_DIGITS_MIN)
        return name;
    return less_suffix(name, (struct span){name.ptr + name.len - digits, digits});
}

/* A run that somebody numbered by the time, or whose name the API server made. */
static struct span less_run(const struct pod *pod, struct span name)
{
    struct span shorter = less_number(pod, name);
    if (shorter.len < name.len || name.len < RANDOM_CHARS)
        return shorter;
    struct span end = {name.ptr + name.len - RANDOM_CHARS, RANDOM_CHARS};
    for (size_t i = 0; i < end.len; i++) {
        if (strchr(RANDOM_ALPHABET, end.ptr[i]) == NULL)
            return name;
    }
    return less_suffix(name, end);
}

/* An Argo Rollout's ReplicaSets have a hash label of their own. */
static struct span less_template_hash(const struct pod *pod, struct span name)
{
    struct span shorter = less_suffix(name, span_of(pod_label(pod, "pod-template-hash")));
    if (shorter.len == name.len)
        shorter = less_suffix(name, span_of(pod_label(pod, "rollouts-pod-template-hash")));
    return shorter;
}

/* OpenShift names the controllers of a DeploymentConfig NAME-VERSION. */
static struct span less_version(const struct pod *pod, struct span name)
{
    const char *config = pod_label(pod, "deploymentconfig");
    struct span shorter = span_of(config);
    bool is_version_of = config != NULL && shorter.len < name.len && span_has_prefix(name, config);
    return is_version_of && name.ptr[shorter.len] == '-' ? shorter : name;
}

/* A PipelineRun that holds its pipeline, or has it fetched, has no other name for it than its own. */
static struct span less_pipeline_run(const struct pod *pod, struct span name)
{
    const char *run = pod_label(pod, "tekton.dev/pipelineRun");
    return run != NULL && span_equal(name, run) ? less_run(pod, name) : name;
}

typedef struct span shorten_fn(const struct pod *pod, struct span name);

static const struct {
    const char *kind;
    shorten_fn *shorten;
} owners[] = {
    {"ReplicaSet", less_template_hash},
    {"Job", less_number},                     /* of a CronJob: kubernetes pkg/controller/cronjob */
    {"ReplicationController", less_version},  /* openshift/library-go pkg/apps/appsutil */
    {"Workflow", less_run},                   /* argoproj/argo-workflows, also of a CronWorkflow */
    {"TaskRun", less_run},                    /* tektoncd/pipeline */
    {"PipelineRun", less_run},
    {"SparkApplication", less_number},        /* of a ScheduledSparkApplication: kubeflow/spark-operator */
};

static struct span name_of_owner(const struct pod *pod, const struct service_name *service)
{
    struct span name = span_of(service->owner_name);
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        if (strcmp(service->owner_kind, owners[i].kind) == 0)
            return owners[i].shorten(pod, name);
    }
    return name;
}

/* In this order. What a controller writes into `app` by itself is the run's, so its own label goes before. */
static const struct {
    const char *key;
    shorten_fn *shorten; /* NULL = the label names the thing itself */
} labels[] = {
    {"app.kubernetes.io/name", NULL},               /* kubernetes.io: recommended labels */
    {"serving.knative.dev/service", NULL},          /* knative/serving pkg/apis/serving/register.go */
    {"app", NULL},
    {"deploymentconfig", NULL},                     /* openshift/api apps/v1 */
    {"scaledjob.keda.sh/name", NULL},               /* kedacore/keda pkg/scaling/executor/scale_jobs.go */
    {"tekton.dev/pipeline", less_pipeline_run},     /* tektoncd/pipeline docs/labels.md */
    {"tekton.dev/task", NULL},
    {"workflows.argoproj.io/workflow", less_run},   /* argoproj/argo-workflows workflow/common/common.go */
    {"sparkoperator.k8s.io/app-name", less_number}, /* kubeflow/spark-operator pkg/common/spark.go */
    {"spark-app-name", less_number},                /* apache/spark, of spark-submit: k8s/KubernetesConf.scala */
    {"dag_id", NULL},                               /* apache/airflow providers/cncf/kubernetes */
    {"jobset.sigs.k8s.io/jobset-name", NULL},       /* kubernetes-sigs/jobset api/jobset/v1alpha2 */
    {"leaderworkerset.sigs.k8s.io/name", NULL},     /* kubernetes-sigs/lws api/leaderworkerset/v1 */
    {"training.kubeflow.org/job-name", NULL},       /* kubeflow/training-operator pkg/apis */
};

/* opentelemetry.io: semantic conventions, k8s attributes */
#define OTEL_ANNOTATION "resource.opentelemetry.io/service.name"

static struct span name_of_annotations(const struct pod *pod)
{
    return span_of(json_get_text(pod->annotations, OTEL_ANNOTATION));
}

static struct span name_of_labels(const struct pod *pod)
{
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        struct span name = span_of(pod_label(pod, labels[i].key));
        if (name.len > 0 && labels[i].shorten != NULL)
            name = labels[i].shorten(pod, name);
        if (is_usable(name))
            return name;
    }
    return (struct span){NULL, 0};
}

static struct span name_of_generator(const struct pod *pod)
{
    struct span name = span_of(json_get_text(pod->metadata, "generateName"));
    if (name.len > 0 && name.ptr[name.len - 1] == '-')
        name.len--;
    return name;
}

static struct span name_from(const struct pod *pod, struct span source, const struct service_name *service)
{
    return span_equal(source, "annotations") ? name_of_annotations(pod)
           : span_equal(source, "labels")    ? name_of_labels(pod)
                                             : name_of_owner(pod, service);
}

static struct span choose_service(const struct pod *pod, struct span from, const struct service_name *service)
{
    struct span source;
    while (span_next_item(&from, &source)) {
        struct span name = name_from(pod, source, service);
        if (is_usable(name))
            return name;
    }
    if (is_usable(name_of_generator(pod)))
        return name_of_generator(pod);
    struct span own = span_of(json_get_text(pod->metadata, "name"));
    return is_usable(own) ? own : span_of(SERVICE_NAME_UNKNOWN);
}

void service_name_read(const struct pod *pod, struct span annotated, struct span from, struct service_name *ret)
{
    const cJSON *owner = controlling_owner(pod);
    const char *kind = json_get_text(owner, "kind");
    const char *name = json_get_text(owner, "name");
    bool known = kind != NULL && name != NULL;
    struct service_name service = {.owner_kind = known ? kind : "", .owner_name = known ? name : ""};
    service.text = is_usable(annotated) ? annotated : choose_service(pod, from, &service);
    *ret = service;
}
