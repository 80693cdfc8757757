/* wrap: taker_job_at taker_running push_get_stats spool_get_stats */
/* The pages, for states made up here: the getters of what it looks at are wrapped, since a real taker comes into
 * such states only with time. */
#include "unit.h"

#include "agent/health.h"
#include "agent/metrics_page.h"
#include "agent/status_json.h"
#include "agent/status_page.h"
#include "alloc_fail.h"
#include "common/base/version.h"
#include "common/gather/account.h"
#include "common/settings/settings.h"

/* ---- the state ---- */

static struct state {
    struct options options;
    struct warnings problems, warnings;
    struct plan plan;
    struct taker_job jobs[PLAN_JOBS_MAX];
    const struct plan_job *running;
    struct push_stats push;
    struct spool_stats spool, stand_in;
    struct spooling spooling;
    struct attempt start;
    bool idle, starting;
} now;

const struct plan_job *__wrap_taker_job_at(const struct taker *taker, unsigned i, const struct taker_job **ret_state);
const struct plan_job *__wrap_taker_job_at(const struct taker *taker, unsigned i, const struct taker_job **ret_state)
{
    (void)taker;
    if (i >= now.plan.count)
        return NULL;
    *ret_state = &now.jobs[i];
    return &now.plan.jobs[i];
}

const struct plan_job *__wrap_taker_running(const struct taker *taker);
const struct plan_job *__wrap_taker_running(const struct taker *taker)
{
    (void)taker;
    return now.running;
}

const struct push_stats *__wrap_push_get_stats(const struct push *push);
const struct push_stats *__wrap_push_get_stats(const struct push *push)
{
    (void)push;
    return &now.push;
}

const struct spool_stats *__wrap_spool_get_stats(const struct spool *spool);
const struct spool_stats *__wrap_spool_get_stats(const struct spool *spool)
{
    return spool == now.spooling.stand_in ? &now.stand_in : &now.spool;
}

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    NOW = 100 * MINUTE,
    STARTED = 10 * MINUTE,
};

static const int64_t wall_ms = INT64_C(1795366000000); /* 2026-11-22T16:46:40Z */

static void make_plan(int64_t now_ms)
{
    const struct plan_options plan = {.targets = now.options.gather.targets.count,
                                      .types = &now.options.gather.types,
                                      .seed = "uid",
                                      .interval_ms = MINUTE,
                                      .sampling = PLAN_SAMPLING_ALL};
    plan_init_once(&now.plan, &plan, now_ms);
}

static char thing[1], other_thing[1]; /* the getters do not look at them */

/* A healthy agent that has just started, with these targets and types. */
static void make_state(const char *targets, const char *types)
{
    const struct profile_types_defaults defaults = {
        .interval_ms = MINUTE, .cpu_seconds_ms = 10 * SECOND, .grace_ms = -1};
    memset(&now, 0, sizeof(now));
    assert_int_equal(0, targets_parse(span_of(targets), &now.options.gather.targets, NULL));
    assert_int_equal(0, profile_types_parse(span_of(types), &defaults, &now.options.gather.types, NULL, NULL));
    assert_int_equal(
        0, labels_add_list(&now.options.gather.labels, span_of("team=shop,tier=web"), "profefe-agent", NULL, NULL));
    now.options.gather.collector = "http://profefe:10100";
    now.options.gather.service = "web";
    strcpy(now.options.gather.instance, "web-1");
    now.options.pod_ip = "10.0.0.7";
    now.spooling = (struct spooling){.options = &now.options, .spool = (void *)thing};
    make_plan(NOW + 5 * SECOND);
    now.spool.budget_bytes = SPOOL_BUDGET_DEFAULT;
}

static struct view view(void)
{
    const void *there = now.idle || now.starting ? NULL : thing;
    return (struct view){.problems = &now.problems,
                         .warnings = &now.warnings,
                         .options = now.idle ? NULL : &now.options,
                         .taker = there,
                         .push = there,
                         .spooling = &now.spooling,
                         .start = &now.start,
                         .interval_ms = MINUTE,
                         .now_ms = NOW,
                         .wall_ms = wall_ms,
                         .started_ms = STARTED,
                         .started_wall_ms = wall_ms - (NOW - STARTED)};
}

static void fail_job(unsigned i, enum scrape_result result, unsigned failures, int64_t since_ms, const char *words)
{
    now.jobs[i].ran = true;
    now.jobs[i].last = result;
    now.jobs[i].results[result] = failures;
    now.jobs[i].failures = failures;
    now.jobs[i].failing_since_ms = since_ms;
    snprintf(now.jobs[i].words, sizeof(now.jobs[i].words), "%s", words);
}

static unsigned healthz(char out[static 4096])
{
    struct view seen = view();
    struct buf body;
    buf_init(&body, VIEW_PAGE_MAX);
    unsigned status = health_write(&body, &seen);
    assert_int_equal(0, buf_error(&body));
    snprintf(out, 4096, "%s", buf_text(&body));
    buf_done(&body);
    return status;
}

static void expect_healthz(const char *row, unsigned status, const char *expected)
{
    char got[4096];
    expect_number(row, status, healthz(got));
    expect_text(row, expected, got);
}

/* ---- /healthz ---- */

static void a_new_agent_is_healthy(void **state)
{
    (void)state;
    make_state("http://127.0.0.1:6060/debug/pprof", "cpu,heap");
    expect_healthz("new", 200, "ok\n");
}

static void bad_settings_are_told_one_a_line(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.idle = true;
    warnings_add(&now.problems, "PROFEFE_AGENT_INTERVAL: expected a duration");
    warnings_add(&now.problems, "collector is not set\nreally");
    expect_healthz("idle", 500,
                   "setting: PROFEFE_AGENT_INTERVAL: expected a duration\nsetting: collector is not set\\x0areally\n");
    warnings_clear(&now.problems);
    warnings_add(&now.warnings, "types: heap takes no SECONDS");
    expect_healthz("tolerated", 200, "ok\n");
}

static void target_failing_for_three_intervals_is_told(void **state)
{
    (void)state;
    static const struct {
        unsigned failures;
        int64_t since_ms;
        unsigned status;
        const char *expected;
    } rows[] = {
        {5, NOW - 3 * MINUTE, 500, "target http://127.0.0.1:6060/debug/pprof cpu: refused for 180s: nothing listens\n"},
        {2, NOW - 50 * MINUTE - 999, 500,
         "target http://127.0.0.1:6060/debug/pprof cpu: refused for 3000s: nothing listens\n"},
        {5, NOW - 3 * MINUTE + 1, 200, "ok\n"},
        {1, NOW - 50 * MINUTE, 200, "ok\n"}, /* a type that is due every five intervals slipped once */
        {0, 0, 200, "ok\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        make_state("http://127.0.0.1:6060/debug/pprof", "cpu,heap");
        fail_job(0, SCRAPE_REFUSED, rows[i].failures, rows[i].since_ms, "nothing listens");
        expect_healthz(rows[i].expected, rows[i].status, rows[i].expected);
    }
}

static void collector_failing_for_three_intervals_is_told(void **state)
{
    (void)state;
    static const struct {
        unsigned failures;
        int64_t since_ms;
        unsigned status;
        const char *expected;
    } rows[] = {
        {7, NOW - 4 * MINUTE, 500, "collector http://profefe:10100: failing for 240s: answered 503 \"\"\n"},
        {7, NOW - 2 * MINUTE, 200, "ok\n"},
        {0, 0, 200, "ok\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        make_state("http://h", "cpu");
        now.push.failures = rows[i].failures;
        now.push.failing_since_ms = rows[i].since_ms;
        strcpy(now.push.last_error, "answered 503 \"\"");
        expect_healthz(rows[i].expected, rows[i].status, rows[i].expected);
    }
}

/* One 404 is the app's choice; nothing but 404 is a wrong path. */
static void target_that_misses_every_type_is_told(void **state)
{
    (void)state;
    make_state("a=http://h:1/x,b=http://h:2/x", "cpu,heap");
    fail_job(0, SCRAPE_MISSING, 0, 0, "404");
    fail_job(2, SCRAPE_MISSING, 0, 0, "404");
    expect_healthz("one type of each", 200, "ok\n");
    fail_job(3, SCRAPE_MISSING, 0, 0, "404");
    expect_healthz("b", 500, "target http://h:2/x: answers 404 to every profile type; are port and path right?\n");
    now.jobs[2].last = SCRAPE_OK;
    expect_healthz("b again", 200, "ok\n");
}

static void all_reasons_are_told_together(void **state)
{
    (void)state;
    char got[4096];
    make_state("a=http://h:1/x,b=http://h:2/x", "heap");
    fail_job(0, SCRAPE_TEXT, 4, NOW - 30 * MINUTE, "HTML");
    fail_job(1, SCRAPE_MISSING, 0, 0, "404");
    now.push.failures = 9;
    now.push.failing_since_ms = 1;
    assert_int_equal(500, healthz(got));
    expect_contains("a", got, "target http://h:1/x heap: text for 1800s: HTML\n");
    expect_contains("b", got, "target http://h:2/x: answers 404");
    expect_contains("collector", got, "collector http://profefe:10100: failing for 5999s");
}

/* ---- /status ---- */

static void expect_status(const char *row, const char *expected)
{
    struct view seen = view();
    struct buf body;
    buf_init(&body, VIEW_PAGE_MAX);
    status_page_write(&body, &seen);
    assert_int_equal(0, buf_error(&body));
    char whole[8192];
    snprintf(whole, sizeof(whole), "profefe-agent %s, started 2026-11-22T15:16:40Z\n%s", version_text(), expected);
    expect_text(row, whole, buf_text(&body));
    buf_done(&body);
}

static void status_of_a_new_agent(void **state)
{
    (void)state;
    make_state("http://127.0.0.1:6060/debug/pprof", "cpu,heap:90s");
    expect_status("new",
                  "service web, instance web-1, pod IP 10.0.0.7\n"
                  "labels team=shop,tier=web\n"
                  "target http://127.0.0.1:6060/debug/pprof\n"
                  "  cpu          every 1m, 10000 ms long, last taken never, next in 5s\n"
                  "  heap         every 90s, last taken never, next in 5s\n"
                  "spool 0 profiles, 0 of 8388608 bytes\n"
                  "collector http://profefe:10100, last stored never, 0 stored in all\n");
}

static void status_of_a_working_agent_with_two_targets(void **state)
{
    (void)state;
    make_state("api=http://h:1/x,worker=http://h:2/x", "cpu,block");
    now.running = &now.plan.jobs[0];
    now.plan.jobs[0].seconds_ms = 5000; /* shrunk */
    now.plan.jobs[1].due_ms = NOW - 3 * SECOND;
    now.jobs[0].ran = true;
    now.jobs[0].last_ok_wall_ms = wall_ms - 60000;
    fail_job(1, SCRAPE_EMPTY, 0, 0, "no samples; did the app call runtime.SetBlockProfileRate?");
    fail_job(2, SCRAPE_BUSY, 0, 0, "somebody else is profiling the app: \"x\"");
    now.spool.items = 3;
    now.spool.bytes = 12288;
    now.push.results[DELIVERY_STORED] = 40;
    now.push.results[DELIVERY_FOUND] = 1;
    now.push.last_stored_wall_ms = wall_ms - 1000;
    now.push.failures = 2;
    strcpy(now.push.last_error, "refused: Connection refused");
    warnings_add(&now.warnings, "types: =SECONDS on heap is ignored");
    expect_status("working",
                  "warning: types: =SECONDS on heap is ignored\n"
                  "service web, instance web-1, pod IP 10.0.0.7\n"
                  "labels team=shop,tier=web\n"
                  "target api http://h:1/x\n"
                  "  cpu          every 1m, 5000 ms long, last taken 2026-11-22T16:45:40Z, running now\n"
                  "  block        every 5m, last taken never, next in 0s\n"
                  "               last run: empty: no samples; did the app call runtime.SetBlockProfileRate?\n"
                  "target worker http://h:2/x\n"
                  "  cpu          every 1m, 10000 ms long, last taken never, next in 5s\n"
                  "               last run: busy: somebody else is profiling the app: \"x\"\n"
                  "  block        every 5m, last taken never, next in 5s\n"
                  "spool 3 profiles, 12288 of 8388608 bytes\n"
                  "collector http://profefe:10100, last stored 2026-11-22T16:46:39Z, 41 stored in all\n"
                  "  failing, 2 in a row\n"
                  "  last error: refused: Connection refused\n");
}

/* While the last profiles are taken after SIGTERM, the other jobs are over. */
static void job_that_is_over_has_no_next_run(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.plan.jobs[0].due_ms = INT64_MAX;
    expect_status("over", "service web, instance web-1, pod IP 10.0.0.7\nlabels team=shop,tier=web\ntarget http://h\n"
                          "  cpu          every 1m, 10000 ms long, last taken never, not again\n"
                          "spool 0 profiles, 0 of 8388608 bytes\n"
                          "collector http://profefe:10100, last stored never, 0 stored in all\n");
}

/* Somebody else holds the profiler: the pod is not ill, but its owner can see since when nothing came. */
static void profiles_that_do_not_come_for_an_every_are_told(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    fail_job(0, SCRAPE_BUSY, 0, 0, "somebody else is profiling the app: \"x\"");
    now.jobs[0].without_since_ms = NOW - MINUTE + 1;
    expect_healthz("busy", 200, "ok\n");
    static const char start[] =
        "service web, instance web-1, pod IP 10.0.0.7\nlabels team=shop,tier=web\ntarget http://h\n"
        "  cpu          every 1m, 10000 ms long, last taken never, next in 5s\n"
        "               last run: busy: somebody else is profiling the app: \"x\"\n";
    static const char end[] = "spool 0 profiles, 0 of 8388608 bytes\n"
                              "collector http://profefe:10100, last stored never, 0 stored in all\n";
    char whole[4096];
    snprintf(whole, sizeof(whole), "%s%s", start, end);
    expect_status("less than an EVERY", whole);
    now.jobs[0].without_since_ms = NOW - 3 * MINUTE;
    snprintf(whole, sizeof(whole), "%s               no profile for 180s\n%s", start, end);
    expect_status("three EVERYs", whole);
    expect_healthz("still busy", 200, "ok\n");
}

static void output_directory_is_named_in_place_of_a_collector(void **state)
{
    (void)state;
    make_state("http://h", "heap");
    now.options.gather.collector = NULL;
    now.options.gather.output_dir = "/profiles";
    now.push.failures = 3;
    now.push.failing_since_ms = NOW - 3 * MINUTE;
    now.spool.dropped[SPOOL_DROP_EVICTED] = 4;
    now.push.dropped[PUSH_DROP_REFUSED] = 1;
    strcpy(now.push.last_error, "No space left on device");
    expect_healthz("full", 500, "output-dir /profiles: failing for 180s: No space left on device\n");
    expect_status("full", "service web, instance web-1, pod IP 10.0.0.7\nlabels team=shop,tier=web\ntarget http://h\n"
                          "  heap         every 5m, last taken never, next in 5s\n"
                          "spool 0 profiles, 0 of 8388608 bytes\n"
                          "output-dir /profiles, last stored never, 0 stored in all\n"
                          "  failing, 3 in a row\n"
                          "  last error: No space left on device\n"
                          "dropped 5 profiles since the start: spool-full 4 refused 1\n");
}

/* ---- /status as JSON ---- */

static void expect_json(const char *row, const char *expected)
{
    struct view seen = view();
    struct buf body;
    char whole[8192];
    buf_init(&body, VIEW_PAGE_MAX);
    status_json_write(&body, &seen);
    assert_int_equal(0, buf_error(&body));
    snprintf(whole, sizeof(whole), "{\"version\":\"%s\",\"started\":\"2026-11-22T15:16:40Z\",%s}\n", version_text(),
             expected);
    expect_text(row, whole, buf_text(&body));
    buf_done(&body);
}

static void json_of_a_working_agent(void **state)
{
    (void)state;
    make_state("api=http://h:1/x,worker=http://h:2/x", "cpu,block:90s");
    now.running = &now.plan.jobs[0];
    now.jobs[0].ran = true;
    now.jobs[0].results[SCRAPE_OK] = 40;
    now.jobs[0].last_ok_wall_ms = wall_ms - 60000;
    fail_job(1, SCRAPE_EMPTY, 0, 0, "no samples; did the app call runtime.SetBlockProfileRate?");
    now.jobs[1].results[SCRAPE_EMPTY] = 2;
    fail_job(2, SCRAPE_TEXT, 3, NOW - MINUTE, "text, not a profile: \"<b>\xff\\x1b\"\x1b");
    now.jobs[2].without_since_ms = NOW - MINUTE;
    now.plan.jobs[3].due_ms = NOW - SECOND;
    now.options.spool_dir = "/spool";
    now.spool.items = 3;
    now.spool.taken = 44;
    now.spool.bytes = 12288;
    now.spool.dropped[SPOOL_DROP_OLD] = 1;
    now.push.results[DELIVERY_STORED] = 41;
    now.push.results[DELIVERY_NETWORK] = 2;
    now.push.stored_bytes = 4711;
    now.push.last_stored_wall_ms = wall_ms - 1000;
    now.push.failures = 2;
    now.push.failing_since_ms = NOW - 1500;
    strcpy(now.push.last_error, "refused: Connection refused");
    warnings_add(&now.warnings, "types: x");
    struct account account;
    account_read(&account, &now.spool, &now.push);
    char dropped[1024] = "";
    for (unsigned i = 0; i < account.drop_count; i++)
        snprintf(dropped + strlen(dropped), sizeof(dropped) - strlen(dropped), "%s\"%s\":%llu", i > 0 ? "," : "",
                 account.drops[i].reason, (unsigned long long)account.drops[i].profiles);
    expect_contains("drops", dropped, "\"too-old\":1");
    char expected[6000];
    snprintf(
        expected, sizeof(expected),
        "\"idle\":false,\"problems\":[],\"warnings\":[\"types: x\"],\"start_failing_since\":null,\"start_error\":null,"
        "\"service\":\"web\",\"instance\":\"web-1\",\"pod_ip\":\"10.0.0.7\",\"labels\":{\"team\":\"shop\",\"tier\":"
        "\"web\"},"
        "\"collector\":\"http://profefe:10100\",\"targets\":["
        "{\"name\":\"api\",\"url\":\"http://h:1/x\",\"types\":["
        "{\"type\":\"cpu\",\"every_seconds\":60,\"seconds\":10,\"last_success\":\"2026-11-22T16:45:40Z\",\"last_"
        "result\":\"ok\","
        "\"last_error\":null,\"none_since\":null,\"failures\":0,\"results\":{\"ok\":40},\"running\":true,\"next_"
        "seconds\":5},"
        "{\"type\":\"block\",\"every_seconds\":90,\"last_success\":null,\"last_result\":\"empty\",\"last_error\":"
        "\"no samples; did the app call "
        "runtime.SetBlockProfileRate?\",\"none_since\":null,\"failures\":0,\"results\":{\"empty\":2},"
        "\"running\":false,\"next_seconds\":5}]},"
        "{\"name\":\"worker\",\"url\":\"http://h:2/x\",\"types\":["
        "{\"type\":\"cpu\",\"every_seconds\":60,\"seconds\":10,\"last_success\":null,\"last_result\":\"text\",\"last_"
        "error\":"
        "\"text, not a profile: "
        "\\\"<b>\xEF\xBF\xBD\\\\x1b\\\"\\u001b\",\"none_since\":\"2026-11-22T16:45:40Z\",\"failures\":3,"
        "\"results\":{\"text\":3},\"running\":false,\"next_seconds\":5},"
        "{\"type\":\"block\",\"every_seconds\":90,\"last_success\":null,\"last_result\":null,\"last_error\":null,"
        "\"none_since\":null,\"failures\":0,\"results\":{},\"running\":false,\"next_seconds\":0}]}],"
        "\"spool\":{\"directory\":\"/spool\",\"profiles\":3,\"bytes\":12288,\"limit_bytes\":8388608,\"taken\":44,"
        "\"in_memory_since\":null,\"directory_error\":null,\"dropped\":{%s}},"
        "\"push\":{\"results\":{\"stored\":41,\"network\":2},\"stored_bytes\":4711,\"last_stored\":\"2026-11-22T16:46:"
        "39Z\","
        "\"failures\":2,\"failing_since\":\"2026-11-22T16:46:38Z\",\"last_error\":\"refused: Connection refused\"}",
        dropped);
    expect_json("working", expected);
}

static void json_of_an_idle_agent(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.idle = true;
    warnings_add(&now.problems, "collector \"x\" is\nwrong");
    expect_json("idle", "\"idle\":true,\"problems\":[\"collector \\\"x\\\" is\\\\x0awrong\"],\"warnings\":[],"
                        "\"start_failing_since\":null,\"start_error\":null");
}

static void fail_attempt(struct attempt *attempt, int64_t since_ms, const char *words)
{
    attempt->failures = 7;
    attempt->failing_since_ms = since_ms;
    snprintf(attempt->words, sizeof(attempt->words), "%s", words);
}

/* Whether the page has a line with these words. */
static void expect_on_page(const char *words, void (*write_page)(struct buf *out, const struct view *view))
{
    struct view seen = view();
    struct buf body;
    buf_init(&body, VIEW_PAGE_MAX);
    write_page(&body, &seen);
    expect_contains(words, buf_text(&body), words);
    buf_done(&body);
}

static void agent_that_cannot_work_yet_says_why(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.starting = true;
    fail_attempt(&now.start, NOW - 10 * SECOND, "no descriptor left");
    expect_healthz("a moment", 200, "ok\n");
    expect_status("starting", "cannot work for 10s, trying again: no descriptor left\n");
    expect_json("starting", "\"idle\":false,\"problems\":[],\"warnings\":[],"
                            "\"start_failing_since\":\"2026-11-22T16:46:30Z\",\"start_error\":\"no descriptor left\"");
    expect_on_page("\nprofefe_agent_idle 0\n", metrics_page_write);
    expect_on_page("\nprofefe_agent_start_failing 1\n", metrics_page_write);
    now.start.failing_since_ms = NOW - 3 * MINUTE;
    expect_healthz("for long", 500, "cannot work for 180s: no descriptor left\n");
}

static void spool_directory_that_cannot_be_opened_is_told(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.options.spool_dir = "/spool";
    fail_attempt(&now.spooling.directory, NOW - 10 * SECOND, "spool-dir: no space");
    now.spool.items = now.spool.taken = 3;
    expect_healthz("a moment", 200, "ok\n");
    expect_on_page("\n  in memory for 10s, trying again: spool-dir: no space\n", status_page_write);
    expect_on_page("\"in_memory_since\":\"2026-11-22T16:46:30Z\",\"directory_error\":\"spool-dir: no space\"",
                   status_json_write);
    expect_on_page("\nprofefe_agent_spool_directory_closed 1\n", metrics_page_write);
    now.spooling.directory.failing_since_ms = NOW - 3 * MINUTE;
    expect_healthz("for long", 500, "profiles wait in memory for 180s: spool-dir: no space\n");
}

/* Once it is open the account is that of both spools. */
static void memory_that_stood_in_counts_to_the_end(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.options.spool_dir = "/spool";
    now.spooling.stand_in = (void *)other_thing;
    now.spool.items = 3;
    now.spool.taken = 5;
    now.spool.bytes = 1000;
    now.spool.dropped[SPOOL_DROP_OLD] = 2;
    now.stand_in.items = 2;
    now.stand_in.taken = 9;
    now.stand_in.bytes = 500;
    now.stand_in.dropped[SPOOL_DROP_EVICTED] = 3;
    now.push.results[DELIVERY_STORED] = 4;
    expect_on_page("\n  and before them 2 profiles in memory\n", status_page_write);
    expect_on_page("\ndropped 5 profiles since the start: spool-full 3 too-old 2\n", status_page_write);
    expect_on_page("\"profiles\":5,\"bytes\":1500,\"limit_bytes\":8388608,\"taken\":14,", status_json_write);
    expect_on_page("\nprofefe_agent_spool_profiles 5\n", metrics_page_write);
    expect_on_page("\nprofefe_agent_spool_bytes 1500\n", metrics_page_write);
    expect_on_page("\nprofefe_agent_taken_profiles_total 14\n", metrics_page_write);
    expect_on_page("\nprofefe_agent_spool_directory_closed 0\n", metrics_page_write);
}

static void status_of_an_idle_agent(void **state)
{
    (void)state;
    make_state("http://h", "cpu");
    now.idle = true;
    warnings_add(&now.problems, "collector is not set");
    warnings_add(&now.warnings, "types: heap");
    expect_status("idle", "idle: no profile is taken until these settings are right\n"
                          "setting: collector is not set\n"
                          "warning: types: heap\n");
}

/* ---- /metrics ---- */

static bool is_metric_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || s.ptr[i] == '_'))
            return false;
    }
    return s.len > 0;
}

/* "NAME{k="v",…} NUMBER": returns the length of the name and labels, 0 when it is none. */
static size_t check_sample(const char *line, size_t len)
{
    size_t name = strcspn(line, "{ ");
    size_t at = name;
    if (!is_metric_name((struct span){line, name}))
        return 0;
    while (at < len && (line[at] == '{' || line[at] == ',')) {
        size_t key = strcspn(line + at + 1, "=");
        at += 1 + key + 1;
        if (at >= len || line[at] != '"')
            return 0;
        for (at++; at < len && line[at] != '"'; at++)
            at += line[at] == '\\' ? 1 : 0;
        at++;
    }
    if (at < len && line[at] == '}')
        at++;
    if (at >= len || line[at] != ' ' || strspn(line + at + 1, "0123456789.") != len - at - 1)
        return 0;
    return at;
}

/* Each family once with HELP and TYPE before its samples; each series once; counters end in _total. */
static unsigned check_page(const char *page)
{
    static char seen[VIEW_PAGE_MAX + 2];
    char family[128] = "", type[16] = "";
    unsigned series = 0;
    strcpy(seen, "\n");
    for (const char *line = page; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (line[len] != '\n')
            fail_msg("the last line has no end: %s", line);
        if (span_has_prefix(span_of(line), "# TYPE ")) {
            assert_int_equal(2, sscanf(line, "# TYPE %127s %15s", family, type));
            if ((strcmp(type, "counter") == 0) != (strcmp(family + strlen(family) - 6, "_total") == 0))
                fail_msg("%s is a %s", family, type);
        } else if (!span_has_prefix(span_of(line), "# HELP ")) {
            size_t id = check_sample(line, len);
            char key[512];
            if (id == 0 || id > 500)
                fail_msg("no sample: %.*s", (int)len, line);
            if (!span_has_prefix(span_of(line), family) || (line[strlen(family)] != '{' && line[strlen(family)] != ' '))
                fail_msg("%.*s stands under %s", (int)len, line, family);
            snprintf(key, sizeof(key), "\n%.*s\n", (int)id, line);
            if (strstr(seen, key) != NULL)
                fail_msg("twice: %.*s", (int)id, line);
            strcat(seen, key + 1);
            series++;
        } else {
            snprintf(family, sizeof(family), "%.*s", (int)strcspn(line + 7, " "), line + 7);
            char again[160];
            snprintf(again, sizeof(again), "# HELP %s ", family);
            if (strstr(page, again) != line)
                fail_msg("the family %s is there twice", family);
        }
        line += len + 1;
    }
    return series;
}

static void expect_metrics(const char *const *parts)
{
    struct view seen = view();
    struct buf page;
    buf_init(&page, VIEW_PAGE_MAX);
    metrics_page_write(&page, &seen);
    assert_int_equal(0, buf_error(&page));
    check_page(page.data);
    for (; *parts != NULL; parts++)
        expect_contains("metrics", page.data, *parts);
    buf_done(&page);
}

static void metrics_of_an_idle_agent(void **state)
{
    (void)state;
    static const char *const parts[] = {"profefe_agent_build_info{version=\"", "\nprofefe_agent_idle 1\n",
                                        "\nprofefe_agent_setting_problems 2\n",
                                        "\nprofefe_agent_start_timestamp_seconds 1795360600\n", NULL};
    make_state("http://h", "cpu");
    now.idle = true;
    warnings_add(&now.problems, "one");
    warnings_add(&now.problems, "two");
    expect_metrics(parts);
}

static void metrics_of_a_working_agent(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "\nprofefe_agent_idle 0\n",
        "\nprofefe_agent_scrapes_total{type=\"cpu\",result=\"ok\"} 7\n", /* of both targets */
        "\nprofefe_agent_scrapes_total{type=\"cpu\",result=\"busy\"} 2\n",
        "\nprofefe_agent_scrapes_total{type=\"heap\",result=\"ok\"} 0\n",
        "\nprofefe_agent_last_scrape_timestamp_seconds{target=\"api\",type=\"cpu\"} 1795365999\n",
        "\nprofefe_agent_last_scrape_timestamp_seconds{target=\"worker\",type=\"cpu\"} 0\n",
        "\nprofefe_agent_pushes_total{result=\"stored\"} 5\n",
        "\nprofefe_agent_pushes_total{result=\"unsure\"} 1\n",
        "\nprofefe_agent_pushes_total{result=\"found\"} 2\n",
        "\nprofefe_agent_pushed_bytes_total 4711\n",
        "\nprofefe_agent_spool_bytes 12288\n",
        "\nprofefe_agent_spool_limit_bytes 8388608\n",
        "\nprofefe_agent_spool_profiles 3\n",
        "\nprofefe_agent_dropped_profiles_total{reason=\"spool-full\"} 9\n",
        "\nprofefe_agent_dropped_profiles_total{reason=\"blocked\"} 8\n",
        "\nprofefe_agent_taken_profiles_total 27\n",
        NULL,
    };
    make_state("api=http://h:1/x,worker=http://h:2/x", "cpu,heap");
    now.jobs[0].results[SCRAPE_OK] = 3;
    now.jobs[2].results[SCRAPE_OK] = 4;
    now.jobs[2].results[SCRAPE_BUSY] = 2;
    now.jobs[0].last_ok_wall_ms = wall_ms - 1;
    now.push.results[DELIVERY_STORED] = 5;
    now.push.results[DELIVERY_UNSURE] = 1;
    now.push.results[DELIVERY_FOUND] = 2;
    now.push.stored_bytes = 4711;
    now.push.dropped[PUSH_DROP_BLOCKED] = 8;
    now.spool.items = 2;
    now.spool.held_lost = 1;
    now.spool.taken = 27;
    now.spool.bytes = 12288;
    now.spool.dropped[SPOOL_DROP_EVICTED] = 9;
    expect_metrics(parts);
}

/* Every target, every type, every result, the longest names and words: each page stays under its ceiling. */
static void make_largest(void)
{
    make_state("http://h", "cpu");
    now.options.gather.targets.count = TARGETS_MAX;
    now.options.gather.types.count = PROFILE_TYPES_MAX;
    for (unsigned t = 0; t < TARGETS_MAX; t++) {
        struct target *target = &now.options.gather.targets.items[t];
        memset(target->name, 'a' + (int)t, TARGET_NAME_MAX);
        memset(target->url, 'u', TARGET_URL_MAX);
    }
    for (unsigned i = 0; i < PROFILE_TYPES_MAX; i++) {
        struct profile_type *type = &now.options.gather.types.items[i];
        *type = (struct profile_type){.kind = PROFILE_OTHER, .every_ms = 86399999, .seconds_ms = 299999};
        memset(type->name, 'A' + (int)i, PROFILE_TYPE_NAME_MAX);
    }
    make_plan(INT64_MAX);
    for (unsigned i = 0; i < PLAN_JOBS_MAX; i++) {
        fail_job(i, SCRAPE_TRUNCATED, UINT32_MAX, 1, "");
        memset(now.jobs[i].words, 'w', TAKER_WORDS_MAX - 1);
        now.jobs[i].last_ok_wall_ms = wall_ms;
        for (unsigned r = 0; r < SCRAPE_RESULT_COUNT; r++)
            now.jobs[i].results[r] = UINT64_MAX / PLAN_JOBS_MAX;
    }
    now.options.gather.labels.count = LABELS_MAX;
    for (unsigned i = 0; i < LABELS_MAX; i++) {
        memset(now.options.gather.labels.items[i].key, 'k', LABEL_KEY_MAX);
        memset(now.options.gather.labels.items[i].value, 'v', LABEL_VALUE_MAX);
    }
    memset(now.push.last_error, 'e', sizeof(now.push.last_error) - 1);
    now.push.failures = UINT32_MAX;
    now.push.failing_since_ms = 1;
}

static void largest_pages_fit(void **state)
{
    (void)state;
    make_largest();
    struct view seen = view();
    struct buf page;
    buf_init(&page, VIEW_PAGE_MAX);
    assert_int_equal(500, health_write(&page, &seen));
    assert_int_equal(0, buf_error(&page));
    buf_clear(&page);
    status_page_write(&page, &seen);
    assert_int_equal(0, buf_error(&page));
    buf_clear(&page);
    metrics_page_write(&page, &seen);
    assert_int_equal(0, buf_error(&page));
    assert_in_range(check_page(page.data), PROFILE_TYPES_MAX * SCRAPE_RESULT_COUNT + PLAN_JOBS_MAX, 2000);
    buf_clear(&page);
    for (unsigned i = 0; i < PLAN_JOBS_MAX; i++)
        memset(now.jobs[i].words, '\\', TAKER_WORDS_MAX - 1); /* as escaped bytes of an app's words */
    status_json_write(&page, &seen);
    assert_int_equal(0, buf_error(&page));
    buf_done(&page);
}

static int pages_attempt(void *ctx)
{
    (void)ctx;
    struct view seen = view();
    int rc = 0;
    for (int page = 0; page < 4; page++) {
        struct buf body;
        buf_init(&body, VIEW_PAGE_MAX);
        if (page == 0)
            health_write(&body, &seen);
        else if (page == 1)
            status_page_write(&body, &seen);
        else if (page == 2)
            status_json_write(&body, &seen);
        else
            metrics_page_write(&body, &seen);
        rc = rc == 0 ? buf_error(&body) : rc;
        buf_done(&body);
    }
    return rc;
}

/* The server turns a buf error into a 500. */
static void without_memory_a_page_is_an_error(void **state)
{
    (void)state;
    make_state("api=http://h:1/x,worker=http://h:2/x", "cpu,heap");
    assert_in_range(alloc_fail_in_turn("status pages", pages_attempt, NULL), 3, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_agent_is_healthy),
        cmocka_unit_test(bad_settings_are_told_one_a_line),
        cmocka_unit_test(target_failing_for_three_intervals_is_told),
        cmocka_unit_test(collector_failing_for_three_intervals_is_told),
        cmocka_unit_test(target_that_misses_every_type_is_told),
        cmocka_unit_test(all_reasons_are_told_together),
        cmocka_unit_test(status_of_a_new_agent),
        cmocka_unit_test(status_of_a_working_agent_with_two_targets),
        cmocka_unit_test(status_of_an_idle_agent),
        cmocka_unit_test(agent_that_cannot_work_yet_says_why),
        cmocka_unit_test(spool_directory_that_cannot_be_opened_is_told),
        cmocka_unit_test(memory_that_stood_in_counts_to_the_end),
        cmocka_unit_test(job_that_is_over_has_no_next_run),
        cmocka_unit_test(profiles_that_do_not_come_for_an_every_are_told),
        cmocka_unit_test(output_directory_is_named_in_place_of_a_collector),
        cmocka_unit_test(json_of_a_working_agent),
        cmocka_unit_test(json_of_an_idle_agent),
        cmocka_unit_test(metrics_of_an_idle_agent),
        cmocka_unit_test(metrics_of_a_working_agent),
        cmocka_unit_test(largest_pages_fit),
        cmocka_unit_test(without_memory_a_page_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
