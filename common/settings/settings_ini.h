/* Settings from an INI file: section [agent] for the agent, and for the webhook the sections that its rows name. */
#ifndef PROFEFE_SETTINGS_INI_H
#define PROFEFE_SETTINGS_INI_H

#include "common/base/buf.h"
#include "common/base/marks.h"
#include "common/settings/ini_file.h"
#include "common/settings/settings.h"

/* A section of the file that holds no settings: somebody else reads it. */
struct settings_ini_section {
    const char *name;
    ini_file_handler *take;
    void *ctx;
};

/* Reads the file for the program whose bit `where` is; `other` may be NULL. The first error wins: "FILE:LINE: [section]
 * key: expected …, got …". */
MUST_CHECK int settings_ini_read(struct settings *settings, const char *path, unsigned where,
                                 const struct settings_ini_section *other, struct err *err) NONNULL(1);

/* Appends the lines of a list, as an ini_file_handler gets them, as one line: with a comma where the writer put none.
 * -EINVAL when `out` cannot hold them, -ENOMEM. */
MUST_CHECK int settings_ini_join(const char *value, struct buf *out, struct err *err);

#endif
