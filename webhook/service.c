#include "webhook/service.h"

#include "common/http/httpd.h"
#include "common/http/httpd_tls.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"
#include "webhook/admission.h"
#include "webhook/certs.h"
#include "webhook/config.h"

#include <signal.h>
#include <string.h>
#include <time.h>

/* From 50 µs: a review takes tens of microseconds, and a histogram that begins at 100 ms is blind to them. */
static const uint64_t latency_bounds_us[] = {50,   100,   200,   500,    1000,   2000,
                                             5000, 10000, 50000, 100000, 500000, 2000000};

struct counters {
    uint64_t reviews[INJECT_DECISION_COUNT][INJECT_REASON_COUNT];
    uint64_t bad_requests; /* not an AdmissionReview: 400 */
    uint64_t errors;       /* no memory: 500 */
    uint64_t warnings[WARNING_KIND_COUNT];
    uint64_t dry_runs;
    uint64_t restored;
    struct metrics_histogram latency;
};

struct service {
    const struct settings *server; /* as they were at start; those that change under way are config's */
    struct config *config;
    struct loop *loop;
    struct httpd *mutate;
    struct httpd *admin;
    struct certs *certs;
    struct loop_timer leave;
    bool draining;
    struct counters counters;
    struct log_throttle refusing;
};

/* ---- POST /mutate ---- */

static uint64_t microseconds_since(int64_t since_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - since_ns;
    return ns > 0 ? (uint64_t)ns / 1000 : 0;
}

static void count_review(struct counters *counters, const struct admission_result *result, uint64_t took_us)
{
    counters->reviews[result->decision][result->reason]++;
    for (unsigned kind = 0; kind < WARNING_KIND_COUNT; kind++)
        counters->warnings[kind] += result->warnings.of_kind[kind];
    counters->dry_runs += result->dry_run ? 1 : 0;
    counters->restored += result->restored ? 1 : 0;
    metrics_observe_us(&counters->latency, took_us);
}

/* The author of a Deployment sees no admission warning and only the first one in `status`: the log has them all. */
static void log_warnings(const struct admission_result *result)
{
    for (unsigned i = 0; i < warnings_shown(&result->warnings); i++)
        log_warn("admission warning", LOG_STR("namespace", result->pod_namespace), LOG_STR("pod", result->pod),
                 LOG_STR("uid", result->uid), LOG_STR("warning", warnings_text(&result->warnings, i)));
}

static void log_review(const struct admission_result *result, uint64_t took_us)
{
    bool of_no_interest = result->reason == INJECT_NOT_ANNOTATED || result->reason == INJECT_MIRROR_POD;
    log_write(of_no_interest ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "review",
              LOG_FIELDS(LOG_STR("namespace", result->pod_namespace), LOG_STR("pod", result->pod),
                         LOG_STR("owner_kind", result->owner_kind), LOG_STR("owner", result->owner_name),
                         LOG_STR("uid", result->uid), LOG_STR("decision", inject_decision_names[result->decision]),
                         LOG_STR("reason", inject_reason_names[result->reason]), LOG_STR("service", result->service),
                         LOG_STR("dry_run", result->dry_run ? "true" : "false"), LOG_I64("us", took_us),
                         LOG_I64("warnings", result->warnings.count)));
    log_warnings(result);
}

static void refuse(struct service *service, struct httpd_response *response, int rc, const struct err *err)
{
    bool theirs = rc == -EINVAL || rc == -EFBIG;
    if (theirs)
        service->counters.bad_requests++;
    else
        service->counters.errors++;
    response->status = rc == -EINVAL ? 400 : rc == -EFBIG ? 413 : 500;
    buf_clear(&response->body);
    buf_printf(&response->body, "%s\n", err->text);
    log_throttled(&service->refusing, loop_now_ms(service->loop), LOG_LEVEL_WARN,
                  theirs ? "not an AdmissionReview" : "review failed", LOG_FIELDS(LOG_ERR(err)));
}

static void answer(struct service *service, bool all, const struct httpd_request *request,
                   struct httpd_response *response)
{
    struct admission_result result;
    struct err err;
    struct span body = {request->body, request->body_len};
    int rc = admission_answer(config_policy(service->config), body, all, &result, &response->body, &err);
    if (rc < 0) {
        refuse(service, response, rc, &err);
        return;
    }
    uint64_t took_us = microseconds_since(request->received_ns);
    response->content_type = "application/json";
    count_review(&service->counters, &result, took_us);
    log_review(&result, took_us);
}

static void serve_mutate(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    answer(ctx, /* all= */ false, request, response);
}

static void serve_mutate_all(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    answer(ctx, /* all= */ true, request, response);
}

static const struct httpd_route mutate_routes[] = {
    {"POST", "/mutate", "application/json", serve_mutate},
    {"POST", "/mutate/all", "application/json", serve_mutate_all},
    {NULL, NULL, NULL, NULL},
};

/* ---- /healthz, /readyz, /metrics ---- */

/* Alive means: the loop turns. A bad certificate is no reason to be restarted. */
static void serve_healthz(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    (void)request;
    buf_puts(&response->body, "ok\n");
}

static void serve_readyz(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    const struct service *service = ctx;
    const char *reason = "draining";
    (void)request;
    bool ready = !service->draining && certs_usable(service->certs, loop_wall_ms() / 1000, &reason);
    response->status = ready ? 200 : 503;
    buf_printf(&response->body, "%s\n", ready ? "ok" : reason);
}

static void write_warnings(struct buf *out, const struct counters *counters)
{
    static const char name[] = "profefe_webhook_warnings_total";
    metrics_family(out, name, "counter", "Admission warnings given to pods' authors, by kind.");
    for (unsigned kind = 0; kind < WARNING_KIND_COUNT; kind++)
        metrics_sample(out, name, counters->warnings[kind], "kind", warning_kind_names[kind], NULL);
}

static void write_reviews(struct buf *out, const struct counters *counters)
{
    static const char name[] = "profefe_webhook_reviews_total";
    metrics_family(out, name, "counter", "AdmissionReviews answered, by decision and reason.");
    for (unsigned d = 0; d < INJECT_DECISION_COUNT; d++) {
        for (unsigned r = 0; r < INJECT_REASON_COUNT; r++) {
            bool usual = d == INJECT_INJECTED && r == INJECT_NO_REASON;
            if (counters->reviews[d][r] > 0 || usual)
                metrics_sample(out, name, counters->reviews[d][r], "result", inject_decision_names[d], "reason",
                               inject_reason_names[r], NULL);
        }
    }
    metrics_histogram_write(out, "profefe_webhook_review_seconds",
                            "From the last byte of a review to its answer, without TLS.", &counters->latency);
    write_warnings(out, counters);
    metrics_family(out, "profefe_webhook_dry_run_reviews_total", "counter", "Reviews with dryRun true.");
    metrics_sample(out, "profefe_webhook_dry_run_reviews_total", counters->dry_runs, NULL);
    metrics_family(out, "profefe_webhook_restart_policies_restored_total", "counter",
                   "Agents in init containers that another webhook had taken restartPolicy Always from.");
    metrics_sample(out, "profefe_webhook_restart_policies_restored_total", counters->restored, NULL);
}

static void write_requests(struct buf *out, const struct service *service)
{
    static const char name[] = "profefe_webhook_refused_requests_total";
    const struct httpd_stats *stats = httpd_get_stats(service->mutate);
    metrics_family(out, name, "counter", "Requests that got no review, by reason.");
    for (unsigned i = 0; i < HTTPD_REFUSED_COUNT; i++)
        metrics_sample(out, name, stats->refused[i], "reason", httpd_refusal_names[i], NULL);
    metrics_sample(out, name, service->counters.bad_requests, "reason", "not-a-review", NULL);
    metrics_sample(out, name, service->counters.errors, "reason", "error", NULL);
}

static void write_number(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    metrics_family(out, name, type, help);
    metrics_sample(out, name, value, NULL);
}

static void write_connections(struct buf *out, const struct service *service)
{
    static const char cut[] = "profefe_webhook_connections_cut_total";
    const struct httpd_stats *stats = httpd_get_stats(service->mutate);
    write_number(out, "profefe_webhook_requests_in_flight", "gauge", "Requests under way now.", stats->in_flight);
    write_number(out, "profefe_webhook_connections", "gauge", "TLS connections open now.", stats->connections);
    write_number(out, "profefe_webhook_tls_failures_total", "counter", "TLS handshakes that failed.",
                 stats->tls_failures);
    write_number(out, "profefe_webhook_accept_pauses_total", "counter",
                 "Times no connection was accepted for a moment, since no descriptor or no room was left.",
                 stats->accept_pauses);
    metrics_family(out, cut, "counter",
                   "Connections ended by the webhook: idle or slow ones to make room, others at a deadline.");
    for (unsigned i = 0; i < HTTPD_CUT_COUNT; i++)
        metrics_sample(out, cut, stats->cut[i], "reason", httpd_cut_names[i], NULL);
}

static void write_loads(struct buf *out, const char *name, const char *help, const struct certs_loads *loads)
{
    metrics_family(out, name, "counter", help);
    metrics_sample(out, name, loads->taken, "result", "taken", NULL);
    metrics_sample(out, name, loads->refused, "result", "refused", NULL);
}

static void write_certificate(struct buf *out, const struct service *service)
{
    const struct certs_stats *stats = certs_get_stats(service->certs);
    write_number(out, "profefe_webhook_certificate_expiry_timestamp_seconds", "gauge",
                 "Unix time at which the certificate in use expires; 0 = none.",
                 (uint64_t)certs_expiry_s(service->certs));
    write_loads(out, "profefe_webhook_certificate_loads_total", "Times the certificate files were read, by result.",
                &stats->pair);
    write_number(out, "profefe_webhook_certificate_last_load_successful", "gauge",
                 "1 = the newest certificate files are in use.", stats->pair.last_taken ? 1 : 0);
    if (settings_is_set(service->server, SETTING_SERVER_CLIENT_CA))
        write_loads(out, "profefe_webhook_client_ca_loads_total", "Times the client CA file was read, by result.",
                    &stats->client_ca);
}

static void write_config(struct buf *out, const struct service *service)
{
    static const char reloads[] = "profefe_webhook_config_reloads_total";
    const struct config_stats *stats = config_get_stats(service->config);
    metrics_family(out, reloads, "counter", "Times a changed configuration was read, by result.");
    metrics_sample(out, reloads, stats->taken, "result", "taken", NULL);
    metrics_sample(out, reloads, stats->refused, "result", "refused", NULL);
    write_number(out, "profefe_webhook_config_last_reload_successful", "gauge",
                 "1 = the newest configuration is in use, 0 = it was refused and the one before stays.",
                 stats->last_taken ? 1 : 0);
}

static void serve_metrics(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    const struct service *service = ctx;
    (void)request;
    response->content_type = METRICS_CONTENT_TYPE;
    metrics_build_info(&response->body, "profefe_webhook");
    write_number(&response->body, "profefe_webhook_log_lines_lost_total", "counter",
                 "Log lines that could not be written.", log_lost_lines());
    write_reviews(&response->body, &service->counters);
    write_requests(&response->body, service);
    write_connections(&response->body, service);
    write_certificate(&response->body, service);
    write_config(&response->body, service);
}

static const struct httpd_route admin_routes[] = {
    {"GET", "/healthz", NULL, serve_healthz},
    {"GET", "/readyz", NULL, serve_readyz},
    {"GET", "/metrics", NULL, serve_metrics},
    {NULL, NULL, NULL, NULL},
};

/* ---- stopping ---- */

static void leave(void *ctx)
{
    struct service *service = ctx;
    loop_stop(service->loop);
}

/* The Service goes on sending for a moment after readiness is lost; then the port closes and what is under way ends. */
static void on_drained(void *ctx)
{
    struct service *service = ctx;
    loop_timer_init(&service->leave, service->loop, leave, service);
    loop_timer_arm(&service->leave, SERVICE_LEAVE_MS);
    httpd_quiesce(service->mutate, leave, service);
}

static void on_hangup(void *ctx, int signo)
{
    struct service *service = ctx;
    (void)signo;
    log_info("looking at the files", LOG_STR("signal", "HUP"));
    config_look(service->config);
    certs_look(service->certs);
}

static void on_signal(void *ctx, int signo)
{
    struct service *service = ctx;
    log_info(service->draining ? "leaving at once" : "draining", LOG_STR("signal", signo == SIGTERM ? "TERM" : "INT"));
    if (service->draining) {
        leave(service);
        return;
    }
    service->draining = true;
    httpd_drain(service->mutate);
    loop_timer_init(&service->leave, service->loop, on_drained, service);
    loop_timer_arm(&service->leave, settings_get_ms(service->server, SETTING_SERVER_DRAIN));
}

/* ---- starting ---- */

static int start_mutate(struct service *service, struct err *err)
{
    const struct httpd_options options = {
        .listen = settings_get(service->server, SETTING_SERVER_LISTEN),
        .routes = mutate_routes,
        .ctx = service,
        .body_max = SERVICE_BODY_MAX,
        .bodies_max = SERVICE_BODIES_MAX,
        .response_max = REVIEW_REPLY_MAX,
        .replies_max = SERVICE_REPLIES_MAX,
        .connections_max = SERVICE_CONNECTIONS_MAX,
        .connections_peer_max = SERVICE_CONNECTIONS_PEER_MAX,
        .idle_timeout_s = SERVICE_IDLE_S,
        .request_timeout_ms = SERVICE_REQUEST_MS,
        .connection_memory = SERVICE_CONNECTION_MEMORY,
        .tls = &httpd_tls_gnutls,
        .tls_priorities = CERTS_PRIORITIES,
        .client_certificates = settings_is_set(service->server, SETTING_SERVER_CLIENT_CA),
    };
    return httpd_new(service->loop, &options, &service->mutate, err);
}

static int start_admin(struct service *service, struct err *err)
{
    const struct httpd_options options = {
        .listen = settings_get(service->server, SETTING_SERVER_ADMIN_LISTEN),
        .routes = admin_routes,
        .ctx = service,
        .response_max = SERVICE_METRICS_MAX,
        .connections_max = SERVICE_ADMIN_CONNECTIONS_MAX,
        .idle_timeout_s = SERVICE_IDLE_S,
        .request_timeout_ms = SERVICE_REQUEST_MS,
    };
    return httpd_new(service->loop, &options, &service->admin, err);
}

static int start_certs(struct service *service, struct err *err)
{
    const struct settings *server = service->server;
    const struct certs_files files = {
        .cert = settings_get(server, SETTING_SERVER_CERT),
        .key = settings_get(server, SETTING_SERVER_KEY),
        .client_ca = settings_get(server, SETTING_SERVER_CLIENT_CA),
    };
    return certs_new(service->loop, service->mutate, &files, settings_get_ms(server, SETTING_SERVER_RELOAD),
                     &service->certs, err);
}

/* What others send to whole groups of processes, and we have no use for, must not end admission. */
static void ignore_signals(void)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGQUIT, SIGIO};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_IGN);
}

static int start(struct service *service, const struct settings *base, const char *config_path, struct err *err)
{
    int rc = loop_new(&service->loop, err);
    if (rc == 0)
        rc = loop_signal_add(service->loop, SIGTERM, on_signal, service, err);
    if (rc == 0)
        rc = loop_signal_add(service->loop, SIGINT, on_signal, service, err);
    if (rc == 0)
        rc = config_new(service->loop, base, config_path, settings_get_ms(service->server, SETTING_SERVER_RELOAD),
                        &service->config, err);
    if (rc == 0)
        rc = start_mutate(service, err);
    if (rc == 0)
        rc = start_certs(service, err);
    if (rc == 0)
        rc = start_admin(service, err);
    if (rc == 0)
        rc = loop_signal_add(service->loop, SIGHUP, on_hangup, service, err);
    return rc;
}

static void stop(struct service *service)
{
    service->admin = httpd_free(service->admin);
    service->certs = certs_free(service->certs);
    service->mutate = httpd_free(service->mutate);
    service->config = config_free(service->config);
    service->loop = loop_free(service->loop);
}

static void tell_start(const struct service *service)
{
    log_info("serving", LOG_STR("listen", settings_get(service->server, SETTING_SERVER_LISTEN)),
             LOG_STR("admin", settings_get(service->server, SETTING_SERVER_ADMIN_LISTEN)),
             LOG_I64("port", httpd_port(service->mutate)), LOG_I64("admin_port", httpd_port(service->admin)),
             LOG_STR("image", settings_get(&config_policy(service->config)->settings, SETTING_IMAGE)));
}

int service_run(const struct settings *base, const char *config_path, const struct settings *server, struct err *err)
{
    struct service service = {.server = server};
    service.counters.latency.bounds_us = latency_bounds_us;
    service.counters.latency.bounds_count = sizeof(latency_bounds_us) / sizeof(latency_bounds_us[0]);
    ignore_signals();
    int rc = start(&service, base, config_path, err);
    if (rc == 0) {
        tell_start(&service);
        rc = loop_run(service.loop, err);
        loop_timer_disarm(&service.leave);
    }
    stop(&service);
    return rc;
}
