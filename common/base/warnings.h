/* A bounded list of warnings for people: what an annotation or a setting got wrong.
 *
 * Limits come from the API server (seen with 1.34): a control character makes it drop the whole warning,
 * past about 4 KB in all each is cut to 256 bytes and the surplus dropped. So: escaped, at most
 * WARNING_MAX bytes each, WARNINGS_MAX in all, the last one saying how many more there were.
 */
#ifndef PROFEFE_WARNINGS_H
#define PROFEFE_WARNINGS_H

#include "common/base/marks.h"

#include <stddef.h>

enum {
    WARNING_MAX = 240, /* bytes, the NUL not counted */
    WARNINGS_MAX = 10,
};

/* What a warning is about, for counting. */
enum warning_kind {
    WARNING_OTHER,         /* worth knowing: a value adapted to another one, a profile left out … */
    WARNING_UNKNOWN_KEY,   /* a mistyped name */
    WARNING_BAD_VALUE,     /* a value that is none, so the default counts */
    WARNING_NOT_PERMITTED, /* a good value that this cluster does not let pods ask for */
    WARNING_NOT_INJECTED,  /* the pod asks for profiling and is not profiled */
    WARNING_KIND_COUNT,
};
extern const char *const warning_kind_names[WARNING_KIND_COUNT]; /* "other", "unknown-key", … */

struct warnings {
    unsigned count; /* all that were added, also those beyond WARNINGS_MAX */
    unsigned of_kind[WARNING_KIND_COUNT]; /* their sum is count */
    char text[WARNINGS_MAX][WARNING_MAX + 1];
};

void warnings_clear(struct warnings *warnings);

/* NULL warnings is allowed: nobody wants them. Control bytes and invalid UTF-8 are escaped, the end is cut with "…". */
void warnings_add_kind(struct warnings *warnings, enum warning_kind kind, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Goes on with a warning where what it ends in is only known later. `number`: the count right after it was added; 0,
 * or one that is no longer kept, is allowed and does nothing. What does not fit is cut as above. */
void warnings_continue(struct warnings *warnings, unsigned number, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define warnings_add(warnings, ...) warnings_add_kind(warnings, WARNING_OTHER, __VA_ARGS__)

/* How many lines there are to show, and the i-th: the last of a full list reads "and N more warnings". */
unsigned warnings_shown(const struct warnings *warnings);
const char *warnings_text(const struct warnings *warnings, unsigned i);

#endif
