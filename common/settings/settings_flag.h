/* Settings from the command line: which of them have a flag, and what one more flag does to those before it. */
#ifndef PROFEFE_SETTINGS_FLAG_H
#define PROFEFE_SETTINGS_FLAG_H

#include "common/settings/settings.h"

/* Has this setting a flag of the program whose bit `where` is? */
bool settings_flag_is_there(const struct setting *setting, unsigned where);

/* One flag at argv[*index] ("--name value", "--name=value"): 1 = taken (*index moved to its last word), 0 = no
 * setting of that program has this name, -EINVAL = bad or missing value. */
int settings_flag_read(struct settings *settings, unsigned where, int argc, char *const *argv, int *index,
                       struct err *err);

#endif
