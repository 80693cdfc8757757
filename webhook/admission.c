#include "webhook/admission.h"

#include "common/base/cleanup.h"
#include "common/base/utf8.h"
#include "webhook/inject/patch_write.h"
#include "webhook/patch_verify.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void copy_text(char to[static ADMISSION_TEXT_MAX + 1], const char *from, size_t len)
{
    len = utf8_cut(from, len, ADMISSION_TEXT_MAX);
    memcpy(to, from, len);
    to[len] = '\0';
}

static void fill_result(const struct review *review, const struct injection_plan *plan, struct admission_result *ret)
{
    const struct service_name *service = &plan->service;
    ret->decision = plan->decision;
    ret->reason = plan->reason;
    ret->dry_run = review->dry_run;
    ret->restored = plan->restore >= 0;
    ret->warnings = plan->warnings;
    copy_text(ret->uid, review->uid, strlen(review->uid));
    copy_text(ret->pod_namespace, review->pod_namespace, strlen(review->pod_namespace));
    copy_text(ret->pod, review->name, strlen(review->name));
    copy_text(ret->owner_kind, service->owner_kind, strlen(service->owner_kind));
    copy_text(ret->owner_name, service->owner_name, strlen(service->owner_name));
    copy_text(ret->service, service->text.len > 0 ? service->text.ptr : "", service->text.len);
}

/* Of a second call the API server knows the decision already; another value for the same audit key is an error line in
 * its log. */
static int write_reply(const struct review *review, const struct injection_plan *plan, const struct patch *patch,
                       struct buf *reply)
{
    const struct review_response response = {
        .allowed = plan->decision != INJECT_DENIED,
        .patch = {buf_text(&patch->text), patch->count > 0 ? patch->text.len : 0},
        .warnings = &plan->warnings,
        .decision = plan->decision != INJECT_UNCHANGED ? inject_decision_names[plan->decision] : NULL,
        .reason = inject_reason_names[plan->reason],
    };
    return review_write(reply, review, &response);
}

#ifndef NDEBUG
static void verify(const struct policy *policy, struct span body, bool all, const struct patch *patch)
{
    struct err err = {.text = ""};
    int rc = patch_verify(policy, body, all, (struct span){buf_text(&patch->text), patch->text.len}, &err);
    if (rc == -EINVAL)
        fprintf(stderr, "wrong patch: %s\n%s\n", err.text, buf_text(&patch->text));
    assert(rc != -EINVAL);
}
#else
static void verify(const struct policy *policy, struct span body, bool all, const struct patch *patch)
{
    (void)policy, (void)body, (void)all, (void)patch;
}
#endif

static int answer_review(const struct policy *policy, struct span body, bool all, const struct review *review,
                         struct admission_result *ret, struct buf *reply, struct err *err)
{
    CLEANUP(patch_done) struct patch patch;
    CLEANUP(inject_plan_done) struct injection_plan plan;
    patch_init(&patch);
    int rc = inject_decide(policy, review->object, all, &plan, err);
    if (rc < 0)
        return rc;
    rc = patch_write(&plan, &patch);
    if (rc == 0)
        rc = write_reply(review, &plan, &patch, reply);
    if (rc < 0)
        return err_set(err, -rc, rc == -ENOMEM ? "no memory for a reply" : "the reply would be too large");
    verify(policy, body, all, &patch);
    fill_result(review, &plan, ret);
    return 0;
}

int admission_answer(const struct policy *policy, struct span body, bool all, struct admission_result *ret,
                     struct buf *reply, struct err *err)
{
    CLEANUP(json_done) struct json json = {0};
    struct review review;
    buf_clear(reply);
    int rc = json_read(&json, body.ptr, body.len, err);
    if (rc == 0)
        rc = review_read(json.root, &review, err);
    return rc < 0 ? rc : answer_review(policy, body, all, &review, ret, reply, err);
}

int admission_answer_offline(const struct policy *policy, struct span body, bool all, const char *pod_namespace,
                             struct admission_result *ret, struct buf *reply, struct err *err)
{
    CLEANUP(json_done) struct json json = {0};
    struct review review;
    buf_clear(reply);
    int rc = json_read(&json, body.ptr, body.len, err);
    if (rc == 0)
        rc = review_is_review(json.root) ? review_read(json.root, &review, err)
                                         : review_wrap_pod(json.root, &review, err);
    if (rc < 0)
        return rc;
    if (review.pod_namespace[0] == '\0')
        review.pod_namespace = pod_namespace != NULL ? pod_namespace : "default";
    return answer_review(policy, body, all, &review, ret, reply, err);
}
