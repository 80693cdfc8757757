#include "agent/status_server.h"

#include "agent/health.h"
#include "agent/metrics_page.h"
#include "agent/status_json.h"
#include "agent/status_page.h"
#include "common/base/span.h"
#include "common/os/log.h"
#include "common/os/metrics.h"

#include <string.h>

/* Ceilings: a kubelet, a Prometheus and a curious person at once. */
enum {
    BODY_MAX = 0,
    CONNECTIONS_MAX = 16,
    IDLE_S = 30,
    REQUEST_MS = 10 * 1000,
    CONNECTION_MEMORY = 4 * 1024,
};

static void serve_healthz(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    const struct status_server *server = ctx;
    struct view view = server->look(server->ctx);
    response->status = health_write(&response->body, &view);
}

/* Whether a client asks for JSON by name; browsers and curl do not. */
static bool wants_json(const char *accept)
{
    struct span rest = {accept, strlen(accept)}, item;
    while (span_next_item(&rest, &item)) {
        const char *parameters = memchr(item.ptr, ';', item.len);
        if (parameters != NULL)
            item = span_trim((struct span){item.ptr, (size_t)(parameters - item.ptr)});
        if (span_equal_nocase(item, "application/json"))
            return true;
    }
    return false;
}

static void serve_status(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    const struct status_server *server = ctx;
    struct view view = server->look(server->ctx);
    if (!wants_json(request->accept)) {
        status_page_write(&response->body, &view);
        return;
    }
    response->content_type = "application/json";
    status_json_write(&response->body, &view);
}

static void serve_metrics(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    const struct status_server *server = ctx;
    struct view view = server->look(server->ctx);
    response->content_type = METRICS_CONTENT_TYPE;
    metrics_page_write(&response->body, &view);
}

static const struct httpd_route routes[] = {
    {"GET", "/healthz", NULL, serve_healthz},
    {"GET", "/status", NULL, serve_status},
    {"GET", "/metrics", NULL, serve_metrics},
    {NULL, NULL, NULL, NULL},
};

void status_server_start(struct status_server *server, struct loop *loop, const char *listen)
{
    const struct httpd_options options = {
        .listen = listen, .routes = routes, .ctx = server, .body_max = BODY_MAX, .response_max = VIEW_PAGE_MAX,
        .connections_max = CONNECTIONS_MAX, .idle_timeout_s = IDLE_S, .request_timeout_ms = REQUEST_MS,
        .connection_memory = CONNECTION_MEMORY};
    struct err err;
    if (listen == NULL)
        return;
    if (httpd_new(loop, &options, &server->httpd, &err) < 0)
        log_warn("no status server, going on without", LOG_STR("listen", listen), LOG_ERR(&err));
}

void status_server_stop(struct status_server *server)
{
    server->httpd = httpd_free(server->httpd);
}
