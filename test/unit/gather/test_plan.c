/* plan: a fleet spread flat, one job at a time, no burst and no double run whatever the clock does. */
#include "unit.h"

#include "common/gather/plan.h"

enum {
    PODS = 100000,
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    FIRST_WITHIN = 20 * SECOND,
    SLOTS_MAX = 600,
};

static struct profile_types make_types(const char *text)
{
    const struct profile_types_defaults defaults = {
        .interval_ms = MINUTE, .cpu_seconds_ms = 10 * SECOND, .grace_ms = -1};
    struct profile_types types;
    struct err err;
    if (profile_types_parse(span_of(text), &defaults, &types, NULL, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return types;
}

static struct plan_options usual(unsigned targets, const struct profile_types *types, const char *seed)
{
    return (struct plan_options){.targets = targets, .types = types, .seed = seed, .first_within_ms = FIRST_WITHIN,
                                 .missing_retry_ms = HOUR, .interval_ms = MINUTE, .sampling = PLAN_SAMPLING_ALL};
}

static void init(struct plan *plan, unsigned targets, const struct profile_types *types, const char *seed,
                 int64_t first_within_ms, int64_t now_ms)
{
    struct plan_options options = usual(targets, types, seed);
    options.first_within_ms = first_within_ms;
    plan_init(plan, &options, now_ms);
}

static void init_once(struct plan *plan, unsigned targets, const struct profile_types *types, int64_t now_ms)
{
    struct plan_options options = usual(targets, types, "uid");
    plan_init_once(plan, &options, now_ms);
}

/* The uid of the i-th pod of a fleet: version 4, but the same in each run. */
static const char *uid_of(unsigned i)
{
    static char uid[37];
    uint64_t x = (i + 1) * UINT64_C(0x9E3779B97F4A7C15), y;
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    y = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    snprintf(uid, sizeof(uid), "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(x >> 32), (unsigned)(x & 0xffff),
             (unsigned)(y >> 52), (unsigned)(y >> 40 & 0xfff), (unsigned long long)(y & 0xffffffffffff));
    return uid;
}

struct slots {
    unsigned count;
    unsigned items[SLOTS_MAX];
};

static void add_to_slot(struct slots *slots, int64_t second)
{
    if (second < 0 || second >= slots->count)
        fail_msg("second %lld: expected 0 to %u", (long long)second, slots->count - 1);
    slots->items[second]++;
}

/* The busiest second in percent of the mean. */
static unsigned busiest(const struct slots *slots)
{
    unsigned sum = 0, most = 0;
    for (unsigned i = 0; i < slots->count; i++) {
        sum += slots->items[i];
        most = slots->items[i] > most ? slots->items[i] : most;
    }
    return (unsigned)((uint64_t)most * slots->count * 100 / sum);
}

static void expect_flat(const char *what, const struct slots *slots)
{
    if (busiest(slots) > 110)
        fail_msg("%s: the busiest of %u seconds has %u %% of the mean, expected at most 110", what, slots->count,
                 busiest(slots));
}

static struct plan_job *job_of(struct plan *plan, const char *name)
{
    for (unsigned i = 0; i < plan->count; i++) {
        if (strcmp(plan->jobs[i].type->name, name) == 0)
            return &plan->jobs[i];
    }
    fail_msg("no job %s", name);
    return &plan->jobs[0];
}

static int64_t next_wait(struct plan *plan, int64_t now_ms)
{
    int64_t wait_ms = -2;
    if (plan_next(plan, now_ms, &wait_ms) != NULL)
        fail_msg("a job is due at %lld", (long long)now_ms);
    return wait_ms;
}

/* ---- a fleet ---- */

/* All pods start in one second, as after a node pool came back. 1,667 of them a second on the grid, so that chance
 * stays small. */
static void grid_of_a_fleet_is_flat(void **state)
{
    (void)state;
    static const struct {
        const char *types, *name;
        unsigned pods, seconds;
    } rows[] = {
        {"cpu", "cpu", PODS, 60},
        {"cpu,heap:1m,goroutine:1m", "heap", PODS, 60},
        {"cpu,heap:1m,goroutine:1m", "goroutine", PODS, 60},
        {"block:1m", "block", PODS, 60},
        {"mutex:1m", "mutex", PODS, 60},
        {"heap", "heap", 5 * PODS, 300},
    };
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct profile_types types = make_types(rows[r].types);
        struct slots slots = {.count = rows[r].seconds};
        for (unsigned i = 0; i < rows[r].pods; i++) {
            struct plan plan;
            init(&plan, 1, &types, uid_of(i), FIRST_WITHIN, 5000);
            struct plan_job *job = job_of(&plan, rows[r].name);
            assert_in_range(job->phase_ms, 0, job->type->every_ms - 1);
            add_to_slot(&slots, job->phase_ms / SECOND);
        }
        expect_flat(rows[r].types, &slots);
    }
}

/* All of a pod's types at their default EVERY, together: what the collector sees of 100,000 pods in each second of five
 * minutes; and the same for two targets a pod. */
static void load_of_all_types_together_is_flat(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,goroutine,block,mutex");
    for (unsigned targets = 1; targets <= 2; targets++) {
        struct slots slots = {.count = 300};
        for (unsigned i = 0; i < PODS; i++) {
            struct plan plan;
            init(&plan, targets, &types, uid_of(i), FIRST_WITHIN, 0);
            for (unsigned j = 0; j < plan.count; j++) {
                int64_t every = plan.jobs[j].type->every_ms;
                for (int64_t at = plan.jobs[j].phase_ms; at < 5 * MINUTE; at += every)
                    add_to_slot(&slots, at / SECOND);
            }
        }
        expect_flat("all types", &slots);
    }
}

static void grids_of_the_types_are_independent(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap:1m");
    struct slots apart = {.count = 60};
    for (unsigned i = 0; i < PODS; i++) {
        struct plan plan;
        init(&plan, 1, &types, uid_of(i), FIRST_WITHIN, 0);
        int64_t gap = plan.jobs[0].phase_ms - plan.jobs[1].phase_ms;
        add_to_slot(&apart, (gap + MINUTE) % MINUTE / SECOND);
    }
    expect_flat("cpu against heap", &apart);
}

/* How long the app takes for each: a heap profile of a small app 2 ms. */
static int64_t duration_of(const struct plan_job *job)
{
    return job->seconds_ms > 0 ? job->seconds_ms + 50 : 5;
}

struct fleet {
    struct slots first_heap, first_goroutine, first_cpu; /* by second after start */
    struct slots cpu;                                    /* of the steady state */
    struct slots heap;
    int64_t last_first_heap_ms, last_first_cpu_ms;
};

static void note_first(struct fleet *fleet, const struct plan_job *job, int64_t at_ms)
{
    if (job->type->kind == PROFILE_HEAP) {
        add_to_slot(&fleet->first_heap, at_ms / SECOND - 1);
        fleet->last_first_heap_ms = at_ms > fleet->last_first_heap_ms ? at_ms : fleet->last_first_heap_ms;
    } else if (job->type->kind == PROFILE_GOROUTINE) {
        add_to_slot(&fleet->first_goroutine, at_ms / SECOND - 1);
    } else if (job->type->kind == PROFILE_CPU) {
        add_to_slot(&fleet->first_cpu, at_ms / SECOND);
        fleet->last_first_cpu_ms = at_ms > fleet->last_first_cpu_ms ? at_ms : fleet->last_first_cpu_ms;
    }
}

/* Runs one pod until `until_ms` with a clock of its own, and checks what holds for every pod. */
static void live(struct fleet *fleet, const struct profile_types *types, const char *uid, int64_t until_ms)
{
    struct plan plan;
    int64_t now_ms = 0, wait_ms = 0, last_ms[PROFILE_TYPES_MAX];
    bool ran[PROFILE_TYPES_MAX] = {false};
    init(&plan, 1, types, uid, FIRST_WITHIN, 0);
    while (now_ms < until_ms) {
        struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
        if (job == NULL) {
            assert_true(wait_ms > 0);
            now_ms += wait_ms;
            continue;
        }
        size_t i = (size_t)(job - plan.jobs);
        int64_t every = job->type->every_ms;
        if (!ran[i])
            note_first(fleet, job, now_ms);
        else if (now_ms - last_ms[i] < every / 2 || now_ms - last_ms[i] > every + every / 2 + 11 * SECOND)
            fail_msg("%s: %s again after %lld ms", uid, job->type->name, (long long)(now_ms - last_ms[i]));
        if (ran[i] && job->type->kind == PROFILE_CPU && now_ms >= 2 * MINUTE && now_ms < 8 * MINUTE)
            add_to_slot(&fleet->cpu, now_ms / SECOND - 120);
        if (ran[i] && job->type->kind == PROFILE_HEAP)
            add_to_slot(&fleet->heap, now_ms / SECOND % 60);
        ran[i] = true;
        last_ms[i] = now_ms;
        now_ms += duration_of(job);
        plan_finish(&plan, job, PLAN_DONE, last_ms[i], now_ms);
    }
    for (unsigned i = 0; i < plan.count; i++)
        assert_true(ran[i]);
}

/* 100,000 pods started in one second, each running for ten minutes: what they do, not what was planned. */
static void fleet_that_starts_in_one_second_stays_flat(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap:2m,goroutine:2m");
    struct fleet fleet = {.first_heap = {.count = 9}, .first_goroutine = {.count = 10}, .first_cpu = {.count = 20},
                          .cpu = {.count = 360}, .heap = {.count = 60}};
    for (unsigned i = 0; i < PODS; i++)
        live(&fleet, &types, uid_of(i), 10 * MINUTE);
    expect_flat("first heap", &fleet.first_heap);
    expect_flat("first cpu", &fleet.first_cpu);
    expect_flat("cpu", &fleet.cpu);
    expect_flat("heap", &fleet.heap);
    /* the goroutine profile follows the heap's at once */
    fleet.first_goroutine.items[8] += fleet.first_goroutine.items[9];
    fleet.first_goroutine.count = 9;
    expect_flat("first goroutine", &fleet.first_goroutine);
    assert_in_range(fleet.last_first_heap_ms, 9 * SECOND, 10 * SECOND);
    assert_in_range(fleet.last_first_cpu_ms, 19 * SECOND, 20 * SECOND + 10);
}

static void short_intervals_shrink_the_start_up(void **state)
{
    (void)state;
    static const struct {
        const char *types;
        int64_t first_within_ms, window_ms;
    } rows[] = {
        {"cpu:2s=1s,heap:10s", 20000, 2000}, {"heap:1s", 20000, 1000}, {"cpu", 1000, 1000}, {"cpu", 3600000, 60000}};
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct profile_types types = make_types(rows[r].types);
        for (unsigned i = 0; i < 1000; i++) {
            struct plan plan;
            init(&plan, 1, &types, uid_of(i), rows[r].first_within_ms, 77);
            for (unsigned j = 0; j < plan.count; j++)
                assert_in_range(plan.jobs[j].due_ms - 77, rows[r].window_ms / 20, rows[r].window_ms - 1);
        }
    }
}

static void plan_follows_from_the_seed_and_not_from_the_order_of_types(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,block"), turned = make_types("block,heap,cpu");
    struct plan plan, again, other, reordered;
    unsigned same = 0;
    init(&plan, 2, &types, "uid-1", FIRST_WITHIN, 0);
    init(&again, 2, &types, "uid-1", FIRST_WITHIN, 0);
    init(&other, 2, &types, "uid-2", FIRST_WITHIN, 0);
    init(&reordered, 2, &turned, "uid-1", FIRST_WITHIN, 0);
    assert_int_equal(6, plan.count);
    for (unsigned i = 0; i < plan.count; i++) {
        assert_int_equal(plan.jobs[i].due_ms, again.jobs[i].due_ms);
        assert_int_equal(plan.jobs[i].phase_ms, again.jobs[i].phase_ms);
        same += plan.jobs[i].phase_ms == other.jobs[i].phase_ms ? 1 : 0;
    }
    assert_in_range(same, 0, 1);
    for (unsigned t = 0; t < 2; t++)
        assert_int_equal(plan.jobs[t * 3].phase_ms, reordered.jobs[t * 3 + 2].phase_ms);
    assert_true(plan.jobs[0].phase_ms != plan.jobs[3].phase_ms); /* the two targets */
}

/* ---- one pod ---- */

static void of_two_due_jobs_the_older_goes_first(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,goroutine");
    struct plan plan;
    int64_t wait_ms;
    init_once(&plan, 1, &types, 1000);
    assert_string_equal("heap", plan_next(&plan, 1000, &wait_ms)->type->name); /* the short ones before cpu */
    plan.jobs[0].due_ms = 900;
    assert_string_equal("cpu", plan_next(&plan, 1000, &wait_ms)->type->name);
    plan.jobs[2].due_ms = 899;
    assert_string_equal("goroutine", plan_next(&plan, 1000, &wait_ms)->type->name);
    plan.jobs[0].due_ms = plan.jobs[1].due_ms = 1500;
    plan.jobs[2].due_ms = 1300;
    assert_int_equal(300, next_wait(&plan, 1000));
    assert_string_equal("goroutine", plan_next(&plan, 1300, &wait_ms)->type->name);
}

static void once_takes_each_job_once(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,goroutine,block,mutex");
    struct plan plan;
    int64_t wait_ms = 0, now_ms = 5000;
    bool seen[PLAN_JOBS_MAX] = {false};
    init_once(&plan, 3, &types, now_ms);
    for (unsigned i = 0; i < 15; i++) {
        struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
        assert_non_null(job);
        assert_false(seen[job - plan.jobs]);
        seen[job - plan.jobs] = true;
        now_ms += duration_of(job);
        plan_finish(&plan, job, PLAN_NEVER, now_ms, now_ms);
    }
    assert_int_equal(-1, next_wait(&plan, now_ms));
    assert_int_equal(-1, next_wait(&plan, INT64_MAX - 1));
}

static void the_most_jobs_fit(void **state)
{
    (void)state;
    struct profile_types types = {.count = PROFILE_TYPES_MAX};
    for (unsigned i = 0; i < PROFILE_TYPES_MAX; i++) {
        types.items[i] = (struct profile_type){.kind = PROFILE_OTHER, .every_ms = MINUTE};
        snprintf(types.items[i].name, sizeof(types.items[i].name), "other/%u", i);
    }
    struct plan plan;
    init(&plan, TARGETS_MAX, &types, "uid", FIRST_WITHIN, 0);
    assert_int_equal(PLAN_JOBS_MAX, plan.count);
}

/* The grid is start + phase + k * EVERY, also after the run that came late. */
static void expect_on_grid(const struct plan *plan, const struct plan_job *job)
{
    int64_t off = job->due_ms - plan->start_ms - job->phase_ms;
    assert_true(off >= 0 && off % job->type->every_ms == 0);
}

/* A machine that slept, a loop that was held up: whatever is overdue runs once, one after the other, and then the grid
 * goes on as before. */
static void late_wake_ups_neither_burst_nor_double(void **state)
{
    (void)state;
    static const int64_t naps[] = {
        1, 999, 10 * SECOND, 31 * SECOND, MINUTE, 61 * SECOND, 10 * MINUTE, 7 * HOUR, 30 * 24 * (int64_t)HOUR};
    struct profile_types types = make_types("cpu,heap,goroutine,block,mutex");
    for (unsigned pod = 0; pod < 200; pod++) {
        struct plan plan;
        int64_t now_ms = 1000, wait_ms = 0, last_ms[PROFILE_TYPES_MAX];
        init(&plan, 1, &types, uid_of(pod), FIRST_WITHIN, now_ms);
        for (unsigned i = 0; i < PROFILE_TYPES_MAX; i++)
            last_ms[i] = -HOUR;
        for (size_t n = 0; n < COUNT_OF(naps); n++) {
            now_ms += naps[n];
            unsigned runs[PROFILE_TYPES_MAX] = {0};
            struct plan_job *job;
            while ((job = plan_next(&plan, now_ms, &wait_ms)) != NULL) {
                size_t i = (size_t)(job - plan.jobs);
                if (++runs[i] > 1)
                    fail_msg("pod %u: %s ran twice after a nap of %lld ms", pod, job->type->name, (long long)naps[n]);
                if (now_ms - last_ms[i] < job->type->every_ms / 2)
                    fail_msg("pod %u: %s ran again after %lld ms", pod, job->type->name,
                             (long long)(now_ms - last_ms[i]));
                last_ms[i] = now_ms;
                now_ms += duration_of(job);
                plan_finish(&plan, job, PLAN_DONE, last_ms[i], now_ms);
                expect_on_grid(&plan, job);
                assert_true(job->due_ms >= now_ms &&
                            job->due_ms - last_ms[i] <= job->type->every_ms * 3 / 2 + 11 * SECOND);
            }
            assert_true(wait_ms > 0);
        }
    }
}

/* Asked twice at the same time it says the same, and a clock that stands still makes nothing due. */
static void asking_changes_nothing(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap");
    struct plan plan;
    int64_t wait_ms, due_ms[PLAN_JOBS_MAX];
    init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    for (unsigned i = 0; i < plan.count; i++)
        due_ms[i] = plan.jobs[i].due_ms;
    for (int64_t now_ms = 0; now_ms < MINUTE; now_ms += 500)
        plan_next(&plan, now_ms, &wait_ms);
    for (unsigned i = 0; i < plan.count; i++)
        assert_int_equal(due_ms[i], plan.jobs[i].due_ms);
}

/* The waits of a job that fails again and again, from its start on: 1 s, 2 s, … but never past a point of its grid. */
static void expect_waits(enum plan_outcome outcome, bool anew)
{
    struct profile_types types = make_types("cpu");
    for (unsigned pod = 0; pod < 100; pod++) {
        struct plan plan;
        init(&plan, 1, &types, uid_of(pod), FIRST_WITHIN, 0);
        struct plan_job *job = &plan.jobs[0];
        int64_t now_ms = job->due_ms, wait = SECOND;
        unsigned on_grid = 0;
        for (unsigned i = 0; i < 40; i++) {
            int64_t first = job->phase_ms, ended_ms = now_ms + 5;
            int64_t point = ended_ms < first ? first : first + (ended_ms - first) / MINUTE * MINUTE + MINUTE;
            bool at_point = ended_ms + wait >= point;
            plan_finish(&plan, job, outcome, now_ms, ended_ms);
            if (job->due_ms != (at_point ? point : ended_ms + wait))
                fail_msg("pod %u, try %u: due %lld after %lld, the grid's next is %lld", pod, i, (long long)job->due_ms,
                         (long long)ended_ms, (long long)point);
            wait = at_point && anew ? SECOND : wait < MINUTE ? wait * 2 : wait;
            on_grid += at_point ? 1 : 0;
            now_ms = job->due_ms;
        }
        assert_in_range(on_grid, anew ? 5 : 33, anew ? 8 : 40);
        plan_finish(&plan, job, PLAN_DONE, now_ms, now_ms + 10000);
        expect_on_grid(&plan, job);
        assert_int_equal(0, job->soon_tries);
    }
}

/* Six tries in each minute: whoever holds the profiler may let go of it at any time. */
static void busy_is_tried_again_inside_each_interval(void **state)
{
    (void)state;
    expect_waits(PLAN_BUSY, true);
}

/* An app that is down is asked in growing waits and in the end on its grid, where a fleet is spread. */
static void refused_is_tried_again_in_growing_waits_and_then_on_the_grid(void **state)
{
    (void)state;
    expect_waits(PLAN_SOON, false);
}

static void tries_never_wait_longer_than_the_interval(void **state)
{
    (void)state;
    static const enum plan_outcome outcomes[] = {PLAN_SOON, PLAN_BUSY};
    struct profile_types types = make_types("heap:1s,goroutine:24h");
    for (unsigned n = 0; n < 2 * COUNT_OF(outcomes); n++) {
        struct plan plan;
        init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
        struct plan_job *job = &plan.jobs[n % 2];
        int64_t now_ms = job->due_ms;
        for (int i = 0; i < 100; i++) {
            plan_finish(&plan, job, outcomes[n / 2], now_ms, now_ms);
            assert_in_range(job->due_ms - now_ms, 1, job->type->every_ms);
            now_ms = job->due_ms;
        }
    }
}

static void too_long_halves(void **state)
{
    (void)state;
    static const int64_t cpu[] = {5000, 2000, 1000, 1000};
    struct profile_types types = make_types("cpu");
    struct plan plan;
    init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    struct plan_job *job = &plan.jobs[0];
    int64_t now_ms = job->due_ms;
    for (size_t i = 0; i < COUNT_OF(cpu); i++) {
        plan_finish(&plan, job, PLAN_SHORTER, now_ms, now_ms + 10000);
        assert_int_equal(cpu[i], job->seconds_ms);
        expect_on_grid(&plan, job);
        assert_true(job->due_ms - now_ms >= job->type->every_ms / 2);
        now_ms = job->due_ms;
    }
    static const enum plan_outcome no_reason[] = {PLAN_DONE, PLAN_SOON, PLAN_BUSY, PLAN_SLEEP};
    for (size_t i = 0; i < COUNT_OF(no_reason); i++) {
        plan_finish(&plan, job, no_reason[i], now_ms, now_ms + 1000);
        assert_int_equal(1000, job->seconds_ms);
    }
    assert_int_equal(10000, job->type->seconds_ms);

    const struct profile_type trace = {.kind = PROFILE_TRACE, .name = "trace", .every_ms = HOUR, .seconds_ms = 1000};
    static const int64_t fractions[] = {500, 200, 100, 100};
    plan.jobs[0] = (struct plan_job){.type = &trace, .seconds_ms = 1000};
    for (size_t i = 0; i < COUNT_OF(fractions); i++) {
        plan_finish(&plan, job, PLAN_SHORTER, 0, 0);
        assert_int_equal(fractions[i], job->seconds_ms);
    }
}

/* Letters for what the app made of a run. */
static enum plan_outcome outcome_of(char letter)
{
    static const enum plan_outcome outcomes[] = {
        ['s'] = PLAN_SHORTER, ['g'] = PLAN_GOOD, ['b'] = PLAN_BUSY, ['d'] = PLAN_DONE};
    return outcomes[(unsigned char)letter];
}

/* One letter and one number a run: what it was asked for. */
static void good_runs_take_halvings_back(void **state)
{
    (void)state;
    static const struct {
        const char *what, *types, *runs;
        int64_t asked[16];
    } rows[] = {
        {"a bad moment", "cpu:1m=10s", "sssggggg", {10000, 5000, 2000, 1000, 2000, 5000, 10000, 10000}},
        {"no reason", "cpu:1m=10s", "sssddbbg", {10000, 5000, 2000, 1000, 1000, 1000, 1000, 1000}},
        {"a limit of five", "cpu:1m=10s", "sgsggsggggs",
         {10000, 5000, 10000, 5000, 5000, 10000, 5000, 5000, 5000, 5000, 10000}},
        {"bad runs between", "cpu:1m=10s", "sgsgdg", {10000, 5000, 10000, 5000, 5000, 5000}},
        {"its limit is lifted", "cpu:1m=10s", "sgsgggsg", {10000, 5000, 10000, 5000, 5000, 10000, 10000, 5000}},
        {"at the shortest", "cpu:1m=10s", "sssssggg", {10000, 5000, 2000, 1000, 1000, 1000, 2000, 5000}},
        {"a setting of one", "cpu:1m=1s", "ssgg", {1000, 1000, 1000, 1000}},
        {"fractions", "trace:1h=1", "sssggg", {1000, 500, 200, 100, 200, 500}},
        {"no length at all", "heap:1m", "gsg", {0, 0, 0}},
    };
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct profile_types types = make_types(rows[r].types);
        struct plan plan;
        init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
        struct plan_job *job = &plan.jobs[0];
        for (unsigned i = 0; rows[r].runs[i] != '\0'; i++) {
            expect_number(rows[r].what, rows[r].asked[i], job->seconds_ms);
            plan_finish(&plan, job, outcome_of(rows[r].runs[i]), job->due_ms, job->due_ms + 1000);
        }
    }
}

/* The app's own limit is 5 s: of a thousand runs few are lost to finding out whether it still is. */
static void longer_ones_are_tried_ever_more_seldom(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu:1m=10s");
    struct plan plan;
    unsigned lost = 0, last = 0, longest = 0;
    init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    struct plan_job *job = &plan.jobs[0];
    for (unsigned run = 0; run < 1000; run++) {
        bool too_long = job->seconds_ms > 5000;
        plan_finish(&plan, job, too_long ? PLAN_SHORTER : PLAN_GOOD, job->due_ms, job->due_ms + 1000);
        longest = too_long && run - last > longest ? run - last : longest;
        last = too_long ? run : last;
        lost += too_long ? 1 : 0;
    }
    assert_int_equal(PLAN_PATIENCE_MAX + 2, longest);
    assert_in_range(lost, 7, 1000 / (PLAN_PATIENCE_MAX + 1) + 7);
}

static void missing_type_sleeps_as_long_as_set_or_its_every(void **state)
{
    (void)state;
    struct profile_types types = make_types("heap:5m,block:24h,cpu");
    struct plan plan;
    int64_t wait_ms;
    init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    plan_finish(&plan, &plan.jobs[0], PLAN_SLEEP, 3000, 4000);
    assert_int_equal(4000 + HOUR, plan.jobs[0].due_ms);
    plan_finish(&plan, &plan.jobs[1], PLAN_SLEEP, 3000, 4000);
    assert_int_equal(4000 + 24 * HOUR, plan.jobs[1].due_ms);
    assert_string_equal("cpu", plan_next(&plan, 30000, &wait_ms)->type->name); /* the rest goes on */
    plan_finish(&plan, &plan.jobs[0], PLAN_DONE, 4000 + HOUR, 4100 + HOUR);
    expect_on_grid(&plan, &plan.jobs[0]);

    struct plan_options options = usual(1, &types, "uid");
    options.missing_retry_ms = 7 * MINUTE;
    plan_init(&plan, &options, 0);
    plan_finish(&plan, &plan.jobs[0], PLAN_SLEEP, 3000, 4000);
    assert_int_equal(4000 + 7 * MINUTE, plan.jobs[0].due_ms);
}

static void last_profiles_are_heap_and_goroutine_of_each_target_once(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,trace:1h=1s,goroutine,block,allocs,other/x");
    struct plan plan;
    struct plan_job *job;
    int64_t wait_ms = 0, now_ms = HOUR + 1;
    unsigned taken[2][2] = {{0}};
    init(&plan, 2, &types, "uid", FIRST_WITHIN, 0);
    plan_take_last(&plan, now_ms);
    while ((job = plan_next(&plan, now_ms, &wait_ms)) != NULL) {
        assert_true(job->type->kind == PROFILE_HEAP || job->type->kind == PROFILE_GOROUTINE);
        taken[job->target][job->type->kind == PROFILE_HEAP]++;
        now_ms += 5;
        plan_finish(&plan, job, PLAN_NEVER, now_ms, now_ms);
    }
    assert_int_equal(-1, wait_ms);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(1, taken[i / 2][i % 2]);

    struct profile_types none = make_types("cpu,block");
    init(&plan, 1, &none, "uid", FIRST_WITHIN, 0);
    plan_take_last(&plan, now_ms);
    assert_null(plan_next(&plan, now_ms, &wait_ms));
    assert_int_equal(-1, wait_ms);
}

/* CPU and trace of one target, and of several: one job at a time, and never one of them while the other runs. */
static void cpu_and_trace_never_overlap(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu:20s=8s,trace:15s=3s,heap:10s");
    struct plan plan;
    int64_t now_ms = 0, wait_ms = 0, free_ms = 0;
    unsigned runs[3] = {0};
    init(&plan, 3, &types, "uid", FIRST_WITHIN, 0);
    while (now_ms < HOUR) {
        struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
        if (job == NULL) {
            now_ms += wait_ms;
            continue;
        }
        assert_true(now_ms >= free_ms);
        int64_t started_ms = now_ms;
        now_ms = free_ms = now_ms + duration_of(job);
        plan_finish(&plan, job, PLAN_DONE, started_ms, now_ms);
        runs[(job - plan.jobs) % 3]++;
    }
    for (unsigned i = 0; i < 3; i++) /* also where they are more than fit, each gets its turn */
        assert_true(runs[i] > 100);
}

/* ---- sampling ---- */

enum { INTERVALS = 40 };

static struct plan sampled_plan(const struct profile_types *types, const char *seed, unsigned sampling)
{
    struct plan plan;
    struct plan_options options = usual(1, types, seed);
    options.sampling = sampling;
    plan_init(&plan, &options, 0);
    return plan;
}

/* In each interval the share of the pods, within 1 %; and the chosen ones of an interval are not those of another. */
static void sampling_takes_its_share_of_the_pods_in_each_interval(void **state)
{
    (void)state;
    static const unsigned shares[] = {1, 100, 1000, 2500, 5000, 9900, PLAN_SAMPLING_ALL};
    struct profile_types types = make_types("cpu");
    for (size_t s = 0; s < COUNT_OF(shares); s++) {
        unsigned chosen[INTERVALS] = {0}, both[INTERVALS] = {0};
        for (unsigned i = 0; i < PODS; i++) {
            struct plan plan = sampled_plan(&types, uid_of(i), shares[s]);
            bool before = plan_is_sampled(&plan, 0);
            for (unsigned n = 0; n < INTERVALS; n++) {
                bool is = plan_is_sampled(&plan, n * (int64_t)MINUTE + i % MINUTE);
                chosen[n] += is ? 1 : 0;
                both[n] += is && before ? 1 : 0;
                before = is;
            }
        }
        double share = shares[s] / (double)PLAN_SAMPLING_ALL;
        for (unsigned n = 0; n < INTERVALS; n++) {
            double got = chosen[n] / (double)PODS, again = both[n] / (double)PODS;
            if (got < share - 0.01 || got > share + 0.01)
                fail_msg("interval %u: expected %.4f of the pods, got %.4f", n, share, got);
            if (n > 0 && (again < share * share - 0.01 || again > share * share + 0.01))
                fail_msg("intervals %u and %u: expected %.4f of the pods in both, got %.4f", n - 1, n, share * share,
                         again);
        }
    }
}

/* A fleet of two versions is sampled by one function: these bits never change. */
static void sampling_is_the_same_for_ever(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu");
    struct plan plan = sampled_plan(&types, "2f1c6b1e-6a53-4f0e-9a4c-0d6f7c5f3e11", 2500);
    uint64_t chosen = 0;
    for (unsigned n = 0; n < 64; n++)
        chosen |= (uint64_t)plan_is_sampled(&plan, n * (int64_t)MINUTE + 59999) << n;
    assert_true(chosen == UINT64_C(0x62520E0889500888));
}

/* Over many intervals each pod has its share: nobody is left out, nobody pays for all. */
static void sampling_gives_each_pod_its_turn(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    struct profile_types types = make_types("cpu");
    for (unsigned i = 0; i < 300; i++) {
        struct plan plan = sampled_plan(&types, uid_of(i), 1000);
        unsigned chosen = 0;
        for (unsigned n = 0; n < MANY; n++)
            chosen += plan_is_sampled(&plan, n * (int64_t)MINUTE) ? 1 : 0;
        if (chosen < MANY / 10 * 8 / 10 || chosen > MANY / 10 * 12 / 10)
            fail_msg("pod %u: expected about %d of %d intervals, got %u", i, MANY / 10, MANY, chosen);
    }
}

/* Lives a pod's hours: every run but the first of cpu, heap and goroutine is in an interval that is sampled, and an
 * EVERY of several intervals keeps its share, too. */
static void sampled_pods_run_only_in_their_intervals(void **state)
{
    (void)state;
    enum { PODS_HERE = 4000, SPAN = 60 * MINUTE };
    struct profile_types types = make_types("cpu,heap:5m,goroutine:5m,block:5m");
    unsigned runs[4] = {0};
    for (unsigned i = 0; i < PODS_HERE; i++) {
        struct plan plan = sampled_plan(&types, uid_of(i), 2000);
        int64_t now_ms = 0, wait_ms = 0;
        bool first[4] = {true, true, true, false};
        while (now_ms < SPAN) {
            struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
            if (job == NULL) {
                assert_true(wait_ms > 0);
                now_ms += wait_ms;
                continue;
            }
            size_t j = (size_t)(job - plan.jobs);
            assert_true(first[j] || plan_is_sampled(&plan, job->due_ms));
            runs[j] += first[j] ? 0 : 1;
            first[j] = false;
            int64_t started_ms = now_ms;
            now_ms += duration_of(job);
            plan_finish(&plan, job, PLAN_DONE, started_ms, now_ms);
        }
        for (unsigned j = 0; j < 3; j++)
            assert_false(first[j]); /* the start-up counts as sampled */
    }
    /* 12 points of an hour for cpu at 20 %, 2.4 for the others, less what the start-up replaces */
    assert_in_range(runs[0], PODS_HERE * 115 / 10, PODS_HERE * 125 / 10);
    for (unsigned j = 1; j < 4; j++)
        assert_in_range(runs[j], PODS_HERE * 215 / 100, PODS_HERE * 250 / 100);
}

static void load_of_the_sampled_half_is_flat(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu");
    for (unsigned n = 1; n <= 3; n++) {
        struct slots slots = {.count = 60};
        for (unsigned i = 0; i < PODS; i++) {
            struct plan plan = sampled_plan(&types, uid_of(i), 5000);
            int64_t at = n * (int64_t)MINUTE + plan.jobs[0].phase_ms;
            if (plan_is_sampled(&plan, at))
                add_to_slot(&slots, at / SECOND % 60);
        }
        expect_flat("half of the pods", &slots);
    }
}

/* One pod in ten thousand, every second: thousands of points are left out without looking at them all at once, and
 * no more than a look or two is needed at a time. */
static void smallest_share_neither_loops_nor_starves(void **state)
{
    (void)state;
    struct profile_types types = make_types("heap:1s");
    struct plan_options options = usual(1, &types, "uid");
    options.sampling = 1;
    options.interval_ms = SECOND;
    struct plan plan;
    unsigned runs = 0, turns = 0;
    int64_t now_ms = 0, wait_ms = 0, span_ms = 10 * 24 * (int64_t)HOUR;
    plan_init(&plan, &options, 0);
    for (; now_ms < span_ms; turns++) {
        struct plan_job *job = plan_next(&plan, now_ms, &wait_ms);
        if (job == NULL) {
            assert_in_range(wait_ms, 1, (PLAN_LOOK_MAX + 2) * (int64_t)SECOND);
            now_ms += wait_ms;
            continue;
        }
        assert_true(runs == 0 || plan_is_sampled(&plan, job->due_ms));
        runs++;
        plan_finish(&plan, job, PLAN_DONE, now_ms, now_ms + 5);
    }
    assert_in_range(runs, 50, 130); /* 86 of 864,000 */
    assert_in_range(turns, 200, 600);
}

/* A nap of hours, then at most one run each, on the grid again. */
static void sampled_pod_that_slept_does_not_burst(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap,goroutine,block,mutex");
    for (unsigned pod = 0; pod < 200; pod++) {
        struct plan plan = sampled_plan(&types, uid_of(pod), 100);
        int64_t now_ms = 0, wait_ms = 0;
        for (unsigned nap = 0; nap < 20; nap++) {
            unsigned runs[PROFILE_TYPES_MAX] = {0};
            struct plan_job *job;
            now_ms += 9 * HOUR + pod;
            while ((job = plan_next(&plan, now_ms, &wait_ms)) != NULL) {
                assert_int_equal(1, ++runs[job - plan.jobs]);
                int64_t started_ms = now_ms;
                now_ms += duration_of(job);
                plan_finish(&plan, job, PLAN_DONE, started_ms, now_ms);
                expect_on_grid(&plan, job);
            }
            assert_true(wait_ms > 0);
        }
    }
}

static void busy_in_a_sampled_interval_is_made_up_for(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu");
    struct plan plan = sampled_plan(&types, "uid", 100);
    int64_t now_ms = plan.jobs[0].due_ms;
    plan_finish(&plan, &plan.jobs[0], PLAN_BUSY, now_ms, now_ms + 5);
    assert_int_equal(now_ms + 5 + SECOND, plan.jobs[0].due_ms);
    assert_false(plan.jobs[0].look);
}

/* An app that is down, or being profiled by somebody, is asked again until the next point of the grid, and then when
 * the pod is sampled: one pod in a hundred goes on to be one in a hundred. */
static void tries_again_stay_with_the_sampled_point(void **state)
{
    (void)state;
    static const enum plan_outcome outcomes[] = {PLAN_SOON, PLAN_BUSY};
    struct profile_types types = make_types("cpu");
    for (unsigned n = 0; n < 100 * COUNT_OF(outcomes); n++) {
        struct plan plan = sampled_plan(&types, uid_of(n), 100);
        struct plan_job *job = &plan.jobs[0];
        int64_t now_ms = job->due_ms, wait_ms = 0, since = job->phase_ms;
        plan_finish(&plan, job, PLAN_DONE, now_ms, now_ms);
        while (now_ms < 10 * (int64_t)HOUR) {
            if (plan_next(&plan, now_ms, &wait_ms) == NULL) {
                now_ms += wait_ms;
                continue;
            }
            int64_t point = now_ms - (now_ms - since) % (int64_t)MINUTE;
            assert_true(plan_is_sampled(&plan, point));
            plan_finish(&plan, job, outcomes[n % 2], now_ms, now_ms);
        }
    }
}

/* The first profile is not up to chance: it is asked for until the app gives it. */
static void first_profile_of_a_sampled_pod_is_tried_until_it_is_there(void **state)
{
    (void)state;
    static const enum plan_outcome outcomes[] = {PLAN_SOON, PLAN_BUSY};
    struct profile_types types = make_types("cpu,heap");
    for (unsigned n = 0; n < 100 * COUNT_OF(outcomes); n++) {
        struct plan plan = sampled_plan(&types, uid_of(n), 1);
        struct plan_job *job = &plan.jobs[n / 2 % 2];
        int64_t now_ms = job->due_ms;
        while (now_ms < HOUR) {
            plan_finish(&plan, job, outcomes[n % 2], now_ms, now_ms);
            assert_false(job->look);
            assert_in_range(job->due_ms - now_ms, 1, job->type->every_ms);
            now_ms = job->due_ms;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_of_a_fleet_is_flat),
        cmocka_unit_test(load_of_all_types_together_is_flat),
        cmocka_unit_test(grids_of_the_types_are_independent),
        cmocka_unit_test(fleet_that_starts_in_one_second_stays_flat),
        cmocka_unit_test(short_intervals_shrink_the_start_up),
        cmocka_unit_test(plan_follows_from_the_seed_and_not_from_the_order_of_types),
        cmocka_unit_test(of_two_due_jobs_the_older_goes_first),
        cmocka_unit_test(once_takes_each_job_once),
        cmocka_unit_test(the_most_jobs_fit),
        cmocka_unit_test(late_wake_ups_neither_burst_nor_double),
        cmocka_unit_test(asking_changes_nothing),
        cmocka_unit_test(busy_is_tried_again_inside_each_interval),
        cmocka_unit_test(refused_is_tried_again_in_growing_waits_and_then_on_the_grid),
        cmocka_unit_test(tries_never_wait_longer_than_the_interval),
        cmocka_unit_test(too_long_halves),
        cmocka_unit_test(good_runs_take_halvings_back),
        cmocka_unit_test(longer_ones_are_tried_ever_more_seldom),
        cmocka_unit_test(missing_type_sleeps_as_long_as_set_or_its_every),
        cmocka_unit_test(last_profiles_are_heap_and_goroutine_of_each_target_once),
        cmocka_unit_test(cpu_and_trace_never_overlap),
        cmocka_unit_test(sampling_takes_its_share_of_the_pods_in_each_interval),
        cmocka_unit_test(sampling_is_the_same_for_ever),
        cmocka_unit_test(sampling_gives_each_pod_its_turn),
        cmocka_unit_test(sampled_pods_run_only_in_their_intervals),
        cmocka_unit_test(load_of_the_sampled_half_is_flat),
        cmocka_unit_test(smallest_share_neither_loops_nor_starves),
        cmocka_unit_test(sampled_pod_that_slept_does_not_burst),
        cmocka_unit_test(busy_in_a_sampled_interval_is_made_up_for),
        cmocka_unit_test(tries_again_stay_with_the_sampled_point),
        cmocka_unit_test(first_profile_of_a_sampled_pod_is_tried_until_it_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
