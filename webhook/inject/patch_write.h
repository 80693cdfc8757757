/* Writes the patch that carries a plan out. */
#ifndef PROFEFE_PATCH_WRITE_H
#define PROFEFE_PATCH_WRITE_H

#include "webhook/inject/inject.h"
#include "webhook/inject/patch.h"

/* Fills `patch`, which is empty before and finished after: what a refused pod, or one that nobody asked for, gets has
 * no operations. 0, -ENOMEM or -ENOBUFS. */
MUST_CHECK int patch_write(const struct injection_plan *plan, struct patch *patch);

#endif
