/* When to take which profile. Pure: `now` is passed in, nothing is read.
 *
 * Time is the monotonic clock in milliseconds: a stepped wall clock changes nothing, a suspended machine
 * causes no burst. Each job (one type of one target) sits on its own grid: start + phase + k * EVERY, with
 * the phase a hash of pod uid, target and type, so that a fleet started in one second is spread flat. Before the grid
 * comes the start-up: the first CPU profile within `first_within`, the first heap and goroutine between a twentieth and
 * a half of it. One job runs at a time, CPU and trace therefore never together.
 */
#ifndef PROFEFE_PLAN_H
#define PROFEFE_PLAN_H

#include "common/targets.h"
#include "common/types.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PLAN_JOBS_MAX = TARGETS_MAX * TYPES_MAX,
    PLAN_RETRY_MIN_MS = 1000,             /* after "refused" and "busy": first wait, then doubled */
    PLAN_MISSING_EVERY_MS = 3600 * 1000,  /* re-probe of a type the app does not serve */
};

struct plan_job {
    unsigned target;                 /* index in the targets */
    const struct profile_type *type; /* borrowed from the types given to plan_init */
    int64_t phase_ms;                /* of its grid: start + phase + k * EVERY */
    int64_t due_ms;
    int64_t seconds_ms;              /* what to ask for: type's, or less after "too long" */
    unsigned soon_tries;             /* retries inside the interval, in a row */
};

struct plan {
    int64_t start_ms;
    unsigned count;
    struct plan_job jobs[PLAN_JOBS_MAX];
};

/* seed: pod uid or another stable name of this process. Types are borrowed for the plan's life. */
void plan_init(struct plan *plan, unsigned targets, const struct profile_types *types, const char *seed,
               int64_t first_within_ms, int64_t now_ms);

/* The same with everything due at once, each job once: --once. */
void plan_init_once(struct plan *plan, unsigned targets, const struct profile_types *types, int64_t now_ms);

/* The job to run now: the due one that is due longest, or NULL. *ret_wait_ms is then how long until one is due (-1 = never). */
struct plan_job *plan_next(struct plan *plan, int64_t now_ms, int64_t *ret_wait_ms);

/* What a run came to, as far as the plan cares. */
enum plan_outcome {
    PLAN_DONE,     /* next on its grid */
    PLAN_SOON,     /* not down, not up: again inside the interval, with growing waits */
    PLAN_SHORTER,  /* SECONDS were too many: half of them from now on, next on its grid */
    PLAN_SLEEP,    /* not served: again in an hour or one EVERY, whichever is longer */
    PLAN_NEVER,    /* --once: done with it */
};

/* started_ms is when the run began. */
void plan_finish(struct plan *plan, struct plan_job *job, enum plan_outcome outcome, int64_t started_ms, int64_t now_ms);

#endif
