#include "common/base/json_text.h"

#include "common/base/number.h"
#include "common/base/rfc3339.h"
#include "common/base/utf8.h"

#include <stdio.h>
#include <string.h>

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7F && c != '"' && c != '\\';
}

/* Of eight bytes at once: is each of them plain? What is below n, or equal to n, borrows its byte's highest bit. */
static bool are_plain(uint64_t bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    uint64_t quote = bytes ^ (ones * '"'), backslash = bytes ^ (ones * '\\'), del = bytes ^ (ones * 0x7F);
    uint64_t borrowed = (bytes - ones * 0x20) | (quote - ones) | (backslash - ones) | (del - ones);
    return ((bytes | borrowed) & high) == 0;
}

static uint64_t load(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

static size_t plain_len(struct span text)
{
    size_t len = 0;
    while (len + sizeof(uint64_t) <= text.len && are_plain(load(text.ptr + len)))
        len += sizeof(uint64_t);
    while (len < text.len && is_plain(text.ptr[len]))
        len++;
    return len;
}

static bool is_plain_text(struct span text)
{
    size_t size = sizeof(uint64_t);
    if (text.len < size)
        return plain_len(text) == text.len;
    for (size_t at = 0; at + size < text.len; at += size) {
        if (!are_plain(load(text.ptr + at)))
            return false;
    }
    return are_plain(load(text.ptr + text.len - size)); /* the last eight, some of them once more */
}

/* What begins `text` and is not plain. Returns its length. */
static size_t put_special(struct buf *out, struct span text, enum json_text_escapes escapes)
{
    size_t len = utf8_len(text.ptr, text.len);
    unsigned char c = (unsigned char)text.ptr[0];
    bool control = c < 0x20 || (c == 0x7F && escapes >= JSON_TEXT_DELETE) ||
                   (escapes == JSON_TEXT_CONTROLS && utf8_is_control(text.ptr, text.len));
    if (c == '"' || c == '\\')
        buf_append(out, (char[]){'\\', (char)c}, 2);
    else if (len == 0)
        buf_puts(out, escapes == JSON_TEXT_CONTROLS ? "\\ufffd" : "\xEF\xBF\xBD"); /* U+FFFD */
    else if (control)
        buf_printf(out, "\\u%04x", (unsigned char)text.ptr[len - 1]); /* of C1 too that is the character's number */
    else
        buf_append(out, text.ptr, len);
    return len > 0 ? len : 1;
}

static void put_part(struct buf *out, struct span text, enum json_text_escapes escapes)
{
    for (;;) {
        size_t len = plain_len(text);
        buf_append(out, text.ptr, len);
        if (len == text.len)
            return;
        text = (struct span){text.ptr + len, text.len - len};
        len = put_special(out, text, escapes);
        text = (struct span){text.ptr + len, text.len - len};
    }
}

static char *put_bytes(char *to, const char *bytes, size_t len)
{
    memcpy(to, bytes, len);
    return to + len;
}

/* What stands before a value and, unless its ptr is NULL, a text that needs no escapes: all of it at once. Once in the
 * program: inlined into each kind of value it would take 3 KB. */
static void __attribute__((noinline)) put_plain(struct json_text *json, const char *key, struct span text)
{
    struct buf *out = json->out;
    size_t key_len = key != NULL ? strlen(key) : 0;
    if (buf_reserve(out, key_len + text.len + sizeof(",\"\":\"\"")) < 0)
        return;
    char *to = out->data + out->len;
    if (!json->first)
        *to++ = ',';
    if (key != NULL) {
        *to++ = '"';
        to = put_bytes(to, key, key_len);
        to = put_bytes(to, "\":", 2);
    }
    if (text.ptr != NULL) {
        *to++ = '"';
        to = put_bytes(to, text.ptr, text.len);
        *to++ = '"';
    }
    *to = '\0';
    out->len = (size_t)(to - out->data);
    json->first = false;
}

static void put_key(struct json_text *json, const char *key)
{
    put_plain(json, key, (struct span){NULL, 0});
}

void json_text_begin(struct json_text *json, struct buf *out, enum json_text_escapes escapes)
{
    *json = (struct json_text){.out = out, .escapes = escapes, .first = true};
}

void json_text_key(struct json_text *json, const char *key)
{
    json_text_span(json, NULL, span_of(key));
    buf_putc(json->out, ':');
    json->first = true;
}

void json_text_quote(struct buf *out, struct span text, enum json_text_escapes escapes)
{
    buf_putc(out, '"');
    put_part(out, text, escapes);
    buf_putc(out, '"');
}

void json_text_open(struct json_text *json, const char *key, char bracket)
{
    put_key(json, key);
    buf_putc(json->out, bracket);
    json->first = true;
}

void json_text_close(struct json_text *json, char bracket)
{
    buf_putc(json->out, bracket);
    json->first = false;
}

void json_text_string(struct json_text *json, const char *key, const char *text)
{
    if (text != NULL)
        json_text_span(json, key, span_of(text));
    else
        json_text_raw(json, key, "null");
}

void json_text_word(struct json_text *json, const char *key, const char *word)
{
    put_plain(json, key, span_of(word));
}

void json_text_span(struct json_text *json, const char *key, struct span text)
{
    if (text.len > 0 && is_plain_text(text)) {
        put_plain(json, key, text);
        return;
    }
    put_key(json, key);
    json_text_quote(json->out, text, json->escapes);
}

void json_text_raw(struct json_text *json, const char *key, const char *value)
{
    put_key(json, key);
    buf_puts(json->out, value);
}

void json_text_part(struct json_text *json, struct span part)
{
    put_part(json->out, part, json->escapes);
}

void json_text_number(struct json_text *json, const char *key, uint64_t number)
{
    char digits[NUMBER_TEXT_MAX];
    put_key(json, key);
    buf_append(json->out, digits, number_format_u64(number, digits));
}

void json_text_bool(struct json_text *json, const char *key, bool value)
{
    json_text_raw(json, key, value ? "true" : "false");
}

void json_text_seconds(struct json_text *json, const char *key, int64_t ms)
{
    char text[32];
    uint64_t part = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    snprintf(text, sizeof(text), "%s%llu.%03u", ms < 0 ? "-" : "",
             (unsigned long long)(part / 1000), (unsigned)(part % 1000));
    size_t len = strlen(text);
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    put_key(json, key);
    buf_append(json->out, text, len);
}

void json_text_time(struct json_text *json, const char *key, int64_t wall_ms)
{
    char second[RFC3339_SIZE], text[RFC3339_SIZE + 1];
    bool known = wall_ms > 0 && wall_ms / 1000 <= RFC3339_SECONDS_MAX && rfc3339_write(second, wall_ms / 1000);
    if (known)
        snprintf(text, sizeof(text), "%sZ", second);
    json_text_string(json, key, known ? text : NULL);
}
