/* taker: what a run leaves in the state of its job, the last profiles, and memory that is not there. The answers of
 * apps are test_scrape's. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/gather/taker.h"
#include "peer.h"

enum { NEVER_FINISHED_S = 20 };

struct bench {
    struct loop *loop;
    struct httpc *httpc;
    struct spool *spool;
    struct taker *taker;
    struct gather_options options;
    struct loop_timer patience;
    unsigned taken, finished;
    bool late;
    int listening;
    uint16_t port;
};

static void on_late(void *ctx)
{
    struct bench *bench = ctx;
    bench->late = true;
    loop_stop(bench->loop);
}

static void on_taken(void *ctx, const struct plan_job *job, const struct scrape_report *report)
{
    struct bench *bench = ctx;
    (void)job;
    (void)report;
    bench->taken++;
}

static void on_finished(void *ctx)
{
    struct bench *bench = ctx;
    bench->finished++;
    loop_stop(bench->loop);
}

/* Two targets on a port that nobody answers on; each test sets the types. */
static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct err err;
    char targets[128];
    assert_non_null(bench);
    *state = bench;
    bench->listening = peer_listen(&bench->port);
    snprintf(targets, sizeof(targets), "a=http://127.0.0.1:%u/a,b=http://127.0.0.1:%u/b", bench->port, bench->port);
    struct gather_options *options = &bench->options;
    assert_int_equal(0, targets_parse(span_of(targets), &options->targets, NULL));
    options->seed = "uid";
    options->interval_ms = options->first_within_ms = options->missing_retry_ms = 60000;
    options->sampling = PLAN_SAMPLING_ALL;
    options->connect_timeout_ms = options->scrape_timeout_ms = 5000;
    options->profile_max = SPOOL_BUDGET_MIN;
    const struct httpc_options client = {.user_agent = "profefe-agent/0", .transfers_max = 4};
    if (bench->listening < 0 || loop_new(&bench->loop, &err) < 0 ||
        httpc_new(bench->loop, &client, &bench->httpc, &err) < 0 ||
        spool_new_memory(SPOOL_BUDGET_MIN, &bench->spool, &err) < 0)
        return -1;
    loop_timer_init(&bench->patience, bench->loop, on_late, bench);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    loop_timer_disarm(&bench->patience);
    taker_free(bench->taker);
    httpc_free(bench->httpc);
    spool_free(bench->spool);
    loop_free(bench->loop);
    close(bench->listening);
    free(bench);
    return 0;
}

static int new_taker(struct bench *bench, const char *types, bool once)
{
    const struct profile_types_defaults defaults = {.interval_ms = 60000, .cpu_seconds_ms = 10000, .grace_ms = -1};
    const struct taker_callbacks callbacks = {.taken = on_taken, .finished = on_finished, .ctx = bench};
    struct err err = {0};
    assert_int_equal(0, profile_types_parse(span_of(types), &defaults, &bench->options.types, NULL, NULL));
    int rc = taker_new(bench->loop, bench->httpc, bench->spool, &bench->options, (struct taker_mode){.once = once},
                       &callbacks, &bench->taker, &err);
    assert_true(rc == 0 || err.text[0] != '\0');
    return rc;
}

static void run(struct bench *bench)
{
    loop_timer_arm(&bench->patience, NEVER_FINISHED_S * 1000);
    assert_int_equal(0, loop_run(bench->loop, NULL));
    if (bench->late)
        fail_msg("not finished in %d s", NEVER_FINISHED_S);
}

static void job_that_got_nothing_says_since_when(void **state)
{
    struct bench *bench = *state;
    const struct taker_job *job;
    struct loop *loop = bench->loop;
    close(bench->listening);
    bench->listening = -1;
    int64_t before = loop_now_ms(loop);
    assert_int_equal(0, new_taker(bench, "heap,block", /* once= */ true));
    run(bench);
    assert_int_equal(4, bench->taken);
    assert_int_equal(1, bench->finished);
    for (unsigned i = 0; i < 4; i++) {
        assert_non_null(taker_job_at(bench->taker, i, &job));
        assert_true(job->ran);
        assert_int_equal(SCRAPE_REFUSED, job->last);
        assert_int_equal(1, job->results[SCRAPE_REFUSED]);
        assert_int_equal(1, job->failures);
        assert_true(job->without_since_ms >= before && job->failing_since_ms >= before);
        assert_int_equal(0, job->last_ok_wall_ms);
    }
    assert_null(taker_job_at(bench->taker, 4, &job));
    assert_null(taker_running(bench->taker));
}

/* Nobody accepts: heap and goroutine of both targets get a second each at most, together what was given, and cpu
 * none. */
static void last_profiles_of_a_silent_app_end_in_time(void **state)
{
    struct bench *bench = *state;
    static const struct {
        int64_t within_ms;
        unsigned least, most; /* a busy machine may come too late for the last one */
    } rows[] = {{0, 0, 0}, {300, 0, 1}, {2500, 2, 3}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bench->taken = bench->finished = 0;
        assert_int_equal(0, new_taker(bench, "cpu,heap,goroutine", /* once= */ false));
        int64_t started = peer_now_ms();
        taker_take_last(bench->taker, rows[i].within_ms);
        assert_int_equal(0, bench->finished); /* never from inside */
        run(bench);
        assert_int_equal(1, bench->finished);
        assert_in_range(bench->taken, rows[i].least, rows[i].most);
        assert_true(peer_now_ms() - started >= rows[i].within_ms);
        assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
        bench->taker = taker_free(bench->taker);
    }
}

static void last_profiles_of_other_types_are_none(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(0, new_taker(bench, "cpu,block", /* once= */ false));
    taker_take_last(bench->taker, 5000);
    run(bench);
    assert_int_equal(0, bench->taken);
    assert_int_equal(1, bench->finished);
    assert_int_equal(0, taker_count_cut(bench->taker));
}

static void on_time_to_cut(void *ctx)
{
    struct bench *bench = ctx;
    assert_non_null(taker_running(bench->taker));
    taker_take_last(bench->taker, 0);
}

static void what_is_under_way_is_cut_and_counted(void **state)
{
    struct bench *bench = *state;
    struct loop_timer soon = {.armed = false};
    loop_timer_init(&soon, bench->loop, on_time_to_cut, bench);
    assert_int_equal(0, new_taker(bench, "heap", /* once= */ true));
    loop_timer_arm(&soon, 200);
    run(bench);
    assert_int_equal(1, taker_count_cut(bench->taker));
    assert_int_equal(0, bench->taken);
    assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
    assert_null(taker_running(bench->taker));
}

static int attempt(void *ctx)
{
    struct bench *bench = ctx;
    int rc = new_taker(bench, "cpu,heap", /* once= */ false);
    if (rc < 0)
        assert_null(bench->taker);
    bench->taker = taker_free(bench->taker);
    return rc;
}

static void without_memory_there_is_no_plan(void **state)
{
    assert_in_range(alloc_fail_in_turn("taker_new", attempt, *state), 2, 10);
    assert_null(taker_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(job_that_got_nothing_says_since_when, setup, teardown),
        cmocka_unit_test_setup_teardown(last_profiles_of_a_silent_app_end_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(last_profiles_of_other_types_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_under_way_is_cut_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
