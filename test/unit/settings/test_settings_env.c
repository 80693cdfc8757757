/* settings_env: variables become settings by the table, and each bad one is told. */
#include "unit.h"

#include "common/settings/settings_env.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_is_read_by_the_table),
        cmocka_unit_test(garbage_in_every_variable_is_told_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
