/* The command line of profefe-webhook: flags, environment and INI file into one set of settings. */
#ifndef PROFEFE_WEBHOOK_COMMAND_H
#define PROFEFE_WEBHOOK_COMMAND_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/settings/settings.h"

#include <stdbool.h>

enum { WEBHOOK_COMMAND_HELP_MAX = 32 * 1024 };

struct webhook_command {
    bool help;
    bool version;
    bool check;
    const char *review;         /* FILE or "-"; NULL = serve */
    bool all;                   /* --review: answer as /mutate/all */
    const char *namespace_name; /* --review: of what names none */
    const char *config;         /* the INI file; NULL = none */
    struct settings base;       /* flags and environment, which the INI file gives way to */
};

/* -EINVAL: the first bad flag or variable. The INI file is not read. Free with webhook_command_done in either case. */
MUST_CHECK int webhook_command_read(struct webhook_command *command, int argc, char *const *argv, char *const *env,
                                    struct err *err) NONNULL(1);
void webhook_command_done(struct webhook_command *command);

int webhook_command_write_help(struct buf *out);

#endif
