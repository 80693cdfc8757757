#include "agent/plan.h"

#include "common/hash.h"

#include <stddef.h>

/* Salts: one per thing that is spread, never changed (common/hash.h). */
enum {
    SALT_PHASE = 1,
    SALT_FIRST_CPU = 2,
    SALT_FIRST_HEAP = 3,
    SALT_TARGET = 1000,
};

static const int64_t never_ms = INT64_MAX;

static int64_t spread(const char *seed, unsigned target, uint64_t salt, int64_t range_ms)
{
    return hash_to_range(hash_text(seed, target * (uint64_t)SALT_TARGET + salt), range_ms);
}

/* The first point of the job's grid at or after a time. */
static int64_t grid_after(const struct plan *plan, const struct plan_job *job, int64_t time_ms)
{
    int64_t every = job->type->every_ms;
    int64_t first = plan->start_ms + job->phase_ms;
    if (time_ms <= first)
        return first;
    return first + (time_ms - first + every - 1) / every * every;
}

/* The start-up window shrinks with short intervals, so that a first profile never waits for longer than the second. */
static int64_t window_ms(const struct profile_types *types, int64_t first_within_ms)
{
    int64_t window = first_within_ms;
    for (unsigned i = 0; i < types->count; i++) {
        if (types->items[i].every_ms < window)
            window = types->items[i].every_ms;
    }
    return window;
}

/* Heap and goroutine come in [W/20, W/2), CPU in [W/20, W). A CPU profile holds the app's only transfer for SECONDS, so
 * where it would begin inside the heap's window, heap and goroutine go just before it; none begins before that window,
 * or they would come after it. Both stay flat over the fleet: the pods whose CPU profile lies elsewhere fill the
 * heap's window evenly, and so do these. */
static int64_t first_due(const struct plan *plan, const struct plan_job *job, const char *seed, int64_t window)
{
    int64_t low = window / 20, high = window / 2;
    int64_t cpu = low + spread(seed, job->target, SALT_FIRST_CPU, window - low);
    if (job->type->kind == PROFILE_CPU)
        return plan->start_ms + cpu;
    if (job->type->kind != PROFILE_HEAP && job->type->kind != PROFILE_GOROUTINE)
        return grid_after(plan, job, plan->start_ms);
    if (cpu < high)
        return plan->start_ms + cpu;
    return plan->start_ms + low + spread(seed, job->target, SALT_FIRST_HEAP, high - low);
}

static void add_jobs(struct plan *plan, unsigned targets, const struct profile_types *types, int64_t now_ms)
{
    plan->start_ms = now_ms;
    plan->count = 0;
    for (unsigned t = 0; t < targets; t++) {
        for (unsigned i = 0; i < types->count; i++) {
            const struct profile_type *type = &types->items[i];
            plan->jobs[plan->count++] =
                (struct plan_job){.target = t, .type = type, .due_ms = now_ms, .seconds_ms = type->seconds_ms};
        }
    }
}

void plan_init(struct plan *plan, unsigned targets, const struct profile_types *types, const char *seed,
               int64_t first_within_ms, int64_t now_ms)
{
    int64_t window = window_ms(types, first_within_ms);
    add_jobs(plan, targets, types, now_ms);
    for (unsigned i = 0; i < plan->count; i++) {
        struct plan_job *job = &plan->jobs[i];
        uint64_t salt = SALT_PHASE + hash_text(job->type->name, 0);
        job->phase_ms = spread(seed, job->target, salt, job->type->every_ms);
        job->due_ms = first_due(plan, job, seed, window);
    }
}

void plan_init_once(struct plan *plan, unsigned targets, const struct profile_types *types, int64_t now_ms)
{
    add_jobs(plan, targets, types, now_ms);
}

struct plan_job *plan_next(struct plan *plan, int64_t now_ms, int64_t *ret_wait_ms)
{
    struct plan_job *first = NULL;
    for (unsigned i = 0; i < plan->count; i++) {
        struct plan_job *job = &plan->jobs[i];
        /* At the same time the short ones go before the CPU profile that would hold them up. */
        bool before = first == NULL || job->due_ms < first->due_ms ||
                      (job->due_ms == first->due_ms && job->seconds_ms < first->seconds_ms);
        if (before)
            first = job;
    }
    if (first != NULL && first->due_ms <= now_ms)
        return first;
    *ret_wait_ms = first == NULL || first->due_ms == never_ms ? -1 : first->due_ms - now_ms;
    return NULL;
}

/* Half an EVERY after the last run at the earliest, so that a late run or a start-up one is not doubled. */
static int64_t next_on_grid(const struct plan *plan, const struct plan_job *job, int64_t started_ms, int64_t now_ms)
{
    int64_t earliest = started_ms + job->type->every_ms / 2;
    return grid_after(plan, job, earliest > now_ms ? earliest : now_ms);
}

static int64_t soon(struct plan_job *job, int64_t now_ms)
{
    int64_t wait = PLAN_RETRY_MIN_MS;
    for (unsigned i = 0; i < job->soon_tries && wait < job->type->every_ms; i++)
        wait *= 2;
    job->soon_tries++;
    return now_ms + (wait < job->type->every_ms ? wait : job->type->every_ms);
}

static void shorten(struct plan_job *job)
{
    int64_t unit = profile_kinds[job->type->kind].fractions ? TYPE_SECONDS_MIN_MS : 1000;
    int64_t half = job->seconds_ms / 2 / unit * unit;
    job->seconds_ms = half > unit ? half : unit;
}

void plan_finish(struct plan *plan, struct plan_job *job, enum plan_outcome outcome, int64_t started_ms, int64_t now_ms)
{
    int64_t sleep = job->type->every_ms > PLAN_MISSING_EVERY_MS ? job->type->every_ms : PLAN_MISSING_EVERY_MS;
    if (outcome != PLAN_SOON)
        job->soon_tries = 0;
    switch (outcome) {
    case PLAN_DONE:
        job->due_ms = next_on_grid(plan, job, started_ms, now_ms);
        break;
    case PLAN_SOON:
        job->due_ms = soon(job, now_ms);
        break;
    case PLAN_SHORTER:
        shorten(job);
        job->due_ms = next_on_grid(plan, job, started_ms, now_ms);
        break;
    case PLAN_SLEEP:
        job->due_ms = now_ms + sleep;
        break;
    case PLAN_NEVER:
        job->due_ms = never_ms;
        break;
    }
}
