#include "agent/agent.h"

#include "common/gather/engine.h"
#include "common/os/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* One fetched profile and where it is on its way. */
struct outcome {
    uint64_t id;
    const struct plan_job *job;
    uint64_t bytes;
    bool settled;
};

struct once {
    const struct options *options;
    struct engine engine;
    struct loop_timer timeout;
    unsigned count; /* profiles in the spool or sent */
    struct outcome outcomes[PLAN_JOBS_MAX];
    unsigned waiting;
    uint64_t evicted; /* of the spool's count, those that were told */
    bool gathered;
    bool failed;
    bool timed_out;
};

static void print_line(const struct once *once, const struct plan_job *job, const char *what, uint64_t bytes, const char *words)
{
    const struct target *target = &once->options->gather.targets.items[job->target];
    printf("%-9s %-12s %s", what, job->type->name, target->name[0] != '\0' ? target->name : target->url);
    if (bytes > 0)
        printf(", %llu bytes", (unsigned long long)bytes);
    printf("%s%s\n", words[0] != '\0' ? ": " : "", words);
    fflush(stdout);
}

static void leave_when_done(struct once *once)
{
    if (once->gathered && once->waiting == 0)
        loop_stop(once->engine.loop);
}

static void on_taken(void *ctx, const struct plan_job *job, const struct scrape_report *report)
{
    struct once *once = ctx;
    if (report->result == SCRAPE_OK) {
        once->outcomes[once->count++] = (struct outcome){.id = report->item_id, .job = job, .bytes = report->bytes};
        once->waiting++;
        push_kick(once->engine.push);
        return;
    }
    bool empty = report->result == SCRAPE_EMPTY;
    print_line(once, job, scrape_result_names[report->result], 0, report->words);
    once->failed |= !empty;
}

static void on_gathered(void *ctx)
{
    struct once *once = ctx;
    once->gathered = true;
    leave_when_done(once);
}

/* Of the one that was just settled: the spool has counted it by now, if that was who dropped it. */
static const char *why_dropped(struct once *once)
{
    uint64_t evicted = spool_get_stats(once->engine.spool)->dropped[SPOOL_DROP_EVICTED];
    bool by_spool = evicted > once->evicted;
    once->evicted = evicted;
    return by_spool ? "evicted from the spool, which has no room for all of them"
                    : push_get_stats(once->engine.push)->last_error;
}

static void on_settled(void *ctx, uint64_t id, bool stored)
{
    struct once *once = ctx;
    const char *words = stored ? "" : why_dropped(once);
    for (unsigned i = 0; i < once->count; i++) {
        struct outcome *outcome = &once->outcomes[i];
        if (outcome->id != id || outcome->settled)
            continue;
        outcome->settled = true;
        once->waiting--;
        once->failed |= !stored;
        print_line(once, outcome->job, stored ? "stored" : "dropped", outcome->bytes, words);
    }
    leave_when_done(once);
}

static void on_timeout(void *ctx)
{
    struct once *once = ctx;
    once->timed_out = true;
    loop_stop(once->engine.loop);
}

static void on_signal(void *ctx, int signo)
{
    (void)signo;
    on_timeout(ctx);
}

static void print_unsettled(const struct once *once)
{
    char words[ERR_TEXT_MAX + 32];
    const char *error = push_get_stats(once->engine.push)->last_error;
    snprintf(words, sizeof(words), "not stored%s%s", error[0] != '\0' ? ": " : " in time", error);
    for (unsigned i = 0; i < once->count; i++) {
        if (!once->outcomes[i].settled)
            print_line(once, once->outcomes[i].job, "waiting", once->outcomes[i].bytes, words);
    }
    if (!once->gathered)
        printf("%-9s not every type was taken in time\n", "timeout");
}

static int start(struct once *once, int64_t timeout_ms, struct err *err)
{
    const struct engine_callbacks callbacks = {
        .settled = on_settled, .taker = {.taken = on_taken, .finished = on_gathered, .ctx = once}};
    int rc = engine_init(&once->engine, err);
    if (rc == 0)
        rc = loop_signal_add(once->engine.loop, SIGTERM, on_signal, once, err);
    if (rc == 0)
        rc = loop_signal_add(once->engine.loop, SIGINT, on_signal, once, err);
    if (rc == 0)
        rc = engine_start(&once->engine, &once->options->gather, /* once= */ true, &callbacks, err);
    if (rc == 0) {
        loop_timer_init(&once->timeout, once->engine.loop, on_timeout, once);
        loop_timer_arm(&once->timeout, timeout_ms);
    }
    return rc;
}

int agent_run_once(const struct options *options, int64_t timeout_ms, struct err *err)
{
    struct once once = {.options = options};
    int rc = start(&once, timeout_ms, err);
    if (rc == 0)
        rc = loop_run(once.engine.loop, err);
    if (rc == 0 && once.timed_out)
        print_unsettled(&once);
    if (once.timeout.loop != NULL)
        loop_timer_disarm(&once.timeout);
    engine_done(&once.engine);
    if (rc < 0)
        return rc;
    return once.failed || once.timed_out ? 1 : 0;
}
