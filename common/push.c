#include "push.h"

#include "cleanup.h"
#include "log.h"
#include "pprof.h"
#include "profefe.h"
#include "retry.h"
#include "types.h"
#include "version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

const char *const push_result_names[PUSH_RESULT_COUNT] = {
    [PUSH_STORED] = "stored", [PUSH_REFUSED] = "refused", [PUSH_TOO_LARGE] = "too-large", [PUSH_LATER] = "later",
    [PUSH_WRONG] = "wrong-collector", [PUSH_NETWORK] = "network", [PUSH_UNSURE] = "unsure", [PUSH_GONE] = "evicted",
};
const char *const push_drop_names[PUSH_DROP_COUNT] = {
    [PUSH_DROP_REFUSED] = "refused", [PUSH_DROP_TOO_LARGE] = "too-large", [PUSH_DROP_BLOCKED] = "blocked",
};

struct push {
    struct loop *loop;
    struct httpc *httpc;
    struct spool *spool;
    struct push_options options;
    struct retry retry;
    struct loop_timer timer; /* armed while a backoff waits, or for 0 ms to start from the loop */
    struct httpc_transfer *transfer;
    struct spool_item item;  /* under way */
    uint64_t offset;         /* of item, handed to the client */
    struct relabel *relabel; /* writes labels into item's samples; NULL = it goes as it came */
    struct loop_timer scan;  /* armed while relabel reads item for the first time, piece by piece */
    struct labels sample_labels; /* of item: options.labels and its target */
    char source_url[TARGET_URL_MAX + SPOOL_TYPE_MAX + 2]; /* of item, for its comment */
    bool close_after;
    struct trouble {
        uint64_t id;       /* the profile that the collector fails on; 0 = none */
        unsigned failures;
        bool skip;         /* let the next one try */
        bool passed;       /* the next one was stored: it is this profile's fault */
    } trouble;
    struct push_stats stats;
    struct log_throttle failing, refusing;
};

static void send_next(void *ctx);

/* ---- what is sent ---- */

static int64_t read_body(void *ctx, char *bytes, size_t len)
{
    struct push *push = ctx;
    int64_t n = spool_read(push->spool, push->item.id, push->offset, bytes, len);
    if (n > 0)
        push->offset += (uint64_t)n;
    return n;
}

static int64_t read_labelled(void *ctx, char *bytes, size_t len)
{
    struct push *push = ctx;
    return relabel_read(push->relabel, bytes, len);
}

static const struct profile_kind_info *kind_of(const char *type)
{
    for (unsigned k = 0; k < PROFILE_OTHER; k++) {
        if (strcmp(profile_kinds[k].name, type) == 0)
            return &profile_kinds[k];
    }
    return &profile_kinds[PROFILE_OTHER];
}

static void write_url(const struct push *push, struct buf *url)
{
    struct label target = {.key = "target"};
    snprintf(target.value, sizeof(target.value), "%s", push->item.meta.target);
    const struct profefe_upload upload = {
        .collector = push->options.collector,
        .service = push->options.service,
        .type = kind_of(push->item.meta.type)->profefe_type,
        .instance_id = push->options.instance_id,
        .created_at_ms = push->item.meta.time_ms,
        .labels = push->options.labels,
        .extra = &target,
        .extra_count = target.value[0] != '\0' ? 1 : 0,
    };
    profefe_upload_url(url, &upload);
}

static void on_reply(void *ctx, const struct httpc_result *http);

static int start_transfer(struct push *push, struct err *err)
{
    CLEANUP(buf_done) struct buf url;
    buf_init(&url, PROFEFE_URL_MAX);
    write_url(push, &url);
    if (buf_error(&url) != 0)
        return err_set(err, -buf_error(&url), "no room for the URL of a push");
    push->offset = 0;
    bool labelled = push->relabel != NULL;
    const struct httpc_request request = {
        .url = buf_text(&url), .method = "POST", .content_type = "application/octet-stream",
        .user_agent = "profefe-agent/" PROFEFE_VERSION, .source = labelled ? read_labelled : read_body,
        .source_size = labelled ? -1 : (int64_t)push->item.size_bytes, .body_ctx = push,
        .connect_timeout_ms = push->options.connect_timeout_ms,
        .timeout_ms = push->options.timeout_ms + (int64_t)(push->item.size_bytes / PUSH_BYTES_PER_SECOND) * 1000,
        .close_after = push->close_after, .done = on_reply, .done_ctx = push};
    return httpc_start(push->httpc, &request, &push->transfer, err);
}

/* ---- what came back ---- */

static bool is_drop(enum push_result result)
{
    return result == PUSH_REFUSED || result == PUSH_TOO_LARGE;
}

/* Failures that say something about this profile and not only about the way to the server. */
static bool blames_profile(enum push_result result)
{
    return result == PUSH_LATER || result == PUSH_UNSURE;
}

static enum push_result judge(const struct httpc_result *http, char words[static ERR_TEXT_MAX])
{
    static const enum push_result by_answer[] = {
        [PROFEFE_STORED] = PUSH_STORED, [PROFEFE_REFUSED] = PUSH_REFUSED, [PROFEFE_TOO_LARGE] = PUSH_TOO_LARGE,
        [PROFEFE_LATER] = PUSH_LATER, [PROFEFE_WRONG] = PUSH_WRONG,
    };
    struct profefe_reply reply;
    struct text_quoted q;
    words[0] = '\0';
    if (http->end == HTTPC_ABORTED && http->abort_code == -ESTALE)
        return PUSH_GONE;
    /* A status line is an answer, also where the reply broke off after it: only a whole 200 is "stored". */
    if (http->end != HTTPC_OK && (http->status < 400 || http->end == HTTPC_ABORTED)) {
        snprintf(words, ERR_TEXT_MAX, "%s: %.400s", httpc_end_names[http->end], http->text);
        return http->body_sent ? PUSH_UNSURE : PUSH_NETWORK;
    }
    profefe_reply_parse(http->reply, http->reply_len, &reply);
    enum push_result result = by_answer[profefe_judge(http->status, &reply)];
    if (result != PUSH_STORED)
        snprintf(words, ERR_TEXT_MAX, "answered %u %s%s", http->status,
                 reply.is_profefe ? text_quote(&q, reply.error) : text_quote_n(&q, http->reply, http->reply_len),
                 result == PUSH_WRONG ? ": not what profefe says; is the collector's URL right?" : "");
    return result;
}

static void drop(struct push *push, uint64_t id, enum push_drop reason)
{
    if (spool_remove(push->spool, id) == 0) /* else it was evicted meanwhile, and counted there */
        push->stats.dropped[reason]++;
    if (push->options.settled != NULL)
        push->options.settled(push->options.settled_ctx, id, false);
}

/* ---- after an answer ---- */

/* What /healthz and /status tell: only a stored profile ends it, since a collector that refuses each one loses all. */
static void note_failure(struct push *push, const char *words)
{
    push->stats.failures++;
    if (push->stats.failing_since_ms == 0)
        push->stats.failing_since_ms = loop_now_ms(push->loop);
    snprintf(push->stats.last_error, sizeof(push->stats.last_error), "%s", words);
}

static void note_success(struct push *push)
{
    if (push->stats.failing_since_ms != 0)
        log_info("collector stores again", LOG_STR("collector", push->options.collector),
                 LOG_I64("failures", push->stats.failures), LOG_I64("waiting", spool_get_stats(push->spool)->items));
    log_throttle_reset(&push->failing);
    push->stats.failures = 0;
    push->stats.failing_since_ms = 0;
    push->stats.last_error[0] = '\0';
    push->stats.last_stored_wall_ms = loop_wall_ms();
    retry_reset(&push->retry);
}

static void on_stored(struct push *push)
{
    note_success(push);
    log_debug("profile stored", LOG_STR("type", push->item.meta.type), LOG_STR("target", push->item.meta.target),
              LOG_I64("bytes", push->item.size_bytes));
    push->stats.stored_bytes += push->item.size_bytes;
    spool_remove(push->spool, push->item.id);
    if (push->options.settled != NULL)
        push->options.settled(push->options.settled_ctx, push->item.id, true);
    if (push->trouble.skip && push->item.id != push->trouble.id)
        push->trouble = (struct trouble){.id = push->trouble.id, .failures = push->trouble.failures, .passed = true};
    else
        push->trouble = (struct trouble){0};
}

static void on_dropped(struct push *push, enum push_result result, const char *words)
{
    note_failure(push, words);
    retry_reset(&push->retry); /* the collector is there: the next one need not wait */
    log_throttled(&push->refusing, loop_now_ms(push->loop), LOG_LEVEL_ERROR, "profile dropped: refused by the collector",
                  LOG_FIELDS(LOG_STR("type", push->item.meta.type), LOG_STR("target", push->item.meta.target),
                             LOG_I64("bytes", push->item.size_bytes), LOG_STR("reason", words)));
    drop(push, push->item.id, result == PUSH_TOO_LARGE ? PUSH_DROP_TOO_LARGE : PUSH_DROP_REFUSED);
}

/* After PUSH_BLOCKED_TRIES failures of one profile the next one may try. When that is stored, the first gets a last
 * try (the server may have been down for both) and is dropped when it fails once more. */
static void watch_trouble(struct push *push, enum push_result result, const char *words)
{
    struct trouble *trouble = &push->trouble;
    if (!blames_profile(result)) {
        trouble->skip = false;
    } else if (push->item.id == trouble->id) {
        trouble->failures++;
        if (trouble->passed) {
            log_error("profile dropped: the collector fails on it and takes the next one",
                      LOG_STR("type", push->item.meta.type), LOG_STR("target", push->item.meta.target),
                      LOG_I64("tries", trouble->failures), LOG_STR("reason", words));
            drop(push, trouble->id, PUSH_DROP_BLOCKED);
            *trouble = (struct trouble){0};
        } else {
            trouble->skip = trouble->failures >= PUSH_BLOCKED_TRIES;
        }
    } else if (trouble->skip) {
        trouble->skip = false;
    } else {
        *trouble = (struct trouble){.id = push->item.id, .failures = 1};
    }
}

static int64_t next_wait_ms(struct push *push, enum push_result result, const struct httpc_result *http)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint64_t)loop_now_ms(push->loop) * 2654435761U; /* early boot: jitter of a kind */
    int64_t after_ms = result == PUSH_LATER ? retry_parse_after(http->retry_after, loop_wall_ms()) : -1;
    return retry_next_ms(&push->retry, after_ms, random);
}

static void on_failed(struct push *push, enum push_result result, const struct httpc_result *http, const char *words)
{
    int64_t now_ms = loop_now_ms(push->loop);
    note_failure(push, words);
    watch_trouble(push, result, words);
    int64_t wait_ms = next_wait_ms(push, result, http);
    log_throttled(&push->failing, now_ms, LOG_LEVEL_WARN, "push failed, profiles are kept and tried again",
                  LOG_FIELDS(LOG_STR("collector", push->options.collector), LOG_STR("type", push->item.meta.type),
                             LOG_STR("result", push_result_names[result]), LOG_STR("reason", words),
                             LOG_I64("waiting", spool_get_stats(push->spool)->items), LOG_I64("retry_ms", wait_ms)));
    loop_timer_arm(&push->timer, wait_ms);
}

static void on_gone(struct push *push)
{
    snprintf(push->stats.last_error, sizeof(push->stats.last_error), "evicted from the spool while it was sent");
    if (push->options.settled != NULL)
        push->options.settled(push->options.settled_ctx, push->item.id, false);
}

static void settle(struct push *push, enum push_result result, const struct httpc_result *http, const char *words)
{
    push->stats.results[result]++;
    if (result == PUSH_STORED)
        on_stored(push);
    else if (is_drop(result))
        on_dropped(push, result, words);
    else if (result != PUSH_GONE)
        on_failed(push, result, http, words);
    else
        on_gone(push);
    push_kick(push);
}

static void on_reply(void *ctx, const struct httpc_result *http)
{
    struct push *push = ctx;
    char words[ERR_TEXT_MAX];
    push->transfer = NULL;
    push->relabel = relabel_free(push->relabel);
    enum push_result result = judge(http, words);
    settle(push, result, http, words);
}

static bool is_busy(const struct push *push)
{
    return push->transfer != NULL || push->scan.armed;
}

static void send_item(struct push *push)
{
    struct err err;
    if (start_transfer(push, &err) == 0)
        return;
    const struct httpc_result none = {.end = HTTPC_NO_MEMORY};
    push->relabel = relabel_free(push->relabel);
    settle(push, PUSH_NETWORK, &none, err.text);
}

/* ---- labels in samples ---- */

static int64_t read_stored(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct push *push = ctx;
    return spool_read(push->spool, push->item.id, offset, bytes, len);
}

/* Where it was fetched, less the seconds; "" for a target that is no longer scraped (a profile left on disk). */
static void write_source_url(struct push *push)
{
    const char *type = push->item.meta.type;
    const char *path = kind_of(type)->path;
    push->source_url[0] = '\0';
    for (unsigned i = 0; i < push->options.targets->count; i++) {
        const struct target *target = &push->options.targets->items[i];
        if (strcmp(target->name, push->item.meta.target) == 0)
            snprintf(push->source_url, sizeof(push->source_url), "%s/%s", target->url, path != NULL ? path : type);
    }
}

static void choose_sample_labels(struct push *push)
{
    static const char key[] = "target";
    const char *target = push->item.meta.target;
    push->sample_labels = *push->options.labels;
    /* Cannot fail but for a full list: the name was checked, and nobody else may set this key. */
    labels_add(&push->sample_labels, (struct span){key, sizeof(key) - 1}, (struct span){target, strlen(target)}, NULL);
}

static void send_as_it_came(struct push *push, enum relabel_result reason)
{
    push->stats.unlabelled[reason]++;
    push->relabel = relabel_free(push->relabel);
    send_item(push);
}

/* Reads a piece of the profile, so that a large one does not hold up the loop. */
static void scan_on(void *ctx)
{
    struct push *push = ctx;
    int rc = relabel_scan(push->relabel, PUSH_SCAN_BYTES);
    if (rc > 0) {
        loop_timer_arm(&push->scan, 0);
        return;
    }
    if (rc < 0) {
        struct httpc_result stopped = {.end = HTTPC_ABORTED, .abort_code = rc};
        snprintf(stopped.text, sizeof(stopped.text), "cannot read the spool: %s", strerror(-rc));
        on_reply(push, &stopped);
        return;
    }
    enum relabel_result result = relabel_get_result(push->relabel);
    if (result == RELABEL_DONE)
        send_item(push);
    else
        send_as_it_came(push, result);
}

static void label_and_send(struct push *push)
{
    choose_sample_labels(push);
    write_source_url(push);
    const struct relabel_request request = {.source = read_stored,
                                            .source_ctx = push,
                                            .labels = &push->sample_labels,
                                            .type = push->item.meta.type,
                                            .url = push->source_url[0] != '\0' ? push->source_url : NULL,
                                            .raw_max = PPROF_RAW_MAX};
    if (relabel_new(&request, &push->relabel) < 0)
        send_as_it_came(push, RELABEL_NO_MEMORY);
    else
        loop_timer_arm(&push->scan, 0);
}

/* ---- the next one ---- */

static void send_next(void *ctx)
{
    struct push *push = ctx;
    if (is_busy(push))
        return;
    if (push->options.age_max_ms > 0)
        spool_expire(push->spool, loop_wall_ms() - push->options.age_max_ms);
    uint64_t after = push->trouble.skip ? push->trouble.id : 0;
    if (spool_next(push->spool, after, &push->item) < 0) {
        push->trouble.skip = false; /* nothing behind the one in trouble: its turn again */
        if (spool_next(push->spool, 0, &push->item) < 0)
            return;
    }
    if (push->options.sample_labels)
        label_and_send(push);
    else
        send_item(push);
}

/* ---- from outside ---- */

int push_new(struct loop *loop, struct httpc *httpc, struct spool *spool, const struct push_options *options,
             struct push **ret, struct err *err)
{
    struct push *push = calloc(1, sizeof(*push));
    if (push == NULL)
        return err_set(err, ENOMEM, "no memory for the pusher");
    push->loop = loop;
    push->httpc = httpc;
    push->spool = spool;
    push->options = *options;
    push->retry = (struct retry){.min_ms = options->retry_min_ms, .max_ms = options->retry_max_ms};
    /* An idle plain connection saves nothing worth a slot at a proxy; a TLS handshake costs 40 ms of CPU. */
    push->close_after = strncasecmp(options->collector, "https:", strlen("https:")) != 0;
    loop_timer_init(&push->timer, loop, send_next, push);
    loop_timer_init(&push->scan, loop, scan_on, push);
    *ret = push;
    return 0;
}

struct push *push_free(struct push *push)
{
    if (push == NULL)
        return NULL;
    loop_timer_disarm(&push->timer);
    loop_timer_disarm(&push->scan);
    httpc_cancel(push->transfer);
    relabel_free(push->relabel);
    free(push);
    return NULL;
}

void push_kick(struct push *push)
{
    if (!is_busy(push) && !push->timer.armed)
        loop_timer_arm(&push->timer, 0);
}

void push_now(struct push *push)
{
    retry_reset(&push->retry);
    if (!is_busy(push))
        loop_timer_arm(&push->timer, 0);
}

bool push_is_idle(const struct push *push)
{
    struct spool_item item;
    return !is_busy(push) && spool_next(push->spool, 0, &item) < 0;
}

const struct push_stats *push_get_stats(const struct push *push)
{
    return &push->stats;
}
