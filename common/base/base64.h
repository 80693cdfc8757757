/* Base64 (RFC 4648 §4, with padding) of bytes that may be secret: nothing is allocated and no copy is kept, so that
 * whoever owns the buffer can wipe it.
 */
#ifndef PROFEFE_BASE64_H
#define PROFEFE_BASE64_H

#include <stddef.h>

/* Bytes of text that len bytes become, at most a third more and three. No NUL is among them. */
static inline size_t base64_size(size_t len)
{
    return len / 3 * 4 + (len % 3 > 0 ? 4 : 0);
}

/* Writes base64_size(len) bytes to `out` and returns the place behind them. */
char *base64_encode(const void *bytes, size_t len, char *out);

#endif
