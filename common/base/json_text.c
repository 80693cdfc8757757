#include "common/base/json_text.h"

#include "common/base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void put_char(struct buf *out, char c)
{
    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if ((unsigned char)c < 0x20 || c == 0x7F)
        buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
    else
        buf_putc(out, c);
}

static void put_quoted(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    buf_putc(out, '"');
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_len(text + i, len - i);
        if (n == 0)
            buf_puts(out, "\xEF\xBF\xBD"); /* U+FFFD */
        else if (n == 1)
            put_char(out, text[i]);
        else
            buf_append(out, text + i, n);
        n = n == 0 ? 1 : n;
    }
    buf_putc(out, '"');
}

void json_text_begin(struct json_text *json, struct buf *out)
{
    *json = (struct json_text){.out = out, .first = true};
}

static void put_key(struct json_text *json, const char *key)
{
    if (!json->first)
        buf_putc(json->out, ',');
    json->first = false;
    if (key == NULL)
        return;
    put_quoted(json->out, key);
    buf_putc(json->out, ':');
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
    put_key(json, key);
    if (text != NULL)
        put_quoted(json->out, text);
    else
        buf_puts(json->out, "null");
}

void json_text_number(struct json_text *json, const char *key, uint64_t number)
{
    put_key(json, key);
    buf_printf(json->out, "%llu", (unsigned long long)number);
}

void json_text_bool(struct json_text *json, const char *key, bool value)
{
    put_key(json, key);
    buf_puts(json->out, value ? "true" : "false");
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
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];
    bool known = wall_ms > 0 && gmtime_r(&seconds, &tm) != NULL && tm.tm_year <= 9999 - 1900 &&
                 strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0;
    json_text_string(json, key, known ? text : NULL);
}
