/* What one agent does, resolved from its settings: parsed once, checked once, unchanged until the end. */
#ifndef PROFEFE_AGENT_OPTIONS_H
#define PROFEFE_AGENT_OPTIONS_H

#include "common/base/err.h"
#include "common/values/labels.h"
#include "common/settings/settings.h"
#include "common/values/targets.h"
#include "common/values/types.h"
#include "common/base/warnings.h"

#include <stdint.h>

enum {
    OPTIONS_STOP_MARGIN_MS = 1000, /* kept of the grace period for the exit itself */
    OPTIONS_NAME_MAX = 253,
};

struct options {
    struct targets targets;
    struct profile_types types;
    struct labels labels;     /* identity, then the user's */
    bool sample_labels;       /* in each sample too */
    const char *collector;    /* borrowed from the settings, as all texts here; NULL with output_dir */
    const char *output_dir;   /* NULL with collector */
    const char *secret_dir;   /* NULL = none */
    const char *service;
    const char *listen;       /* NULL = no server */
    char instance[OPTIONS_NAME_MAX + 1]; /* pod name, or the host's */
    const char *pod_ip;       /* for /status; NULL = not known */
    const char *seed;         /* of the phase: pod uid, or instance */
    int64_t interval_ms;
    unsigned sampling;        /* hundredths of a percent */
    int64_t first_within_ms;
    int64_t missing_retry_ms;
    int64_t stop_deadline_ms; /* min(stop-deadline, grace - 1 s) */
    bool stop_profiles;       /* a last heap and goroutine after SIGTERM */
    const char *spool_dir;    /* NULL = in memory */
    uint64_t spool_bytes;
    uint64_t profile_max;     /* bytes of one profile */
    int64_t spool_age_ms;
    int64_t retry_min_ms, retry_max_ms;
    int64_t connect_timeout_ms, scrape_timeout_ms, push_timeout_ms;
};

/* host: this machine's name; memory_limit: bytes of the container, 0 = none known. -EINVAL names what is missing
 * (targets, collector or output-dir, service) or contradicts, and *ret is not to be used; tolerated oddities go to
 * warnings. */
int options_resolve(const struct settings *settings, const char *host, uint64_t memory_limit, struct options *ret,
                    struct warnings *warnings, struct err *err);

/* Where the profiles go, for people: the collector's URL or the output directory. */
const char *options_destination(const struct options *options);

#endif
