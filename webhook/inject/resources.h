/* Requests and limits of the injected container, so that they never get the pod refused.
 *
 * Seen on a real API server: request > limit is refused; so is a quantity that does not parse; where all containers of
 * a pod are Guaranteed, another class for ours changes the pod's; where spec.resources is set, our requests would
 * not fit into it, and a limit alone counts as a request. Passing the sum of the containers' limits of
 * ephemeral-storage evicts the pod, and an emptyDir counts (kubelet, pkg/kubelet/eviction, 1.34): where a container has
 * one, ours gets one that its spool fits into. A limit of 0 is left out like `none`, which it means to the kubelet.
 */
#ifndef PROFEFE_RESOURCES_H
#define PROFEFE_RESOURCES_H

#include "common/base/json_text.h"
#include "common/base/marks.h"
#include "common/pod/annotations.h"
#include "common/base/span.h"

#define RESOURCES_CPU_MIN "50m"     /* below it runc's own start is throttled and the app waits */
#define RESOURCES_MEMORY_MIN "12Mi" /* CRI-O refuses less */

struct resources {
    struct span cpu_request, cpu_limit, memory_request, memory_limit; /* ptr NULL = left out */
    uint64_t storage_limit_mib;                                       /* of ephemeral-storage; 0 = left out */
};

/* `spool_mib`: sizeLimit of the agent's emptyDir, 0 = none. */
void resources_resolve(const struct pod *pod, const struct annotations *annotations, uint64_t spool_mib,
                       struct resources *ret, struct warnings *warnings);

/* Have all containers, init containers included, requests = limits for cpu and memory? A missing request counts as
 * the limit, as the API server defaults it. */
bool resources_pod_is_guaranteed(const struct pod *pod);

/* The four settings together: -EINVAL when the configuration sets a request above its limit. A limit under what
 * starts well is told in warnings. */
MUST_CHECK int resources_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
    NONNULL(1);

/* Writes the container's field `resources` under `key`, or without one. */
void resources_write(struct json_text *json, const char *key, const struct resources *resources);

#endif
