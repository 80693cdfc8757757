/* From the bytes of an AdmissionReview to the bytes of its reply. Pure, and the only door to it all:
 *
 *     read (json, review) -> decide (inject) -> write (patch_write, review)
 *
 * What becomes of the return value is up to the server:
 *     0         the reply is a well-formed AdmissionReview: 200
 *     -EINVAL   not an AdmissionReview at all: 400 with err->text
 *     -EFBIG    takes more than JSON_MEMORY_MAX to read: 413
 *     -ENOMEM   500. Under failurePolicy Ignore each of them lets the pod start as it is.
 *     -ENOBUFS  the reply is over its buffer's limit (REVIEW_REPLY_MAX is enough for any): 500
 */
#ifndef PROFEFE_ADMISSION_H
#define PROFEFE_ADMISSION_H

#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/pod/policy.h"
#include "webhook/inject/inject.h"
#include "webhook/review.h"

enum {
    ADMISSION_TEXT_MAX = 253, /* bytes kept of each text below: the longest Kubernetes name; longer ones are cut */
};

/* For the log and the metrics. Texts come from outside: not escaped here. "" = not known. */
struct admission_result {
    enum inject_decision decision;
    enum inject_reason reason;
    bool dry_run;
    bool restored; /* our container had lost its restartPolicy and gets it back */
    char uid[ADMISSION_TEXT_MAX + 1];
    char pod_namespace[ADMISSION_TEXT_MAX + 1];
    char pod[ADMISSION_TEXT_MAX + 1]; /* its name or generateName */
    char owner_kind[ADMISSION_TEXT_MAX + 1]; /* of the controlling owner */
    char owner_name[ADMISSION_TEXT_MAX + 1];
    char service[ADMISSION_TEXT_MAX + 1];
    struct warnings warnings;
};

/* Answers one review. `all`: it came to /mutate/all. `reply` was initialised by the caller (REVIEW_REPLY_MAX); it is
 * cleared first and incomplete after a failure. *ret is set on success only. */
MUST_CHECK int admission_answer(const struct policy *policy, struct span body, bool all, struct admission_result *ret,
                                struct buf *reply, struct err *err) NONNULL(1);

/* The same for --review, which also takes a bare Pod. `pod_namespace` is used where the input names none; NULL
 * means "default". */
MUST_CHECK int admission_answer_offline(const struct policy *policy, struct span body, bool all,
                                        const char *pod_namespace, struct admission_result *ret, struct buf *reply,
                                        struct err *err) NONNULL(1);

#endif
