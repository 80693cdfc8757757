/* Profile types and the grammar of the `types` setting: TYPE[:EVERY][=SECONDS], comma-separated.
 *
 * One table says for each kind what it is called, where Go's net/http/pprof serves it (golang/go
 * src/net/http/pprof/pprof.go), under which type profefe stores it, and whether SECONDS makes sense: on
 * anything but cpu and trace it would ask Go for a delta profile, which spoils the inuse values. What it means to
 * a custom handler is that handler's business: other/NAME sends it as given, and none when none is given.
 */
#ifndef PROFEFE_PROFILE_TYPES_H
#define PROFEFE_PROFILE_TYPES_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/warnings.h"

#include <stdbool.h>
#include <stdint.h>

enum profile_kind {
    PROFILE_CPU,
    PROFILE_HEAP,
    PROFILE_GOROUTINE,
    PROFILE_BLOCK,
    PROFILE_MUTEX,
    PROFILE_THREADCREATE,
    PROFILE_ALLOCS,
    PROFILE_TRACE,
    PROFILE_OTHER, /* other/NAME: a custom path under the target's base */
    PROFILE_KIND_COUNT,
};

struct profile_kind_info {
    const char *name;         /* in settings, metrics and logs */
    const char *path;         /* below the pprof base */
    const char *profefe_type; /* API parameter `type` */
    bool timed;               /* takes SECONDS */
    bool fractions;           /* SECONDS may have a fraction (Go parses trace's as float, profile's as int) */
};
extern const struct profile_kind_info profile_kinds[PROFILE_KIND_COUNT];

enum {
    PROFILE_TYPES_MAX = 16,
    PROFILE_TYPE_NAME_MAX = 63,
    PROFILE_TYPE_EVERY_MIN_MS = 1000,
    PROFILE_TYPE_EVERY_MAX_MS = 24 * 3600 * 1000,
    PROFILE_TYPE_SECONDS_MIN_MS = 100,          /* shortest trace worth the transfer; cpu is whole seconds */
    PROFILE_TYPE_SECONDS_MAX_MS = 300 * 1000,
    PROFILE_TYPE_OTHERS_FACTOR = 5,             /* EVERY of all types but cpu defaults to 5 intervals */
};

struct profile_type {
    enum profile_kind kind;
    char name[PROFILE_TYPE_NAME_MAX + 1]; /* as in settings: "cpu", "other/wall" */
    int64_t every_ms;
    int64_t seconds_ms;           /* 0 = none */
};

struct profile_types {
    unsigned count;
    struct profile_type items[PROFILE_TYPES_MAX];
};

struct profile_types_defaults {
    int64_t interval_ms;
    int64_t cpu_seconds_ms;
    int64_t grace_ms; /* terminationGracePeriodSeconds; SECONDS is capped at half of it, at least 1 s; -1 = no cap */
};

/* One item as it is written, cut into its parts, each trimmed; `all` is the item itself. What is not given has a
 * NULL ptr. Borrowed; nothing of it is checked. */
struct profile_types_item {
    struct span all, type, every, seconds;
};
struct profile_types_item profile_types_split(struct span text);

/* Begins with "other/" and goes on. */
bool profile_types_is_other(struct span name);

/* NAME of "other/NAME", borrowed; NULL for any other type. */
const char *profile_types_other_name(const char *type);

/* -EINVAL names the item and what was expected (unknown type with its near miss, EVERY or SECONDS out of range,
 * both given and SECONDS not below EVERY, the same type twice, too many, none): whether a text is an error does
 * not depend on `defaults`. Tolerated with a warning: SECONDS where it makes no sense (ignored); SECONDS not
 * below a defaulted EVERY or above half of the grace period (capped). */
int profile_types_parse(struct span text, const struct profile_types_defaults *defaults, struct profile_types *ret,
                        struct warnings *warnings, struct err *err);

#endif
