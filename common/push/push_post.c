#include "common/push/push_post.h"

#include "common/base/cleanup.h"
#include "common/http/credentials.h"
#include "common/profefe/profefe.h"
#include "common/http/retry.h"
#include "common/base/quote.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void push_post_init(struct push_post *post, struct httpc *httpc, const struct push_options *options, push_done *done,
                    void *ctx)
{
    *post = (struct push_post){.httpc = httpc, .options = options, .done = done, .ctx = ctx};
    /* An idle plain connection saves nothing worth a slot at a proxy; a TLS handshake costs 40 ms of CPU. */
    post->close_after = strncasecmp(options->collector, "https:", strlen("https:")) != 0;
}

void push_post_cancel(struct push_post *post)
{
    post->transfer = httpc_cancel(post->transfer);
}

/* ---- requests ---- */

enum { RETRY_AFTER, KEPT_HEADERS };
static const char *const kept_headers[KEPT_HEADERS] = {[RETRY_AFTER] = "Retry-After"};

static struct profefe_upload upload_of(const struct push_post *post)
{
    const struct push_body *body = post->body;
    return (struct profefe_upload){
        .collector = post->options->collector,
        .service = post->options->service,
        .type = profile_kinds[push_body_kind(body->item.meta.type)].profefe_type,
        .instance_id = post->options->instance_id,
        .created_at_ms = body->item.meta.time_ms,
        .labels = post->options->labels,
        .extra = body->own,
        .extra_count = body->own_count,
    };
}

static int fail_to_begin(struct push_end *end, enum push_result result, int rc, const char *words)
{
    push_end_set(end, result, words);
    return rc;
}

/* Secrets may be rotated under way: looked at before each request. */
static int add_credentials(struct push_post *post, struct httpc_request *request, struct err *err)
{
    struct credentials *credentials = post->options->credentials;
    if (credentials == NULL)
        return 0;
    int rc = credentials_refresh(credentials, err);
    if (rc < 0)
        return rc;
    request->authorization = credentials_authorization(credentials);
    request->tls = credentials_tls(credentials);
    return 0;
}

static int start(struct push_post *post, struct httpc_request *request,
                 void (*write_url)(struct buf *out, const struct profefe_upload *upload), struct push_end *end)
{
    CLEANUP(buf_done) struct buf url;
    struct err err;
    const struct profefe_upload upload = upload_of(post);
    buf_init(&url, PROFEFE_URL_MAX);
    write_url(&url, &upload);
    if (buf_error(&url) != 0)
        return fail_to_begin(end, PUSH_NETWORK, buf_error(&url), "no room for the URL of a push");
    int rc = add_credentials(post, request, &err);
    if (rc < 0)
        return fail_to_begin(end, PUSH_WRONG, rc, err.text);
    request->url = buf_text(&url);
    request->ca_hint = post->options->ca_hint;
    request->keep = kept_headers;
    request->keep_count = KEPT_HEADERS;
    request->connect_timeout_ms = post->options->connect_timeout_ms;
    request->close_after = post->close_after;
    request->done_ctx = post;
    rc = httpc_start(post->httpc, request, &post->transfer, &err);
    return rc < 0 ? fail_to_begin(end, PUSH_NETWORK, rc, err.text) : 0;
}

static void finish(struct push_post *post, const struct push_end *end)
{
    post->transfer = NULL;
    post->done(post->ctx, end);
}

/* ---- sending ---- */

static const char *hint_of(enum push_result result, unsigned status)
{
    if (result != PUSH_WRONG)
        return "";
    return status == 401 || status == 403 ? ": are the collector's credentials right?"
                                          : ": not what profefe says; is the collector's URL right?";
}

static void judge_reply(const struct httpc_result *http, struct push_end *end)
{
    static const enum push_result by_answer[] = {
        [PROFEFE_STORED] = PUSH_STORED, [PROFEFE_REFUSED] = PUSH_REFUSED, [PROFEFE_TOO_LARGE] = PUSH_TOO_LARGE,
        [PROFEFE_LATER] = PUSH_LATER, [PROFEFE_WRONG] = PUSH_WRONG,
    };
    struct profefe_reply reply;
    struct quoted q;
    profefe_reply_parse(http->reply, http->reply_len, &reply);
    end->result = by_answer[profefe_judge(http->status, &reply)];
    if (end->result == PUSH_LATER)
        end->retry_after_ms = retry_parse_after(http->kept[RETRY_AFTER], loop_wall_ms());
    if (end->result != PUSH_STORED)
        snprintf(end->words, sizeof(end->words), "answered %u %s%s", http->status,
                 reply.is_profefe ? quote_text(&q, reply.error) : quote_bytes(&q, http->reply, http->reply_len),
                 hint_of(end->result, http->status));
}

static bool is_unreachable(enum httpc_end end)
{
    return end == HTTPC_RESOLVE || end == HTTPC_REFUSED || end == HTTPC_CONNECT_TIMEOUT || end == HTTPC_TLS ||
           end == HTTPC_NO_MEMORY || end == HTTPC_OTHER;
}

static void say_network(const struct httpc_result *http, struct push_end *end)
{
    snprintf(end->words, sizeof(end->words), "%s: %.400s", httpc_end_names[http->end], http->text);
    end->refused_connection = http->end == HTTPC_REFUSED;
    end->broke_inside = end->result == PUSH_NETWORK && http->sent_bytes > 0 && !is_unreachable(http->end);
}

static void on_sent(void *ctx, const struct httpc_result *http)
{
    struct push_end end = {.retry_after_ms = -1};
    /* A status line is an answer, also where the reply broke off after it: only a whole 200 is "stored", or one that we
     * broke off, since its beginning says which it is (a page of a web server has more than we read). */
    bool is_answer = http->end == HTTPC_OK || http->end == HTTPC_TOO_BIG ||
                     (http->status >= 400 && http->end != HTTPC_ABORTED);
    if (http->end == HTTPC_ABORTED && http->abort_code == -ESTALE) {
        end.result = PUSH_GONE;
    } else if (is_answer) {
        judge_reply(http, &end);
    } else {
        end.result = http->body_sent ? PUSH_UNSURE : PUSH_NETWORK;
        say_network(http, &end);
    }
    finish(ctx, &end);
}

int push_post_send(struct push_post *post, struct push_body *body, struct push_end *end)
{
    post->body = body;
    int64_t more_ms = (int64_t)(body->item.size_bytes / PUSH_BYTES_PER_SECOND) * 1000;
    struct httpc_request request = {
        .method = "POST", .content_type = "application/octet-stream", .source = push_body_read,
        .source_size = push_body_size(body), .body_ctx = body, .body_max = PUSH_POST_REPLY_MAX,
        .timeout_ms = post->options->timeout_ms + more_ms, .done = on_sent};
    return start(post, &request, profefe_upload_url, end);
}

/* ---- asking ---- */

/* Read to the end also when it was found, so that a kept connection stays usable. */
static int on_list(void *ctx, const char *bytes, size_t len)
{
    struct push_post *post = ctx;
    profefe_list_feed(&post->list, bytes, len);
    return 0;
}

static void on_asked(void *ctx, const struct httpc_result *http)
{
    struct push_post *post = ctx;
    struct push_end end = {.result = PUSH_UNSURE, .retry_after_ms = -1};
    if (http->status == 200 && post->list.verdict == PROFEFE_LIST_FOUND) {
        end.result = PUSH_FOUND;
    } else if (is_unreachable(http->end)) {
        end.result = PUSH_NETWORK;
        say_network(http, &end);
    }
    finish(post, &end);
}

int push_post_ask(struct push_post *post, struct push_body *body, struct push_end *end)
{
    post->body = body;
    const struct profefe_upload upload = upload_of(post);
    post->wanted = (struct profefe_wanted){
        .service = upload.service, .type = upload.type, .created_at_ms = upload.created_at_ms, .labels = upload.labels,
        .extra = upload.extra, .extra_count = upload.extra_count};
    profefe_list_init(&post->list, &post->wanted);
    struct httpc_request request = {.method = "GET", .sink = on_list, .body_ctx = post, .body_max = PUSH_POST_LIST_MAX,
                                    .timeout_ms = post->options->timeout_ms, .done = on_asked};
    return start(post, &request, profefe_list_url, end);
}
