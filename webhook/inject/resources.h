/* Requests and limits of the injected container, so that they never get the pod refused.
 *
 * Seen on a real API server: request > limit is refused; so is a quantity that does not parse; where all containers of
 * a pod are Guaranteed, another class for ours changes the pod's. Passing the sum of the containers' limits of
 * ephemeral-storage evicts the pod, and an emptyDir counts (kubelet, pkg/kubelet/eviction, 1.34): where a container has
 * one, ours gets one that its spool fits into. A limit of 0 is left out like `none`, which it means to the kubelet.
 *
 * The last word has [limits]: what adaptation makes of a value stays within the bounds of both request and limit. Then
 * comes what the pod was annotated with, then [inject]. Where a pod does not get what it asked for, a warning tells the
 * number that is used.
 *
 * In a Guaranteed pod the limit is the request, so the default of cpu, 5m, would throttle the start, and a fixed larger
 * one would weigh on a small pod's sum: an HPA's utilisation is a share of it. It is 5 % of the pod's own cpu, from 10m
 * to 50m. What is annotated counts as it is, and so does a limit of [inject]; a request of [inject] from 10m on.
 *
 * Where spec.resources is set, the class and the sum are the pod's own: ours requests 0, a limit above the pod's would
 * be refused, and the lower bounds of [limits] have no say. What the pod leaves out, the API server completes from the
 * containers, after the webhooks since 1.37 and before them up to 1.36 (tried with 1.34.4 and 1.37.2, which agree on
 * each form here):
 *   - a limit without a request: the request is what the containers request, else that limit. Our 0 would become it, so
 *     where nobody requests any the patch adds the limit as the pod's request;
 *   - no limit, but every container has one: the limit is their sum (since 1.37). Ours would keep it from that, or
 *     raise it, so it has the limit 0, which adds nothing.
 */
#ifndef PROFEFE_RESOURCES_H
#define PROFEFE_RESOURCES_H

#include "common/base/json_text.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/pod/annotations.h"
#include "webhook/inject/patch.h"

#define RESOURCES_CPU_MIN "50m"     /* below it runc's own start is throttled and the app waits */
#define RESOURCES_CPU_LEAST "10m"   /* RESOURCES_CPU_LEAST_M */
#define RESOURCES_MEMORY_MIN "12Mi" /* CRI-O refuses less */

enum {
    RESOURCES_CPU_LEAST_M = 10, /* of a Guaranteed pod's agent, in thousandths of a CPU, when nobody says less */
    RESOURCES_CPU_MOST_M = 50,  /* RESOURCES_CPU_MIN: more is not needed */
    RESOURCES_CPU_SHARE = 20,   /* the 20th part of the pod's own cpu, 5 %, between them */
    RESOURCES_TEXT_MAX = 32,    /* bytes of a double with 15 digits, which all come back */
};

/* Borrows from the pod, the configuration and itself: it stays where it was made. */
struct resources {
    struct span cpu_request, cpu_limit, memory_request, memory_limit; /* ptr NULL = left out */
    uint64_t storage_limit_mib;                                       /* of ephemeral-storage; 0 = left out */
    const cJSON *pod_cpu_request, *pod_memory_request; /* to be added to spec.resources.requests; NULL = nothing */
    char cpu_text[RESOURCES_TEXT_MAX], memory_text[RESOURCES_TEXT_MAX]; /* where a value stands nowhere else */
};

/* `spool_mib`: sizeLimit of the agent's emptyDir, 0 = none. */
void resources_resolve(const struct pod *pod, const struct annotations *annotations, uint64_t spool_mib,
                       struct resources *ret, struct warnings *warnings);

/* The four settings together: -EINVAL when the configuration sets a request above its limit. A limit under what
 * starts well is told in warnings. */
MUST_CHECK int resources_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
    NONNULL(1);

/* Writes the container's field `resources` under `key`, or without one. */
void resources_write(struct json_text *json, const char *key, const struct resources *resources);

/* Adds to the patch what is to be added to spec.resources of the pod. */
void resources_write_of_pod(struct patch *patch, const struct pod *pod, const struct resources *resources);

#endif
