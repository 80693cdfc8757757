/* Takes profiles: runs the plan, one fetch at a time, into the spool. Never waits for sending. */
#ifndef PROFEFE_TAKER_H
#define PROFEFE_TAKER_H

#include "common/base/cleanup.h"
#include "common/base/marks.h"
#include "common/gather/gather_options.h"
#include "common/gather/plan.h"
#include "common/gather/scrape.h"
#include "common/http/httpc.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/spool/spool.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TAKER_WORDS_MAX = 256,
    TAKER_LAST_MS = 1000, /* one last profile after SIGTERM: heap and goroutine come in milliseconds, or not at all */
};

/* What became of one job, for /status, /metrics and /healthz. */
struct taker_job {
    uint64_t results[SCRAPE_RESULT_COUNT];
    enum scrape_result last;
    char words[TAKER_WORDS_MAX]; /* of the last run, "" when it was ok */
    bool ran;                     /* at least once */
    unsigned failures;            /* in a row; empty and missing are none */
    int64_t failing_since_ms;     /* monotonic; 0 = not failing */
    int64_t without_since_ms;     /* monotonic; of the first run in a row that was neither ok nor empty; 0 = none */
    int64_t last_ok_wall_ms;      /* 0 = never */
    bool is_raw;                  /* the app gave it without gzip, perhaps long ago */
    struct log_throttle throttles[SCRAPE_RESULT_COUNT]; /* each kind of failure is said at once, and then seldom */
};

struct taker;

/* How the jobs are run. All false: each on its grid, for the life of the process. */
struct taker_mode {
    bool once;          /* each job once, whatever comes of it; then `finished` */
    bool cpu_first;     /* once: the CPU profiles before the short ones, in place of after them */
    bool wait_for_busy; /* once: a profiler that somebody else holds is tried again until it is free */
    bool quiet;         /* nothing is logged: whoever hears of each run tells it in words of his own */
};

/* `taken` is called after each run: for a profile that reached the spool (its id) and for one that ended otherwise
 * (id 0). A job whose due_ms is plan_never_ms by then is over. `finished` is called when all are, or when the last
 * profiles of taker_take_last are there. */
struct taker_callbacks {
    void (*taken)(void *ctx, const struct plan_job *job, const struct scrape_report *report);
    void (*finished)(void *ctx);
    void *ctx;
};

MUST_CHECK int taker_new(struct loop *loop, struct httpc *httpc, struct spool *spool,
                         const struct gather_options *options, struct taker_mode mode,
                         const struct taker_callbacks *callbacks, struct taker **ret, struct err *err) NONNULL(1);
struct taker *taker_free(struct taker *taker); /* NULL allowed; returns NULL */

static inline void cleanup_taker(struct taker **taker)
{
    taker_free(*taker);
}

#define CLEANUP_TAKER CLEANUP(cleanup_taker)

/* Profiles go into this spool from now on. Not while one is taken (taker_running). */
void taker_change_spool(struct taker *taker, struct spool *spool);

/* Cuts the fetch under way and takes no more. */
void taker_stop(struct taker *taker);

/* Cuts the fetch under way, then takes a last heap and goroutine profile of each target, where these types are set and
 * there is none of this very second, one at a time; no longer than within_ms in all and TAKER_LAST_MS
 * each. Ends in `finished`, later. */
void taker_take_last(struct taker *taker, int64_t within_ms);

/* How many fetches were cut by these two. */
unsigned taker_count_cut(const struct taker *taker);

/* The i-th job and what became of it; NULL beyond the last. */
const struct plan_job *taker_job_at(const struct taker *taker, unsigned i, const struct taker_job **ret_state);

/* The job being fetched, or NULL. */
const struct plan_job *taker_running(const struct taker *taker);

#endif
