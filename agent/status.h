/* What the agent tells about itself: /healthz, /metrics and /status. Pure: a view in, text out. The same view as
 * JSON: status_json.h.
 *
 * The account of profiles holds on every /metrics page and in the last line of the log: taken = stored (the results
 * stored and found) + dropped (all reasons) + waiting. */
#ifndef PROFEFE_AGENT_STATUS_H
#define PROFEFE_AGENT_STATUS_H

#include "common/gather/gather.h"
#include "agent/options.h"
#include "common/base/buf.h"
#include "common/push/push.h"
#include "common/spool/spool.h"

#include <stdint.h>

enum {
    STATUS_PAGE_MAX = 384 * 1024, /* 8 targets with 16 types each, as JSON, with a reason of the longest kind each */
    STATUS_DROPS_MAX = SPOOL_DROP_COUNT + PUSH_DROP_COUNT,
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

/* Profiles that were taken and lost since the start, by reason, the spool's and the pusher's together. */
struct status_drops {
    uint64_t sum;
    unsigned count;
    struct status_drop {
        const char *reason;
        uint64_t profiles;
    } items[STATUS_DROPS_MAX];
};
void status_count_drops(struct status_drops *drops, const struct spool_stats *spool, const struct push_stats *push);

/* Profiles that arrived: those whose push was answered, and those that the collector turned out to have. */
uint64_t status_count_stored(const struct push_stats *push);

/* 200 with "ok", or 500 with a line for each reason. */
unsigned status_write_healthz(struct buf *out, const struct status_view *view);
void status_write_text(struct buf *out, const struct status_view *view);
void status_write_metrics(struct buf *out, const struct status_view *view);

#endif
