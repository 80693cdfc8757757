/* Taking and sending under one identity: a taker fills a spool, a pusher empties it. Any number of pipelines share one
 * loop, one client and, where they send to the same collector, the credentials; each has a spool of its own.
 */
#ifndef PROFEFE_PIPELINE_H
#define PROFEFE_PIPELINE_H

#include "common/base/cleanup.h"
#include "common/base/marks.h"
#include "common/gather/gather_options.h"
#include "common/gather/taker.h"
#include "common/http/credentials.h"
#include "common/push/push.h"

enum {
    PIPELINE_TRANSFERS_MAX = 2, /* that a pipeline has under way at once: one from the app, one to the collector */
};

/* What a pipeline stands on: borrowed for its life. */
struct pipeline_base {
    struct loop *loop;
    struct httpc *httpc;
    struct credentials *credentials; /* for the collector; NULL = none */
    const char *ca_hint;             /* where a person puts the collector's CA certificates; NULL = no hint */
    struct spool *spool;
};

struct pipeline {
    struct push *push;
    struct taker *taker; /* NULL = does not work */
};

struct pipeline_callbacks {
    void (*settled)(void *ctx, uint64_t id, bool stored); /* as push_options.settled */
    struct taker_callbacks taker;                         /* its ctx is used for settled too */
};

/* What waits in the spool already is sent at once. On failure *ret is empty. Stop with pipeline_stop. */
MUST_CHECK int pipeline_start(const struct pipeline_base *base, const struct gather_options *options,
                              struct taker_mode mode, const struct pipeline_callbacks *callbacks, struct pipeline *ret,
                              struct err *err) NONNULL(1);
void pipeline_stop(struct pipeline *pipeline); /* also an empty one; empty after it */

/* From now on profiles go into this spool, borrowed like the first; those that wait in the first are sent before
 * them. Once, and not while a profile is taken (taker_running). */
void pipeline_change_spool(struct pipeline *pipeline, struct spool *spool);

#define CLEANUP_PIPELINE CLEANUP(pipeline_stop)

#endif
