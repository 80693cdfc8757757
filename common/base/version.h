/* The version of this build. */
#ifndef PROFEFE_VERSION_H
#define PROFEFE_VERSION_H

#include "common/base/buf.h"

const char *version_text(void); /* "0.1.0" */

/* "NAME 0.1.0\n": the first line of --version. A program appends the libraries that it links, but inih, which tells no
 * version at run time. */
void version_write(struct buf *out, const char *name);

#endif
