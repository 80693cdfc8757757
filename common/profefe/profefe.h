/* profefe's HTTP API, the part an agent speaks (github.com/profefe/profefe, pkg/profefe).
 *
 *   POST BASE/api/0/profiles?service=&type=&labels=k=v,k2=v2&created_at=2006-01-02T15:04:05&instance_id=
 *   GET  BASE/api/0/profiles?service=&type=&from=2006-01-02T15:04:05&to=2006-01-02T15:04:06&limit=   (profefe_list.h)
 *
 * Label keys and values are query-escaped inside the value of `labels`, and that value is escaped again: single
 * escaping turns "+" into a space and splits at commas (seen). Times are UTC, to the second, without "Z".
 * Replies are {"code":N,"body":…,"error":"…"} sent as text/plain.
 */
#ifndef PROFEFE_PROFEFE_H
#define PROFEFE_PROFEFE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/values/labels.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PROFEFE_URL_MAX = 32 * 1024, /* LABELS_MAX labels, escaped twice, and the base */
    PROFEFE_WORDS_MAX = 200,
    PROFEFE_LIST_MAX = 1000, /* profiles asked for in a list: of one service, type and second */
};

struct profefe_upload {
    const char *collector; /* base URL, trailing slashes allowed */
    const char *service;
    const char *type;
    const char *instance_id;
    int64_t created_at_ms; /* Unix time; for pprof bodies the server prefers the profile's TimeNanos */
    const struct labels *labels;
    const struct label *extra; /* labels of this profile alone (target, profile_type); extra_count of them */
    unsigned extra_count;
};

/* Appends the URL; buf_error(out) tells failure. */
void profefe_upload_url(struct buf *out, const struct profefe_upload *upload);

/* Appends the URL that lists what is stored of the upload's service and type for its second, from any pod: with badger
 * a search by labels loses what arrived out of order (seen: 1 of 5 found), so the labels are for us to compare. */
void profefe_list_url(struct buf *out, const struct profefe_upload *upload);

struct profefe_reply {
    bool is_profefe;                   /* the body is profefe's JSON */
    int code;                          /* its "code" */
    char error[PROFEFE_WORDS_MAX + 1]; /* its "error", unescaped, control bytes replaced; cut */
};

/* Recognises a reply by its beginning; never fails. Bodies may be cut after the error. */
void profefe_reply_parse(const char *body, size_t len, struct profefe_reply *ret);

/* What a push came to, and what becomes of the profile: only the profile's own fault drops it. */
enum profefe_answer {
    PROFEFE_STORED,    /* 200 with {"code":200 */
    PROFEFE_REFUSED,   /* 400, 422 with profefe's JSON, which names the same code: this profile is bad; drop it */
    PROFEFE_TOO_LARGE, /* 413: drop it */
    PROFEFE_LATER,     /* 408, 429, 5xx: try again */
    PROFEFE_WRONG,     /* anything else: the collector or its URL is wrong; keep everything, try slowly */
};
enum profefe_answer profefe_judge(unsigned status, const struct profefe_reply *reply);

#endif
