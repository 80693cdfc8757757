/* The HTTP(S) server: libmicrohttpd in external epoll mode on the loop, no threads.
 *
 * A request is read whole, with ceilings, and then given to its route's handler, which answers at once.
 * What never reaches a handler is answered here: 404 unknown path, 405 wrong method (with Allow), 413 body over
 * the limit, 415 when the route asks for another content type, 501 for a transfer coding other than chunked, 503
 * when there is no room for the body; 400, 414 and 431 by libmicrohttpd. Each is counted in httpd_stats.
 *
 * When all connections are taken somebody makes room for a newcomer, and so where no descriptor is left, or a peer has
 * its share; httpd_room.h says who, and whose body goes when all together are too large. While nobody can be spared the
 * clients wait in the kernel's backlog; those of a peer with its share wait accepted, so that they hold nobody else up.
 *
 * A refused body of up to HTTPD_DRAIN_MAX bytes is read and thrown away before the answer goes out: a client that
 * is still writing would otherwise meet a reset and never see why. A longer one, or one that waits for
 * "100 Continue", is answered at once and the connection closed.
 *
 * Whoever sends request upon request and does not read the replies is closed after the one that makes
 * LISTENER_SEND_BUFFER bytes of them.
 *
 * When the replies that clients are taking are too large together, whoever has been taking his for longest is cut.
 *
 * Every connection has an inactivity timeout AND a whole-request deadline (the TLS handshake and the reading of
 * the reply included), so that neither a silent nor a one-byte-a-second client holds a slot.
 */
#ifndef PROFEFE_HTTPD_H
#define PROFEFE_HTTPD_H

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/os/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    HTTPD_DRAIN_MAX = 16 * 1024 * 1024, /* refused body bytes read so that the client sees the answer */
};

struct httpd;
struct httpd_tls;
struct tls_pair;

struct httpd_request {
    const char *method;       /* "GET", "HEAD", "POST" */
    const char *path;         /* the route's path */
    const char *accept;       /* the Accept header, "" when absent */
    const char *body;         /* NUL-terminated beyond body_len; "" when there is none */
    size_t body_len;
    int64_t received_ns;      /* CLOCK_MONOTONIC when the last body byte was there */
};

struct httpd_response {
    unsigned status;          /* 200 unless changed; 200 to 599 */
    const char *content_type; /* a literal; "text/plain; charset=utf-8" unless changed */
    struct buf body;          /* the handler appends; after a buf error the answer is 500 */
};

/* Must not call httpd_free(). */
typedef void httpd_handler(void *ctx, const struct httpd_request *request, struct httpd_response *response);

struct httpd_route {
    const char *method;       /* GET routes also answer HEAD */
    const char *path;
    const char *content_type; /* required media type of the body, parameters ignored; NULL = any */
    httpd_handler *handler;
};

struct httpd_options {
    const char *listen;               /* "[HOST]:PORT"; without host: all addresses, IPv6 and IPv4 */
    const struct httpd_route *routes; /* ends with a NULL path; kept by reference */
    void *ctx;                        /* handed to every handler */
    size_t body_max;                  /* bytes of one request body */
    size_t bodies_max;                /* bytes of all bodies being received together; 0 = 4 * body_max */
    size_t response_max;              /* bytes */
    size_t replies_max;               /* bytes of all replies that clients are taking together; 0 = no bound */
    unsigned connections_max;         /* at least 1 */
    unsigned connections_peer_max;    /* of these for one address; 0 = all */
    unsigned idle_timeout_s;          /* no byte for so long: closed; at least 1 */
    unsigned request_timeout_ms;      /* to receive a request; again as long to take the reply, and to read it; at
                                         least 1 */
    size_t connection_memory;         /* libmicrohttpd's pool a connection: headers must fit; 0 = its default, 32 KiB */
    const struct httpd_tls *tls;      /* &httpd_tls_gnutls of httpd_tls.h; NULL = plain */
    const char *tls_priorities;       /* with tls: a GnuTLS priority string, e.g.
                                         "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" */
    bool client_certificates;         /* a client must show a certificate of httpd_set_client_ca()'s */
};

enum httpd_refusal {
    HTTPD_REFUSED_PATH,       /* 404 */
    HTTPD_REFUSED_METHOD,     /* 405 */
    HTTPD_REFUSED_TYPE,       /* 415 */
    HTTPD_REFUSED_SIZE,       /* 413 */
    HTTPD_REFUSED_INCOMPLETE, /* malformed, or the client left or was cut before the request was whole */
    HTTPD_REFUSED_MEMORY,     /* 503: no memory for the body, or the largest when bodies_max was reached */
    HTTPD_REFUSED_LIMIT,      /* connection closed unread: no room after all, or no memory */
    HTTPD_REFUSED_COUNT,
};
extern const char *const httpd_refusal_names[HTTPD_REFUSED_COUNT]; /* "path", "method", "type", … */

/* Connections that were ended before their client did. */
enum httpd_cut {
    HTTPD_CUT_IDLE,     /* made room for another */
    HTTPD_CUT_SLOW,     /* made room for another, in the middle of its request */
    HTTPD_CUT_DEADLINE, /* took too long over a handshake, a request or the reading of its reply */
    HTTPD_CUT_COUNT,
};
extern const char *const httpd_cut_names[HTTPD_CUT_COUNT]; /* "idle", "slow", "deadline" */

struct httpd_stats {
    uint64_t requests;       /* that reached a handler */
    uint64_t refused[HTTPD_REFUSED_COUNT];
    uint64_t cut[HTTPD_CUT_COUNT];
    uint64_t tls_failures;   /* connections that sent something but never finished the handshake, or showed no good
                                certificate */
    uint64_t accept_pauses;  /* no descriptor or no room left: accepting rested for a moment */
    unsigned connections;    /* open now, without those that are on their way out */
    unsigned in_flight;      /* requests between their first line and the end of their reply */
};

/* -EADDRINUSE when the port is taken (the agent goes on without; the webhook leaves). */
MUST_CHECK int httpd_new(struct loop *loop, const struct httpd_options *options, struct httpd **ret, struct err *err)
    NONNULL(1);

/* The certificate and key of connections from now on, which the server holds then; one that is open keeps those it
 * began with. Until the first one every handshake fails. Only for a server with tls. */
void httpd_set_pair(struct httpd *httpd, struct tls_pair *pair);

/* The CA certificates, PEM, that a client's certificate must come from, for handshakes from now on: by a chain of at
 * most HTTPD_TLS_CHAIN_MAX (httpd_tls.h), valid now, and good for clients (extended key usage) where it says what it is
 * good for. -EINVAL when there is none in it: then those in use stay. Until the first success every handshake fails.
 * Only for a server with client_certificates. */
MUST_CHECK int httpd_set_client_ca(struct httpd *httpd, struct span ca_pem, struct err *err) NONNULL(1);

/* From now on each reply closes its connection, so that clients who keep theirs go elsewhere by themselves. */
void httpd_drain(struct httpd *httpd);

/* Takes what still waits for a connection, then stops accepting and closes the port; idle connections are closed, the
 * others finish their request. `done` (NULL allowed) is called once none is left: from inside this call where there is
 * none, else from the loop. httpd_is_empty() is true from then on. */
typedef void httpd_quiesced(void *ctx);
void httpd_quiesce(struct httpd *httpd, httpd_quiesced *done, void *ctx);
bool httpd_is_empty(const struct httpd *httpd);
struct httpd *httpd_free(struct httpd *httpd); /* NULL allowed; closes everything; returns NULL */

static inline void httpd_free_scope(struct httpd **httpd)
{
    httpd_free(*httpd);
}

#define CLEANUP_HTTPD CLEANUP(httpd_free_scope)

const struct httpd_stats *httpd_get_stats(const struct httpd *httpd);
uint16_t httpd_port(const struct httpd *httpd); /* the bound port, for listen ":0" in tests */

#endif
