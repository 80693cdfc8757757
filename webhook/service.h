/* The webhook as a server: POST /mutate and /mutate/all over TLS; GET /healthz, /readyz and /metrics in the clear. */
#ifndef PROFEFE_SERVICE_H
#define PROFEFE_SERVICE_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/settings/settings.h"

enum {
    /* The API server refuses objects over 3 MiB (etcd's request limit with its default headroom); the review adds
     * little to them. */
    SERVICE_BODY_MAX = 4 * 1024 * 1024,
    SERVICE_BODIES_MAX = 8 * 1024 * 1024, /* all bodies under way together: what bounds our memory */
    SERVICE_REPLIES_MAX = 8 * 1024 * 1024, /* the same for replies that clients are taking; of 6 KB usually */
    SERVICE_CONNECTIONS_MAX = 256,        /* an API server keeps one or a few open; there may be several of them */
    SERVICE_CONNECTIONS_PEER_MAX = SERVICE_CONNECTIONS_MAX / 2, /* for one address: nobody fills all of them alone */
    SERVICE_IDLE_S = 120,                 /* longer than an API server's own idle time of 90 s */
    SERVICE_REQUEST_MS = 5 * 1000,        /* timeoutSeconds is 2: nobody waits for an answer after that */
    SERVICE_CONNECTION_MEMORY = 8 * 1024,
    SERVICE_ADMIN_CONNECTIONS_MAX = 16,
    SERVICE_METRICS_MAX = 64 * 1024,
    SERVICE_LEAVE_MS = 5 * 1000,          /* after draining, for requests under way */
};

/* Serves until SIGTERM or SIGINT, then drains. `base` and `config_path` as in config_load, which is called for them
 * again and again; `server`: what it gave for them at start, whose settings of [server] stay. All borrowed. 0, or -Exxx
 * when it could not start (a bad configuration, a port that is taken). */
MUST_CHECK int service_run(const struct settings *base, const char *config_path, const struct settings *server,
                           struct err *err) NONNULL(1);

#endif
