/* A file's content that must not stay in memory: wiped when it goes, and never copied on the way. */
#ifndef PROFEFE_SECRET_H
#define PROFEFE_SECRET_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <stddef.h>

struct secret {
    char *bytes; /* NULL = none */
    size_t len, cap;
};

/* Wipes and frees the bytes; all zero afterwards, as it may be before. */
void secret_done(struct secret *secret);

/* Room for cap bytes, which never grows: growing would leave copies behind. 0 or -ENOMEM. */
MUST_CHECK int secret_new(size_t cap, struct secret *ret);

enum secret_from {
    SECRET_FROM_FILE, /* a regular file: nothing else may hold up who reads */
    SECRET_FROM_ANY,  /* also a pipe, whose writer is waited for as by file_read() */
};

/* Reads a file of at most max bytes; *ret is secret_done()'s to free, and untouched on failure. -EFBIG when the file is
 * larger, -EINVAL when it is no file of that kind, -ENOMEM, or what open(2) and read(2) say. */
MUST_CHECK int secret_read(const char *path, enum secret_from from, size_t max, struct secret *ret, struct err *err);

#endif
