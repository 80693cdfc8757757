/* What the parts of an HTTP server share: the server, its connections, and their deadlines. Nobody else includes it.
 *
 *   httpd.c             libmicrohttpd on the loop, and who is let in
 *   httpd_connection.c  a connection's life, and its deadlines
 *   httpd_request.c     a request: read, judged, given to its handler, answered
 *   httpd_room.c        the policy of overload
 *   httpd_queue.c       newcomers that wait for a place
 *   httpd_tls.c         TLS, where the program has it
 */
#ifndef PROFEFE_HTTPD_CONNECTION_H
#define PROFEFE_HTTPD_CONNECTION_H

#include "common/base/buf.h"
#include "common/http/httpd.h"
#include "common/http/httpd_queue.h"
#include "common/http/httpd_room.h"
#include "common/http/httpd_tls.h"
#include "common/http/listener.h"
#include "common/os/loop.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct httpd_connection {
    struct httpd_connection *next;
    struct httpd_connection **link; /* what points to us in httpd->connections */
    struct httpd *httpd;
    int fd; /* libmicrohttpd's; valid until MHD_CONNECTION_NOTIFY_CLOSED returns */
    struct in6_addr peer;          /* IPv4 as mapped */
    struct httpd_tls_session *tls; /* NULL without TLS */
    bool used;    /* a request line came */
    bool good;    /* a request was answered with 200 */
    bool cut;     /* we shut the socket down */
    bool unread;  /* at the deadline its last reply must have been read */
    bool hoarder; /* asks on and on and does not read: the reply to this request is its last */
    int64_t deadline_ms;
    int64_t since_ms;  /* since then it is idle, or its request has been going on */
    int64_t active_ms; /* last progress of the body */

    /* the request under way */
    enum httpd_room_stage stage;
    const struct httpd_route *route;
    unsigned refused; /* HTTP status, 0 = not refused */
    unsigned status;  /* of the reply, once there is one */
    bool chunked;
    size_t reply;       /* bytes of the handler's reply that libmicrohttpd holds */
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
    bool running;        /* inside MHD_run */
    bool due;            /* libmicrohttpd has something to do in this turn */
    int64_t due_ms;      /* when it wants to be called even if nothing comes; INT64_MAX = not at all */
    bool moved;          /* the last run of libmicrohttpd did something */
    unsigned idle_turns; /* of the loop in a row, in which libmicrohttpd asked to be called at once and did nothing */
    bool draining;
    bool quiesced;
    httpd_quiesced *on_quiesced; /* NULL = nobody waits for it, or was told */
    void *quiesced_ctx;
    uint16_t port;
    struct loop_timer sweep;
    struct httpd_connection *connections; /* the newest first */
    struct httpd_connection *accepting; /* handed to libmicrohttpd, not claimed by on_connection() yet */
    struct httpd_tls_keys keys;
    unsigned cut; /* connections that are shut down and not closed yet */
    struct httpd_queue queue;
    struct loop_timer admission; /* when those in the queue try again */
    struct httpd_room_bodies bodies;
    size_t replies; /* the sum of what the connections hold */
    struct httpd_room_guest *guests; /* for questions to httpd_room */
    size_t guests_max;               /* as many as there may be connections */
    struct httpd_options options;
    struct httpd_stats stats;
};

/* NULL when there is no memory. */
struct httpd_connection *httpd_connection_new(struct httpd *httpd, int fd, const struct sockaddr *peer);
void httpd_connection_free(struct httpd_connection *conn);

void httpd_connection_set_deadline(struct httpd_connection *conn, int64_t deadline_ms);

/* Ends it from outside; libmicrohttpd closes it in its next run. */
void httpd_connection_cut(struct httpd_connection *conn);

/* Cuts those whose deadline is over; `ctx` is the httpd. */
void httpd_connection_sweep(void *ctx);

/* Counts a client that leaves without having come to a request. */
void httpd_connection_count_unused(const struct httpd_connection *conn);

/* Its request line is there; its request is over. */
void httpd_connection_begin(struct httpd_connection *conn);
void httpd_connection_end(struct httpd_connection *conn);

void httpd_connection_drop_body(struct httpd_connection *conn);

/* Counts a reply of so many bytes as the one under way; 0 = none is any more. */
void httpd_connection_count_reply(struct httpd_connection *conn, size_t bytes);

/* Bytes of its replies that lie in the socket: the client's kernel has not taken them. */
size_t httpd_connection_untaken(const struct httpd_connection *conn);

bool httpd_connection_is_idle(const struct httpd_connection *conn);

/* All of them in httpd->guests, in the order of the list; returns how many. peer: the newcomer's address, or NULL. */
size_t httpd_connection_list(struct httpd *httpd, const struct in6_addr *peer);
struct httpd_connection *httpd_connection_at(struct httpd *httpd, size_t index);

struct in6_addr httpd_connection_peer(const struct sockaddr *address);

#endif
