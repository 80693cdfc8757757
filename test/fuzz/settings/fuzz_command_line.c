/* Any lines as the words of a command line: of a program with subcommands, and of one with settings and no words.
 * What is bad is told in printable words, what is good is a word of the line or the end of one, and a second reading
 * says the same. */
#include "fuzz.h"

#include "common/settings/command_line.h"

enum { WORDS_MAX = 256 };

struct answers {
    bool help, wide;
    const char *config;
    int64_t since_ms;
    struct command_line_texts labels;
};

#define TO(member) COMMAND_LINE_TO(struct answers, member)

static const struct command_line top;

static const struct command_line_option flat_options[] = {
    {"help", TO(help), .letter = 'h', .help = "x"},
    {"config", TO(config), .letter = 'c', .argument = "FILE", .default_text = "x", .help = "x"},
    {.name = NULL},
};
static const struct command_line flat = {.options = flat_options, .where = SETTING_AGENT};

static const struct command_line_option get_options[] = {
    {"since", TO(since_ms), .argument = "DURATION", .min = 1, .max = 1000, .help = "x"},
    {"label", TO(labels), .letter = 'l', .argument = "KEY=VALUE", .help = "x"},
    {"wide", TO(wide), .letter = 'w', .help = "x"},
    {.name = NULL},
};
static const struct command_line get = {.options = get_options, .words_max = 3, .outer = &top};
static const struct command_line_command commands[] = {{"get", &get, "x"}, {.name = NULL}};
static const struct command_line top = {.options = flat_options, .commands = commands};

struct told {
    unsigned count;
    uint32_t sum; /* of their words */
};

static void take_bad(void *ctx, const struct err *err)
{
    struct told *told = ctx;
    must_be_told(-err->code, err);
    told->count++;
    for (const char *c = err->text; *c != '\0'; c++)
        told->sum = told->sum * 31 + (unsigned char)*c;
}

static bool ends_a_word(int argc, char *const *argv, const char *text)
{
    for (int i = 1; i < argc; i++) {
        if (text >= argv[i] && text <= argv[i] + strlen(argv[i]))
            return true;
    }
    return false;
}

static struct told read_words(const struct command_line *line, int argc, char *const *argv)
{
    struct told told = {0};
    struct answers answers = {0};
    struct settings settings = {0};
    const struct command_line_target target = {.into = &answers, .settings = &settings, .bad = take_bad, .ctx = &told};
    struct command_line_found found = command_line_read(line, argc, argv, &target);
    must(found.bad == told.count, "expected each fault to be told");
    must(found.words.count <= 3 && answers.labels.count <= COMMAND_LINE_TEXTS_MAX,
         "expected lists within their bounds");
    must(line != &flat || (found.words.count == 0 && found.command == NULL), "expected no words");
    must(answers.since_ms >= 0 && answers.since_ms <= 1000, "expected a duration in its range");
    must(strcmp(answers.config, "x") == 0 || ends_a_word(argc, argv, answers.config), "expected a text of the line");
    for (unsigned i = 0; i < answers.labels.count; i++)
        must(ends_a_word(argc, argv, answers.labels.items[i]), "expected a text of the line");
    for (unsigned i = 0; i < found.words.count; i++)
        must(ends_a_word(argc, argv, found.words.items[i]), "expected a word of the line");
    settings_done(&settings);
    return told;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS_MAX + 2] = {(char[]){"x"}, NULL};
    int argc = 1;
    if (size > FUZZ_SIZE_MAX)
        return 0;
    char *text = fuzz_string(data, size), *rest = text;
    for (char *word; argc <= WORDS_MAX && (word = strsep(&rest, "\n")) != NULL;)
        argv[argc++] = strdup(word);
    free(text);
    const struct command_line *const lines[] = {&top, &flat};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct told one = read_words(lines[i], argc, argv), two = read_words(lines[i], argc, argv);
        must(one.count == two.count && one.sum == two.sum, "expected the same of the same words");
    }
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    return 0;
}
