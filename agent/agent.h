/* The agent at work: the loop with taking, sending, the status server and the signals; as a daemon or once. */
#ifndef PROFEFE_AGENT_AGENT_H
#define PROFEFE_AGENT_AGENT_H

#include "agent/options.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/warnings.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_setup {
    const struct options *options;   /* NULL = idle: only the status server runs */
    const char *listen;              /* of the status server; NULL = none */
    struct warnings *problems;       /* why it is idle; a sidecar that cannot start its work adds that */
    const struct warnings *warnings;
    int64_t interval_ms;
    bool sidecar; /* nothing but SIGTERM ends it: it idles where it cannot work */
};

/* Runs until SIGTERM or SIGINT and the flush after it. 0, or -Exxx when it could not start. */
MUST_CHECK int agent_run(const struct agent_setup *setup, struct err *err) NONNULL(1);

/* Takes each type of each target once, pushes, prints a line for each on stdout. 0 when everything was stored or
 * empty; 1 when something was not; -Exxx when it could not start. */
MUST_CHECK int agent_run_once(const struct options *options, int64_t timeout_ms, struct err *err) NONNULL(1);

#endif
