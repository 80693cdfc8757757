/* The command line of a program, read by a table: its own options, and the rows of the settings table that have a flag.
 *
 *     static const struct command_line_option options[] = {
 *         {"config", COMMAND_LINE_TO(struct agent_command, config), .argument = "FILE", .help = "INI file …"},
 *         {"check", COMMAND_LINE_TO(struct agent_command, check), .help = "check the settings and leave"},
 *         {"help", COMMAND_LINE_TO(struct agent_command, help), .letter = 'h', .help = "print this"},
 *         {.name = NULL},
 *     };
 *     static const struct command_line line = {.options = options, .where = SETTING_AGENT};
 *
 * An option is written --name VALUE, --name=VALUE, -n VALUE, -nVALUE or -n=VALUE; a switch --name or -n, and switches
 * may share a word (-abc), whose last letter may be of an option with a value. Names count whole. Options stand before,
 * between and behind the words that are none; behind "--" there are only words. Of an option given twice the last
 * counts, but for lists, which keep all.
 *
 * A program with subcommands lists them in `commands`: the first word chooses one, and from there on its options hold
 * beside those of `outer`. Values that want a type, a range, a variable or an INI key are settings: rows of their
 * table.
 *
 * Not on getopt_long: it takes any beginning of a name for the name and cannot be told not to, so that each new option
 * could change what an old command line means; it tells one fault at a time, on stderr, in words of its own, where a
 * sidecar must collect all of them and go on; and its state is the process's. With each option looked up here first, as
 * settings and near misses want it, nothing would be left for it to do.
 *
 * Pure, and allocates nothing itself: texts are borrowed from argv and the table.
 */
#ifndef PROFEFE_COMMAND_LINE_H
#define PROFEFE_COMMAND_LINE_H

#include "common/base/buf.h"
#include "common/settings/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMMAND_LINE_TEXTS_MAX = 64 }; /* values of one list, and words: what somebody still names one by one */

struct command_line_texts {
    unsigned count;
    const char *items[COMMAND_LINE_TEXTS_MAX];
};

/* What an option is follows from the member that it sets. */
enum command_line_kind {
    COMMAND_LINE_SWITCH,   /* bool: true when the option is there */
    COMMAND_LINE_TEXT,     /* const char * */
    COMMAND_LINE_DURATION, /* int64_t: ms in [min, max] */
    COMMAND_LINE_LIST,     /* struct command_line_texts: each value given, in their order */
};

struct command_line_option {
    const char *name; /* NULL ends a table */
    enum command_line_kind kind;
    size_t offset;            /* of the member in what command_line_target.into points to */
    char letter;              /* 'n' for -n; 0 = none */
    const char *argument;     /* the word for its value in the help: FILE; NULL for a switch */
    const char *default_text; /* set before anything is read, and checked like any value; NULL = the member stays */
    int64_t min, max;
    const char *help; /* lines, the last without its end */
};

/* The kind and place of an option that sets this member of that type. */
#define COMMAND_LINE_TO(type, member)                                                                                \
    .kind = _Generic(((type *)0)->member,                                                                            \
                     bool: COMMAND_LINE_SWITCH,                                                                      \
                     const char *: COMMAND_LINE_TEXT,                                                                \
                     int64_t: COMMAND_LINE_DURATION,                                                                 \
                     struct command_line_texts: COMMAND_LINE_LIST),                                                  \
    .offset = offsetof(type, member)

struct command_line {
    const struct command_line_option *options;
    unsigned where;     /* a program's bit of enum setting_where: its settings with a flag are options; 0 = none are */
    unsigned words_max; /* words that are no options, at most COMMAND_LINE_TEXTS_MAX; 0: each is an unknown option */
    const struct command_line_command *commands; /* NULL = none */
    const struct command_line *outer;            /* of a subcommand: the line that names it; NULL = none */
};

struct command_line_command {
    const char *name; /* NULL ends a table */
    const struct command_line *line;
    const char *help; /* as of an option */
};

/* Where what was read goes; all borrowed. */
struct command_line_target {
    void *into;                /* the struct whose members the options set */
    struct settings *settings; /* may be NULL where no line has `where` */
    settings_bad *bad;         /* is told each fault, "--name: expected …" */
    void *ctx;
};

struct command_line_found {
    unsigned bad;                               /* how many faults were told */
    const struct command_line_command *command; /* the chosen one, or NULL */
    struct command_line_texts words;
};

/* Reads argv[1] and what follows. What is bad is told and skipped, so that one fault hides no other. */
struct command_line_found command_line_read(const struct command_line *line, int argc, char *const *argv,
                                            const struct command_line_target *to);

/* The --help lines of the options that are no settings (those: settings_help_write_flags), and of the subcommands.
 * 0, or what buf_error() says. */
int command_line_write_options(struct buf *out, const struct command_line *line);
int command_line_write_commands(struct buf *out, const struct command_line *line);

#endif
