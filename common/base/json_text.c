#include "common/base/json_text.h"

#include "common/base/rfc3339.h"
#include "common/base/utf8.h"

#include <stdio.h>
#include <string.h>

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7F && c != '"' && c != '\\';
}

static size_t plain_len(struct span text)
{
    size_t len = 0;
    while (len < text.len && is_plain(text.ptr[len]))
        len++;
    return len;
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

/* Most strings need no escapes and are written at once, with the comma before and the colon after a key. */
static void put_plain(struct buf *out, bool comma, struct span text, bool colon)
{
    size_t size = text.len + sizeof("\"\"") - 1 + (comma ? 1 : 0) + (colon ? 1 : 0);
    if (buf_reserve(out, size) < 0)
        return;
    char *to = out->data + out->len;
    if (comma)
        *to++ = ',';
    *to++ = '"';
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    to += text.len;
    *to++ = '"';
    if (colon)
        *to++ = ':';
    *to = '\0';
    out->len += size;
}

/* Once in the program: inlined into each kind of value it would take 3 KB. */
static void __attribute__((noinline)) put_string(struct buf *out, bool comma, struct span text, bool colon,
                                                 enum json_text_escapes escapes)
{
    if (plain_len(text) == text.len) {
        put_plain(out, comma, text, colon);
        return;
    }
    buf_puts(out, comma ? ",\"" : "\"");
    put_part(out, text, escapes);
    buf_puts(out, colon ? "\":" : "\"");
}

void json_text_quote(struct buf *out, struct span text, enum json_text_escapes escapes)
{
    put_string(out, false, text, false, escapes);
}

void json_text_begin(struct json_text *json, struct buf *out, enum json_text_escapes escapes)
{
    *json = (struct json_text){.out = out, .escapes = escapes, .first = true};
}

/* What stands before a value: the comma, and the key with its colon. */
static void __attribute__((noinline)) put_key(struct json_text *json, const char *key)
{
    if (key != NULL)
        put_string(json->out, !json->first, span_of(key), true, json->escapes);
    else if (!json->first)
        buf_putc(json->out, ',');
    json->first = false;
}

void json_text_key(struct json_text *json, const char *key)
{
    put_key(json, key);
    json->first = true;
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

void json_text_span(struct json_text *json, const char *key, struct span text)
{
    put_key(json, key);
    put_string(json->out, false, text, false, json->escapes);
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
    put_key(json, key);
    buf_printf(json->out, "%llu", (unsigned long long)number);
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
