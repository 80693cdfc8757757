/* One line an event on stderr, logfmt or JSON, with the process's identity on every line.
 *
 *     log_info("profile stored", LOG_STR("type", "cpu"), LOG_I64("bytes", n));
 *     ts=2026-11-22T16:46:35.123Z level=info msg="profile stored" pod=web-1 type=cpu bytes=8123
 *
 * Only the code that decides logs, once; library code returns a struct err. Values from outside are
 * escaped (quote_escape) and cut to LOG_VALUE_MAX; a line never exceeds LOG_LINE_MAX and is written by one
 * write(2).
 *
 * A line never waits for its reader. What stderr does not take at this moment (nobody reads the pipe, the disk is full,
 * it is closed) is lost and counted by log_lost_lines(), and the next line that can be written comes with one before
 * it: `level=warn msg="log lines were lost" lines=N`. Why no line is ever written late: it would have to be kept
 * somewhere.
 *
 * Repeated failures go through log_throttled(): the first is written, then at most one every
 * LOG_REPEAT_MS, which carries repeated=N.
 */
#ifndef PROFEFE_LOG_H
#define PROFEFE_LOG_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_LINE_MAX = 2048, /* bytes with the newline; two lines are what a pipe takes at once (STD_FDS_TEXT_MAX) */
    LOG_VALUE_MAX = 512,
    LOG_IDENTITY_MAX = 512,   /* bytes of the identity, formatted */
    LOG_REPEAT_MS = 60 * 1000, /* a failing collector is said once a minute */
};

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum log_kind { LOG_KIND_SPAN, LOG_KIND_I64 } kind;
    struct span text;
    int64_t number;
};

#define LOG_SPAN(k, span_) ((struct log_field){.key = (k), .kind = LOG_KIND_SPAN, .text = (span_)})
#define LOG_STR(k, s) LOG_SPAN(k, ((struct span){(s), __builtin_strlen(s)}))
#define LOG_I64(k, n) ((struct log_field){.key = (k), .kind = LOG_KIND_I64, .number = (int64_t)(n)})
#define LOG_ERR(e) LOG_STR("error", (e)->text)
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) {.key = NULL}})

#define log_debug(msg, ...) log_write(LOG_LEVEL_DEBUG, msg, LOG_FIELDS(__VA_ARGS__))
#define log_info(msg, ...) log_write(LOG_LEVEL_INFO, msg, LOG_FIELDS(__VA_ARGS__))
#define log_warn(msg, ...) log_write(LOG_LEVEL_WARN, msg, LOG_FIELDS(__VA_ARGS__))
#define log_error(msg, ...) log_write(LOG_LEVEL_ERROR, msg, LOG_FIELDS(__VA_ARGS__))

/* Process-wide, set once by main. Before that: info, logfmt, no identity. */
void log_setup(enum log_level level, enum log_format format);

/* Fields put on every line after msg (pod, namespace, …), after log_setup: they are kept in its format. -ENOBUFS over
 * LOG_IDENTITY_MAX, -ENOMEM: then the identity stays as it was. */
int log_set_identity(const struct log_field *fields);

void log_write(enum log_level level, const char *msg, const struct log_field *fields);

/* Formats one line, with the newline, as log_write would; pure but for the settings above. now_ms = Unix time.
 * Fields that no longer fit in the line are left out, and the line says cut=true. */
int log_format_line(struct buf *out, int64_t now_ms, enum log_level level, const char *msg,
                    const struct log_field *fields);

struct log_throttle {
    int64_t next_ms;     /* no line before this monotonic time; 0 = none was written yet */
    uint64_t suppressed; /* events swallowed since the last line */
};

/* Writes or swallows; now_ms is monotonic. */
void log_throttled(struct log_throttle *throttle, int64_t now_ms, enum log_level level, const char *msg,
                   const struct log_field *fields);

/* After a success: the next failure is written at once again. */
void log_throttle_reset(struct log_throttle *throttle);

/* Lines lost since the start, those that found no memory included. */
uint64_t log_lost_lines(void);

int log_level_parse(const char *text, enum log_level *ret, struct err *err);
int log_format_parse(const char *text, enum log_format *ret, struct err *err);

#endif
