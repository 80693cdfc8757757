/* A span: a borrowed view into bytes that somebody else owns. Pure. */
#ifndef PROFEFE_SPAN_H
#define PROFEFE_SPAN_H

#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>

struct span {
    const char *ptr;
    size_t len;
};

/* The whole text; NULL gives a NULL ptr. */
struct span span_of(const char *text);

/* Less the spaces, tabs and line ends around it. */
struct span span_trim(struct span s);

bool span_equal(struct span s, const char *word);
bool span_equal_nocase(struct span s, const char *word); /* ASCII letters alone */
bool span_has_prefix(struct span s, const char *prefix);

/* Iterates over a comma-separated list: returns false at the end; each *ret_item is trimmed and may be
 * empty (",,"). Start with *rest = the whole text. A text of only spaces has no items. */
MUST_CHECK bool span_next_item(struct span *rest, struct span *ret_item) NONNULL(1);

#endif
