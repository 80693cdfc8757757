#include "common/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUF_FIRST_CAP = 64, /* most labels and lines fit without a second allocation */
};

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->error = 0;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

static int fail(struct buf *buf, int code)
{
    buf->error = -code;
    return -code;
}

int buf_reserve(struct buf *buf, size_t len)
{
    if (buf->error != 0)
        return buf->error;
    if (len > buf->max - buf->len)
        return fail(buf, ENOBUFS);
    size_t need = buf->len + len + 1;
    if (need <= buf->cap)
        return 0;
    size_t cap = buf->cap > 0 ? buf->cap : BUF_FIRST_CAP;
    while (cap < need)
        cap *= 2; /* cannot overflow: need - 1 <= max, and max is far below SIZE_MAX / 2 */
    if (cap > buf->max + 1)
        cap = buf->max + 1;
    char *data = realloc(buf->data, cap);
    if (data == NULL)
        return fail(buf, ENOMEM);
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return 0;
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
    int rc = buf_reserve(buf, len);
    if (rc < 0)
        return rc;
    if (len > 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int buf_puts(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_putc(struct buf *buf, char c)
{
    return buf_append(buf, &c, 1);
}

static int PRINTF_LIKE(2, 0) append_formatted(struct buf *buf, const char *fmt, va_list ap)
{
    va_list again;
    if (buf->error != 0)
        return buf->error;
    size_t room = buf->cap - buf->len; /* usually enough: then the text is formatted once */
    va_copy(again, ap);
    int len = vsnprintf(room > 0 ? buf->data + buf->len : NULL, room, fmt, again);
    va_end(again);
    if (room > 0 && (len < 0 || (size_t)len >= room))
        buf->data[buf->len] = '\0';
    if (len < 0)
        return fail(buf, EINVAL);
    int rc = buf_reserve(buf, (size_t)len);
    if (rc < 0)
        return rc;
    if ((size_t)len >= room)
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, ap);
    buf->len += (size_t)len;
    return 0;
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = append_formatted(buf, fmt, ap);
    va_end(ap);
    return rc;
}

int buf_error(const struct buf *buf)
{
    return buf->error;
}

const char *buf_text(const struct buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}

char *buf_take(struct buf *buf)
{
    if (buf->error != 0) {
        buf_done(buf);
        return NULL;
    }
    char *data = buf->data;
    buf_init(buf, buf->max);
    return data;
}
