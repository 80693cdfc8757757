/* The error object: one form for the whole tree.
 *
 * A function that can fail returns 0 or -Exxx. Where a human will read the reason, its last parameter
 * is a `struct err *`, owned by the caller, filled on failure only. The text is fixed-size, so that
 * reporting an error cannot itself fail; a longer text is cut. A NULL err is allowed: only the code counts.
 *
 *     return err_set(err, EINVAL, "port %s: expected 1 to 65535", text);
 *     if (rc < 0) return err_wrap(err, rc, "%s:%d", file, line);   // prefixes "file:line: "
 */
#ifndef PROFEFE_ERR_H
#define PROFEFE_ERR_H

#include "common/base/marks.h"

#include <errno.h>

enum {
    ERR_TEXT_MAX = 512, /* bytes with the NUL: one log line's worth */
};

struct err {
    int code; /* positive errno value; 0 = no error recorded */
    char text[ERR_TEXT_MAX];
};

/* Records code (positive errno) and text; returns -code. Control bytes are not escaped here: callers
 * pass outside strings through quote_text() (quote.h). */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Like err_set, with ": strerror(code)" appended. */
int err_errno(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Prefixes "fmt: " to the recorded text and returns rc, so that context grows on the way up. */
int err_wrap(struct err *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
