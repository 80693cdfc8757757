/* wrap: malloc calloc realloc strdup sendmsg */
#include "common/http/httpd.h"
#include "common/http/httpd_tls.h"
#include "common/http/tls_pair.h"

#include "alloc_fail_thread.h"
#include "peer.h"
#include "peer_pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum {
    BODY_MAX = 1024 * 1024,
    RESPONSE_MAX = 64 * 1024,
    CUT_MS = 300, /* request deadline of the tests that wait for it */
};

/* The server under test */

static struct loop *loop;
static struct httpd *httpd;

/* What the handler saw last. */
static struct {
    unsigned calls;
    char method[16];
    char path[64];
    char accept[64];
    size_t body_len;
    unsigned body_sum; /* of its bytes */
    bool terminated;
    int64_t received_ns;
    bool quiesce; /* do it from the handler */
} seen;

/* What the server has sent over TLS since a request came to a handler. */
static struct {
    unsigned calls;
    unsigned calls_of_last; /* answer: until the next request */
    size_t max; /* bytes taken at a time from then on; 0 = all */
} sends;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

/* A socket that has room for little is written to again when it has room for more: so soon that the wait for it is there. */
static ssize_t send_little(int fd, const struct msghdr *message, int flags)
{
    const int size = 64 * 1024;
    struct iovec some[16];
    struct msghdr cut = {.msg_iov = some};
    for (size_t left = sends.max; left > 0 && cut.msg_iovlen < message->msg_iovlen; cut.msg_iovlen++) {
        some[cut.msg_iovlen] = message->msg_iov[cut.msg_iovlen];
        if (some[cut.msg_iovlen].iov_len > left)
            some[cut.msg_iovlen].iov_len = left;
        left -= some[cut.msg_iovlen].iov_len;
    }
    ssize_t sent = __real_sendmsg(fd, &cut, flags);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* makes epoll say that there is room */
    return sent;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends.calls++;
    return seen.calls > 0 && sends.max > 0 ? send_little(fd, message, flags) : __real_sendmsg(fd, message, flags);
}

static void look(const struct httpd_request *request)
{
    seen.calls++;
    sends.calls_of_last = sends.calls;
    sends.calls = 0;
    snprintf(seen.method, sizeof(seen.method), "%s", request->method);
    snprintf(seen.path, sizeof(seen.path), "%s", request->path);
    snprintf(seen.accept, sizeof(seen.accept), "%s", request->accept);
    seen.body_len = request->body_len;
    seen.body_sum = 0;
    for (size_t i = 0; i < request->body_len; i++)
        seen.body_sum += (unsigned char)request->body[i];
    seen.terminated = request->body[request->body_len] == '\0';
    seen.received_ns = request->received_ns;
}

static void handle_hello(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    look(request);
    buf_printf(&response->body, "hello from %s\n", (const char *)ctx);
    if (seen.quiesce)
        httpd_quiesce(httpd, NULL, NULL);
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

static struct httpd_options default_options(void)
{
    return (struct httpd_options){
        .listen = "127.0.0.1:0",
        .routes = routes,
        .ctx = (void *)"ctx",
        .body_max = BODY_MAX,
        .response_max = RESPONSE_MAX,
        .connections_max = 50,
        .idle_timeout_s = PEER_PATIENCE_S,
        .request_timeout_ms = PEER_PATIENCE_S * 1000,
    };
}

static void start_with(const struct httpd_options *options)
{
    struct err err = {0};
    memset(&seen, 0, sizeof(seen));
    memset(&sends, 0, sizeof(sends));
    if (httpd_new(loop, options, &httpd, &err) < 0)
        fail_msg("%s", err.text);
}

static void start(void)
{
    struct httpd_options options = default_options();
    start_with(&options);
}

static int setup(void **state)
{
    (void)state;
    httpd = NULL;
    return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    httpd = httpd_free(httpd);
    loop = loop_free(loop);
    return 0;
}

static uint64_t refused(enum httpd_refusal reason)
{
    return httpd_get_stats(httpd)->refused[reason];
}

static void run_for(int64_t ms)
{
    assert_true(peer_run_loop_for(loop, ms));
}

/* Turns until the server has no connection left. */
static void run_until_idle(void)
{
    int64_t end_ms = peer_now_ms() + PEER_PATIENCE_S * 1000;
    while (!httpd_is_empty(httpd)) {
        run_for(2);
        assert_true(peer_now_ms() < end_ms);
    }
}

/* A client: sends one text, optionally more bytes, and reads until the server closes or `until` stands there. */

struct client {
    const char *send;
    size_t fill;        /* bytes of 'x' after it */
    const char *after;  /* and this */
    const char *until;
    bool half_close;    /* after sending */
    bool sent;
    char reply[PEER_TEXT_MAX];
    size_t reply_len;
};

static struct client client;

static void play_client(void *ctx)
{
    struct client *c = ctx;
    int fd = peer_connect(httpd_port(httpd));
    if (fd < 0)
        return;
    c->sent = peer_send(fd, c->send) && peer_send_fill(fd, c->fill) && peer_send(fd, c->after != NULL ? c->after : "");
    if (c->half_close)
        shutdown(fd, SHUT_WR);
    c->reply_len = peer_read_until(fd, c->until, c->reply);
    close(fd);
}

static const char *ask(const char *request)
{
    memset(&client, 0, sizeof(client));
    client.send = request;
    assert_true(peer_play(loop, play_client, &client));
    return client.reply;
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%.300s\"", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" in \"%.300s\"", part, text);
}

static void assert_starts(const char *text, const char *start_text)
{
    if (strncmp(text, start_text, strlen(start_text)) != 0)
        fail_msg("expected \"%s\" at the start of \"%.300s\"", start_text, text);
}

#define HEAD_CLOSE "Host: x\r\nConnection: close\r\n"

/* Plain requests */

static void get_is_answered(void **state)
{
    (void)state;
    start();
    struct timespec before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const char *reply = ask("GET /hello?x=1 HTTP/1.1\r\nAccept: text/x\r\n" HEAD_CLOSE "\r\n");
    assert_starts(reply, "HTTP/1.1 200 ");
    assert_contains(reply, "Content-Length: 15\r\n");
    assert_contains(reply, "Content-Type: text/plain; charset=utf-8\r\n");
    assert_contains(reply, "\r\n\r\nhello from ctx\n");
    assert_string_equal(seen.method, "GET");
    assert_string_equal(seen.path, "/hello");
    assert_string_equal(seen.accept, "text/x");
    assert_int_equal(seen.body_len, 0);
    assert_true(seen.terminated);
    assert_true(seen.received_ns >= (int64_t)before.tv_sec * 1000000000 + before.tv_nsec);
    assert_int_equal(httpd_get_stats(httpd)->requests, 1);
    run_until_idle();
}

static void head_has_the_length_but_no_body(void **state)
{
    (void)state;
    start();
    const char *reply = ask("HEAD /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    assert_starts(reply, "HTTP/1.1 200 ");
    assert_contains(reply, "Content-Length: 15\r\n");
    assert_lacks(reply, "hello from");
    assert_string_equal(seen.method, "HEAD");
    assert_string_equal(seen.accept, "");
}

static void empty_answers_are_fine(void **state)
{
    (void)state;
    start();
    assert_starts(ask("GET /empty HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "HTTP/1.1 204 ");
}

static void answer_at_its_limit_arrives_whole(void **state)
{
    (void)state;
    start();
    ask("GET /full HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    const char *body = strstr(client.reply, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(strlen(body + 4), RESPONSE_MAX);
    assert_contains(client.reply, "Content-Length: 65536\r\n");
}

static void answer_over_its_limit_is_500(void **state)
{
    (void)state;
    start();
    const char *reply = ask("GET /large HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    assert_starts(reply, "HTTP/1.1 500 ");
    assert_contains(reply, "did not fit");
}

static void connection_is_kept_and_requests_may_be_pipelined(void **state)
{
    (void)state;
    start();
    ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nPOST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    const char *second = strstr(client.reply, "HTTP/1.1 201");
    assert_starts(client.reply, "HTTP/1.1 200");
    assert_non_null(second);
    assert_contains(second, "HTTP/1.1 404");
    assert_contains(strstr(second, "HTTP/1.1 404"), "HTTP/1.1 200");
    assert_int_equal(seen.calls, 3);
}

static void http_1_0_is_understood(void **state)
{
    (void)state;
    start();
    assert_contains(ask("GET /hello HTTP/1.0\r\n\r\n"), "hello from ctx\n");
}

static void half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    client.send = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    client.half_close = true;
    client.until = "hello from ctx\n";
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 200");
}

/* Refusals */

static void unknown_path_is_404(void **state)
{
    (void)state;
    start();
    assert_starts(ask("GET /nowhere HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "HTTP/1.1 404 ");
    assert_int_equal(refused(HTTPD_REFUSED_PATH), 1);
    assert_int_equal(seen.calls, 0);
    assert_int_equal(httpd_get_stats(httpd)->requests, 0);
}

static void wrong_method_is_405_and_says_which(void **state)
{
    (void)state;
    start();
    const char *reply = ask("DELETE /any HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    assert_starts(reply, "HTTP/1.1 405 ");
    assert_contains(reply, "Allow: POST, GET, HEAD\r\n");
    assert_contains(reply, "expected method POST, GET, HEAD\n");
    assert_starts(ask("HEAD /json HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "HTTP/1.1 405 ");
    assert_int_equal(refused(HTTPD_REFUSED_METHOD), 2);
}

static void content_type_is_checked_without_its_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool fits;
    } cases[] = {
        {"Content-Type: application/json\r\n", true},
        {"Content-Type: Application/JSON ; charset=utf-8\r\n", true},
        {"Content-Type: text/plain\r\n", false},
        {"Content-Type: application/jsonx\r\n", false},
        {"Content-Type: ;application/json\r\n", false},
        {"", false},
    };
    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char request[256];
        snprintf(request, sizeof(request), "POST /json HTTP/1.1\r\n%sContent-Length: 2\r\n" HEAD_CLOSE "\r\n{}",
                 cases[i].header);
        const char *reply = ask(request);
        assert_starts(reply, cases[i].fits ? "HTTP/1.1 201 " : "HTTP/1.1 415 ");
        assert_contains(reply, cases[i].fits ? "{\"bytes\":2}" : "expected Content-Type: application/json\n");
    }
    assert_int_equal(refused(HTTPD_REFUSED_TYPE), 4);
    assert_int_equal(seen.calls, 2);
}

/* Bodies */

static void body_of_many_pieces_arrives_whole(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nContent-Length: 1048576\r\n" HEAD_CLOSE "\r\n";
    client.fill = BODY_MAX; /* exactly the limit */
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 201 ");
    assert_int_equal(seen.body_len, BODY_MAX);
    assert_int_equal(seen.body_sum, (unsigned)'x' * BODY_MAX);
    assert_true(seen.terminated);
}

static void play_slow_post(void *ctx)
{
    struct client *c = ctx;
    static const char request[] = "POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "4;ext=1\r\nab\0d\r\n10\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\n";
    int fd = peer_connect(httpd_port(httpd));
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        if (!peer_send_n(fd, request + i, 1))
            break;
        if (i % 16 == 0)
            peer_sleep_ms(1);
    }
    c->reply_len = peer_read_until(fd, "{\"bytes\":20}", c->reply);
    close(fd);
}

static void chunked_body_arrives_byte_by_byte_with_trailers(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    assert_true(peer_play(loop, play_slow_post, &client));
    assert_starts(client.reply, "HTTP/1.1 201 ");
    assert_int_equal(seen.body_len, 20);
}

static void expect_100_is_answered_first(void **state)
{
    (void)state;
    start();
    assert_contains(ask("POST /any HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" HEAD_CLOSE "\r\nabc"),
                    "HTTP/1.1 201 ");
    assert_starts(client.reply, "HTTP/1.1 100 Continue\r\n");
}

static void announced_body_over_the_limit_is_413_and_the_connection_goes_on(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n";
    client.fill = 10 * 1024 * 1024;
    client.after = "GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    assert_true(peer_play(loop, play_client, &client));
    assert_true(client.sent);
    assert_starts(client.reply, "HTTP/1.1 413 ");
    assert_contains(client.reply, "expected a body of at most 1048576 bytes\n");
    assert_contains(client.reply, "hello from ctx\n");
    assert_int_equal(refused(HTTPD_REFUSED_SIZE), 1);
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

static void body_too_long_to_drain_is_413_at_once(void **state)
{
    (void)state;
    start();
    const char *reply = ask("POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n");
    assert_starts(reply, "HTTP/1.1 413 ");
    assert_contains(reply, "Connection: close\r\n");
    assert_int_equal(refused(HTTPD_REFUSED_SIZE), 1);
}

static void client_that_waits_for_100_gets_its_refusal_at_once(void **state)
{
    (void)state;
    start();
    const char *reply = ask("POST /any HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
    assert_starts(reply, "HTTP/1.1 413 ");
    reply = ask("POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_starts(reply, "HTTP/1.1 404 ");
}

static void chunked_body_over_the_limit_is_413(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HEAD_CLOSE "\r\n200000\r\n";
    client.fill = 0x200000;
    client.after = "\r\n0\r\n\r\n";
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 413 ");
    assert_int_equal(seen.calls, 0);
    assert_int_equal(refused(HTTPD_REFUSED_SIZE), 1);
}

static void chunked_body_without_end_is_cut(void **state)
{
    (void)state;
    start();
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n";
    client.fill = 0xfffffff;
    assert_true(peer_play(loop, play_client, &client));
    assert_false(client.sent);
    assert_int_equal(refused(HTTPD_REFUSED_SIZE), 1);
    run_until_idle();
}

static void unknown_transfer_coding_is_501(void **state)
{
    (void)state;
    start();
    assert_starts(ask("POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc"), "HTTP/1.1 501 ");
    assert_int_equal(seen.calls, 0);
}

static void bodies_together_have_a_ceiling(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.bodies_max = 100 * 1000;
    start_with(&options);
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nContent-Length: 200000\r\n" HEAD_CLOSE "\r\n";
    client.fill = 200000;
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 503 ");
    assert_int_equal(refused(HTTPD_REFUSED_MEMORY), 1);
    /* and its memory was given back */
    client.send = "POST /any HTTP/1.1\r\nContent-Length: 50000\r\n" HEAD_CLOSE "\r\n";
    client.fill = 50000;
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 201 ");
}

/* A half body holds most of the memory: it goes, and the small one that came last is taken. */
static void largest_body_makes_room(void **state)
{
    (void)state;
    char text[PEER_TEXT_MAX];
    struct httpd_options options = default_options();
    options.bodies_max = 100 * 1000;
    start_with(&options);
    int fd = peer_connect(httpd_port(httpd));
    peer_send(fd, "POST /any HTTP/1.1\r\nContent-Length: 90000\r\n" HEAD_CLOSE "\r\n");
    peer_send_fill(fd, 80000);
    run_for(50);
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nContent-Length: 50000\r\n" HEAD_CLOSE "\r\n";
    client.fill = 50000;
    assert_true(peer_play(loop, play_client, &client));
    assert_starts(client.reply, "HTTP/1.1 201 ");
    peer_send_fill(fd, 10000);
    run_for(50);
    peer_read_until(fd, NULL, text);
    assert_starts(text, "HTTP/1.1 503 ");
    assert_int_equal(refused(HTTPD_REFUSED_MEMORY), 1);
    close(fd);
}

static void query_of_too_many_arguments_ends_at_once(void **state)
{
    (void)state;
    char request[2048];
    size_t len = (size_t)snprintf(request, sizeof(request), "GET /hello?a");
    start();
    while (len < 1200)
        len += (size_t)snprintf(request + len, sizeof(request) - len, "&a");
    snprintf(request + len, sizeof(request) - len, " HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    assert_string_equal(ask(request), "");
    assert_int_equal(seen.calls, 0);
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 1);
}

/* Broken clients */

static void malformed_requests_are_counted_and_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        size_t fill;
        const char *reply;
    } cases[] = {
        {"GET /hello HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 400 "},                                /* no Host */
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n", 0, "HTTP/1.1 400 "},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 0, "HTTP/1.1 413 "},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0, "HTTP/1.1 400 "},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 0, "HTTP/1.1 400 "},
        {"GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: ", 64 * 1024, "HTTP/1.1 431 "},
        {"GET /hello HTTP/9.9\r\nHost: x\r\n\r\n", 0, ""},
        {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", 0, ""}, /* TLS to a plain port */
        {"GET /", 64 * 1024, ""},
    };
    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&client, 0, sizeof(client));
        client.send = cases[i].request;
        client.fill = cases[i].fill;
        if (!peer_play(loop, play_client, &client))
            fail_msg("case %zu: no end", i);
        assert_starts(client.reply, cases[i].reply);
        run_until_idle();
        if (refused(HTTPD_REFUSED_INCOMPLETE) != i + 1)
            fail_msg("case %zu was not counted", i);
    }
    assert_int_equal(seen.calls, 0);
    assert_contains(ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "hello from ctx\n");
}

static void play_leaver(void *ctx)
{
    int fd = peer_connect(httpd_port(httpd));
    peer_send(fd, ctx);
    peer_sleep_ms(20);
    peer_reset(fd);
}

static void play_probe(void *ctx)
{
    (void)ctx;
    close(peer_connect(httpd_port(httpd)));
}

static void client_that_leaves_early_is_counted(void **state)
{
    (void)state;
    start();
    assert_true(peer_play(loop, play_leaver, (void *)"GET /hel"));
    run_until_idle();
    assert_true(peer_play(loop, play_leaver, (void *)"GET /hello HTTP/1.1\r\nHost: x\r\n"));
    run_until_idle();
    assert_true(peer_play(loop, play_leaver, (void *)"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
    run_until_idle();
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 3);
    assert_true(peer_play(loop, play_leaver, (void *)"")); /* port probes, ended by RST and by FIN */
    run_until_idle();
    assert_true(peer_play(loop, play_probe, NULL));
    run_until_idle();
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 3);
}

/* Time */

struct trickle {
    const char *begin;
    bool drip;      /* a byte every 20 ms, never ending */
    uint64_t sent;
};

static void play_trickle(void *ctx)
{
    struct trickle *trickle = ctx;
    char byte;
    int fd = peer_connect(httpd_port(httpd));
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

static void slow_requests_are_cut_wherever_they_are(void **state)
{
    (void)state;
    static const struct trickle cases[] = {
        {"", false, 0},
        {"", true, 0},
        {"GET /he", true, 0},
        {"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ", true, 0},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", true, 0},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n", true, 0},
        {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", true, 0},
    };
    struct httpd_options options = default_options();
    options.request_timeout_ms = CUT_MS;
    start_with(&options);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trickle trickle;
        uint64_t counted;
        int tries = 0;
        do { /* again where this machine was so slow that a dripping one was cut before it had begun */
            trickle = cases[i];
            /* The last is counted as 404, unless it was cut before. */
            uint64_t before = refused(HTTPD_REFUSED_INCOMPLETE) + refused(HTTPD_REFUSED_PATH);
            int64_t begin_ms = peer_now_ms();
            assert_true(peer_play(loop, play_trickle, &trickle));
            assert_true(peer_now_ms() - begin_ms < PEER_PATIENCE_S * 1000);
            run_until_idle();
            counted = refused(HTTPD_REFUSED_INCOMPLETE) + refused(HTTPD_REFUSED_PATH) - before;
        } while (trickle.drip && counted == 0 && trickle.sent < 3 && ++tries < 3);
        assert_int_equal(counted, trickle.drip ? 1 : 0); /* the silent one is no failure */
    }
    assert_int_equal(seen.calls, 0);
}

/* After a first request the line of the second comes so slowly that the inactivity timeout never strikes. */
static void kept_connection_cannot_be_held_by_trickling(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.request_timeout_ms = CUT_MS;
    options.idle_timeout_s = 1;
    start_with(&options);
    struct trickle trickle = {"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", true, 0};
    assert_true(peer_play(loop, play_trickle, &trickle));
    assert_int_equal(seen.calls, 1);
    assert_true(trickle.sent > 10); /* it was given idle_timeout_s + request_timeout_ms */
    run_until_idle();
}

static void idle_connection_is_closed(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.idle_timeout_s = 1;
    start_with(&options);
    struct trickle silent = {"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", false, 0};
    assert_true(peer_play(loop, play_trickle, &silent));
    assert_int_equal(seen.calls, 1);
    run_until_idle();
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

/* Asks for more than the sockets hold and leaves the reading to the test. */
static void play_asking_only(void *ctx)
{
    int size = 2048;
    int *ret_fd = ctx;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(httpd_port(httpd))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    peer_set_patience(fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        peer_send(fd, "GET /full HTTP/1.1\r\nHost: x\r\n\r\n");
    *ret_fd = fd;
}

static void client_that_does_not_take_its_answer_is_cut(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.request_timeout_ms = CUT_MS;
    options.response_max = 16 * 1024 * 1024; /* more than both socket buffers */
    start_with(&options);
    int fd = -1;
    assert_true(peer_play(loop, play_asking_only, &fd));
    run_until_idle();
    assert_int_equal(seen.calls, 1);
    close(fd);
}

/* libmicrohttpd 0.9.75 turns without end at a chunk size line longer than its buffer. */
static void endless_chunk_extension_is_cut_without_burning_the_cpu(void **state)
{
    (void)state;
    start();
    int64_t cpu_ms = peer_cpu_ms();
    memset(&client, 0, sizeof(client));
    client.send = "POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=";
    client.fill = 256 * 1024;
    assert_true(peer_play(loop, play_client, &client));
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 1);
    assert_true(peer_cpu_ms() - cpu_ms < 5000);
    run_until_idle();
}

/* Connections */

static void play_crowd(void *ctx)
{
    char text[PEER_TEXT_MAX];
    unsigned *served = ctx;
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = peer_connect(httpd_port(httpd));
        if (peer_send(fds[i], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n") &&
            peer_read_until(fds[i], "hello from ctx\n", text) > 0)
            ++*served;
    }
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static uint64_t cut(enum httpd_cut reason)
{
    return httpd_get_stats(httpd)->cut[reason];
}

static void idle_connections_make_room(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.connections_max = 2;
    start_with(&options);
    unsigned served = 0;
    assert_true(peer_play(loop, play_crowd, &served));
    assert_int_equal(served, 4);
    assert_int_equal(cut(HTTPD_CUT_IDLE), 2);
    assert_int_equal(refused(HTTPD_REFUSED_LIMIT), 0);
    run_until_idle();
}

/* Requests that begin and go no further hold all the places; then somebody asks. */
struct jam {
    unsigned held;
    char reply[PEER_TEXT_MAX];
};

static void play_jam(void *ctx)
{
    struct jam *jam = ctx;
    int fds[8];
    for (unsigned i = 0; i < jam->held; i++) {
        fds[i] = peer_connect(httpd_port(httpd));
        peer_send(fds[i], "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    }
    int fd = peer_connect(httpd_port(httpd));
    peer_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read_until(fd, "hello from ctx\n", jam->reply);
    close(fd);
    for (unsigned i = 0; i < jam->held; i++)
        close(fds[i]);
}

/* It waits in the backlog for as long as they have a right to their places. */
static void slow_requests_make_room(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.connections_max = 2;
    start_with(&options);
    struct jam jam = {.held = 4};
    assert_true(peer_play(loop, play_jam, &jam));
    assert_starts(jam.reply, "HTTP/1.1 200 ");
    assert_true(cut(HTTPD_CUT_SLOW) >= 1);
    assert_true(httpd_get_stats(httpd)->accept_pauses > 0);
    assert_int_equal(refused(HTTPD_REFUSED_LIMIT), 0);
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->in_flight, 0);
}

/* There are places, but not for one more of the same address: its own idle connection goes. */
static void peer_with_its_share_makes_room_itself(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.connections_peer_max = 2;
    start_with(&options);
    unsigned served = 0;
    assert_true(peer_play(loop, play_crowd, &served));
    assert_int_equal(served, 4);
    assert_int_equal(cut(HTTPD_CUT_IDLE), 2);
    run_until_idle();
}

static void play_draining(void *ctx)
{
    char *text = ctx;
    int fd = peer_connect(httpd_port(httpd));
    peer_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read_until(fd, NULL, text);
    close(fd);
}

static void draining_server_closes_after_each_reply(void **state)
{
    (void)state;
    char text[PEER_TEXT_MAX];
    start();
    httpd_drain(httpd);
    for (int i = 0; i < 2; i++) { /* and goes on taking new connections */
        assert_true(peer_play(loop, play_draining, text));
        assert_starts(text, "HTTP/1.1 200 ");
        assert_contains(text, "Connection: close\r\n");
    }
}

static int64_t no_opinion(void *ctx)
{
    (void)ctx;
    return -1;
}

static void count_turn(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void without_descriptors_accepting_rests_and_goes_on_later(void **state)
{
    (void)state;
    start();
    struct rlimit old;
    unsigned turns = 0;
    struct loop_hook hook = {.wait_ms = no_opinion, .run = count_turn, .ctx = &turns};
    int fd = peer_connect(httpd_port(httpd)); /* waits in the backlog */
    peer_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    int highest = dup(fd);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)highest, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    loop_hook_add(loop, &hook);
    run_for(350);
    loop_hook_remove(loop, &hook);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(seen.calls, 0);
    assert_true(httpd_get_stats(httpd)->accept_pauses >= 1);
    assert_true(turns < 50);
    assert_contains(ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "hello from ctx\n");
    close(fd);
}

static void without_descriptors_idle_connections_make_room(void **state)
{
    (void)state;
    char text[PEER_TEXT_MAX];
    struct rlimit old;
    start();
    ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    int idle = peer_connect(httpd_port(httpd));
    peer_send(idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    run_for(50);
    assert_int_equal(httpd_get_stats(httpd)->connections, 1);
    int fd = peer_connect(httpd_port(httpd)); /* waits in the backlog */
    peer_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    int highest = dup(fd);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)highest, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_for(350);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    peer_read_until(fd, "hello from ctx\n", text);
    assert_starts(text, "HTTP/1.1 200 ");
    assert_int_equal(cut(HTTPD_CUT_IDLE), 1);
    close(fd);
    close(idle);
}

static void play_v6(void *ctx)
{
    struct client *c = ctx;
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons(httpd_port(httpd))};
    addr.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    peer_set_patience(fd);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && peer_send(fd, c->send))
        c->reply_len = peer_read_until(fd, NULL, c->reply);
    close(fd);
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6};
    addr.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
    if (fd >= 0)
        close(fd);
    return have;
}

static void without_host_it_listens_on_both_families(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.listen = ":0";
    start_with(&options);
    assert_contains(ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "hello from ctx\n");
    if (!have_ipv6())
        return; /* the fallback to IPv4 alone was tested just now */
    client.reply[0] = '\0';
    assert_true(peer_play(loop, play_v6, &client));
    assert_contains(client.reply, "hello from ctx\n");
}

static void listen_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0"};
    static const char *const bad[] = {
        "",      "8443",       ":",          ":-1",    ":65536",      ":80x",     "127.0.0.1",
        "1.2.3:1", "[::1:80",  "::1:80",     "[]:80",  "example:80",  "[1.2.3.4]:1", "127.0.0.1:",
        "0000000000000000000000000000000000000000000000000000:1",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct httpd_options options = default_options();
        options.listen = good[i];
        start_with(&options);
        assert_true(httpd_port(httpd) > 0);
        httpd = httpd_free(httpd);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        struct httpd_options options = default_options();
        options.listen = bad[i];
        assert_int_equal(httpd_new(loop, &options, &httpd, &err), -EINVAL);
        assert_contains(err.text, "expected [HOST]:PORT");
        assert_contains(err.text, bad[i]);
        assert_null(httpd);
    }
}

static void taken_port_is_said(void **state)
{
    (void)state;
    start();
    struct err err = {0};
    struct httpd *second = NULL;
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", httpd_port(httpd));
    struct httpd_options options = default_options();
    options.listen = address;
    assert_int_equal(httpd_new(loop, &options, &second, &err), -EADDRINUSE);
    assert_contains(err.text, address);
    assert_contains(err.text, strerror(EADDRINUSE));
    assert_null(second);
    options.listen = "192.0.2.1:0"; /* TEST-NET-1: not ours */
    assert_int_equal(httpd_new(loop, &options, &second, &err), -EADDRNOTAVAIL);
}

/* The end */

struct farewell {
    int idle_closed;     /* the idle connection saw its end */
    int connect_refused;
    char reply[PEER_TEXT_MAX];
};

static void play_farewell(void *ctx)
{
    struct farewell *farewell = ctx;
    char text[PEER_TEXT_MAX];
    int idle = peer_connect(httpd_port(httpd));
    int busy = peer_connect(httpd_port(httpd));
    peer_send(idle, "GET /any HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read_until(idle, "hello from ctx\n", text);
    /* a second server connection in the middle of its request when the handler of the third makes it quiet */
    peer_send(busy, "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
    peer_sleep_ms(50);
    int last = peer_connect(httpd_port(httpd));
    seen.quiesce = true;
    peer_send(last, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_read_until(last, NULL, text); /* until it is closed */
    farewell->idle_closed = recv(idle, text, 1, 0) == 0;
    int fd = peer_connect(httpd_port(httpd));
    farewell->connect_refused = fd < 0;
    peer_send(busy, "def");
    peer_read_until(busy, NULL, farewell->reply);
    close(idle);
    close(busy);
    close(last);
    if (fd >= 0)
        close(fd);
}

static void quiesced_server_ends_what_it_began_and_no_more(void **state)
{
    (void)state;
    start();
    static struct farewell farewell;
    assert_true(peer_play(loop, play_farewell, &farewell));
    assert_true(farewell.idle_closed);
    assert_true(farewell.connect_refused);
    assert_starts(farewell.reply, "HTTP/1.1 201 ");
    assert_contains(farewell.reply, "Connection: close\r\n");
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 0);
    run_until_idle();
}

static void play_reading(void *ctx)
{
    int *fd = ctx;
    if (peer_drain(*fd) > 0)
        close(*fd);
    *fd = -1;
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void quiesced_server_closes_after_the_reply_on_its_way(void **state)
{
    (void)state;
    struct httpd_options options = default_options();
    options.response_max = 16 * 1024 * 1024; /* more than both socket buffers */
    start_with(&options);
    int fd = -1;
    assert_true(peer_play(loop, play_asking_only, &fd));
    while (seen.calls == 0)
        run_for(2);
    unsigned told = 0;
    assert_false(httpd_is_empty(httpd));
    httpd_quiesce(httpd, count_call, &told);
    run_for(20);
    assert_false(httpd_is_empty(httpd));
    assert_int_equal(told, 0);
    int64_t begin_ms = peer_now_ms();
    assert_true(peer_play(loop, play_reading, &fd)); /* ends with the connection, long before idle_timeout_s */
    run_until_idle();
    assert_true(peer_now_ms() - begin_ms < PEER_PATIENCE_S * 1000 / 2);
    assert_int_equal(told, 1);
}

static void server_without_connections_is_quiesced_at_once(void **state)
{
    (void)state;
    unsigned told = 0;
    start();
    httpd_quiesce(httpd, count_call, &told);
    assert_int_equal(told, 1);
    assert_true(httpd_is_empty(httpd));
    run_for(20);
    assert_int_equal(told, 1);
    httpd_quiesce(httpd, count_call, &told); /* once more: its port is closed already */
    assert_int_equal(told, 2);
}

static void server_freed_with_open_connections_closes_them(void **state)
{
    (void)state;
    start();
    int fds[3];
    static const char *const begun[3] = {"", "GET /hel", "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"};
    char text[PEER_TEXT_MAX];
    for (int i = 0; i < 3; i++) {
        fds[i] = peer_connect(httpd_port(httpd));
        peer_send(fds[i], begun[i]);
    }
    run_for(50);
    assert_int_equal(httpd_get_stats(httpd)->connections, 3);
    httpd = httpd_free(httpd);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peer_read_until(fds[i], NULL, text), 0);
        close(fds[i]);
    }
    assert_null(httpd_free(NULL));
}

/* TLS */

static struct peer_pem pem_one;
static struct peer_pem pem_two;

static const char tls_priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static int set_pair(const struct peer_pem *cert, const struct peer_pem *key, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    int rc = peer_pair(cert, key, &pair, err);
    if (rc == 0)
        httpd_set_pair(httpd, pair);
    return rc;
}

static void start_tls(unsigned request_timeout_ms)
{
    struct httpd_options options = default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = tls_priorities;
    options.request_timeout_ms = request_timeout_ms;
    start_with(&options);
}

struct tls_client {
    const char *priorities;
    const struct peer_pem *own; /* certificate to show; NULL = none */
    const char *requests[3];   /* one after the other over one connection; NULL ends */
    const char *until;         /* the end of each answer; NULL = that of /hello */
    bool together;             /* all requests before the first answer, in one packet */
    enum { HOLD_NOTHING, HOLD_HELLO, HOLD_ANSWER } hold; /* where to wait in the handshake until `go` */
    volatile bool waiting;
    volatile bool go;
    int handshake;             /* GnuTLS's code */
    unsigned char serial;      /* of the server's certificate */
    unsigned answered;
    int bye;                   /* code of the last receive */
};

static struct tls_client *holding_client;

static void hold_until_told(int place)
{
    struct tls_client *c = holding_client;
    if ((int)c->hold != place)
        return;
    c->waiting = true;
    while (!c->go)
        peer_sleep_ms(2);
}

static ssize_t push_when_told(gnutls_transport_ptr_t transport, const void *bytes, size_t len)
{
    hold_until_told(HOLD_HELLO);
    return send((int)(intptr_t)transport, bytes, len, MSG_NOSIGNAL);
}

static ssize_t pull_when_told(gnutls_transport_ptr_t transport, void *bytes, size_t len)
{
    hold_until_told(HOLD_ANSWER);
    return recv((int)(intptr_t)transport, bytes, len, 0);
}

static void read_serial(gnutls_session_t session, unsigned char *ret)
{
    unsigned count = 0;
    size_t len = 1;
    gnutls_x509_crt_t cert;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (chain == NULL || gnutls_x509_crt_init(&cert) < 0)
        return;
    if (gnutls_x509_crt_import(cert, chain, GNUTLS_X509_FMT_DER) == 0)
        gnutls_x509_crt_get_serial(cert, ret, &len);
    gnutls_x509_crt_deinit(cert);
}

static bool tls_exchange(struct tls_client *c, gnutls_session_t session, const char *request)
{
    char text[4096];
    size_t len = 0;
    ssize_t n = gnutls_record_send(session, request, strlen(request));
    while (n > 0 && len < sizeof(text) - 1) {
        n = gnutls_record_recv(session, text + len, sizeof(text) - 1 - len);
        c->bye = (int)n;
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        if (strstr(text, c->until != NULL ? c->until : "hello from ctx\n") != NULL)
            return true;
    }
    return false;
}

/* A record each, and how many answers come. */
static unsigned tls_exchange_together(struct tls_client *c, gnutls_session_t session, int fd)
{
    static const char end[] = "hello from ctx\n";
    const int on = 1, off = 0;
    char text[4096] = "";
    size_t len = 0, asked = 0;
    unsigned answers = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    for (; asked < 3 && c->requests[asked] != NULL; asked++)
        gnutls_record_send(session, c->requests[asked], strlen(c->requests[asked]));
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
    while (answers < asked && len < sizeof(text) - 1) {
        ssize_t n = gnutls_record_recv(session, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
        answers = 0;
        for (const char *at = strstr(text, end); at != NULL; at = strstr(at + 1, end))
            answers++;
    }
    return answers;
}

static void show_certificate(gnutls_certificate_credentials_t credentials, const struct peer_pem *own)
{
    gnutls_datum_t cert = {(unsigned char *)(uintptr_t)own->cert, (unsigned)own->cert_len};
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)own->key, (unsigned)own->key_len};
    gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
}

static void play_tls(void *ctx)
{
    struct tls_client *c = ctx;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd = peer_connect(httpd_port(httpd));
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&credentials);
    if (c->own != NULL)
        show_certificate(credentials, c->own);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_priority_set_direct(session, c->priorities != NULL ? c->priorities : "NORMAL", NULL);
    gnutls_transport_set_int(session, fd);
    if (c->hold != HOLD_NOTHING) {
        holding_client = c;
        gnutls_transport_set_push_function(session, push_when_told);
        gnutls_transport_set_pull_function(session, pull_when_told);
    }
    do
        c->handshake = gnutls_handshake(session);
    while (c->handshake < 0 && !gnutls_error_is_fatal(c->handshake));
    if (c->handshake == 0) {
        read_serial(session, &c->serial);
        if (c->together)
            c->answered = tls_exchange_together(c, session, fd);
        for (int i = 0; !c->together && i < 3 && c->requests[i] != NULL; i++)
            c->answered += tls_exchange(c, session, c->requests[i]);
        gnutls_bye(session, GNUTLS_SHUT_WR);
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
}

#define TLS_GET "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

static void tls_connection_serves_several_requests(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:+ECDHE-ECDSA"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct tls_client c = {.priorities = versions[i], .requests = {TLS_GET, TLS_GET, TLS_GET}};
        assert_true(peer_play(loop, play_tls, &c));
        assert_int_equal(c.handshake, 0);
        assert_int_equal(c.answered, 3);
        assert_int_equal(c.serial, 1);
    }
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 0);
    assert_int_equal(httpd_get_stats(httpd)->requests, 9);
}

static void tls_answer_leaves_at_once(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {TLS_GET, TLS_GET, TLS_GET}};
    assert_true(peer_play(loop, play_tls, &c));
    assert_int_equal(c.answered, 3);
    assert_int_equal(sends.calls_of_last, 1); /* header and body */
}

static void tls_answer_without_body_leaves_too(void **state)
{
    (void)state;
    static const char *const requests[] = {"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {requests[0], requests[1], requests[2]}, .until = "\r\n\r\n"};
    assert_true(peer_play(loop, play_tls, &c));
    assert_int_equal(c.answered, 3);
}

static void tls_answer_cut_anywhere_arrives_whole(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t max = 1; max < 250; max = max < 20 ? max * 3 : max + 7) {
        seen.calls = 0;
        sends.max = max;
        struct tls_client c = {.requests = {TLS_GET, TLS_GET, TLS_GET}};
        assert_true(peer_play(loop, play_tls, &c));
        assert_int_equal(c.answered, 3);
        assert_true(sends.calls_of_last > 1 || max > 150);
    }
}

static void tls_requests_may_be_pipelined(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct tls_client c = {.priorities = versions[i], .requests = {TLS_GET, TLS_GET, TLS_GET}, .together = true};
        assert_true(peer_play(loop, play_tls, &c));
        assert_int_equal(c.answered, 3);
    }
    run_until_idle();
}

static void tls_server_freed_with_open_connections_closes_them(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {TLS_GET, "GET /hello HTTP/1.1\r\n"}};
    struct peer peer;
    peer_start(&peer, play_tls, &c);
    while (httpd_get_stats(httpd)->requests < 1 || httpd_get_stats(httpd)->in_flight == 0)
        run_for(2);
    httpd = httpd_free(httpd);
    assert_true(peer_run_loop(&peer, loop));
    assert_int_equal(c.handshake, 0);
    assert_true(c.bye <= 0);
}

static void tls_1_1_is_refused_and_counted(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT"};
    assert_true(peer_play(loop, play_tls, &c));
    assert_true(c.handshake < 0);
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
}

static void without_a_pair_handshakes_fail(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    struct tls_client c = {.requests = {TLS_GET}};
    assert_true(peer_play(loop, play_tls, &c));
    assert_true(c.handshake < 0);
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    memset(&c, 0, sizeof(c));
    c.requests[0] = TLS_GET;
    assert_true(peer_play(loop, play_tls, &c));
    assert_int_equal(c.answered, 1);
}

static void new_pair_is_used_by_the_next_connection(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client first = {.requests = {TLS_GET}};
    assert_true(peer_play(loop, play_tls, &first));
    assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
    struct tls_client second = {.requests = {TLS_GET}};
    assert_true(peer_play(loop, play_tls, &second));
    assert_int_equal(first.serial, 1);
    assert_int_equal(second.serial, 2);
}

/* While the client holds back its hello, or does not read the server's answer, the pair is replaced twice: the
 * first one is then only alive if the connection keeps it. */
static void connection_under_way_ends_with_the_pair_it_began_with(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    for (int i = 0; i < 4; i++) {
        start_tls(PEER_PATIENCE_S * 1000);
        assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
        struct tls_client c = {
            .priorities = versions[i / 2], .requests = {TLS_GET}, .hold = i % 2 == 0 ? HOLD_HELLO : HOLD_ANSWER};
        struct peer peer;
        peer_start(&peer, play_tls, &c);
        while (!c.waiting || httpd_get_stats(httpd)->connections == 0)
            run_for(2);
        run_for(20); /* time to answer the hello, if it came */
        assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
        assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
        c.go = true;
        assert_true(peer_run_loop(&peer, loop));
        assert_int_equal(c.handshake, 0);
        assert_int_equal(c.serial, 1);
        assert_int_equal(c.answered, 1);
        httpd = httpd_free(httpd);
    }
}

static void bad_pair_leaves_the_old_one_in_use(void **state)
{
    (void)state;
    struct err err = {0};
    struct peer_pem garbage = {.cert = "no PEM", .cert_len = 6, .key = "nor here", .key_len = 8};
    struct peer_pem cut = pem_two;
    cut.cert_len /= 2;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    assert_int_equal(set_pair(&pem_two, &pem_one, &err), -EINVAL); /* not its key */
    assert_contains(err.text, "key does not belong to the certificate in cert");
    assert_int_equal(set_pair(&garbage, &pem_two, &err), -EINVAL);
    assert_contains(err.text, "cert: expected PEM certificates: ");
    assert_int_equal(set_pair(&pem_two, &garbage, &err), -EINVAL);
    assert_contains(err.text, "key: expected a PEM private key: ");
    assert_int_equal(set_pair(&cut, &pem_two, &err), -EINVAL);
    garbage.cert_len = 0;
    assert_int_equal(set_pair(&garbage, &pem_two, &err), -EINVAL);
    struct tls_client c = {.requests = {TLS_GET}};
    assert_true(peer_play(loop, play_tls, &c));
    assert_int_equal(c.serial, 1);
    assert_int_equal(c.answered, 1);
}

static unsigned answered_with(const struct peer_pem *own, const char *priorities)
{
    struct tls_client c = {.own = own, .priorities = priorities, .requests = {TLS_GET}};
    assert_true(peer_play(loop, play_tls, &c));
    run_until_idle();
    return c.answered;
}

static void clients_need_a_certificate_of_the_ca(void **state)
{
    (void)state;
    struct err err = {0};
    struct httpd_options options = default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = tls_priorities;
    options.client_certificates = true;
    start_with(&options);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    assert_int_equal(answered_with(&pem_one, NULL), 0); /* no CA yet: nobody */
    assert_int_equal(httpd_set_client_ca(httpd, (struct span){pem_one.cert, pem_one.cert_len}, &err), 0);
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    for (size_t i = 0; i < 2; i++) {
        uint64_t failures = httpd_get_stats(httpd)->tls_failures;
        assert_int_equal(answered_with(&pem_one, versions[i]), 1);
        assert_int_equal(httpd_get_stats(httpd)->tls_failures, failures);
        assert_int_equal(answered_with(NULL, versions[i]), 0);
        assert_int_equal(answered_with(&pem_two, versions[i]), 0);
        assert_int_equal(httpd_get_stats(httpd)->tls_failures, failures + 2);
    }
    assert_int_equal(httpd_set_client_ca(httpd, (struct span){"no PEM", 6}, &err), -EINVAL);
    assert_contains(err.text, "CA certificates");
    assert_int_equal(httpd_set_client_ca(httpd, (struct span){"", 0}, &err), -EINVAL);
    assert_int_equal(answered_with(&pem_one, NULL), 1); /* the one before stays */
    assert_int_equal(httpd_set_client_ca(httpd, (struct span){pem_two.cert, pem_two.cert_len}, &err), 0);
    assert_int_equal(answered_with(&pem_one, NULL), 0);
    assert_int_equal(answered_with(&pem_two, NULL), 1);
}

static void what_is_no_tls_is_counted_but_a_probe_is_not(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
    assert_true(peer_play(loop, play_leaver, (void *)""));
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
    struct tls_client unused = {.requests = {NULL}}; /* a connection kept for later, never used */
    assert_true(peer_play(loop, play_tls, &unused));
    assert_int_equal(unused.handshake, 0);
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

static void slow_handshake_is_cut_and_counted(void **state)
{
    (void)state;
    start_tls(CUT_MS);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct trickle half_hello = {"\x16\x03\x01\x10", true, 0};
    assert_true(peer_play(loop, play_trickle, &half_hello));
    run_until_idle();
    assert_int_equal(httpd_get_stats(httpd)->tls_failures, 1);
    assert_int_equal(refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

static void bad_tls_priorities_are_named(void **state)
{
    (void)state;
    struct err err = {0};
    struct httpd_options options = default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = "NORMAL:+NO-SUCH-THING";
    assert_int_equal(httpd_new(loop, &options, &httpd, &err), -EINVAL);
    assert_contains(err.text, "TLS priorities");
    assert_contains(err.text, "NO-SUCH-THING");
}

/* Memory: each allocation of ours fails once, in setting up and in serving */

static long passing_allocations;

/* As a hook: before the first wait, and after the test's own set-up. */
static int64_t arm_allocations(void *ctx)
{
    (void)ctx;
    if (passing_allocations >= 0)
        allocations_left = passing_allocations;
    passing_allocations = -1;
    return -1;
}

static void failed_allocation_costs_one_request_at_most(void **state)
{
    (void)state;
    unsigned turns = 0;
    struct loop_hook hook = {.wait_ms = arm_allocations, .run = count_turn, .ctx = &turns};
    loop_hook_add(loop, &hook);
    unsigned failed_starts = 0;
    unsigned failed_requests = 0;
    failing_thread = pthread_self();
    for (long n = 0;; n++) {
        struct httpd_options options = default_options();
        struct err err = {0};
        memset(&seen, 0, sizeof(seen));
        allocations_left = n;
        int rc = httpd_new(loop, &options, &httpd, &err);
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_null(httpd);
            failed_starts++;
            continue;
        }
        client.send = "POST /any HTTP/1.1\r\nContent-Length: 100\r\n" HEAD_CLOSE "\r\n";
        client.fill = 100;
        client.reply[0] = '\0';
        passing_allocations = allocations_left;
        allocations_left = -1;
        assert_true(peer_play(loop, play_client, &client));
        bool met = allocations_left < 0;
        allocations_left = -1;
        const struct httpd_stats *stats = httpd_get_stats(httpd);
        if (!met) {
            assert_starts(client.reply, "HTTP/1.1 201 ");
            httpd = httpd_free(httpd);
            break;
        }
        failed_requests++;
        if (strstr(client.reply, "HTTP/1.1 201 ") == NULL)
            assert_true(stats->refused[HTTPD_REFUSED_LIMIT] + stats->refused[HTTPD_REFUSED_MEMORY] == 1 ||
                        strstr(client.reply, "HTTP/1.1 500 ") != NULL);
        assert_starts(ask("GET /hello HTTP/1.1\r\n" HEAD_CLOSE "\r\n"), "HTTP/1.1 200 ");
        run_until_idle();
        httpd = httpd_free(httpd);
    }
    loop_hook_remove(loop, &hook);
    assert_true(failed_starts >= 3);   /* the server, its watch, its listener */
    assert_true(failed_requests >= 3); /* the connection, the body, the answer */
}

static int make_pems(void **state)
{
    (void)state;
    peer_make_pem(&pem_one, 1);
    peer_make_pem(&pem_two, 2);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(get_is_answered),
        TEST(head_has_the_length_but_no_body),
        TEST(empty_answers_are_fine),
        TEST(answer_at_its_limit_arrives_whole),
        TEST(answer_over_its_limit_is_500),
        TEST(connection_is_kept_and_requests_may_be_pipelined),
        TEST(http_1_0_is_understood),
        TEST(half_closed_client_gets_its_answer),
        TEST(unknown_path_is_404),
        TEST(wrong_method_is_405_and_says_which),
        TEST(content_type_is_checked_without_its_parameters),
        TEST(body_of_many_pieces_arrives_whole),
        TEST(chunked_body_arrives_byte_by_byte_with_trailers),
        TEST(expect_100_is_answered_first),
        TEST(announced_body_over_the_limit_is_413_and_the_connection_goes_on),
        TEST(body_too_long_to_drain_is_413_at_once),
        TEST(client_that_waits_for_100_gets_its_refusal_at_once),
        TEST(chunked_body_over_the_limit_is_413),
        TEST(chunked_body_without_end_is_cut),
        TEST(unknown_transfer_coding_is_501),
        TEST(bodies_together_have_a_ceiling),
        TEST(largest_body_makes_room),
        TEST(query_of_too_many_arguments_ends_at_once),
        TEST(malformed_requests_are_counted_and_end_the_connection),
        TEST(client_that_leaves_early_is_counted),
        TEST(slow_requests_are_cut_wherever_they_are),
        TEST(kept_connection_cannot_be_held_by_trickling),
        TEST(idle_connection_is_closed),
        TEST(client_that_does_not_take_its_answer_is_cut),
        TEST(endless_chunk_extension_is_cut_without_burning_the_cpu),
        TEST(idle_connections_make_room),
        TEST(slow_requests_make_room),
        TEST(peer_with_its_share_makes_room_itself),
        TEST(draining_server_closes_after_each_reply),
        TEST(without_descriptors_accepting_rests_and_goes_on_later),
        TEST(without_descriptors_idle_connections_make_room),
        TEST(without_host_it_listens_on_both_families),
        TEST(listen_addresses),
        TEST(taken_port_is_said),
        TEST(quiesced_server_ends_what_it_began_and_no_more),
        TEST(quiesced_server_closes_after_the_reply_on_its_way),
        TEST(server_without_connections_is_quiesced_at_once),
        TEST(server_freed_with_open_connections_closes_them),
        TEST(tls_connection_serves_several_requests),
        TEST(tls_answer_leaves_at_once),
        TEST(tls_answer_without_body_leaves_too),
        TEST(tls_answer_cut_anywhere_arrives_whole),
        TEST(tls_requests_may_be_pipelined),
        TEST(tls_server_freed_with_open_connections_closes_them),
        TEST(tls_1_1_is_refused_and_counted),
        TEST(without_a_pair_handshakes_fail),
        TEST(new_pair_is_used_by_the_next_connection),
        TEST(connection_under_way_ends_with_the_pair_it_began_with),
        TEST(bad_pair_leaves_the_old_one_in_use),
        TEST(clients_need_a_certificate_of_the_ca),
        TEST(what_is_no_tls_is_counted_but_a_probe_is_not),
        TEST(slow_handshake_is_cut_and_counted),
        TEST(bad_tls_priorities_are_named),
        TEST(failed_allocation_costs_one_request_at_most),
    };
    return cmocka_run_group_tests(tests, make_pems, NULL);
}
