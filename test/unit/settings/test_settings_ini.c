/* settings_ini: keys of a file become settings below the environment, and a bad line is named. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/settings/settings_ini.h"
#include "ini_file.h"

static int set(struct settings *settings, enum setting_id id, const char *text, enum setting_origin origin)
{
    return settings_set(settings, id, span_of(text), origin, NULL);
}

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
    assert_string_equal("api=http://127.0.0.1:1/x,worker=http://127.0.0.1:2/x",
                        settings_get(&settings, SETTING_TARGETS));
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
        {SETTING_AGENT, "[agent]\nintervall = 1m\n",
         ":2: unknown key \"intervall\" in section \"agent\", did you mean interval?"},
        {SETTING_AGENT, "[agent]\nfoo = 1\n", ":2: unknown key \"foo\" in section \"agent\""},
        {SETTING_AGENT, "interval = 1m\n", ":1: unknown key \"interval\" in section \"\", expected it in [agent]"},
        {SETTING_AGENT, "[agnet]\ninterval = 1m\n",
         ":2: unknown key \"interval\" in section \"agnet\", expected it in [agent]"},
        {SETTING_AGENT, "[a\x01]\nfoo = 1\n", ":2: unknown key \"foo\" in section \"a\\x01\""},
        {SETTING_AGENT, "[agent]\nport = 6060\n", ":2: unknown key \"port\" in section \"agent\""},
        {SETTING_AGENT, "[agent]\ninterval = 1m\ninterval = 2m\n", ":3: [agent] interval: given twice"},
        {SETTING_AGENT, "[agent]\ninterval = 1m\nservice = a\ninterval = 2m\n", ":4: [agent] interval: given twice"},
        {SETTING_AGENT, "[agent]\nlabels = a=b\nlabels = c=d\n", ":3: [agent] labels: given twice"},
        {SETTING_AGENT, "[agent]\ninterval = 1m\n  service = x\n", ":2: [agent] interval: expected one line"},
        {SETTING_AGENT, "[agent]\nservice = a\ntypes = cpu,\n  haep\n",
         ":3: [agent] types: unknown profile type \"haep\""},
        {SETTING_AGENT, "[agent]\ntargets =\n", ":2: [agent] targets: expected at least one target"},
        {SETTING_AGENT, "[agent]\ncollector =\n", ":2: [agent] collector: expected http://"},
        {SETTING_AGENT, "[agent]\nwhat is this\ninterval = soon\n", ":2: expected [section] or key = value"},
        {SETTING_WEBHOOK, "[server]\nimage = a\n",
         ":2: unknown key \"image\" in section \"server\", expected it in [inject]"},
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

static void without_memory_it_is_told(void **state)
{
    (void)state;
    write_ini("[agent]\ntypes = cpu,\n  heap\nlabels = a=b,\n  c=d\nservice = web\n");
    assert_in_range(alloc_fail_in_turn("settings_ini_read", ini_attempt, NULL), 5, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ini_gives_values_below_the_environment),
        cmocka_unit_test(ini_list_goes_on_beside_a_stronger_value),
        cmocka_unit_test(webhook_ini_has_sections),
        cmocka_unit_test(bad_ini_lines_are_named_with_file_line_and_key),
        cmocka_unit_test(ini_list_has_a_limit),
        cmocka_unit_test(without_memory_it_is_told),
    };
    return cmocka_run_group_tests(tests, make_ini, remove_ini);
}
