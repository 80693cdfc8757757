#include "common/os/log.h"

#include "common/base/cleanup.h"
#include "common/base/json_text.h"
#include "common/base/quote.h"
#include "common/base/rfc3339.h"
#include "common/base/span.h"
#include "common/base/utf8.h"
#include "common/os/std_fds.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static struct {
    enum log_level level;
    enum log_format format;
    char identity[LOG_IDENTITY_MAX]; /* formatted: " pod=web-1" or ",\"pod\":\"web-1\"" */
    uint64_t lost;
    uint64_t told; /* of the lost: how many a line in the log has told of */
    bool torn;     /* the end of the line written last is missing */
} logger = {.level = LOG_LEVEL_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"logfmt", "json"};

void log_setup(enum log_level level, enum log_format format)
{
    logger.level = level;
    logger.format = format;
}

/* logfmt wants quotes around anything that could be read as a separator. */
static bool is_bare(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F)
            return false;
    }
    return s.len > 0;
}

static void put_logfmt_text(struct buf *out, struct span s)
{
    if (is_bare(s)) {
        buf_append(out, s.ptr, s.len);
        return;
    }
    buf_putc(out, '"');
    quote_escape(out, s.ptr, s.len);
    buf_putc(out, '"');
}

static void put_field(struct buf *out, const struct log_field *field)
{
    struct span text = {field->text.ptr, 0};
    if (field->kind == LOG_KIND_SPAN)
        text.len = utf8_cut(field->text.ptr, field->text.len, LOG_VALUE_MAX);
    buf_puts(out, logger.format == LOG_FORMAT_JSON ? ",\"" : " ");
    buf_puts(out, field->key);
    buf_puts(out, logger.format == LOG_FORMAT_JSON ? "\":" : "=");
    if (field->kind == LOG_KIND_I64)
        buf_printf(out, "%lld", (long long)field->number);
    else if (logger.format == LOG_FORMAT_JSON)
        json_text_quote(out, text, JSON_TEXT_CONTROLS);
    else
        put_logfmt_text(out, text);
}

int log_set_identity(const struct log_field *fields)
{
    struct buf identity;
    buf_init(&identity, LOG_IDENTITY_MAX - 1);
    for (; fields->key != NULL; fields++)
        put_field(&identity, fields);
    int rc = buf_error(&identity);
    if (rc == 0)
        memcpy(logger.identity, buf_text(&identity), identity.len + 1);
    buf_done(&identity);
    return rc;
}

static void put_time(struct buf *out, int64_t now_ms)
{
    char text[RFC3339_SIZE];
    rfc3339_write(text, now_ms / 1000);
    buf_printf(out, "%s.%03dZ", text, (int)(now_ms % 1000));
}

/* Room kept for the closing " cut=true" or ",\"cut\":\"true\"}" and the newline. */
enum { LINE_TAIL = 24 };

enum { LINE_USUAL = 400 }; /* bytes of most lines: they need not grow */

static void put_fields(struct buf *out, const struct log_field *fields)
{
    CLEANUP(buf_done) struct buf one;
    buf_init(&one, LOG_LINE_MAX);
    for (; fields->key != NULL; fields++) {
        buf_clear(&one);
        put_field(&one, fields);
        if (buf_error(&one) != 0 || out->len + one.len + LINE_TAIL > LOG_LINE_MAX) {
            buf_puts(out, logger.format == LOG_FORMAT_JSON ? ",\"cut\":\"true\"" : " cut=true");
            return;
        }
        buf_append(out, one.data, one.len);
    }
}

int log_format_line(struct buf *out, int64_t now_ms, enum log_level level, const char *msg,
                    const struct log_field *fields)
{
    bool json = logger.format == LOG_FORMAT_JSON;
    buf_puts(out, json ? "{\"ts\":\"" : "ts=");
    put_time(out, now_ms);
    buf_puts(out, json ? "\",\"level\":\"" : " level=");
    buf_puts(out, level_names[level]);
    buf_puts(out, json ? "\",\"msg\":" : " msg=");
    struct span msg_span = {msg, strlen(msg)};
    if (json)
        json_text_quote(out, msg_span, JSON_TEXT_CONTROLS);
    else
        put_logfmt_text(out, msg_span);
    buf_puts(out, logger.identity);
    put_fields(out, fields);
    return buf_puts(out, json ? "}\n" : "\n");
}

/* 0, or -Exxx when less than all was written. */
static int write_whole(const struct buf *text)
{
    ssize_t written = std_fds_write_error(text->data, text->len);
    if (written > 0)
        logger.torn = (size_t)written < text->len;
    return written == (ssize_t)text->len ? 0 : written < 0 ? (int)written : -EAGAIN;
}

static_assert(2 * LOG_LINE_MAX <= STD_FDS_TEXT_MAX, "a line and the one about the loss before it are written at once");

/* What was lost is told in front of the first line that is written again, by the same write. */
static int write_after_loss(const struct buf *line, int64_t now_ms)
{
    CLEANUP(buf_done) struct buf both;
    buf_init(&both, 2 * LOG_LINE_MAX);
    if (logger.torn)
        buf_putc(&both, '\n');
    log_format_line(&both, now_ms, LOG_LEVEL_WARN, "log lines were lost",
                    LOG_FIELDS(LOG_I64("lines", logger.lost - logger.told)));
    int rc = buf_append(&both, line->data, line->len);
    if (rc == 0)
        rc = write_whole(&both);
    if (rc == 0)
        logger.told = logger.lost;
    return rc;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if (level < logger.level)
        return;
    CLEANUP(buf_done) struct buf line;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    buf_init(&line, LOG_LINE_MAX);
    (void)buf_reserve(&line, LINE_USUAL);
    int rc = log_format_line(&line, now_ms, level, msg, fields);
    if (rc == 0)
        rc = logger.lost == logger.told ? write_whole(&line) : write_after_loss(&line, now_ms);
    if (rc != 0)
        logger.lost++;
}

void log_throttled(struct log_throttle *throttle, int64_t now_ms, enum log_level level, const char *msg,
                   const struct log_field *fields)
{
    if (now_ms < throttle->next_ms) {
        throttle->suppressed++;
        return;
    }
    enum { FIELDS_MAX = 16 };
    struct log_field all[FIELDS_MAX + 2];
    unsigned n = 0;
    for (; fields->key != NULL && n < FIELDS_MAX; fields++)
        all[n++] = *fields;
    if (throttle->suppressed > 0)
        all[n++] = LOG_I64("repeated", throttle->suppressed);
    all[n] = (struct log_field){.key = NULL};
    log_write(level, msg, all);
    throttle->suppressed = 0;
    throttle->next_ms = now_ms + LOG_REPEAT_MS;
}

void log_throttle_reset(struct log_throttle *throttle)
{
    *throttle = (struct log_throttle){0};
}

uint64_t log_lost_lines(void)
{
    return logger.lost;
}

int log_level_parse(const char *text, enum log_level *ret, struct err *err)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    struct quoted q;
    return err_set(err, EINVAL, "expected debug, info, warn or error, got %s", quote_text(&q, text));
}

int log_format_parse(const char *text, enum log_format *ret, struct err *err)
{
    for (unsigned i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *ret = (enum log_format)i;
            return 0;
        }
    }
    struct quoted q;
    return err_set(err, EINVAL, "expected logfmt or json, got %s", quote_text(&q, text));
}
