#include "common/push/push.h"

#include "common/base/hash.h"
#include "common/http/retry.h"
#include "common/os/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

const char *const push_drop_names[PUSH_DROP_COUNT] = {
    [PUSH_DROP_REFUSED] = "refused", [PUSH_DROP_TOO_LARGE] = "too-large", [PUSH_DROP_BLOCKED] = "blocked",
};

/* What is done with the profile under way. */
enum stage {
    IDLE,       /* none is */
    ASKING,     /* is it stored? */
    SCANNING,   /* the first reading */
    DELIVERING,
};

struct push {
    struct loop *loop;
    struct spool *spool;
    struct spool *next; /* takes its place once it is empty; NULL = none */
    struct push_options options;
    struct retry retry;
    struct loop_timer timer; /* armed while a backoff waits, or for 0 ms to start from the loop */
    enum stage stage;
    struct delivery *delivery;
    struct outgoing outgoing; /* the profile under way */
    struct loop_timer scan;  /* armed between the pieces of SCANNING */
    uint64_t doubts[PUSH_DOUBTS_MAX]; /* sent whole and not answered: may be stored; 0 = none */
    struct trouble {
        uint64_t id;       /* the profile that the collector fails on; 0 = none */
        unsigned failures;
        bool skip;         /* let the next one try */
        bool passed;       /* the next one was stored: it is this profile's fault */
    } trouble;
    struct push_stats stats;
    uint64_t times_told; /* a bit for each type, by its hash */
    struct log_throttle failing, refusing;
};

static const struct spool_item *item_of(const struct push *push)
{
    return &push->outgoing.item;
}

/* ---- profiles in doubt ---- */

static uint64_t *find_doubt(struct push *push, uint64_t id)
{
    for (unsigned i = 0; i < PUSH_DOUBTS_MAX; i++) {
        if (push->doubts[i] == id)
            return &push->doubts[i];
    }
    return NULL;
}

static void forget_doubt(struct push *push, uint64_t id)
{
    uint64_t *doubt = find_doubt(push, id);
    if (doubt != NULL)
        *doubt = 0;
}

/* In place of the oldest, which most likely left the spool meanwhile. */
static void remember_doubt(struct push *push, uint64_t id)
{
    uint64_t *oldest = &push->doubts[0];
    for (unsigned i = 1; i < PUSH_DOUBTS_MAX; i++)
        oldest = push->doubts[i] < *oldest ? &push->doubts[i] : oldest;
    if (find_doubt(push, id) == NULL)
        *oldest = id;
}

/* It left the spool. */
static void settle(struct push *push, uint64_t id, bool stored)
{
    forget_doubt(push, id);
    if (push->options.settled != NULL)
        push->options.settled(push->options.settled_ctx, id, stored);
}

static bool is_doubtful(struct push *push)
{
    return find_doubt(push, item_of(push)->id) != NULL && labels_get(push->options.outgoing.labels, "pod") != NULL;
}

/* ---- after a try ---- */

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
        log_info("collector stores again", LOG_STR("collector", push->delivery->destination),
                 LOG_I64("failures", push->stats.failures), LOG_I64("waiting", spool_get_stats(push->spool)->items));
    log_throttle_reset(&push->failing);
    push->stats.failures = 0;
    push->stats.failing_since_ms = 0;
    push->stats.last_error[0] = '\0';
    push->stats.last_stored_wall_ms = loop_wall_ms();
    retry_reset(&push->retry);
}

static void on_stored(struct push *push, enum delivery_result result)
{
    const struct spool_item *item = item_of(push);
    note_success(push);
    log_debug("profile stored", LOG_STR("type", item->meta.type), LOG_STR("target", item->meta.target),
              LOG_STR("result", delivery_result_names[result]), LOG_I64("bytes", item->size_bytes));
    push->stats.stored_bytes += item->size_bytes;
    if (push->trouble.skip && item->id != push->trouble.id)
        push->trouble = (struct trouble){.id = push->trouble.id, .failures = push->trouble.failures, .passed = true};
    else
        push->trouble = (struct trouble){0};
    if (spool_end_hold(push->spool, /* arrived= */ true))
        spool_remove(push->spool, item->id);
    settle(push, item->id, true);
}

/* The profile under way leaves as a loss; what was evicted meanwhile is counted by the spool. */
static void drop(struct push *push, enum push_drop reason)
{
    if (spool_end_hold(push->spool, /* arrived= */ false)) {
        spool_remove(push->spool, item_of(push)->id);
        push->stats.dropped[reason]++;
    }
    settle(push, item_of(push)->id, false);
}

static void on_dropped(struct push *push, const struct delivery_end *end)
{
    const struct spool_item *item = item_of(push);
    note_failure(push, end->words);
    retry_reset(&push->retry); /* the collector is there: the next one need not wait */
    log_throttled(&push->refusing, loop_now_ms(push->loop), LOG_LEVEL_ERROR,
                  "profile dropped: refused by the collector",
                  LOG_FIELDS(LOG_STR("type", item->meta.type), LOG_STR("target", item->meta.target),
                             LOG_I64("bytes", item->size_bytes), LOG_STR("reason", end->words)));
    drop(push, end->result == DELIVERY_TOO_LARGE ? PUSH_DROP_TOO_LARGE : PUSH_DROP_REFUSED);
}

/* Failures that say something about this profile and not only about the way to the server. */
static bool blames_profile(const struct delivery_end *end)
{
    return end->result == DELIVERY_LATER || end->result == DELIVERY_UNSURE || end->broke_inside;
}

/* After PUSH_BLOCKED_TRIES failures of one profile the next one may try. When that is stored, the first gets a last
 * try (the server may have been down for both). True: that failed too, and the profile has to go. */
static bool watch_trouble(struct push *push, const struct delivery_end *end)
{
    struct trouble *trouble = &push->trouble;
    if (!blames_profile(end)) {
        trouble->skip = false;
    } else if (item_of(push)->id == trouble->id) {
        trouble->failures++;
        trouble->skip = trouble->failures >= PUSH_BLOCKED_TRIES && !trouble->passed;
        return trouble->passed;
    } else if (trouble->skip) {
        trouble->skip = false;
    } else {
        *trouble = (struct trouble){.id = item_of(push)->id, .failures = 1};
    }
    return false;
}

static void drop_trouble(struct push *push, const char *words)
{
    const struct spool_item *item = item_of(push);
    log_error("profile dropped: the collector fails on it and takes the next one", LOG_STR("type", item->meta.type),
              LOG_STR("target", item->meta.target), LOG_I64("tries", push->trouble.failures), LOG_STR("reason", words));
    push->trouble = (struct trouble){0};
    drop(push, PUSH_DROP_BLOCKED);
}

static int64_t next_wait_ms(struct push *push, const struct delivery_end *end)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint64_t)loop_now_ms(push->loop) * 2654435761U; /* early boot: jitter of a kind */
    push->retry.max_ms = push->options.retry_max_ms / (end->refused_connection ? PUSH_REFUSED_FASTER : 1);
    return retry_next_ms(&push->retry, end->retry_after_ms, random);
}

/* Stays in the spool for another try, unless it was evicted or expires meanwhile. */
static void keep(struct push *push, enum delivery_result result)
{
    if (result == DELIVERY_UNSURE)
        remember_doubt(push, item_of(push)->id);
    if (!spool_end_hold(push->spool, /* arrived= */ false))
        settle(push, item_of(push)->id, false);
}

static void on_failed(struct push *push, const struct delivery_end *end)
{
    note_failure(push, end->words);
    bool has_to_go = watch_trouble(push, end);
    int64_t wait_ms = next_wait_ms(push, end);
    log_throttled(
        &push->failing, loop_now_ms(push->loop), LOG_LEVEL_WARN, "push failed, profiles are kept and tried again",
        LOG_FIELDS(LOG_STR("collector", push->delivery->destination), LOG_STR("type", item_of(push)->meta.type),
                   LOG_STR("result", delivery_result_names[end->result]), LOG_STR("reason", end->words),
                   LOG_I64("waiting", spool_get_stats(push->spool)->items), LOG_I64("retry_ms", wait_ms)));
    loop_timer_arm(&push->timer, wait_ms);
    if (has_to_go)
        drop_trouble(push, end->words);
    else
        keep(push, end->result);
}

static void on_gone(struct push *push)
{
    snprintf(push->stats.last_error, sizeof(push->stats.last_error), "evicted from the spool while it was sent");
    keep(push, DELIVERY_GONE);
}

/* The delivery says it once, and counts bodies from then on. */
static void on_no_length(struct push *push, const struct delivery_end *end)
{
    log_warn("a body without a length does not get through to the collector: sent with one from now on",
             LOG_STR("collector", push->delivery->destination), LOG_STR("reason", end->words));
    keep(push, DELIVERY_NO_LENGTH);
}

/* Said once a type: of two types with the same bit the second stays unsaid. */
static void note_replaced_time(struct push *push)
{
    const struct spool_meta *meta = &item_of(push)->meta;
    uint64_t bit = UINT64_C(1) << hash_text(meta->type, 0) % 64;
    if (!outgoing_replaces_time(&push->outgoing))
        return;
    push->stats.times_replaced++;
    if ((push->times_told & bit) == 0)
        log_warn("the profile's own time is far from when it was taken: replaced, so that it is found there",
                 LOG_STR("type", meta->type), LOG_STR("target", meta->target));
    push->times_told |= bit;
}

/* Each try comes to its end here. */
static void finish(struct push *push, const struct delivery_end *end)
{
    push->stage = IDLE;
    if (end->result == DELIVERY_STORED || end->result == DELIVERY_FOUND) {
        note_replaced_time(push);
        push->stats.labels_renamed += outgoing_has_renamed(&push->outgoing) ? 1 : 0;
        push->stats.unchecked += end->unchecked ? 1 : 0;
    }
    outgoing_close(&push->outgoing);
    push->stats.results[end->result]++;
    switch (end->result) {
    case DELIVERY_STORED:
    case DELIVERY_FOUND:
        on_stored(push, end->result);
        break;
    case DELIVERY_REFUSED:
    case DELIVERY_TOO_LARGE:
        on_dropped(push, end);
        break;
    case DELIVERY_NO_LENGTH:
        on_no_length(push, end);
        break;
    case DELIVERY_GONE:
        on_gone(push);
        break;
    default:
        on_failed(push, end);
        break;
    }
    push_kick(push);
}

/* ---- one try ---- */

static void deliver(struct push *push)
{
    struct delivery_end end;
    push->stage = DELIVERING;
    if (push->delivery->ops->send(push->delivery, &push->outgoing, &end) < 0)
        finish(push, &end);
}

/* The first reading, in pieces, so that a large profile does not hold up the loop. */
static void scan_on(void *ctx)
{
    struct push *push = ctx;
    enum relabel_result unlabelled;
    int rc = outgoing_scan(&push->outgoing, PUSH_SCAN_BYTES, &unlabelled);
    if (rc > 0) {
        loop_timer_arm(&push->scan, 0);
        return;
    }
    if (rc < 0) {
        struct delivery_end end;
        delivery_end_set_unread(&end, rc);
        finish(push, &end);
        return;
    }
    if (unlabelled != RELABEL_DONE)
        push->stats.unlabelled[unlabelled]++;
    deliver(push);
}

static void prepare(struct push *push)
{
    enum relabel_result unlabelled;
    outgoing_start(&push->outgoing, &unlabelled);
    if (unlabelled != RELABEL_DONE)
        push->stats.unlabelled[unlabelled]++;
    push->stage = SCANNING;
    if (push->outgoing.relabel != NULL)
        loop_timer_arm(&push->scan, 0);
    else
        deliver(push);
}

/* Whatever else was the answer to the question, the profile is sent: twice is better than never. */
static void on_delivered(void *ctx, const struct delivery_end *end)
{
    struct push *push = ctx;
    if (push->stage != ASKING || end->result == DELIVERY_FOUND || end->result == DELIVERY_NETWORK) {
        finish(push, end);
        return;
    }
    forget_doubt(push, item_of(push)->id);
    prepare(push);
}

static void ask(struct push *push)
{
    struct delivery_end end;
    push->stage = ASKING;
    if (push->delivery->ops->ask(push->delivery, &push->outgoing, &end) < 0)
        finish(push, &end);
}

/* ---- the next one ---- */

static bool choose_next(struct push *push, struct spool_item *ret)
{
    if (push->trouble.skip && spool_next(push->spool, push->trouble.id, ret) == 0)
        return true;
    push->trouble.skip = false; /* nothing behind the one in trouble: its turn again */
    return spool_next(push->spool, 0, ret) == 0;
}

static void on_lost(void *ctx, uint64_t id, enum spool_drop reason)
{
    (void)reason;
    settle(ctx, id, false);
}

/* Its spool is empty, and the next one has ids of its own: no doubt is left, and who made trouble is gone. */
static bool go_on(struct push *push)
{
    if (push->next == NULL)
        return false;
    spool_on_lost(push->spool, NULL, NULL);
    push->spool = push->next;
    push->next = NULL;
    spool_on_lost(push->spool, on_lost, push);
    push->trouble = (struct trouble){0};
    return true;
}

static void send_next(void *ctx)
{
    struct push *push = ctx;
    struct spool_item item;
    if (push->stage != IDLE)
        return;
    if (push->options.age_max_ms > 0)
        spool_expire(push->spool, loop_steady_ms() - push->options.age_max_ms);
    if (!choose_next(push, &item) && !(go_on(push) && choose_next(push, &item)))
        return;
    spool_hold(push->spool, item.id);
    outgoing_open(&push->outgoing, push->spool, &push->options.outgoing, &item);
    if (push->delivery->ops->ask != NULL && is_doubtful(push))
        ask(push);
    else
        prepare(push);
}

/* ---- from outside ---- */

int push_new(struct loop *loop, struct spool *spool, struct delivery *delivery, const struct push_options *options,
             struct push **ret, struct err *err)
{
    struct push *push = calloc(1, sizeof(*push));
    if (push == NULL)
        return err_set(err, ENOMEM, "no memory for the pusher");
    push->loop = loop;
    push->spool = spool;
    push->delivery = delivery;
    delivery->done = on_delivered;
    delivery->ctx = push;
    push->options = *options;
    push->retry = (struct retry){.min_ms = options->retry_min_ms, .max_ms = options->retry_max_ms};
    loop_timer_init(&push->timer, loop, send_next, push);
    loop_timer_init(&push->scan, loop, scan_on, push);
    spool_on_lost(spool, on_lost, push);
    *ret = push;
    return 0;
}

struct push *push_free(struct push *push)
{
    if (push == NULL)
        return NULL;
    spool_on_lost(push->spool, NULL, NULL);
    spool_end_hold(push->spool, /* arrived= */ false);
    loop_timer_disarm(&push->timer);
    loop_timer_disarm(&push->scan);
    push->delivery = delivery_free(push->delivery);
    outgoing_close(&push->outgoing);
    free(push);
    return NULL;
}

void push_kick(struct push *push)
{
    if (push->stage == IDLE && !push->timer.armed)
        loop_timer_arm(&push->timer, 0);
}

void push_now(struct push *push)
{
    retry_reset(&push->retry);
    if (push->stage == IDLE)
        loop_timer_arm(&push->timer, 0);
}

void push_go_on_with(struct push *push, struct spool *next)
{
    push->next = next;
    push_kick(push);
}

bool push_is_idle(const struct push *push)
{
    struct spool_item item;
    return push->stage == IDLE && spool_next(push->spool, 0, &item) < 0 &&
           (push->next == NULL || spool_next(push->next, 0, &item) < 0);
}

const struct push_stats *push_get_stats(const struct push *push)
{
    return &push->stats;
}
