/* The service name under which a pod's profiles are kept.
 *
 * The first usable of: the annotation `service`; what `service-from` names, in its order; generateName less its last
 * "-"; the pod's name. `service-from` holds
 *     annotations   OpenTelemetry's
 *     labels        the common two, and those by which known controllers name the thing and not one run of it
 *     owner         the controlling owner's name, less what makes a run of it where that is known
 */
#ifndef PROFEFE_SERVICE_NAME_H
#define PROFEFE_SERVICE_NAME_H

#include "common/base/span.h"
#include "common/pod/pod.h"

#define SERVICE_NAME_UNKNOWN "unknown" /* a pod without any of them: the API server refuses it after us */

struct service_name {
    struct span text;       /* borrowed from the pod, the annotation or a constant; a checked value of `service` */
    const char *owner_kind; /* of the controlling owner, borrowed; "" when there is none */
    const char *owner_name;
};

/* `annotated`: the pod's own checked value; its ptr is NULL when it gave none. `from`: a checked value of
 * `service-from`. */
void service_name_read(const struct pod *pod, struct span annotated, struct span from, struct service_name *ret);

#endif
