/* A growing byte buffer with a ceiling fixed at birth.
 *
 * Failure is sticky: after the first append that does not fit (-ENOBUFS) or finds no memory (-ENOMEM)
 * every later one fails alike and the content stays as it was before that append. Text can therefore be
 * written line by line and checked once at the end with buf_error(). `data` is NULL or NUL-terminated; buf_text()
 * is a string always.
 *
 *      data                 len            cap            max (ceiling, never reached by cap - 1)
 *      ├── content ──────────┼── room ──────┤┄┄┄┄┄┄┄┄┄┄┄┄┄┄┤
 */
#ifndef PROFEFE_BUF_H
#define PROFEFE_BUF_H

#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max; /* most content bytes ever held, the NUL not counted */
    int error;  /* 0, or the -Exxx of the first failed append */
};

/* An empty buffer that will hold at most max_bytes. Allocates nothing. */
void buf_init(struct buf *buf, size_t max_bytes);

/* Frees the content; the buffer is as after buf_init. Usable with CLEANUP(buf_done). */
void buf_done(struct buf *buf);

/* Forgets content and error, keeps the memory. */
void buf_clear(struct buf *buf);

int buf_append(struct buf *buf, const void *bytes, size_t len);
int buf_puts(struct buf *buf, const char *text);
int buf_putc(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Makes room for len more bytes without changing the content. */
int buf_reserve(struct buf *buf, size_t len);

/* 0, or the -Exxx that made the content incomplete. */
int buf_error(const struct buf *buf);

/* The content as a string, "" when nothing was appended. Borrowed until the next change. */
const char *buf_text(const struct buf *buf);

/* Hands the heap memory over to the caller (free()); the buffer is as after buf_init. NULL after an error, or when
 * there is no memory to hand over, since nothing was appended or reserved. */
MUST_CHECK char *buf_take(struct buf *buf) NONNULL(1);

#endif
