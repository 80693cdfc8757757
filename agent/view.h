/* What the agent's pages are written from: its state as it is now, borrowed, so that whoever writes one is pure.
 *
 * /healthz is health.h, /status is status_page.h and status_json.h, /metrics is metrics_page.h. */
#ifndef PROFEFE_AGENT_VIEW_H
#define PROFEFE_AGENT_VIEW_H

#include "agent/options.h"
#include "agent/spooling.h"
#include "common/base/buf.h"
#include "common/base/warnings.h"
#include "common/gather/taker.h"
#include "common/push/push.h"

#include <stdint.h>

enum {
    VIEW_PAGE_MAX = 384 * 1024, /* bytes: 8 targets with 16 types each, as JSON, each with a reason of the longest */
};

struct view {
    const struct warnings *problems; /* settings that make the agent idle: count 0 = none */
    const struct warnings *warnings; /* settings that were tolerated */
    const struct options *options;   /* NULL while idle */
    const struct attempt *start;     /* failing: nothing is taken yet, and it is tried again */
    const struct taker *taker;       /* NULL = does not work; then the next two are not looked at */
    const struct push *push;
    const struct spooling *spooling;
    int64_t interval_ms;
    int64_t now_ms;                  /* monotonic */
    int64_t wall_ms;
    int64_t started_ms;              /* monotonic */
    int64_t started_wall_ms;
};

/* Of an agent that works. */
const struct target *view_target(const struct view *view, const struct plan_job *job);
const char *view_destination_kind(const struct view *view); /* the setting's name */

/* For how long it has been failing, in seconds; since_ms is monotonic. */
long long view_seconds_since(const struct view *view, int64_t since_ms);

/* A line for each setting that makes the agent idle. */
void view_write_problems(struct buf *out, const struct view *view);

#endif
