/* The command line of profefe-agent: flags, environment and INI file into one set of settings. */
#ifndef PROFEFE_AGENT_COMMAND_H
#define PROFEFE_AGENT_COMMAND_H

#include "common/base/buf.h"
#include "common/base/warnings.h"
#include "common/settings/settings.h"

#include <stdbool.h>
#include <stdint.h>

enum { AGENT_COMMAND_HELP_MAX = 32 * 1024 }; /* bytes */

struct agent_command {
    bool help;
    bool version;
    bool check;
    bool once;
    const char *config; /* the INI file; NULL = none. Borrowed from argv */
    int64_t timeout_ms; /* of --once */
    bool sidecar;       /* never exit before SIGTERM */
    struct settings settings;
    struct warnings problems; /* every bad flag, variable and INI line; count 0 = none */
};

/* Reads everything and never fails: what is wrong is in problems, so that a sidecar can go on and say it. Free with
 * agent_command_done. */
void agent_command_read(struct agent_command *command, int argc, char *const *argv, char *const *env);
void agent_command_done(struct agent_command *command);

int agent_command_write_help(struct buf *out);

#endif
