/* Which ports of a pod are scraped, and which one the agent itself may take.
 *
 * The value is that of the annotation `port`: a number or a container-port name, several as NAME=PORT. Names are
 * resolved here, among the TCP ports of what runs beside the app (containers and native sidecars): in a running pod
 * nobody can.
 */
#ifndef PROFEFE_PORTS_H
#define PROFEFE_PORTS_H

#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/base/warnings.h"
#include "common/pod/pod.h"
#include "common/values/targets.h"

#define PORTS_DEFAULT_NAME "pprof" /* a port of this name of an app's container is profiled without further ado */

enum {
    PORTS_DEFAULT = 6060,   /* where Go programs serve net/http/pprof by custom */
    PORTS_AGENT = 10101,    /* the agent's own by default */
    PORTS_AGENT_WINDOW = 1024, /* of which so many are tried: bounded, whatever a pod declares */
};

struct port_target {
    char name[TARGET_NAME_MAX + 1]; /* "" = the only one, without a name */
    uint16_t port;
    const char *container;          /* borrowed from the pod; NULL = not known */
};

struct ports {
    unsigned count; /* 1 to TARGETS_MAX */
    struct port_target items[TARGETS_MAX];
};

/* `wanted` was checked by settings_check; a NULL ptr means the default: each port named pprof of a container, else
 * 6060. A native sidecar's is somebody else's program, so it is scraped only where the name is asked for.
 * -ENOENT: a port name that no container has, told in err. Warnings: more than TARGETS_MAX. */
MUST_CHECK int ports_resolve(const struct pod *pod, struct span wanted, struct ports *ret, struct warnings *warnings,
                             struct err *err) NONNULL(1);

/* `first` or the next port of which nothing in the pod speaks: no container declares it (containerPort, hostPort) or is
 * asked there (probes, hooks), Prometheus is not sent there by annotation, no target has it. `first` when the whole
 * window is taken (the agent then goes on without its own port and says so). */
uint16_t ports_choose_agent(const struct pod *pod, const struct ports *ports, uint16_t first);

#endif
