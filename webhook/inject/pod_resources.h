/* What a pod's own containers, and the pod as a whole (spec.resources), ask for of cpu and memory. Pure. */
#ifndef PROFEFE_POD_RESOURCES_H
#define PROFEFE_POD_RESOURCES_H

#include "common/pod/pod.h"
#include "common/values/quantity.h"

#include <stdbool.h>

/* The API server writes strings; a file given to --review may hold bare numbers. False for anything else. */
bool pod_resources_read(const cJSON *item, struct quantity *ret);

/* Have all containers, init containers included, requests = limits for cpu and memory? A missing request counts as
 * the limit, as the API server defaults it. */
bool pod_resources_are_guaranteed(const struct pod *pod);

/* The sum of the cpu limits of what runs as long as the app: containers and native sidecars. */
struct quantity pod_resources_cpu(const struct pod *pod);

/* Has a container, init containers included, a limit of ephemeral-storage? */
bool pod_resources_limit_storage(const struct pod *pod);

/* Has a container a request or a limit of it, which counts as one? Have all of them a limit? */
bool pod_resources_any_requests(const struct pod *pod, const char *name);
bool pod_resources_all_limit(const struct pod *pod, const char *name);

/* spec.resources where it names a request or a limit; else NULL. */
const cJSON *pod_resources_of_pod(const struct pod *pod);

#endif
