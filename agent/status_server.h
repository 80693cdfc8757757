/* The agent's own server: /healthz, /status and /metrics, each from a look at the agent as it is now. A convenience:
 * without it the profiles still flow.
 */
#ifndef PROFEFE_AGENT_STATUS_SERVER_H
#define PROFEFE_AGENT_STATUS_SERVER_H

#include "agent/view.h"
#include "common/http/httpd.h"
#include "common/os/loop.h"

struct status_server {
    struct view (*look)(void *ctx);
    void *ctx;
    struct httpd *httpd; /* NULL = not there */
};

/* listen NULL = none is wanted. Where it cannot start, the log says so, and it goes on without. */
void status_server_start(struct status_server *server, struct loop *loop, const char *listen);
void status_server_stop(struct status_server *server); /* also one that never started */

#endif
