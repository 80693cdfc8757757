#include "agent/agent.h"

#include "agent/engine.h"
#include "common/gather/pass.h"

#include <signal.h>
#include <stdio.h>

struct once {
    struct pipeline_base engine;
    struct pass *pass;
    bool failed;
};

static void print_line(const struct pass_outcome *outcome, const char *what, const char *words)
{
    const struct target *target = outcome->target;
    printf("%-9s %-12s %s", what, outcome->type->name, target->name[0] != '\0' ? target->name : target->url);
    if (outcome->bytes > 0)
        printf(", %llu bytes", (unsigned long long)outcome->bytes);
    printf("%s%s\n", words[0] != '\0' ? ": " : "", words);
    fflush(stdout);
}

static void print_unsent(const struct pass_outcome *outcome)
{
    char words[ERR_TEXT_MAX + 32];
    snprintf(words, sizeof(words), "not stored%s%s", outcome->words[0] != '\0' ? ": " : " in time", outcome->words);
    print_line(outcome, "waiting", words);
}

static void on_outcome(void *ctx, const struct pass_outcome *outcome)
{
    struct once *once = ctx;
    once->failed |= outcome->fate != PASS_STORED && outcome->fate != PASS_EMPTY;
    switch (outcome->fate) {
    case PASS_STORED:
        print_line(outcome, "stored", outcome->words);
        break;
    case PASS_DROPPED:
        print_line(outcome, "dropped", outcome->words);
        break;
    case PASS_UNSENT:
        print_unsent(outcome);
        break;
    case PASS_EMPTY:
    case PASS_FAILED:
        print_line(outcome, scrape_result_names[outcome->result], outcome->words);
        break;
    default: /* told together, at the end */
        break;
    }
}

static void on_ended(void *ctx, const struct pass_account *account)
{
    struct once *once = ctx;
    if (account->jobs[PASS_UNTAKEN] > 0)
        printf("%-9s not every type was taken in time\n", "timeout");
    loop_stop(once->engine.loop);
}

static void on_signal(void *ctx, int signo)
{
    struct once *once = ctx;
    (void)signo;
    pass_stop(once->pass, /* within_ms= */ 0);
}

static int start(struct once *once, const struct options *options, int64_t timeout_ms, struct err *err)
{
    const struct pass_options pass = {.gather = &options->gather, .deadline_ms = timeout_ms};
    const struct pass_callbacks callbacks = {.outcome = on_outcome, .ended = on_ended, .ctx = once};
    int rc = loop_new(&once->engine.loop, err);
    if (rc == 0)
        rc = loop_signal_add(once->engine.loop, SIGTERM, on_signal, once, err);
    if (rc == 0)
        rc = loop_signal_add(once->engine.loop, SIGINT, on_signal, once, err);
    if (rc == 0)
        rc = engine_open_spool(options, &once->engine.spool, err);
    if (rc == 0)
        rc = engine_open(&once->engine, options, err);
    if (rc == 0)
        rc = pass_new(&once->engine, &pass, &callbacks, &once->pass, err);
    return rc;
}

int agent_run_once(const struct options *options, int64_t timeout_ms, struct err *err)
{
    struct once once = {0};
    int rc = start(&once, options, timeout_ms, err);
    if (rc == 0)
        rc = loop_run(once.engine.loop, err);
    pass_free(once.pass);
    engine_close(&once.engine);
    spool_free(once.engine.spool); /* after the transfers that read and write it */
    loop_free(once.engine.loop);
    if (rc < 0)
        return rc;
    return once.failed ? 1 : 0;
}
