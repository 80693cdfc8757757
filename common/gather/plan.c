#include "common/gather/plan.h"

#include "common/base/hash.h"

#include <stddef.h>

/* Salts: one per thing that is spread, never changed (common/base/hash.h). */
enum {
    SALT_PHASE = 1,
    SALT_FIRST_CPU = 2,
    SALT_FIRST_HEAP = 3,
    SALT_TARGET = 1000,
};

/* Above all others, so that interval numbers have room behind it. */
static const uint64_t salt_sampling = UINT64_C(1) << 32;

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

bool plan_is_sampled(const struct plan *plan, int64_t time_ms)
{
    int64_t since_ms = time_ms > plan->start_ms ? time_ms - plan->start_ms : 0;
    uint64_t interval = (uint64_t)(since_ms / plan->options.interval_ms);
    uint64_t hash = hash_text(plan->options.seed, salt_sampling + interval);
    return hash_to_range(hash, PLAN_SAMPLING_ALL) < (int64_t)plan->options.sampling;
}

/* Sets the job to the first point of its grid at or after a time that is sampled. A share of 0.01 % may leave out
 * thousands of them: past PLAN_LOOK_MAX the search goes on when that time has come. */
static void put_on_grid(const struct plan *plan, struct plan_job *job, int64_t time_ms)
{
    int64_t at = grid_after(plan, job, time_ms);
    job->look = false;
    for (unsigned i = 0; plan->options.sampling < PLAN_SAMPLING_ALL && !plan_is_sampled(plan, at); i++) {
        job->look = i == PLAN_LOOK_MAX;
        if (job->look)
            break;
        at += job->type->every_ms;
    }
    job->due_ms = at;
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

/* Quick to take, and what even a short life leaves behind: at its beginning and at its end. */
static bool is_heap_or_goroutine(const struct plan_job *job)
{
    return job->type->kind == PROFILE_HEAP || job->type->kind == PROFILE_GOROUTINE;
}

/* Heap and goroutine come in [W/20, W/2), CPU in [W/20, W). A CPU profile holds the app's only transfer for SECONDS, so
 * where it would begin inside the heap's window, heap and goroutine go just before it; none begins before that window,
 * or they would come after it. Both stay flat over the fleet: the pods whose CPU profile lies elsewhere fill the
 * heap's window evenly, and so do these. */
static void set_first_due(const struct plan *plan, struct plan_job *job, int64_t window)
{
    const char *seed = plan->options.seed;
    int64_t low = window / 20, high = window / 2;
    int64_t cpu = low + spread(seed, job->target, SALT_FIRST_CPU, window - low);
    job->is_first = job->type->kind == PROFILE_CPU || is_heap_or_goroutine(job);
    if (job->type->kind == PROFILE_CPU)
        job->due_ms = plan->start_ms + cpu;
    else if (!job->is_first)
        put_on_grid(plan, job, plan->start_ms);
    else if (cpu < high)
        job->due_ms = plan->start_ms + cpu;
    else
        job->due_ms = plan->start_ms + low + spread(seed, job->target, SALT_FIRST_HEAP, high - low);
}

void plan_init_once(struct plan *plan, const struct plan_options *options, int64_t now_ms)
{
    plan->options = *options;
    plan->start_ms = now_ms;
    plan->count = 0;
    for (unsigned t = 0; t < options->targets; t++) {
        for (unsigned i = 0; i < options->types->count; i++) {
            const struct profile_type *type = &options->types->items[i];
            plan->jobs[plan->count++] = (struct plan_job){
                .target = t, .type = type, .due_ms = now_ms, .seconds_ms = type->seconds_ms, .is_first = true};
        }
    }
}

void plan_init(struct plan *plan, const struct plan_options *options, int64_t now_ms)
{
    plan_init_once(plan, options, now_ms);
    int64_t window = window_ms(options->types, options->first_within_ms);
    for (unsigned i = 0; i < plan->count; i++) {
        struct plan_job *job = &plan->jobs[i];
        uint64_t salt = SALT_PHASE + hash_text(job->type->name, 0);
        job->phase_ms = spread(options->seed, job->target, salt, job->type->every_ms);
        set_first_due(plan, job, window);
    }
}

void plan_take_last(struct plan *plan, int64_t now_ms)
{
    for (unsigned i = 0; i < plan->count; i++) {
        struct plan_job *job = &plan->jobs[i];
        job->due_ms = is_heap_or_goroutine(job) ? now_ms : plan_never_ms;
        job->look = false;
    }
}

/* At the same time the short ones go before the CPU profile that would hold them up. Where time may run out, CPU
 * profiles are worth more. */
static bool goes_before(const struct plan *plan, const struct plan_job *job, const struct plan_job *other)
{
    bool is_cpu = job->type->kind == PROFILE_CPU, other_is_cpu = other->type->kind == PROFILE_CPU;
    if (job->due_ms != other->due_ms)
        return job->due_ms < other->due_ms;
    if (plan->options.cpu_first && is_cpu != other_is_cpu)
        return is_cpu;
    return job->seconds_ms < other->seconds_ms;
}

/* The one that is due first. */
static struct plan_job *find_first(struct plan *plan)
{
    struct plan_job *first = NULL;
    for (unsigned i = 0; i < plan->count; i++) {
        struct plan_job *job = &plan->jobs[i];
        if (first == NULL || goes_before(plan, job, first))
            first = job;
    }
    return first;
}

struct plan_job *plan_next(struct plan *plan, int64_t now_ms, int64_t *ret_wait_ms)
{
    struct plan_job *first = find_first(plan);
    /* Each look moves a job past now: no more rounds than jobs. */
    while (first != NULL && first->due_ms <= now_ms && first->look) {
        put_on_grid(plan, first, now_ms + 1);
        first = find_first(plan);
    }
    if (first != NULL && first->due_ms <= now_ms)
        return first;
    *ret_wait_ms = first == NULL || first->due_ms == plan_never_ms ? -1 : first->due_ms - now_ms;
    return NULL;
}

/* Half an EVERY after the last run at the earliest, so that a late run or a start-up one is not doubled. */
static void put_next(const struct plan *plan, struct plan_job *job, int64_t started_ms, int64_t now_ms)
{
    int64_t earliest = started_ms + job->type->every_ms / 2;
    put_on_grid(plan, job, earliest > now_ms ? earliest : now_ms);
}

/* Waits of 1 s, 2 s, 4 s, … as long as they end before the next point of the grid, which is the next try then: a fleet
 * that was down together comes back spread. With sampling it is the next sampled one, but for the start-up. */
static void put_soon(const struct plan *plan, struct plan_job *job, bool anew, int64_t now_ms)
{
    int64_t wait = PLAN_RETRY_MIN_MS, point = grid_after(plan, job, now_ms + 1);
    for (unsigned i = 0; i < job->soon_tries && wait < job->type->every_ms; i++)
        wait *= 2;
    job->soon_tries++;
    job->look = false;
    job->due_ms = now_ms + wait < point ? now_ms + wait : point;
    if (job->due_ms < point)
        return;
    if (anew)
        job->soon_tries = 0;
    if (!job->is_first)
        put_on_grid(plan, job, point);
}

static void set_halvings(struct plan_job *job, unsigned halvings)
{
    int64_t unit = profile_kinds[job->type->kind].fractions ? PROFILE_TYPE_SECONDS_MIN_MS : 1000;
    job->seconds_ms = job->type->seconds_ms;
    job->good_runs = 0;
    job->halvings = 0;
    for (; job->halvings < halvings && job->seconds_ms > unit; job->halvings++) {
        int64_t half = job->seconds_ms / 2 / unit * unit;
        job->seconds_ms = half > unit ? half : unit;
    }
}

static void shorten(struct plan_job *job)
{
    if (job->is_longer && job->patience < PLAN_PATIENCE_MAX)
        job->patience = 2 * job->patience + 1;
    job->is_longer = false;
    set_halvings(job, job->halvings + 1);
}

/* What was too long may have been so for a moment only: a restart, a proxy. Where it is so each time, it is tried after
 * ever more good runs. */
static void lengthen(struct plan_job *job)
{
    job->is_longer = false;
    if (job->halvings == 0)
        job->patience = 0;
    else if (++job->good_runs > job->patience) {
        set_halvings(job, job->halvings - 1);
        job->is_longer = true;
    }
}

void plan_finish(struct plan *plan, struct plan_job *job, enum plan_outcome outcome, int64_t started_ms,
                 int64_t now_ms)
{
    int64_t every = job->type->every_ms, missing = plan->options.missing_retry_ms;
    if (outcome != PLAN_SOON && outcome != PLAN_BUSY) {
        job->soon_tries = 0;
        job->is_first = false;
    }
    switch (outcome) {
    case PLAN_GOOD:
        lengthen(job);
        put_next(plan, job, started_ms, now_ms);
        break;
    case PLAN_DONE:
        put_next(plan, job, started_ms, now_ms);
        break;
    case PLAN_SOON:
    case PLAN_BUSY:
        put_soon(plan, job, outcome == PLAN_BUSY, now_ms);
        break;
    case PLAN_SHORTER:
        shorten(job);
        put_next(plan, job, started_ms, now_ms);
        break;
    case PLAN_SLEEP:
        job->due_ms = now_ms + (missing > every ? missing : every);
        break;
    case PLAN_NEVER:
        job->due_ms = plan_never_ms;
        break;
    }
}
