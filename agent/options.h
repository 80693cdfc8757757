/* What one agent does, resolved from its settings: parsed once, checked once, unchanged until the end. */
#ifndef PROFEFE_AGENT_OPTIONS_H
#define PROFEFE_AGENT_OPTIONS_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/warnings.h"
#include "common/gather/gather_options.h"
#include "common/settings/settings.h"

#include <stdint.h>

enum {
    OPTIONS_STOP_MARGIN_MS = 1000, /* kept of the grace period for the exit itself */
};

struct options {
    struct gather_options gather; /* its texts are borrowed from the settings, as all texts here */
    const char *secret_dir;       /* credentials for the collector; NULL = none */
    const char *spool_dir;        /* NULL = in memory */
    uint64_t stand_in_bytes;      /* of a spool in memory while spool_dir cannot be opened */
    const char *pod_ip;           /* for /status; NULL = not known */
    int64_t stop_deadline_ms;     /* min(stop-deadline, grace - 1 s) */
    bool stop_profiles;           /* a last heap and goroutine after SIGTERM */
};

/* host: this machine's name; memory_limit: bytes of the container, 0 = none known. -EINVAL names what is missing
 * (targets, collector or output-dir, service) or contradicts, and *ret is not to be used; tolerated oddities go to
 * warnings. */
MUST_CHECK int options_resolve(const struct settings *settings, const char *host, uint64_t memory_limit,
                               struct options *ret, struct warnings *warnings, struct err *err) NONNULL(1);

/* Where the status server listens; NULL = there is none. Known also of settings that do not resolve. */
const char *options_listen(const struct settings *settings);

/* Where the profiles go, for people: the collector's URL or the output directory. */
const char *options_destination(const struct options *options);

#endif
