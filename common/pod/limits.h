/* What a cluster lets its pods ask for: section [limits] of the webhook's INI file.
 *
 *     [limits]
 *     memory-limit = ..64Mi           from LOW to HIGH, either of which may be empty: durations, whole numbers,
 *     interval = 30s..10m             quantities, shares and the size of a spool
 *     mode = native                   the values that are permitted: settings with choices
 *     types = cpu,heap,goroutine,block,mutex,other   those that are permitted; "other" stands for every other/NAME
 *     collector = http://profefe.profefe-system.svc  what it may begin with: collector and image (which
 *     image = registry.example.com/profefe/          image-prefixes limits as well)
 *     collector-secret = profefe      the names that are permitted
 *     labels = fixed                  pods may not set it at all: every setting
 *
 * A prefix counts in whole names, as prefix.h says: http://profefe permits http://profefe:10100/team, and neither it
 * nor http://profefe. permits http://profefe.evil.example. `interval` also limits EVERY and `cpu-seconds` the SECONDS
 * of cpu where `types` gives them. `none` means no bound: it is not permitted where there is an upper one, nor as a
 * request where there is a lower one.
 *
 * Limits are for pods. The webhook's own values, which count where a pod says nothing, must satisfy them too, but for
 * `fixed`. Pure.
 */
#ifndef PROFEFE_LIMITS_H
#define PROFEFE_LIMITS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/settings/settings.h"
#include "common/settings/settings_ini.h"

#include <stdbool.h>

struct limits {
    struct limits_text {
        char *text; /* owned, as written, its lines joined; NULL = none */
        int line;   /* in the INI file */
    } of[SETTING_COUNT];
};

void limits_done(struct limits *limits); /* empty as with {0} afterwards; usable with CLEANUP */

/* Can this setting have a limit? Annotations can, but for `enable`, since the pod's own word always wins, and `status`,
 * which pods do not write. */
bool limits_can_hold(enum setting_id id);

/* For settings_ini_read: what stands in [limits] goes to *limits, empty before. A name that is none, and one given
 * twice, is an error there; whether the texts mean anything says limits_check_settings. */
struct settings_ini_section limits_section(struct limits *limits);

/* May a pod set it to that? `value` has passed settings_check; without limits (NULL) it may. -EINVAL: "expected …
 * (limit of the cluster), got …". */
MUST_CHECK int limits_check(const struct limits *limits, enum setting_id id, struct span value, struct err *err);

/* The bounds of a setting that is a quantity, borrowed; ptr NULL = open, also where it is `fixed` or has no limit. */
void limits_get_range(const struct limits *limits, enum setting_id id, struct span *ret_low, struct span *ret_high);

/* Are the limits well-formed, and do the webhook's own values satisfy them? -EINVAL: "FILE:LINE: [limits] KEY: …", path
 * being FILE. */
MUST_CHECK int limits_check_settings(const struct limits *limits, const struct settings *settings, const char *path,
                                     struct err *err) NONNULL(1);

/* The --help lines of [limits]. */
int limits_write_help(struct buf *out);

#endif
