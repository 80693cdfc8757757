#include "agent/engine.h"

#include "common/os/log.h"

enum {
    TRANSFERS_MAX = PIPELINE_TRANSFERS_MAX + 2, /* some to spare */
};

int engine_open_spool(const struct options *options, struct spool **ret, struct err *err)
{
    if (options->spool_dir == NULL)
        return spool_new_memory(options->gather.spool_bytes, ret, err);
    int rc = spool_new_disk(options->spool_dir, options->gather.spool_bytes, options->gather.program->noun, ret, err);
    if (rc < 0)
        return err_wrap(err, rc, "spool-dir");
    const struct spool_stats *found = spool_get_stats(*ret);
    log_info("spool opened", LOG_STR("directory", options->spool_dir), LOG_I64("waiting", found->items),
             LOG_I64("bytes", found->bytes), LOG_I64("broken", found->dropped[SPOOL_DROP_ERROR]));
    return 0;
}

/* Files that are missing or broken are no reason not to start: the Secret is optional and may come or be repaired, and
 * the pusher reads it again before each try. */
static int open_credentials(struct pipeline_base *engine, const struct options *options, struct err *err)
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

int engine_open(struct pipeline_base *engine, const struct options *options, struct err *err)
{
    const struct httpc_options client = {.user_agent = options->gather.program->user_agent,
                                         .transfers_max = TRANSFERS_MAX};
    engine->ca_hint = "ca.crt in secret-dir";
    int rc = httpc_new(engine->loop, &client, &engine->httpc, err);
    if (rc == 0)
        rc = open_credentials(engine, options, err);
    return rc;
}

void engine_close(struct pipeline_base *engine)
{
    engine->credentials = credentials_free(engine->credentials);
    engine->httpc = httpc_free(engine->httpc);
}
