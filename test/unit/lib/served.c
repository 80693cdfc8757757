/* sees: http */
#include "served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct loop *served_loop;
struct httpd *served_httpd;

struct served_seen served_seen;
void (*served_on_request)(void);

static void look(const struct httpd_request *request)
{
    served_seen.calls++;
    if (served_on_request != NULL)
        served_on_request();
    snprintf(served_seen.method, sizeof(served_seen.method), "%s", request->method);
    snprintf(served_seen.path, sizeof(served_seen.path), "%s", request->path);
    snprintf(served_seen.accept, sizeof(served_seen.accept), "%s", request->accept);
    served_seen.body_len = request->body_len;
    served_seen.body_sum = 0;
    for (size_t i = 0; i < request->body_len; i++)
        served_seen.body_sum += (unsigned char)request->body[i];
    served_seen.terminated = request->body[request->body_len] == '\0';
    served_seen.received_ns = request->received_ns;
}

static void handle_hello(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    look(request);
    buf_printf(&response->body, "hello from %s\n", (const char *)ctx);
    if (served_seen.quiesce)
        httpd_quiesce(served_httpd, NULL, NULL);
}

static void handle_post(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    look(request);
    response->status = 201;
    response->content_type = "application/json";
    buf_printf(&response->body, "{\"bytes\":%zu}", request->body_len);
}

static void handle_empty(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    look(request);
    response->status = 204;
}

static void handle_large(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    static const char block[1024];
    (void)ctx;
    look(request);
    while (buf_append(&response->body, block, sizeof(block)) == 0)
        ;
}

/* As large as allowed: more than the socket takes at once. */
static void handle_full(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    look(request);
    for (size_t i = 0; i < response->body.max; i++)
        buf_putc(&response->body, 'y');
}

static const struct httpd_route routes[] = {
    {.method = "GET", .path = "/hello", .handler = handle_hello},
    {.method = "POST", .path = "/json", .content_type = "application/json", .handler = handle_post},
    {.method = "POST", .path = "/any", .handler = handle_post},
    {.method = "GET", .path = "/any", .handler = handle_hello},
    {.method = "GET", .path = "/empty", .handler = handle_empty},
    {.method = "GET", .path = "/large", .handler = handle_large},
    {.method = "GET", .path = "/full", .handler = handle_full},
    {.path = NULL},
};

struct httpd_options served_default_options(void)
{
    return (struct httpd_options){
        .listen = "127.0.0.1:0",
        .routes = routes,
        .ctx = (void *)"ctx",
        .body_max = SERVED_BODY_MAX,
        .response_max = SERVED_RESPONSE_MAX,
        .connections_max = 50,
        .idle_timeout_s = PEER_PATIENCE_S,
        .request_timeout_ms = PEER_PATIENCE_S * 1000,
    };
}

void served_start_with(const struct httpd_options *options)
{
    struct err err = {0};
    memset(&served_seen, 0, sizeof(served_seen));
    served_on_request = NULL;
    if (httpd_new(served_loop, options, &served_httpd, &err) < 0)
        fail_msg("%s", err.text);
}

void served_start(void)
{
    struct httpd_options options = served_default_options();
    served_start_with(&options);
}

int served_setup(void **state)
{
    (void)state;
    served_httpd = NULL;
    return loop_new(&served_loop, NULL);
}

int served_teardown(void **state)
{
    (void)state;
    served_httpd = httpd_free(served_httpd);
    served_loop = loop_free(served_loop);
    return 0;
}

uint64_t served_refused(enum httpd_refusal reason)
{
    return httpd_get_stats(served_httpd)->refused[reason];
}

void served_run_for(int64_t ms)
{
    assert_true(peer_run_loop_for(served_loop, ms));
}

/* Turns until the server has no connection left. */
void served_run_until_empty(void)
{
    int64_t end_ms = peer_now_ms() + PEER_PATIENCE_S * 1000;
    while (!httpd_is_empty(served_httpd)) {
        served_run_for(2);
        assert_true(peer_now_ms() < end_ms);
    }
}

/* A client: sends one text, optionally more bytes, and reads until the server closes or `until` stands there. */

struct served_client served_client;

void served_play_client(void *ctx)
{
    struct served_client *c = ctx;
    int fd = peer_connect(httpd_port(served_httpd));
    if (fd < 0)
        return;
    c->sent = peer_send(fd, c->send) && peer_send_fill(fd, c->fill) && peer_send(fd, c->after != NULL ? c->after : "");
    if (c->half_close)
        shutdown(fd, SHUT_WR);
    c->reply_len = peer_read_until(fd, c->until, c->reply);
    close(fd);
}

const char *served_ask(const char *request)
{
    memset(&served_client, 0, sizeof(served_client));
    served_client.send = request;
    assert_true(peer_play(served_loop, served_play_client, &served_client));
    return served_client.reply;
}

void served_assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%.300s\"", part, text);
}

void served_assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" in \"%.300s\"", part, text);
}

void served_assert_starts(const char *text, const char *start_text)
{
    if (strncmp(text, start_text, strlen(start_text)) != 0)
        fail_msg("expected \"%s\" at the start of \"%.300s\"", start_text, text);
}

void served_play_leaver(void *ctx)
{
    int fd = peer_connect(httpd_port(served_httpd));
    peer_send(fd, ctx);
    peer_sleep_ms(20);
    peer_reset(fd);
}

void served_play_trickle(void *ctx)
{
    struct served_trickle *trickle = ctx;
    char byte;
    int fd = peer_connect(httpd_port(served_httpd));
    int64_t end_ms = peer_now_ms() + PEER_PATIENCE_S * 1000;
    peer_send(fd, trickle->begin);
    if (!trickle->drip) {
        peer_drain(fd);
        close(fd);
        return;
    }
    while (peer_now_ms() < end_ms && peer_send_n(fd, "a", 1)) {
        trickle->sent++;
        peer_sleep_ms(20);
        if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
            break;
    }
    close(fd);
}
