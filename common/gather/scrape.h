/* One fetch of one profile from the app: streamed into the spool, checked on the way, and each bad answer named.
 *
 * https is verified, name or IP address included, unless the request says `insecure`: with an app on loopback it never
 * leaves the machine, and its certificate is seldom for such an address.
 *
 * The app is never followed through a redirect, never asked through a proxy, and its connection is closed
 * after each fetch, so that an idle one cannot hold up its shutdown. A CPU profile sends nothing until it ends: the
 * transfer may take SECONDS and timeout_ms, and no low-speed limit applies. A trace is streamed while it runs, and
 * is no pprof: only its header is checked (gotrace.h). What is stored in which form says scrape_body.h.
 */
#ifndef PROFEFE_SCRAPE_H
#define PROFEFE_SCRAPE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/gather/scrape_body.h"
#include "common/http/httpc.h"
#include "common/os/loop.h"
#include "common/pprof/pprof.h"
#include "common/spool/spool.h"
#include "common/values/profile_types.h"

#include <stdint.h>

enum {
    SCRAPE_URL_MAX = 1024,        /* base, path with every byte escaped, and seconds */
};

/* Headers of a reply that are looked at: places in httpc_result.kept. */
enum scrape_kept {
    SCRAPE_X_GO_PPROF,
    SCRAPE_CONTENT_ENCODING,
    SCRAPE_CONTENT_LENGTH,
    SCRAPE_LOCATION,
    SCRAPE_KEPT_HEADERS,
};

/* What a fetch came to; the metric label `result`. */
enum scrape_result {
    SCRAPE_OK,        /* in the spool */
    SCRAPE_EMPTY,     /* no samples: block or mutex whose rate the app never set */
    SCRAPE_REFUSED,   /* nothing listens there (yet) */
    SCRAPE_TIMEOUT,   /* no reply in SECONDS + timeout_ms */
    SCRAPE_SLOW,      /* a reply began, but did not end in that time (chunk noise without end is no different) */
    SCRAPE_BUSY,      /* somebody else holds the app's only CPU profiler or tracer: not down, try again soon */
    SCRAPE_TOO_LONG,  /* SECONDS exceed the app's WriteTimeout or a handler's limit */
    SCRAPE_MISSING,   /* 404: the app does not serve this type */
    SCRAPE_REDIRECT,  /* 3xx */
    SCRAPE_STATUS,    /* any other status */
    SCRAPE_TEXT,      /* 200, but text or HTML */
    SCRAPE_MALFORMED, /* not HTTP, or not a profile */
    SCRAPE_TRUNCATED, /* ended early */
    SCRAPE_TOO_BIG,   /* more than the spool holds, or inflates beyond the ceiling */
    SCRAPE_ENDLESS,   /* headers without end */
    SCRAPE_ERROR,     /* our side: memory, descriptors, spool */
    SCRAPE_RESULT_COUNT,
};
extern const char *const scrape_result_names[SCRAPE_RESULT_COUNT];

struct scrape_request {
    const char *base_url;            /* the target's pprof base; borrowed until done */
    const char *target_name;         /* "" without one */
    const struct profile_type *type; /* borrowed until done */
    int64_t seconds_ms;              /* 0 = send none; otherwise what to ask for, perhaps shrunk below type's */
    bool insecure;                   /* https without verification */
    const char *ca_file;             /* of https that is verified; NULL = the system's */
    int64_t connect_timeout_ms;
    int64_t timeout_ms;              /* of the whole transfer, beyond SECONDS */
    uint64_t body_max;               /* bytes as stored */
    const struct labels *sample_labels; /* that its samples will get on the way out; borrowed until done; NULL = none */
    bool ask_gzip;                   /* for one that came raw before: else a proxy may gzip what is gzipped */
};

struct scrape_report {
    enum scrape_result result;
    char words[ERR_TEXT_MAX]; /* for people: what was seen and what was expected; "" on SCRAPE_OK */
    unsigned status;          /* HTTP, 0 = none */
    uint64_t bytes;           /* as they came */
    bool is_raw;              /* they came without gzip */
    uint64_t item_id;         /* in the spool, on SCRAPE_OK */
    int64_t elapsed_ms;
};

typedef void scrape_done(void *ctx, const struct scrape_report *report);
struct scrape;

/* Starts; `done` is called exactly once, later, unless cancelled. The spool must have no other writer. */
MUST_CHECK int scrape_start(struct httpc *httpc, struct spool *spool, const struct scrape_request *request,
                            scrape_done *done, void *ctx, struct scrape **ret, struct err *err) NONNULL(1);
struct scrape *scrape_cancel(struct scrape *scrape); /* without done; NULL allowed; returns NULL */

/* The URL of a type below a base: BASE/profile?seconds=10, BASE/trace?seconds=0.5, BASE/NAME of other/NAME, of which
 * every byte is escaped that may not stand in a path (RFC 3986 §3.3). -ENOBUFS, -ENOMEM. */
int scrape_url(struct buf *out, const char *base_url, const struct profile_type *type, int64_t seconds_ms);

/* The naming of an answer; pure. seconds_ms as asked for; summary may be NULL when no body was checked. */
enum scrape_result scrape_judge(enum profile_kind kind, int64_t seconds_ms, const struct httpc_result *http,
                                const struct pprof_summary *summary, char words[static ERR_TEXT_MAX]);

#endif
