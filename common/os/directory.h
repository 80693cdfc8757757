/* Making directories. */
#ifndef PROFEFE_DIRECTORY_H
#define PROFEFE_DIRECTORY_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <sys/types.h>

/* Makes the directory and the missing ones above it; path: 1 to PATH_MAX - 1 bytes. What is there already stays as it
 * is. */
MUST_CHECK int directory_make(const char *path, mode_t mode, struct err *err);

#endif
