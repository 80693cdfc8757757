/* settings: a table whose rows are sane, checks by type, and values from flag, environment, INI and default in that
 * order. */
#include "unit.h"

#include "alloc_fail.h"
#include "ini_file.h"
#include "common/base/cleanup.h"
#include "common/os/file.h"
#include "common/base/span.h"
#include "common/settings/settings.h"
#include "common/settings/settings_check.h"
#include "common/settings/settings_help.h"
#include "common/settings/settings_flag.h"
#include "common/settings/settings_ini.h"
#include "common/settings/settings_env.h"
#include "common/values/profile_types.h"

#include <stdio.h>
#include <unistd.h>

#define README FIXTURES "/../../README.md"

enum { PAGE_MAX = 256 * 1024 };

/* ---- the table ---- */

static void each_row_is_whole(void **state)
{
    (void)state;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        if (row->name == NULL || row->help == NULL)
            fail_msg("setting %d has no name or no help", id);
        assert_in_range(strlen(row->name), 2, 40);
        assert_in_range(strlen(row->help), 5, 200);
        if (strpbrk(row->help, "\n\t") != NULL || row->help[strlen(row->help) - 1] == '.')
            fail_msg("%s: help is not one line without a full stop", row->name);
        for (const char *c = row->name; *c != '\0'; c++)
            assert_true((*c >= 'a' && *c <= 'z') || (*c == '-' && c != row->name));
        if ((row->where & (SETTING_ANNOTATION | SETTING_AGENT | SETTING_WEBHOOK)) == 0)
            fail_msg("%s: nobody uses it", row->name);
        if ((row->section != NULL) != ((row->where & SETTING_WEBHOOK) != 0))
            fail_msg("%s: a section, but no INI key of the webhook, or the other way round", row->name);
        if ((row->choices != NULL) != (row->type == SETTING_TYPE_CHOICE))
            fail_msg("%s: choices without being one", row->name);
    }
}

static void each_default_passes_its_own_check(void **state)
{
    (void)state;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        struct err err = err_untouched;
        if (row->default_text != NULL)
            expect_success(row->name, settings_check((enum setting_id)id, span_of(row->default_text), &err), &err);
    }
}

static void each_range_lets_something_in(void **state)
{
    (void)state;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        bool ranged = row->type == SETTING_TYPE_WHOLE || row->type == SETTING_TYPE_DURATION || row->type == SETTING_TYPE_TEXT;
        if (ranged && (row->min < 0 || row->min >= row->max))
            fail_msg("%s: range %lld to %lld", row->name, (long long)row->min, (long long)row->max);
        if (row->type == SETTING_TYPE_PATH && row->max <= 0)
            fail_msg("%s: no path fits", row->name);
        if (row->type == SETTING_TYPE_TEXT)
            assert_true(row->max <= SETTINGS_VALUE_MAX);
    }
}

/* A Service called `profefe` puts PROFEFE_PORT, PROFEFE_SERVICE_HOST, PROFEFE_PORT_10100_TCP_ADDR … into every
 * container of its namespace; one called `profefe-agent` PROFEFE_AGENT_PORT and the like. */
static void no_environment_name_can_be_a_service_link(void **state)
{
    (void)state;
    static const char *const identity[] = {"POD_NAME", "POD_NAMESPACE", "POD_UID", "NODE_NAME", "POD_IP"};
    static const char *const ends[] = {"_PORT", "_HOST", "_ADDR", "_PROTO", "_TCP", "_UDP"};
    unsigned identities = 0;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const char *env = settings_table[id].env;
        bool agent = (settings_table[id].where & SETTING_AGENT) != 0, known = false;
        if (env == NULL) {
            if (agent)
                fail_msg("%s: a setting of the agent without an environment variable", settings_table[id].name);
            continue;
        }
        for (size_t i = 0; i < COUNT_OF(identity); i++)
            known |= strcmp(env, identity[i]) == 0;
        identities += known ? 1 : 0;
        if (!known && !span_has_prefix(span_of(env), agent ? "PROFEFE_AGENT_" : "PROFEFE_WEBHOOK_"))
            fail_msg("%s: environment name %s", settings_table[id].name, env);
        for (size_t i = 0; i < COUNT_OF(ends); i++) {
            size_t len = strlen(env), end = strlen(ends[i]);
            if (len >= end && strcmp(env + len - end, ends[i]) == 0)
                fail_msg("%s: environment name %s ends in %s", settings_table[id].name, env, ends[i]);
        }
        for (const char *c = env; *c != '\0'; c++)
            assert_true((*c >= 'A' && *c <= 'Z') || *c == '_');
    }
    assert_int_equal(COUNT_OF(identity), identities);
}

/* PROFEFE_AGENT_CPU_SECONDS is cpu-seconds. */
static void environment_names_follow_from_the_setting(void **state)
{
    (void)state;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        if (row->env == NULL)
            continue;
        bool identity = !span_has_prefix(span_of(row->env), "PROFEFE_");
        const char *rest = identity ? row->env : strchr(row->env + strlen("PROFEFE_"), '_') + 1;
        assert_int_equal(strlen(row->name), strlen(rest));
        for (size_t i = 0; row->name[i] != '\0'; i++) {
            char expected = row->name[i] == '-' ? '_' : (char)(row->name[i] - 'a' + 'A');
            if (rest[i] != expected)
                fail_msg("%s: environment name %s", row->name, row->env);
        }
    }
}

static void names_are_unique_where_they_are_used(void **state)
{
    (void)state;
    for (int a = 0; a < SETTING_COUNT; a++) {
        for (int b = a + 1; b < SETTING_COUNT; b++) {
            const struct setting *one = &settings_table[a], *two = &settings_table[b];
            if (one->env != NULL && two->env != NULL && strcmp(one->env, two->env) == 0)
                fail_msg("%s is the variable of %s and %s", one->env, one->name, two->name);
            if (strcmp(one->name, two->name) != 0)
                continue;
            unsigned both = one->where & two->where;
            if ((both & (SETTING_ANNOTATION | SETTING_AGENT)) != 0)
                fail_msg("two settings are called %s", one->name);
            if ((both & SETTING_WEBHOOK) != 0 && strcmp(one->section, two->section) == 0)
                fail_msg("two keys of [%s] are called %s", one->section, one->name);
        }
    }
}

static void each_choice_is_taken(void **state)
{
    (void)state;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        if (row->choices == NULL)
            continue;
        for (const char *choice = row->choices;; choice++) {
            size_t len = strcspn(choice, "|");
            struct err err = err_untouched;
            if (len == 0)
                fail_msg("%s: an empty choice in %s", row->name, row->choices);
            expect_success(row->name, settings_check((enum setting_id)id, (struct span){choice, len}, &err), &err);
            choice += len;
            if (*choice == '\0')
                break;
        }
    }
}

/* The second cell of the README's row "| `NAME` | DEFAULT | …". */
static bool find_readme_row(const char *readme, const char *name, char cell[static 512])
{
    char start[64];
    snprintf(start, sizeof(start), "\n| `%s` |", name);
    const char *row = strstr(readme, start);
    if (row == NULL)
        return false;
    row += strlen(start);
    snprintf(cell, 512, "%.*s", (int)strcspn(row, "|\n"), row);
    return true;
}

static void readme_has_each_annotation_with_its_default(void **state)
{
    (void)state;
    CLEANUP_FREE char *readme = NULL;
    size_t len = 0;
    struct err err = {0};
    if (access(README, F_OK) != 0)
        skip();
    if (file_read(README, PAGE_MAX, &readme, &len, &err) < 0)
        fail_msg("%s", err.text);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *row = &settings_table[id];
        char cell[512], dflt[512];
        if ((row->where & SETTING_ANNOTATION) == 0)
            continue;
        if (!find_readme_row(readme, row->name, cell))
            fail_msg("README.md: its table lacks a row `%s`", row->name);
        if (row->default_text == NULL)
            continue;
        snprintf(dflt, sizeof(dflt), "`%s`", row->default_text);
        if (strstr(cell, dflt) == NULL)
            fail_msg("README.md: `%s` says its default is%s, expected %s", row->name, cell, dflt);
    }
}

/* The rows of the table under "| annotation | default |", each a setting that a pod may use. */
static void readme_has_no_annotation_that_is_not_built(void **state)
{
    (void)state;
    CLEANUP_FREE char *readme = NULL;
    size_t len = 0;
    struct err err = {0};
    if (access(README, F_OK) != 0)
        skip();
    if (file_read(README, PAGE_MAX, &readme, &len, &err) < 0)
        fail_msg("%s", err.text);
    const char *row = strstr(readme, "\n| annotation | default |");
    assert_non_null(row);
    unsigned rows = 0;
    while ((row = strchr(row + 1, '\n')) != NULL && row[1] == '|') {
        if (!span_has_prefix(span_of(row), "\n| `"))
            continue;
        struct span name = {row + 4, strcspn(row + 4, "`\n")};
        if (settings_table_find(name, SETTING_ANNOTATION) < 0)
            fail_msg("README.md: `%.*s` is no annotation", (int)name.len, name.ptr);
        rows++;
    }
    assert_in_range(rows, 10, SETTING_COUNT);
}

/* ---- names ---- */

static void find_looks_among_the_uses_asked_for(void **state)
{
    (void)state;
    assert_int_equal(SETTING_PORT, settings_table_find(span_of("port"), SETTING_ANNOTATION));
    assert_int_equal(-1, settings_table_find(span_of("port"), SETTING_AGENT));
    assert_int_equal(SETTING_LISTEN, settings_table_find(span_of("listen"), SETTING_AGENT));
    assert_int_equal(SETTING_SERVER_LISTEN, settings_table_find(span_of("listen"), SETTING_WEBHOOK));
    assert_int_equal(-1, settings_table_find(span_of("Port"), SETTING_ANNOTATION));
    assert_int_equal(-1, settings_table_find(span_of(""), SETTING_ANNOTATION));
    assert_int_equal(-1, settings_table_find((struct span){NULL, 0}, SETTING_ANNOTATION));
}

static void near_miss_is_a_slip_not_another_word(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned uses;
        const char *expected;
    } rows[] = {
        {"prot", SETTING_ANNOTATION, "port"},
        {"ports", SETTING_ANNOTATION, "port"},
        {"typ", SETTING_ANNOTATION, NULL},
        {"type", SETTING_ANNOTATION, "types"},
        {"Types", SETTING_ANNOTATION, "types"},
        {"intervall", SETTING_ANNOTATION, "interval"},
        {"cpu-second", SETTING_ANNOTATION, "cpu-seconds"},
        {"cpuseconds", SETTING_ANNOTATION, "cpu-seconds"},
        {"enabled", SETTING_ANNOTATION, "enable"},
        {"colector", SETTING_ANNOTATION, "collector"},
        {"target", SETTING_AGENT, "targets"},
        {"target", SETTING_ANNOTATION, NULL},
        {"x", SETTING_ANNOTATION, NULL},
        {"", SETTING_ANNOTATION, NULL},
        {"something-else-entirely", SETTING_ANNOTATION, NULL},
        {"a-name-that-is-much-longer-than-any-name-we-have", SETTING_ANNOTATION, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *near = settings_table_near_miss(span_of(rows[i].name), rows[i].uses);
        expect_text(rows[i].name, rows[i].expected != NULL ? rows[i].expected : "(none)", near != NULL ? near : "(none)");
    }
}

/* ---- checks ---- */

struct check_row {
    enum setting_id id;
    const char *text;
    const char *words; /* NULL: good */
};

static void check_rows(const struct check_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = err_untouched;
        char row[300];
        int rc = settings_check(rows[i].id, span_of(rows[i].text), &err);
        snprintf(row, sizeof(row), "%s = %s", settings_table[rows[i].id].name, rows[i].text);
        if (rows[i].words == NULL) {
            expect_success(row, rc, &err);
            continue;
        }
        if (rc >= 0)
            fail_msg("%s: was taken", row);
        expect_contains(row, err.text, rows[i].words);
    }
}

static void plain_values(void **state)
{
    (void)state;
    static const struct check_row rows[] = {
        {SETTING_ENABLE, "true", NULL},
        {SETTING_ENABLE, "Off", NULL},
        {SETTING_ENABLE, "", "expected true or false, got \"\""},
        {SETTING_ENABLE, "ture", "expected true or false, got \"ture\""},
        {SETTING_SERVICE, "web", NULL},
        {SETTING_SERVICE, "gr\xc3\xbc\xc3\x9f", NULL},
        {SETTING_SERVICE, "", "expected 1 to 253 bytes, got 0"},
        {SETTING_SERVICE, "a\tb", "without control characters"},
        {SETTING_SERVICE, "a\xc2\x9b" "31m", "without control characters"},
        {SETTING_SERVICE, "a\xff", "expected UTF-8"},
        {SETTING_SERVICE, "a\xc3", "expected UTF-8"},
        {SETTING_INTERVAL, "60s", NULL},
        {SETTING_INTERVAL, "1s", NULL},
        {SETTING_INTERVAL, "24h", NULL},
        {SETTING_INTERVAL, "999ms", "from 1s to 24h"},
        {SETTING_INTERVAL, "25h", "from 1s to 24h"},
        {SETTING_INTERVAL, "60", "expected a whole number with a unit"},
        {SETTING_CPU_SECONDS, "300", NULL},
        {SETTING_CPU_SECONDS, "0", "from 1 to 300"},
        {SETTING_CPU_SECONDS, "10s", "expected a whole number"},
        {SETTING_MODE, "native", NULL},
        {SETTING_MODE, "container", NULL},
        {SETTING_MODE, "nativ", "expected native|container, got \"nativ\""},
        {SETTING_MODE, "native|container", "expected native|container"},
        {SETTING_MODE, "Native", "expected native|container"},
        {SETTING_MODE, "", "expected native|container"},
        {SETTING_SCHEME, "https", NULL},
        {SETTING_SCHEME, "htt", "expected http|https"},
        {SETTING_PATH, "/debug/pprof", NULL},
        {SETTING_PATH, "/", NULL},
        {SETTING_PATH, "debug", "begin with /"},
        {SETTING_PATH, "", "begin with /"},
        {SETTING_COLLECTOR, "http://profefe:10100", NULL},
        {SETTING_COLLECTOR, "profefe:10100", "expected http://"},
        {SETTING_COLLECTOR, "", "expected http://"},
        {SETTING_TYPES, "cpu,heap:5m", NULL},
        {SETTING_TYPES, "cpu:10s=10s", "SECONDS less than EVERY"},
        {SETTING_LABELS, "team=shop", NULL},
        {SETTING_LABELS, "", NULL},
        {SETTING_LABELS, "team", "expected KEY=VALUE"},
        {SETTING_POD_LABELS, "app, app.kubernetes.io/name", NULL},
        {SETTING_POD_LABELS, "", NULL},
        {SETTING_POD_LABELS, "app name", "separated by commas, got \"app name\""},
        {SETTING_POD_LABELS, "\xc3\xa4", "separated by commas"},
        {SETTING_TARGETS, "a=http://h,b=http://h", NULL},
        {SETTING_TARGETS, "http://h,http://i", "a name of its own"},
        {SETTING_LISTEN, ":10101", NULL},
        {SETTING_LISTEN, "127.0.0.1:0", NULL},
        {SETTING_LISTEN, "[::1]:1", NULL},
        {SETTING_LISTEN, "none", NULL},
        {SETTING_LISTEN, "localhost:1", NULL},
        {SETTING_LISTEN, "[::]:0", NULL},
        {SETTING_LISTEN, "10101", "expected [HOST]:PORT"},
        {SETTING_LISTEN, "example.com:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_LISTEN, "::1:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_LISTEN, "127.0.0:80", "expected [HOST]:PORT with an IP address"},
        {SETTING_SERVER_LISTEN, "none", "expected [HOST]:PORT"},
        {SETTING_SERVER_ADMIN_LISTEN, "none", "expected [HOST]:PORT"},
        {SETTING_LISTEN, ":65536", "expected [HOST]:PORT"},
        {SETTING_LISTEN, ":", "expected [HOST]:PORT"},
        {SETTING_LISTEN, "", "expected [HOST]:PORT"},
        {SETTING_CPU_LIMIT, "none", NULL},
        {SETTING_CPU_LIMIT, "50m", NULL},
        {SETTING_CPU_LIMIT, "lots", "expected a quantity"},
        {SETTING_GRACE, "0", NULL},
        {SETTING_GRACE, "2147483647", NULL},
        {SETTING_GRACE, "-1", "expected a whole number"},
    };
    check_rows(rows, COUNT_OF(rows));
}

static void ports(void **state)
{
    (void)state;
    static const struct check_row rows[] = {
        {SETTING_PORT, "6060", NULL},
        {SETTING_PORT, "1", NULL},
        {SETTING_PORT, "65535", NULL},
        {SETTING_PORT, "pprof", NULL},
        {SETTING_PORT, "api=6060", NULL},
        {SETTING_PORT, "api=6060, worker = pprof-2 ,", NULL},
        {SETTING_PORT, "1=1,2=2,3=3,4=4,5=5,6=6,7=7,8=8", NULL},
        {SETTING_PORT, "", "1 to 8 ports, got 0"},
        {SETTING_PORT, "0", "got \"0\""},
        {SETTING_PORT, "65536", "got \"65536\""},
        {SETTING_PORT, "99999999999999999999", "got"},
        {SETTING_PORT, "-1", "got \"-1\""},
        {SETTING_PORT, "60 60", "got"},
        {SETTING_PORT, "Pprof", "got"},
        {SETTING_PORT, ":6060", "got"},
        {SETTING_PORT, "api=", "got"},
        {SETTING_PORT, "=6060", "NAME of a-z"},
        {SETTING_PORT, "API=6060", "NAME of a-z"},
        {SETTING_PORT, "-a=6060", "NAME of a-z"},
        {SETTING_PORT, "a=b=6060", "got"},
        {SETTING_PORT, "6060,6061", "a name for each of several ports"},
        {SETTING_PORT, "api=6060,6061", "a name for each of several ports"},
        {SETTING_PORT, "6060,,", "got"},
        {SETTING_PORT, "1=1,2=2,3=3,4=4,5=5,6=6,7=7,8=8,9=9", "1 to 8 ports, got 9"},
    };
    check_rows(rows, COUNT_OF(rows));
}

/* What a kubelet calls InvalidImageName would keep a native pod from starting. */
static void images(void **state)
{
    (void)state;
    static const struct check_row rows[] = {
        {SETTING_IMAGE, "a", NULL},
        {SETTING_IMAGE, "profefe-agent", NULL},
        {SETTING_IMAGE, "profefe-agent:1.0", NULL},
        {SETTING_IMAGE, "localhost/profefe-agent:dev", NULL},
        {SETTING_IMAGE, "registry.example.com/team/profefe-agent:1.0-RC1", NULL},
        {SETTING_IMAGE, "registry.example.com:5000/profefe_agent", NULL},
        {SETTING_IMAGE, "Registry.Example.com/a", NULL},
        {SETTING_IMAGE, "localhost:5000/a__b/c--d.e:v1_2", NULL},
        {SETTING_IMAGE, "a@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", NULL},
        {SETTING_IMAGE, "r.example.com/a:1@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", NULL},
        {SETTING_IMAGE, "", "expected an image"},
        {SETTING_IMAGE, "bad image!", "expected an image"},
        {SETTING_IMAGE, "/a", "expected an image"},
        {SETTING_IMAGE, "a/", "expected an image"},
        {SETTING_IMAGE, "a//b", "expected an image"},
        {SETTING_IMAGE, "a:", "expected an image"},
        {SETTING_IMAGE, ":1", "expected an image"},
        {SETTING_IMAGE, "a:1:2", "expected an image"},
        {SETTING_IMAGE, "a@", "expected an image"},
        {SETTING_IMAGE, "@sha256:00", "expected an image"},
        {SETTING_IMAGE, "a@b@c", "expected an image"},
        {SETTING_IMAGE, "https://r.example.com/a", "expected an image"},
        {SETTING_IMAGE, "Profefe-Agent:1.0", "expected an image"},
        {SETTING_IMAGE, "r.example.com/Profefe:1.0", "expected an image"},
        {SETTING_IMAGE, "-a", "expected an image"},
        {SETTING_IMAGE, "a-", "expected an image"},
        {SETTING_IMAGE, "a-/b", "expected an image"},
        {SETTING_IMAGE, "a..b", "expected an image"},
        {SETTING_IMAGE, "a._b", "expected an image"},
        {SETTING_IMAGE, "a___b", "expected an image"},
        {SETTING_IMAGE, "a/../b", "expected an image"},
        {SETTING_IMAGE, "a,b", "expected an image"},
        {SETTING_IMAGE, "a\nb", "expected an image"},
        {SETTING_IMAGE, "\xc3\xa4", "expected an image"},
        {SETTING_IMAGE, "r.example.com:/a", "expected an image"},
        {SETTING_IMAGE, "r.example.com", NULL},
    };
    check_rows(rows, COUNT_OF(rows));
}

static void every_type_refuses_nul_and_too_much(void **state)
{
    (void)state;
    static char text[SETTINGS_VALUE_MAX + 2];
    memset(text, 'a', sizeof(text));
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct err err = {0};
        int rc = settings_check((enum setting_id)id, (struct span){text, SETTINGS_VALUE_MAX + 1}, &err);
        expect_failure(settings_table[id].name, -EINVAL, "expected at most 4096 bytes, got 4097", rc, &err);
        if (settings_check((enum setting_id)id, (struct span){"a\0b", 3}, &err) == 0)
            fail_msg("%s: takes a NUL byte", settings_table[id].name);
        settings_check((enum setting_id)id, (struct span){text, SETTINGS_VALUE_MAX}, NULL);
        settings_check((enum setting_id)id, (struct span){"", 0}, NULL);
    }
}

/* ---- values and their origins ---- */

static int set(struct settings *settings, enum setting_id id, const char *text, enum setting_origin origin)
{
    return settings_set(settings, id, span_of(text), origin, NULL);
}

static void stronger_origin_wins_in_any_order(void **state)
{
    (void)state;
    static const struct {
        enum setting_origin origin;
        const char *text;
    } values[] = {{SETTING_FROM_INI, "2m"}, {SETTING_FROM_ENV, "3m"}, {SETTING_FROM_FLAG, "4m"}};
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < COUNT_OF(orders); o++) {
        for (size_t n = 0; n <= 3; n++) {
            struct settings settings;
            unsigned best = 0;
            settings_init(&settings);
            for (size_t i = 0; i < n; i++) {
                unsigned v = orders[o][i];
                assert_int_equal(0, set(&settings, SETTING_INTERVAL, values[v].text, values[v].origin));
                best = v + 1 > best ? v + 1 : best;
            }
            assert_string_equal(best == 0 ? "60s" : values[best - 1].text, settings_get(&settings, SETTING_INTERVAL));
            assert_int_equal(n > 0, settings_is_set(&settings, SETTING_INTERVAL));
            assert_int_equal(best == 0 ? 60000 : (int64_t)(best + 1) * 60000, settings_get_ms(&settings, SETTING_INTERVAL));
            settings_done(&settings);
        }
    }
}

static void bad_value_leaves_the_old_one(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    assert_int_equal(0, set(&settings, SETTING_INTERVAL, " 2m\n", SETTING_FROM_ENV));
    assert_string_equal("2m", settings_get(&settings, SETTING_INTERVAL));
    int rc = settings_set(&settings, SETTING_INTERVAL, span_of("soon"), SETTING_FROM_FLAG, &err);
    expect_failure("interval", -EINVAL, "got \"soon\"", rc, &err);
    assert_string_equal("2m", settings_get(&settings, SETTING_INTERVAL));
    /* also where it would not have counted: a wrong line in a file is wrong */
    assert_int_equal(-EINVAL, set(&settings, SETTING_INTERVAL, "soon", SETTING_FROM_INI));
    settings_done(&settings);
    settings_done(&settings);
}

static void typed_values(void **state)
{
    (void)state;
    struct settings settings;
    settings_init(&settings);
    assert_null(settings_get(&settings, SETTING_COLLECTOR));
    assert_false(settings_get_bool(&settings, SETTING_SIDECAR));
    assert_int_equal(10, settings_get_whole(&settings, SETTING_CPU_SECONDS));
    assert_int_equal(0, set(&settings, SETTING_SIDECAR, "YES", SETTING_FROM_ENV));
    assert_int_equal(0, set(&settings, SETTING_CPU_SECONDS, "300", SETTING_FROM_ENV));
    assert_true(settings_get_bool(&settings, SETTING_SIDECAR));
    assert_int_equal(300, settings_get_whole(&settings, SETTING_CPU_SECONDS));
    settings_done(&settings);
}

/* All typed getters work on all defaults: none may run into its assert. */
static void typed_getters_take_every_default(void **state)
{
    (void)state;
    struct settings settings;
    settings_init(&settings);
    for (int i = 0; i < SETTING_COUNT; i++) {
        enum setting_id id = (enum setting_id)i;
        const struct setting *row = &settings_table[id];
        if (row->default_text == NULL)
            continue;
        if (row->type == SETTING_TYPE_BOOL)
            settings_get_bool(&settings, id);
        else if (row->type == SETTING_TYPE_DURATION)
            assert_in_range(settings_get_ms(&settings, id), row->min, row->max);
        else if (row->type == SETTING_TYPE_WHOLE)
            assert_in_range(settings_get_whole(&settings, id), row->min, row->max);
    }
    settings_done(&settings);
}

/* ---- environment ---- */

struct bad_list {
    unsigned count;
    char text[2048];
};

static void take_bad(void *ctx, const struct err *err)
{
    struct bad_list *bad = ctx;
    bad->count++;
    snprintf(bad->text + strlen(bad->text), sizeof(bad->text) - strlen(bad->text), "%s\n", err->text);
}

static void environment_is_read_by_the_table(void **state)
{
    (void)state;
    const char *const env[] = {"PATH=/bin",
                   "PROFEFE_AGENT_INTERVAL=2m",
                   "PROFEFE_AGENT_CPU_SECONDS= 7 ",
                   "PROFEFE_AGENT_LABELS=",
                   "PROFEFE_AGENT_TYPES",
                   "PROFEFE_AGENT_TYPESX=cpu",
                   "PROFEFE_WEBHOOK_LISTEN=:1",
                   "POD_NAME=web-1",
                   "=x",
                   "PROFEFE_PORT=tcp://10.96.0.7:10100",
                   "PROFEFE_AGENT_PORT=tcp://10.96.0.8:1",
                   NULL};
    struct settings settings;
    struct bad_list bad = {0};
    settings_init(&settings);
    assert_int_equal(0, settings_env_read(&settings, SETTING_AGENT, words_of(env), take_bad, &bad));
    assert_int_equal(0, bad.count);
    assert_string_equal("2m", settings_get(&settings, SETTING_INTERVAL));
    assert_string_equal("7", settings_get(&settings, SETTING_CPU_SECONDS));
    assert_string_equal("web-1", settings_get(&settings, SETTING_POD_NAME));
    assert_false(settings_is_set(&settings, SETTING_LABELS));
    assert_false(settings_is_set(&settings, SETTING_TYPES));
    assert_false(settings_is_set(&settings, SETTING_SERVER_LISTEN));
    settings_done(&settings);

    assert_int_equal(0, settings_env_read(&settings, SETTING_WEBHOOK, words_of(env), take_bad, &bad));
    assert_string_equal(":1", settings_get(&settings, SETTING_SERVER_LISTEN));
    assert_false(settings_is_set(&settings, SETTING_POD_NAME));
    settings_done(&settings);
}

/* Garbage in every variable: each is named, none hides another, and every setting keeps its default. */
static void garbage_in_every_variable_is_told_one_by_one(void **state)
{
    (void)state;
    static char lines[SETTING_COUNT][80];
    char *env[SETTING_COUNT + 1];
    unsigned count = 0;
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (settings_table[id].env == NULL || (settings_table[id].where & SETTING_AGENT) == 0)
            continue;
        snprintf(lines[count], sizeof(lines[count]), "%s=\x01 rubbish \xff", settings_table[id].env);
        env[count] = lines[count];
        count++;
    }
    env[count] = NULL;
    struct settings settings;
    struct bad_list bad = {0};
    settings_init(&settings);
    assert_int_equal(count, settings_env_read(&settings, SETTING_AGENT, env, take_bad, &bad));
    assert_int_equal(count, bad.count);
    for (int id = 0; id < SETTING_COUNT; id++)
        assert_false(settings_is_set(&settings, (enum setting_id)id));
    expect_contains("first", bad.text, "PROFEFE_AGENT_SERVICE: expected UTF-8 text");
    for (const char *c = bad.text; *c != '\0'; c++)
        assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
    settings_done(&settings);
}

/* ---- INI ---- */

static void ini_gives_values_below_the_environment(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = err_untouched;
    write_ini("[agent]\n"
              "interval = 2m ; comment\n"
              "service = from the file\n"
              "types =\n"
              "  cpu:30s=5s,\n"
              "  heap\n"
              "  goroutine ; comment\n"
              "labels = a=b,\n"
              "  c=d;e\n"
              "targets = api=http://127.0.0.1:1/x,\n"
              "  worker=http://127.0.0.1:2/x\n");
    settings_init(&settings);
    assert_int_equal(0, set(&settings, SETTING_INTERVAL, "3m", SETTING_FROM_ENV));
    expect_success("ini", settings_ini_read(&settings, ini_path, SETTING_AGENT, NULL, &err), &err);
    assert_string_equal("3m", settings_get(&settings, SETTING_INTERVAL));
    assert_string_equal("from the file", settings_get(&settings, SETTING_SERVICE));
    assert_string_equal("cpu:30s=5s,heap,goroutine", settings_get(&settings, SETTING_TYPES));
    assert_string_equal("a=b,c=d;e", settings_get(&settings, SETTING_LABELS));
    assert_string_equal("api=http://127.0.0.1:1/x,worker=http://127.0.0.1:2/x", settings_get(&settings, SETTING_TARGETS));
    settings_done(&settings);
}

/* A list that goes on is joined with its own lines, never with a value that the environment gave. */
static void ini_list_goes_on_beside_a_stronger_value(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = err_untouched;
    write_ini("[agent]\ntypes = cpu,\n  heap\nlabels = a=b,\n  c=d\n");
    settings_init(&settings);
    assert_int_equal(0, set(&settings, SETTING_TYPES, "heap", SETTING_FROM_ENV));
    expect_success("ini", settings_ini_read(&settings, ini_path, SETTING_AGENT, NULL, &err), &err);
    assert_string_equal("heap", settings_get(&settings, SETTING_TYPES));
    assert_string_equal("a=b,c=d", settings_get(&settings, SETTING_LABELS));
    settings_done(&settings);
}

static void webhook_ini_has_sections(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = err_untouched;
    write_ini("[server]\nlisten = :1\nlog-level = debug\n[inject]\nlog-level = error\nimage = a:1\n"
              "image-prefixes = a,\n  b/\n[defaults]\ninterval = 30s\n");
    settings_init(&settings);
    expect_success("ini", settings_ini_read(&settings, ini_path, SETTING_WEBHOOK, NULL, &err), &err);
    assert_string_equal(":1", settings_get(&settings, SETTING_SERVER_LISTEN));
    assert_string_equal("debug", settings_get(&settings, SETTING_SERVER_LOG_LEVEL));
    assert_string_equal("error", settings_get(&settings, SETTING_LOG_LEVEL));
    assert_string_equal("a,b/", settings_get(&settings, SETTING_IMAGE_PREFIXES));
    assert_string_equal("30s", settings_get(&settings, SETTING_INTERVAL));
    assert_false(settings_is_set(&settings, SETTING_LISTEN));
    settings_done(&settings);
}

static void bad_ini_lines_are_named_with_file_line_and_key(void **state)
{
    (void)state;
    static const struct {
        unsigned use;
        const char *text, *words;
    } rows[] = {
        {SETTING_AGENT, "[agent]\ninterval = soon\n", ":2: [agent] interval: expected a whole number with a unit"},
        {SETTING_AGENT, "[agent]\n\n# x\nwhat is this\n", ":4: expected [section] or key = value"},
        {SETTING_AGENT, "[agent]\nintervall = 1m\n", ":2: unknown key \"intervall\" in section \"agent\", did you mean interval?"},
        {SETTING_AGENT, "[agent]\nfoo = 1\n", ":2: unknown key \"foo\" in section \"agent\""},
        {SETTING_AGENT, "interval = 1m\n", ":1: unknown key \"interval\" in section \"\", expected it in [agent]"},
        {SETTING_AGENT, "[agnet]\ninterval = 1m\n", ":2: unknown key \"interval\" in section \"agnet\", expected it in [agent]"},
        {SETTING_AGENT, "[a\x01]\nfoo = 1\n", ":2: unknown key \"foo\" in section \"a\\x01\""},
        {SETTING_AGENT, "[agent]\nport = 6060\n", ":2: unknown key \"port\" in section \"agent\""},
        {SETTING_AGENT, "[agent]\ninterval = 1m\ninterval = 2m\n", ":3: [agent] interval: given twice"},
        {SETTING_AGENT, "[agent]\ninterval = 1m\nservice = a\ninterval = 2m\n", ":4: [agent] interval: given twice"},
        {SETTING_AGENT, "[agent]\nlabels = a=b\nlabels = c=d\n", ":3: [agent] labels: given twice"},
        {SETTING_AGENT, "[agent]\ninterval = 1m\n  service = x\n", ":2: [agent] interval: expected one line"},
        {SETTING_AGENT, "[agent]\nservice = a\ntypes = cpu,\n  haep\n", ":3: [agent] types: unknown profile type \"haep\""},
        {SETTING_AGENT, "[agent]\ntargets =\n", ":2: [agent] targets: expected at least one target"},
        {SETTING_AGENT, "[agent]\ncollector =\n", ":2: [agent] collector: expected http://"},
        {SETTING_AGENT, "[agent]\nwhat is this\ninterval = soon\n", ":2: expected [section] or key = value"},
        {SETTING_WEBHOOK, "[server]\nimage = a\n", ":2: unknown key \"image\" in section \"server\", expected it in [inject]"},
        {SETTING_WEBHOOK, "[defaults]\nenable = true\n", ":2: unknown key \"enable\" in section \"defaults\""},
        {SETTING_WEBHOOK, "[inject]\nimage = Bad Image\n", ":2: [inject] image: expected an image"},
        {SETTING_WEBHOOK, "[agent]\nsidecar = 1\n", ":2: unknown key \"sidecar\" in section \"agent\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings;
        struct err err = {0};
        char words[200];
        write_ini(rows[i].text);
        settings_init(&settings);
        int rc = settings_ini_read(&settings, ini_path, rows[i].use, NULL, &err);
        snprintf(words, sizeof(words), "%s%s", ini_path, rows[i].words);
        expect_failure(rows[i].text, -EINVAL, words, rc, &err);
        settings_done(&settings);
    }
}

static void ini_list_has_a_limit(void **state)
{
    (void)state;
    static char text[8192];
    struct settings settings;
    struct err err = {0};
    strcpy(text, "[agent]\nlabels =\n");
    for (int i = 0; i < 60; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "  k%d=%0100d,\n", i, i);
    write_ini(text);
    settings_init(&settings);
    int rc = settings_ini_read(&settings, ini_path, SETTING_AGENT, NULL, &err);
    expect_failure("6 KB of labels", -EINVAL, ":2: [agent] labels: expected at most 4096 bytes", rc, &err);
    settings_done(&settings);
}

/* ---- help ---- */

static void help_names_every_setting_of_the_use_with_its_default(void **state)
{
    (void)state;
    static const unsigned uses[] = {SETTING_AGENT, SETTING_WEBHOOK};
    for (size_t u = 0; u < COUNT_OF(uses); u++) {
        struct buf help;
        buf_init(&help, PAGE_MAX);
        assert_int_equal(0, settings_help_write_flags(&help, uses[u]));
        assert_null(strstr(help.data, "(null)"));
        for (int id = 0; id < SETTING_COUNT; id++) {
            const struct setting *row = &settings_table[id];
            char words[300];
            bool flag = (row->where & uses[u]) != 0 && (uses[u] == SETTING_AGENT || strcmp(row->section, "server") == 0);
            if (!flag)
                continue;
            snprintf(words, sizeof(words), "  --%s VALUE\n", id == SETTING_TARGETS ? "target" : row->name);
            expect_contains("help", help.data, words);
            snprintf(words, sizeof(words), "(default %s)", row->default_text);
            if (row->default_text != NULL)
                expect_contains(row->name, help.data, words);
            snprintf(words, sizeof(words), "env %s, INI [%s] %s\n", row->env, uses[u] == SETTING_AGENT ? "agent" : row->section,
                     row->name);
            expect_contains(row->name, help.data, words);
        }
        buf_done(&help);
    }
}

/* ---- without memory ---- */

static int set_attempt(void *ctx)
{
    const char *before = ctx;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    alloc_fail_pause();
    if (before != NULL)
        assert_int_equal(0, set(&settings, SETTING_LABELS, before, SETTING_FROM_ENV));
    alloc_fail_resume();
    int rc = settings_set(&settings, SETTING_LABELS, span_of("a=b"), SETTING_FROM_ENV, &err);
    if (rc < 0) {
        assert_int_equal(-ENOMEM, rc);
        assert_non_null(strstr(err.text, "no memory"));
        assert_true(settings_is_set(&settings, SETTING_LABELS) == (before != NULL));
        if (before != NULL)
            assert_string_equal(before, settings_get(&settings, SETTING_LABELS));
    }
    settings_done(&settings);
    return rc;
}

static int ini_attempt(void *ctx)
{
    (void)ctx;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    int rc = settings_ini_read(&settings, ini_path, SETTING_AGENT, NULL, &err);
    if (rc < 0) {
        assert_int_equal(-ENOMEM, rc);
        assert_non_null(strstr(err.text, "no memory"));
    }
    settings_done(&settings);
    return rc;
}

static int help_attempt(void *ctx)
{
    (void)ctx;
    struct buf help;
    buf_init(&help, PAGE_MAX);
    int rc = settings_help_write_flags(&help, SETTING_AGENT);
    buf_done(&help);
    return rc;
}

static void without_memory_the_old_values_stay(void **state)
{
    (void)state;
    char old[] = "old=1";
    alloc_fail_in_turn_exactly(2, "settings_set, first", set_attempt, NULL);
    alloc_fail_in_turn_exactly(2, "settings_set, again", set_attempt, old);
    write_ini("[agent]\ntypes = cpu,\n  heap\nlabels = a=b,\n  c=d\nservice = web\n");
    assert_in_range(alloc_fail_in_turn("settings_ini_read", ini_attempt, NULL), 5, 30);
    assert_in_range(alloc_fail_in_turn("settings_help_write_flags", help_attempt, NULL), 1, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_is_whole),
        cmocka_unit_test(each_default_passes_its_own_check),
        cmocka_unit_test(each_range_lets_something_in),
        cmocka_unit_test(no_environment_name_can_be_a_service_link),
        cmocka_unit_test(environment_names_follow_from_the_setting),
        cmocka_unit_test(names_are_unique_where_they_are_used),
        cmocka_unit_test(each_choice_is_taken),
        cmocka_unit_test(readme_has_each_annotation_with_its_default),
        cmocka_unit_test(readme_has_no_annotation_that_is_not_built),
        cmocka_unit_test(find_looks_among_the_uses_asked_for),
        cmocka_unit_test(near_miss_is_a_slip_not_another_word),
        cmocka_unit_test(plain_values),
        cmocka_unit_test(ports),
        cmocka_unit_test(images),
        cmocka_unit_test(every_type_refuses_nul_and_too_much),
        cmocka_unit_test(stronger_origin_wins_in_any_order),
        cmocka_unit_test(bad_value_leaves_the_old_one),
        cmocka_unit_test(typed_values),
        cmocka_unit_test(typed_getters_take_every_default),
        cmocka_unit_test(environment_is_read_by_the_table),
        cmocka_unit_test(garbage_in_every_variable_is_told_one_by_one),
        cmocka_unit_test(ini_gives_values_below_the_environment),
        cmocka_unit_test(ini_list_goes_on_beside_a_stronger_value),
        cmocka_unit_test(webhook_ini_has_sections),
        cmocka_unit_test(bad_ini_lines_are_named_with_file_line_and_key),
        cmocka_unit_test(ini_list_has_a_limit),
        cmocka_unit_test(help_names_every_setting_of_the_use_with_its_default),
        cmocka_unit_test(without_memory_the_old_values_stay),
    };
    return cmocka_run_group_tests(tests, make_ini, remove_ini);
}
