/* What makes pods, for --review: a Deployment and its like, and a List of them, become the AdmissionReviews that an API
 * server would send for their pods.
 *
 * The pod has what its controller takes from the template (labels, annotations, finalizers, spec) and what tells whose
 * it is: namespace, generateName, the controlling owner, and the labels by which the service name is found. What only a
 * cluster knows stands in as zeros: the template hash of a Deployment, the time in the name of a CronJob's Job. Left
 * out is what no rule of ours looks at: volumes of a StatefulSet's claims, tolerations of a DaemonSet. Pure.
 */
#ifndef PROFEFE_WORKLOAD_H
#define PROFEFE_WORKLOAD_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/pod/json.h"

#include <stdbool.h>

enum {
    /* Bytes of one review. JSON of 4 MiB, the most that is read, grows by what escaping adds. */
    WORKLOAD_REVIEW_MAX = 16 * 1024 * 1024,
};

/* A Deployment, ReplicaSet, StatefulSet or DaemonSet of apps/v1, a Job or CronJob of batch/v1, or a v1 List. */
bool workload_is(const cJSON *root);

/* -EINVAL for one of these kinds in another apiVersion, such as the older extensions/v1beta1; 0 for anything else. */
MUST_CHECK int workload_check_version(const cJSON *root, struct err *err);

/* Walks over the pods of one document: a workload has one, a List one for each workload and each Pod in it. Zero all
 * but `root`. */
struct workload_iter {
    const cJSON *root;
    const cJSON *item;
    bool started;
};
bool workload_iter_next(struct workload_iter *iter);

/* Writes the AdmissionReview for the pod of `item`, which an iter gave, into the empty `out` (WORKLOAD_REVIEW_MAX). Its
 * uid says what it is about, KIND/NAMESPACE/NAME; pod_namespace counts where the item names none. -ENOMEM or -ENOBUFS.
 */
MUST_CHECK int workload_write_review(struct buf *out, const cJSON *item, const char *pod_namespace, struct err *err);

#endif
