/* plan: a fleet spread flat, one job at a time, no burst and no double run whatever the clock does. */
#include "unit.h"

#include "agent/plan.h"

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
    const struct types_defaults defaults = {.interval_ms = MINUTE, .cpu_seconds_ms = 10 * SECOND, .grace_ms = -1};
    struct profile_types types;
    struct err err;
    if (types_parse(span_of(text), &defaults, &types, NULL, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return types;
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
        fail_msg("%s: the busiest of %u seconds has %u %% of the mean, expected at most 110", what, slots->count, busiest(slots));
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

/* All pods start in one second: rule 8's second case. 1,667 of them a second on the grid, so that chance stays small. */
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
            plan_init(&plan, 1, &types, uid_of(i), FIRST_WITHIN, 5000);
            struct plan_job *job = job_of(&plan, rows[r].name);
            assert_in_range(job->phase_ms, 0, job->type->every_ms - 1);
            add_to_slot(&slots, job->phase_ms / SECOND);
        }
        expect_flat(rows[r].types, &slots);
    }
}

static void grids_of_the_types_are_independent(void **state)
{
    (void)state;
    struct profile_types types = make_types("cpu,heap:1m");
    struct slots apart = {.count = 60};
    for (unsigned i = 0; i < PODS; i++) {
        struct plan plan;
        plan_init(&plan, 1, &types, uid_of(i), FIRST_WITHIN, 0);
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
    int64_t now_ms = 0, wait_ms = 0, last_ms[TYPES_MAX];
    bool ran[TYPES_MAX] = {false};
    plan_init(&plan, 1, types, uid, FIRST_WITHIN, 0);
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
    } rows[] = {{"cpu:2s=1s,heap:10s", 20000, 2000}, {"heap:1s", 20000, 1000}, {"cpu", 1000, 1000}, {"cpu", 3600000, 60000}};
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct profile_types types = make_types(rows[r].types);
        for (unsigned i = 0; i < 1000; i++) {
            struct plan plan;
            plan_init(&plan, 1, &types, uid_of(i), rows[r].first_within_ms, 77);
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
    plan_init(&plan, 2, &types, "uid-1", FIRST_WITHIN, 0);
    plan_init(&again, 2, &types, "uid-1", FIRST_WITHIN, 0);
    plan_init(&other, 2, &types, "uid-2", FIRST_WITHIN, 0);
    plan_init(&reordered, 2, &turned, "uid-1", FIRST_WITHIN, 0);
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
    plan_init_once(&plan, 1, &types, 1000);
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
    plan_init_once(&plan, 3, &types, now_ms);
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
    struct profile_types types = {.count = TYPES_MAX};
    for (unsigned i = 0; i < TYPES_MAX; i++) {
        types.items[i] = (struct profile_type){.kind = PROFILE_OTHER, .every_ms = MINUTE};
        snprintf(types.items[i].name, sizeof(types.items[i].name), "other/%u", i);
    }
    struct plan plan;
    plan_init(&plan, TARGETS_MAX, &types, "uid", FIRST_WITHIN, 0);
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
    static const int64_t naps[] = {1, 999, 10 * SECOND, 31 * SECOND, MINUTE, 61 * SECOND, 10 * MINUTE, 7 * HOUR, 30 * 24 * (int64_t)HOUR};
    struct profile_types types = make_types("cpu,heap,goroutine,block,mutex");
    for (unsigned pod = 0; pod < 200; pod++) {
        struct plan plan;
        int64_t now_ms = 1000, wait_ms = 0, last_ms[TYPES_MAX];
        plan_init(&plan, 1, &types, uid_of(pod), FIRST_WITHIN, now_ms);
        for (unsigned i = 0; i < TYPES_MAX; i++)
            last_ms[i] = -HOUR;
        for (size_t n = 0; n < COUNT_OF(naps); n++) {
            now_ms += naps[n];
            unsigned runs[TYPES_MAX] = {0};
            struct plan_job *job;
            while ((job = plan_next(&plan, now_ms, &wait_ms)) != NULL) {
                size_t i = (size_t)(job - plan.jobs);
                if (++runs[i] > 1)
                    fail_msg("pod %u: %s ran twice after a nap of %lld ms", pod, job->type->name, (long long)naps[n]);
                if (now_ms - last_ms[i] < job->type->every_ms / 2)
                    fail_msg("pod %u: %s ran again after %lld ms", pod, job->type->name, (long long)(now_ms - last_ms[i]));
                last_ms[i] = now_ms;
                now_ms += duration_of(job);
                plan_finish(&plan, job, PLAN_DONE, last_ms[i], now_ms);
                expect_on_grid(&plan, job);
                assert_true(job->due_ms >= now_ms && job->due_ms - last_ms[i] <= job->type->every_ms * 3 / 2 + 11 * SECOND);
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
    plan_init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    for (unsigned i = 0; i < plan.count; i++)
        due_ms[i] = plan.jobs[i].due_ms;
    for (int64_t now_ms = 0; now_ms < MINUTE; now_ms += 500)
        plan_next(&plan, now_ms, &wait_ms);
    for (unsigned i = 0; i < plan.count; i++)
        assert_int_equal(due_ms[i], plan.jobs[i].due_ms);
}

static void busy_or_refused_is_tried_again_inside_the_interval(void **state)
{
    (void)state;
    static const int64_t waits[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct profile_types types = make_types("cpu");
    struct plan plan;
    int64_t now_ms = 100;
    plan_init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    struct plan_job *job = &plan.jobs[0];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(waits); i++) {
            plan_finish(&plan, job, PLAN_SOON, now_ms, now_ms + 5);
            assert_int_equal(now_ms + 5 + waits[i] * SECOND, job->due_ms);
            now_ms = job->due_ms;
        }
        plan_finish(&plan, job, PLAN_DONE, now_ms, now_ms + 10000);
        expect_on_grid(&plan, job);
        now_ms = job->due_ms;
    }
}

static void tries_never_wait_longer_than_the_interval(void **state)
{
    (void)state;
    struct profile_types types = make_types("heap:1s,goroutine:24h");
    struct plan plan;
    plan_init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    for (unsigned i = 0; i < 2; i++) {
        for (int n = 0; n < 100; n++) {
            plan_finish(&plan, &plan.jobs[i], PLAN_SOON, 0, 0);
            assert_in_range(plan.jobs[i].due_ms, SECOND, plan.jobs[i].type->every_ms);
        }
        assert_int_equal(plan.jobs[i].type->every_ms, plan.jobs[i].due_ms);
    }
}

static void too_long_halves_and_remembers(void **state)
{
    (void)state;
    static const int64_t cpu[] = {5000, 2000, 1000, 1000};
    struct profile_types types = make_types("cpu");
    struct plan plan;
    plan_init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    struct plan_job *job = &plan.jobs[0];
    int64_t now_ms = job->due_ms;
    for (size_t i = 0; i < COUNT_OF(cpu); i++) {
        plan_finish(&plan, job, PLAN_SHORTER, now_ms, now_ms + 10000);
        assert_int_equal(cpu[i], job->seconds_ms);
        expect_on_grid(&plan, job);
        assert_true(job->due_ms - now_ms >= job->type->every_ms / 2);
        now_ms = job->due_ms;
    }
    plan_finish(&plan, job, PLAN_DONE, now_ms, now_ms + 1000);
    assert_int_equal(1000, job->seconds_ms);
    assert_int_equal(10000, job->type->seconds_ms);

    const struct profile_type trace = {.kind = PROFILE_TRACE, .name = "trace", .every_ms = HOUR, .seconds_ms = 1000};
    static const int64_t fractions[] = {500, 200, 100, 100};
    plan.jobs[0] = (struct plan_job){.type = &trace, .seconds_ms = 1000};
    for (size_t i = 0; i < COUNT_OF(fractions); i++) {
        plan_finish(&plan, job, PLAN_SHORTER, 0, 0);
        assert_int_equal(fractions[i], job->seconds_ms);
    }
}

static void missing_type_sleeps_an_hour_or_its_every(void **state)
{
    (void)state;
    struct profile_types types = make_types("heap:5m,block:24h,cpu");
    struct plan plan;
    int64_t wait_ms;
    plan_init(&plan, 1, &types, "uid", FIRST_WITHIN, 0);
    plan_finish(&plan, &plan.jobs[0], PLAN_SLEEP, 3000, 4000);
    assert_int_equal(4000 + HOUR, plan.jobs[0].due_ms);
    plan_finish(&plan, &plan.jobs[1], PLAN_SLEEP, 3000, 4000);
    assert_int_equal(4000 + 24 * HOUR, plan.jobs[1].due_ms);
    assert_string_equal("cpu", plan_next(&plan, 30000, &wait_ms)->type->name); /* the rest goes on */
    plan_finish(&plan, &plan.jobs[0], PLAN_DONE, 4000 + HOUR, 4100 + HOUR);
    expect_on_grid(&plan, &plan.jobs[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_of_a_fleet_is_flat),
        cmocka_unit_test(grids_of_the_types_are_independent),
        cmocka_unit_test(fleet_that_starts_in_one_second_stays_flat),
        cmocka_unit_test(short_intervals_shrink_the_start_up),
        cmocka_unit_test(plan_follows_from_the_seed_and_not_from_the_order_of_types),
        cmocka_unit_test(of_two_due_jobs_the_older_goes_first),
        cmocka_unit_test(once_takes_each_job_once),
        cmocka_unit_test(the_most_jobs_fit),
        cmocka_unit_test(late_wake_ups_neither_burst_nor_double),
        cmocka_unit_test(asking_changes_nothing),
        cmocka_unit_test(busy_or_refused_is_tried_again_inside_the_interval),
        cmocka_unit_test(tries_never_wait_longer_than_the_interval),
        cmocka_unit_test(too_long_halves_and_remembers),
        cmocka_unit_test(missing_type_sleeps_an_hour_or_its_every),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
