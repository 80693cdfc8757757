/* The version of this build, and of the libraries it runs with. */
#ifndef PROFEFE_VERSION_H
#define PROFEFE_VERSION_H

#include "common/base/buf.h"

const char *version_text(void); /* "0.1.0" */

/* "NAME 0.1.0\nlibmicrohttpd 0.9.75\n": the beginning of --version. Each daemon appends the libraries that it alone links. */
void version_write(struct buf *out, const char *name);

#endif
