/* The vocabulary of settings: one table from which annotation checks, environment names, INI keys, command-line
 * options, --help and the README's table all come.
 *
 * A setting's name is the annotation's name after "profefe.com/", the INI key and the option ("--NAME") at once.
 *
 * A program that joins gets a bit of `enum setting_where`, the name of its INI section in settings_table_section(), its
 * variables' prefix in the test of this table, and rows at the end of `enum setting_id` and of the table. A row that
 * two programs share has both bits, one variable, and one meaning; where a program wants a variable, a range or a
 * default of its own, it gets a row of its own, which may have the same name (see log-level).
 */
#ifndef PROFEFE_SETTINGS_TABLE_H
#define PROFEFE_SETTINGS_TABLE_H

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
    SETTING_FIRST_WITHIN,
    SETTING_SCRAPE_TIMEOUT,
    SETTING_MISSING_RETRY,
    SETTING_LABELS,
    SETTING_POD_LABELS,
    SETTING_SAMPLE_LABELS,
    SETTING_COLLECTOR,
    SETTING_COLLECTOR_SECRET,
    SETTING_SPOOL,
    SETTING_MODE,
    SETTING_AGENT_PORT,
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
    SETTING_TARGET_CA,
    SETTING_TARGET_INSECURE,
    SETTING_LISTEN,
    SETTING_SIDECAR,
    SETTING_GRACE,
    SETTING_CONTAINER,
    SETTING_POD_NAME,
    SETTING_POD_NAMESPACE,
    SETTING_POD_UID,
    SETTING_NODE_NAME,
    SETTING_POD_IP,
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
    SETTING_ARCHITECTURES,
    SETTING_SERVICE_FROM,
    SETTING_SKIP_CONTAINERS,
    SETTING_IMAGE_PULL_SECRETS,
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
    SETTING_TYPE_TYPES,    /* profile_types.h */
    SETTING_TYPE_LABELS,   /* labels.h */
    SETTING_TYPE_NAMES,    /* comma-separated words, each of `choices` where there are some */
    SETTING_TYPE_TARGETS,  /* targets.h */
    SETTING_TYPE_LISTEN,   /* address.h; the agent's may be `none` */
    SETTING_TYPE_QUANTITY, /* quantity.h, or `none` */
    SETTING_TYPE_IMAGE,    /* container image reference */
    SETTING_TYPE_PERCENT,  /* "25%", up to two decimals, above 0 and at most 100 */
    SETTING_TYPE_OBJECT,   /* name of a Kubernetes object (RFC 1123 subdomain) */
    SETTING_TYPE_SPOOL,    /* `memory`, or a quantity of whole bytes in [min, max] */
};

/* Where a setting can be written. */
enum setting_where {
    SETTING_ANNOTATION = 1U << 0, /* a pod may set it */
    SETTING_AGENT = 1U << 1,      /* env, INI [agent] and flag of profefe-agent */
    SETTING_WEBHOOK = 1U << 2,    /* INI key of profefe-webhook, in `section`; those of [server] also have a flag */
    SETTING_WRITTEN = 1U << 3,    /* an annotation written by the webhook, not read (status) */
};

struct setting {
    const char *name;
    enum setting_type type;
    unsigned where;
    const char *section; /* webhook INI: server, inject, defaults; NULL where SETTING_WEBHOOK is not in `where` */
    const char *env;     /* the environment variable of the daemon, or NULL. Never ends in _PORT, _HOST, _ADDR, _PROTO:
                          * a Service called `profefe` puts such names into every container of its namespace */
    const char *each;    /* the flag that adds one item to those given before it, as --target; NULL = it replaces */
    int64_t min, max;    /* by type */
    const char *choices; /* "a|b|c" */
    const char *default_text; /* checked like any value; NULL = unset */
    const char *help;         /* one line */
};

extern const struct setting settings_table[SETTING_COUNT];

/* The id of a name among settings that can be written at one of `where`, or -1. */
int settings_table_find(struct span name, unsigned where);

/* The most similar name among settings of one of `where`, when it is near enough to be a slip; else NULL. */
const char *settings_table_near_miss(struct span name, unsigned where);

/* The INI section in which a program, whose bit `where` is, reads this setting of its. */
const char *settings_table_section(const struct setting *setting, unsigned where);

#endif
