#include "common/http/httpd_request.h"

#include "common/base/number.h"
#include "common/base/span.h"
#include "common/http/httpd_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REPLY_TEXT_MAX = 160, /* our own refusals are one line */
    ALLOW_MAX = 64,       /* the Allow header: a handful of methods */
    ARGUMENTS_MAX = 64,   /* of a query: an API server sends one, and they are not looked at */
};

static struct httpd_connection *connection_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Replies */

static enum MHD_Result add_headers(struct MHD_Response *response, const struct httpd_connection *conn,
                                   const char *content_type, const char *allow)
{
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES)
        return MHD_NO;
    if (allow != NULL && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow) != MHD_YES)
        return MHD_NO;
    if (conn->httpd->draining || conn->hoarder)
        return MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return MHD_YES;
}

/* MHD_NO makes libmicrohttpd close the connection: all that is left without memory. */
static enum MHD_Result queue_reply(struct httpd_connection *conn, struct MHD_Connection *mhd, unsigned status,
                                   const char *content_type, const char *allow, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = add_headers(response, conn, content_type, allow);
    if (result == MHD_YES)
        result = MHD_queue_response(mhd, status, response);
    MHD_destroy_response(response);
    if (result == MHD_YES) {
        conn->stage = HTTPD_ROOM_REPLY;
        conn->status = status;
        httpd_connection_set_deadline(conn, loop_now_ms(conn->httpd->loop) + conn->httpd->options.request_timeout_ms);
    }
    return result;
}

static enum MHD_Result reply_text(struct httpd_connection *conn, struct MHD_Connection *mhd, unsigned status,
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

static enum MHD_Result reply_refusal(struct httpd_connection *conn, struct MHD_Connection *mhd, const char *path)
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
        return reply_text(conn, mhd, conn->refused, NULL, "no memory for the request body now\n");
    }
}

/* A client that reads takes its reply within milliseconds, so that the oldest one is the least wanted. */
static struct httpd_connection *oldest_reply_before(const struct httpd_connection *newest)
{
    struct httpd_connection *oldest = NULL;
    for (struct httpd_connection *conn = newest->httpd->connections; conn != NULL; conn = conn->next) {
        if (conn != newest && conn->reply > 0 && (oldest == NULL || conn->deadline_ms < oldest->deadline_ms))
            oldest = conn;
    }
    return oldest;
}

/* Whoever is cut counts no more: libmicrohttpd frees his reply in its next run. */
static void make_room_for_reply(const struct httpd_connection *newest)
{
    struct httpd *httpd = newest->httpd;
    struct httpd_connection *oldest;
    while (httpd->options.replies_max > 0 && httpd->replies > httpd->options.replies_max &&
           (oldest = oldest_reply_before(newest)) != NULL) {
        httpd->stats.cut[HTTPD_CUT_SLOW]++;
        httpd_connection_count_reply(oldest, 0);
        httpd_connection_cut(oldest);
    }
}

static enum MHD_Result reply_by_handler(struct httpd_connection *conn, struct MHD_Connection *mhd, const char *method)
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
    httpd_connection_drop_body(conn);
    if (buf_error(&response.body) != 0) {
        buf_done(&response.body);
        return reply_text(conn, mhd, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL,
                          "the answer did not fit in memory or in its limit\n");
    }
    size_t len = response.body.len;
    char *bytes = buf_take(&response.body);
    if (conn->tls != NULL && response.status == MHD_HTTP_OK && len > 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        options->tls->session_hold_head(conn->tls);
    struct MHD_Response *reply = MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE);
    if (reply == NULL)
        free(bytes);
    enum MHD_Result result = queue_reply(conn, mhd, response.status, response.content_type, NULL, reply);
    if (result == MHD_YES) {
        httpd_connection_count_reply(conn, len);
        make_room_for_reply(conn);
    }
    return result;
}

/* Requests */

static void refuse(struct httpd_connection *conn, unsigned status, enum httpd_refusal reason)
{
    conn->refused = status;
    conn->httpd->stats.refused[reason]++;
    httpd_connection_drop_body(conn);
}

/* libmicrohttpd keeps each argument in the connection's memory, and says nothing until the deadline when that is
 * full. */
static bool has_too_many_arguments(const char *uri)
{
    unsigned arguments = 0;
    for (const char *at = strchr(uri, '?'); at != NULL && arguments <= ARGUMENTS_MAX; at = strchr(at + 1, '&'))
        arguments++;
    return arguments > ARGUMENTS_MAX;
}

void *httpd_request_begin(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct httpd_connection *conn = connection_of(mhd);
    (void)cls;
    conn->httpd->moved = true;
    httpd_connection_begin(conn);
    conn->used = true;
    int64_t deadline_ms = loop_now_ms(conn->httpd->loop) + conn->httpd->options.request_timeout_ms;
    if (conn->unread || deadline_ms < conn->deadline_ms)
        httpd_connection_set_deadline(conn, deadline_ms);
    /* Small replies go into the kernel's last packet beyond what the socket may hold. */
    conn->hoarder = conn->unread && httpd_connection_untaken(conn) >= LISTENER_SEND_BUFFER;
    conn->unread = false;
    if (has_too_many_arguments(uri))
        httpd_connection_cut(conn);
    return NULL;
}

/* Paths are compared as they came: routes are plain ASCII, and an unescaped %00 would cut a path short. */
size_t httpd_request_keep_escaped(void *cls, struct MHD_Connection *mhd, char *text)
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

static void judge_route(struct httpd_connection *conn, const char *path, const char *method)
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

static void judge_type(struct httpd_connection *conn, struct MHD_Connection *mhd)
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
static enum MHD_Result begin_request(struct httpd_connection *conn, struct MHD_Connection *mhd, const char *path,
                                     const char *method)
{
    uint64_t length = 0;
    conn->stage = HTTPD_ROOM_BODY;
    conn->active_ms = loop_now_ms(conn->httpd->loop);
    if (body_length(mhd, &length) < 0) {
        refuse(conn, MHD_HTTP_NOT_IMPLEMENTED, HTTPD_REFUSED_INCOMPLETE);
        return reply_refusal(conn, mhd, path);
    }
    conn->chunked = length == UINT64_MAX;
    judge_route(conn, path, method);
    if (conn->refused == 0)
        judge_type(conn, mhd);
    if (conn->refused == 0 && !conn->chunked && length > conn->httpd->options.body_max)
        refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE, HTTPD_REFUSED_SIZE);
    if (conn->refused == 0 || length == 0)
        return MHD_YES;
    bool client_waits = header(mhd, MHD_HTTP_HEADER_EXPECT).ptr != NULL;
    bool drain = !client_waits && (conn->chunked || length <= HTTPD_DRAIN_MAX);
    return drain ? MHD_YES : reply_refusal(conn, mhd, path);
}

/* The largest of all bodies under way makes room, whoever came last. */
static void make_room_for_bodies(struct httpd *httpd)
{
    while (!httpd_room_has_bodies_left(&httpd->bodies, httpd->options.bodies_max)) {
        size_t count = httpd_connection_list(httpd, NULL);
        size_t largest = httpd_room_largest_body(httpd->guests, count);
        if (largest == count)
            return;
        refuse(httpd_connection_at(httpd, largest), MHD_HTTP_SERVICE_UNAVAILABLE, HTTPD_REFUSED_MEMORY);
    }
}

static void keep_body(struct httpd_connection *conn, const char *bytes, size_t len)
{
    struct httpd *httpd = conn->httpd;
    size_t before = conn->body.len;
    int rc = buf_append(&conn->body, bytes, len);
    httpd_room_count_body(&httpd->bodies, before, conn->body.len);
    if (rc == -ENOBUFS)
        refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE, HTTPD_REFUSED_SIZE);
    else if (rc < 0)
        refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, HTTPD_REFUSED_MEMORY);
    else
        make_room_for_bodies(httpd);
}

static enum MHD_Result take_body(struct httpd_connection *conn, const char *bytes, size_t len)
{
    conn->active_ms = loop_now_ms(conn->httpd->loop);
    conn->body_seen += len;
    if (conn->refused == 0)
        keep_body(conn, bytes, len);
    return conn->refused != 0 && conn->body_seen > HTTPD_DRAIN_MAX ? MHD_NO : MHD_YES;
}

enum MHD_Result httpd_request_take(void *cls, struct MHD_Connection *mhd, const char *path, const char *method,
                                   const char *version, const char *upload, size_t *upload_len, void **request)
{
    struct httpd_connection *conn = connection_of(mhd);
    (void)cls;
    (void)version;
    (void)request;
    conn->httpd->moved = true;
    if (conn->cut)
        return MHD_NO;
    if (conn->stage == HTTPD_ROOM_HEADERS)
        return begin_request(conn, mhd, path, method);
    if (*upload_len > 0) {
        size_t len = *upload_len;
        *upload_len = 0;
        return take_body(conn, upload, len);
    }
    return conn->refused != 0 ? reply_refusal(conn, mhd, path) : reply_by_handler(conn, mhd, method);
}

void httpd_request_end(void *cls, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode code)
{
    struct httpd *httpd = cls;
    struct httpd_connection *conn = connection_of(mhd);
    (void)request;
    httpd->moved = true;
    if (conn->tls != NULL)
        httpd->options.tls->session_end_reply(conn->tls);
    if (conn->stage != HTTPD_ROOM_REPLY && conn->refused == 0 && code != MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN)
        httpd->stats.refused[HTTPD_REFUSED_INCOMPLETE]++;
    conn->good = conn->good || (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && conn->status == MHD_HTTP_OK);
    httpd_connection_drop_body(conn);
    httpd_connection_count_reply(conn, 0);
    httpd_connection_end(conn);
    conn->route = NULL;
    conn->refused = 0;
    conn->status = 0;
    conn->chunked = false;
    conn->body_seen = 0;
    /* Until then the reply must have left. The next request may begin just before the inactivity timeout, and then has
     * its own time. */
    conn->unread = true;
    httpd_connection_set_deadline(conn, loop_now_ms(httpd->loop) + httpd->options.request_timeout_ms);
    if (httpd->quiesced && !conn->cut)
        httpd_connection_cut(conn);
}
