/* The service name under which a pod's profiles are kept.
 *
 * The first usable of: annotation, label app.kubernetes.io/name, label app, the controlling owner's name (a
 * ReplicaSet's less its pod template hash, a Job's less the CronJob's number), generateName less its last "-", the
 * pod's name.
 */
#ifndef PROFEFE_SERVICE_NAME_H
#define PROFEFE_SERVICE_NAME_H

#include "common/pod/pod.h"
#include "common/base/span.h"

#define SERVICE_NAME_UNKNOWN "unknown" /* a pod without any of them: the API server refuses it after us */

struct service_name {
    struct span text;       /* borrowed from the pod, the annotation or a constant; a checked value of `service` */
    const char *owner_kind; /* of the controlling owner, borrowed; "" when there is none */
    const char *owner_name;
};

/* `annotated`: the pod's own checked value; its ptr is NULL when it gave none. */
void service_name_read(const struct pod *pod, struct span annotated, struct service_name *ret);

#endif
