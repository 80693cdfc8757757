/* settings_table: rows that are sane, names that are found, and a README that says the same. */
#include "unit.h"

#include "common/base/cleanup.h"
#include "common/os/file.h"
#include "common/settings/settings_check.h"
#include "common/settings/settings_table.h"

#include <unistd.h>

#define README FIXTURES "/../../README.md"

enum { PAGE_MAX = 256 * 1024 };

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
        bool may_have_choices = row->type == SETTING_TYPE_CHOICE || row->type == SETTING_TYPE_NAMES;
        if (row->choices != NULL ? !may_have_choices : row->type == SETTING_TYPE_CHOICE)
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
        bool ranged =
            row->type == SETTING_TYPE_WHOLE || row->type == SETTING_TYPE_DURATION || row->type == SETTING_TYPE_TEXT;
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
        expect_text(rows[i].name, rows[i].expected != NULL ? rows[i].expected : "(none)",
                    near != NULL ? near : "(none)");
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
