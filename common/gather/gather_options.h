/* What is taken and where it goes: all that taking and sending need to know. Checked by whoever fills it in,
 * and unchanged while they work. Texts are borrowed.
 */
#ifndef PROFEFE_GATHER_OPTIONS_H
#define PROFEFE_GATHER_OPTIONS_H

#include "common/base/program.h"
#include "common/values/labels.h"
#include "common/values/profile_types.h"
#include "common/values/targets.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    GATHER_INSTANCE_MAX = 253, /* bytes of a pod's or a host's name */
};

struct gather_options {
    const struct program *program;
    struct targets targets;
    bool target_insecure;     /* https targets are not verified; those on loopback never are */
    const char *target_ca;    /* CA certificates, PEM, for the others; NULL = the system's */
    struct profile_types types;
    struct labels labels;     /* identity, then the user's */
    bool sample_labels;       /* in each sample too */
    const char *collector;    /* NULL with output_dir */
    const char *output_dir;   /* NULL with collector */
    const char *service;
    char instance[GATHER_INSTANCE_MAX + 1]; /* pod name, or the host's */
    const char *seed;         /* of the phase: pod uid, or instance */
    int64_t interval_ms;
    unsigned sampling;        /* hundredths of a percent */
    int64_t first_within_ms;
    int64_t missing_retry_ms;
    uint64_t spool_bytes;
    uint64_t profile_max;     /* bytes of one profile */
    int64_t spool_age_ms;
    int64_t retry_min_ms, retry_max_ms;
    int64_t connect_timeout_ms, scrape_timeout_ms, push_timeout_ms;
};

#endif
