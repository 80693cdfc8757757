/* Delivers what is spooled, oldest first, one at a time, apart from the gathering.
 *
 * Each answer has its treatment (profefe_judge): stored; dropped and counted; tried again with exponential backoff; or
 * "the collector is wrong": kept, tried slowly, said. A profile that the server fails on PUSH_BLOCKED_TRIES times is
 * passed by the next one; when that is stored, the first is dropped, so that one bad profile blocks nobody.
 *
 * A profile whose body was sent whole but not answered may be stored: before it is sent again, the server is asked for
 * it, once for each such failure. Only a profile with a label `pod` can be told from the others of its service; others
 * are sent again unasked. A restart forgets which ones were in doubt.
 *
 * Nothing is lost uncounted. At any time, over the life of both:
 *
 *   spool taken = results stored + found + dropped here + dropped in the spool + waiting in the spool + its held_lost
 *
 * Where a profile goes is the delivery's matter. In a directory the same holds: a disk that is full, read-only or gone
 * keeps the profiles in the spool.
 */
#ifndef PROFEFE_PUSH_H
#define PROFEFE_PUSH_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/os/loop.h"
#include "common/push/delivery.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PUSH_BLOCKED_TRIES = 5,
    PUSH_SCAN_BYTES = 256 * 1024,      /* of a profile read in one turn before it is labelled: some milliseconds */
    PUSH_DOUBTS_MAX = 2, /* profiles in doubt: the oldest, and the one that passes it; a third is sent again unasked */
    /* Where nobody listens a try costs the collector nothing: the longest wait is shortened by this, so that profiles
     * flow 30 s after it is back, not 120, and a fleet's first tries are still spread over that time. A collector that
     * answers "later", or not at all, may be overloaded: there the whole wait stays. */
    PUSH_REFUSED_FASTER = 4,
};

/* Why a profile was dropped here; the metric label `reason` (beside the spool's own). */
enum push_drop { PUSH_DROP_REFUSED, PUSH_DROP_TOO_LARGE, PUSH_DROP_BLOCKED, PUSH_DROP_COUNT };
extern const char *const push_drop_names[PUSH_DROP_COUNT];

struct push_options {
    struct outgoing_options outgoing; /* what goes with every profile */
    int64_t retry_min_ms, retry_max_ms;
    int64_t age_max_ms; /* older profiles are dropped by the spool; 0 = none are */
    /* Called once for each profile that leaves the spool while the pusher lives: by our hand, evicted or expired. It
     * may be called from inside spool calls of others, and must not change the spool. May be NULL. */
    void (*settled)(void *ctx, uint64_t id, bool stored);
    void *settled_ctx;
};

struct push_stats {
    uint64_t results[DELIVERY_RESULT_COUNT];
    uint64_t dropped[PUSH_DROP_COUNT];
    uint64_t unlabelled[RELABEL_RESULT_COUNT]; /* pushed as they came, by reason */
    uint64_t times_replaced;     /* stored under another time than their own */
    uint64_t labels_renamed;     /* stored with a key as profefe_KEY, since their samples had it */
    uint64_t unchecked;          /* stored though their ids could not be checked */
    uint64_t stored_bytes;       /* as they were in the spool */
    unsigned failures;           /* in a row, refusals included, since the last stored profile */
    int64_t failing_since_ms;    /* monotonic; 0 = not failing */
    int64_t last_stored_wall_ms; /* 0 = never */
    char last_error[ERR_TEXT_MAX]; /* "" when the last try was stored */
};

struct push;

/* Takes the delivery over, unless it fails; loop, spool and what the options point to are borrowed for its life. */
MUST_CHECK int push_new(struct loop *loop, struct spool *spool, struct delivery *delivery,
                        const struct push_options *options, struct push **ret, struct err *err) NONNULL(1);
struct push *push_free(struct push *push); /* cancels the try under way; NULL allowed; returns NULL */

/* Something new is spooled: sends it unless a try or a wait is under way. */
void push_kick(struct push *push);

/* Forgets the backoff and tries now (the flush at the end). */
void push_now(struct push *push);

/* Once its spool is empty it goes on with this one, for good, borrowed like the first. To be called when nothing is
 * written to the first one any more; once. What is lost in the next one before that is in its counters, but not told as
 * settled. */
void push_go_on_with(struct push *push, struct spool *next);

/* Nothing waits and nothing is under way. */
bool push_is_idle(const struct push *push);

const struct push_stats *push_get_stats(const struct push *push);

#endif
