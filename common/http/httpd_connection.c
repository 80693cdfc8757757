#include "common/http/httpd_connection.h"

#include "common/base/cleanup.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void httpd_connection_set_deadline(struct httpd_connection *conn, int64_t deadline_ms)
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
void httpd_connection_cut(struct httpd_connection *conn)
{
    if (!conn->cut) {
        conn->httpd->cut++;
        conn->httpd->stats.connections--;
    }
    conn->cut = true;
    conn->deadline_ms = INT64_MAX;
    shutdown(conn->fd, SHUT_RDWR);
}

size_t httpd_connection_untaken(const struct httpd_connection *conn)
{
    int untaken = 0;
    return ioctl(conn->fd, SIOCOUTQ, &untaken) == 0 ? (size_t)untaken : SIZE_MAX;
}

/* A reply that went into the socket may lie there for ever: whoever does not take it in time has no use for more. */
static bool has_read_all(const struct httpd_connection *conn)
{
    return httpd_connection_untaken(conn) == 0;
}

static void meet_deadline(struct httpd_connection *conn)
{
    struct httpd *httpd = conn->httpd;
    if (conn->unread && has_read_all(conn)) {
        conn->unread = false;
        conn->deadline_ms += (int64_t)httpd->options.idle_timeout_s * 1000;
        return;
    }
    httpd->stats.cut[HTTPD_CUT_DEADLINE]++;
    httpd_connection_cut(conn);
}

/* A silent client ends by libmicrohttpd's inactivity timeout; this is for those that keep it alive byte by byte. */
void httpd_connection_sweep(void *ctx)
{
    struct httpd *httpd = ctx;
    int64_t now_ms = loop_now_ms(httpd->loop);
    int64_t next_ms = INT64_MAX;
    for (struct httpd_connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (conn->deadline_ms <= now_ms)
            meet_deadline(conn);
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
void httpd_connection_count_unused(const struct httpd_connection *conn)
{
    struct httpd *httpd = conn->httpd;
    bool open = conn->tls != NULL && httpd->options.tls->session_is_open(conn->tls);
    if (conn->used || open || !received_any(conn->fd))
        return;
    if (httpd->options.tls != NULL)
        httpd->stats.tls_failures++;
    else
        httpd->stats.refused[HTTPD_REFUSED_INCOMPLETE]++;
}

struct in6_addr httpd_connection_peer(const struct sockaddr *address)
{
    struct in6_addr peer = IN6ADDR_ANY_INIT;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        peer.s6_addr32[2] = htonl(0xffff);
        peer.s6_addr32[3] = v4.sin_addr.s_addr;
    } else if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        peer = v6.sin6_addr;
    }
    return peer;
}

static void link_connection(struct httpd_connection *conn)
{
    struct httpd *httpd = conn->httpd;
    conn->next = httpd->connections;
    conn->link = &httpd->connections;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    httpd->connections = conn;
    httpd->stats.connections++;
}

struct httpd_connection *httpd_connection_new(struct httpd *httpd, int fd, const struct sockaddr *peer)
{
    CLEANUP_FREE struct httpd_connection *conn = calloc(1, sizeof(*conn));
    const struct httpd_tls *tls = httpd->options.tls;
    if (conn == NULL)
        return NULL;
    conn->tls = tls != NULL ? tls->session_new(fd, &httpd->moved) : NULL;
    if (tls != NULL && conn->tls == NULL)
        return NULL;
    conn->httpd = httpd;
    conn->fd = fd;
    conn->peer = httpd_connection_peer(peer);
    conn->since_ms = loop_now_ms(httpd->loop);
    buf_init(&conn->body, httpd->options.body_max);
    link_connection(conn);
    httpd_connection_set_deadline(conn, conn->since_ms + httpd->options.request_timeout_ms);
    return TAKE_PTR(conn);
}

void httpd_connection_drop_body(struct httpd_connection *conn)
{
    httpd_room_count_body(&conn->httpd->bodies, conn->body.len, 0);
    buf_done(&conn->body);
}

void httpd_connection_count_reply(struct httpd_connection *conn, size_t bytes)
{
    conn->httpd->replies += bytes - conn->reply;
    conn->reply = bytes;
}

void httpd_connection_begin(struct httpd_connection *conn)
{
    conn->stage = HTTPD_ROOM_HEADERS;
    conn->since_ms = loop_now_ms(conn->httpd->loop);
    conn->httpd->stats.in_flight++;
}

void httpd_connection_end(struct httpd_connection *conn)
{
    if (conn->stage != HTTPD_ROOM_WAITING)
        conn->httpd->stats.in_flight--;
    conn->stage = HTTPD_ROOM_WAITING;
    conn->since_ms = loop_now_ms(conn->httpd->loop);
}

void httpd_connection_free(struct httpd_connection *conn)
{
    httpd_connection_drop_body(conn);
    httpd_connection_count_reply(conn, 0);
    httpd_connection_end(conn);
    if (conn->tls != NULL)
        conn->httpd->options.tls->session_free(conn->tls);
    if (conn->cut)
        conn->httpd->cut--;
    else
        conn->httpd->stats.connections--;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    free(conn);
}

/* The bytes are only looked for where they decide, since that is a system call. */
static bool has_unread(const struct httpd_connection *conn)
{
    int unread = 0;
    if (conn->stage != HTTPD_ROOM_WAITING || !conn->used || conn->cut)
        return false;
    if (conn->tls != NULL && conn->httpd->options.tls->session_has_unread(conn->tls))
        return true;
    return ioctl(conn->fd, FIONREAD, &unread) < 0 || unread > 0;
}

bool httpd_connection_is_idle(const struct httpd_connection *conn)
{
    return conn->used && conn->stage == HTTPD_ROOM_WAITING && !conn->cut && !has_unread(conn);
}

/* An answer that lies unread in the socket is no merit; an acknowledgement may take a moment. */
static bool is_good(const struct httpd_connection *conn, int64_t age_ms)
{
    return conn->good && (age_ms < HTTPD_ROOM_SLOW_MS || has_read_all(conn));
}

static struct httpd_room_guest guest_of(const struct httpd_connection *conn, int64_t now_ms,
                                        const struct in6_addr *peer)
{
    int64_t age_ms = now_ms - conn->since_ms;
    return (struct httpd_room_guest){
        .stage = conn->stage,
        .used = conn->used,
        .good = is_good(conn, age_ms),
        .unread = has_unread(conn),
        .leaving = conn->cut,
        .same_peer = peer != NULL && IN6_ARE_ADDR_EQUAL(peer, &conn->peer),
        .age_ms = age_ms,
        .body = conn->body.len,
    };
}

size_t httpd_connection_list(struct httpd *httpd, const struct in6_addr *peer)
{
    size_t count = 0;
    int64_t now_ms = loop_now_ms(httpd->loop);
    struct httpd_connection *conn = httpd->connections;
    for (; conn != NULL && count < httpd->guests_max; conn = conn->next)
        httpd->guests[count++] = guest_of(conn, now_ms, peer);
    return count;
}

struct httpd_connection *httpd_connection_at(struct httpd *httpd, size_t index)
{
    struct httpd_connection *conn = httpd->connections;
    while (index-- > 0)
        conn = conn->next;
    return conn;
}
