/* When to take which profile. Pure: `now` is passed in, nothing is read.
 *
 * Time is the monotonic clock in milliseconds: a stepped wall clock changes nothing, a suspended machine
 * causes no burst. Each job (one type of one target) sits on its own grid: start + phase + k * EVERY, with
 * the phase a hash of pod uid, target and type, so that a fleet started in one second is spread flat. Before the grid
 * comes the start-up: the first CPU profile within `first_within`, the first heap and goroutine between a twentieth and
 * a half of it. One job runs at a time, CPU and trace therefore never together.
 *
 * With `sampling` below 100 % the grid has holes: a pod takes part in interval n (of the setting `interval`, counted
 * from its start) when a hash of its uid and n is below that share. All types of a pod agree on that, another interval
 * chooses other pods, and no EVERY beats in time with it. The start-up counts as sampled, also while it is tried again.
 */
#ifndef PROFEFE_PLAN_H
#define PROFEFE_PLAN_H

#include "common/values/profile_types.h"
#include "common/values/targets.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PLAN_JOBS_MAX = TARGETS_MAX * PROFILE_TYPES_MAX,
    PLAN_RETRY_MIN_MS = 1000,     /* after "refused" and "busy": first wait, then doubled */
    PLAN_SAMPLING_ALL = 10000,    /* sampling in hundredths of a percent */
    PLAN_PATIENCE_MAX = 63,       /* an app with a limit of its own loses at most one profile in 64 to longer ones */
    PLAN_LOOK_MAX = 4096,         /* points of a grid looked at in one go for one that is sampled: 0.2 ms */
};

static const int64_t plan_never_ms = INT64_MAX; /* due_ms of a job that is over */

struct plan_options {
    unsigned targets;                  /* how many */
    const struct profile_types *types; /* borrowed for the plan's life */
    const char *seed;                  /* pod uid or another stable name of this process; borrowed likewise */
    int64_t first_within_ms;
    int64_t missing_retry_ms;          /* a type that the app does not serve is asked for again after so long */
    int64_t interval_ms;               /* the unit of sampling */
    unsigned sampling;                 /* 1 to PLAN_SAMPLING_ALL */
    bool cpu_first;                    /* of jobs due at the same time the CPU profiles go before the short ones */
};

struct plan_job {
    unsigned target;                 /* index in the targets */
    const struct profile_type *type; /* borrowed from plan_options.types */
    int64_t phase_ms;                /* of its grid: start + phase + k * EVERY */
    int64_t due_ms;
    int64_t seconds_ms;              /* what to ask for: type's, halved `halvings` times */
    unsigned halvings;               /* after "too long"; good runs take them back one by one */
    unsigned good_runs;              /* at this length */
    unsigned patience;               /* good runs to wait for beyond the first before a longer one is tried */
    bool is_longer;                  /* a longer one is tried just now */
    unsigned soon_tries;             /* retries inside the interval, in a row */
    bool is_first;                   /* the start-up run, until it is done: not up to sampling */
    bool look;                       /* nothing sampled was found up to due_ms: then look on, do not run */
};

struct plan {
    struct plan_options options;
    int64_t start_ms;
    unsigned count;
    struct plan_job jobs[PLAN_JOBS_MAX];
};

void plan_init(struct plan *plan, const struct plan_options *options, int64_t now_ms);

/* The same with everything due at once, sampled or not: each job once. */
void plan_init_once(struct plan *plan, const struct plan_options *options, int64_t now_ms);

/* From now on only what an app that is being stopped should leave behind: heap and goroutine, due at once; finish them
 * with PLAN_NEVER. Whatever ran is forgotten. */
void plan_take_last(struct plan *plan, int64_t now_ms);

/* Whether this pod takes part in the interval that holds this time. */
bool plan_is_sampled(const struct plan *plan, int64_t time_ms);

/* The job to run now: the due one that is due longest, or NULL. *ret_wait_ms is then how long until one is due or
 * must be looked at (-1 = never). */
struct plan_job *plan_next(struct plan *plan, int64_t now_ms, int64_t *ret_wait_ms);

/* What a run came to, as far as the plan cares. */
enum plan_outcome {
    PLAN_GOOD,     /* the app answered in full: next on its grid, perhaps longer again */
    PLAN_DONE,     /* next on its grid */
    PLAN_SOON,     /* not there yet: again before the next point of the grid, with growing waits; in the end on it */
    PLAN_BUSY,     /* the same, and the waits begin anew with each point of the grid: it may be free at any time */
    PLAN_SHORTER,  /* SECONDS were too many: half of them for now, next on its grid */
    PLAN_SLEEP,    /* not served: again after missing_retry_ms or one EVERY, whichever is longer */
    PLAN_NEVER,    /* done with it */
};

/* started_ms is when the run began. */
void plan_finish(struct plan *plan, struct plan_job *job, enum plan_outcome outcome, int64_t started_ms,
                 int64_t now_ms);

#endif
