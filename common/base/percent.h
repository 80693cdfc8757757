/* Percent-encoding (RFC 3986 §2.1): a byte that may not stand for itself becomes "%XX", with capital digits. Which
 * bytes may is the caller's: the unreserved ones of §2.3 everywhere, others beside them in a path or less in a file
 * name.
 */
#ifndef PROFEFE_PERCENT_H
#define PROFEFE_PERCENT_H

#include "common/base/buf.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum { PERCENT_BYTES_MAX = 3 }; /* what one byte may become */

/* A letter, a digit, '-', '.', '_' or '~'. */
bool percent_is_unreserved(char c);

/* Writes c as it is when it is `plain`, else escaped; returns the bytes, 1 or 3, without a NUL. */
size_t percent_write(char out[static PERCENT_BYTES_MAX], char c, bool plain);

/* Appends the text; plain are the unreserved bytes and those of `also`. buf_error(out) tells failure. */
void percent_append(struct buf *out, struct span text, const char *also);

/* Takes the escaping back into out, of `size` bytes, with a NUL. False for a '%' without two capital digits after it,
 * for a NUL, and for what does not fit; out is then undefined. */
bool percent_decode(struct span in, char *out, size_t size);

#endif
