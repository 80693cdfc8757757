/* wrap: malloc calloc realloc strdup */
#include "common/http/httpc.h"

#include "alloc_fail_thread.h"
#include "common/base/buf.h"
#include "common/http/httpd.h"
#include "common/http/httpd_tls.h"
#include "common/http/tls_pair.h"
#include "peer.h"
#include "peer_pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum {
    SHORT_MS = 300, /* timeout of transfers that are meant to run into it */
    LONG_MS = PEER_PATIENCE_S * 1000,
};

static const struct httpc_options client_options = {.user_agent = "test/1", .transfers_max = 8};
static struct loop *loop;
static struct httpc *httpc;

static int setup(void **state)
{
    (void)state;
    int rc = loop_new(&loop, NULL);
    return rc < 0 ? rc : httpc_new(loop, &client_options, &httpc, NULL);
}

static int teardown(void **state)
{
    (void)state;
    httpc = httpc_free(httpc);
    loop = loop_free(loop);
    return 0;
}

/* The end of a transfer stops the loop too. */
static void run_for(int64_t ms)
{
    assert_true(peer_run_loop_for(loop, ms));
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%.300s\"", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strcasestr(text, part) != NULL)
        fail_msg("\"%s\" in \"%.300s\"", part, text);
}

/* Names, in place of the resolver: libcurl's threads come here. */

static atomic_uint lookups;
static _Atomic(const char *) answer_for_app = "127.0.0.1"; /* for app.test; NULL = no such name */

/* Those of the family that is asked for. */
static int resolve_two(const char *service, const struct addrinfo *hints, struct addrinfo **ret,
                       int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
{
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "::1"};
    struct addrinfo **end = ret;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        if (real(addresses[i], service, hints, end) == 0)
            end = &(*end)->ai_next;
    }
    return end != ret ? 0 : EAI_NONAME;
}

/* Newer versions of libcurl ask for IPv4 and IPv6 each on its own: that is one look-up as well. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (hints->ai_family != AF_INET6)
        atomic_fetch_add(&lookups, 1);
    if (strcmp(node, "app.test") == 0 && answer_for_app == NULL)
        return EAI_NONAME;
    if (strcmp(node, "app.test") == 0)
        return real(answer_for_app, service, hints, ret);
    if (strcmp(node, "two.test") == 0)
        return resolve_two(service, hints, ret, real);
    if (strcmp(node, "slow.test") == 0)
        peer_sleep_ms(1500);
    return EAI_NONAME;
}

/* A server on its own thread that talks as the test wants. */

struct server {
    struct peer peer;
    int listen_fd;
    uint16_t port;
    unsigned connections; /* to accept before it ends */
    void (*talk)(struct server *server, int fd);
    const char *text;     /* for talk_text */
    size_t fill;
    const char *after;
    bool reset;           /* end with RST */
    bool wait;            /* end when the client does */
    unsigned accepted;
    unsigned requests;    /* of talk_once */
    char request[PEER_TEXT_MAX]; /* the last one */
};

static struct server server;

static void serve(void *ctx)
{
    struct server *s = ctx;
    for (unsigned i = 0; i < s->connections; i++) {
        int fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0)
            break;
        s->accepted++;
        peer_set_patience(fd);
        s->talk(s, fd);
    }
}

static void start_server(void (*talk)(struct server *, int), unsigned connections)
{
    if (server.port == 0 || server.listen_fd < 0) {
        server.port = 0;
        server.listen_fd = peer_listen(&server.port);
        assert_true(server.listen_fd >= 0);
    }
    server.talk = talk;
    server.connections = connections;
    server.accepted = 0;
    server.requests = 0;
    server.request[0] = '\0';
    peer_start(&server.peer, serve, &server);
}

/* Ends the server, also one that still waits for connections that never came. */
static void end_server(void)
{
    shutdown(server.listen_fd, SHUT_RDWR);
    peer_join(&server.peer);
    close(server.listen_fd);
    server.listen_fd = -1;
}

/* For a talk that does nothing until end_server(), when the client is through. */
static void wait_for_end(const struct server *s)
{
    struct pollfd fd = {.fd = s->listen_fd}; /* POLLHUP comes unasked */
    poll(&fd, 1, PEER_PATIENCE_S * 1000);
}

static void talk_text(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    if (peer_send(fd, s->text) && peer_send_fill(fd, s->fill))
        peer_send(fd, s->after != NULL ? s->after : "");
    if (s->wait)
        peer_drain(fd);
    if (s->reset)
        peer_reset(fd);
    else
        close(fd);
}

static void start_text_server(const char *text)
{
    server.text = text;
    server.fill = 0;
    server.after = NULL;
    server.reset = false;
    server.wait = false;
    start_server(talk_text, 1);
}

/* Transfers */

struct outcome {
    unsigned done;
    struct httpc_result result;
    struct httpc_transfer *transfer;
    uint64_t sink_bytes;
    unsigned sink_calls;
    int sink_rc;
    int64_t source_left; /* bytes still to give */
    int64_t source_rc;   /* < 0: give this */
    size_t source_piece; /* most bytes a call; 0 = as asked */
    void (*in_done)(struct outcome *outcome);
    void (*in_sink)(struct outcome *outcome);
    struct outcome *other;
    int rc;
    struct err err;
};

static void on_done(void *ctx, const struct httpc_result *result)
{
    struct outcome *outcome = ctx;
    outcome->done++;
    outcome->result = *result;
    if (outcome->in_done != NULL)
        outcome->in_done(outcome);
    outcome->transfer = NULL;
    loop_stop(loop);
}

static int on_sink(void *ctx, const char *bytes, size_t len)
{
    struct outcome *outcome = ctx;
    assert_non_null(bytes);
    assert_true(len > 0);
    outcome->sink_calls++;
    outcome->sink_bytes += len;
    if (outcome->in_sink != NULL)
        outcome->in_sink(outcome);
    return outcome->sink_rc;
}

static int64_t on_source(void *ctx, char *bytes, size_t len)
{
    struct outcome *outcome = ctx;
    if (outcome->source_rc < 0)
        return outcome->source_rc;
    size_t n = outcome->source_piece > 0 && outcome->source_piece < len ? outcome->source_piece : len;
    if ((int64_t)n > outcome->source_left)
        n = (size_t)outcome->source_left;
    memset(bytes, 's', n);
    outcome->source_left -= (int64_t)n;
    return (int64_t)n;
}

static char url[128];

static const char *url_of(uint16_t port)
{
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/x?y=1", port);
    return url;
}

enum { CONTENT_TYPE, CONTENT_ENCODING, X_GO_PPROF, RETRY_AFTER, LOCATION, KEPT };
static const char *const keep[KEPT] = {"Content-Type", "Content-Encoding", "X-Go-Pprof", "Retry-After", "Location"};

static struct httpc_request default_request(struct outcome *outcome)
{
    return (struct httpc_request){
        .url = url_of(server.port),
        .method = "GET",
        .keep = keep,
        .keep_count = KEPT,
        .sink = on_sink,
        .body_ctx = outcome,
        .body_max = 1024 * 1024,
        .connect_timeout_ms = LONG_MS,
        .timeout_ms = LONG_MS,
        .done = on_done,
        .done_ctx = outcome,
    };
}

static void begin(struct outcome *outcome, const struct httpc_request *request)
{
    struct err err = {0};
    outcome->done = 0;
    if (httpc_start(httpc, request, &outcome->transfer, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(outcome->done, 0); /* never from inside */
}

static void wait_done(struct outcome *outcome)
{
    int64_t end_ms = peer_now_ms() + LONG_MS + 2000;
    while (outcome->done == 0 && peer_now_ms() < end_ms)
        run_for(LONG_MS + 2000);
    assert_int_equal(outcome->done, 1);
}

static void fetch(struct outcome *outcome, const struct httpc_request *request)
{
    begin(outcome, request);
    wait_done(outcome);
}

/* A transfer that is to run into its timeout, but has to come so far before: twice the time is given until it does, and
 * in the end the test sees that it did not. Starts the server and ends it. */
static void fetch_until_timeout(struct outcome *outcome, struct httpc_request *request,
                                void (*talk)(struct server *, int), bool (*has_come_far)(const struct httpc_result *))
{
    const struct outcome fresh = *outcome;
    for (request->timeout_ms = SHORT_MS; request->timeout_ms <= 16 * SHORT_MS; request->timeout_ms *= 2) {
        *outcome = fresh;
        start_server(talk, 1);
        request->url = url_of(server.port);
        fetch(outcome, request);
        end_server();
        if (outcome->result.end == HTTPC_TIMEOUT)
            assert_true(outcome->result.elapsed_ms >= request->timeout_ms - 20);
        if (has_come_far(&outcome->result))
            break;
    }
}

static bool has_sent_some(const struct httpc_result *result)
{
    return result->sent_bytes > 0;
}

static bool has_sent_all(const struct httpc_result *result)
{
    return result->body_sent;
}

static bool has_status(const struct httpc_result *result)
{
    return result->status != 0;
}

/* One GET against the running text server, which it ends. */
static struct httpc_result get(void)
{
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    fetch(&outcome, &request);
    end_server();
    return outcome.result;
}

static void assert_end(const struct httpc_result *result, enum httpc_end end)
{
    if (result->end != end)
        fail_msg("expected %s, got %s: %s (status %u)", httpc_end_names[end], httpc_end_names[result->end],
                 result->text, result->status);
    assert_int_equal(result->text[0] == '\0', end == HTTPC_OK);
}

#define REPLY(text) "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" text

/* What goes out, what comes in */

static void request_has_what_was_asked_for_and_no_more(void **state)
{
    (void)state;
    start_text_server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    struct httpc_result result = get();
    assert_end(&result, HTTPC_OK);
    assert_int_equal(result.status, 200);
    assert_contains(server.request, "GET /x?y=1 HTTP/1.1\r\n");
    assert_contains(server.request, "User-Agent: test/1\r\n");
    assert_lacks(server.request, "expect");
    assert_lacks(server.request, "accept-encoding");
    assert_lacks(server.request, "connection:");
    assert_lacks(server.request, "content-type");
    start_text_server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const struct httpc_options nameless = {.transfers_max = 1};
    httpc = httpc_free(httpc);
    assert_int_equal(httpc_new(loop, &nameless, &httpc, NULL), 0);
    struct outcome outcome = {.source_left = 3};
    struct httpc_request request = default_request(&outcome);
    request.method = "POST";
    request.source = on_source;
    request.source_size = 3;
    request.content_type = "application/octet-stream";
    request.accept_encoding = "gzip";
    request.close_after = true;
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_OK);
    assert_contains(server.request, "POST /x?y=1 HTTP/1.1\r\n");
    assert_contains(server.request, "Content-Length: 3\r\n");
    assert_contains(server.request, "Content-Type: application/octet-stream\r\n");
    assert_contains(server.request, "Accept-Encoding: gzip\r\n");
    assert_contains(server.request, "Connection: close\r\n");
    assert_lacks(server.request, "user-agent");
    assert_lacks(server.request, "expect");
}

static void reply_is_told_with_its_headers(void **state)
{
    (void)state;
    start_text_server("HTTP/1.1 100 Continue\r\nContent-Type: of/interim\r\nLocation: /interim\r\n\r\n"
                      "HTTP/1.1 200 OK\r\ncontent-type:   application/octet-stream  \r\nX-Go-Pprof: 1\r\n"
                      "Retry-After: 99999999999\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5\r\nhello\r\n0\r\nX-Go-Pprof: from the trailer\r\n\r\n");
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    fetch(&outcome, &request);
    end_server();
    const struct httpc_result *result = &outcome.result;
    assert_end(result, HTTPC_OK);
    assert_string_equal(result->kept[CONTENT_TYPE], "application/octet-stream");
    assert_string_equal(result->kept[CONTENT_ENCODING], "gzip");
    assert_string_equal(result->kept[X_GO_PPROF], "1");
    assert_string_equal(result->kept[RETRY_AFTER], "99999999999");
    assert_string_equal(result->kept[LOCATION], "");
    assert_int_equal(result->received_bytes, 5);
    assert_int_equal(outcome.sink_bytes, 5); /* as sent: nothing is decoded */
    assert_int_equal(result->reply_len, 0);
    assert_true(result->elapsed_ms >= 0);
    assert_true(result->body_sent);
}

static void long_header_value_is_cut(void **state)
{
    (void)state;
    char text[1024] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nLocation: ";
    size_t len = strlen(text);
    memset(text + len, 'l', 500);
    snprintf(text + len + 500, sizeof(text) - len - 500, "\r\n\r\n");
    start_text_server(text);
    struct httpc_result result = get();
    assert_end(&result, HTTPC_OK);
    assert_int_equal(strlen(result.kept[LOCATION]), HTTPC_VALUE_MAX - 1);
}

static void other_statuses_fill_the_reply_and_spare_the_sink(void **state)
{
    (void)state;
    static const unsigned statuses[] = {300, 302, 400, 404, 500, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "HTTP/1.1 %u X\r\nLocation: http://127.0.0.1:%u/elsewhere\r\nContent-Length: 10000\r\n\r\n",
                 statuses[i], server.port);
        start_text_server(text);
        server.fill = 10000;
        struct outcome outcome = {.done = 0};
        struct httpc_request request = default_request(&outcome);
        fetch(&outcome, &request);
        end_server();
        assert_end(&outcome.result, HTTPC_OK);
        assert_int_equal(outcome.result.status, statuses[i]); /* redirects are not followed */
        assert_int_equal(outcome.sink_calls, 0);
        assert_int_equal(outcome.result.reply_len, HTTPC_REPLY_MAX);
        assert_int_equal(strlen(outcome.result.reply), HTTPC_REPLY_MAX);
        assert_int_equal(outcome.result.received_bytes, 10000);
        assert_contains(outcome.result.kept[LOCATION], "/elsewhere");
    }
}

static void without_a_sink_the_reply_is_kept(void **state)
{
    (void)state;
    start_text_server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab\0de"); /* the NUL ends it: 2 of 5 bytes */
    server.after = "cde";
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    request.sink = NULL;
    request.body_max = 0;
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_OK);
    assert_string_equal(outcome.result.reply, "abcde");
    assert_int_equal(outcome.result.reply_len, 5);
}

static void empty_bodies_are_fine(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        start_text_server(texts[i]);
        struct httpc_result result = get();
        assert_end(&result, HTTPC_OK);
        assert_int_equal(result.received_bytes, 0);
    }
}

/* An echo on the same loop: what the server counted comes back. */

static void handle_count(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    size_t right = 0;
    (void)ctx;
    while (right < request->body_len && request->body[right] == 's')
        right++;
    buf_printf(&response->body, "%zu of %zu", right, request->body_len);
}

static void handle_large(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    static const char block[4096];
    (void)ctx;
    (void)request;
    for (size_t n = 0; n < response->body.max; n += sizeof(block))
        buf_append(&response->body, block, sizeof(block));
}

static const struct httpd_route routes[] = {
    {.method = "POST", .path = "/count", .handler = handle_count},
    {.method = "GET", .path = "/large", .handler = handle_large},
    {.path = NULL},
};

static struct httpd *start_httpd(const char *tls_priorities)
{
    struct httpd *httpd = NULL;
    struct httpd_options options = {
        .listen = "127.0.0.1:0",
        .routes = routes,
        .body_max = 8 * 1024 * 1024,
        .response_max = 8 * 1024 * 1024,
        .connections_max = 20,
        .idle_timeout_s = PEER_PATIENCE_S,
        .request_timeout_ms = PEER_PATIENCE_S * 1000,
        .tls = tls_priorities != NULL ? &httpd_tls_gnutls : NULL,
        .tls_priorities = tls_priorities,
    };
    assert_int_equal(httpd_new(loop, &options, &httpd, NULL), 0);
    return httpd;
}

static void bodies_are_streamed_both_ways(void **state)
{
    (void)state;
    static const struct {
        int64_t size;
        bool known;
        size_t piece;
        const char *counted;
    } cases[] = {
        {0, true, 0, "0 of 0"},
        {0, false, 0, "0 of 0"},
        {1, true, 0, "1 of 1"},
        {3000000, true, 0, "3000000 of 3000000"}, /* > 1 MB: where curl would say Expect */
        {3000000, false, 0, "3000000 of 3000000"},
        {5000, true, 7, "5000 of 5000"},
        {5000, false, 7, "5000 of 5000"},
    };
    struct httpd *httpd = start_httpd(NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/count", httpd_port(httpd));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome = {.source_left = cases[i].size, .source_piece = cases[i].piece};
        struct httpc_request request = default_request(&outcome);
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/count", httpd_port(httpd));
        request.method = "POST";
        request.source = on_source;
        request.source_size = cases[i].known ? cases[i].size : -1;
        request.sink = NULL;
        fetch(&outcome, &request);
        assert_end(&outcome.result, HTTPC_OK);
        assert_string_equal(outcome.result.reply, cases[i].counted);
        assert_int_equal(outcome.result.sent_bytes, cases[i].size);
        assert_true(outcome.result.body_sent);
    }
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/large", httpd_port(httpd));
    request.body_max = 8 * 1024 * 1024; /* exactly */
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_OK);
    assert_int_equal(outcome.sink_bytes, 8 * 1024 * 1024);
    struct outcome bare = {.done = 0};
    request = default_request(&bare);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/count", httpd_port(httpd));
    request.method = "POST"; /* without a body */
    fetch(&bare, &request);
    assert_end(&bare.result, HTTPC_OK);
    httpd_free(httpd);
}

/* Bad servers */

static void bad_replies_have_their_own_names(void **state)
{
    (void)state;
#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *text;
        bool reset;
        enum httpc_end end;
        unsigned status;
    } cases[] = {
        {"", false, HTTPC_EMPTY, 0},
        {"", true, HTTPC_RESET, 0},
        {OK_HEAD "Content-Length: 100\r\n\r\nfew", false, HTTPC_TRUNCATED, 200},
        {OK_HEAD "Content-Length: 100\r\n\r\nfew", true, HTTPC_TRUNCATED, 200},
        {OK_HEAD "Content-Le", false, HTTPC_TRUNCATED, 200},
        {OK_HEAD, false, HTTPC_TRUNCATED, 200},
        {OK_HEAD "Content-Le", true, HTTPC_TRUNCATED, 200},
        {"HTTP/1.1 100 Continue\r\n\r\n", false, HTTPC_TRUNCATED, 0},
        {CHUNKED "5\r\nhel", false, HTTPC_TRUNCATED, 200},
        {CHUNKED "5\r\nhello\r\n", false, HTTPC_TRUNCATED, 200},
        {CHUNKED "zz\r\nhello\r\n0\r\n\r\n", false, HTTPC_MALFORMED, 200},
        {CHUNKED "2\r\nhello\r\n0\r\n\r\n", false, HTTPC_MALFORMED, 200},
        {CHUNKED "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n", false, HTTPC_MALFORMED, 200},
        {OK_HEAD "Content-Length: -5\r\n\r\nhello", false, HTTPC_MALFORMED, 200},
        {OK_HEAD "Content-Length: many\r\n\r\nhello", false, HTTPC_MALFORMED, 200},
        {"<html>no status line</html>\r\n\r\n", false, HTTPC_MALFORMED, 0},
        {"HTTP/7.9 200 OK\r\n\r\n", false, HTTPC_MALFORMED, 0},
        {"SSH-2.0-OpenSSH_9.2\r\n", false, HTTPC_MALFORMED, 0},
        {OK_HEAD "Connection: close\r\n\r\nhow long", false, HTTPC_OK, 200}, /* close-delimited: cannot be told */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_text_server(cases[i].text);
        server.reset = cases[i].reset;
        struct httpc_result result = get();
        if (result.end != cases[i].end || result.status != cases[i].status)
            fail_msg("case %zu: expected %s %u, got %s %u: %s", i, httpc_end_names[cases[i].end], cases[i].status,
                     httpc_end_names[result.end], result.status, result.text);
        assert_end(&result, cases[i].end);
    }
}

static void talk_endless_headers(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    for (bool ok = peer_send(fd, s->text); ok; ok = peer_send(fd, s->after))
        ;
    close(fd);
}

static void floods_of_headers_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *first;
        const char *again;
        enum httpc_end end;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n", HTTPC_ENDLESS},
        {"HTTP/1.1 200 OK\r\nX-Long: ", "without an end of line ", HTTPC_MALFORMED},
        {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", HTTPC_ENDLESS},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-Trailer: and more and more\r\n",
         HTTPC_ENDLESS},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: ", "trailer without end ", HTTPC_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server.text = cases[i].first;
        server.after = cases[i].again;
        start_server(talk_endless_headers, 1);
        struct httpc_result result = get();
        if (result.end != cases[i].end)
            fail_msg("case %zu: got %s: %s", i, httpc_end_names[result.end], result.text);
    }
}

static void talk_endless_chunks(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    peer_send(fd, s->text);
    for (int i = 0; i < 26; i++) {
        if (!peer_send(fd, "100000\r\n") || !peer_send_fill(fd, 0x100000) || !peer_send(fd, "\r\n"))
            break;
    }
    peer_send(fd, "0\r\n\r\n");
    close(fd);
}

static void body_of_26_mb_stops_at_its_limit(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", /* thrown away, but counted as well */
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct outcome outcome = {.done = 0};
        server.text = heads[i];
        start_server(talk_endless_chunks, 1);
        struct httpc_request request = default_request(&outcome);
        fetch(&outcome, &request);
        end_server();
        assert_end(&outcome.result, HTTPC_TOO_BIG);
        assert_contains(outcome.result.text, "1048576");
        assert_true(outcome.result.received_bytes <= 1024 * 1024);
        assert_int_equal(outcome.sink_bytes, i % 2 == 0 ? outcome.result.received_bytes : 0);
        assert_int_equal(outcome.result.status, i % 2 == 0 ? 200 : 500);
    }
}

static void talk_trickle(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    peer_send(fd, s->text);
    while (peer_send(fd, s->after))
        peer_sleep_ms(5);
    close(fd);
}

/* Each of them stays below all other limits. */
static void slow_servers_run_into_the_timeout(void **state)
{
    (void)state;
#define CHUNKED_200 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *first, *again;
        unsigned status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "a", 200},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "a", 200},
        {"HTTP/1.1 200 OK\r\nX-Slow: ", "a", 200},
        {"HTTP/1.1 200 OK\r\n", "a: b\r\n", 200},
        {"", "HTTP/1.1 100 Continue\r\n\r\n", 0},
        {"", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0},
        {CHUNKED_200, "1\r\na\r\n", 200},
        {CHUNKED_200 "1;ext=", "a", 200},
        {CHUNKED_200, "1;ext=a\r\na\r\n", 200},
        {CHUNKED_200 "0\r\nX-Slow: ", "a", 200},
        {CHUNKED_200 "0\r\n", "a: b\r\n", 200},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome = {.done = 0};
        server.text = cases[i].first;
        server.after = cases[i].again;
        struct httpc_request request = default_request(&outcome);
        fetch_until_timeout(&outcome, &request, talk_trickle, cases[i].status != 0 ? has_status : has_sent_all);
        assert_end(&outcome.result, HTTPC_TIMEOUT);
        assert_int_equal(outcome.result.status, cases[i].status);
    }
}

struct ticker {
    struct loop_timer timer;
    unsigned ticks;
};

static void on_tick(void *ctx)
{
    struct ticker *ticker = ctx;
    ticker->ticks++;
    loop_timer_arm(&ticker->timer, 1);
}

/* No callback hears of chunk extensions: the bytes of the socket are counted, and the loop goes on meanwhile. */
static void flood_of_chunk_extensions_is_cut(void **state)
{
    (void)state;
    static char extension[64 * 1024];
    struct outcome outcome = {.done = 0};
    struct ticker ticker = {.ticks = 0};
    memset(extension, 'e', sizeof(extension) - 1);
    server.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    server.after = extension;
    start_server(talk_endless_headers, 1);
    loop_timer_init(&ticker.timer, loop, on_tick, &ticker);
    loop_timer_arm(&ticker.timer, 1);
    struct httpc_request request = default_request(&outcome);
    fetch(&outcome, &request);
    loop_timer_disarm(&ticker.timer);
    end_server();
    assert_end(&outcome.result, HTTPC_ENDLESS);
    assert_contains(outcome.result.text, "neither headers nor body");
    assert_int_equal(outcome.result.received_bytes, 0);
}

/* The least that a chunk may hold costs six times its length on the wire, and is no noise. */
static void talk_small_chunks(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    peer_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    static const char chunks[] = "1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n";
    for (int i = 0; i < 50 * 1000 && peer_send(fd, chunks); i++)
        ;
    peer_send(fd, "0\r\n\r\n");
    close(fd);
}

static void body_in_chunks_of_one_byte_arrives(void **state)
{
    (void)state;
    struct outcome outcome = {.done = 0};
    start_server(talk_small_chunks, 1);
    struct httpc_request request = default_request(&outcome);
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_OK);
    assert_int_equal(outcome.result.received_bytes, 400 * 1000);
}

static void talk_never(struct server *s, int fd)
{
    wait_for_end(s);
    close(fd);
}

static void upload_that_nobody_takes_is_not_sent(void **state)
{
    (void)state;
    struct outcome outcome = {.source_left = 64 * 1024 * 1024};
    struct httpc_request request = default_request(&outcome);
    request.method = "POST";
    request.source = on_source;
    request.source_size = outcome.source_left;
    fetch_until_timeout(&outcome, &request, talk_never, has_sent_some);
    assert_end(&outcome.result, HTTPC_TIMEOUT);
    assert_false(outcome.result.body_sent);
    assert_true(outcome.result.sent_bytes > 0);
    assert_true(outcome.result.sent_bytes < 64 * 1024 * 1024);
}

static void talk_takes_all_says_nothing(struct server *s, int fd)
{
    char text[PEER_TEXT_MAX];
    peer_read_until(fd, "ssss", s->request);
    (void)peer_read_until(fd, "never", text); /* until the client gives up */
    close(fd);
}

static void reply_that_does_not_come_is_an_unsure_end(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct outcome outcome = {.source_left = 2000};
        struct httpc_request request = default_request(&outcome);
        request.method = "POST";
        request.source = on_source;
        request.source_size = known ? 2000 : -1;
        fetch_until_timeout(&outcome, &request, talk_takes_all_says_nothing, has_sent_all);
        assert_end(&outcome.result, HTTPC_TIMEOUT);
        assert_true(outcome.result.body_sent);
        assert_int_equal(outcome.result.status, 0);
    }
}

static void talk_early_refusal(struct server *s, int fd)
{
    peer_read_until(fd, "\r\n\r\n", s->request);
    peer_send(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch");
    peer_drain(fd);
    close(fd);
}

static void refusal_before_the_body_is_through_is_told(void **state)
{
    (void)state;
    struct outcome outcome = {.source_left = 64 * 1024 * 1024};
    start_server(talk_early_refusal, 1);
    struct httpc_request request = default_request(&outcome);
    request.method = "POST";
    request.source = on_source;
    request.source_size = outcome.source_left;
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_OK);
    assert_int_equal(outcome.result.status, 413);
    assert_string_equal(outcome.result.reply, "much");
    assert_false(outcome.result.body_sent);
}

/* Connecting */

static uint16_t closed_port(void)
{
    uint16_t port = 0;
    close(peer_listen(&port));
    return port;
}

static void refused_connection_is_named(void **state)
{
    (void)state;
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    request.url = url_of(closed_port());
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_REFUSED);
    assert_int_equal(outcome.result.status, 0);
    assert_false(outcome.result.body_sent);
}

/* A port of 127.0.0.1 with a full backlog: the kernel drops further SYNs. */
struct silent_port {
    int fd;
    int clients[4];
    uint16_t port;
};

static void open_silent_port(struct silent_port *silent)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    silent->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent->fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(silent->fd, 0), 0);
    assert_int_equal(getsockname(silent->fd, (struct sockaddr *)&addr, &len), 0);
    for (int i = 0; i < 4; i++) {
        silent->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(silent->clients[i], (const struct sockaddr *)&addr, sizeof(addr));
    }
    silent->port = ntohs(addr.sin_port);
}

static void close_silent_port(struct silent_port *silent)
{
    for (int i = 0; i < 4; i++)
        close(silent->clients[i]);
    close(silent->fd);
}

static void connection_that_does_not_come_up_times_out(void **state)
{
    (void)state;
    struct silent_port silent;
    struct outcome outcome = {.done = 0};
    open_silent_port(&silent);
    struct httpc_request request = default_request(&outcome);
    request.url = url_of(silent.port);
    request.connect_timeout_ms = SHORT_MS;
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_CONNECT_TIMEOUT);
    close_silent_port(&silent);
}

/* two.test: 127.0.0.1 is silent, 127.0.0.2 answers, ::1 refuses. libcurl gives each address a share of the time. */
static void get_two(bool late)
{
    struct silent_port silent;
    struct outcome outcome = {.done = 0};
    open_silent_port(&silent);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(silent.port)};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &addr.sin_addr), 1);
    server.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server.port = silent.port;
    assert_int_equal(bind(server.listen_fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(server.listen_fd, 4), 0);
    start_text_server(REPLY("ok"));
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "http://two.test:%u/", silent.port);
    request.connect_timeout_ms = 2000;
    begin(&outcome, &request);
    if (late) {
        run_for(50);
        peer_sleep_ms(1100);
    }
    wait_done(&outcome);
    end_server();
    assert_end(&outcome.result, HTTPC_OK);
    close_silent_port(&silent);
}

static void second_address_is_tried_after_a_silent_one(void **state)
{
    (void)state;
    get_two(false);
}

/* After a pause the first address's time is over and IPv6's turn has come: in one call libcurl closes the first
 * socket unannounced and opens the second one with the same number. */
static void socket_with_the_number_of_the_last_one_is_watched(void **state)
{
    (void)state;
    get_two(true);
}

static void proxy_of_the_environment_is_ignored(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    char proxy[64];
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", closed_port());
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(setenv(names[i], proxy, 1), 0);
    start_text_server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    struct httpc_result result = get();
    for (size_t i = 0; i < 4; i++)
        unsetenv(names[i]);
    assert_end(&result, HTTPC_OK);
}

static void bad_urls_are_refused_at_once(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "/path",          "localhost:80", "ftp://x/",    "file:///etc/passwd",
                                      "http://", "http://x:70000", "http://x y/",  "http://[::1", "gopher://x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        struct outcome outcome = {.done = 0};
        struct httpc_request request = default_request(&outcome);
        request.url = bad[i];
        if (httpc_start(httpc, &request, &outcome.transfer, &err) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
        assert_contains(err.text, "expected an absolute http or https URL");
        assert_contains(err.text, bad[i]);
        assert_null(outcome.transfer);
    }
}

static void without_descriptors_it_says_so(void **state)
{
    (void)state;
    struct rlimit old;
    struct outcome outcome = {.done = 0};
    uint16_t port = closed_port();
    int highest = dup(0);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)highest, .rlim_max = old.rlim_max};
    struct httpc_request request = default_request(&outcome);
    request.url = url_of(port);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fetch(&outcome, &request);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_end(&outcome.result, HTTPC_OTHER);
    assert_contains(outcome.result.text, strerror(EMFILE));
}

/* localhost */

static bool ipv6_is_off;

int socket(int family, int type, int protocol)
{
    int (*real)(int, int, int) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "socket");
    if (family == AF_INET6 && ipv6_is_off) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return real(family, type, protocol);
}

/* Bound to ::1 or 127.0.0.1. As long as it does not listen, connections are refused, and nobody else gets the port by
 * chance who takes any free one. */
static int bind_to(int family, uint16_t *port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(*port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    struct sockaddr_in6 bound;
    socklen_t len = sizeof(bound);
    int on = 1;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    bool is_v6 = family == AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *addr = is_v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, addr, is_v6 ? sizeof(v6) : sizeof(v4)) < 0 || getsockname(fd, (struct sockaddr *)&bound, &len) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(bound.sin6_port);
    return fd;
}

static int listen_on(int family, uint16_t port)
{
    int fd = bind_to(family, &port);
    assert_true(fd >= 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

/* One port of both, held all along, so that no stranger answers there; *v6 < 0: no IPv6 here. */
static uint16_t hold_both(int *v4, int *v6)
{
    uint16_t port = 0;
    for (int tries = 0; tries < 100; tries++) {
        port = 0;
        *v4 = bind_to(AF_INET, &port);
        assert_true(*v4 >= 0);
        *v6 = bind_to(AF_INET6, &port);
        if (*v6 >= 0 || errno != EADDRINUSE)
            break;
        close(*v4);
    }
    return port;
}

static void get_localhost(uint16_t port, enum httpc_end end, const char *reply)
{
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "http://LocalHost:%u/", port);
    request.sink = NULL;
    request.close_after = true;
    fetch(&outcome, &request);
    assert_end(&outcome.result, end);
    assert_string_equal(outcome.result.reply, reply);
}

static void localhost_is_127_0_0_1_where_ipv6_is_off(void **state)
{
    (void)state;
    ipv6_is_off = true;
    start_text_server(REPLY("v4"));
    get_localhost(server.port, HTTPC_OK, "v4");
    end_server();
    get_localhost(server.port, HTTPC_REFUSED, "");
    ipv6_is_off = false;
}

static void localhost_is_127_0_0_1_then_ipv6(void **state)
{
    (void)state;
    unsigned before = lookups;
    int held_v4, held_v6;
    uint16_t port = hold_both(&held_v4, &held_v6);
    if (held_v6 < 0) { /* no IPv6 here: only the first half */
        close(held_v4);
        start_text_server(REPLY("v4"));
        get_localhost(server.port, HTTPC_OK, "v4");
        end_server();
        return;
    }
    server.listen_fd = listen_on(AF_INET6, port);
    server.port = port;
    start_text_server(REPLY("v6"));
    get_localhost(port, HTTPC_OK, "v6"); /* nobody on 127.0.0.1 */
    end_server();
    int v6 = listen_on(AF_INET6, port);
    server.listen_fd = listen_on(AF_INET, port);
    start_text_server(REPLY("v4"));
    get_localhost(port, HTTPC_OK, "v4"); /* both there */
    end_server();
    close(v6);
    get_localhost(port, HTTPC_REFUSED, "");
    assert_int_equal(lookups, before);
    close(held_v4);
    close(held_v6);
}

/* Names */

static void get_app(uint16_t port, enum httpc_end end)
{
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "http://app.test:%u/", port);
    request.close_after = true;
    fetch(&outcome, &request);
    assert_end(&outcome.result, end);
}

static void answers_are_kept_until_connecting_fails(void **state)
{
    (void)state;
    server.port = 0;
    server.text = REPLY("ok");
    server.fill = 0;
    server.after = NULL;
    start_server(talk_text, 4);
    unsigned before = lookups;
    answer_for_app = "127.0.0.1";
    get_app(server.port, HTTPC_OK);
    get_app(server.port, HTTPC_OK);
    assert_int_equal(lookups, before + 1);
    answer_for_app = "127.0.0.2"; /* the old answer is still trusted */
    get_app(server.port, HTTPC_OK);
    assert_int_equal(lookups, before + 1);
    uint16_t other_port = closed_port();
    get_app(other_port, HTTPC_REFUSED); /* another port is another look-up */
    assert_int_equal(lookups, before + 2);
    get_app(other_port, HTTPC_REFUSED); /* no longer trusted: asked anew */
    assert_int_equal(lookups, before + 3);
    answer_for_app = "127.0.0.1";
    get_app(server.port, HTTPC_OK);
    assert_int_equal(lookups, before + 4);
    end_server();
}

static void unknown_name_is_named(void **state)
{
    (void)state;
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    request.url = "http://nowhere.test/";
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_RESOLVE);
    assert_contains(outcome.result.text, "nowhere.test");
}

static void name_that_appears_later_is_found_at_once(void **state)
{
    (void)state;
    start_text_server(REPLY("ok"));
    answer_for_app = NULL;
    for (unsigned i = 0; i < 3; i++)
        get_app(server.port, HTTPC_RESOLVE);
    answer_for_app = "127.0.0.1";
    get_app(server.port, HTTPC_OK);
    end_server();
}

static void slow_resolver_holds_up_nothing(void **state)
{
    (void)state;
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    request.url = "http://slow.test/"; /* takes 1.5 s */
    request.timeout_ms = 200;
    int64_t begin_ms = peer_now_ms();
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_RESOLVE);
    begin(&outcome, &request);
    run_for(30);
    outcome.transfer = httpc_cancel(outcome.transfer);
    assert_true(peer_now_ms() - begin_ms < 1400);
    peer_sleep_ms(2000); /* the threads end: nothing is left for the leak checkers to find */
}

/* TLS */

static void https_is_verified_unless_told_otherwise(void **state)
{
    (void)state;
    struct peer_pem pem;
    struct httpd *httpd = start_httpd("NORMAL");
    peer_make_pem(&pem, 1);
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    assert_int_equal(peer_pair(&pem, &pem, &pair, NULL), 0);
    httpd_set_pair(httpd, pair);
    const struct httpc_tls nobody = {.ca_file = "/dev/null"};
    struct outcome outcome = {.source_left = 2000000};
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/count", httpd_port(httpd));
    request.method = "POST";
    request.source = on_source;
    request.source_size = 2000000;
    request.sink = NULL;
    request.tls = &nobody;
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_TLS);
    assert_int_equal(outcome.result.sent_bytes, 0);
    request.tls = NULL;
    request.insecure = true;
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_OK);
    assert_string_equal(outcome.result.reply, "2000000 of 2000000");
    outcome = (struct outcome){.source_left = 10}; /* over the same connection */
    request.source_size = 10;
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_OK);
    assert_int_equal(httpd_get_stats(httpd)->connections, 1);
    httpd_free(httpd);
}

static void talk_garbage(struct server *s, int fd)
{
    char byte;
    (void)recv(fd, &byte, 1, 0);
    peer_send(fd, s->text);
    peer_drain(fd);
    close(fd);
}

static void broken_handshakes_are_named(void **state)
{
    (void)state;
    static const char *const texts[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome = {.done = 0};
        server.text = texts[i];
        start_server(talk_garbage, 1);
        struct httpc_request request = default_request(&outcome);
        snprintf(url, sizeof(url), "https://127.0.0.1:%u/", server.port);
        request.insecure = true;
        fetch(&outcome, &request);
        end_server();
        assert_end(&outcome.result, HTTPC_TLS);
    }
    struct outcome outcome = {.done = 0}; /* silence in the handshake */
    start_server(talk_never, 1);
    struct httpc_request request = default_request(&outcome);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", server.port);
    request.insecure = true;
    request.timeout_ms = SHORT_MS;
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_CONNECT_TIMEOUT);
}

/* Connections kept */

static void talk_many(struct server *s, int fd)
{
    while (peer_read_until(fd, "\r\n\r\n", s->request) > 0 && peer_send(fd, REPLY("ok")))
        ;
    close(fd);
}

static void get_ok(bool close_after)
{
    struct outcome outcome = {.done = 0};
    struct httpc_request request = default_request(&outcome);
    request.close_after = close_after;
    fetch(&outcome, &request);
    assert_end(&outcome.result, HTTPC_OK);
}

static void connection_is_kept_unless_told_otherwise(void **state)
{
    (void)state;
    start_server(talk_many, 2);
    get_ok(false);
    get_ok(false);
    get_ok(false);
    assert_int_equal(server.accepted, 1);
    httpc = httpc_free(httpc); /* closes it */
    end_server();
    assert_int_equal(httpc_new(loop, &client_options, &httpc, NULL), 0);
    start_server(talk_many, 3);
    get_ok(true);
    get_ok(true);
    get_ok(true);
    end_server();
    assert_int_equal(server.accepted, 3);
}

/* Answers once, and takes the next request only to close on it. */
static void talk_once(struct server *s, int fd)
{
    s->requests += peer_read_until(fd, "\r\n\r\n", s->request) > 0;
    peer_send(fd, REPLY("ok"));
    s->requests += peer_read_until(fd, s->text, s->request) > 0;
    close(fd);
}

static void kept_connection_that_dies_is_opened_anew(void **state)
{
    (void)state;
    server.text = "\r\n\r\n";
    start_server(talk_once, 2);
    get_ok(false);
    get_ok(false); /* closed on: a GET is simply asked again */
    httpc = httpc_free(httpc);
    end_server();
    assert_int_equal(server.accepted, 2);
    assert_int_equal(server.requests, 3);
    assert_int_equal(httpc_new(loop, &client_options, &httpc, NULL), 0);
    server.text = "ssss";
    start_server(talk_once, 2);
    get_ok(false);
    struct outcome outcome = {.source_left = 4};
    struct httpc_request request = default_request(&outcome);
    request.method = "POST";
    request.source = on_source;
    request.source_size = 4;
    fetch(&outcome, &request); /* a body that was sent is not sent twice */
    end_server();
    assert_int_equal(server.requests, 2);
    assert_end(&outcome.result, HTTPC_RESET);
    assert_true(outcome.result.body_sent);
}

/* Callbacks that stop things */

static void sink_and_source_can_abort(void **state)
{
    (void)state;
    start_text_server("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    server.fill = 100000;
    struct outcome outcome = {.sink_rc = -ENOSPC};
    struct httpc_request request = default_request(&outcome);
    fetch(&outcome, &request);
    end_server();
    assert_end(&outcome.result, HTTPC_ABORTED);
    assert_int_equal(outcome.result.abort_code, -ENOSPC);
    assert_int_equal(outcome.sink_calls, 1);
    assert_contains(outcome.result.text, strerror(ENOSPC));
    static const struct {
        int64_t left;
        int64_t rc;
        int64_t size;
        int code;
    } cases[] = {
        {10, -EBADMSG, 10, -EBADMSG},
        {10, -EBADMSG, -1, -EBADMSG},
        {9, 0, 10, -EIO}, /* ends before its time */
        {10, INT64_MIN, 10, -EIO},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_text_server(REPLY("ok"));
        server.wait = true;
        outcome = (struct outcome){.source_left = cases[i].left, .source_rc = cases[i].rc};
        request = default_request(&outcome);
        request.method = "POST";
        request.source = on_source;
        request.source_size = cases[i].size;
        fetch(&outcome, &request);
        end_server();
        assert_end(&outcome.result, HTTPC_ABORTED);
        assert_int_equal(outcome.result.abort_code, cases[i].code);
        assert_false(outcome.result.body_sent);
    }
}

static void cancel_other(struct outcome *outcome)
{
    outcome->other->transfer = httpc_cancel(outcome->other->transfer);
}

static void cancel_self(struct outcome *outcome)
{
    outcome->transfer = httpc_cancel(outcome->transfer);
    loop_stop(loop);
}

static void try_to_start(struct outcome *outcome)
{
    struct outcome *other = outcome->other;
    struct httpc_request request = default_request(other);
    outcome->rc = httpc_start(httpc, &request, &other->transfer, &outcome->err);
}

/* Two transfers at once against one server thread that serves both connections, slowly and without an end. */
static void talk_two(struct server *s, int fd)
{
    static int first = -1;
    peer_read_until(fd, "\r\n\r\n", s->request);
    if (s->accepted == 1) {
        first = fd;
        return;
    }
    for (bool ok = peer_send(first, s->text) && peer_send(fd, s->text); ok;) {
        bool one = peer_send(first, "b");
        bool two = peer_send(fd, "b");
        ok = one || two;
        peer_sleep_ms(1);
    }
    close(first);
    close(fd);
}

static void begin_two(struct outcome *a, struct outcome *b)
{
    server.text = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    start_server(talk_two, 2);
    struct httpc_request request = default_request(a);
    begin(a, &request);
    request = default_request(b);
    begin(b, &request);
    a->other = b;
    b->other = a;
}

/* Runs on until its sink was called more often than that. */
static void wait_for_sink(const struct outcome *outcome, unsigned calls)
{
    for (int64_t end_ms = peer_now_ms() + LONG_MS / 2; outcome->sink_calls <= calls && peer_now_ms() < end_ms;)
        run_for(5);
    assert_true(outcome->sink_calls > calls);
}

static void transfer_can_be_cancelled_from_its_own_sink(void **state)
{
    (void)state;
    struct outcome a = {.in_sink = cancel_self};
    struct outcome b = {.done = 0};
    begin_two(&a, &b);
    assert_int_equal(loop_run(loop, NULL), 0);
    unsigned calls = b.sink_calls;
    run_for(100);
    wait_for_sink(&b, calls); /* goes on */
    assert_int_equal(a.sink_calls, 1);
    assert_int_equal(a.done, 0);
    assert_int_equal(b.done, 0);
    b.transfer = httpc_cancel(b.transfer);
    end_server();
    assert_int_equal(b.done, 0);
}

static void transfer_can_be_cancelled_from_the_sink_of_another(void **state)
{
    (void)state;
    struct outcome a = {.in_sink = cancel_other};
    struct outcome b = {.done = 0};
    begin_two(&a, &b);
    wait_for_sink(&a, 0);
    unsigned calls = b.sink_calls;
    run_for(50);
    wait_for_sink(&a, 1);
    assert_null(b.transfer);
    assert_int_equal(b.sink_calls, calls);
    assert_int_equal(a.done + b.done, 0);
    a.transfer = httpc_cancel(a.transfer);
    end_server();
}

static void both_can_cancel_each_other(void **state)
{
    (void)state;
    struct outcome a = {.in_sink = cancel_other};
    struct outcome b = {.in_sink = cancel_other};
    begin_two(&a, &b);
    while (a.sink_calls + b.sink_calls == 0)
        run_for(5);
    run_for(20);
    assert_true((a.transfer == NULL) != (b.transfer == NULL)); /* one came first */
    httpc_cancel(a.transfer);
    httpc_cancel(b.transfer);
    end_server();
    assert_int_equal(a.done + b.done, 0);
}

static void done_may_cancel_others_and_itself(void **state)
{
    (void)state;
    struct outcome a = {.sink_rc = -ECANCELED, .in_done = cancel_other};
    struct outcome b = {.done = 0};
    begin_two(&a, &b);
    wait_done(&a);
    assert_end(&a.result, HTTPC_ABORTED);
    assert_null(b.transfer);
    end_server();
    assert_int_equal(b.done, 0);
    start_text_server(REPLY("ok"));
    struct outcome c = {.in_done = cancel_self};
    struct httpc_request request = default_request(&c);
    fetch(&c, &request);
    end_server();
    assert_end(&c.result, HTTPC_OK);
    assert_null(httpc_cancel(NULL));
}

static void transfers_are_started_from_done_but_not_from_a_sink(void **state)
{
    (void)state;
    server.text = REPLY("ok");
    server.fill = 0;
    server.after = NULL;
    server.wait = false;
    server.reset = false;
    start_server(talk_text, 2);
    struct outcome b = {.done = 0};
    struct outcome a = {.in_done = try_to_start, .other = &b};
    struct httpc_request request = default_request(&a);
    fetch(&a, &request);
    assert_int_equal(a.rc, 0);
    wait_done(&b);
    end_server();
    assert_end(&b.result, HTTPC_OK);
    start_text_server(REPLY("ok"));
    b = (struct outcome){.done = 0};
    a = (struct outcome){.in_sink = try_to_start, .other = &b};
    request = default_request(&a);
    fetch(&a, &request);
    end_server();
    assert_end(&a.result, HTTPC_OK);
    assert_int_equal(a.rc, -EBUSY);
    assert_contains(a.err.text, "sink");
    assert_null(b.transfer);
}

static void number_of_transfers_is_limited(void **state)
{
    (void)state;
    enum { TRANSFERS = 8 };
    assert_int_equal(client_options.transfers_max, TRANSFERS);
    struct outcome outcomes[TRANSFERS + 1] = {{.done = 0}};
    struct err err = {0};
    struct httpc_request request;
    for (int i = 0; i < TRANSFERS; i++) {
        request = default_request(&outcomes[i]);
        request.url = url_of(closed_port());
        begin(&outcomes[i], &request);
    }
    struct outcome *last = &outcomes[TRANSFERS];
    assert_int_equal(httpc_start(httpc, &request, &last->transfer, &err), -EBUSY);
    assert_contains(err.text, "8 run already");
    for (int i = 0; i < TRANSFERS; i++) {
        while (outcomes[i].done == 0)
            assert_int_equal(loop_run(loop, NULL), 0);
        assert_end(&outcomes[i].result, HTTPC_REFUSED);
    }
    request = default_request(last);
    request.url = url_of(closed_port());
    fetch(last, &request);
}

static void client_freed_with_transfers_under_way_cancels_them(void **state)
{
    (void)state;
    struct outcome a = {.done = 0};
    struct outcome b = {.done = 0};
    begin_two(&a, &b);
    while (a.sink_calls == 0)
        run_for(5);
    httpc = httpc_free(httpc);
    end_server();
    assert_int_equal(a.done + b.done, 0);
    assert_null(httpc_free(NULL));
}

/* Memory: each allocation, libcurl's included, fails once */

static void talk_after_body(struct server *s, int fd)
{
    peer_read_until(fd, "0\r\n\r\n", s->request);
    peer_send(fd, "HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n");
    close(fd);
}

static int try_post(struct outcome *outcome)
{
    struct err err = {0};
    int rc = httpc == NULL ? httpc_new(loop, &client_options, &httpc, &err) : 0;
    if (rc == 0) {
        struct httpc_request request = default_request(outcome);
        snprintf(url, sizeof(url), "http://localhost:%u/", server.port);
        request.method = "POST";
        request.source = on_source;
        request.source_size = -1;
        rc = httpc_start(httpc, &request, &outcome->transfer, &err);
    }
    if (rc < 0)
        assert_true(err.text[0] != '\0');
    return rc;
}

static void failed_allocation_costs_one_transfer_at_most(void **state)
{
    (void)state;
    unsigned failed_starts = 0;
    unsigned failed_transfers = 0;
    failing_thread = pthread_self();
    httpc = httpc_free(httpc);
    for (long n = 0;; n++) {
        start_server(talk_after_body, 1);
        struct outcome outcome = {.source_left = 3};
        allocations_left = n;
        int rc = try_post(&outcome);
        if (rc == 0)
            wait_done(&outcome);
        bool met = allocations_left < 0;
        allocations_left = -1;
        httpc = httpc_free(httpc);
        end_server();
        if (!met) {
            assert_end(&outcome.result, HTTPC_OK);
            break;
        }
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(outcome.done, 0);
            failed_starts++;
        } else if (outcome.result.end != HTTPC_OK) {
            if (outcome.result.end != HTTPC_NO_MEMORY)
                print_message("allocation %ld: %s: %s\n", n, httpc_end_names[outcome.result.end], outcome.result.text);
            failed_transfers++;
        }
    }
    assert_true(failed_starts > 20);
    assert_true(failed_transfers > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    server.listen_fd = -1;
    const struct CMUnitTest tests[] = {
        TEST(request_has_what_was_asked_for_and_no_more),
        TEST(reply_is_told_with_its_headers),
        TEST(long_header_value_is_cut),
        TEST(other_statuses_fill_the_reply_and_spare_the_sink),
        TEST(without_a_sink_the_reply_is_kept),
        TEST(empty_bodies_are_fine),
        TEST(bodies_are_streamed_both_ways),
        TEST(bad_replies_have_their_own_names),
        TEST(floods_of_headers_are_cut),
        TEST(body_of_26_mb_stops_at_its_limit),
        TEST(slow_servers_run_into_the_timeout),
        TEST(flood_of_chunk_extensions_is_cut),
        TEST(body_in_chunks_of_one_byte_arrives),
        TEST(upload_that_nobody_takes_is_not_sent),
        TEST(reply_that_does_not_come_is_an_unsure_end),
        TEST(refusal_before_the_body_is_through_is_told),
        TEST(refused_connection_is_named),
        TEST(connection_that_does_not_come_up_times_out),
        TEST(second_address_is_tried_after_a_silent_one),
        TEST(socket_with_the_number_of_the_last_one_is_watched),
        TEST(proxy_of_the_environment_is_ignored),
        TEST(bad_urls_are_refused_at_once),
        TEST(without_descriptors_it_says_so),
        TEST(localhost_is_127_0_0_1_where_ipv6_is_off),
        TEST(localhost_is_127_0_0_1_then_ipv6),
        TEST(answers_are_kept_until_connecting_fails),
        TEST(unknown_name_is_named),
        TEST(name_that_appears_later_is_found_at_once),
        TEST(slow_resolver_holds_up_nothing),
        TEST(https_is_verified_unless_told_otherwise),
        TEST(broken_handshakes_are_named),
        TEST(connection_is_kept_unless_told_otherwise),
        TEST(kept_connection_that_dies_is_opened_anew),
        TEST(sink_and_source_can_abort),
        TEST(transfer_can_be_cancelled_from_its_own_sink),
        TEST(transfer_can_be_cancelled_from_the_sink_of_another),
        TEST(both_can_cancel_each_other),
        TEST(done_may_cancel_others_and_itself),
        TEST(transfers_are_started_from_done_but_not_from_a_sink),
        TEST(number_of_transfers_is_limited),
        TEST(client_freed_with_transfers_under_way_cancels_them),
        TEST(failed_allocation_costs_one_transfer_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
