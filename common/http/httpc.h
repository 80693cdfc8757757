/* The HTTP(S) client: libcurl's multi_socket interface on the loop.
 *
 * One transfer = one struct httpc_transfer; its `done` is called exactly once, for success, failure and abort alike,
 * unless it was cancelled (then never). Bodies stream both ways through callbacks; nothing is buffered here but
 * HTTPC_REPLY_MAX bytes for callers that want a small reply kept.
 *
 * For every transfer: no proxy from the environment, redirects never followed, only http and https over HTTP/1.1, no
 * `Expect:`, and a bound on all that a server can send without end: headers, body, and what is neither. The whole takes
 * at most timeout_ms. "localhost" means 127.0.0.1, then ::1. Names are looked up beside the loop; answers are kept for
 * HTTPC_DNS_CACHE_S, and not trusted any more once connecting to one of them failed.
 *
 * https: TLS 1.2 or later; the server's certificate is verified, name or IP address included, unless `insecure`. Its
 * CAs are tls->ca_file's alone, or else the system's in the place that libcurl was built with; without either nothing
 * is tried. A connection that was not told to close is kept for HTTPC_IDLE_MAX_S, and used again by transfers to the
 * same server with the same texts in `tls`. TLS sessions are not resumed: that would keep a rotated identity alive.
 *
 * What callbacks may do: `done` may start and cancel any transfer. A sink or source may cancel any transfer, its own
 * included (then return anything), but not start one. None of them may free the client.
 */
#ifndef PROFEFE_HTTPC_H
#define PROFEFE_HTTPC_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/os/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTPC_TRANSFERS_MAX = 32,      /* of one client: each takes 160 KiB of buffers, some 200 with TLS */
    HTTPC_HEADERS_MAX = 64 * 1024, /* bytes of all headers of one transfer, interim replies and trailers included */
    HTTPC_NOISE_MAX = 1024 * 1024, /* bytes of chunk framing and TLS beyond 64 times the headers and body */
    HTTPC_REPLY_MAX = 4 * 1024,    /* kept beginning of a reply body: enough for a server's words */
    HTTPC_KEEP_MAX = 8,            /* headers of a reply kept for one request; none of ours needs more than 3 */
    HTTPC_VALUE_MAX = 128,         /* bytes of a kept header's value, NUL included; longer ones are cut */
    HTTPC_IDLE_MAX_S = 120,        /* of a kept connection; a handshake costs 40 ms of CPU */
    HTTPC_AUTHORIZATION_MAX = 8 * 1024, /* bytes of an Authorization header's value */
    HTTPC_DNS_CACHE_S = 300,       /* x.y.svc.cluster.local costs 10 queries a look-up (ndots 5) */
};

struct httpc;
struct httpc_transfer;

/* How a transfer ended, whatever the status. */
enum httpc_end {
    HTTPC_OK,              /* a whole reply with any status */
    HTTPC_BAD_URL,         /* found by libcurl after httpc_start() had let it pass */
    HTTPC_RESOLVE,         /* name not resolved, or not in time */
    HTTPC_REFUSED,         /* connection refused or unreachable */
    HTTPC_CONNECT_TIMEOUT, /* no connection, or no TLS session, in time */
    HTTPC_TIMEOUT,         /* timeout_ms passed with the connection up */
    HTTPC_TLS,             /* handshake or verification failed, bad ca_file, or the server refused our certificate */
    HTTPC_EMPTY,           /* connection closed without a byte of reply */
    HTTPC_TRUNCATED,       /* reply shorter than announced, or closed or reset inside it */
    HTTPC_RESET,           /* connection reset or send failed before a reply */
    HTTPC_MALFORMED,       /* not HTTP, bad chunking, one line of the headers too long */
    HTTPC_ENDLESS,         /* over HTTPC_HEADERS_MAX, or over HTTPC_NOISE_MAX of what is neither headers nor body */
    HTTPC_TOO_BIG,         /* body_max passed */
    HTTPC_ABORTED,         /* the sink or source said stop; its code is in result.abort_code */
    HTTPC_NO_MEMORY,
    HTTPC_OTHER,           /* e.g. no descriptor left; see result.text */
    HTTPC_END_COUNT,
};
extern const char *const httpc_end_names[HTTPC_END_COUNT]; /* "ok", "bad-url", "resolve", "refused", … */

struct httpc_result {
    enum httpc_end end;
    unsigned status;                  /* 0 when no reply line came (an interim 1xx does not count) */
    char text[ERR_TEXT_MAX];          /* in words, mostly libcurl's; "" on HTTPC_OK */
    char kept[HTTPC_KEEP_MAX][HTTPC_VALUE_MAX]; /* of the final reply, as request.keep has them; "" = absent */
    char reply[HTTPC_REPLY_MAX + 1];  /* beginning of a body that had no sink, NUL-terminated, may hold any byte */
    size_t reply_len;
    uint64_t received_bytes;          /* body bytes received */
    uint64_t sent_bytes;              /* body bytes handed to libcurl */
    bool body_sent;                   /* the whole request (body, or without one the headers) was handed over: a failure
                                         after it is "unsure" */
    int64_t elapsed_ms;
    int abort_code;                   /* -EIO when a source ended before source_size */
};

/* Body source: fills up to len bytes, returns how many, 0 at the end, -Exxx to abort. */
typedef int64_t httpc_source(void *ctx, char *bytes, size_t len);
/* Body sink: called for bodies of 2xx replies only (other bodies only fill result.reply); 0, or -Exxx to abort. */
typedef int httpc_sink(void *ctx, const char *bytes, size_t len);
typedef void httpc_done(void *ctx, const struct httpc_result *result);

/* How to meet an https server; all PEM files. NULL fields = none. The files are read whenever a connection is made;
 * where their content changed, another spelling of the path ("d/./ca.crt") leads to a new one. */
struct httpc_tls {
    const char *ca_file;   /* NULL = the system's */
    const char *cert_file; /* client certificate, leaf first; with key_file or not at all */
    const char *key_file;
};

struct httpc_request {
    const char *url;             /* absolute, http or https; copied like all strings here but those of `keep` */
    const char *method;          /* "GET" or "POST" */
    const char *content_type;    /* of the request body, NULL = none */
    const char *accept_encoding; /* NULL = none sent; the body is never decoded */
    const char *authorization;   /* value of the header, e.g. "Bearer …"; NULL = none sent; never shown in a text */
    const char *const *keep;     /* names of the reply's headers whose values are wanted; borrowed until done */
    unsigned keep_count;         /* at most HTTPC_KEEP_MAX */
    const struct httpc_tls *tls; /* for https; NULL = no client certificate, the system's CAs; copied */
    const char *ca_hint;         /* where a person puts CA certificates, told when there are none; NULL = no hint */
    httpc_source *source;        /* NULL = no body; only with POST */
    int64_t source_size;         /* bytes, or -1 = unknown: chunked */
    httpc_sink *sink;            /* NULL = only result.reply */
    void *body_ctx;              /* for source and sink */
    uint64_t body_max;           /* most reply body bytes, whatever the status; 0 = HTTPC_REPLY_MAX */
    int64_t connect_timeout_ms;  /* both timeouts at least 1 */
    int64_t timeout_ms;          /* the whole transfer */
    bool insecure;               /* https without verification: only for the app on loopback */
    bool close_after;            /* never reuse or keep the connection (the app; plain http collectors) */
    httpc_done *done;
    void *done_ctx;
};

struct httpc_options {
    const char *user_agent; /* "profefe-agent/0.1.0", sent with each request; NULL = none; borrowed */
    unsigned transfers_max; /* at once, 1 to HTTPC_TRANSFERS_MAX; as many connections are kept at most */
};

MUST_CHECK int httpc_new(struct loop *loop, const struct httpc_options *options, struct httpc **ret, struct err *err)
    NONNULL(1);
struct httpc *httpc_free(struct httpc *httpc); /* cancels what runs; NULL allowed; returns NULL */

static inline void cleanup_httpc(struct httpc **httpc)
{
    httpc_free(*httpc);
}

#define CLEANUP_HTTPC CLEANUP(cleanup_httpc)

/* Starts a transfer; `done` is never called from inside this call. *ret stays valid until `done` returns. -EINVAL for
 * a bad URL or authorization, -ENOENT for https without any CA certificates, -EBUSY over transfers_max or from a
 * sink or source, -ENOMEM; then `done` is never called. */
MUST_CHECK int httpc_start(struct httpc *httpc, const struct httpc_request *request, struct httpc_transfer **ret,
                           struct err *err) NONNULL(1);

/* The value so far of a header to keep, for a sink, whose body comes after the headers; "" = absent. Borrowed. */
const char *httpc_kept(const struct httpc_transfer *transfer, unsigned i);

/* Ends a transfer: none of its callbacks is called any more. From its own `done` it does nothing. NULL allowed;
 * returns NULL. */
struct httpc_transfer *httpc_cancel(struct httpc_transfer *transfer);

#endif
