/* What the daemon and --once have in common: the loop, the client, the spool, and gathering and sending on them. */
#ifndef PROFEFE_AGENT_ENGINE_H
#define PROFEFE_AGENT_ENGINE_H

#include "common/gather/taker.h"
#include "common/gather/gather_options.h"
#include "common/http/credentials.h"
#include "common/push/push.h"

struct engine {
    struct loop *loop; /* always there after engine_init */
    struct httpc *httpc;
    struct spool *spool;
    struct credentials *credentials; /* NULL = none */
    struct push *push;
    struct taker *taker; /* NULL = idle */
};

struct engine_callbacks {
    void (*settled)(void *ctx, uint64_t id, bool stored);
    struct taker_callbacks taker; /* its ctx is used for settled too */
};

/* The loop alone; then, unless idle, the rest. On failure engine_done cleans up what there is. */
int engine_init(struct engine *engine, struct err *err);
int engine_start(struct engine *engine, const struct gather_options *options, bool once, const struct engine_callbacks *callbacks,
                 struct err *err);
void engine_stop(struct engine *engine); /* all but the loop */
void engine_done(struct engine *engine);

#endif
