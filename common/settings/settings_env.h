/* Settings from the environment. Pure: it is handed in, as "NAME=value" strings with a NULL behind the last. */
#ifndef PROFEFE_SETTINGS_ENV_H
#define PROFEFE_SETTINGS_ENV_H

#include "common/settings/settings.h"

/* The value of one variable, or NULL when it is not there or empty. Borrowed. */
const char *settings_env_value(char *const *env, const char *name);

/* Reads every variable that the table names for the program whose bit `where` is. A bad value is told and skipped;
 * returns how many were bad. An empty value counts as unset. */
unsigned settings_env_read(struct settings *settings, unsigned where, char *const *env, settings_bad *bad, void *ctx);

#endif
