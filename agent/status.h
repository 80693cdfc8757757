/* What the agent tells about itself: /healthz, /metrics and /status. Pure: a view in, text out. */
#ifndef PROFEFE_AGENT_STATUS_H
#define PROFEFE_AGENT_STATUS_H

#include "agent/gather.h"
#include "agent/options.h"
#include "common/buf.h"
#include "common/push.h"
#include "common/spool.h"

#include <stdint.h>

enum {
    STATUS_PAGE_MAX = 256 * 1024, /* 8 targets with 16 types each */
    STATUS_FAILING_INTERVALS = 3, /* a target or the collector failing for so long makes /healthz 500 … */
    STATUS_FAILING_RUNS = 2,      /* … when it failed so often: one slip of a type that is due every 5 intervals is none */
};

struct status_view {
    const struct warnings *problems; /* settings that make the agent idle: count 0 = none */
    const struct warnings *warnings; /* settings that were tolerated */
    const struct options *options;   /* these four are NULL while idle */
    const struct gather *gather;
    const struct push *push;
    const struct spool *spool;
    int64_t interval_ms;
    int64_t now_ms;                  /* monotonic */
    int64_t wall_ms;
    int64_t started_ms;              /* monotonic */
    int64_t started_wall_ms;
};

/* 200 with "ok", or 500 with a line for each reason. */
unsigned status_write_healthz(struct buf *out, const struct status_view *view);
void status_write_text(struct buf *out, const struct status_view *view);
void status_write_metrics(struct buf *out, const struct status_view *view);

#endif
