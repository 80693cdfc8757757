/* limits: what [limits] of the webhook's INI file permits pods to ask for, and how bad limits are told. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/os/file.h"
#include "common/pod/limits.h"
#include "common/pod/policy.h"
#include "common/settings/settings_check.h"
#include "common/settings/settings_ini.h"
#include "ini_file.h"

#include <unistd.h>

#define ROOT FIXTURES "/../.."

enum { PAGE_MAX = 64 * 1024 };

static int load(struct policy *policy, const char *text, struct err *err)
{
    write_ini(text);
    return policy_read(policy, ini_path, err);
}

/* ---- what they permit ---- */

static const struct {
    const char *limit; /* the line in [limits] */
    const char *own;   /* other sections; NULL = none */
    enum setting_id id;
    const char *value;
    const char *refused; /* NULL = permitted */
} rows[] = {
    {"interval = 30s..10m", NULL, SETTING_INTERVAL, "30s", NULL},
    {"interval = 30s..10m", NULL, SETTING_INTERVAL, "600s", NULL},
    {"interval = 30s..10m", NULL, SETTING_INTERVAL, "29999ms",
     "expected 30s to 10m (limit of the cluster), got \"29999ms\""},
    {"interval = 30s..10m", NULL, SETTING_INTERVAL, "11m", "expected 30s to 10m"},
    {"interval = 30s..", NULL, SETTING_INTERVAL, "24h", NULL},
    {"interval = 30s ..", NULL, SETTING_INTERVAL, "1s", "expected 30s or more (limit of the cluster), got \"1s\""},
    {"interval = ..10m", NULL, SETTING_INTERVAL, "1s", NULL},
    {"interval = .. 10m", NULL, SETTING_INTERVAL, "1h", "expected at most 10m (limit of the cluster), got \"1h\""},
    {"interval = 30s..10m", NULL, SETTING_TYPES, "heap,cpu:30s", NULL},
    {"interval = 30s..10m", NULL, SETTING_TYPES, "heap,cpu:5s=1s",
     "cpu: expected 30s to 10m (limit of the cluster), got \"5s\""},
    {"interval = 30s..10m", NULL, SETTING_TYPES, "cpu,heap:1h", "heap: expected 30s to 10m"},
    {"interval = fixed", NULL, SETTING_TYPES, "cpu,heap", NULL},
    {"interval = fixed", NULL, SETTING_TYPES, "cpu:30s",
     "cpu: expected no interval of a pod's own (limit of the cluster)"},
    {"cpu-seconds = 5..20", NULL, SETTING_CPU_SECONDS, "5", NULL},
    {"cpu-seconds = 5..20", NULL, SETTING_CPU_SECONDS, "4", "expected 5 to 20"},
    {"cpu-seconds = 5..20", NULL, SETTING_CPU_SECONDS, "21", "expected 5 to 20"},
    {"cpu-seconds = 5..20", NULL, SETTING_TYPES, "cpu:60s=20s", NULL},
    {"cpu-seconds = 5..20", NULL, SETTING_TYPES, "cpu:60s=30s", "cpu: expected 5 to 20"},
    {"cpu-seconds = 5..20", NULL, SETTING_TYPES, "cpu=1", "cpu: expected 5 to 20"},
    {"cpu-seconds = 5..20", NULL, SETTING_TYPES, "trace=30s", NULL},
    {"cpu-seconds = fixed", NULL, SETTING_TYPES, "cpu=1", "cpu: expected no cpu-seconds of a pod's own"},
    {"sampling = 10%..", NULL, SETTING_SAMPLING, "10%", NULL},
    {"sampling = 10%..", NULL, SETTING_SAMPLING, "9.99%", "expected 10% or more"},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "67108864", NULL},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "64.1Mi", "expected at most 64Mi"},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "none",
     "expected at most 64Mi (limit of the cluster), got \"none\""},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "0",
     "expected at most 64Mi (limit of the cluster), got \"0\""},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "-0.0e3", "expected at most 64Mi"},
    {"memory-limit = ..64Mi", NULL, SETTING_MEMORY_LIMIT, "1n", NULL},
    {"cpu-limit = ..100m", "[inject]\ncpu-limit = 50m\n", SETTING_CPU_LIMIT, "0m", "expected at most 100m"},
    {"cpu-limit = 0..", NULL, SETTING_CPU_LIMIT, "0", NULL},
    {"cpu-request = ..100m", NULL, SETTING_CPU_REQUEST, "0", NULL},
    {"memory-limit = 16Mi..", NULL, SETTING_MEMORY_LIMIT, "none", NULL},
    {"memory-limit = 16Mi..", NULL, SETTING_MEMORY_LIMIT, "8Mi", "expected 16Mi or more"},
    {"cpu-request = 1m..", NULL, SETTING_CPU_REQUEST, "none", "expected 1m or more"},
    {"cpu-request = ..100m", NULL, SETTING_CPU_REQUEST, "none", "expected at most 100m"},
    {"cpu-request = 1m..100m", NULL, SETTING_CPU_REQUEST, "0.1", NULL},
    {"spool = 16Mi..128Mi", NULL, SETTING_SPOOL, "memory", NULL},
    {"spool = 16Mi..128Mi", NULL, SETTING_SPOOL, "64Mi", NULL},
    {"spool = 16Mi..128Mi", NULL, SETTING_SPOOL, "129Mi", "expected 16Mi to 128Mi"},
    {"mode = native", NULL, SETTING_MODE, "native", NULL},
    {"mode = native", NULL, SETTING_MODE, "container",
     "expected one of native (limit of the cluster), got \"container\""},
    {"log-level = info, warn", NULL, SETTING_LOG_LEVEL, "warn", NULL},
    {"log-level = info, warn", NULL, SETTING_LOG_LEVEL, "debug", "expected one of info, warn"},
    {"collector-secret = profefe", NULL, SETTING_COLLECTOR_SECRET, "profefe", NULL},
    {"collector-secret = profefe", NULL, SETTING_COLLECTOR_SECRET, "profefe-admin", "expected one of profefe"},
    {"types = cpu,heap", "[defaults]\ntypes = cpu\n", SETTING_TYPES, "heap:5m,cpu=5s", NULL},
    {"types = cpu,heap", "[defaults]\ntypes = cpu\n", SETTING_TYPES, "heap,mutex", "expected types among cpu,heap"},
    {"types = cpu,other", "[defaults]\ntypes = cpu\n", SETTING_TYPES, "other/wall", NULL},
    {"types = cpu,other/wall", "[defaults]\ntypes = cpu\n", SETTING_TYPES, "other/wall", NULL},
    {"types = cpu,other/wall", "[defaults]\ntypes = cpu\n", SETTING_TYPES, "other/walls", "expected types among"},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "http://profefe", NULL},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "http://profefe:10100", NULL},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "http://profefe/team", NULL},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "http://profefe.evil.example",
     "a URL that begins with one of http://profefe "},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "http://profefe-2", "a URL that begins"},
    {"collector = http://profefe", NULL, SETTING_COLLECTOR, "https://profefe", "a URL that begins"},
    {"collector = http://profefe.", NULL, SETTING_COLLECTOR, "http://profefe.evil.example", "a URL that begins"},
    {"collector = http://profefe.", NULL, SETTING_COLLECTOR, "http://profefe.team.svc",
     "a URL that begins with one of http://profefe. (limit of the cluster) in whole names, got"},
    {"collector = http://profefe.", NULL, SETTING_COLLECTOR, "http://profefe.:10100/team", NULL},
    {"collector = http://profefe-", NULL, SETTING_COLLECTOR, "http://profefe-evil.example", "a URL that begins"},
    {"collector = http://profefe:", NULL, SETTING_COLLECTOR, "http://profefe:10100/team", NULL},
    {"collector = http://[fd00:", NULL, SETTING_COLLECTOR, "http://[fd00::1]", "a URL that begins"},
    {"collector = http://[fd00::1", NULL, SETTING_COLLECTOR, "http://[fd00::1]", "a URL that begins"},
    {"collector = http://[fd00::1]", NULL, SETTING_COLLECTOR, "http://[fd00::1]:10100", NULL},
    {"collector = http://profefe/team-", NULL, SETTING_COLLECTOR, "http://profefe/team-a", NULL},
    {"collector = http://profefe/team-", NULL, SETTING_COLLECTOR, "http://profefe/team-a/../admin",
     "a URL that begins"},
    {"collector = http://profefe:101", NULL, SETTING_COLLECTOR, "http://profefe:10100", "a URL that begins"},
    {"collector = http://profefe/team/", NULL, SETTING_COLLECTOR, "http://profefe/team/a", NULL},
    {"collector = http://profefe/team", NULL, SETTING_COLLECTOR, "http://profefe/teams", "a URL that begins"},
    {"collector = http://profefe/team", NULL, SETTING_COLLECTOR, "http://profefe/team/../admin", "a URL that begins"},
    {"collector = http://profefe/team", NULL, SETTING_COLLECTOR, "http://profefe/team/%2e%2e/admin",
     "a URL that begins"},
    {"collector = http://a,https://b", NULL, SETTING_COLLECTOR, "https://b:1", NULL},
    {"image = registry.example.com/team", NULL, SETTING_IMAGE, "registry.example.com/team/agent:1", NULL},
    {"image = registry.example.com/team", NULL, SETTING_IMAGE, "registry.example.com/team-evil/agent:1",
     "an image that begins"},
    {"labels = fixed", NULL, SETTING_LABELS, "a=b",
     "expected no value of a pod's own (limit of the cluster), got \"a=b\""},
    {"interval = fixed", NULL, SETTING_INTERVAL, "60s", "expected no value of a pod's own"},
    {"port = fixed", NULL, SETTING_PORT, "6060", "expected no value"},
    {"interval = 30s..", NULL, SETTING_LABELS, "a=b", NULL},
};

static void values_of_pods_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLEANUP(policy_done) struct policy policy = {0};
        struct err err = err_untouched;
        char ini[512], row[300];
        snprintf(row, sizeof(row), "%s / %s", rows[i].limit, rows[i].value);
        snprintf(ini, sizeof(ini), "%s[limits]\n%s\n", rows[i].own != NULL ? rows[i].own : "", rows[i].limit);
        expect_success(row, load(&policy, ini, &err), &err);
        expect_success(row, settings_check(rows[i].id, span_of(rows[i].value), &err), &err);
        int rc = limits_check(&policy.limits, rows[i].id, span_of(rows[i].value), &err);
        if (rows[i].refused == NULL)
            expect_success(row, rc, &err);
        else
            expect_failure(row, -EINVAL, rows[i].refused, rc, &err);
    }
}

static void without_limits_all_is_permitted(void **state)
{
    (void)state;
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = err_untouched;
    expect_success("empty", load(&policy, "[limits]\n", &err), &err);
    expect_success("interval", limits_check(&policy.limits, SETTING_INTERVAL, span_of("1s"), &err), &err);
    expect_success("types", limits_check(&policy.limits, SETTING_TYPES, span_of("cpu:2s=1s"), &err), &err);
    expect_success("none", limits_check(NULL, SETTING_INTERVAL, span_of("1s"), &err), &err);
}

/* ---- bounds ---- */

static void limits_give_their_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *limit, *low, *high; /* "" = open */
    } bounds[] = {
        {"memory-limit = 8Mi .. 0.5Gi", "8Mi", "0.5Gi"},
        {"memory-limit = 8Mi..", "8Mi", ""},
        {"memory-limit = ..64Mi", "", "64Mi"},
        {"memory-limit = fixed", "", ""},
        {"memory-request = 16Mi..", "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        CLEANUP(policy_done) struct policy policy = {0};
        struct err err = err_untouched;
        struct span low, high;
        char text[256];
        snprintf(text, sizeof(text), "[limits]\n%s\n", bounds[i].limit);
        expect_success(bounds[i].limit, load(&policy, text, &err), &err);
        limits_get_range(&policy.limits, SETTING_MEMORY_LIMIT, &low, &high);
        assert_int_equal(low.len, strlen(bounds[i].low));
        assert_memory_equal(low.ptr != NULL ? low.ptr : "", bounds[i].low, low.len);
        assert_int_equal(high.len, strlen(bounds[i].high));
        assert_memory_equal(high.ptr != NULL ? high.ptr : "", bounds[i].high, high.len);
    }
}

/* ---- bad limits ---- */

static const struct {
    const char *ini;
    const char *told; /* after the file's name */
} bad_rows[] = {
    {"[limits]\ninterval = 10m..30s\n",
     ":2: [limits] interval: expected LOW..HIGH with LOW at most HIGH, got \"10m..30s\""},
    {"[limits]\ninterval = 30s\n", ":2: [limits] interval: expected LOW..HIGH, LOW.., ..HIGH or fixed, got \"30s\""},
    {"[limits]\ninterval = ..\n", ":2: [limits] interval: expected LOW..HIGH"},
    {"[limits]\ninterval =\n", ":2: [limits] interval: expected a limit, got \"\""},
    {"[limits]\ninterval = 30..60\n", ":2: [limits] interval: expected a whole number with a unit"},
    {"[limits]\n\ninterval = 30s..48h\n",
     ":3: [limits] interval: expected a whole number with a unit (ms, s, m, h) from 1s to 24h"},
    {"[limits]\ncpu-seconds = 1..301\n", ":2: [limits] cpu-seconds: "},
    {"[limits]\nsampling = 0%..50%\n", ":2: [limits] sampling: "},
    {"[limits]\nmemory-limit = none..64Mi\n", ":2: [limits] memory-limit: "},
    {"[limits]\nmode = plain\n", ":2: [limits] mode: expected native|container, got \"plain\""},
    {"[limits]\nmode = native,,container\n", ":2: [limits] mode: expected a limit"},
    {"[limits]\ntypes = cpu,hepa\n", ":2: [limits] types: unknown profile type \"hepa\", did you mean heap?"},
    {"[limits]\ntypes = cpu:60s\n", ":2: [limits] types: expected the name of a type"},
    {"[limits]\ncollector = profefe\n", ":2: [limits] collector: expected a prefix such as http://"},
    {"[limits]\ncollector = http://\n", ":2: [limits] collector: expected a prefix such as http://"},
    {"[limits]\ncollector-secret = Bad_Name\n", ":2: [limits] collector-secret: expected the name of an object"},
    {"[limits]\nlabels = team=shop\n",
     ":2: [limits] labels: expected fixed, which is the only limit of this setting, got"},
    {"[limits]\nstrict = true\n", ":2: [limits] strict: expected fixed"},
    {"[limits]\nenable = fixed\n",
     ":2: [limits] unknown key \"enable\", expected the name of an annotation that can be limited"},
    {"[limits]\nstatus = fixed\n", ":2: [limits] unknown key \"status\""},
    {"[limits]\nprot = fixed\n", ":2: [limits] unknown key \"prot\", did you mean port?"},
    {"[limits]\nimage-prefixes = fixed\n", ":2: [limits] unknown key \"image-prefixes\""},
    {"[limits]\nlisten = fixed\n", ":2: [limits] unknown key \"listen\""},
    {"[limits]\nmode = native\nmode = native\n", ":3: [limits] mode: given twice"},
    /* what counts where a pod says nothing */
    {"[limits]\ninterval = 2m..\n", ":2: [limits] interval: the webhook's own interval does not satisfy it: expected "
                                    "2m or more (limit of the cluster), got \"60s\""},
    {"[limits]\ntypes = cpu,heap\n",
     ":2: [limits] types: the webhook's own types does not satisfy it: expected types among cpu,heap"},
    {"[limits]\ncpu-limit = ..100m\n", ":2: [limits] cpu-limit: the webhook's own cpu-limit does not satisfy it"},
    {"[inject]\nmemory-limit = 8Mi\n[limits]\nmemory-limit = ..8Mi\nmemory-request = 16Mi..\n",
     ":5: [limits] memory-request: expected at most 8Mi, the highest memory-limit, got 16Mi"},
    {"[inject]\ncpu-request = 0.2\ncpu-limit = 100m\n[limits]\ncpu-request = 101m..\ncpu-limit = ..0.1\n",
     ":5: [limits] cpu-request: expected at most 0.1, the highest cpu-limit, got 101m"},
    {"[inject]\ncollector = http://b\n[limits]\ncollector = http://a\n",
     ":4: [limits] collector: the webhook's own collector"},
    {"[defaults]\ntypes = cpu:10s=2s\n[limits]\ninterval = 30s..\n",
     ":4: [limits] interval: the webhook's own types does not satisfy it: cpu: expected 30s or more"},
};

static void bad_limits_are_told_with_their_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_rows); i++) {
        CLEANUP(policy_done) struct policy policy = {0};
        struct err err = err_untouched;
        char told[512];
        snprintf(told, sizeof(told), "%s%s", ini_path, bad_rows[i].told);
        expect_failure(bad_rows[i].ini, -EINVAL, told, load(&policy, bad_rows[i].ini, &err), &err);
    }
}

static void what_is_fixed_may_be_anything_in_the_configuration(void **state)
{
    (void)state;
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = err_untouched;
    static const char ini[] = "[defaults]\ntypes = cpu:10s=2s\nlabels = a=b\n"
                              "[limits]\ntypes = fixed\ninterval = fixed\ncpu-seconds = fixed\nlabels = fixed\n";
    expect_success("fixed", load(&policy, ini, &err), &err);
}

static void a_list_goes_on_over_lines(void **state)
{
    (void)state;
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = err_untouched;
    static const char ini[] = "[limits]\ntypes = cpu,heap,goroutine\n  block,mutex\n  trace\n";
    expect_success("lines", load(&policy, ini, &err), &err);
    expect_success("trace", limits_check(&policy.limits, SETTING_TYPES, span_of("trace"), &err), &err);
}

/* The agent has no [limits]. */
static void the_agent_does_not_know_them(void **state)
{
    (void)state;
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = err_untouched;
    write_ini("[limits]\nmode = native\n");
    expect_failure("agent", -EINVAL, ":2: unknown key \"mode\" in section \"limits\"",
                   settings_ini_read(&policy.settings, ini_path, SETTING_AGENT, NULL, &err), &err);
}

static void help_names_each_of_them(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 16 * 1024);
    assert_int_equal(0, limits_write_help(&out));
    for (int id = 0; id < SETTING_COUNT; id++) {
        char line[80];
        snprintf(line, sizeof(line), "  %s = ", settings_table[id].name);
        if (limits_can_hold((enum setting_id)id))
            expect_contains("help", buf_text(&out), line);
    }
    assert_null(strstr(buf_text(&out), "  enable = "));
}

/* ---- the examples of our own pages ---- */

static const char own_values[] = "[inject]\ncollector = http://profefe.profefe-system.svc:10100\n"
                                 "image = registry.example.com/profefe/profefe-agent:1.0\n";

static void expect_good_example(const char *where, const char *ini)
{
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = err_untouched;
    int rc = load(&policy, ini, &err);
    if (rc != 0)
        fail_msg("%s: the example is refused: %s\n%s", where, err.text, ini);
}

/* Borrowed until the next call. */
static const char *read_page(const char *path)
{
    static char page[PAGE_MAX + 1];
    CLEANUP_FREE char *text = NULL;
    size_t len;
    struct err err;
    if (access(path, F_OK) != 0)
        skip();
    if (file_read(path, PAGE_MAX, &text, &len, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(page, sizeof(page), "%s", text);
    return page;
}

/* The lines from the one with [limits] on, less what stands before each and behind a gap of two spaces, into `ini`. */
static void copy_block(const char *page, const char *margin, struct buf *ini)
{
    char first[64];
    snprintf(first, sizeof(first), "\n%s[limits]\n", margin);
    const char *line = strstr(page, first);
    assert_non_null(line);
    for (line++; span_has_prefix(span_of(line), margin); line += strcspn(line, "\n") + 1) {
        const char *text = line + strlen(margin), *gap = strstr(text, "  ");
        size_t len = strcspn(text, "\n");
        buf_append(ini, text, gap != NULL && (size_t)(gap - text) < len ? (size_t)(gap - text) : len);
        buf_putc(ini, '\n');
    }
}

static void examples_of_the_header_are_good(void **state)
{
    (void)state;
    const char *page = read_page(ROOT "/common/pod/limits.h");
    CLEANUP(buf_done) struct buf ini;
    buf_init(&ini, PAGE_MAX);
    buf_puts(&ini, own_values);
    copy_block(page, " *     ", &ini);
    expect_contains("limits.h", buf_text(&ini), "\ncollector = http://profefe.profefe-system.svc\n");
    expect_good_example("limits.h", buf_text(&ini));
}

static void examples_of_the_readme_are_good(void **state)
{
    (void)state;
    const char *page = read_page(ROOT "/README.md");
    CLEANUP(buf_done) struct buf ini;
    buf_init(&ini, PAGE_MAX);
    buf_puts(&ini, "[inject]\ncollector = http://profefe.monitoring.svc:10100\n"); /* as its installation has it */
    expect_contains("README.md", page, "\n    collector = http://profefe.monitoring.svc:10100\n");
    copy_block(page, "    ", &ini);
    expect_contains("README.md", buf_text(&ini), "\nmode = native\n");
    expect_good_example("README.md", buf_text(&ini));
}

/* The last cell of each row: `KEY = LIMIT`. */
static void examples_of_the_webhooks_page_are_good(void **state)
{
    (void)state;
    const char *page = read_page(ROOT "/webhook/README.md");
    const char *row = strstr(page, "\n| settings | limit | example |");
    unsigned examples = 0;
    assert_non_null(row);
    while ((row = strchr(row + 1, '\n')) != NULL && row[1] == '|') {
        char ini[512];
        size_t len = strcspn(row + 1, "\n");
        const char *end = row + len - 2, *begin = end; /* " |" behind the last cell */
        if (*end != '`')
            continue;
        while (begin[-1] != '`')
            begin--;
        snprintf(ini, sizeof(ini), "%s[limits]\n%.*s\n", own_values, (int)(end - begin), begin);
        expect_good_example("webhook/README.md", ini);
        examples++;
    }
    assert_in_range(examples, 5, 20);
}

/* ---- without memory ---- */

static int load_attempt(void *ctx)
{
    (void)ctx;
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err = {0};
    return policy_read(&policy, ini_path, &err);
}

static void each_allocation_failed_in_turn(void **state)
{
    (void)state;
    write_ini("[defaults]\ntypes = cpu\n[limits]\nmode = native\ntypes = cpu,\n  heap\nlabels = fixed\n");
    assert_in_range(alloc_fail_in_turn("limits", load_attempt, NULL), 4, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_give_their_bounds),
        cmocka_unit_test(values_of_pods_are_checked),
        cmocka_unit_test(without_limits_all_is_permitted),
        cmocka_unit_test(bad_limits_are_told_with_their_line),
        cmocka_unit_test(what_is_fixed_may_be_anything_in_the_configuration),
        cmocka_unit_test(a_list_goes_on_over_lines),
        cmocka_unit_test(the_agent_does_not_know_them),
        cmocka_unit_test(help_names_each_of_them),
        cmocka_unit_test(examples_of_the_header_are_good),
        cmocka_unit_test(examples_of_the_readme_are_good),
        cmocka_unit_test(examples_of_the_webhooks_page_are_good),
        cmocka_unit_test(each_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests_name("limits", tests, make_ini, remove_ini);
}
