#include "common/settings/command_line.h"

#include "common/base/duration.h"
#include "common/base/name.h"
#include "common/base/quote.h"
#include "common/settings/settings_flag.h"

#include <string.h>

struct reading {
    const struct command_line *line; /* that of the subcommand, once one was chosen */
    int argc;
    char *const *argv;
    int next; /* index of the word that comes next */
    const struct command_line_target *to;
    struct command_line_found found;
};

/* An option of either sort. */
struct match {
    const struct command_line_option *own;
    int setting; /* its id, or -1 */
};

static void tell(struct reading *r, const struct err *err)
{
    r->found.bad++;
    r->to->bad(r->to->ctx, err);
}

/* ---- which one is meant? ---- */

/* By letter, or by name where letter is 0. */
static const struct command_line_option *find_own(const struct command_line *line, struct span name, char letter)
{
    for (; line != NULL; line = line->outer) {
        for (const struct command_line_option *option = line->options; option->name != NULL; option++) {
            if (letter != '\0' ? option->letter == letter : span_equal(name, option->name))
                return option;
        }
    }
    return NULL;
}

static struct match find_named(const struct command_line *line, struct span name)
{
    struct match match = {.own = find_own(line, name, '\0'), .setting = -1};
    for (; match.own == NULL && match.setting < 0 && line != NULL; line = line->outer)
        match.setting = settings_flag_find(name, line->where);
    return match;
}

static bool is_switch(const struct match *match)
{
    return match->own != NULL && match->own->kind == COMMAND_LINE_SWITCH;
}

/* Settings are offered first, so of two that are as near the setting is named. */
static const char *near_option(const struct command_line *line, struct span name)
{
    struct name_near near = name_near_begin(name, NAME_SLIPS_MAX);
    for (; line != NULL; line = line->outer) {
        settings_flag_offer(&near, line->where);
        for (const struct command_line_option *option = line->options; option->name != NULL; option++)
            name_near_offer(&near, option->name);
    }
    return near.word;
}

/* `near`: what was meant, perhaps, with `dashes` before it; NULL = no telling. */
static void tell_unknown(struct reading *r, const char *what, const char *arg, const char *dashes, const char *near)
{
    struct err err;
    struct quoted q;
    quote_text(&q, arg);
    if (near != NULL)
        err_set(&err, EINVAL, "unknown %s %s, did you mean %s%s?", what, q.text, dashes, near);
    else
        err_set(&err, EINVAL, "unknown %s %s; --help lists them", what, q.text);
    tell(r, &err);
}

static void refuse_option(struct reading *r, const char *arg)
{
    const char *near = NULL;
    if (span_has_prefix(span_of(arg), "--"))
        near = near_option(r->line, (struct span){arg + 2, strcspn(arg + 2, "=")});
    tell_unknown(r, "option", arg, "--", near);
}

/* ---- options ---- */

static int add_text(struct command_line_texts *texts, const char *text, struct err *err)
{
    if (texts->count == COMMAND_LINE_TEXTS_MAX)
        return err_set(err, EINVAL, "expected at most %d of them", COMMAND_LINE_TEXTS_MAX);
    texts->items[texts->count++] = text;
    return 0;
}

static int set_own(const struct command_line_option *option, void *into, const char *value, struct err *err)
{
    void *member = (char *)into + option->offset;
    switch (option->kind) {
    case COMMAND_LINE_SWITCH:
        *(bool *)member = true;
        return 0;
    case COMMAND_LINE_TEXT:
        *(const char **)member = value;
        return 0;
    case COMMAND_LINE_DURATION:
        return duration_parse(span_of(value), option->min, option->max, member, err);
    case COMMAND_LINE_LIST:
        return add_text(member, value, err);
    }
    return 0;
}

static void set_defaults(const struct command_line *line, void *into)
{
    for (const struct command_line_option *option = line->options; option->name != NULL; option++) {
        if (option->default_text != NULL)
            set_own(option, into, option->default_text, NULL);
    }
}

static const char *take_next(struct reading *r)
{
    return r->next < r->argc ? r->argv[r->next++] : NULL;
}

static int set(struct reading *r, const struct match *match, const char *value, struct err *err)
{
    bool wants_value = !is_switch(match);
    if (wants_value && value == NULL)
        value = take_next(r);
    if (wants_value && value == NULL)
        return err_set(err, EINVAL, "expected a value after it");
    if (match->own != NULL)
        return set_own(match->own, r->to->into, value, err);
    return settings_flag_set(r->to->settings, (enum setting_id)match->setting, span_of(value), err);
}

/* `written`: how the option stands there, for messages; value NULL: none in the same word. */
static void take_option(struct reading *r, const struct match *match, struct span written, const char *value)
{
    struct err err;
    int rc = set(r, match, value, &err);
    if (rc == 0)
        return;
    err_wrap(&err, rc, "%.*s", (int)written.len, written.ptr);
    tell(r, &err);
}

static void read_named(struct reading *r, const char *arg)
{
    size_t len = strcspn(arg, "=");
    const char *value = arg[len] == '=' ? arg + len + 1 : NULL;
    struct match match = find_named(r->line, (struct span){arg + 2, len - 2});
    if ((match.own == NULL && match.setting < 0) || (is_switch(&match) && value != NULL))
        refuse_option(r, arg);
    else
        take_option(r, &match, (struct span){arg, len}, value);
}

/* Is each of them one of ours, up to the first that takes the rest as its value? */
static bool are_letters(const struct command_line *line, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const struct command_line_option *option = find_own(line, (struct span){NULL, 0}, *letters);
        if (option == NULL || option->kind != COMMAND_LINE_SWITCH)
            return option != NULL;
    }
    return true;
}

static void read_letters(struct reading *r, const char *arg)
{
    if (!are_letters(r->line, arg + 1)) {
        refuse_option(r, arg);
        return;
    }
    for (const char *letter = arg + 1; *letter != '\0'; letter++) {
        const char written[] = {'-', *letter, '\0'};
        struct match match = {.own = find_own(r->line, (struct span){NULL, 0}, *letter), .setting = -1};
        const char *value = letter[1] == '=' ? letter + 2 : letter[1] != '\0' ? letter + 1 : NULL;
        if (is_switch(&match))
            value = NULL;
        take_option(r, &match, span_of(written), value);
        if (!is_switch(&match))
            return;
    }
}

/* ---- words ---- */

static void choose_command(struct reading *r, const char *word)
{
    struct name_near near = name_near_begin(span_of(word), NAME_SLIPS_MAX);
    for (const struct command_line_command *command = r->line->commands; command->name != NULL; command++) {
        name_near_offer(&near, command->name);
        if (strcmp(command->name, word) != 0)
            continue;
        r->found.command = command;
        r->line = command->line;
        set_defaults(r->line, r->to->into);
        return;
    }
    tell_unknown(r, "command", word, "", near.word);
}

static void take_word(struct reading *r, const char *word)
{
    struct err err;
    struct quoted q;
    if (r->line->commands != NULL)
        choose_command(r, word);
    else if (r->line->words_max == 0)
        refuse_option(r, word);
    else if (r->found.words.count < r->line->words_max)
        r->found.words.items[r->found.words.count++] = word;
    else {
        err_set(&err, EINVAL, "expected no more words, got %s", quote_text(&q, word));
        tell(r, &err);
    }
}

static bool ends_options(const struct command_line *line, const char *arg)
{
    return strcmp(arg, "--") == 0 && (line->words_max > 0 || line->commands != NULL);
}

struct command_line_found command_line_read(const struct command_line *line, int argc, char *const *argv,
                                            const struct command_line_target *to)
{
    struct reading r = {.line = line, .argc = argc, .argv = argv, .next = 1, .to = to};
    bool only_words = false;
    const char *arg;
    set_defaults(line, to->into);
    while ((arg = take_next(&r)) != NULL) {
        if (only_words || arg[0] != '-' || arg[1] == '\0')
            take_word(&r, arg);
        else if (ends_options(r.line, arg))
            only_words = true;
        else if (arg[1] == '-')
            read_named(&r, arg);
        else
            read_letters(&r, arg);
    }
    return r.found;
}

/* ---- help ---- */

static void write_lines(struct buf *out, const char *lines)
{
    for (size_t len = strcspn(lines, "\n"); lines[len] == '\n'; len = strcspn(lines, "\n")) {
        buf_printf(out, "      %.*s\n", (int)len, lines);
        lines += len + 1;
    }
    buf_printf(out, "      %s", lines);
}

static void write_option(struct buf *out, const struct command_line_option *option)
{
    buf_puts(out, "  ");
    if (option->letter != '\0')
        buf_printf(out, "-%c, ", option->letter);
    buf_printf(out, "--%s", option->name);
    if (option->argument != NULL)
        buf_printf(out, " %s", option->argument);
    buf_putc(out, '\n');
    write_lines(out, option->help);
    if (option->default_text != NULL)
        buf_printf(out, " (default %s)", option->default_text);
    buf_putc(out, '\n');
}

int command_line_write_options(struct buf *out, const struct command_line *line)
{
    for (const struct command_line_option *option = line->options; option->name != NULL; option++)
        write_option(out, option);
    return buf_error(out);
}

int command_line_write_commands(struct buf *out, const struct command_line *line)
{
    for (const struct command_line_command *command = line->commands; command->name != NULL; command++) {
        buf_printf(out, "  %s\n", command->name);
        write_lines(out, command->help);
        buf_putc(out, '\n');
    }
    return buf_error(out);
}
