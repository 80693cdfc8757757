/* libcurl's memory, counted: it reports a header line over its own limit as "out of memory", and a lack of memory under
 * many names. Only counting tells one from the other. For any thread: libcurl's resolver threads allocate as well.
 */
#ifndef PROFEFE_HTTPC_MEMORY_H
#define PROFEFE_HTTPC_MEMORY_H

#include "common/base/err.h"
#include "common/base/marks.h"

/* libcurl is started with the first user and ended with the last one. -ENOMEM. */
MUST_CHECK int httpc_memory_ref(struct err *err);
void httpc_memory_unref(void);

/* How often libcurl got no memory, in the life of the process. */
unsigned long httpc_memory_failures(void);

#endif
