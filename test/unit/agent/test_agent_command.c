/* command: one line of words, an environment and a file become one set of settings; what is wrong is told, all of
 * it. */
#include "unit.h"

#include "agent/agent_command.h"
#include "alloc_fail.h"
#include "ini_file.h"

#include <unistd.h>

enum { TIMEOUT_DEFAULT_MS = 2 * 60 * 1000 };

static struct agent_command command;

static void read_command(const char *const *argv, const char *const *env)
{
    static const char *const none[] = {NULL};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    agent_command_read(&command, argc, words_of(argv), words_of(env != NULL ? env : none));
}

static void expect_no_problem(const char *row)
{
    if (command.problems.count > 0)
        fail_msg("%s: %s", row, warnings_text(&command.problems, 0));
}

static void switches(void **state)
{
    (void)state;
    static const struct {
        const char *argv[6];
        bool help, version, check, once;
    } rows[] = {
        {{"profefe-agent"}, false, false, false, false},
        {{"profefe-agent", "--help"}, true, false, false, false},
        {{"profefe-agent", "-h"}, true, false, false, false},
        {{"profefe-agent", "--version"}, false, true, false, false},
        {{"profefe-agent", "--check"}, false, false, true, false},
        {{"profefe-agent", "--once"}, false, false, false, true},
        {{"profefe-agent", "--once", "--check", "--interval", "1m"}, false, false, true, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        read_command(rows[i].argv, NULL);
        expect_no_problem(rows[i].argv[0]);
        assert_int_equal(rows[i].help, command.help);
        assert_int_equal(rows[i].version, command.version);
        assert_int_equal(rows[i].check, command.check);
        assert_int_equal(rows[i].once, command.once);
        assert_int_equal(TIMEOUT_DEFAULT_MS, command.timeout_ms);
        assert_false(command.sidecar);
        agent_command_done(&command);
    }
}

static void timeout_is_a_duration_in_both_forms(void **state)
{
    (void)state;
    static const struct {
        const char *argv[4];
        int64_t ms;
        const char *words; /* NULL: good */
    } rows[] = {
        {{"x", "--timeout", "4s"}, 4000, NULL},
        {{"x", "--timeout=1h"}, 3600000, NULL},
        {{"x", "--timeout"}, TIMEOUT_DEFAULT_MS, "--timeout: expected a value after it"},
        {{"x", "--timeout="}, TIMEOUT_DEFAULT_MS, "--timeout: expected a whole number with a unit"},
        {{"x", "--timeout", "0s"}, TIMEOUT_DEFAULT_MS,
         "--timeout: expected a whole number with a unit (ms, s, m, h) from 1s to 1h"},
        {{"x", "--timeout", "4"}, TIMEOUT_DEFAULT_MS, "--timeout: expected"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        read_command(rows[i].argv, NULL);
        assert_int_equal(rows[i].ms, command.timeout_ms);
        if (rows[i].words == NULL)
            expect_no_problem(rows[i].argv[1]);
        else
            expect_contains(rows[i].argv[1], warnings_text(&command.problems, 0), rows[i].words);
        agent_command_done(&command);
    }
}

static void each_bad_word_is_named_with_the_near_miss(void **state)
{
    (void)state;
    static const struct {
        const char *argv[3];
        const char *words;
    } rows[] = {
        {{"x", "--nonsense"}, "unknown option \"--nonsense\"; --help lists them"},
        {{"x", "stray"}, "unknown option \"stray\"; --help lists them"},
        {{"x", ""}, "unknown option \"\"; --help lists them"},
        {{"x", "-"}, "unknown option \"-\""},
        {{"x", "--"}, "unknown option \"--\""},
        {{"x", "-once"}, "unknown option \"-once\"; --help lists them"},
        {{"x", "--intervall"}, "unknown option \"--intervall\", did you mean --interval?"},
        {{"x", "--intervall=1m"}, "unknown option \"--intervall=1m\", did you mean --interval?"},
        {{"x", "--colector=http://h"}, "did you mean --collector?"},
        {{"x", "--targt"}, "did you mean --target"},
        {{"x", "--onse"}, "did you mean --once?"},
        {{"x", "--chek"}, "did you mean --check?"},
        {{"x", "--hlep"}, "did you mean --help?"},
        {{"x", "--confg"}, "did you mean --config?"},
        {{"x", "--timout=3s"}, "did you mean --timeout?"},
        {{"x", "--verison"}, "did you mean --version?"},
        {{"x", "--configx=y"}, "unknown option \"--configx=y\", did you mean --config?"},
        {{"x", "--once=true"}, "unknown option \"--once=true\""},
        {{"x", "--port=6060"}, "unknown option \"--port=6060\""},
        {{"x", "--config"}, "--config: expected a value after it"},
        {{"x", "--interval"}, "--interval: expected a value after it"},
        {{"x", "--interval=soon"}, "--interval: expected a whole number"},
        {{"x", "--target=6060"}, "--target: expected http://"},
        {{"x", "--config=/no/such.ini"}, "/no/such.ini: No such file or directory"},
        {{"x", "--config="}, "No such file or directory"},
        {{"x", "\x1b[31m"}, "unknown option \"\\x1b[31m\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        read_command(rows[i].argv, NULL);
        expect_number(rows[i].argv[1], 1, command.problems.count);
        expect_contains(rows[i].argv[1], warnings_text(&command.problems, 0), rows[i].words);
        agent_command_done(&command);
    }
}

static void one_bad_word_hides_no_other(void **state)
{
    (void)state;
    static const char *const argv[] = {"x", "--bad", "--interval=soon", "stray", "--service", "web", "--timeout",
                                       "x", NULL};
    static const char *const env[] = {"PROFEFE_AGENT_TYPES=haep", "PROFEFE_AGENT_LABELS=team", NULL};
    read_command(argv, env);
    assert_int_equal(6, command.problems.count);
    assert_string_equal("web", settings_get(&command.settings, SETTING_SERVICE));
    agent_command_done(&command);
}

static void flag_goes_before_environment_before_file_before_default(void **state)
{
    (void)state;
    write_ini("[agent]\ninterval = 3m\ncpu-seconds = 3\nservice = file\n");
    const char *const argv[] = {"x", "--config", ini_path, "--interval", "1m", NULL};
    static const char *const env[] = {"PROFEFE_AGENT_INTERVAL=2m", "PROFEFE_AGENT_CPU_SECONDS=2", NULL};
    read_command(argv, env);
    expect_no_problem("precedence");
    assert_string_equal("1m", settings_get(&command.settings, SETTING_INTERVAL));
    assert_string_equal("2", settings_get(&command.settings, SETTING_CPU_SECONDS));
    assert_string_equal("file", settings_get(&command.settings, SETTING_SERVICE));
    assert_string_equal("2m", settings_get(&command.settings, SETTING_RETRY_MAX));
    agent_command_done(&command);
}

static void bad_ini_line_is_one_problem(void **state)
{
    (void)state;
    write_ini("[agent]\ninterval = 3m\nwhat is this\n");
    const char *const argv[] = {"x", "--config", ini_path, NULL};
    char words[100];
    read_command(argv, NULL);
    assert_int_equal(1, command.problems.count);
    snprintf(words, sizeof(words), "%s:3: expected [section] or key = value", ini_path);
    assert_string_equal(words, warnings_text(&command.problems, 0));
    agent_command_done(&command);
}

/* An agent that exits takes its pod down: whatever the variable says short of "no", it is a sidecar. */
static void sidecar_by_flag_environment_and_file(void **state)
{
    (void)state;
    static const struct {
        const char *env, *flag, *ini;
        bool sidecar;
    } rows[] = {
        {"x=y", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR=1", "--check", "", true},
        {"PROFEFE_AGENT_SIDECAR=true", "--check", "", true},
        {"PROFEFE_AGENT_SIDECAR= yes ", "--check", "", true},
        {"PROFEFE_AGENT_SIDECAR=0", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR= No ", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR=", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR=\x01 rubbish \xff", "--check", "", true},
        {"PROFEFE_AGENT_SIDECAR=2", "--check", "", true},
        {"PROFEFE_AGENT_SIDECARX=1", "--check", "", false},
        {"PROFEFE_AGENT_SIDECAR=1", "--sidecar=false", "", false},
        {"PROFEFE_AGENT_SIDECAR=2", "--sidecar=false", "", false},
        {"PROFEFE_AGENT_SIDECAR=2", "--sidecar=maybe", "", true},
        {"PROFEFE_AGENT_SIDECAR=0", "--sidecar=true", "", true},
        {"x=y", "--sidecar=true", "", true},
        {"x=y", "--check", "[agent]\nsidecar = true\n", true},
        {"PROFEFE_AGENT_SIDECAR=0", "--check", "[agent]\nsidecar = true\n", false},
        {"PROFEFE_AGENT_SIDECAR=2", "--check", "[agent]\nsidecar = false\n", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const env[] = {rows[i].env, NULL};
        const char *const argv[] = {"x", rows[i].flag, "--config", ini_path, NULL};
        write_ini(rows[i].ini);
        read_command(argv, env);
        if (command.sidecar != rows[i].sidecar)
            fail_msg("%s %s %s: expected %d", rows[i].env, rows[i].flag, rows[i].ini, rows[i].sidecar);
        agent_command_done(&command);
    }
}

/* The garbled sidecar: every variable is rubbish and it still knows what it is, with all reasons at hand. */
static void garbage_in_every_variable(void **state)
{
    (void)state;
    static char lines[SETTING_COUNT][80];
    const char *env[SETTING_COUNT + 1] = {NULL};
    static const char *const argv[] = {"x", NULL};
    unsigned count = 0;
    for (int id = 0; id < SETTING_COUNT; id++) {
        if ((settings_table[id].where & SETTING_AGENT) == 0)
            continue;
        snprintf(lines[count], sizeof(lines[count]), "%s=\x01,,=\xff", settings_table[id].env);
        env[count] = lines[count];
        count++;
    }
    read_command(argv, env);
    assert_true(command.sidecar);
    assert_int_equal(count, command.problems.count);
    assert_int_equal(WARNINGS_MAX, warnings_shown(&command.problems));
    for (unsigned i = 0; i + 1 < warnings_shown(&command.problems); i++)
        expect_contains("problem", warnings_text(&command.problems, i), "expected");
    agent_command_done(&command);
}

static void service_links_of_kubernetes_are_no_problem(void **state)
{
    (void)state;
    static const char *const argv[] = {"x", NULL};
    static const char *const env[] = {"PROFEFE_PORT=tcp://10.96.38.31:10100",
                                      "PROFEFE_SERVICE_HOST=10.96.38.31",
                                      "PROFEFE_AGENT_PORT=tcp://10.96.38.32:1",
                                      "PROFEFE_AGENT_SERVICE_HOST=10.96.38.32",
                                      "PROFEFE_AGENT_SERVICE_PORT=1",
                                      "PROFEFE_AGENT_PORT_1_TCP_ADDR=10.96.38.32",
                                      NULL};
    read_command(argv, env);
    expect_no_problem("service links");
    for (int id = 0; id < SETTING_COUNT; id++)
        assert_false(settings_is_set(&command.settings, (enum setting_id)id));
    agent_command_done(&command);
}

static void help_names_every_option(void **state)
{
    (void)state;
    static const char *const own[] = {"--config FILE", "--once",    "--timeout DURATION",
                                      "--check",       "--version", "--help"};
    struct buf help;
    buf_init(&help, AGENT_COMMAND_HELP_MAX);
    assert_int_equal(0, agent_command_write_help(&help));
    for (size_t i = 0; i < COUNT_OF(own); i++)
        expect_contains("help", help.data, own[i]);
    for (int id = 0; id < SETTING_COUNT; id++) {
        if ((settings_table[id].where & SETTING_AGENT) != 0)
            expect_contains("help", help.data, settings_table[id].env);
    }
    buf_done(&help);
}

/* "Reads everything and never fails": without memory there is a problem that says so, or the line was not needed. */
static int read_attempt(void *ctx)
{
    const char *const *argv = ctx;
    static const char *const env[] = {"PROFEFE_AGENT_SIDECAR=1", "PROFEFE_AGENT_TYPES=cpu", "POD_NAME=web-1", NULL};
    read_command(argv, env);
    unsigned problems = command.problems.count;
    bool named = problems == 0 || strstr(warnings_text(&command.problems, 0), "no memory") != NULL;
    bool sidecar = command.sidecar;
    agent_command_done(&command);
    assert_true(named);
    assert_true(sidecar);
    return problems > 0 ? -ENOMEM : 0;
}

static void without_memory_it_is_a_problem_like_others(void **state)
{
    (void)state;
    const char *argv[] = {"x", "--config", ini_path, "--target", "http://h/x", NULL};
    write_ini("[agent]\nservice = web\nlabels = a=b,\n  c=d\n");
    assert_in_range(alloc_fail_in_turn("agent_command_read", read_attempt, argv), 5, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(switches),
        cmocka_unit_test(timeout_is_a_duration_in_both_forms),
        cmocka_unit_test(each_bad_word_is_named_with_the_near_miss),
        cmocka_unit_test(one_bad_word_hides_no_other),
        cmocka_unit_test(flag_goes_before_environment_before_file_before_default),
        cmocka_unit_test(bad_ini_line_is_one_problem),
        cmocka_unit_test(sidecar_by_flag_environment_and_file),
        cmocka_unit_test(garbage_in_every_variable),
        cmocka_unit_test(service_links_of_kubernetes_are_no_problem),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(without_memory_it_is_a_problem_like_others),
    };
    return cmocka_run_group_tests(tests, make_ini, remove_ini);
}
