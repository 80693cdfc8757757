/* webhook_command: one line of words and an environment become options and settings; the first that is bad is told. */
#include "unit.h"

#include "alloc_fail.h"
#include "webhook/webhook_command.h"

static struct webhook_command command;

static int read_command(const char *const *argv, const char *const *env, struct err *err)
{
    static const char *const none[] = {NULL};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return webhook_command_read(&command, argc, words_of(argv), words_of(env != NULL ? env : none), err);
}

static const char *text_or_none(const char *text)
{
    return text != NULL ? text : "(none)";
}

static void options(void **state)
{
    (void)state;
    static const struct {
        const char *argv[8];
        bool help, version, check, all;
        const char *review, *namespace_name, *config;
    } rows[] = {
        {{"x"}, false, false, false, false, NULL, "default", NULL},
        {{"x", "--help"}, true, false, false, false, NULL, "default", NULL},
        {{"x", "-h", "--version"}, true, true, false, false, NULL, "default", NULL},
        {{"x", "--check", "--config", "f"}, false, false, true, false, NULL, "default", "f"},
        {{"x", "--review", "-", "--all", "--namespace=shop"}, false, false, false, true, "-", "shop", NULL},
        {{"x", "--review=pod.json", "--config=a=b"}, false, false, false, false, "pod.json", "default", "a=b"},
        {{"x", "--config", "a", "--config", "b"}, false, false, false, false, NULL, "default", "b"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        expect_success(rows[i].argv[0], read_command(rows[i].argv, NULL, &err), &err);
        assert_int_equal(rows[i].help, command.help);
        assert_int_equal(rows[i].version, command.version);
        assert_int_equal(rows[i].check, command.check);
        assert_int_equal(rows[i].all, command.all);
        expect_text("review", text_or_none(rows[i].review), text_or_none(command.review));
        expect_text("namespace", rows[i].namespace_name, command.namespace_name);
        expect_text("config", text_or_none(rows[i].config), text_or_none(command.config));
        webhook_command_done(&command);
    }
}

static void the_first_fault_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *argv[4], *env[2];
        const char *words;
    } rows[] = {
        {{"x", "stray"}, {NULL}, "unknown option \"stray\"; --help lists them"},
        {{"x", "--image=a"}, {NULL}, "unknown option \"--image=a\"; --help lists them"},
        {{"x", "--reveiw", "-"}, {NULL}, "unknown option \"--reveiw\", did you mean --review?"},
        {{"x", "--all=yes"}, {NULL}, "unknown option \"--all=yes\", did you mean --all?"},
        {{"x", "--config"}, {NULL}, "--config: expected a value after it"},
        {{"x", "--listen", "a", "--bad"}, {NULL}, "--listen: expected [HOST]:PORT"},
        {{"x", "--bad"}, {"PROFEFE_WEBHOOK_DRAIN=soon"}, "unknown option \"--bad\""},
        {{"x"}, {"PROFEFE_WEBHOOK_DRAIN=soon"}, "PROFEFE_WEBHOOK_DRAIN: expected a whole number with a unit"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        int rc = read_command(rows[i].argv, rows[i].env, &err);
        expect_failure(rows[i].words, -EINVAL, rows[i].words, rc, &err);
        webhook_command_done(&command);
    }
}

static void a_flag_goes_before_the_environment(void **state)
{
    (void)state;
    static const char *const argv[] = {"x", "--listen=:1", NULL};
    static const char *const env[] = {"PROFEFE_WEBHOOK_LISTEN=:2", "PROFEFE_WEBHOOK_DRAIN=1s", NULL};
    struct err err = err_untouched;
    expect_success("precedence", read_command(argv, env, &err), &err);
    assert_string_equal(":1", settings_get(&command.base, SETTING_SERVER_LISTEN));
    assert_string_equal("1s", settings_get(&command.base, SETTING_SERVER_DRAIN));
    webhook_command_done(&command);
}

static int help_attempt(void *ctx)
{
    (void)ctx;
    struct buf help;
    buf_init(&help, WEBHOOK_COMMAND_HELP_MAX);
    int rc = webhook_command_write_help(&help);
    buf_done(&help);
    return rc;
}

static int read_attempt(void *ctx)
{
    const char *const *argv = ctx;
    struct err err = {0};
    int rc = read_command(argv, NULL, &err);
    if (rc < 0)
        assert_non_null(strstr(err.text, "no memory"));
    webhook_command_done(&command);
    return rc;
}

static void without_memory_it_is_told(void **state)
{
    (void)state;
    const char *argv[] = {"x", "--listen", ":1", "--drain=1s", NULL};
    assert_in_range(alloc_fail_in_turn("webhook_command_read", read_attempt, argv), 2, 20);
    assert_in_range(alloc_fail_in_turn("webhook_command_write_help", help_attempt, NULL), 1, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(the_first_fault_is_told),
        cmocka_unit_test(a_flag_goes_before_the_environment),
        cmocka_unit_test(without_memory_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
