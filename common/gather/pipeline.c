#include "common/gather/pipeline.h"

#include "common/base/cleanup.h"
#include "common/push/deliver_dir.h"
#include "common/push/deliver_http.h"

static int make_delivery(const struct pipeline_base *base, const struct gather_options *options, struct delivery **ret,
                         struct err *err)
{
    const struct deliver_dir_options dir = {.path = options->output_dir, .sharer = options->program->noun,
                                            .service = options->service, .pod = options->instance};
    const struct deliver_http_options http = {
        .collector = options->collector,
        .credentials = base->credentials,
        .ca_hint = base->ca_hint,
        .service = options->service,
        .instance_id = options->instance,
        .connect_timeout_ms = options->connect_timeout_ms,
        .timeout_ms = options->push_timeout_ms,
    };
    return options->output_dir != NULL ? deliver_dir_new(base->loop, &dir, ret, err)
                                       : deliver_http_new(base->loop, base->httpc, &http, ret, err);
}

static int start_push(const struct pipeline_base *base, const struct gather_options *options,
                      const struct pipeline_callbacks *callbacks, struct push **ret, struct err *err)
{
    CLEANUP_DELIVERY struct delivery *delivery = NULL;
    const struct push_options push = {
        .outgoing = {.labels = &options->labels, .targets = &options->targets, .sample_labels = options->sample_labels},
        .retry_min_ms = options->retry_min_ms,
        .retry_max_ms = options->retry_max_ms,
        .age_max_ms = options->spool_age_ms,
        .settled = callbacks->settled,
        .settled_ctx = callbacks->taker.ctx,
    };
    int rc = make_delivery(base, options, &delivery, err);
    if (rc == 0)
        rc = push_new(base->loop, base->spool, delivery, &push, ret, err);
    if (rc == 0)
        delivery = NULL; /* taken over */
    return rc;
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

void pipeline_change_spool(struct pipeline *pipeline, struct spool *spool)
{
    taker_change_spool(pipeline->taker, spool);
    push_go_on_with(pipeline->push, spool);
}
