#include "common/base/utf8.h"

/* How long a character that begins with this byte is, 1 for what begins none. */
static size_t lead_len(char first)
{
    unsigned char c = (unsigned char)first;
    return c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 1;
}

size_t utf8_len(const char *bytes, size_t len)
{
    if (len == 0)
        return 0;
    unsigned char b0 = (unsigned char)bytes[0];
    if (b0 < 0x80)
        return 1;
    /* RFC 3629 §4: the second byte's range excludes overlong forms, surrogates and > U+10FFFF. */
    size_t n = lead_len(bytes[0]);
    if (n == 1 || n > len)
        return 0;
    unsigned char b1 = (unsigned char)bytes[1];
    unsigned char low = b0 == 0xE0 ? 0xA0 : b0 == 0xF0 ? 0x90 : 0x80;
    unsigned char high = b0 == 0xED ? 0x9F : b0 == 0xF4 ? 0x8F : 0xBF;
    if (b1 < low || b1 > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if (((unsigned char)bytes[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

bool utf8_is_control(const char *bytes, size_t len)
{
    unsigned char c = len > 0 ? (unsigned char)bytes[0] : ' ';
    unsigned char next = len > 1 ? (unsigned char)bytes[1] : 0;
    return c < 0x20 || c == 0x7F || (c == 0xC2 && next >= 0x80 && next < 0xA0);
}

size_t utf8_cut(const char *bytes, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t lead = max;
    while (lead > 0 && max - lead < 3 && ((unsigned char)bytes[lead] & 0xC0) == 0x80)
        lead--;
    return utf8_len(bytes + lead, len - lead) > max - lead ? lead : max;
}

size_t utf8_whole(const char *bytes, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        char c = bytes[len - back];
        if (((unsigned char)c & 0xC0) != 0x80)
            return lead_len(c) > back ? len - back : len;
    }
    return len;
}
