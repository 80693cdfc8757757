/* The service name under which a pod's profiles are kept.
 *
 * The first usable of: annotation, label app.kubernetes.io/name, label app, the controlling owner's name (a ReplicaSet's
 * less its pod template hash, a Job's less the CronJob's number), generateName less its last "-", the pod's name.
 */
#ifndef PROFEFE_IDENTITY_H
#define PROFEFE_IDENTITY_H

#include "common/pod/pod.h"
#include "common/base/span.h"

#define IDENTITY_UNKNOWN "unknown" /* a pod without any of them: the API server refuses it after us */

struct identity {
    struct span service;    /* borrowed from the pod, the annotation or a constant; a checked value of `service` */
    const char *owner_kind; /* of the controlling owner, borrowed; "" when there is none */
    const char *owner_name;
};

/* `annotated`: the pod's own checked value; its ptr is NULL when it gave none. */
void identity_read(const struct pod *pod, struct span annotated, struct identity *ret);

#endif
