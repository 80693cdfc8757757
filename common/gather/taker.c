#include "common/gather/taker.h"

#include "common/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct taker {
    struct loop *loop;
    struct httpc *httpc;
    struct spool *spool;
    const struct gather_options *options;
    struct taker_mode mode; /* once, also while the last profiles are taken */
    bool stopped;
    int64_t last_until_ms; /* monotonic; the last profiles must be there by then; 0 = not yet that far */
    unsigned cut;
    struct taker_callbacks callbacks;
    struct loop_timer timer;
    struct scrape *scrape;     /* under way, or NULL */
    struct plan_job *running;  /* its job */
    int64_t started_ms;
    struct plan plan;
    struct taker_job *jobs;   /* plan.count of them */
};

static void run_due(void *ctx);

/* ---- what a result means ---- */

/* How the plan goes on, whether it is the app's owner who must hear of it, and how loud. */
static const struct treatment {
    enum plan_outcome outcome;
    bool failure; /* counts for /healthz */
    enum log_level level;
} treatments[SCRAPE_RESULT_COUNT] = {
    [SCRAPE_OK] = {PLAN_GOOD, false, LOG_LEVEL_DEBUG},
    [SCRAPE_EMPTY] = {PLAN_GOOD, false, LOG_LEVEL_INFO},
    [SCRAPE_REFUSED] = {PLAN_SOON, true, LOG_LEVEL_WARN},
    [SCRAPE_TIMEOUT] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_SLOW] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    /* The app is well, and somebody profiles it, perhaps on purpose: no reason to call the pod ill. /status says since
     * when there was no profile. */
    [SCRAPE_BUSY] = {PLAN_BUSY, false, LOG_LEVEL_INFO},
    [SCRAPE_TOO_LONG] = {PLAN_SHORTER, true, LOG_LEVEL_WARN},
    [SCRAPE_MISSING] = {PLAN_SLEEP, false, LOG_LEVEL_WARN},
    [SCRAPE_REDIRECT] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_STATUS] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_TEXT] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_MALFORMED] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_TRUNCATED] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_TOO_BIG] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_ENDLESS] = {PLAN_DONE, true, LOG_LEVEL_WARN},
    [SCRAPE_ERROR] = {PLAN_DONE, true, LOG_LEVEL_ERROR},
};

/* An empty block profile is normal for an app that never set the rate; its owner may wonder all the same. */
static void add_hint(enum profile_kind kind, struct scrape_report *report)
{
    if (report->result == SCRAPE_EMPTY && kind == PROFILE_BLOCK)
        snprintf(report->words, sizeof(report->words), "no samples; did the app call runtime.SetBlockProfileRate?");
    if (report->result == SCRAPE_EMPTY && kind == PROFILE_MUTEX)
        snprintf(report->words, sizeof(report->words), "no samples; did the app call runtime.SetMutexProfileFraction?");
}

static struct taker_job *state_of(struct taker *taker, const struct plan_job *job)
{
    return &taker->jobs[job - taker->plan.jobs];
}

/* Empty and missing are said once, until the result changes; other failures at once and then each kind once a minute;
 * successes not above debug. */
static void say(struct taker *taker, const struct plan_job *job, const struct scrape_report *report)
{
    struct taker_job *state = state_of(taker, job);
    const struct target *target = &taker->options->targets.items[job->target];
    const struct log_field *fields =
        LOG_FIELDS(LOG_STR("type", job->type->name), LOG_STR("target", target->url),
                   LOG_STR("result", scrape_result_names[report->result]), LOG_I64("bytes", report->bytes),
                   LOG_I64("took_ms", report->elapsed_ms), LOG_STR("reason", report->words));
    if (taker->mode.quiet)
        return;
    bool once = report->result == SCRAPE_EMPTY || report->result == SCRAPE_MISSING;
    if (report->result == SCRAPE_OK) {
        if (state->failures > 0)
            log_info("target answers again", LOG_STR("type", job->type->name), LOG_STR("target", target->url),
                     LOG_I64("failures", state->failures));
        log_write(LOG_LEVEL_DEBUG, "profile taken", fields);
        for (unsigned r = 0; r < SCRAPE_RESULT_COUNT; r++)
            log_throttle_reset(&state->throttles[r]);
    } else if (once && state->ran && state->last == report->result) {
        log_write(LOG_LEVEL_DEBUG, "no profile", fields);
    } else if (once) {
        log_write(treatments[report->result].level, "no profile", fields);
    } else {
        log_throttled(&state->throttles[report->result], loop_now_ms(taker->loop), treatments[report->result].level,
                      "no profile", fields);
    }
}

static void say_longer(const struct taker *taker, const struct plan_job *job)
{
    log_info("asking for longer profiles again", LOG_STR("type", job->type->name),
             LOG_STR("target", taker->options->targets.items[job->target].url), LOG_I64("ms", job->seconds_ms));
}

static void remember(struct taker *taker, const struct plan_job *job, const struct scrape_report *report)
{
    struct taker_job *state = state_of(taker, job);
    state->results[report->result]++;
    state->last = report->result;
    state->ran = true;
    state->is_raw = state->is_raw || report->is_raw;
    bool served = report->result == SCRAPE_OK || report->result == SCRAPE_EMPTY;
    if (served)
        state->without_since_ms = 0;
    else if (state->without_since_ms == 0)
        state->without_since_ms = taker->started_ms;
    int words_len = (int)utf8_cut(report->words, strlen(report->words), TAKER_WORDS_MAX - 1);
    snprintf(state->words, sizeof(state->words), "%.*s", words_len, report->words);
    if (treatments[report->result].failure) {
        if (state->failures == 0)
            state->failing_since_ms = taker->started_ms;
        state->failures++;
        return;
    }
    state->failures = 0;
    state->failing_since_ms = 0;
    if (report->result == SCRAPE_OK)
        state->last_ok_wall_ms = loop_wall_ms();
}

/* ---- the run ---- */

static enum plan_outcome outcome_of(const struct taker *taker, enum scrape_result result)
{
    bool waits = result == SCRAPE_BUSY && taker->mode.wait_for_busy;
    return taker->mode.once && !waits ? PLAN_NEVER : treatments[result].outcome;
}

static void on_report(void *ctx, const struct scrape_report *report)
{
    struct taker *taker = ctx;
    struct plan_job *job = taker->running;
    struct scrape_report told = *report;
    taker->scrape = NULL;
    taker->running = NULL;
    add_hint(job->type->kind, &told);
    say(taker, job, &told);
    remember(taker, job, &told);
    int64_t asked_ms = job->seconds_ms;
    plan_finish(&taker->plan, job, outcome_of(taker, told.result), taker->started_ms, loop_now_ms(taker->loop));
    if (job->seconds_ms > asked_ms)
        say_longer(taker, job);
    if (taker->callbacks.taken != NULL)
        taker->callbacks.taken(taker->callbacks.ctx, job, &told);
    if (!taker->stopped)
        loop_timer_arm(&taker->timer, 0);
}

/* What the app may take beyond SECONDS. */
static int64_t timeout_ms(const struct taker *taker)
{
    int64_t timeout = taker->options->scrape_timeout_ms;
    if (taker->last_until_ms == 0)
        return timeout;
    int64_t left = taker->last_until_ms - loop_now_ms(taker->loop);
    timeout = timeout < TAKER_LAST_MS ? timeout : TAKER_LAST_MS;
    return timeout < left ? timeout : left;
}

static int start(struct taker *taker, struct plan_job *job, struct err *err)
{
    const struct target *target = &taker->options->targets.items[job->target];
    const struct scrape_request request = {
        .base_url = target->url,
        .target_name = target->name,
        .type = job->type,
        .seconds_ms = job->seconds_ms,
        .insecure = target->is_loopback || taker->options->target_insecure,
        .ca_file = taker->options->target_ca,
        .connect_timeout_ms = taker->options->connect_timeout_ms,
        .timeout_ms = timeout_ms(taker),
        .body_max = taker->options->profile_max,
        .sample_labels = taker->options->sample_labels ? &taker->options->labels : NULL,
        .ask_gzip = state_of(taker, job)->is_raw,
    };
    taker->running = job;
    taker->started_ms = loop_now_ms(taker->loop);
    return scrape_start(taker->httpc, taker->spool, &request, on_report, taker, &taker->scrape, err);
}

static void finish(struct taker *taker)
{
    taker->stopped = true;
    if (taker->callbacks.finished != NULL)
        taker->callbacks.finished(taker->callbacks.ctx);
}

static bool is_too_late(const struct taker *taker)
{
    return taker->last_until_ms != 0 && loop_now_ms(taker->loop) >= taker->last_until_ms;
}

/* Readers take two profiles of one type, target and second for one that was sent twice. Only where EVERY is a
 * second, or at the end, can a run follow that soon. */
static bool has_one_of_this_second(struct taker *taker, const struct plan_job *job)
{
    int64_t last_ms = state_of(taker, job)->last_ok_wall_ms;
    return last_ms > 0 && last_ms / 1000 == loop_wall_ms() / 1000;
}

static void leave_out(struct taker *taker, struct plan_job *job)
{
    int64_t now_ms = loop_now_ms(taker->loop);
    plan_finish(&taker->plan, job, taker->mode.once ? PLAN_NEVER : PLAN_DONE, now_ms, now_ms);
    loop_timer_arm(&taker->timer, 0);
}

static void run_due(void *ctx)
{
    struct taker *taker = ctx;
    struct err err;
    int64_t wait_ms = -1;
    if (taker->stopped || taker->scrape != NULL)
        return;
    struct plan_job *job = plan_next(&taker->plan, loop_now_ms(taker->loop), &wait_ms);
    if (job == NULL && wait_ms >= 0) {
        loop_timer_arm(&taker->timer, wait_ms);
        return;
    }
    if (job == NULL || is_too_late(taker)) {
        finish(taker);
        return;
    }
    if (has_one_of_this_second(taker, job)) {
        leave_out(taker, job);
        return;
    }
    if (start(taker, job, &err) < 0) {
        struct scrape_report report = {.result = SCRAPE_ERROR};
        snprintf(report.words, sizeof(report.words), "%s", err.text);
        on_report(taker, &report);
    }
}

/* ---- from outside ---- */

static void make_plan(struct taker *taker, int64_t now_ms)
{
    const struct gather_options *options = taker->options;
    const struct plan_options plan = {
        .targets = options->targets.count,
        .types = &options->types,
        .seed = options->seed,
        .first_within_ms = options->first_within_ms,
        .missing_retry_ms = options->missing_retry_ms,
        .interval_ms = options->interval_ms,
        .sampling = options->sampling,
        .cpu_first = taker->mode.cpu_first,
    };
    if (taker->mode.once)
        plan_init_once(&taker->plan, &plan, now_ms);
    else
        plan_init(&taker->plan, &plan, now_ms);
}

int taker_new(struct loop *loop, struct httpc *httpc, struct spool *spool, const struct gather_options *options,
              struct taker_mode mode, const struct taker_callbacks *callbacks, struct taker **ret, struct err *err)
{
    CLEANUP_TAKER struct taker *taker = calloc(1, sizeof(*taker));
    if (taker == NULL)
        return err_set(err, ENOMEM, "no memory to plan profiles");
    taker->loop = loop;
    taker->httpc = httpc;
    taker->spool = spool;
    taker->options = options;
    taker->mode = mode;
    taker->callbacks = *callbacks;
    loop_timer_init(&taker->timer, loop, run_due, taker);
    make_plan(taker, loop_now_ms(loop));
    taker->jobs = calloc(taker->plan.count, sizeof(*taker->jobs));
    if (taker->jobs == NULL)
        return err_set(err, ENOMEM, "no memory to plan profiles");
    loop_timer_arm(&taker->timer, 0);
    *ret = TAKE_PTR(taker);
    return 0;
}

struct taker *taker_free(struct taker *taker)
{
    if (taker == NULL)
        return NULL;
    taker_stop(taker);
    free(taker->jobs);
    free(taker);
    return NULL;
}

void taker_change_spool(struct taker *taker, struct spool *spool)
{
    taker->spool = spool;
}

static void cut(struct taker *taker)
{
    taker->cut += taker->scrape != NULL ? 1 : 0;
    taker->scrape = scrape_cancel(taker->scrape);
    taker->running = NULL;
    loop_timer_disarm(&taker->timer);
}

void taker_stop(struct taker *taker)
{
    taker->stopped = true;
    cut(taker);
}

void taker_take_last(struct taker *taker, int64_t within_ms)
{
    int64_t now_ms = loop_now_ms(taker->loop);
    cut(taker);
    taker->mode.once = true;
    taker->mode.wait_for_busy = false;
    taker->last_until_ms = now_ms + within_ms;
    plan_take_last(&taker->plan, now_ms);
    loop_timer_arm(&taker->timer, 0);
}

unsigned taker_count_cut(const struct taker *taker)
{
    return taker->cut;
}

const struct plan_job *taker_job_at(const struct taker *taker, unsigned i, const struct taker_job **ret_state)
{
    if (i >= taker->plan.count)
        return NULL;
    *ret_state = &taker->jobs[i];
    return &taker->plan.jobs[i];
}

const struct plan_job *taker_running(const struct taker *taker)
{
    return taker->running;
}
