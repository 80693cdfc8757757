/* What a body that is no profile is after all, told by its first bytes: endpoints give nearly the right thing in many
 * ways, and each has its cure. Pure; asked only once a check has failed.
 */
#ifndef PROFEFE_PPROF_FOREIGN_H
#define PROFEFE_PPROF_FOREIGN_H

#include "common/pprof/pprof.h"

struct pprof_foreign {
    enum pprof_verdict verdict; /* PPROF_TEXT or PPROF_MALFORMED */
    const char *what;
    const char *cure;           /* for one who wanted a profile; "WHAT: CURE" has at most PPROF_REASON_MAX - 1 bytes */
};

/* head: the first bytes, inflated if the body was gzip; PPROF_HEAD_MAX when it has so many. NULL = nothing known. */
const struct pprof_foreign *pprof_foreign_find(const void *head, size_t len);

#endif
