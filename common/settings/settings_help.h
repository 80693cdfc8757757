/* What --help says of the settings, out of their table. */
#ifndef PROFEFE_SETTINGS_HELP_H
#define PROFEFE_SETTINGS_HELP_H

#include "common/base/buf.h"
#include "common/settings/settings_table.h"

/* The settings that have a flag of the program whose bit `where` is. 0, or what buf_error() says. */
int settings_help_write_flags(struct buf *out, unsigned where);

/* The keys of one of its INI sections, for settings without a flag. */
int settings_help_write_section(struct buf *out, unsigned where, const char *section);

#endif
