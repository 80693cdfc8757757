/* Settings from the command line: which of them have a flag, and what one more flag does to those before it. */
#ifndef PROFEFE_SETTINGS_FLAG_H
#define PROFEFE_SETTINGS_FLAG_H

#include "common/base/marks.h"
#include "common/base/name.h"
#include "common/settings/settings.h"

/* Has this setting a flag of the program whose bit `where` is? */
bool settings_flag_is_there(const struct setting *setting, unsigned where);

/* The id of the setting whose flag has this name (without "--"), or -1. */
int settings_flag_find(struct span name, unsigned where);

/* Offers the name of each flag. */
void settings_flag_offer(struct name_near *near, unsigned where);

/* Sets it, or adds an item where the flags before it gave some. As settings_set. */
MUST_CHECK int settings_flag_set(struct settings *settings, enum setting_id id, struct span value, struct err *err)
    NONNULL(1);

#endif
