/* command_line: words of argv become members of a struct, settings, a subcommand and words, by a table; what is bad
 * is told. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/settings/command_line.h"

struct answers {
    bool help, all, wide;
    const char *config, *namespace_name, *output;
    int64_t since_ms;
    struct command_line_texts labels;
};

#define TO(member) COMMAND_LINE_TO(struct answers, member)

static const struct command_line top;

static const struct command_line_option plain_options[] = {
    {"help", TO(help), .letter = 'h', .help = "print this"},
    {"config", TO(config), .argument = "FILE", .help = "a file,\nread once"},
    {"once", TO(all), .help = "no more than that"},
    {.name = NULL},
};
static const struct command_line plain = {.options = plain_options, .where = SETTING_AGENT};
static const struct command_line plain_of_webhook = {.options = plain_options, .where = SETTING_WEBHOOK};

static const struct command_line_option get_options[] = {
    {"output", TO(output), .letter = 'o', .argument = "FORMAT", .default_text = "text", .help = "how it is shown"},
    {"since", TO(since_ms), .argument = "DURATION", .min = 1000, .max = 3600000, .default_text = "1h",
     .help = "how far back"},
    {"label", TO(labels), .letter = 'l', .argument = "KEY=VALUE", .help = "only those"},
    {"wide", TO(wide), .letter = 'w', .help = "more columns"},
    {.name = NULL},
};
static const struct command_line get = {.options = get_options, .words_max = 2, .outer = &top};

static const struct command_line_option none[] = {{.name = NULL}};
static const struct command_line version = {.options = none, .outer = &top};

static const struct command_line_command commands[] = {
    {"get", &get, "shows profiles"},
    {"version", &version, "shows versions"},
    {.name = NULL},
};
static const struct command_line_option top_options[] = {
    {"namespace", TO(namespace_name), .letter = 'n', .argument = "NS", .help = "of the pods"},
    {"all-namespaces", TO(all), .letter = 'A', .help = "in all of them"},
    {"help", TO(help), .letter = 'h', .help = "print this"},
    {.name = NULL},
};
static const struct command_line top = {.options = top_options, .commands = commands};

/* ---- one reading ---- */

static struct answers answers;
static struct settings settings;
static struct command_line_found found;
static char told[1024]; /* one fault a line */

static void take_bad(void *ctx, const struct err *err)
{
    assert_ptr_equal(told, ctx);
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s\n", err->text);
}

static void read_words(const struct command_line *line, const char *const *argv)
{
    const struct command_line_target target = {.into = &answers, .settings = &settings, .bad = take_bad, .ctx = told};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    settings_done(&settings);
    answers = (struct answers){0};
    told[0] = '\0';
    found = command_line_read(line, argc, words_of(argv), &target);
}

/* Everything that was read, as one line. */
static const char *read_all(const struct command_line *line, const char *const *argv)
{
    static char text[1024];
    struct buf out;
    read_words(line, argv);
    buf_init(&out, sizeof(text) - 1);
    if (found.command != NULL)
        buf_printf(&out, "%s", found.command->name);
    buf_puts(&out, answers.help ? " help" : "");
    buf_puts(&out, answers.all ? " all" : "");
    buf_puts(&out, answers.wide ? " wide" : "");
    if (answers.namespace_name != NULL)
        buf_printf(&out, " n=%s", answers.namespace_name);
    if (answers.output != NULL)
        buf_printf(&out, " o=%s", answers.output);
    if (answers.since_ms > 0)
        buf_printf(&out, " since=%lld", (long long)answers.since_ms);
    for (unsigned i = 0; i < answers.labels.count; i++)
        buf_printf(&out, " l=%s", answers.labels.items[i]);
    for (unsigned i = 0; i < found.words.count; i++)
        buf_printf(&out, " [%s]", found.words.items[i]);
    buf_puts(&out, told[0] != '\0' ? " ! " : "");
    buf_append(&out, told, strcspn(told, "\n"));
    snprintf(text, sizeof(text), "%s", buf_text(&out));
    buf_done(&out);
    return text;
}

static void every_form_of_an_option_is_taken_anywhere(void **state)
{
    (void)state;
    static const struct {
        const char *argv[10];
        const char *read;
    } rows[] = {
        {{"x"}, ""},
        {{"x", "get"}, "get o=text since=3600000"},
        {{"x", "-n", "shop", "get"}, "get n=shop o=text since=3600000"},
        {{"x", "-nshop", "get"}, "get n=shop o=text since=3600000"},
        {{"x", "-n=shop", "get"}, "get n=shop o=text since=3600000"},
        {{"x", "--namespace", "shop", "get"}, "get n=shop o=text since=3600000"},
        {{"x", "--namespace=shop", "get"}, "get n=shop o=text since=3600000"},
        {{"x", "--namespace=", "get"}, "get n= o=text since=3600000"},
        {{"x", "-n", "", "get"}, "get n= o=text since=3600000"},
        {{"x", "-n=", "get"}, "get n= o=text since=3600000"},
        {{"x", "-n", "--help", "get"}, "get n=--help o=text since=3600000"},
        {{"x", "--namespace=a=b", "get"}, "get n=a=b o=text since=3600000"},
        {{"x", "-n", "a", "get", "-n", "b"}, "get n=b o=text since=3600000"},
        {{"x", "get", "-n", "shop", "web", "-o", "json", "db"}, "get n=shop o=json since=3600000 [web] [db]"},
        {{"x", "get", "web", "--", "-n"}, "get o=text since=3600000 [web] [-n]"},
        {{"x", "get", "--", "--"}, "get o=text since=3600000 [--]"},
        {{"x", "--", "get", "-"}, "get o=text since=3600000 [-]"},
        {{"x", "get", "-"}, "get o=text since=3600000 [-]"},
        {{"x", "get", ""}, "get o=text since=3600000 []"},
        {{"x", "get", "-Awojson"}, "get all wide o=json since=3600000"},
        {{"x", "get", "-wA", "-h"}, "get help all wide o=text since=3600000"},
        {{"x", "get", "-Aw", "-Ao", "json"}, "get all wide o=json since=3600000"},
        {{"x", "get", "-l", "a=b", "--label=c=d", "-le=f", "-l", ""}, "get o=text since=3600000 l=a=b l=c=d l=e=f l="},
        {{"x", "get", "--since=90s"}, "get o=text since=90000"},
        {{"x", "version", "-A"}, "version all"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_text(rows[i].read, rows[i].read, read_all(&top, rows[i].argv));
}

static void what_is_bad_is_told_and_skipped(void **state)
{
    (void)state;
    static const struct {
        const char *argv[8];
        const char *read;
    } rows[] = {
        {{"x", "gte"}, " ! unknown command \"gte\", did you mean get?"},
        {{"x", "something"}, " ! unknown command \"something\"; --help lists them"},
        {{"x", "-w", "get"}, "get o=text since=3600000 ! unknown option \"-w\"; --help lists them"},
        {{"x", "get", "-n"}, "get o=text since=3600000 ! -n: expected a value after it"},
        {{"x", "get", "-wn"}, "get wide o=text since=3600000 ! -n: expected a value after it"},
        {{"x", "get", "--output"}, "get o=text since=3600000 ! --output: expected a value after it"},
        {{"x", "get", "--since=1ms"},
         "get o=text since=3600000 ! --since: expected a whole number with a unit (ms, s, m, h) from 1s to 1h, "
         "got \"1ms\""},
        {{"x", "get", "-wZ"}, "get o=text since=3600000 ! unknown option \"-wZ\"; --help lists them"},
        {{"x", "get", "-w=1"}, "get o=text since=3600000 ! unknown option \"-w=1\"; --help lists them"},
        {{"x", "get", "--wide=yes"}, "get o=text since=3600000 ! unknown option \"--wide=yes\", did you mean --wide?"},
        {{"x", "get", "--namespce=a"},
         "get o=text since=3600000 ! unknown option \"--namespce=a\", did you mean --namespace?"},
        {{"x", "get", "--out", "json"},
         "get o=text since=3600000 [json] ! unknown option \"--out\"; --help lists them"},
        {{"x", "get", "--=1"}, "get o=text since=3600000 ! unknown option \"--=1\"; --help lists them"},
        {{"x", "get", "-\xff"}, "get o=text since=3600000 ! unknown option \"-\\xff\"; --help lists them"},
        {{"x", "get", "a", "b", "c"}, "get o=text since=3600000 [a] [b] ! expected no more words, got \"c\""},
        {{"x", "version", "a"}, "version ! unknown option \"a\"; --help lists them"},
        {{"x", "version", "--"}, "version ! unknown option \"--\"; --help lists them"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        expect_text(rows[i].read, rows[i].read, read_all(&top, rows[i].argv));
        assert_int_equal(1, found.bad);
    }
}

static void one_fault_hides_no_other(void **state)
{
    (void)state;
    static const char *const argv[] = {"x", "--bad", "gte", "get", "--since=x", "-Q", "web", "-n", NULL};
    read_words(&top, argv);
    assert_int_equal(5, found.bad);
    expect_text("told",
                "unknown option \"--bad\"; --help lists them\n"
                "unknown command \"gte\", did you mean get?\n"
                "--since: expected a whole number with a unit (ms, s, m, h) from 1s to 1h, got \"x\"\n"
                "unknown option \"-Q\"; --help lists them\n"
                "-n: expected a value after it\n",
                told);
    expect_text("words", "web", found.words.items[0]);
}

static void lists_have_a_limit(void **state)
{
    (void)state;
    const char *argv[COMMAND_LINE_TEXTS_MAX + 4] = {"x", "get"};
    for (int i = 0; i < COMMAND_LINE_TEXTS_MAX + 1; i++)
        argv[2 + i] = "-la";
    read_words(&top, argv);
    assert_int_equal(COMMAND_LINE_TEXTS_MAX, answers.labels.count);
    expect_text("one too many", "-l: expected at most 64 of them\n", told);
}

static void nothing_at_all_is_no_fault(void **state)
{
    (void)state;
    static const char *const argv[] = {NULL};
    read_words(&plain, argv);
    assert_int_equal(0, found.bad);
    assert_null(found.command);
}

/* ---- settings ---- */

static const char *text_of(enum setting_id id)
{
    return settings_is_set(&settings, id) ? settings_get(&settings, id) : "(none)";
}

static void settings_are_options_among_others(void **state)
{
    (void)state;
    static const char *const argv[] = {
        "agent", "--interval", "2m", "--service=a=b", "--target", "api=http://h:1", "-h",
        "--target=w=http://h:2,x=http://h:3", "--labels", "a=b", "--config=f", "--labels=c=d", NULL};
    read_words(&plain, argv);
    expect_text("told", "", told);
    expect_text("interval", "2m", text_of(SETTING_INTERVAL));
    expect_text("service", "a=b", text_of(SETTING_SERVICE));
    expect_text("targets", "api=http://h:1,w=http://h:2,x=http://h:3", text_of(SETTING_TARGETS));
    expect_text("labels", "c=d", text_of(SETTING_LABELS));
    expect_text("config", "f", answers.config);
    assert_true(answers.help);
    settings_done(&settings);
}

static void flags_replace_weaker_targets_whole(void **state)
{
    (void)state;
    const struct command_line_target target = {.into = &answers, .settings = &settings, .bad = take_bad, .ctx = told};
    static const char *const argv[] = {"agent", "--target", "http://flag"};
    told[0] = '\0';
    assert_int_equal(0, settings_set(&settings, SETTING_TARGETS, span_of("e=http://env"), SETTING_FROM_ENV, NULL));
    command_line_read(&plain, 3, words_of(argv), &target);
    expect_text("targets", "http://flag", text_of(SETTING_TARGETS));
    settings_done(&settings);
}

static void bad_settings(void **state)
{
    (void)state;
    static const struct {
        const struct command_line *line;
        const char *argv[6];
        const char *words;
    } rows[] = {
        {&plain, {"x", "--interval"}, "--interval: expected a value after it"},
        {&plain, {"x", "--interval", "soon"}, "--interval: expected a whole number with a unit"},
        {&plain, {"x", "--interval="}, "--interval: expected a whole number with a unit"},
        {&plain, {"x", "--target", "6060"}, "--target: expected http://"},
        {&plain, {"x", "--target", "http://a", "--target", "http://b"}, "--target: expected each target once"},
        {&plain, {"x", "--targets", "6060"}, "--targets: expected http://"},
        {&plain, {"x", "--targt", "6060"}, "unknown option \"--targt\", did you mean --target?"},
        {&plain, {"x", "--typ"}, "unknown option \"--typ\", did you mean --types?"},
        {&plain, {"x", "--onse"}, "unknown option \"--onse\", did you mean --once?"},
        {&plain, {"x", "-interval"}, "unknown option \"-interval\"; --help lists them"},
        {&plain, {"x", "--port"}, "unknown option \"--port\""},
        {&plain, {"x", "--Interval"}, "unknown option \"--Interval\", did you mean --interval?"},
        {&plain, {"x", "interval"}, "unknown option \"interval\"; --help lists them"},
        {&plain_of_webhook, {"x", "--image"}, "unknown option \"--image\""},
        {&plain_of_webhook, {"x", "--target"}, "unknown option \"--target\""},
        {&plain_of_webhook, {"x", "--listen", "a"}, "--listen: expected [HOST]:PORT"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        read_words(rows[i].line, rows[i].argv);
        expect_contains(rows[i].argv[1], told, rows[i].words);
    }
    settings_done(&settings);
}

static void joined_targets_have_a_limit(void **state)
{
    (void)state;
    static char names[9][600];
    const char *argv[20] = {"x"};
    for (int i = 0; i < 9; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d=http://h/%0*d", i, 490, i);
        argv[1 + 2 * i] = "--target";
        argv[2 + 2 * i] = names[i];
    }
    read_words(&plain, argv);
    expect_contains("9 long targets", told, "--target: expected at most 4096 bytes");
    settings_done(&settings);
}

/* ---- the rest ---- */

static void help_comes_from_the_table(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(0, command_line_write_options(&out, &plain));
    assert_int_equal(0, command_line_write_options(&out, &get));
    assert_int_equal(0, command_line_write_commands(&out, &top));
    expect_text("help",
                "  -h, --help\n      print this\n"
                "  --config FILE\n      a file,\n      read once\n"
                "  --once\n      no more than that\n"
                "  -o, --output FORMAT\n      how it is shown (default text)\n"
                "  --since DURATION\n      how far back (default 1h)\n"
                "  -l, --label KEY=VALUE\n      only those\n"
                "  -w, --wide\n      more columns\n"
                "  get\n      shows profiles\n"
                "  version\n      shows versions\n",
                buf_text(&out));
}

static int flag_attempt(void *ctx)
{
    const char *const *argv = ctx;
    read_words(&plain, argv);
    bool failed = found.bad > 0, kept = settings_is_set(&settings, SETTING_TARGETS);
    if (failed)
        assert_non_null(strstr(told, "--target: no memory"));
    assert_true(!failed || !kept || strchr(settings_get(&settings, SETTING_TARGETS), ',') == NULL);
    return failed ? -ENOMEM : 0;
}

static void without_memory_it_is_told(void **state)
{
    (void)state;
    const char *argv[] = {"x", "--target", "a=http://h", "--target", "b=http://h", NULL};
    assert_in_range(alloc_fail_in_turn("command_line_read", flag_attempt, argv), 3, 20);
    settings_done(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_an_option_is_taken_anywhere),
        cmocka_unit_test(what_is_bad_is_told_and_skipped),
        cmocka_unit_test(one_fault_hides_no_other),
        cmocka_unit_test(lists_have_a_limit),
        cmocka_unit_test(nothing_at_all_is_no_fault),
        cmocka_unit_test(settings_are_options_among_others),
        cmocka_unit_test(flags_replace_weaker_targets_whole),
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(joined_targets_have_a_limit),
        cmocka_unit_test(help_comes_from_the_table),
        cmocka_unit_test(without_memory_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
