#include "common/profefe/profefe.h"

#include "common/base/ascii.h"
#include "common/base/percent.h"
#include "common/base/rfc3339.h"
#include "common/base/utf8.h"

#include <string.h>

static void put_parameter(struct buf *out, const char *name, const char *value)
{
    buf_puts(out, name);
    buf_putc(out, '=');
    percent_append(out, span_of(value), "");
}

static void put_label(struct buf *inner, const struct label *label)
{
    if (inner->len > 0)
        buf_putc(inner, ',');
    percent_append(inner, span_of(label->key), "");
    buf_putc(inner, '=');
    percent_append(inner, span_of(label->value), "");
}

static void put_labels(struct buf *out, const struct profefe_upload *upload)
{
    struct buf inner;
    buf_init(&inner, PROFEFE_URL_MAX);
    for (unsigned i = 0; i < upload->labels->count; i++)
        put_label(&inner, &upload->labels->items[i]);
    for (unsigned i = 0; i < upload->extra_count; i++)
        put_label(&inner, &upload->extra[i]);
    if (buf_error(&inner) != 0)
        out->error = buf_error(&inner);
    else if (inner.len > 0)
        put_parameter(out, "&labels", buf_text(&inner));
    buf_done(&inner);
}

static void put_time(struct buf *out, const char *name, int64_t seconds)
{
    char text[RFC3339_SIZE];
    if (rfc3339_write(text, seconds))
        put_parameter(out, name, text);
}

static void put_profiles(struct buf *out, const struct profefe_upload *upload)
{
    size_t base = strlen(upload->collector);
    while (base > 0 && upload->collector[base - 1] == '/')
        base--;
    buf_append(out, upload->collector, base);
    buf_puts(out, "/api/0/profiles?");
    put_parameter(out, "service", upload->service);
    put_parameter(out, "&type", upload->type);
}

void profefe_upload_url(struct buf *out, const struct profefe_upload *upload)
{
    put_profiles(out, upload);
    put_labels(out, upload);
    put_time(out, "&created_at", upload->created_at_ms / 1000);
    put_parameter(out, "&instance_id", upload->instance_id);
}

/* Both ends count: the server keeps nanoseconds and compares with <=, so the end is the next second. */
void profefe_list_url(struct buf *out, const struct profefe_upload *upload)
{
    put_profiles(out, upload);
    put_time(out, "&from", upload->created_at_ms / 1000);
    put_time(out, "&to", upload->created_at_ms / 1000 + 1);
    buf_printf(out, "&limit=%d", PROFEFE_LIST_MAX);
}

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && ascii_is_space(*c->at))
        c->at++;
}

static bool take(struct cursor *c, const char *token)
{
    size_t len = strlen(token);
    skip_space(c);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, token, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool take_number(struct cursor *c, int *ret)
{
    int value = 0, digits = 0;
    skip_space(c);
    for (; c->at < c->end && ascii_is_digit(*c->at) && digits < 6; c->at++, digits++)
        value = value * 10 + (*c->at - '0');
    *ret = value;
    return digits > 0;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* After "\u": the four digits, as far as they are some. */
static char take_unicode(struct cursor *c)
{
    int value = 0;
    for (int i = 0; i < 4 && c->at < c->end && hex_digit(*c->at) >= 0; i++)
        value = value * 16 + hex_digit(*c->at++);
    return value >= 0x20 && value < 0x7F ? (char)value : '?';
}

/* After a backslash. */
static char take_escape(struct cursor *c)
{
    char ch = *c->at++;
    if (ch == 'u')
        return take_unicode(c);
    return ch == 'n' || ch == 't' || ch == 'r' ? ' ' : ch;
}

/* A JSON string up to its closing quote or the end of what we have. \uXXXX of plain ASCII (Go writes < > & so) is
 * decoded; the rest of them becomes "?". */
static void take_string(struct cursor *c, char *out, size_t max)
{
    size_t used = 0;
    while (c->at < c->end && *c->at != '"' && used < max) {
        char ch = *c->at++;
        if (ch == '\\' && c->at < c->end)
            ch = take_escape(c);
        out[used++] = (unsigned char)ch < 0x20 ? ' ' : ch;
    }
    out[utf8_whole(out, used)] = '\0';
}

void profefe_reply_parse(const char *body, size_t len, struct profefe_reply *ret)
{
    struct cursor c = {body, body + len};
    *ret = (struct profefe_reply){0};
    /* Go marshals the struct in this order: code, body (left out on errors), error. */
    if (!take(&c, "{") || !take(&c, "\"code\"") || !take(&c, ":") || !take_number(&c, &ret->code)) {
        ret->code = 0;
        return;
    }
    ret->is_profefe = true;
    if (take(&c, ",") && take(&c, "\"error\"") && take(&c, ":") && take(&c, "\""))
        take_string(&c, ret->error, PROFEFE_WORDS_MAX);
}

enum profefe_answer profefe_judge(unsigned status, const struct profefe_reply *reply)
{
    if (status == 200 && reply->is_profefe && reply->code == 200)
        return PROFEFE_STORED;
    if ((status == 400 || status == 422) && reply->is_profefe && reply->code == (int)status)
        return PROFEFE_REFUSED;
    if (status == 413)
        return PROFEFE_TOO_LARGE;
    if (status == 408 || status == 429 || (status >= 500 && status <= 599))
        return PROFEFE_LATER;
    return PROFEFE_WRONG;
}
