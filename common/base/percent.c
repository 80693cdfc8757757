#include "common/base/percent.h"

#include "common/base/ascii.h"

#include <string.h>

bool percent_is_unreserved(char c)
{
    return ascii_is_word(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

size_t percent_write(char out[static PERCENT_BYTES_MAX], char c, bool plain)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char byte = (unsigned char)c;
    out[0] = plain ? c : '%';
    if (plain)
        return 1;
    out[1] = digits[byte >> 4];
    out[2] = digits[byte & 0xF];
    return PERCENT_BYTES_MAX;
}

void percent_append(struct buf *out, struct span text, const char *also)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], bytes[PERCENT_BYTES_MAX];
        bool plain = percent_is_unreserved(c) || (c != '\0' && strchr(also, c) != NULL);
        buf_append(out, bytes, percent_write(bytes, c, plain));
    }
}

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte at the beginning of `in`, which is not empty; *ret_used of its bytes. -1: no byte. */
static int read_byte(struct span in, size_t *ret_used)
{
    *ret_used = 1;
    if (in.ptr[0] != '%')
        return (unsigned char)in.ptr[0];
    *ret_used = PERCENT_BYTES_MAX;
    if (in.len < PERCENT_BYTES_MAX || hex_value(in.ptr[1]) < 0 || hex_value(in.ptr[2]) < 0)
        return -1;
    return hex_value(in.ptr[1]) * 16 + hex_value(in.ptr[2]);
}

bool percent_decode(struct span in, char *out, size_t size)
{
    size_t written = 0;
    for (size_t at = 0, used; at < in.len; at += used) {
        int byte = read_byte((struct span){in.ptr + at, in.len - at}, &used);
        if (byte <= 0 || written + 1 >= size)
            return false;
        out[written++] = (char)byte;
    }
    out[written] = '\0';
    return true;
}
