/* AdmissionReview (admission.k8s.io/v1 and v1beta1, k8s.io/api/admission types.go) in and out.
 *
 * The reply has the version that was asked in; v1 is checked strictly by the API server: uid echoed, patch and
 * patchType together or not at all.
 */
#ifndef PROFEFE_REVIEW_H
#define PROFEFE_REVIEW_H

#include "common/base/buf.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/base/warnings.h"
#include "common/pod/json.h"

#define REVIEW_OFFLINE_UID "00000000-0000-0000-0000-000000000000" /* of what never met an API server */

enum {
    REVIEW_UID_MAX = 253, /* a UUID has 36; a longer uid is not an API server's */
    /* A reply: the patch in base64 and WARNINGS_MAX warnings. */
    REVIEW_REPLY_MAX = 1024 * 1024,
};

/* Borrowed from the document. */
struct review {
    const char *api_version;    /* a constant */
    const char *uid;            /* 1 to REVIEW_UID_MAX bytes */
    const char *pod_namespace;  /* "" when the review names none */
    const char *name;           /* the pod's name, else its generateName, else "" */
    bool dry_run;
    const cJSON *object;        /* NULL unless this is the CREATE of a v1 Pod */
};

/* -EINVAL: no AdmissionReview of a version we know, no request, no uid. Whatever else is odd is a review of
 * something that is not ours: object is NULL. */
MUST_CHECK int review_read(const cJSON *root, struct review *ret, struct err *err);

/* The review that `kubectl apply` of this Pod would cause, for --review. -EINVAL: no v1 Pod. */
MUST_CHECK int review_wrap_pod(const cJSON *pod, struct review *ret, struct err *err);

bool review_is_review(const cJSON *root); /* kind is AdmissionReview */

struct review_response {
    bool allowed;
    struct span patch;               /* len 0 = none */
    const struct warnings *warnings; /* NULL = none; of a refusal they are the message, and not told twice */
    const char *decision;            /* for the audit log, with the first warning; NULL writes no audit annotations */
    const char *reason;              /* "" = none */
};

/* -ENOMEM or -ENOBUFS. */
int review_write(struct buf *out, const struct review *review, const struct review_response *response);

#endif
