/* Standard input, output and error, for main and for the log.
 *
 * Nothing here waits for whoever reads stderr: a program that serves must not stand still because nobody reads its
 * log. */
#ifndef PROFEFE_STD_FDS_H
#define PROFEFE_STD_FDS_H

#include "common/base/marks.h"

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    STD_FDS_TEXT_MAX = PIPE_BUF, /* bytes that a pipe takes whole or not at all, without waiting, when it takes any */
};

/* Fills those that the parent left closed, before anything else is opened: a socket or a file of ours must not get the
 * number to which log lines go. Reading and writing a filled one fails with EBADF, as before. A terminal on stderr is
 * opened anew, not to wait for it (see std_fds_write_error). */
void std_fds_fill(void);

/* Writes text to stdout, through to the end: 0, or -Exxx, which stderr is told with the program's name. */
int std_fds_print(const char *program, const char *text);

/* Writes to stderr what it takes at this moment, at most STD_FDS_TEXT_MAX bytes: their number, or -Exxx with nothing
 * written: -EAGAIN when it takes none now, -EPIPE when nobody will ever read it, others as write(2) says. Fewer than
 * len are written only to a terminal, a full disk, or a socket that another process has set not to wait.
 *
 * This holds with blocking descriptors, which cannot be changed: O_NONBLOCK would be set for every process that shares
 * the file. A pipe or socket that poll() calls writable has room for these bytes; a terminal need not, which is why it
 * is opened anew. Another process that fills the same pipe between poll() and write() can still make one line wait. */
ssize_t std_fds_write_error(const char *text, size_t len);

/* One line "PROGRAM: ..." on stderr, for people who started a command. It is lost when stderr cannot take it now, and
 * cut at STD_FDS_TEXT_MAX. */
void std_fds_complain(const char *program, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
