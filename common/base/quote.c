#include "common/base/quote.h"

#include "common/base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Writes one escaped character of bytes to out (at most 4 bytes) and says how much was read: of a C1 control only the
 * first byte, after which the second is no UTF-8. */
static size_t escape_one(const char *bytes, size_t len, char out[static 5], size_t *ret_written)
{
    unsigned char c = (unsigned char)bytes[0];
    size_t n = utf8_len(bytes, len);
    if (n == 0 || utf8_is_control(bytes, len)) {
        snprintf(out, 5, "\\x%02x", c);
        *ret_written = 4;
        return 1;
    }
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        *ret_written = 2;
        return 1;
    }
    memcpy(out, bytes, n);
    *ret_written = n;
    return n;
}

int quote_escape(struct buf *buf, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        char piece[5];
        size_t written = 0;
        i += escape_one(bytes + i, len - i, piece, &written);
        int rc = buf_append(buf, piece, written);
        if (rc < 0)
            return rc;
    }
    return 0;
}

const char *quote_bytes(struct quoted *out, const char *bytes, size_t len)
{
    size_t shown = utf8_cut(bytes, len, QUOTE_MAX);
    size_t used = 0;
    out->text[used++] = '"';
    for (size_t i = 0; i < shown;) {
        char piece[5];
        size_t written = 0;
        i += escape_one(bytes + i, shown - i, piece, &written);
        memcpy(out->text + used, piece, written);
        used += written;
    }
    memcpy(out->text + used, shown < len ? "…\"" : "\"", shown < len ? 5 : 2);
    return out->text;
}

const char *quote_text(struct quoted *out, const char *text)
{
    return quote_bytes(out, text, strlen(text));
}
