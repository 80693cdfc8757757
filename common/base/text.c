#include "common/base/text.h"

#include <stdio.h>
#include <string.h>

struct span text_span(const char *text)
{
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

/* How long a character that begins with this byte is, 1 for what begins none. */
static size_t lead_len(char first)
{
    unsigned char c = (unsigned char)first;
    return c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 1;
}

size_t text_utf8_len(const char *bytes, size_t len)
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

bool text_is_control(const char *bytes, size_t len)
{
    unsigned char c = len > 0 ? (unsigned char)bytes[0] : ' ';
    unsigned char next = len > 1 ? (unsigned char)bytes[1] : 0;
    return c < 0x20 || c == 0x7F || (c == 0xC2 && next >= 0x80 && next < 0xA0);
}

size_t text_utf8_cut(const char *bytes, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t lead = max;
    while (lead > 0 && max - lead < 3 && ((unsigned char)bytes[lead] & 0xC0) == 0x80)
        lead--;
    return text_utf8_len(bytes + lead, len - lead) > max - lead ? lead : max;
}

size_t text_utf8_whole(const char *bytes, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        char c = bytes[len - back];
        if (((unsigned char)c & 0xC0) != 0x80)
            return lead_len(c) > back ? len - back : len;
    }
    return len;
}

/* Writes one escaped character of bytes to out (at most 4 bytes) and says how much was read: of a C1 control only the
 * first byte, after which the second is no UTF-8. */
static size_t escape_one(const char *bytes, size_t len, char out[static 5], size_t *ret_written)
{
    unsigned char c = (unsigned char)bytes[0];
    size_t n = text_utf8_len(bytes, len);
    if (n == 0 || text_is_control(bytes, len)) {
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

int text_escape(struct buf *buf, const char *bytes, size_t len)
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

const char *text_quote_n(struct text_quoted *out, const char *bytes, size_t len)
{
    size_t shown = text_utf8_cut(bytes, len, TEXT_QUOTE_MAX);
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

const char *text_quote(struct text_quoted *out, const char *text)
{
    return text_quote_n(out, text, strlen(text));
}

bool text_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct span text_trim(struct span s)
{
    while (s.len > 0 && text_is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && text_is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool text_equal(struct span s, const char *word)
{
    return strlen(word) == s.len && (s.len == 0 || memcmp(s.ptr, word, s.len) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool text_equal_nocase(struct span s, const char *word)
{
    if (strlen(word) != s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (lower(s.ptr[i]) != lower(word[i]))
            return false;
    }
    return true;
}

bool text_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_next_item(struct span *rest, struct span *ret_item)
{
    if (rest->ptr == NULL)
        return false;
    const char *comma = rest->len > 0 ? memchr(rest->ptr, ',', rest->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
    struct span item = text_trim((struct span){rest->ptr, len});
    if (comma == NULL) {
        *rest = (struct span){NULL, 0};
        *ret_item = item;
        return item.len > 0; /* "" and "a," end here: a trailing comma is no item */
    }
    *rest = (struct span){comma + 1, rest->len - len - 1};
    *ret_item = item;
    return true;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

unsigned text_distance(struct span a, const char *b)
{
    size_t blen = strlen(b);
    if (a.len > TEXT_DISTANCE_MAX || blen > TEXT_DISTANCE_MAX)
        return TEXT_DISTANCE_MAX;
    unsigned rows[3][TEXT_DISTANCE_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    memset(rows, 0, sizeof(rows));
    for (unsigned j = 0; j <= blen; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= blen; j++) {
            unsigned cost = a.ptr[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            bool swapped = i > 1 && j > 1 && a.ptr[i - 1] == b[j - 2] && a.ptr[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[blen];
}

bool text_is_dns_label(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (c != '-' || i == 0 || i == text.len - 1))
            return false;
    }
    return text.len > 0 && text.len <= TEXT_DNS_LABEL_MAX;
}
