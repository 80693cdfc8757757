/* What --review does: one document in (an AdmissionReview, a Pod, a workload or a List), its replies out, one by one.
 */
#ifndef PROFEFE_OFFLINE_H
#define PROFEFE_OFFLINE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/pod/policy.h"
#include "webhook/admission.h"

#include <stdbool.h>

struct offline_question {
    struct span body;
    bool all;                  /* answer as /mutate/all does */
    const char *pod_namespace; /* of what names none; NULL = "default" */
};

/* Takes one reply, in the order of the document. Both are borrowed for the call; a failure ends the walk. */
typedef int offline_take(void *ctx, const struct admission_result *result, const struct buf *reply);

/* 0, what `take` returned, or as admission_answer; -EINVAL also for a List without a Pod or a workload. */
MUST_CHECK int offline_answer(const struct policy *policy, const struct offline_question *question, offline_take *take,
                              void *ctx, struct err *err);

#endif
