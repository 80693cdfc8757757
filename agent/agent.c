#include "agent/agent.h"

#include "agent/attempt.h"
#include "agent/engine.h"
#include "agent/spooling.h"
#include "agent/status_server.h"
#include "common/gather/account.h"
#include "common/os/log.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct agent {
    const struct agent_setup *setup;
    const struct options *options; /* setup's; NULL = idle, for a setting is wrong */
    struct pipeline_base engine;
    struct spooling spooling;
    struct pipeline pipeline; /* its taker NULL = does not work (yet) */
    struct attempt start;     /* failing: it could not begin to work yet */
    struct status_server server;
    struct loop_timer deadline;
    int64_t started_ms, started_wall_ms;
    bool directory_due; /* the spool directory is to be tried again as soon as no profile is taken */
    bool stopping;
    bool gathered; /* nothing more is taken */
};

static struct view look(void *ctx)
{
    const struct agent *agent = ctx;
    return (struct view){
        .problems = agent->setup->problems,
        .warnings = agent->setup->warnings,
        .options = agent->options,
        .taker = agent->pipeline.taker,
        .push = agent->pipeline.push,
        .spooling = &agent->spooling,
        .start = &agent->start,
        .interval_ms = agent->setup->interval_ms,
        .now_ms = loop_now_ms(agent->engine.loop),
        .wall_ms = loop_wall_ms(),
        .started_ms = agent->started_ms,
        .started_wall_ms = agent->started_wall_ms,
    };
}

/* ---- stopping ---- */

static void leave_when_sent(struct agent *agent)
{
    if (agent->stopping && agent->gathered && push_is_idle(agent->pipeline.push))
        loop_stop(agent->engine.loop);
}

static void on_settled(void *ctx, uint64_t id, bool stored)
{
    (void)id;
    (void)stored;
    leave_when_sent(ctx);
}

static void on_gathered(void *ctx)
{
    struct agent *agent = ctx;
    agent->gathered = true;
    leave_when_sent(agent);
}

static void on_deadline(void *ctx)
{
    struct agent *agent = ctx;
    loop_stop(agent->engine.loop);
}

/* Half of the deadline at most is for taking: the other half is for sending what was taken. */
static void stop_taking(struct agent *agent)
{
    if (agent->options->stop_profiles) {
        taker_take_last(agent->pipeline.taker, agent->options->stop_deadline_ms / 2);
        return;
    }
    taker_stop(agent->pipeline.taker);
    agent->gathered = true;
}

/* Native mode: the app is gone already, and KILL may follow 2 s later. The fetch under way is cut, what is spooled
 * is sent, no longer than the deadline. A plain container gets the signal together with the app, which has a last
 * heap and goroutine profile to give while it shuts down. */
static void on_signal(void *ctx, int signo)
{
    struct agent *agent = ctx;
    log_info(agent->stopping ? "leaving at once" : "stopping", LOG_STR("signal", signo == SIGTERM ? "TERM" : "INT"));
    if (agent->stopping || agent->pipeline.taker == NULL) {
        loop_stop(agent->engine.loop);
        return;
    }
    agent->stopping = true;
    attempt_give_up(&agent->spooling.directory);
    stop_taking(agent);
    push_now(agent->pipeline.push);
    loop_timer_arm(&agent->deadline, agent->options->stop_deadline_ms);
    leave_when_sent(agent);
}

/* The account of this run, in one line: taken = stored + dropped + waiting. What waits in memory is lost now, what
 * waits on disk is sent by the next one. */
static void say_end(const struct agent *agent)
{
    struct account account;
    uint64_t lost = spooling_read_account(&agent->spooling, push_get_stats(agent->pipeline.push), &account);
    struct log_field fields[ACCOUNT_REASONS_MAX + 8] = {
        LOG_I64("taken", account.taken),
        LOG_I64("stored", account.stored),
        LOG_I64("dropped", account.dropped),
        LOG_I64("waiting", account.waiting),
        LOG_I64("lost", lost),
        LOG_I64("cut", taker_count_cut(agent->pipeline.taker)),
        LOG_STR("to", options_destination(agent->options)),
    };
    unsigned count = 7;
    for (unsigned i = 0; i < account.drop_count; i++) {
        if (account.drops[i].profiles > 0)
            fields[count++] = LOG_I64(account.drops[i].reason, account.drops[i].profiles);
    }
    log_write(account.waiting > 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
              account.waiting > 0 ? "stopped before everything was sent" : "stopped", fields);
}

/* ---- the daemon ---- */

/* A profile ends in the spool that it began in. */
static void try_directory(struct agent *agent)
{
    if (!agent->directory_due || agent->stopping || taker_running(agent->pipeline.taker) != NULL)
        return;
    agent->directory_due = false;
    if (spooling_try_directory(&agent->spooling))
        pipeline_change_spool(&agent->pipeline, agent->spooling.spool);
}

static void on_directory_due(void *ctx)
{
    struct agent *agent = ctx;
    agent->directory_due = true;
    try_directory(agent);
}

static void on_taken(void *ctx, const struct plan_job *job, const struct scrape_report *report)
{
    struct agent *agent = ctx;
    (void)job;
    spooling_watch(&agent->spooling);
    if (report->result == SCRAPE_OK && agent->stopping)
        push_now(agent->pipeline.push);
    else if (report->result == SCRAPE_OK)
        push_kick(agent->pipeline.push);
    try_directory(agent);
}

/* As process 1, or where orphans of other processes come to it by choice, it has children that it never began: the
 * kernel buries them. */
static void bury_orphans(void)
{
    int reaps = 0;
    if (getpid() != 1 && (prctl(PR_GET_CHILD_SUBREAPER, &reaps) < 0 || reaps == 0))
        return;
    signal(SIGCHLD, SIG_IGN);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue; /* those that came and ended before */
}

/* A pod that shares its process namespace may have anybody's signals; as process 1 these had no effect anyway. */
static int set_signals(struct agent *agent, struct err *err)
{
    int rc = loop_signal_add(agent->engine.loop, SIGTERM, on_signal, agent, err);
    bury_orphans();
    if (!agent->setup->sidecar)
        return rc == 0 ? loop_signal_add(agent->engine.loop, SIGINT, on_signal, agent, err) : rc;
    static const int ignored[] = {SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    return rc;
}

/* Users of a thing before the thing: transfers, then their client, then the spools that they read and write. */
static void close_work(struct agent *agent)
{
    pipeline_stop(&agent->pipeline);
    engine_close(&agent->engine);
    spooling_close(&agent->spooling);
}

static int open_work(struct agent *agent, struct err *err)
{
    const struct pipeline_callbacks callbacks = {
        .settled = on_settled, .taker = {.taken = on_taken, .finished = on_gathered, .ctx = agent}};
    spooling_init(&agent->spooling, agent->engine.loop, agent->options, on_directory_due, agent);
    int rc = spooling_open(&agent->spooling, agent->setup->sidecar, err);
    if (rc == 0)
        rc = engine_open(&agent->engine, agent->options, err);
    agent->engine.spool = agent->spooling.spool;
    if (rc == 0)
        rc = pipeline_start(&agent->engine, &agent->options->gather, (struct taker_mode){0}, &callbacks,
                            &agent->pipeline, err);
    if (rc < 0)
        close_work(agent);
    return rc;
}

/* The settings are right, so whatever keeps a sidecar from its work may pass. */
static void try_to_work(void *ctx)
{
    struct agent *agent = ctx;
    struct err err;
    if (open_work(agent, &err) < 0) {
        attempt_fail(&agent->start, "cannot work now, trying again", &err);
        return;
    }
    if (agent->start.failures > 0)
        log_info("working after all", LOG_I64("failures", agent->start.failures));
    attempt_succeed(&agent->start);
}

static int start_work(struct agent *agent, struct err *err)
{
    if (agent->options == NULL)
        return 0;
    attempt_init(&agent->start, agent->engine.loop, &agent->options->gather, try_to_work, agent);
    if (!agent->setup->sidecar)
        return open_work(agent, err);
    try_to_work(agent);
    return 0;
}

static int start(struct agent *agent, struct err *err)
{
    int rc = loop_new(&agent->engine.loop, err);
    if (rc == 0)
        rc = set_signals(agent, err);
    if (rc == 0)
        rc = start_work(agent, err);
    return rc;
}

static void say_start(const struct agent_setup *setup)
{
    for (unsigned i = 0; i < warnings_shown(setup->problems); i++)
        log_error("bad setting, no profile is taken", LOG_STR("reason", warnings_text(setup->problems, i)));
    for (unsigned i = 0; i < warnings_shown(setup->warnings); i++)
        log_warn("setting", LOG_STR("warning", warnings_text(setup->warnings, i)));
    if (setup->options != NULL)
        log_info("profiling", LOG_STR("service", setup->options->gather.service),
                 LOG_STR("to", options_destination(setup->options)),
                 LOG_I64("targets", setup->options->gather.targets.count),
                 LOG_STR("first_target", setup->options->gather.targets.items[0].url),
                 LOG_I64("types", setup->options->gather.types.count),
                 LOG_I64("spool_bytes", setup->options->gather.spool_bytes));
}

int agent_run(const struct agent_setup *setup, struct err *err)
{
    struct agent agent = {.setup = setup, .options = setup->options, .server = {.look = look, .ctx = &agent}};
    say_start(setup);
    int rc = start(&agent, err);
    if (rc == 0) {
        agent.started_ms = loop_now_ms(agent.engine.loop);
        agent.started_wall_ms = loop_wall_ms();
        loop_timer_init(&agent.deadline, agent.engine.loop, on_deadline, &agent);
        status_server_start(&agent.server, agent.engine.loop, setup->listen);
        rc = loop_run(agent.engine.loop, err);
        loop_timer_disarm(&agent.deadline);
        if (agent.pipeline.taker != NULL)
            say_end(&agent);
    }
    status_server_stop(&agent.server);
    attempt_give_up(&agent.start);
    close_work(&agent);
    loop_free(agent.engine.loop);
    return rc;
}
