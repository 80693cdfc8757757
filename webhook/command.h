/* The command line of profefe-webhook: flags, environment and INI file into one set of settings. */
#ifndef PROFEFE_WEBHOOK_COMMAND_H
#define PROFEFE_WEBHOOK_COMMAND_H

#include "common/buf.h"
#include "common/err.h"
#include "common/settings.h"

#include <stdbool.h>

enum { COMMAND_HELP_MAX = 32 * 1024 };

struct command {
    bool help;
    bool version;
    bool check;
    const char *review;         /* FILE or "-"; NULL = serve */
    bool all;                   /* --review: answer as /mutate/all */
    const char *namespace_name; /* --review: of a bare Pod without one */
    struct settings settings;
};

/* -EINVAL: the first bad flag, variable or INI line. Free with command_done in either case. */
int command_read(struct command *command, int argc, char *const *argv, char *const *env, struct err *err);
void command_done(struct command *command);

int command_write_help(struct buf *out);

#endif
