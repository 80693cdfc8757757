/* Text from outside, made safe to show in a message or a log. Pure. */
#ifndef PROFEFE_QUOTE_H
#define PROFEFE_QUOTE_H

#include "common/base/buf.h"

#include <stddef.h>

enum {
    QUOTE_MAX = 80, /* bytes of an outside string worth showing in a message */
};

/* A place for the result, so that a message needs no allocation: an escaped byte takes four characters at most, plus
 * quotes, an ellipsis and the NUL. */
struct quoted {
    char text[4 * QUOTE_MAX + 8];
};

/* Writes `bytes` in double quotes into *out and returns out->text. Control characters and bytes that are
 * not valid UTF-8 (RFC 3629) become \xNN, quote and backslash get a backslash; after QUOTE_MAX
 * bytes it is cut, never inside a character, and ends in "…". */
const char *quote_bytes(struct quoted *out, const char *bytes, size_t len);
const char *quote_text(struct quoted *out, const char *text);

/* The same escaping without quotes and without a cut, appended to buf. */
int quote_escape(struct buf *buf, const char *bytes, size_t len);

#endif
