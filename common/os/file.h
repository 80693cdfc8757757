/* Reading small files whole (configuration, certificates, tokens). */
#ifndef PROFEFE_FILE_H
#define PROFEFE_FILE_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads at most max_bytes; *ret is heap memory with a NUL after len bytes (free()). -EFBIG when the file is
 * larger, -EISDIR, -ETIMEDOUT for a pipe that gives nothing for ten seconds, or what open(2) and read(2) say. */
MUST_CHECK int file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_len, struct err *err);

/* 0 for a regular file, which nobody has to wait for; -EINVAL for another kind, or what stat(2) says. */
MUST_CHECK int file_expect_regular(const char *path, struct err *err);

/* One read(2), for which a pipe's writer is waited for as above. The number of bytes, 0 = the end, or -Exxx. */
MUST_CHECK ssize_t file_read_some(int fd, void *to, size_t len);

/* Is it a failure of the moment, with nothing wrong about the file: no memory, no descriptor, a disk or a pipe that did
 * not answer? Then it is worth another look, although the file has not changed. */
bool file_failure_may_pass(int rc);

#endif
