/* The configuration under way: the INI file read again when it changes.
 *
 * A new file is taken whole or not at all, between two requests: it must read, satisfy its own [limits] and pass
 * inject_check_settings; else the settings in use stay, and the reason with file and line is logged once and counted.
 * What is wrong with the moment and not with the file (file_failure_may_pass) is tried again at each look, and its log
 * line throttled. A pipe in the file's place is read at the start alone, since its writer may let us wait. [inject],
 * [defaults], [limits] and the server's log settings change under way; of the rest of [server] the log says that it
 * needs a restart, where it differs from what runs. Flags and the environment keep their precedence.
 */
#ifndef PROFEFE_CONFIG_H
#define PROFEFE_CONFIG_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/os/loop.h"
#include "common/pod/policy.h"
#include "common/settings/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads everything into *ret, which is the caller's to policy_done() in any case: `base` (flags and environment) with
 * the file at `path`, NULL = none, below it. -EINVAL and what open(2) says, with file, line and reason. */
MUST_CHECK int config_load(const struct settings *base, const char *path, struct policy *ret, struct err *err)
    NONNULL(1);

/* Sets level and format of the log. */
void config_set_up_log(const struct settings *settings);

struct config;

/* Loads it as config_load does, checks it with inject_check_settings, and looks at the file every poll_ms from then on.
 * With path NULL there is nothing to look at. base and path must live as long. */
MUST_CHECK int config_new(struct loop *loop, const struct settings *base, const char *path, int64_t poll_ms,
                          struct config **ret, struct err *err) NONNULL(1);
struct config *config_free(struct config *config); /* NULL allowed; returns NULL */

static inline void config_free_scope(struct config **config)
{
    config_free(*config);
}

#define CLEANUP_CONFIG CLEANUP(config_free_scope)

/* Looks at the file now, and not only when it is time. */
void config_look(struct config *config);

/* What is in use. Borrowed until the loop's next turn. */
const struct policy *config_policy(const struct config *config);

struct config_stats {
    uint64_t taken, refused; /* since the start, whose own reading does not count */
    bool last_taken;         /* the newest file is the one in use */
};
const struct config_stats *config_get_stats(const struct config *config);

#endif
