/* The settings vocabulary: one table from which annotation checks, environment names, INI keys, command-line
 * flags, --help and the README's table all come.
 *
 * A setting's name is the annotation's name after "profefe.com/", the INI key and the flag ("--NAME") at once.
 * `struct settings` holds one process's values: text as given, already checked, with its origin. Precedence
 * (Contract 2b): flag, env, INI, default: settings_set() never lets a weaker origin replace a stronger one.
 */
#ifndef PROFEFE_SETTINGS_H
#define PROFEFE_SETTINGS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_ANNOTATION_PREFIX "profefe.com/"

enum {
    SETTINGS_VALUE_MAX = 4096, /* bytes of one value, from whatever origin */
};

enum setting_id {
    /* what a pod may say, in the order of the README's table */
    SETTING_ENABLE,
    SETTING_PORT,
    SETTING_PATH,
    SETTING_SCHEME,
    SETTING_SERVICE,
    SETTING_TYPES,
    SETTING_INTERVAL,
    SETTING_CPU_SECONDS,
    SETTING_SAMPLING,
    SETTING_LABELS,
    SETTING_POD_LABELS,
    SETTING_SAMPLE_LABELS,
    SETTING_COLLECTOR,
    SETTING_COLLECTOR_SECRET,
    SETTING_SPOOL,
    SETTING_MODE,
    SETTING_IMAGE,
    SETTING_IMAGE_PULL_POLICY,
    SETTING_CPU_REQUEST,
    SETTING_CPU_LIMIT,
    SETTING_MEMORY_REQUEST,
    SETTING_MEMORY_LIMIT,
    SETTING_LOG_LEVEL,
    SETTING_LOG_FORMAT,
    SETTING_STRICT,
    SETTING_STATUS,
    /* the agent */
    SETTING_STOP_DEADLINE,
    SETTING_STOP_PROFILES,
    SETTING_TARGETS,
    SETTING_LISTEN,
    SETTING_SIDECAR,
    SETTING_GRACE,
    SETTING_CONTAINER,
    SETTING_POD_NAME,
    SETTING_POD_NAMESPACE,
    SETTING_POD_UID,
    SETTING_NODE_NAME,
    SETTING_POD_IP,
    SETTING_FIRST_WITHIN,
    SETTING_SCRAPE_TIMEOUT,
    SETTING_MISSING_RETRY,
    SETTING_SECRET_DIR,
    SETTING_OUTPUT_DIR,
    SETTING_SPOOL_BYTES,
    SETTING_SPOOL_DIR,
    SETTING_SPOOL_AGE,
    SETTING_RETRY_MIN,
    SETTING_RETRY_MAX,
    SETTING_CONNECT_TIMEOUT,
    SETTING_PUSH_TIMEOUT,
    /* the webhook itself: [server] */
    SETTING_SERVER_LISTEN,
    SETTING_SERVER_ADMIN_LISTEN,
    SETTING_SERVER_CERT,
    SETTING_SERVER_KEY,
    SETTING_SERVER_CLIENT_CA,
    SETTING_SERVER_DRAIN,
    SETTING_SERVER_RELOAD,
    SETTING_SERVER_LOG_LEVEL,
    SETTING_SERVER_LOG_FORMAT,
    /* what the webhook injects: [inject] */
    SETTING_IMAGE_PREFIXES,
    SETTING_COUNT,
};

enum setting_type {
    SETTING_TYPE_BOOL,
    SETTING_TYPE_TEXT,     /* max = bytes; min = bytes */
    SETTING_TYPE_WHOLE,    /* whole number in [min, max] */
    SETTING_TYPE_DURATION, /* [min, max] in ms */
    SETTING_TYPE_CHOICE,   /* one of `choices`, compared exactly */
    SETTING_TYPE_PORT,     /* port or [NAME=]PORT list, a PORT being a number or a container-port name */
    SETTING_TYPE_PATH,     /* absolute URL path */
    SETTING_TYPE_URL,      /* http(s) base URL */
    SETTING_TYPE_TYPES,    /* types.h */
    SETTING_TYPE_LABELS,   /* labels.h */
    SETTING_TYPE_NAMES,    /* comma-separated words */
    SETTING_TYPE_TARGETS,  /* targets.h */
    SETTING_TYPE_LISTEN,   /* address.h; the agent's may be `none` */
    SETTING_TYPE_QUANTITY, /* quantity.h, or `none` */
    SETTING_TYPE_IMAGE,    /* container image reference */
    SETTING_TYPE_PERCENT,  /* "25%", up to two decimals, above 0 and at most 100 */
    SETTING_TYPE_OBJECT,   /* name of a Kubernetes object (RFC 1123 subdomain) */
    SETTING_TYPE_SPOOL,    /* `memory`, or a quantity of whole bytes in [min, max] */
};

enum setting_use {
    SETTING_ANNOTATION = 1U << 0, /* a pod may set it */
    SETTING_AGENT = 1U << 1,      /* env, INI [agent] and flag of profefe-agent */
    SETTING_WEBHOOK = 1U << 2,    /* INI key of profefe-webhook, in `section`; those of [server] also have a flag */
    SETTING_WRITTEN = 1U << 3,    /* an annotation written by the webhook, not read (status) */
};

struct setting {
    const char *name;
    enum setting_type type;
    unsigned uses;
    const char *section; /* webhook INI: server, inject, defaults; NULL where uses lacks SETTING_WEBHOOK */
    const char *env;     /* the environment variable of the daemon, or NULL. Never ends in _PORT, _HOST, _ADDR, _PROTO:
                          * a Service called `profefe` puts such names into every container of its namespace */
    int64_t min, max;    /* by type */
    const char *choices; /* "a|b|c" */
    const char *dflt;    /* checked like any value; NULL = unset */
    bool live;           /* will be changeable on a running pod */
    const char *help;    /* one line */
};

extern const struct setting settings_table[SETTING_COUNT];

/* The id of a name among settings that have one of `uses`, or -1. */
int settings_find(struct span name, unsigned uses);

/* The most similar name among settings with one of `uses`, when it is near enough to be a slip; else NULL. */
const char *settings_near_miss(struct span name, unsigned uses);

/* Checks a value against its setting. 0, or -EINVAL with "expected …, got …" (the name is not repeated). What is
 * tolerated but worth telling depends on several settings at once and is told by profile_types_parse and labels_add_list. */
int settings_check(enum setting_id id, struct span text, struct err *err);

enum setting_origin { SETTING_FROM_DEFAULT, SETTING_FROM_INI, SETTING_FROM_ENV, SETTING_FROM_FLAG };

struct settings {
    struct settings_value {
        char *text; /* owned; NULL = the table's default */
        enum setting_origin origin;
    } values[SETTING_COUNT];
    /* The webhook's [limits]: what pods may set a setting to, as written. What it means and whether it means anything
     * is common/pod/limits.h's. */
    struct settings_limit {
        char *text; /* owned; NULL = none */
        int line;   /* in the INI file */
    } limits[SETTING_COUNT];
};

void settings_init(struct settings *settings);
void settings_done(struct settings *settings); /* usable with CLEANUP */

/* Checks and keeps a copy. -EINVAL (bad value), -ENOMEM. Leaves a value of stronger origin alone. */
int settings_set(struct settings *settings, enum setting_id id, struct span text, enum setting_origin origin,
                 struct err *err);

/* A copy of all values; *to is empty before, and the caller's to settings_done() in any case. -ENOMEM. */
int settings_copy(struct settings *to, const struct settings *from, struct err *err);

/* The text, the default, or NULL when there is neither. Borrowed. */
const char *settings_get(const struct settings *settings, enum setting_id id);
bool settings_is_set(const struct settings *settings, enum setting_id id);

/* Of settings whose type makes them so and that have a value or default; a bug otherwise (assert). */
bool settings_get_bool(const struct settings *settings, enum setting_id id);
int64_t settings_get_ms(const struct settings *settings, enum setting_id id);
uint64_t settings_get_whole(const struct settings *settings, enum setting_id id);
unsigned settings_get_percent(const struct settings *settings, enum setting_id id); /* in hundredths of a percent */

/* Reads every variable that the table names for this use from env ("NAME=value" strings, NULL-ended). A bad value is
 * reported through `bad` and skipped, so that one of them does not hide the others; returns how many were bad. An
 * empty value counts as unset. */
typedef void settings_bad(void *ctx, const struct err *err);
unsigned settings_read_env(struct settings *settings, unsigned use, char *const *env, settings_bad *bad, void *ctx);

/* Does [limits] take this setting? Annotations do, but for `enable`, since the pod's own word always wins, and
 * `status`, which pods do not write. */
bool settings_is_limitable(enum setting_id id);

/* Reads an INI file: section [agent] of settings with SETTING_AGENT, or the webhook's sections. First error wins:
 * "FILE:LINE: [section] key: expected …, got …". */
int settings_read_ini(struct settings *settings, const char *path, unsigned use, struct err *err);

/* One flag at argv[*index] ("--name value", "--name=value"): 1 = taken (*index moved to its last word), 0 = no
 * setting of that use has this name, -EINVAL = bad or missing value. Settings of type TARGETS are repeatable
 * as --target. */
int settings_read_flag(struct settings *settings, unsigned use, int argc, char *const *argv, int *index,
                       struct err *err);

/* The --help lines of the settings of one use that have a flag. */
int settings_write_help(struct buf *out, unsigned use);

/* The --help lines of one INI section, for settings without a flag. */
int settings_write_ini_help(struct buf *out, unsigned use, const char *section);

#endif
