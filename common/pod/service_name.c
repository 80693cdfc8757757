#include "common/pod/service_name.h"

#include "common/base/ascii.h"
#include "common/settings/settings.h"
#include "common/settings/settings_check.h"
#include "common/pod/json.h"

#include <string.h>

enum { CRONJOB_DIGITS_MIN = 8 }; /* a CronJob names its Jobs NAME-MINUTES: minutes since 1970, eight digits */

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

static struct span less_job_number(struct span name)
{
    size_t digits = 0;
    while (digits < name.len && ascii_is_digit(name.ptr[name.len - 1 - digits]))
        digits++;
    if (digits < CRONJOB_DIGITS_MIN)
        return name;
    return less_suffix(name, (struct span){name.ptr + name.len - digits, digits});
}

/* An Argo Rollout's ReplicaSets have a hash label of their own. */
static struct span less_template_hash(const struct pod *pod, struct span name)
{
    struct span shorter = less_suffix(name, span_of(pod_label(pod, "pod-template-hash")));
    if (shorter.len == name.len)
        shorter = less_suffix(name, span_of(pod_label(pod, "rollouts-pod-template-hash")));
    return shorter;
}

static struct span name_of_owner(const struct pod *pod, const struct service_name *service)
{
    struct span name = span_of(service->owner_name);
    if (strcmp(service->owner_kind, "ReplicaSet") == 0)
        return less_template_hash(pod, name);
    if (strcmp(service->owner_kind, "Job") == 0)
        return less_job_number(name);
    return name;
}

static struct span name_of_generator(const struct pod *pod)
{
    struct span name = span_of(json_get_text(pod->metadata, "generateName"));
    if (name.len > 0 && name.ptr[name.len - 1] == '-')
        name.len--;
    return name;
}

static struct span choose_service(const struct pod *pod, struct span annotated, const struct service_name *service)
{
    const struct span candidates[] = {
        annotated,
        span_of(pod_label(pod, "app.kubernetes.io/name")),
        span_of(pod_label(pod, "app")),
        name_of_owner(pod, service),
        name_of_generator(pod),
        span_of(json_get_text(pod->metadata, "name")),
    };
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        if (is_usable(candidates[i]))
            return candidates[i];
    }
    return span_of(SERVICE_NAME_UNKNOWN);
}

void service_name_read(const struct pod *pod, struct span annotated, struct service_name *ret)
{
    const cJSON *owner = controlling_owner(pod);
    const char *kind = json_get_text(owner, "kind");
    const char *name = json_get_text(owner, "name");
    bool known = kind != NULL && name != NULL;
    struct service_name service = {.owner_kind = known ? kind : "", .owner_name = known ? name : ""};
    service.text = choose_service(pod, annotated, &service);
    *ret = service;
}
