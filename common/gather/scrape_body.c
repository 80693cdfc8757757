#include "common/gather/scrape_body.h"

#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/pprof/gotrace.h"
#include "common/pprof/gz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD_MAX = 1024,  /* bytes held back until it is clear what is in a gzip; its headers seldom take 100 */
    PEEK = 2,         /* bytes by which gzip is known */
    PIECE = 4 * 1024, /* bytes that come out of zlib at a time, on the stack */
    CODING_SHOWN = 48, /* bytes of a Content-Encoding that is named */
};

enum form {
    FORM_UNKNOWN,
    FORM_PEEKING, /* Content-Encoding: gzip, of what is not known yet */
    FORM_AS_IT_CAME,
    FORM_RAW,     /* to be compressed */
    FORM_WRAPPED, /* to be inflated once */
};

struct scrape_body {
    struct spool *spool;
    enum form form;
    bool is_encoded; /* Content-Encoding: gzip */
    char other_coding[CODING_SHOWN]; /* a Content-Encoding that we cannot undo, quoted; "" = none */
    bool failed;
    struct err err;
    uint64_t size_max;
    uint64_t length; /* announced; 0 = not known */
    struct pprof_check *check; /* NULL for a trace */
    struct gotrace_check trace;
    struct gz_reader outer;
    const char *outer_fault;
    struct gz_writer writer;
    size_t head_len;
    size_t peeked;
    uint8_t peek[PEEK];
    uint8_t head[HEAD_MAX];
};

struct scrape_body *scrape_body_free(struct scrape_body *body)
{
    if (body == NULL)
        return NULL;
    pprof_check_free(body->check);
    gz_reader_done(&body->outer);
    gz_writer_done(&body->writer);
    free(body);
    return NULL;
}

int scrape_body_new(struct spool *spool, enum profile_kind kind, uint64_t size_max, struct scrape_body **ret)
{
    CLEANUP_SCRAPE_BODY struct scrape_body *body = calloc(1, sizeof(*body));
    if (body == NULL)
        return -ENOMEM;
    body->spool = spool;
    body->size_max = size_max;
    gotrace_check_init(&body->trace);
    if (kind != PROFILE_TRACE && pprof_check_new(size_max * SCRAPE_RAW_FACTOR, &body->check) < 0)
        return -ENOMEM;
    *ret = TAKE_PTR(body);
    return 0;
}

void scrape_body_watch(struct scrape_body *body, struct pprof_watch *watch)
{
    if (body->check != NULL)
        pprof_check_watch(body->check, watch);
}

void scrape_body_begin(struct scrape_body *body, const char *encoding, const char *length)
{
    struct span coding = span_of(encoding);
    uint64_t number = 0;
    struct quoted q;
    body->is_encoded = span_equal_nocase(coding, "gzip") || span_equal_nocase(coding, "x-gzip");
    if (!body->is_encoded && coding.len > 0 && !span_equal_nocase(coding, "identity"))
        snprintf(body->other_coding, sizeof(body->other_coding), "%s", quote_bytes(&q, coding.ptr, coding.len));
    if (number_parse_u64(span_of(length), 0, UINT64_MAX, &number, NULL) == 0)
        body->length = number;
}

/* ---- failing ---- */

static int no_memory(struct scrape_body *body, const char *what)
{
    body->failed = true;
    return err_set(&body->err, ENOMEM, "no memory to %s a profile", what);
}

static int too_big(struct scrape_body *body)
{
    body->failed = true;
    return err_set(&body->err, EFBIG, "larger than %llu bytes", (unsigned long long)body->size_max);
}

/* ---- storing ---- */

static int write_spool(struct scrape_body *body, const void *bytes, size_t len)
{
    int rc = len > 0 ? spool_write(body->spool, bytes, len, &body->err) : 0;
    body->failed = rc < 0;
    return rc;
}

static int check(struct scrape_body *body, const void *bytes, size_t len)
{
    return body->check != NULL ? pprof_check_feed(body->check, bytes, len)
                               : gotrace_check_feed(&body->trace, bytes, len);
}

static int store_as_it_came(struct scrape_body *body, const void *bytes, size_t len)
{
    int rc = check(body, bytes, len);
    return rc == 0 ? write_spool(body, bytes, len) : rc;
}

static int compress_some(struct scrape_body *body, struct gz_bytes in, bool last)
{
    uint8_t out[PIECE];
    size_t n = sizeof(out);
    while (in.len > 0 || (last && !body->writer.finished) || n == sizeof(out)) {
        n = gz_writer_step(&body->writer, &in, last, out, sizeof(out));
        int rc = write_spool(body, out, n);
        if (rc < 0 || body->writer.finished)
            return rc;
    }
    return 0;
}

static int store_raw(struct scrape_body *body, const void *bytes, size_t len)
{
    int rc = check(body, bytes, len);
    return rc == 0 ? compress_some(body, (struct gz_bytes){bytes, len}, /* last= */ false) : rc;
}

static int outer_error(struct scrape_body *body, int rc)
{
    if (rc == -EFBIG)
        return too_big(body);
    if (rc == -ENOMEM)
        return no_memory(body, "inflate");
    body->outer_fault = gz_reader_words(&body->outer);
    return -EINVAL;
}

static int store_wrapped(struct scrape_body *body, const void *bytes, size_t len)
{
    struct gz_bytes in = {bytes, len};
    uint8_t out[PIECE];
    size_t n = 0;
    do {
        int rc = gz_reader_step(&body->outer, &in, out, sizeof(out), &n);
        if (rc < 0)
            return outer_error(body, rc);
        rc = store_as_it_came(body, out, n);
        if (rc < 0)
            return rc;
    } while (in.len > 0 || n == sizeof(out));
    return 0;
}

/* ---- what it is ---- */

static bool is_gzip(const uint8_t *bytes, size_t len)
{
    return len >= 1 && bytes[0] == 0x1F; /* as the check tells it (gz.h) */
}

static int begin_raw(struct scrape_body *body)
{
    body->form = FORM_RAW;
    return gz_writer_init(&body->writer) < 0 ? no_memory(body, "compress") : 0;
}

/* An announced size over the limit is refused at once, before it has evicted anything. */
static int begin_as_it_came(struct scrape_body *body)
{
    body->form = FORM_AS_IT_CAME;
    return body->length > body->size_max ? too_big(body) : 0;
}

static int begin_gzip_of(struct scrape_body *body, bool peek)
{
    body->form = peek ? FORM_PEEKING : FORM_WRAPPED;
    return gz_reader_init(&body->outer, body->size_max) < 0 ? no_memory(body, "inflate") : 0;
}

static int begin(struct scrape_body *body, const uint8_t *bytes, size_t len)
{
    bool is_encoded = body->is_encoded && is_gzip(bytes, len);
    if (body->check == NULL)
        return is_encoded ? begin_gzip_of(body, /* peek= */ false) : begin_as_it_came(body);
    if (is_encoded)
        return begin_gzip_of(body, /* peek= */ true);
    return is_gzip(bytes, len) ? begin_as_it_came(body) : begin_raw(body);
}

/* The end of peeking: what was held back goes its way, then the rest. */
static int go_on(struct scrape_body *body, const uint8_t *rest, size_t len)
{
    bool is_wrapped = body->peeked == PEEK && body->peek[0] == 0x1F && body->peek[1] == 0x8B;
    if (is_wrapped) {
        body->form = FORM_WRAPPED;
        int rc = store_as_it_came(body, body->peek, PEEK);
        return rc == 0 ? store_wrapped(body, rest, len) : rc;
    }
    gz_reader_done(&body->outer);
    int rc = begin_as_it_came(body);
    if (rc == 0)
        rc = store_as_it_came(body, body->head, body->head_len);
    return rc == 0 ? store_as_it_came(body, rest, len) : rc;
}

static int peek(struct scrape_body *body, const uint8_t *bytes, size_t len)
{
    struct gz_bytes in = {bytes, len < HEAD_MAX - body->head_len ? len : HEAD_MAX - body->head_len};
    size_t offered = in.len, n = 0;
    int rc = 0;
    do {
        rc = gz_reader_step(&body->outer, &in, body->peek + body->peeked, PEEK - body->peeked, &n);
        body->peeked += n;
    } while (rc == 0 && n > 0 && body->peeked < PEEK);
    size_t used = offered - in.len;
    memcpy(body->head + body->head_len, bytes, used);
    body->head_len += used;
    if (rc < 0 || body->peeked == PEEK || body->head_len == HEAD_MAX)
        return go_on(body, bytes + used, len - used);
    return 0;
}

int scrape_body_feed(struct scrape_body *body, const void *bytes, size_t len)
{
    int rc = 0;
    if (len == 0)
        return 0;
    if (body->form == FORM_UNKNOWN)
        rc = begin(body, bytes, len);
    if (rc < 0)
        return rc;
    switch (body->form) {
    case FORM_PEEKING:
        return peek(body, bytes, len);
    case FORM_RAW:
        return store_raw(body, bytes, len);
    case FORM_WRAPPED:
        return store_wrapped(body, bytes, len);
    case FORM_UNKNOWN:
    case FORM_AS_IT_CAME:
        break;
    }
    return store_as_it_came(body, bytes, len);
}

/* ---- the end ---- */

static void finish_check(struct scrape_body *body, struct pprof_summary *ret)
{
    if (body->check != NULL)
        pprof_check_finish(body->check, ret);
    else
        gotrace_check_finish(&body->trace, ret);
}

/* Brotli and the like have no first bytes to be known by. A wrong header before a good profile does no harm. */
static void say_coding(const struct scrape_body *body, struct pprof_summary *ret)
{
    bool is_bad = ret->verdict == PPROF_MALFORMED || ret->verdict == PPROF_TRUNCATED || ret->verdict == PPROF_TEXT;
    if (body->other_coding[0] == '\0' || !is_bad)
        return;
    ret->verdict = PPROF_MALFORMED;
    snprintf(ret->reason, sizeof(ret->reason), "Content-Encoding is %s: expected gzip, or none", body->other_coding);
}

void scrape_body_judge(struct scrape_body *body, struct pprof_summary *ret)
{
    if (body->form == FORM_PEEKING) /* ended before it showed what it holds */
        go_on(body, NULL, 0);
    finish_check(body, ret);
    if (body->outer_fault != NULL) {
        ret->verdict = PPROF_MALFORMED;
        snprintf(ret->reason, sizeof(ret->reason), "gzip around the profile: %s", body->outer_fault);
    } else if (body->form == FORM_WRAPPED && gz_reader_is_inside(&body->outer)) {
        ret->verdict = PPROF_TRUNCATED;
        snprintf(ret->reason, sizeof(ret->reason), "ended inside the gzip around the profile");
    }
    say_coding(body, ret);
}

int scrape_body_end(struct scrape_body *body, struct err *err)
{
    int rc = body->form == FORM_RAW ? compress_some(body, (struct gz_bytes){NULL, 0}, /* last= */ true) : 0;
    return rc < 0 ? err_set(err, -rc, "%s", body->err.text) : 0;
}

const struct err *scrape_body_error(const struct scrape_body *body)
{
    return body->failed ? &body->err : NULL;
}

bool scrape_body_is_raw(const struct scrape_body *body)
{
    return body->form == FORM_RAW;
}
