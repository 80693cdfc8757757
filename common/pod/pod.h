/* A pod as the review brings it: borrowed views into its JSON, and the questions the rules ask of it.
 *
 * Nothing was validated yet: mutating admission runs before validation, and --review reads files. Members of the
 * wrong type make the object unsupported; anything odd deeper inside counts as absent, and the API server
 * refuses such a pod after us. Field names: k8s.io/api core/v1 types.go (1.34).
 */
#ifndef PROFEFE_POD_H
#define PROFEFE_POD_H

#include "common/base/marks.h"
#include "common/pod/json.h"

#include <stdbool.h>
#include <stdint.h>

#define POD_AGENT_NAME "profefe-agent" /* of the injected container */

enum {
    POD_GRACE_DEFAULT_S = 30, /* the API server's default, for pods that did not pass through it */
    POD_NAME_MAX = 253,       /* the longest object name (RFC 1123 subdomain) */
    POD_LABEL_MAX = 63,       /* the longest container or container-port name (RFC 1123 label) */
};

struct pod {
    const cJSON *object;
    const cJSON *metadata;        /* NULL when absent or null */
    const cJSON *labels;          /* likewise */
    const cJSON *annotations;     /* these three: NULL also when empty, so that a patch adds them whole */
    const cJSON *init_containers;
    const cJSON *volumes;
    const cJSON *spec;            /* never NULL */
    const cJSON *containers;      /* never NULL, has a child */
};

/* False when the object is no pod that can be patched: a member is missing or of the wrong type. */
MUST_CHECK bool pod_read(const cJSON *object, struct pod *ret);

bool pod_is_mirror(const struct pod *pod);
bool pod_uses_host_network(const struct pod *pod);
bool pod_restarts_always(const struct pod *pod); /* restartPolicy; its default is Always */
bool pod_runs_as_root(const struct pod *pod);    /* the pod's own securityContext says runAsUser 0 */
bool pod_has_own_apparmor(const struct pod *pod); /* its containers run under a profile that somebody wrote for them */
int64_t pod_grace_seconds(const struct pod *pod);
const char *pod_label(const struct pod *pod, const char *key); /* NULL when there is none */

/* Walks containers, then init containers. Zero all but `pod`; `item` is then an object each time. */
struct pod_iter {
    const struct pod *pod;
    const cJSON *item;
    bool init;      /* item is an init container */
    bool started;
};
bool pod_iter_next(struct pod_iter *iter);

/* Runs beside the app: a container, or an init container with restartPolicy Always. */
bool pod_iter_stays(const struct pod_iter *iter);

/* The container's name when it is a DNS label, so that it is safe in lists; else NULL. */
const char *pod_container_name(const cJSON *container);

#endif
