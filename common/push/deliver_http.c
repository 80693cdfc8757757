#include "common/push/deliver_http.h"

#include "common/base/quote.h"
#include "common/http/credentials.h"
#include "common/http/retry.h"
#include "common/profefe/profefe.h"
#include "common/profefe/profefe_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { COUNT_TURN_BYTES = 64 * 1024 }; /* rewritten bytes counted in one turn: 5 to 20 ms of work */

struct deliver_http {
    struct delivery base; /* first: delivery_free frees it */
    struct httpc *httpc;
    struct deliver_http_options options;
    bool close_after;
    bool wants_length;       /* bodies without one do not get through */
    struct loop_timer count; /* armed between the pieces of counting one */
    struct httpc_transfer *transfer; /* NULL = none under way */
    struct outgoing *outgoing;
    struct profefe_wanted wanted;
    struct profefe_list list;
};

/* ---- requests ---- */

enum { RETRY_AFTER, KEPT_HEADERS };
static const char *const kept_headers[KEPT_HEADERS] = {[RETRY_AFTER] = "Retry-After"};

static struct profefe_upload upload_of(const struct deliver_http *way)
{
    const struct outgoing *outgoing = way->outgoing;
    return (struct profefe_upload){
        .collector = way->options.collector,
        .service = way->options.service,
        .type = profile_kinds[outgoing_kind(outgoing->item.meta.type)].profefe_type,
        .instance_id = way->options.instance_id,
        .created_at_ms = outgoing->item.meta.time_ms,
        .labels = outgoing->options->labels,
        .extra = outgoing->own,
        .extra_count = outgoing->own_count,
    };
}

static int fail_to_begin(struct delivery_end *end, enum delivery_result result, int rc, const char *words)
{
    delivery_end_set(end, result, words);
    return rc;
}

/* Secrets may be rotated under way: looked at before each request. */
static int add_credentials(struct deliver_http *way, struct httpc_request *request, struct err *err)
{
    struct credentials *credentials = way->options.credentials;
    if (credentials == NULL)
        return 0;
    int rc = credentials_refresh(credentials, err);
    if (rc < 0)
        return rc;
    request->authorization = credentials_authorization(credentials);
    request->tls = credentials_tls(credentials);
    return 0;
}

static int start(struct deliver_http *way, struct httpc_request *request,
                 void (*write_url)(struct buf *out, const struct profefe_upload *upload), struct delivery_end *end)
{
    CLEANUP(buf_done) struct buf url;
    struct err err;
    const struct profefe_upload upload = upload_of(way);
    buf_init(&url, PROFEFE_URL_MAX);
    write_url(&url, &upload);
    if (buf_error(&url) != 0)
        return fail_to_begin(end, DELIVERY_NETWORK, buf_error(&url), "no room for the URL of a push");
    int rc = add_credentials(way, request, &err);
    if (rc < 0)
        return fail_to_begin(end, DELIVERY_WRONG, rc, err.text);
    request->url = buf_text(&url);
    request->ca_hint = way->options.ca_hint;
    request->keep = kept_headers;
    request->keep_count = KEPT_HEADERS;
    request->connect_timeout_ms = way->options.connect_timeout_ms;
    request->close_after = way->close_after;
    request->done_ctx = way;
    rc = httpc_start(way->httpc, request, &way->transfer, &err);
    return rc < 0 ? fail_to_begin(end, DELIVERY_NETWORK, rc, err.text) : 0;
}

static void finish(struct deliver_http *way, const struct delivery_end *end)
{
    way->transfer = NULL;
    way->base.done(way->base.ctx, end);
}

/* ---- sending ---- */

static const char *hint_of(enum delivery_result result, unsigned status)
{
    if (result != DELIVERY_WRONG)
        return "";
    return status == 401 || status == 403 ? ": are the collector's credentials right?"
                                          : ": not what profefe says; is the collector's URL right?";
}

static void judge_reply(const struct httpc_result *http, struct delivery_end *end)
{
    static const enum delivery_result by_answer[] = {
        [PROFEFE_STORED] = DELIVERY_STORED,       [PROFEFE_REFUSED] = DELIVERY_REFUSED,
        [PROFEFE_TOO_LARGE] = DELIVERY_TOO_LARGE, [PROFEFE_LATER] = DELIVERY_LATER,
        [PROFEFE_WRONG] = DELIVERY_WRONG,
    };
    struct profefe_reply reply;
    struct quoted q;
    profefe_reply_parse(http->reply, http->reply_len, &reply);
    end->result = by_answer[profefe_judge(http->status, &reply)];
    if (end->result == DELIVERY_LATER)
        end->retry_after_ms = retry_parse_after(http->kept[RETRY_AFTER], loop_wall_ms());
    if (end->result != DELIVERY_STORED)
        snprintf(end->words, sizeof(end->words), "answered %u %s", http->status,
                 reply.is_profefe ? quote_text(&q, reply.error) : quote_bytes(&q, http->reply, http->reply_len));
}

static void add_words(struct delivery_end *end, const char *words)
{
    size_t used = strlen(end->words);
    snprintf(end->words + used, sizeof(end->words) - used, "%s", words);
}

/* google/pprof's words for no byte at all, in profefe's answer to a profile that has some. */
static bool lost_body(const struct deliver_http *way, const struct httpc_result *http, const struct delivery_end *end)
{
    static const char words[] = "empty input file";
    return end->result == DELIVERY_REFUSED && way->outgoing->item.size_bytes > 0 &&
           memmem(http->reply, http->reply_len, words, sizeof(words) - 1) != NULL;
}

/* What a proxy says that cannot pass on a body without a length: 411; or, of a coding that it does not know, 501
 * (RFC 9112 §6.1) or a 400 in words that are not profefe's. */
static bool asks_for_length(const struct httpc_result *http, const struct delivery_end *end)
{
    return http->status == 411 || http->status == 501 || (http->status == 400 && end->result == DELIVERY_WRONG);
}

/* A proxy that cannot pass on a body without a length: it is the way's fault, not the profile's. */
static void judge_way(struct deliver_http *way, const struct httpc_result *http, struct delivery_end *end)
{
    bool had_length = outgoing_size(way->outgoing) >= 0, is_empty = lost_body(way, http, end);
    if (!had_length && (is_empty || asks_for_length(http, end))) {
        end->result = DELIVERY_NO_LENGTH;
        way->wants_length = true;
    } else if (is_empty) {
        end->result = DELIVERY_WRONG;
        add_words(end, ": the body was lost on its way to the collector");
    } else {
        add_words(end, hint_of(end->result, http->status));
    }
}

static bool is_unreachable(enum httpc_end end)
{
    return end == HTTPC_RESOLVE || end == HTTPC_REFUSED || end == HTTPC_CONNECT_TIMEOUT || end == HTTPC_TLS ||
           end == HTTPC_NO_MEMORY || end == HTTPC_OTHER;
}

static void say_network(const struct httpc_result *http, struct delivery_end *end)
{
    snprintf(end->words, sizeof(end->words), "%s: %.400s", httpc_end_names[http->end], http->text);
    end->refused_connection = http->end == HTTPC_REFUSED;
    end->broke_inside = end->result == DELIVERY_NETWORK && http->sent_bytes > 0 && !is_unreachable(http->end);
}

static void on_sent(void *ctx, const struct httpc_result *http)
{
    struct delivery_end end = {.retry_after_ms = -1};
    /* A status line is an answer, also where the reply broke off after it: only a whole 200 is "stored", or one that we
     * broke off, since its beginning says which it is (a page of a web server has more than we read). */
    bool is_answer = http->end == HTTPC_OK || http->end == HTTPC_TOO_BIG ||
                     (http->status >= 400 && http->end != HTTPC_ABORTED);
    if (http->end == HTTPC_ABORTED && http->abort_code == -ESTALE) {
        end.result = DELIVERY_GONE;
    } else if (is_answer) {
        judge_reply(http, &end);
        judge_way(ctx, http, &end);
    } else {
        end.result = http->body_sent ? DELIVERY_UNSURE : DELIVERY_NETWORK;
        say_network(http, &end);
    }
    finish(ctx, &end);
}

static int post(struct deliver_http *way, struct delivery_end *end)
{
    struct outgoing *outgoing = way->outgoing;
    int64_t more_ms = (int64_t)(outgoing->item.size_bytes / DELIVER_HTTP_BYTES_PER_SECOND) * 1000;
    struct httpc_request request = {
        .method = "POST", .content_type = "application/octet-stream", .source = outgoing_read,
        .source_size = outgoing_size(outgoing), .body_ctx = outgoing, .body_max = DELIVER_HTTP_REPLY_MAX,
        .timeout_ms = way->options.timeout_ms + more_ms, .done = on_sent};
    return start(way, &request, profefe_upload_url, end);
}

/* Counts before it sends: no copy of what is rewritten is kept. */
static void count_on(void *ctx)
{
    struct deliver_http *way = ctx;
    struct delivery_end end;
    int rc = outgoing_count(way->outgoing, COUNT_TURN_BYTES);
    if (rc > 0) {
        loop_timer_arm(&way->count, 0);
        return;
    }
    if (rc < 0)
        delivery_end_set_unread(&end, rc);
    if (rc < 0 || post(way, &end) < 0)
        finish(way, &end);
}

static int http_send(struct delivery *delivery, struct outgoing *outgoing, struct delivery_end *end)
{
    struct deliver_http *way = (struct deliver_http *)delivery;
    way->outgoing = outgoing;
    if (!way->wants_length || outgoing_size(outgoing) >= 0)
        return post(way, end);
    loop_timer_arm(&way->count, 0);
    return 0;
}

/* ---- asking ---- */

/* Read to the end also when it was found, so that a kept connection stays usable. */
static int on_list(void *ctx, const char *bytes, size_t len)
{
    struct deliver_http *way = ctx;
    profefe_list_feed(&way->list, bytes, len);
    return 0;
}

static void on_asked(void *ctx, const struct httpc_result *http)
{
    struct deliver_http *way = ctx;
    struct delivery_end end = {.result = DELIVERY_UNSURE, .retry_after_ms = -1};
    if (http->status == 200 && way->list.verdict == PROFEFE_LIST_FOUND) {
        end.result = DELIVERY_FOUND;
    } else if (is_unreachable(http->end)) {
        end.result = DELIVERY_NETWORK;
        say_network(http, &end);
    }
    finish(way, &end);
}

static int http_ask(struct delivery *delivery, struct outgoing *outgoing, struct delivery_end *end)
{
    struct deliver_http *way = (struct deliver_http *)delivery;
    way->outgoing = outgoing;
    const struct profefe_upload upload = upload_of(way);
    way->wanted = (struct profefe_wanted){
        .service = upload.service, .type = upload.type, .created_at_ms = upload.created_at_ms, .labels = upload.labels,
        .extra = upload.extra, .extra_count = upload.extra_count};
    profefe_list_init(&way->list, &way->wanted);
    struct httpc_request request = {.method = "GET",
                                    .sink = on_list,
                                    .body_ctx = way,
                                    .body_max = DELIVER_HTTP_LIST_MAX,
                                    .timeout_ms = way->options.timeout_ms,
                                    .done = on_asked};
    return start(way, &request, profefe_list_url, end);
}

/* ---- the way ---- */

static void http_cancel(struct delivery *delivery)
{
    struct deliver_http *way = (struct deliver_http *)delivery;
    loop_timer_disarm(&way->count);
    way->transfer = httpc_cancel(way->transfer);
}

static void http_release(struct delivery *delivery)
{
    (void)delivery;
}

static const struct delivery_ops ops = {
    .send = http_send, .ask = http_ask, .cancel = http_cancel, .release = http_release};

int deliver_http_new(struct loop *loop, struct httpc *httpc, const struct deliver_http_options *options,
                     struct delivery **ret, struct err *err)
{
    struct deliver_http *way = calloc(1, sizeof(*way));
    if (way == NULL)
        return err_set(err, ENOMEM, "no memory for the way to the collector");
    way->base = (struct delivery){.ops = &ops, .destination = options->collector};
    way->httpc = httpc;
    way->options = *options;
    /* An idle plain connection saves nothing worth a slot at a proxy; a TLS handshake costs 40 ms of CPU. */
    way->close_after = strncasecmp(options->collector, "https:", strlen("https:")) != 0;
    loop_timer_init(&way->count, loop, count_on, way);
    *ret = &way->base;
    return 0;
}
