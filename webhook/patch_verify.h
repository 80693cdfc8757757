/* Checks a patch as the API server will use it, before it can refuse a pod: for debug builds, tests and the fuzzer.
 *
 * A wrong patch is the one way in which this webhook can do harm: the pod is refused, failurePolicy Ignore or not.
 */
#ifndef PROFEFE_PATCH_VERIFY_H
#define PROFEFE_PATCH_VERIFY_H

#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/pod/json.h"
#include "common/pod/policy.h"

/* `body` is what was asked (an AdmissionReview or a Pod) and `patch` the finished patch for it, maybe empty. Holds when
 * the patch applies, the pod has lost nothing by it, and deciding again, on the patched pod, adds nothing.
 * 0, -EINVAL (it does not hold; err says what), or -ENOMEM. */
MUST_CHECK int patch_verify(const struct policy *policy, struct span body, bool all, struct span patch, struct err *err)
    NONNULL(1);

/* Everything in `before` is still in `after`: members of objects, and elements of arrays in their places. A null may
 * have become something, the status annotation another text, and a list of names longer to which ours is added. */
MUST_CHECK int patch_verify_nothing_lost(const cJSON *before, const cJSON *after, struct err *err);

#endif
