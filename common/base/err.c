#include "common/base/err.h"

#include "common/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What did not fit is gone; half a character at the end would make the whole text invalid UTF-8. */
static void end_text(char text[static ERR_TEXT_MAX])
{
    text[utf8_whole(text, strlen(text))] = '\0';
}

/* vsnprintf only fails on encoding errors, which %s and %d cannot raise; then the text is empty. */
static void PRINTF_LIKE(2, 0) format_text(char text[static ERR_TEXT_MAX], const char *fmt, va_list ap)
{
    if (vsnprintf(text, ERR_TEXT_MAX, fmt, ap) < 0)
        text[0] = '\0';
    end_text(text);
}

static void append_text(char text[static ERR_TEXT_MAX], const char *separator, const char *more)
{
    size_t used = strlen(text);
    snprintf(text + used, ERR_TEXT_MAX - used, "%s%s", separator, more);
    end_text(text);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err == NULL)
        return -code;
    va_list ap;
    va_start(ap, fmt);
    format_text(err->text, fmt, ap);
    va_end(ap);
    err->code = code;
    return -code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
    if (err == NULL)
        return -code;
    va_list ap;
    va_start(ap, fmt);
    format_text(err->text, fmt, ap);
    va_end(ap);
    append_text(err->text, ": ", strerror(code));
    err->code = code;
    return -code;
}

int err_wrap(struct err *err, int rc, const char *fmt, ...)
{
    if (err == NULL)
        return rc;
    char inner[ERR_TEXT_MAX];
    memcpy(inner, err->text, sizeof(inner));
    va_list ap;
    va_start(ap, fmt);
    format_text(err->text, fmt, ap);
    va_end(ap);
    append_text(err->text, ": ", inner);
    err->code = -rc;
    return rc;
}
