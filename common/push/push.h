/* Delivers what is spooled, oldest first, one at a time, apart from the gathering: to profefe, or into a directory.
 *
 * Each answer has its treatment (profefe_judge): stored; dropped and counted; tried again with exponential backoff; or
 * "the collector is wrong": kept, tried slowly, said. A profile that the server fails on PUSH_BLOCKED_TRIES times is
 * passed by the next one; when that is stored, the first is dropped, so that one bad profile blocks nobody.
 *
 * A profile whose body was sent whole but not answered may be stored: before it is sent again, the server is asked for
 * it, once for each such failure. Only a profile with a label `pod` can be told from the others of its service; others are
 * sent again unasked. A restart forgets which ones were in doubt.
 *
 * Nothing is lost uncounted. At any time, over the life of both:
 *
 *   spool taken = results stored + found + dropped here + dropped in the spool + waiting in the spool + its held_lost
 *
 * In a directory (outdir.h) the same holds: a disk that is full, read-only or gone keeps the profiles in the spool.
 */
#ifndef PROFEFE_PUSH_H
#define PROFEFE_PUSH_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/program.h"
#include "common/http/httpc.h"
#include "common/values/labels.h"
#include "common/os/loop.h"
#include "common/pprof/relabel.h"
#include "common/spool/spool.h"
#include "common/values/targets.h"

#include <stdbool.h>
#include <stdint.h>

struct credentials;

enum {
    PUSH_BLOCKED_TRIES = 5,
    PUSH_SCAN_BYTES = 256 * 1024,      /* of a profile read in one turn before it is labelled: some milliseconds */
    PUSH_WRITE_BYTES = 64 * 1024,      /* of a file written in one turn; labelled that is 5 to 20 ms of work */
    PUSH_BYTES_PER_SECOND = 50 * 1024, /* a slow collector took 6.5 s for 8 MB (seen); ten times slower is allowed */
    PUSH_DOUBTS_MAX = 2, /* profiles in doubt: the oldest, and the one that passes it; a third is sent again unasked */
    /* Where nobody listens a try costs the collector nothing: the longest wait is shortened by this, so that profiles
     * flow 30 s after it is back, not 120, and a fleet's first tries are still spread over that time. A collector that
     * answers "later", or not at all, may be overloaded: there the whole wait stays. */
    PUSH_REFUSED_FASTER = 4,
};

/* How a try ended; the metric label `result`. */
enum push_result {
    PUSH_STORED,
    PUSH_FOUND,     /* it was there already: an unanswered try had stored it */
    PUSH_REFUSED,   /* 400, 422 in profefe's words: dropped */
    PUSH_TOO_LARGE, /* 413: dropped */
    PUSH_LATER,     /* 408, 429, 5xx */
    PUSH_WRONG,     /* the collector or its URL is wrong: 401, 403, 404, 3xx, not profefe's reply, … */
    PUSH_NETWORK,   /* no reply: not resolved, refused, reset, timed out before the body was sent */
    PUSH_UNSURE,    /* no reply after the whole body was sent: it may be stored, and is asked for before the next try */
    PUSH_WRITE,     /* the output directory cannot be written */
    PUSH_GONE,      /* evicted from the spool while it was sent */
    PUSH_RESULT_COUNT,
};
extern const char *const push_result_names[PUSH_RESULT_COUNT];

/* Why a profile was dropped here; the metric label `reason` (beside the spool's own). */
enum push_drop { PUSH_DROP_REFUSED, PUSH_DROP_TOO_LARGE, PUSH_DROP_BLOCKED, PUSH_DROP_COUNT };
extern const char *const push_drop_names[PUSH_DROP_COUNT];

struct push_options {
    const struct program *program;
    const char *collector;   /* base URL; not used with output_dir */
    const char *output_dir;  /* profiles become files below it (outdir.h) in place of being sent; NULL = collector */
    struct credentials *credentials; /* for the collector; refreshed before each try; NULL = none */
    const char *ca_hint;     /* where a person puts the collector's CA certificates, for a text; NULL = no hint */
    const char *service;
    const char *instance_id;
    const struct labels *labels;   /* of every profile; all here is borrowed for the pusher's life */
    const struct targets *targets; /* for the comment `url=` */
    bool sample_labels;            /* also write the labels into each sample */
    int64_t retry_min_ms, retry_max_ms;
    int64_t connect_timeout_ms;
    int64_t timeout_ms; /* one try, plus a second for every PUSH_BYTES_PER_SECOND */
    int64_t age_max_ms; /* older profiles are dropped by the spool; 0 = none are */
    /* Called once for each profile that leaves the spool while the pusher lives: by our hand, evicted or expired. It may
     * be called from inside spool calls of others, and must not change the spool. May be NULL. */
    void (*settled)(void *ctx, uint64_t id, bool stored);
    void *settled_ctx;
};

struct push_stats {
    uint64_t results[PUSH_RESULT_COUNT];
    uint64_t dropped[PUSH_DROP_COUNT];
    uint64_t unlabelled[RELABEL_RESULT_COUNT]; /* pushed as they came, by reason */
    uint64_t stored_bytes;       /* as they were in the spool */
    unsigned failures;           /* in a row, refusals included, since the last stored profile */
    int64_t failing_since_ms;    /* monotonic; 0 = not failing */
    int64_t last_stored_wall_ms; /* 0 = never */
    char last_error[ERR_TEXT_MAX]; /* "" when the last try was stored */
};

struct push;

int push_new(struct loop *loop, struct httpc *httpc, struct spool *spool, const struct push_options *options,
             struct push **ret, struct err *err);
struct push *push_free(struct push *push); /* cancels the try under way; NULL allowed; returns NULL */

/* Something new is spooled: sends it unless a try or a wait is under way. */
void push_kick(struct push *push);

/* Forgets the backoff and tries now (the flush at the end). */
void push_now(struct push *push);

/* Nothing waits and nothing is under way. */
bool push_is_idle(const struct push *push);

const struct push_stats *push_get_stats(const struct push *push);

#endif
