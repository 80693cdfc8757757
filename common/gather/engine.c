#include "common/gather/engine.h"

#include "common/os/log.h"

enum {
    TRANSFERS_MAX = 4, /* one profile is taken and one sent; the rest is to spare */
};

int engine_init(struct engine *engine, struct err *err)
{
    *engine = (struct engine){0};
    return loop_new(&engine->loop, err);
}

static int open_spool(struct engine *engine, const struct gather_options *options, struct err *err)
{
    if (options->spool_dir == NULL)
        return spool_new_memory(options->spool_bytes, &engine->spool, err);
    int rc = spool_new_disk(options->spool_dir, options->spool_bytes, options->program->noun, &engine->spool, err);
    if (rc < 0)
        return err_wrap(err, rc, "spool-dir");
    const struct spool_stats *found = spool_get_stats(engine->spool);
    log_info("spool opened", LOG_STR("directory", options->spool_dir), LOG_I64("waiting", found->items),
             LOG_I64("bytes", found->bytes), LOG_I64("broken", found->dropped[SPOOL_DROP_ERROR]));
    return 0;
}

/* Files that are missing or broken are no reason not to start: the Secret is optional and may come or be repaired, and
 * the pusher reads it again before each try. */
static int open_credentials(struct engine *engine, const struct gather_options *options, struct err *err)
{
    struct err why;
    if (options->secret_dir == NULL)
        return 0;
    int rc = credentials_new(options->secret_dir, &engine->credentials, err);
    if (rc < 0)
        return err_wrap(err, rc, "secret-dir");
    if (credentials_refresh(engine->credentials, &why) < 0)
        log_warn("credentials for the collector", LOG_STR("directory", options->secret_dir), LOG_ERR(&why));
    else
        log_info("credentials for the collector", LOG_STR("directory", options->secret_dir),
                 LOG_STR("found", credentials_summary(engine->credentials)));
    return 0;
}

static int start_push(struct engine *engine, const struct gather_options *options, const struct engine_callbacks *callbacks,
                      struct err *err)
{
    const struct push_options push = {
        .program = options->program,
        .collector = options->collector,
        .output_dir = options->output_dir,
        .credentials = engine->credentials,
        .ca_hint = "ca.crt in secret-dir",
        .service = options->service,
        .instance_id = options->instance,
        .labels = &options->labels,
        .targets = &options->targets,
        .sample_labels = options->sample_labels,
        .retry_min_ms = options->retry_min_ms,
        .retry_max_ms = options->retry_max_ms,
        .connect_timeout_ms = options->connect_timeout_ms,
        .timeout_ms = options->push_timeout_ms,
        .age_max_ms = options->spool_age_ms,
        .settled = callbacks->settled,
        .settled_ctx = callbacks->taker.ctx,
    };
    return push_new(engine->loop, engine->httpc, engine->spool, &push, &engine->push, err);
}

int engine_start(struct engine *engine, const struct gather_options *options, bool once, const struct engine_callbacks *callbacks,
                 struct err *err)
{
    const struct httpc_options client = {.user_agent = options->program->user_agent, .transfers_max = TRANSFERS_MAX};
    int rc = httpc_new(engine->loop, &client, &engine->httpc, err);
    if (rc == 0)
        rc = open_spool(engine, options, err);
    if (rc == 0)
        rc = open_credentials(engine, options, err);
    if (rc == 0)
        rc = start_push(engine, options, callbacks, err);
    if (rc == 0)
        push_kick(engine->push); /* what an earlier agent left on disk */
    if (rc == 0)
        rc = taker_new(engine->loop, engine->httpc, engine->spool, options, once, &callbacks->taker, &engine->taker, err);
    return rc;
}

/* Users of a thing before the thing: transfers, then their client, then the spool they read and write. */
void engine_stop(struct engine *engine)
{
    engine->taker = taker_free(engine->taker);
    engine->push = push_free(engine->push);
    engine->credentials = credentials_free(engine->credentials);
    engine->httpc = httpc_free(engine->httpc);
    engine->spool = spool_free(engine->spool);
}

void engine_done(struct engine *engine)
{
    engine_stop(engine);
    engine->loop = loop_free(engine->loop);
}
