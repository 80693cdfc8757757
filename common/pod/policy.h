/* What a cluster says of its pods: the values that count where a pod is silent, and what pods may set them to. One INI
 * file, taken whole.
 */
#ifndef PROFEFE_POLICY_H
#define PROFEFE_POLICY_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/pod/limits.h"
#include "common/settings/settings.h"

struct policy {
    struct settings settings;
    struct limits limits;
};

void policy_done(struct policy *policy); /* empty as with {0} afterwards; usable with CLEANUP */

/* Reads the webhook's file over what is there, and checks that it satisfies its own [limits]. -EINVAL and what open(2)
 * says, with file, line and reason; *policy is then half read, and only to be done with. */
MUST_CHECK int policy_read(struct policy *policy, const char *path, struct err *err) NONNULL(1);

#endif
