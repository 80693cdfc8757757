/* /status for people. Pure. */
#ifndef PROFEFE_AGENT_STATUS_PAGE_H
#define PROFEFE_AGENT_STATUS_PAGE_H

#include "agent/view.h"

void status_page_write(struct buf *out, const struct view *view);

#endif
