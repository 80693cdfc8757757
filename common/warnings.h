/* A bounded list of warnings for people: what an annotation or a setting got wrong.
 *
 * Limits come from the API server (seen with 1.34): a control character makes it drop the whole warning,
 * past about 4 KB in all each is cut to 256 bytes and the surplus dropped. So: escaped, at most
 * WARNING_MAX bytes each, WARNINGS_MAX in all, the last one saying how many more there were.
 */
#ifndef PROFEFE_WARNINGS_H
#define PROFEFE_WARNINGS_H

#include <stddef.h>

enum {
    WARNING_MAX = 240, /* bytes, the NUL not counted */
    WARNINGS_MAX = 10,
};

struct warnings {
    unsigned count; /* all that were added, also those beyond WARNINGS_MAX */
    char text[WARNINGS_MAX][WARNING_MAX + 1];
};

void warnings_clear(struct warnings *warnings);

/* NULL warnings is allowed: nobody wants them. Control bytes and invalid UTF-8 are escaped, the end is cut with "…". */
void warnings_add(struct warnings *warnings, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How many lines there are to show, and the i-th: the last of a full list reads "and N more warnings". */
unsigned warnings_shown(const struct warnings *warnings);
const char *warnings_text(const struct warnings *warnings, unsigned i);

#endif
