/* How large a spool and one profile in it may be: the numbers that whoever keeps a spool, whoever reads its size from a
 * setting, and whoever makes room for it in a pod must agree on. When they do not, the kubelet evicts the pod: the
 * sizeLimit of an emptyDir follows from them.
 */
#ifndef PROFEFE_SPOOL_SIZE_H
#define PROFEFE_SPOOL_SIZE_H

#include <stdint.h>

/* A macro and one number, since --help shows it as it is written here. */
#define SPOOL_BUDGET_DEFAULT 8388608 /* bytes: 8 MiB */

enum {
    SPOOL_BUDGET_MIN = 256 * 1024,           /* bytes, as all here */
    SPOOL_BUDGET_MAX = 1024 * 1024 * 1024,
    SPOOL_PROFILE_MAX = 64 * 1024 * 1024,    /* one profile on disk; the largest seen in the field are 8 MB */
};

/* The largest profile that a spool on disk takes: half of its budget, since one may wait while another is written. */
static inline uint64_t spool_profile_max(uint64_t budget_bytes)
{
    return budget_bytes / 2 < SPOOL_PROFILE_MAX ? budget_bytes / 2 : SPOOL_PROFILE_MAX;
}

#endif
