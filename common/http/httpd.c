#include "common/http/httpd.h"

#include "common/base/cleanup.h"
#include "common/http/httpd_tls.h"
#include "common/http/listener.h"
#include "common/base/number.h"
#include "common/base/span.h"

#include <assert.h>
#include <limits.h>
#include <linux/tcp.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BODIES_MAX_FACTOR = 4,  /* default of bodies_max, in bodies of the largest size */
    REPLY_TEXT_MAX = 160,   /* our own refusals are one line */
    ALLOW_MAX = 64,         /* the Allow header: a handful of methods */
    RUNS_MAX = 8,           /* of libmicrohttpd in a turn of the loop, while it asks to be called at once */
    HANDSHAKE_WAIT_MS = 10, /* between runs in which nothing comes of a handshake; what does come wakes us at once */
    STALL_TURNS = 100,      /* of the loop in a row for which libmicrohttpd may ask to be called at once and do nothing then */
    STALL_MS = 100,         /* a body that has grown within so many is not what it turns for */
};

const char *const httpd_refusal_names[HTTPD_REFUSED_COUNT] = {
    [HTTPD_REFUSED_PATH] = "path",     [HTTPD_REFUSED_METHOD] = "method",
    [HTTPD_REFUSED_TYPE] = "type",     [HTTPD_REFUSED_SIZE] = "size",
    [HTTPD_REFUSED_INCOMPLETE] = "incomplete", [HTTPD_REFUSED_MEMORY] = "memory",
    [HTTPD_REFUSED_BUSY] = "busy",     [HTTPD_REFUSED_LIMIT] = "limit",
};

const char *const httpd_cut_names[HTTPD_CUT_COUNT] = {
    [HTTPD_CUT_IDLE] = "idle",
    [HTTPD_CUT_SLOW] = "slow",
    [HTTPD_CUT_DEADLINE] = "deadline",
};

enum stage {
    STAGE_WAITING, /* no request line yet; the TLS handshake included */
    STAGE_HEADERS, /* the request line is there */
    STAGE_BODY,    /* the headers are there */
    STAGE_REPLY,   /* the reply is queued */
};

struct connection {
    struct connection *next;
    struct connection **link; /* what points to us in httpd->connections */
    struct httpd *httpd;
    int fd; /* libmicrohttpd's; valid until MHD_CONNECTION_NOTIFY_CLOSED returns */
    struct httpd_tls_session tls;
    bool used;   /* a request line came */
    bool cut;    /* we shut the socket down */
    bool excess; /* over connections_max: 503 for whatever it asks */
    int64_t deadline_ms;
    int64_t since_ms;  /* since then it is idle, or its request has been going on */
    int64_t active_ms; /* last progress of the body */

    /* the request under way */
    enum stage stage;
    const struct httpd_route *route;
    unsigned refused; /* HTTP status, 0 = not refused */
    bool chunked;
    uint64_t body_seen; /* bytes, kept and thrown away */
    struct buf body;
};

struct httpd {
    struct loop *loop;
    struct listener *listener; /* NULL once quiesced */
    struct MHD_Daemon *daemon;
    struct loop_watch *watch; /* of libmicrohttpd's epoll descriptor */
    struct loop_hook hook;
    bool hooked;
    bool running;      /* inside MHD_run */
    bool due;          /* libmicrohttpd has something to do in this turn */
    int64_t due_ms;    /* when it wants to be called even if nothing comes; INT64_MAX = not at all */
    bool moved;        /* the last run of libmicrohttpd did something */
    unsigned idle_turns;         /* see STALL_TURNS */
    bool draining;
    bool quiesced;
    httpd_quiesced *on_quiesced; /* NULL = nobody waits for it, or was told */
    void *quiesced_ctx;
    uint16_t port;
    struct loop_timer sweep;
    struct connection *connections;
    struct connection *accepting; /* handed to libmicrohttpd, not claimed by on_connection() yet */
    struct httpd_tls_keys keys;
    unsigned cut;      /* connections that are shut down and not closed yet */
    size_t body_bytes; /* memory of all bodies */
    struct httpd_options options;
    struct httpd_stats stats;
};

/* Connections and their deadlines */

static void set_deadline(struct connection *conn, int64_t deadline_ms)
{
    struct httpd *httpd = conn->httpd;
    if (conn->cut)
        return;
    conn->deadline_ms = deadline_ms;
    if (!httpd->sweep.armed || httpd->sweep.due_ms > deadline_ms)
        loop_timer_arm(&httpd->sweep, deadline_ms - loop_now_ms(httpd->loop));
}

/* Ends a connection from outside. libmicrohttpd owns the descriptor and offers no call for it, but shutdown(2)
 * closes nothing: its epoll reports EPOLLHUP, and it closes the connection in its next run, in whatever state,
 * the TLS handshake included. */
static void cut_connection(struct connection *conn)
{
    if (!conn->cut)
        conn->httpd->cut++;
    conn->cut = true;
    conn->deadline_ms = INT64_MAX;
    shutdown(conn->fd, SHUT_RDWR);
}

/* A silent client ends by libmicrohttpd's inactivity timeout; this is for those that keep it alive byte by byte. */
static void sweep_connections(void *ctx)
{
    struct httpd *httpd = ctx;
    int64_t now_ms = loop_now_ms(httpd->loop);
    int64_t next_ms = INT64_MAX;
    for (struct connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (conn->deadline_ms <= now_ms) {
            httpd->stats.cut[HTTPD_CUT_DEADLINE]++;
            cut_connection(conn);
        }
        if (conn->deadline_ms < next_ms)
            next_ms = conn->deadline_ms;
    }
    if (next_ms != INT64_MAX)
        loop_timer_arm(&httpd->sweep, next_ms - now_ms);
}

/* Linux counts the client's FIN as a byte received (tcp_data_queue adds up sequence numbers), so one byte is none: a
 * single byte before the end is no beginning of anything either. */
static bool received_any(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_bytes_received > 1;
}

/* A client that sent something and never came to a request. One that only connects (a port probe, a
 * connection kept for later) is no failure. */
static void count_unused(const struct connection *conn)
{
    struct httpd *httpd = conn->httpd;
    if (conn->used || conn->tls.handshake_done || !received_any(conn->fd))
        return;
    if (httpd->options.tls != NULL)
        httpd->stats.tls_failures++;
    else
        httpd->stats.refused[HTTPD_REFUSED_INCOMPLETE]++;
}

static struct connection *new_connection(struct httpd *httpd, int fd, bool excess)
{
    struct connection *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->httpd = httpd;
    conn->fd = fd;
    conn->excess = excess;
    conn->tls.moved = &httpd->moved;
    conn->since_ms = loop_now_ms(httpd->loop);
    buf_init(&conn->body, httpd->options.body_max);
    conn->next = httpd->connections;
    conn->link = &httpd->connections;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    httpd->connections = conn;
    httpd->stats.connections++;
    set_deadline(conn, conn->since_ms + (excess ? HTTPD_SLOW_MS : (int64_t)httpd->options.request_timeout_ms));
    return conn;
}

static void drop_body(struct connection *conn)
{
    conn->httpd->body_bytes -= conn->body.cap;
    buf_done(&conn->body);
}

static void begin_flight(struct connection *conn)
{
    conn->stage = STAGE_HEADERS;
    conn->since_ms = loop_now_ms(conn->httpd->loop);
    conn->httpd->stats.in_flight++;
}

static void end_request(struct connection *conn)
{
    if (conn->stage != STAGE_WAITING)
        conn->httpd->stats.in_flight--;
    conn->stage = STAGE_WAITING;
    conn->since_ms = loop_now_ms(conn->httpd->loop);
}

static void free_connection(struct connection *conn)
{
    drop_body(conn);
    end_request(conn);
    if (conn->httpd->options.tls != NULL)
        conn->httpd->options.tls->session_done(&conn->tls);
    if (conn->cut)
        conn->httpd->cut--;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    conn->httpd->stats.connections--;
    free(conn);
}

/* Overload */

static bool has_unread(const struct connection *conn)
{
    int unread = 0;
    return conn->tls.ahead_len > 0 || ioctl(conn->fd, FIONREAD, &unread) < 0 || unread > 0;
}

/* In the order in which connections go to make room. */
enum use { USE_NONE, USE_IDLE, USE_SLOW, USE_GOOD };

static bool is_unused(const struct connection *conn)
{
    return conn->stage == STAGE_WAITING && !conn->used && !conn->cut;
}

/* Then not even new ones have time to begin: they go before somebody who keeps a connection for later. */
static bool is_flooded(const struct httpd *httpd)
{
    unsigned unused = 0;
    for (const struct connection *conn = httpd->connections; conn != NULL; conn = conn->next)
        unused += is_unused(conn) ? 1 : 0;
    return unused > httpd->options.connections_max / 2;
}

static enum use use_of(const struct connection *conn, int64_t now_ms, bool flooded)
{
    int64_t age_ms = now_ms - conn->since_ms;
    if (conn->cut)
        return USE_GOOD;
    if (is_unused(conn))
        return flooded || age_ms >= HTTPD_FRESH_MS ? USE_NONE : USE_GOOD;
    if (conn->stage == STAGE_WAITING)
        return has_unread(conn) ? USE_GOOD : USE_IDLE;
    return conn->stage != STAGE_REPLY && age_ms >= HTTPD_SLOW_MS ? USE_SLOW : USE_GOOD;
}

static struct connection *find_least_useful(struct httpd *httpd, enum use *ret_use)
{
    struct connection *least = NULL;
    int64_t now_ms = loop_now_ms(httpd->loop);
    bool flooded = is_flooded(httpd);
    *ret_use = USE_GOOD;
    for (struct connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        enum use use = use_of(conn, now_ms, flooded);
        /* The list begins with the newest: of equals the last one is the oldest. */
        if (use == USE_GOOD || use > *ret_use || (use == *ret_use && conn->since_ms > least->since_ms))
            continue;
        least = conn;
        *ret_use = use;
    }
    return least;
}

static unsigned open_connections(const struct httpd *httpd)
{
    return httpd->stats.connections - httpd->cut;
}

/* False when everybody is busy. */
static bool make_room(struct httpd *httpd)
{
    enum use use;
    struct connection *least = find_least_useful(httpd, &use);
    if (least == NULL)
        return false;
    httpd->stats.cut[use == USE_SLOW ? HTTPD_CUT_SLOW : HTTPD_CUT_IDLE]++;
    cut_connection(least);
    return true;
}

static bool is_full(void *ctx)
{
    struct httpd *httpd = ctx;
    const struct httpd_options *options = &httpd->options;
    enum use use;
    return options->connections_spare > 0 &&
           open_connections(httpd) >= options->connections_max + options->connections_spare &&
           find_least_useful(httpd, &use) == NULL;
}

/* NULL when there is no room for it, or no memory. */
static struct connection *admit(struct httpd *httpd, int fd)
{
    const struct httpd_options *options = &httpd->options;
    unsigned open = open_connections(httpd);
    if (open < options->connections_max || make_room(httpd))
        return new_connection(httpd, fd, /* excess= */ false);
    return options->connections_spare > 0 ? new_connection(httpd, fd, /* excess= */ true) : NULL;
}

static void on_accept(void *ctx, int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    struct httpd *httpd = ctx;
    struct connection *conn = admit(httpd, fd);
    if (conn == NULL) {
        httpd->stats.refused[HTTPD_REFUSED_LIMIT]++;
        close(fd);
        return;
    }
    httpd->accepting = conn;
    /* Closes fd when it fails. */
    if (MHD_add_connection(httpd->daemon, fd, addr, addr_len) != MHD_YES)
        httpd->stats.refused[HTTPD_REFUSED_LIMIT]++;
    if (httpd->accepting != NULL)
        free_connection(httpd->accepting); /* on_connection() was not reached */
    httpd->accepting = NULL;
    httpd->due = true;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct httpd *httpd = cls;
    httpd->moved = true;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        count_unused(*context);
        free_connection(*context);
        return;
    }
    struct connection *conn = httpd->accepting;
    httpd->accepting = NULL;
    *context = conn;
    if (httpd->options.tls != NULL) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        httpd->options.tls->session_init(&conn->tls, conn->fd, &httpd->keys, httpd->options.client_certificates,
                                         info->tls_session);
    }
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Replies */

static enum MHD_Result add_headers(struct MHD_Response *response, const struct connection *conn,
                                   const char *content_type, const char *allow)
{
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES)
        return MHD_NO;
    if (allow != NULL && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow) != MHD_YES)
        return MHD_NO;
    if (conn->httpd->draining || conn->excess)
        return MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return MHD_YES;
}

/* MHD_NO makes libmicrohttpd close the connection: all that is left without memory. */
static enum MHD_Result queue_reply(struct connection *conn, struct MHD_Connection *mhd, unsigned status,
                                   const char *content_type, const char *allow, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = add_headers(response, conn, content_type, allow);
    if (result == MHD_YES)
        result = MHD_queue_response(mhd, status, response);
    MHD_destroy_response(response);
    if (result == MHD_YES) {
        conn->stage = STAGE_REPLY;
        set_deadline(conn, loop_now_ms(conn->httpd->loop) + conn->httpd->options.request_timeout_ms);
    }
    return result;
}

static enum MHD_Result reply_text(struct connection *conn, struct MHD_Connection *mhd, unsigned status,
                                  const char *allow, const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    return queue_reply(conn, mhd, status, "text/plain; charset=utf-8", allow, response);
}

static bool method_fits(const struct httpd_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, MHD_HTTP_METHOD_GET) == 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

static void list_methods(const struct httpd_route *routes, const char *path, char text[static ALLOW_MAX])
{
    struct buf list;
    buf_init(&list, ALLOW_MAX - 1);
    for (const struct httpd_route *route = routes; route->path != NULL; route++) {
        if (strcmp(route->path, path) != 0)
            continue;
        buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", route->method);
        if (strcmp(route->method, MHD_HTTP_METHOD_GET) == 0)
            buf_puts(&list, ", " MHD_HTTP_METHOD_HEAD);
    }
    memcpy(text, buf_text(&list), list.len + 1);
    buf_done(&list);
}

static enum MHD_Result reply_refusal(struct connection *conn, struct MHD_Connection *mhd, const char *path)
{
    const struct httpd_options *options = &conn->httpd->options;
    char text[REPLY_TEXT_MAX];
    char allow[ALLOW_MAX];
    switch (conn->refused) {
    case MHD_HTTP_NOT_FOUND:
        return reply_text(conn, mhd, conn->refused, NULL, "no such path\n");
    case MHD_HTTP_METHOD_NOT_ALLOWED:
        list_methods(options->routes, path, allow);
        snprintf(text, sizeof(text), "expected method %s\n", allow);
        return reply_text(conn, mhd, conn->refused, allow, text);
    case MHD_HTTP_UNSUPPORTED_MEDIA_TYPE:
        snprintf(text, sizeof(text), "expected Content-Type: %s\n", conn->route->content_type);
        return reply_text(conn, mhd, conn->refused, NULL, text);
    case MHD_HTTP_CONTENT_TOO_LARGE:
        snprintf(text, sizeof(text), "expected a body of at most %zu bytes\n", options->body_max);
        return reply_text(conn, mhd, conn->refused, NULL, text);
    case MHD_HTTP_NOT_IMPLEMENTED:
        return reply_text(conn, mhd, conn->refused, NULL, "expected no Transfer-Encoding other than chunked\n");
    default:
        return reply_text(conn, mhd, conn->refused, NULL,
                          conn->excess ? "too many connections now\n" : "no memory for the request body now\n");
    }
}

static enum MHD_Result reply_by_handler(struct connection *conn, struct MHD_Connection *mhd, const char *method)
{
    const struct httpd_options *options = &conn->httpd->options;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *accept = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    const struct httpd_request request = {
        .method = method,
        .path = conn->route->path,
        .accept = accept != NULL ? accept : "",
        .body = buf_text(&conn->body),
        .body_len = conn->body.len,
        .received_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
    };
    struct httpd_response response = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    buf_init(&response.body, options->response_max);
    conn->httpd->stats.requests++;
    conn->route->handler(options->ctx, &request, &response);
    drop_body(conn);
    if (buf_error(&response.body) != 0) {
        buf_done(&response.body);
        return reply_text(conn, mhd, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL,
                          "the answer did not fit in memory or in its limit\n");
    }
    size_t len = response.body.len;
    char *bytes = buf_take(&response.body);
    conn->tls.head_next = response.status == MHD_HTTP_OK && len > 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0;
    struct MHD_Response *reply = MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE);
    if (reply == NULL)
        free(bytes);
    return queue_reply(conn, mhd, response.status, response.content_type, NULL, reply);
}

/* Requests */

static void refuse(struct connection *conn, unsigned status, enum httpd_refusal reason)
{
    conn->refused = status;
    conn->httpd->stats.refused[reason]++;
    drop_body(conn);
}

static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct connection *conn = connection_of(mhd);
    (void)cls;
    (void)uri;
    conn->httpd->moved = true;
    begin_flight(conn);
    conn->used = true;
    int64_t deadline_ms = loop_now_ms(conn->httpd->loop) + conn->httpd->options.request_timeout_ms;
    if (deadline_ms < conn->deadline_ms)
        set_deadline(conn, deadline_ms);
    return NULL;
}

/* Paths are compared as they came: routes are plain ASCII, and an unescaped %00 would cut a path short. */
static size_t keep_escaped(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

static struct span header(struct MHD_Connection *mhd, const char *name)
{
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(mhd, MHD_HEADER_KIND, name, strlen(name), &value, &len) != MHD_YES ||
        value == NULL)
        return (struct span){NULL, 0};
    return (struct span){value, len};
}

static void judge_route(struct connection *conn, const char *path, const char *method)
{
    bool path_known = false;
    for (const struct httpd_route *route = conn->httpd->options.routes; route->path != NULL; route++) {
        if (strcmp(route->path, path) != 0)
            continue;
        path_known = true;
        if (method_fits(route, method)) {
            conn->route = route;
            return;
        }
    }
    if (path_known)
        refuse(conn, MHD_HTTP_METHOD_NOT_ALLOWED, HTTPD_REFUSED_METHOD);
    else
        refuse(conn, MHD_HTTP_NOT_FOUND, HTTPD_REFUSED_PATH);
}

static void judge_type(struct connection *conn, struct MHD_Connection *mhd)
{
    if (conn->route->content_type == NULL)
        return;
    struct span type = header(mhd, MHD_HTTP_HEADER_CONTENT_TYPE);
    const char *semicolon = type.len > 0 ? memchr(type.ptr, ';', type.len) : NULL;
    if (semicolon != NULL)
        type.len = (size_t)(semicolon - type.ptr);
    if (!span_equal_nocase(span_trim(type), conn->route->content_type))
        refuse(conn, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, HTTPD_REFUSED_TYPE);
}

/* Length of the body to come: 0 = none, UINT64_MAX = chunked. -EINVAL: a coding that hides where it ends. */
static int body_length(struct MHD_Connection *mhd, uint64_t *ret)
{
    struct span coding = header(mhd, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    struct span length = header(mhd, MHD_HTTP_HEADER_CONTENT_LENGTH);
    *ret = 0;
    if (coding.ptr != NULL) {
        *ret = UINT64_MAX;
        return span_equal_nocase(coding, "chunked") ? 0 : -EINVAL;
    }
    if (length.ptr != NULL && number_parse_u64(length, 0, UINT64_MAX - 1, ret, NULL) < 0)
        *ret = UINT64_MAX - 1; /* libmicrohttpd has read it as a number: too large for us */
    return 0;
}

/* First call for a request: the headers are there. A reply queued now closes the connection, so that one is
 * only queued when the rest of the body cannot or need not be read away. */
static enum MHD_Result begin_request(struct connection *conn, struct MHD_Connection *mhd, const char *path,
                                     const char *method)
{
    uint64_t length = 0;
    conn->stage = STAGE_BODY;
    conn->active_ms = loop_now_ms(conn->httpd->loop);
    if (body_length(mhd, &length) < 0) {
        refuse(conn, MHD_HTTP_NOT_IMPLEMENTED, HTTPD_REFUSED_INCOMPLETE);
        return reply_refusal(conn, mhd, path);
    }
    conn->chunked = length == UINT64_MAX;
    if (conn->excess)
        refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, HTTPD_REFUSED_BUSY);
    else
        judge_route(conn, path, method);
    if (conn->refused == 0)
        judge_type(conn, mhd);
    if (conn->refused == 0 && !conn->chunked && length > conn->httpd->options.body_max)
        refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE, HTTPD_REFUSED_SIZE);
    if (conn->refused == 0 || length == 0)
        return MHD_YES;
    bool client_waits = header(mhd, MHD_HTTP_HEADER_EXPECT).ptr != NULL;
    uint64_t drain_max = conn->excess ? HTTPD_BUSY_DRAIN_MAX : HTTPD_DRAIN_MAX;
    bool drain = !client_waits && (conn->chunked || length <= drain_max);
    return drain ? MHD_YES : reply_refusal(conn, mhd, path);
}

static void keep_body(struct connection *conn, const char *bytes, size_t len)
{
    struct httpd *httpd = conn->httpd;
    size_t cap = conn->body.cap;
    int rc = buf_append(&conn->body, bytes, len);
    httpd->body_bytes += conn->body.cap - cap;
    if (rc == -ENOBUFS)
        refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE, HTTPD_REFUSED_SIZE);
    else if (rc < 0 || httpd->body_bytes > httpd->options.bodies_max)
        refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, HTTPD_REFUSED_MEMORY);
}

static enum MHD_Result take_body(struct connection *conn, const char *bytes, size_t len)
{
    conn->active_ms = loop_now_ms(conn->httpd->loop);
    conn->body_seen += len;
    if (conn->refused == 0)
        keep_body(conn, bytes, len);
    uint64_t drain_max = conn->excess ? HTTPD_BUSY_DRAIN_MAX : HTTPD_DRAIN_MAX;
    return conn->refused != 0 && conn->body_seen > drain_max ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **request)
{
    struct connection *conn = connection_of(mhd);
    (void)cls;
    (void)version;
    (void)request;
    conn->httpd->moved = true;
    if (conn->stage == STAGE_HEADERS)
        return begin_request(conn, mhd, path, method);
    if (*upload_len > 0) {
        size_t len = *upload_len;
        *upload_len = 0;
        return take_body(conn, upload, len);
    }
    return conn->refused != 0 ? reply_refusal(conn, mhd, path) : reply_by_handler(conn, mhd, method);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode code)
{
    struct httpd *httpd = cls;
    struct connection *conn = connection_of(mhd);
    (void)request;
    httpd->moved = true;
    if (conn->stage != STAGE_REPLY && conn->refused == 0 && code != MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN)
        httpd->stats.refused[HTTPD_REFUSED_INCOMPLETE]++;
    drop_body(conn);
    end_request(conn);
    conn->route = NULL;
    conn->refused = 0;
    conn->chunked = false;
    conn->body_seen = 0;
    /* The next request may begin just before the inactivity timeout, and then has its own time. */
    set_deadline(conn, loop_now_ms(httpd->loop) + (int64_t)httpd->options.idle_timeout_s * 1000 +
                           httpd->options.request_timeout_ms);
    if (httpd->quiesced && !conn->cut)
        cut_connection(conn);
}

/* On the loop */

/* libmicrohttpd 0.9.75 polls without end when a chunk's size line or extension fills its buffer: it can neither
 * read on nor does it give up. Such a connection shows as a chunked body that has not grown while
 * libmicrohttpd kept asking to be called at once for nothing. */
static void cut_stalled(struct httpd *httpd)
{
    int64_t now_ms = loop_now_ms(httpd->loop);
    for (struct connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (conn->stage == STAGE_BODY && conn->chunked && !conn->cut && now_ms - conn->active_ms >= STALL_MS)
            cut_connection(conn);
    }
}

/* In turns and not in time, which also passes while the process gets no CPU. */
static void watch_for_stall(struct httpd *httpd, bool busy)
{
    if (!busy)
        httpd->idle_turns = 0;
    else if (!httpd->moved && ++httpd->idle_turns % STALL_TURNS == 0)
        cut_stalled(httpd);
}

static bool in_handshake(const struct httpd *httpd)
{
    if (httpd->options.tls == NULL)
        return false;
    for (const struct connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (!conn->tls.handshake_done)
            return true;
    }
    return false;
}

/* -1 = as long as you like. From the first byte of a handshake to its end libmicrohttpd 0.9.75 asks to be called at once,
 * though it can only wait for the client: it does not see that GnuTLS found no more. */
static int64_t daemon_wait_ms(struct httpd *httpd)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(httpd->daemon, &wait_ms) != MHD_YES)
        return -1;
    if (wait_ms == 0 && !httpd->moved && in_handshake(httpd))
        return HANDSHAKE_WAIT_MS;
    return wait_ms < LOOP_WAIT_MAX_MS ? (int64_t)wait_ms : LOOP_WAIT_MAX_MS;
}

static int64_t hook_wait_ms(void *ctx)
{
    struct httpd *httpd = ctx;
    int64_t wait_ms = daemon_wait_ms(httpd);
    watch_for_stall(httpd, wait_ms == 0);
    httpd->due_ms = wait_ms < 0 ? INT64_MAX : loop_now_ms(httpd->loop) + wait_ms;
    return wait_ms;
}

static void tell_when_quiesced(struct httpd *httpd)
{
    if (httpd->on_quiesced == NULL || !httpd_idle(httpd))
        return;
    httpd_quiesced *done = httpd->on_quiesced;
    httpd->on_quiesced = NULL;
    done(httpd->quiesced_ctx);
}

/* Each run is a system call at least, so none is made for a server where nothing happened; and where libmicrohttpd asks
 * for another one at once (more of a body to take, the end of a request), the loop need not turn for it. */
static void hook_run(void *ctx)
{
    struct httpd *httpd = ctx;
    if (!httpd->due && loop_now_ms(httpd->loop) < httpd->due_ms)
        return;
    httpd->due = false;
    httpd->running = true;
    for (int runs = 0; runs == 0 || (runs < RUNS_MAX && daemon_wait_ms(httpd) == 0); runs++) {
        httpd->moved = false;
        MHD_run(httpd->daemon);
    }
    httpd->running = false;
    tell_when_quiesced(httpd);
}

/* hook_run() comes in the same turn. */
static void on_epoll(void *ctx, int fd, uint32_t events)
{
    struct httpd *httpd = ctx;
    (void)fd;
    (void)events;
    httpd->due = true;
}

static int check_options(struct httpd_options *options, struct err *err)
{
    assert(options->connections_max > 0 && options->idle_timeout_s > 0 && options->request_timeout_ms > 0);
    if (options->bodies_max == 0)
        options->bodies_max = BODIES_MAX_FACTOR * options->body_max;
    return options->tls != NULL ? options->tls->check_priorities(options->tls_priorities, err) : 0;
}

/* Ours and those that are cut, which libmicrohttpd closes at the end of the turn. */
static intptr_t connection_limit(const struct httpd_options *options)
{
    return (intptr_t)options->connections_max + options->connections_spare + LISTENER_BURST + 1;
}

static int start_daemon(struct httpd *httpd, struct err *err)
{
    const struct httpd_options *options = &httpd->options;
    bool tls = options->tls != NULL;
    size_t memory = options->connection_memory;
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, httpd},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, httpd},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_request_line, httpd},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escaped, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)options->idle_timeout_s, NULL},
        /* The limit is ours, on_accept(); at its own one 0.9.75 may forget to unlock a mutex. */
        {MHD_OPTION_CONNECTION_LIMIT, connection_limit(options), NULL},
        {memory > 0 ? MHD_OPTION_CONNECTION_MEMORY_LIMIT : MHD_OPTION_END, (intptr_t)memory, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem tls_items[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls ? options->tls->certificate_callback : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)options->tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0U);
    errno = 0;
    httpd->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, httpd, MHD_OPTION_ARRAY, items,
                                     tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls_items, MHD_OPTION_END);
    if (httpd->daemon == NULL)
        return err_errno(err, errno != 0 ? errno : EIO, "HTTP server: libmicrohttpd did not start");
    return 0;
}

static int join_loop(struct httpd *httpd, struct err *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int rc = loop_watch_add(httpd->loop, info->epoll_fd, EPOLLIN, on_epoll, httpd, &httpd->watch, err);
    if (rc < 0)
        return err_wrap(err, rc, "HTTP server");
    httpd->hook = (struct loop_hook){.wait_ms = hook_wait_ms, .run = hook_run, .ctx = httpd};
    loop_hook_add(httpd->loop, &httpd->hook);
    httpd->hooked = true;
    return 0;
}

static void httpd_free_scope(struct httpd **httpd)
{
    httpd_free(*httpd);
}

int httpd_new(struct loop *loop, const struct httpd_options *options, struct httpd **ret, struct err *err)
{
    CLEANUP(httpd_free_scope) struct httpd *httpd = calloc(1, sizeof(*httpd));
    if (httpd == NULL)
        return err_errno(err, ENOMEM, "HTTP server");
    httpd->loop = loop;
    httpd->options = *options;
    loop_timer_init(&httpd->sweep, loop, sweep_connections, httpd);
    int rc = check_options(&httpd->options, err);
    if (rc == 0)
        rc = start_daemon(httpd, err);
    if (rc == 0)
        rc = join_loop(httpd, err);
    if (rc == 0)
        rc = listener_new(loop, options->listen, on_accept, is_full, httpd, &httpd->stats.accept_pauses, &httpd->listener,
                          err);
    if (rc < 0)
        return rc;
    httpd->port = listener_port(httpd->listener);
    *ret = TAKE_PTR(httpd);
    return 0;
}

int httpd_set_pair(struct httpd *httpd, struct span cert_pem, struct span key_pem, struct err *err)
{
    return httpd->options.tls->set_pair(&httpd->keys, cert_pem, key_pem, err);
}

int httpd_set_client_ca(struct httpd *httpd, struct span ca_pem, struct err *err)
{
    assert(httpd->options.client_certificates);
    return httpd->options.tls->set_client_ca(&httpd->keys, ca_pem, err);
}

void httpd_drain(struct httpd *httpd)
{
    httpd->draining = true;
}

static bool is_idle(const struct connection *conn)
{
    return conn->used && conn->stage == STAGE_WAITING && !conn->cut && !has_unread(conn);
}

void httpd_quiesce(struct httpd *httpd, httpd_quiesced *done, void *ctx)
{
    httpd_drain(httpd);
    httpd->quiesced = true;
    httpd->on_quiesced = done;
    httpd->quiesced_ctx = ctx;
    if (!httpd->running) /* libmicrohttpd takes none while it calls a handler */
        listener_take_rest(httpd->listener);
    httpd->listener = listener_free(httpd->listener);
    for (struct connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (is_idle(conn))
            cut_connection(conn);
    }
    tell_when_quiesced(httpd);
}

bool httpd_idle(const struct httpd *httpd)
{
    return httpd->stats.connections == 0;
}

struct httpd *httpd_free(struct httpd *httpd)
{
    if (httpd == NULL)
        return NULL;
    assert(!httpd->running);
    listener_free(httpd->listener);
    if (httpd->hooked)
        loop_hook_remove(httpd->loop, &httpd->hook);
    loop_watch_free(httpd->watch);
    MHD_stop_daemon(httpd->daemon); /* NULL allowed; ends every connection through on_connection() */
    loop_timer_disarm(&httpd->sweep);
    if (httpd->options.tls != NULL)
        httpd->options.tls->keys_done(&httpd->keys);
    free(httpd);
    return NULL;
}

const struct httpd_stats *httpd_get_stats(const struct httpd *httpd)
{
    return &httpd->stats;
}

uint16_t httpd_port(const struct httpd *httpd)
{
    return httpd->port;
}
