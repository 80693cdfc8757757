/* INI files, by inih, with our own line reader in front of it.
 *
 * inih 55 as Debian builds it cuts a line at about 200 bytes in silence and reads its tail as a new key, so
 * the reader here refuses long lines, NUL bytes and invalid UTF-8 by file and line. What inih offers stays: "#" and ";"
 * start comments, also inline after a space for ";", and an indented line goes on with the value above it.
 */
#ifndef PROFEFE_INI_FILE_H
#define PROFEFE_INI_FILE_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <stddef.h>

enum {
    INI_FILE_LINE_MAX = 190,     /* bytes; a longer list goes on over indented lines */
    INI_FILE_SECTION_MAX = 48,   /* bytes of a section's name */
    INI_FILE_MAX = 1024 * 1024,  /* a ConfigMap's ceiling (Kubernetes: 1 MiB) */
};

/* Called for each key when its value is whole; lines that go on are separated from it and each other by a newline. A
 * negative return stops with err, which ini_file_parse wraps with "NAME:LINE: ", LINE being the key's. */
typedef int ini_file_handler(void *ctx, const char *section, const char *key, const char *value, int line,
                             struct err *err);

/* Reads bytes as an INI text; name is for messages. The first bad line is told: -EINVAL where it is no INI, else what
 * the handler said. Keys above it were handed over. -ENOMEM. */
MUST_CHECK int ini_file_parse(const char *name, const char *bytes, size_t len, ini_file_handler *handler, void *ctx,
                              struct err *err);

/* Reads a file whole (-ENOENT, -EACCES …, -EFBIG over INI_FILE_MAX) and then as ini_file_parse. */
MUST_CHECK int ini_file_read(const char *path, ini_file_handler *handler, void *ctx, struct err *err);

#endif
