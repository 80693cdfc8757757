#include "common/gather/pass.h"

#include <stdlib.h>

/* A profile that was taken, and is on its way. */
struct parcel {
    uint64_t id; /* in the spool */
    const struct plan_job *job;
    uint64_t bytes;
    bool settled;
};

struct pass {
    struct pipeline_base base;
    struct pass_options options;
    struct pass_callbacks callbacks;
    struct spool *memory; /* its own; NULL = the spool was given */
    struct pipeline pipeline;
    struct loop_timer deadline;
    struct loop_timer turn; /* armed for 0 ms when it may be over, or is to be stopped: callbacks come from the loop */
    int64_t started_ms;
    int64_t until_ms;       /* monotonic: the deadline */
    bool stopped;           /* by pass_stop */
    bool gathered;          /* nothing more is taken */
    unsigned parcel_count, on_the_way;
    struct parcel parcels[PLAN_JOBS_MAX]; /* in the order in which they were taken */
    uint64_t losses[ACCOUNT_REASONS_MAX]; /* by reason, when they were looked at last */
    struct pass_account account;
};

/* ---- outcomes ---- */

static void tell(struct pass *pass, const struct plan_job *job, struct pass_outcome *outcome)
{
    outcome->target = &pass->options.gather->targets.items[job->target];
    outcome->type = job->type;
    pass->account.jobs[outcome->fate]++;
    pass->callbacks.outcome(pass->callbacks.ctx, outcome);
}

static void read_account(const struct pass *pass, struct account *ret)
{
    account_read(ret, spool_get_stats(pass->base.spool), push_get_stats(pass->pipeline.push));
}

/* The reason for which a profile was dropped since the last look, or NULL. */
static const char *look_for_loss(struct pass *pass)
{
    struct account now;
    const char *reason = NULL;
    read_account(pass, &now);
    for (unsigned i = 0; i < now.drop_count; i++) {
        if (now.drops[i].profiles > pass->losses[i])
            reason = now.drops[i].reason;
        pass->losses[i] = now.drops[i].profiles;
    }
    return reason;
}

static const char *push_words(const struct pass *pass)
{
    return push_get_stats(pass->pipeline.push)->last_error;
}

static void tell_settled(struct pass *pass, struct parcel *parcel, bool stored, const char *loss)
{
    struct pass_outcome outcome = {.fate = PASS_STORED, .words = "", .bytes = parcel->bytes};
    parcel->settled = true;
    pass->on_the_way--;
    if (stored) {
        pass->account.stored_bytes += parcel->bytes;
    } else {
        bool evicted = loss == spool_drop_names[SPOOL_DROP_EVICTED];
        outcome.fate = PASS_DROPPED;
        outcome.reason = loss;
        outcome.words = evicted ? "evicted from the spool, which has no room for all of them" : push_words(pass);
    }
    tell(pass, parcel->job, &outcome);
}

static void tell_unsent(struct pass *pass)
{
    for (unsigned i = 0; i < pass->parcel_count; i++) {
        const struct parcel *parcel = &pass->parcels[i];
        struct pass_outcome outcome = {.fate = PASS_UNSENT, .words = push_words(pass), .bytes = parcel->bytes};
        if (!parcel->settled)
            tell(pass, parcel->job, &outcome);
    }
}

/* A busy profiler that was waited for in vain is a failure that has a name. */
static void tell_untaken(struct pass *pass)
{
    const struct taker_job *state;
    const struct plan_job *job;
    for (unsigned i = 0; (job = taker_job_at(pass->pipeline.taker, i, &state)) != NULL; i++) {
        struct pass_outcome outcome = {
            .fate = state->ran ? PASS_FAILED : PASS_UNTAKEN, .result = state->last, .words = state->words};
        if (job->due_ms != plan_never_ms)
            tell(pass, job, &outcome);
    }
}

/* ---- its end ---- */

static void stop_taking(struct pass *pass)
{
    taker_stop(pass->pipeline.taker);
    pass->gathered = true;
}

static void end(struct pass *pass, enum pass_end how)
{
    struct pass_account *account = &pass->account;
    loop_timer_disarm(&pass->deadline);
    loop_timer_disarm(&pass->turn);
    stop_taking(pass);
    tell_unsent(pass);
    tell_untaken(pass);
    account->end = how;
    account->elapsed_ms = loop_now_ms(pass->base.loop) - pass->started_ms;
    read_account(pass, &account->profiles);
    if (pass->memory != NULL)
        account_drop_waiting(&account->profiles, "unsent");
    pipeline_stop(&pass->pipeline);
    pass->callbacks.ended(pass->callbacks.ctx, account); /* it may be gone now */
}

static void on_deadline(void *ctx)
{
    struct pass *pass = ctx;
    end(pass, pass->stopped ? PASS_HALTED : PASS_OUT_OF_TIME);
}

static void on_turn(void *ctx)
{
    struct pass *pass = ctx;
    if (pass->stopped && !pass->gathered) {
        stop_taking(pass);
        push_now(pass->pipeline.push);
    }
    if (pass->gathered && pass->on_the_way == 0)
        end(pass, pass->stopped ? PASS_HALTED : PASS_COMPLETE);
}

/* ---- what the pipeline says ---- */

static void on_taken(void *ctx, const struct plan_job *job, const struct scrape_report *report)
{
    struct pass *pass = ctx;
    look_for_loss(pass); /* from now on: what was lost on its way into the spool is told by this report */
    if (report->result == SCRAPE_OK) {
        pass->parcels[pass->parcel_count++] =
            (struct parcel){.id = report->item_id, .job = job, .bytes = report->bytes};
        pass->on_the_way++;
        push_kick(pass->pipeline.push);
        return;
    }
    struct pass_outcome outcome = {.fate = report->result == SCRAPE_EMPTY ? PASS_EMPTY : PASS_FAILED,
                                   .result = report->result, .words = report->words};
    if (job->due_ms == plan_never_ms) /* else it comes again */
        tell(pass, job, &outcome);
}

static void on_gathered(void *ctx)
{
    struct pass *pass = ctx;
    pass->gathered = true;
    loop_timer_arm(&pass->turn, 0);
}

static void on_settled(void *ctx, uint64_t id, bool stored)
{
    struct pass *pass = ctx;
    const char *loss = look_for_loss(pass);
    for (unsigned i = 0; i < pass->parcel_count; i++) {
        struct parcel *parcel = &pass->parcels[i];
        if (parcel->id == id && !parcel->settled)
            tell_settled(pass, parcel, stored, loss);
    }
    loop_timer_arm(&pass->turn, 0);
}

/* ---- from outside ---- */

static int start(struct pass *pass, struct err *err)
{
    const struct gather_options *gather = pass->options.gather;
    const struct taker_mode mode = {.once = true, .cpu_first = pass->options.cpu_first,
                                    .wait_for_busy = pass->options.wait_for_busy, .quiet = pass->options.quiet};
    const struct pipeline_callbacks callbacks = {
        .settled = on_settled, .taker = {.taken = on_taken, .finished = on_gathered, .ctx = pass}};
    if (pass->base.spool == NULL) {
        int rc = spool_new_memory(gather->spool_bytes, &pass->memory, err);
        if (rc < 0)
            return rc;
        pass->base.spool = pass->memory;
    }
    return pipeline_start(&pass->base, gather, mode, &callbacks, &pass->pipeline, err);
}

int pass_new(const struct pipeline_base *base, const struct pass_options *options,
             const struct pass_callbacks *callbacks, struct pass **ret, struct err *err)
{
    CLEANUP_PASS struct pass *pass = calloc(1, sizeof(*pass));
    if (pass == NULL)
        return err_set(err, ENOMEM, "no memory for a pass");
    pass->base = *base;
    pass->options = *options;
    pass->callbacks = *callbacks;
    loop_timer_init(&pass->deadline, base->loop, on_deadline, pass);
    loop_timer_init(&pass->turn, base->loop, on_turn, pass);
    int rc = start(pass, err);
    if (rc < 0)
        return rc;
    pass->started_ms = loop_now_ms(base->loop);
    pass->until_ms = pass->started_ms + options->deadline_ms;
    loop_timer_arm(&pass->deadline, options->deadline_ms);
    *ret = TAKE_PTR(pass);
    return 0;
}

struct pass *pass_free(struct pass *pass)
{
    if (pass == NULL)
        return NULL;
    loop_timer_disarm(&pass->deadline);
    loop_timer_disarm(&pass->turn);
    pipeline_stop(&pass->pipeline);
    spool_free(pass->memory);
    free(pass);
    return NULL;
}

void pass_stop(struct pass *pass, int64_t within_ms)
{
    if (pass->pipeline.taker == NULL)
        return; /* it has ended */
    int64_t left_ms = pass->until_ms - loop_now_ms(pass->base.loop);
    pass->stopped = true;
    loop_timer_arm(&pass->deadline, within_ms < left_ms ? within_ms : left_ms);
    if (within_ms > 0)
        loop_timer_arm(&pass->turn, 0);
}
