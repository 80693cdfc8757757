/* The settings of one process: text as given, already checked, with its origin. Precedence: flag, env, INI, default;
 * settings_set() never lets a weaker origin replace a stronger one. What settings there are says settings_table.h.
 */
#ifndef PROFEFE_SETTINGS_H
#define PROFEFE_SETTINGS_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/settings/settings_table.h"

#include <stdbool.h>
#include <stdint.h>

enum setting_origin { SETTING_FROM_DEFAULT, SETTING_FROM_INI, SETTING_FROM_ENV, SETTING_FROM_FLAG };

struct settings {
    struct settings_value {
        char *text; /* owned; NULL = the table's default */
        enum setting_origin origin;
    } values[SETTING_COUNT];
};

void settings_init(struct settings *settings);
void settings_done(struct settings *settings); /* usable with CLEANUP */

/* Checks and keeps a copy. -EINVAL (bad value), -ENOMEM. Leaves a value of stronger origin alone. */
MUST_CHECK int settings_set(struct settings *settings, enum setting_id id, struct span text, enum setting_origin origin,
                            struct err *err) NONNULL(1);

/* The same with one more item of a list: behind what the same origin gave before, else as settings_set. */
MUST_CHECK int settings_add(struct settings *settings, enum setting_id id, struct span item, enum setting_origin origin,
                            struct err *err) NONNULL(1);

/* A copy of all values; *to is empty before, and the caller's to settings_done() in any case. -ENOMEM. */
MUST_CHECK int settings_copy(struct settings *to, const struct settings *from, struct err *err) NONNULL(1);

/* The text, the default, or NULL when there is neither. Borrowed. */
const char *settings_get(const struct settings *settings, enum setting_id id);
bool settings_is_set(const struct settings *settings, enum setting_id id);

/* Of settings whose type makes them so and that have a value or default; a bug otherwise (assert). */
bool settings_get_bool(const struct settings *settings, enum setting_id id);
int64_t settings_get_ms(const struct settings *settings, enum setting_id id);
uint64_t settings_get_whole(const struct settings *settings, enum setting_id id);
unsigned settings_get_percent(const struct settings *settings, enum setting_id id); /* in hundredths of a percent */

/* How those who read settings from somewhere tell what is bad, one at a time, so that one bad value hides no other. */
typedef void settings_bad(void *ctx, const struct err *err);

#endif
