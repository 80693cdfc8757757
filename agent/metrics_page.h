/* /metrics for Prometheus. Pure.
 *
 * The account of profiles (account.h) holds on every page. */
#ifndef PROFEFE_AGENT_METRICS_PAGE_H
#define PROFEFE_AGENT_METRICS_PAGE_H

#include "agent/view.h"

void metrics_page_write(struct buf *out, const struct view *view);

#endif
