#include "common/gather/pipeline.h"

static int start_push(const struct pipeline_base *base, const struct gather_options *options,
                      const struct pipeline_callbacks *callbacks, struct push **ret, struct err *err)
{
    const struct push_options push = {
        .program = options->program,
        .collector = options->collector,
        .output_dir = options->output_dir,
        .credentials = base->credentials,
        .ca_hint = base->ca_hint,
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
    return push_new(base->loop, base->httpc, base->spool, &push, ret, err);
}

int pipeline_start(const struct pipeline_base *base, const struct gather_options *options, struct taker_mode mode,
                   const struct pipeline_callbacks *callbacks, struct pipeline *ret, struct err *err)
{
    CLEANUP_PIPELINE struct pipeline started = {0};
    int rc = start_push(base, options, callbacks, &started.push, err);
    if (rc < 0)
        return rc;
    push_kick(started.push); /* what an earlier process left on disk */
    rc = taker_new(base->loop, base->httpc, base->spool, options, mode, &callbacks->taker, &started.taker, err);
    if (rc < 0)
        return rc;
    *ret = started;
    started = (struct pipeline){0};
    return 0;
}

void pipeline_stop(struct pipeline *pipeline)
{
    pipeline->taker = taker_free(pipeline->taker);
    pipeline->push = push_free(pipeline->push);
}
