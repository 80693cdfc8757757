/* Sends what is spooled to profefe, oldest first, one at a time, apart from the gathering.
 *
 * Each answer has its treatment (reliability rule 3, profefe_judge): stored; dropped and counted; tried again with
 * exponential backoff; or "the collector is wrong": kept, tried slowly, said. A profile that the server fails on
 * PUSH_BLOCKED_TRIES times is passed by the next one; when that is stored, the first is dropped, so that one bad profile
 * blocks nobody.
 */
#ifndef PROFEFE_PUSH_H
#define PROFEFE_PUSH_H

#include "buf.h"
#include "err.h"
#include "httpc.h"
#include "labels.h"
#include "loop.h"
#include "relabel.h"
#include "spool.h"
#include "targets.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PUSH_BLOCKED_TRIES = 5,
    PUSH_SCAN_BYTES = 256 * 1024,      /* of a profile read in one turn before it is labelled: some milliseconds */
    PUSH_BYTES_PER_SECOND = 50 * 1024, /* a slow collector took 6.5 s for 8 MB (facts/agent A9); ten times slower is allowed */
};

/* How a try ended; the metric label `result`. */
enum push_result {
    PUSH_STORED,
    PUSH_REFUSED,   /* 400, 422 in profefe's words: dropped */
    PUSH_TOO_LARGE, /* 413: dropped */
    PUSH_LATER,     /* 408, 429, 5xx */
    PUSH_WRONG,     /* the collector or its URL is wrong: 401, 403, 404, 3xx, not profefe's reply, … */
    PUSH_NETWORK,   /* no reply: not resolved, refused, reset, timed out before the body was sent */
    PUSH_UNSURE,    /* no reply after the whole body was sent: it may be stored, and will be sent again */
    PUSH_GONE,      /* evicted from the spool while it was sent */
    PUSH_RESULT_COUNT,
};
extern const char *const push_result_names[PUSH_RESULT_COUNT];

/* Why a profile was dropped here; the metric label `reason` (beside the spool's own). */
enum push_drop { PUSH_DROP_REFUSED, PUSH_DROP_TOO_LARGE, PUSH_DROP_BLOCKED, PUSH_DROP_COUNT };
extern const char *const push_drop_names[PUSH_DROP_COUNT];

struct push_options {
    const char *collector;   /* base URL */
    const char *service;
    const char *instance_id;
    const struct labels *labels;   /* of every profile; all borrowed for the pusher's life */
    const struct targets *targets; /* for the comment `url=` */
    bool sample_labels;            /* also write the labels into each sample */
    int64_t retry_min_ms, retry_max_ms;
    int64_t connect_timeout_ms;
    int64_t timeout_ms;      /* one try, plus a second for every PUSH_BYTES_PER_SECOND */
    int64_t age_max_ms;      /* older profiles are dropped by the spool; 0 = none are */
    void (*settled)(void *ctx, uint64_t id, bool stored); /* a profile left the spool by our hand, or while it was sent; may be NULL */
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
