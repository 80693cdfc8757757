/* One pass: each wanted type of these targets is taken once and sent, under this identity. Any number of them run side
 * by side on one loop and one client, each with its own identity, share of the spool and deadline.
 *
 * A job is one type of one target. Each job has exactly one outcome, told as soon as it is known; then the pass ends,
 * exactly once, with its account. The deadline ends it too, and so does whoever stops it: what is open then is told as
 * it is. Nothing is lost uncounted.
 */
#ifndef PROFEFE_PASS_H
#define PROFEFE_PASS_H

#include "common/base/cleanup.h"
#include "common/gather/account.h"
#include "common/gather/pipeline.h"

#include <stdbool.h>
#include <stdint.h>

struct pass_options {
    const struct gather_options *gather; /* borrowed for the pass's life; its sampling is not used */
    int64_t deadline_ms;                 /* from the start */
    bool cpu_first;                      /* where time may run out, CPU profiles are worth more than the short ones */
    bool wait_for_busy;                  /* a profiler that somebody else holds is tried again until the deadline */
    bool quiet;                          /* the log hears nothing of what could not be taken: the outcomes tell it */
};

enum pass_fate {
    PASS_STORED,  /* the collector or the directory has it */
    PASS_EMPTY,   /* no samples: nothing to store, and no failure */
    PASS_FAILED,  /* not taken: `result` names how */
    PASS_DROPPED, /* taken and lost: `reason` names why */
    PASS_UNSENT,  /* taken, and the pass ended first: lost, unless the caller's spool keeps it */
    PASS_UNTAKEN, /* the pass ended first */
    PASS_FATE_COUNT,
};

struct pass_outcome {
    enum pass_fate fate;
    const struct target *target;     /* both are of the pass's options */
    const struct profile_type *type;
    enum scrape_result result;       /* PASS_FAILED, PASS_EMPTY */
    const char *reason;              /* PASS_DROPPED: as in account.drops; else NULL */
    const char *words;               /* for people, "" where there is nothing to say; borrowed for the call */
    uint64_t bytes;                  /* of what was taken, as it came */
};

enum pass_end {
    PASS_COMPLETE,    /* every job came to its end */
    PASS_OUT_OF_TIME, /* the deadline came first */
    PASS_HALTED,      /* pass_stop */
};

struct pass_account {
    enum pass_end end;
    int64_t elapsed_ms;
    unsigned jobs[PASS_FATE_COUNT];
    uint64_t stored_bytes;
    struct account profiles; /* in the pass's own memory nothing waits any more: what did is dropped as "unsent" */
};

/* Neither is called from inside a call of this header, but an outcome may come from inside the spool's: it must not
 * free the pass. `ended` may. */
struct pass_callbacks {
    void (*outcome)(void *ctx, const struct pass_outcome *outcome);
    void (*ended)(void *ctx, const struct pass_account *account);
    void *ctx;
};

struct pass;

/* The base is borrowed; without a spool in it the pass has one of its own in memory, of gather->spool_bytes. What
 * waits in a spool that was given is sent as well while the pass runs, and is in its account, but has no outcome. */
int pass_new(const struct pipeline_base *base, const struct pass_options *options,
             const struct pass_callbacks *callbacks, struct pass **ret, struct err *err);
struct pass *pass_free(struct pass *pass); /* without a word, where it has not ended; NULL allowed; returns NULL */

static inline void cleanup_pass(struct pass **pass)
{
    pass_free(*pass);
}

#define CLEANUP_PASS CLEANUP(cleanup_pass)

/* Takes no more, sends what was taken for no longer than within_ms (0 = not at all) and never past the deadline, then
 * ends, later. */
void pass_stop(struct pass *pass, int64_t within_ms);

#endif
