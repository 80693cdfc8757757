/* The judgement of /healthz: whether somebody should look at this agent, and why. Pure. */
#ifndef PROFEFE_AGENT_HEALTH_H
#define PROFEFE_AGENT_HEALTH_H

#include "agent/view.h"

enum {
    HEALTH_FAILING_INTERVALS = 3, /* a target or the collector failing for so long is ill … */
    HEALTH_FAILING_RUNS = 2,      /* … when it failed so often: one slip of a type due every 5 intervals is none */
};

/* 200 with "ok", or 500 with a line for each reason. */
unsigned health_write(struct buf *out, const struct view *view);

#endif
