#include "common/gather/scrape.h"

#include "common/base/cleanup.h"
#include "common/base/percent.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/push/outgoing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const scrape_result_names[SCRAPE_RESULT_COUNT] = {
    [SCRAPE_OK] = "ok",
    [SCRAPE_EMPTY] = "empty",
    [SCRAPE_REFUSED] = "refused",
    [SCRAPE_TIMEOUT] = "timeout",
    [SCRAPE_SLOW] = "slow",
    [SCRAPE_BUSY] = "busy",
    [SCRAPE_TOO_LONG] = "too-long",
    [SCRAPE_MISSING] = "missing",
    [SCRAPE_REDIRECT] = "redirect",
    [SCRAPE_STATUS] = "status",
    [SCRAPE_TEXT] = "text",
    [SCRAPE_MALFORMED] = "malformed",
    [SCRAPE_TRUNCATED] = "truncated",
    [SCRAPE_TOO_BIG] = "too-big",
    [SCRAPE_ENDLESS] = "endless",
    [SCRAPE_ERROR] = "error",
};

/* ---- naming an answer ---- */

static const char *const kept_headers[SCRAPE_KEPT_HEADERS] = {
    [SCRAPE_X_GO_PPROF] = "X-Go-Pprof",
    [SCRAPE_CONTENT_ENCODING] = "Content-Encoding",
    [SCRAPE_CONTENT_LENGTH] = "Content-Length",
    [SCRAPE_LOCATION] = "Location",
};

/* What the server said, short and safe, for the end of a sentence. */
static const char *said(struct quoted *out, const struct httpc_result *http)
{
    size_t len = strcspn(http->reply, "\r\n");
    return quote_bytes(out, http->reply, len < http->reply_len ? len : http->reply_len);
}

static bool begins_with(const struct httpc_result *http, const char *words)
{
    return span_has_prefix(span_of(http->reply), words);
}

/* How others than Go say that a profile is being taken, under whatever status. */
static bool says_busy(const char *reply)
{
    static const char *const words[] = {"already", "in progress", "in use", "is running"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(reply, words[i]) != NULL)
            return true;
    }
    return false;
}

/* What takes SECONDS only; comes at once. Go: 500, "Could not enable CPU profiling: cpu profiling already in use".
 * Others say 409, 423 or 429, or have words for it. */
static bool is_busy(enum profile_kind kind, const struct httpc_result *http)
{
    if (!profile_kinds[kind].timed)
        return false;
    if (http->status == 409 || http->status == 423 || http->status == 429)
        return true;
    if (http->status == 500 && (http->kept[SCRAPE_X_GO_PPROF][0] != '\0' || begins_with(http, "Could not enable")))
        return true;
    return http->status >= 400 && http->status != 404 && says_busy(http->reply);
}

/* Three forms were seen: the old 400; a wrapped ResponseWriter past its WriteTimeout closes without a reply after
 * the full time; http.TimeoutHandler and proxies say 503 or 504 before SECONDS are over. Where even the shortest
 * profile would have been too long, fewer SECONDS cannot help: an app that is not ready yet says 503 at once. */
static bool is_too_long(enum profile_kind kind, int64_t seconds_ms, const struct httpc_result *http)
{
    if (!profile_kinds[kind].timed || seconds_ms == 0)
        return false;
    if (http->status == 400 && strstr(http->reply, "exceeds server's WriteTimeout") != NULL)
        return true;
    if (http->end == HTTPC_EMPTY && http->elapsed_ms >= seconds_ms * 9 / 10)
        return true;
    int64_t shortest_ms = profile_kinds[kind].fractions ? PROFILE_TYPE_SECONDS_MIN_MS : 1000;
    return (http->status == 503 || http->status == 504) && http->elapsed_ms >= shortest_ms &&
           http->elapsed_ms < seconds_ms;
}

static enum scrape_result judge_status(const struct httpc_result *http, char words[static ERR_TEXT_MAX])
{
    struct quoted q;
    if (http->status >= 300 && http->status <= 399) {
        snprintf(words, ERR_TEXT_MAX, "answered %u, a redirect to %s; redirects are not followed", http->status,
                 quote_text(&q, http->kept[SCRAPE_LOCATION]));
        return SCRAPE_REDIRECT;
    }
    if (http->status == 404) {
        snprintf(words, ERR_TEXT_MAX, "answered 404 %s: the app does not serve this profile", said(&q, http));
        return SCRAPE_MISSING;
    }
    snprintf(words, ERR_TEXT_MAX, "expected 200, got %u %s", http->status, said(&q, http));
    return SCRAPE_STATUS;
}

static const struct {
    enum scrape_result result;
    const char *words;
} by_end[HTTPC_END_COUNT] = {
    [HTTPC_BAD_URL] = {SCRAPE_ERROR, "not a usable URL"},
    [HTTPC_RESOLVE] = {SCRAPE_REFUSED, "host name not found"},
    [HTTPC_REFUSED] = {SCRAPE_REFUSED, "connection refused: nothing listens there"},
    [HTTPC_CONNECT_TIMEOUT] = {SCRAPE_TIMEOUT, "no connection in time"},
    [HTTPC_TIMEOUT] = {SCRAPE_TIMEOUT, "no reply in time"},
    [HTTPC_TLS] = {SCRAPE_MALFORMED, "TLS handshake failed; is the scheme right?"},
    [HTTPC_EMPTY] = {SCRAPE_TRUNCATED, "connection closed without a reply"},
    [HTTPC_TRUNCATED] = {SCRAPE_TRUNCATED, "reply ended early"},
    [HTTPC_RESET] = {SCRAPE_TRUNCATED, "connection reset"},
    [HTTPC_MALFORMED] = {SCRAPE_MALFORMED, "not an HTTP reply"},
    [HTTPC_ENDLESS] = {SCRAPE_ENDLESS, "headers without end"},
    [HTTPC_TOO_BIG] = {SCRAPE_TOO_BIG, "reply larger than the limit"},
    [HTTPC_ABORTED] = {SCRAPE_ERROR, "given up"},
    [HTTPC_NO_MEMORY] = {SCRAPE_ERROR, "no memory"},
    [HTTPC_OTHER] = {SCRAPE_ERROR, "transfer failed"},
};

static enum scrape_result judge_end(const struct httpc_result *http, char words[static ERR_TEXT_MAX])
{
    struct quoted q;
    enum scrape_result result = by_end[http->end].result;
    if (http->end == HTTPC_TIMEOUT && http->status != 0)
        result = SCRAPE_SLOW;
    if (http->end == HTTPC_ABORTED && http->abort_code == -EFBIG)
        result = SCRAPE_TOO_BIG;
    const char *what = result == SCRAPE_SLOW ? "the reply did not end in time"
                       : result == SCRAPE_TOO_BIG ? "larger than the spool can hold"
                                                  : by_end[http->end].words;
    snprintf(words, ERR_TEXT_MAX, "%s after %lld ms, %llu bytes %s", what, (long long)http->elapsed_ms,
             (unsigned long long)http->received_bytes, http->text[0] != '\0' ? quote_text(&q, http->text) : "");
    return result;
}

static enum scrape_result judge_body(const struct pprof_summary *summary, char words[static ERR_TEXT_MAX])
{
    static const enum scrape_result by_verdict[] = {
        [PPROF_OK] = SCRAPE_OK,
        [PPROF_EMPTY] = SCRAPE_EMPTY,
        [PPROF_TEXT] = SCRAPE_TEXT,
        [PPROF_MALFORMED] = SCRAPE_MALFORMED,
        [PPROF_TRUNCATED] = SCRAPE_TRUNCATED,
        [PPROF_TOO_BIG] = SCRAPE_TOO_BIG,
        [PPROF_NO_MEMORY] = SCRAPE_ERROR,
    };
    snprintf(words, ERR_TEXT_MAX, "%s", summary->reason);
    return by_verdict[summary->verdict];
}

enum scrape_result scrape_judge(enum profile_kind kind, int64_t seconds_ms, const struct httpc_result *http,
                                const struct pprof_summary *summary, char words[static ERR_TEXT_MAX])
{
    struct quoted q;
    words[0] = '\0';
    if (is_busy(kind, http)) {
        snprintf(words, ERR_TEXT_MAX, "somebody else is profiling the app: %s", said(&q, http));
        return SCRAPE_BUSY;
    }
    if (is_too_long(kind, seconds_ms, http)) {
        snprintf(words, ERR_TEXT_MAX, "%lld ms are longer than the app's WriteTimeout or handler limit (%u %s)",
                 (long long)seconds_ms, http->status, said(&q, http));
        return SCRAPE_TOO_LONG;
    }
    /* A body that the check gave up on was aborted by us: its verdict says more than the abort. */
    bool body_is_bad = summary != NULL && summary->verdict != PPROF_OK && summary->verdict != PPROF_EMPTY;
    if (http->end == HTTPC_ABORTED && http->abort_code == -EINVAL && body_is_bad)
        return judge_body(summary, words);
    if (http->end != HTTPC_OK)
        return judge_end(http, words);
    if (http->status != 200)
        return judge_status(http, words);
    if (summary == NULL) {
        snprintf(words, ERR_TEXT_MAX, "an empty body");
        return SCRAPE_TRUNCATED;
    }
    return judge_body(summary, words);
}

/* ---- the fetch ---- */

struct scrape {
    struct spool *spool;
    struct httpc_transfer *transfer;
    struct scrape_body *body;
    bool in_body;
    enum profile_kind kind;
    int64_t seconds_ms;
    int64_t began_wall_ms;
    struct pprof_watch watch; /* for the labels that its samples will get */
    bool watches;
    scrape_done *done;
    void *ctx;
};

static struct scrape *scrape_free(struct scrape *scrape)
{
    if (scrape == NULL)
        return NULL;
    spool_abort(scrape->spool);
    scrape_body_free(scrape->body);
    free(scrape);
    return NULL;
}

static void cleanup_scrape(struct scrape **scrape)
{
    scrape_free(*scrape);
}

/* RFC 3986 §3.3: pchar and the "/" between segments. */
static void put_path(struct buf *out, const char *path)
{
    percent_append(out, span_of(path), "!$&'()*+,;=:@/");
}

/* Whole numbers stay so: Go reads a CPU profile's SECONDS with ParseInt. */
static void put_seconds(struct buf *out, int64_t ms)
{
    char fraction[8];
    buf_printf(out, "?seconds=%lld", (long long)(ms / 1000));
    if (ms % 1000 == 0)
        return;
    snprintf(fraction, sizeof(fraction), ".%03d", (int)(ms % 1000));
    size_t len = strlen(fraction);
    while (fraction[len - 1] == '0')
        len--;
    buf_append(out, fraction, len);
}

int scrape_url(struct buf *out, const char *base_url, const struct profile_type *type, int64_t seconds_ms)
{
    const char *path = profile_kinds[type->kind].path;
    buf_printf(out, "%s/", base_url);
    put_path(out, path != NULL ? path : profile_types_other_name(type->name));
    if (seconds_ms > 0)
        put_seconds(out, seconds_ms);
    return buf_error(out);
}

static int take_body(void *ctx, const char *bytes, size_t len)
{
    struct scrape *scrape = ctx;
    if (!scrape->in_body)
        scrape_body_begin(scrape->body, httpc_kept(scrape->transfer, SCRAPE_CONTENT_ENCODING),
                          httpc_kept(scrape->transfer, SCRAPE_CONTENT_LENGTH));
    scrape->in_body = true;
    return scrape_body_feed(scrape->body, bytes, len);
}

/* The profile's own time where it makes sense, else when we asked. A clock that is off by years would file the
 * profile where nobody looks, and so would one ahead of ours: apps that take their local time for UTC. */
static int64_t profile_time_ms(const struct scrape *scrape, const struct pprof_summary *summary)
{
    enum { BEHIND_MAX_MS = 24 * 3600 * 1000, AHEAD_MAX_MS = 15 * 60 * 1000 };
    int64_t time_ms = summary->time_nanos / 1000000;
    bool near = time_ms > scrape->began_wall_ms - BEHIND_MAX_MS && time_ms < loop_wall_ms() + AHEAD_MAX_MS;
    return near ? time_ms : scrape->began_wall_ms;
}

static void keep_profile(struct scrape *scrape, const struct pprof_summary *summary, struct scrape_report *report)
{
    struct err err;
    int64_t time_ms = profile_time_ms(scrape, summary);
    int rc = scrape_body_end(scrape->body, &err);
    if (rc == 0 && scrape->kind != PROFILE_TRACE)
        spool_set_note(scrape->spool, outgoing_note(summary, scrape->watches ? &scrape->watch : NULL, time_ms));
    if (rc == 0)
        rc = spool_commit(scrape->spool, time_ms, &report->item_id, &err);
    if (rc == 0)
        return;
    report->result = rc == -EFBIG ? SCRAPE_TOO_BIG : SCRAPE_ERROR;
    snprintf(report->words, sizeof(report->words), "%s", err.text);
}

static void on_reply(void *ctx, const struct httpc_result *http)
{
    struct scrape *scrape = ctx;
    scrape_done *done = scrape->done;
    void *done_ctx = scrape->ctx;
    struct pprof_summary summary;
    scrape_body_judge(scrape->body, &summary);
    const struct err *err = scrape_body_error(scrape->body);
    struct scrape_report report = {
        .status = http->status, .bytes = http->received_bytes, .elapsed_ms = http->elapsed_ms};
    report.result = scrape_judge(scrape->kind, scrape->seconds_ms, http, &summary, report.words);
    if (err != NULL && report.result == SCRAPE_ERROR)
        snprintf(report.words, sizeof(report.words), "%s", err->text);
    report.is_raw = report.result == SCRAPE_OK && scrape_body_is_raw(scrape->body);
    if (report.result == SCRAPE_OK)
        keep_profile(scrape, &summary, &report);
    scrape_free(scrape); /* before done: it may start the next scrape, which writes to the same spool */
    done(done_ctx, &report);
}

static int begin_writing(struct scrape *scrape, const struct scrape_request *request, struct err *err)
{
    struct spool_meta meta = {.time_ms = scrape->began_wall_ms, .steady_ms = loop_steady_ms()};
    snprintf(meta.type, sizeof(meta.type), "%s", request->type->name);
    snprintf(meta.target, sizeof(meta.target), "%s", request->target_name);
    return spool_begin(scrape->spool, &meta, err);
}

int scrape_start(struct httpc *httpc, struct spool *spool, const struct scrape_request *request, scrape_done *done,
                 void *ctx, struct scrape **ret, struct err *err)
{
    CLEANUP(buf_done) struct buf url;
    buf_init(&url, SCRAPE_URL_MAX);
    if (scrape_url(&url, request->base_url, request->type, request->seconds_ms) < 0)
        return err_set(err, ENOMEM, "no memory for the URL of a profile");
    struct scrape *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return err_set(err, ENOMEM, "no memory for a scrape");
    *made = (struct scrape){.spool = spool, .kind = request->type->kind, .seconds_ms = request->seconds_ms,
                            .began_wall_ms = loop_wall_ms(), .done = done, .ctx = ctx};
    int rc = begin_writing(made, request, err);
    if (rc < 0) {
        free(made); /* not scrape_free: another writer may be at work */
        return rc;
    }
    CLEANUP(cleanup_scrape) struct scrape *scrape = made;
    bool is_trace = scrape->kind == PROFILE_TRACE;
    if (scrape_body_new(spool, scrape->kind, request->body_max, &scrape->body) < 0)
        return err_set(err, ENOMEM, "no memory to check a profile");
    scrape->watches = request->sample_labels != NULL && outgoing_watch(request->sample_labels, &scrape->watch);
    if (scrape->watches)
        scrape_body_watch(scrape->body, &scrape->watch);
    const struct httpc_tls tls = {.ca_file = request->ca_file};
    const struct httpc_request http = {
        .url = buf_text(&url), .method = "GET", .keep = kept_headers, .keep_count = SCRAPE_KEPT_HEADERS,
        .sink = take_body, .body_ctx = scrape, .body_max = request->body_max * (is_trace ? 1 : SCRAPE_RAW_FACTOR),
        .accept_encoding = request->ask_gzip && !is_trace ? "gzip" : NULL,
        .connect_timeout_ms = request->connect_timeout_ms,
        .timeout_ms = request->seconds_ms + request->timeout_ms,
        .insecure = request->insecure, .tls = request->insecure ? NULL : &tls, .ca_hint = "target-ca",
        .close_after = true, .done = on_reply, .done_ctx = scrape};
    rc = httpc_start(httpc, &http, &scrape->transfer, err);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(scrape);
    return 0;
}

struct scrape *scrape_cancel(struct scrape *scrape)
{
    if (scrape == NULL)
        return NULL;
    httpc_cancel(scrape->transfer);
    return scrape_free(scrape);
}
