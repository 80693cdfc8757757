/* Settings from an INI file: section [agent] for the agent, and for the webhook the sections that its rows name. */
#ifndef PROFEFE_SETTINGS_INI_H
#define PROFEFE_SETTINGS_INI_H

#include "common/settings/settings.h"

/* Does [limits] take this setting? Annotations do, but for `enable`, since the pod's own word always wins, and
 * `status`, which pods do not write. */
bool settings_is_limitable(enum setting_id id);

/* Reads the file for the program whose bit `where` is. First error wins: "FILE:LINE: [section] key: expected …, got
 * …". */
int settings_ini_read(struct settings *settings, const char *path, unsigned where, struct err *err);

#endif
