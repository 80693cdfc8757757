#include "webhook/offline.h"

#include "common/base/cleanup.h"
#include "webhook/workload.h"

/* Whom the replies go to, and what is used again for each. */
struct answers {
    const struct policy *policy;
    const struct offline_question *question;
    offline_take *take;
    void *ctx;
    struct admission_result result;
    struct buf review, reply;
};

static void answers_done(struct answers *answers)
{
    buf_done(&answers->review);
    buf_done(&answers->reply);
}

static int give(struct answers *answers)
{
    return answers->take(answers->ctx, &answers->result, &answers->reply);
}

static int answer_document(struct answers *answers, struct err *err)
{
    const struct offline_question *q = answers->question;
    int rc = admission_answer_offline(answers->policy, q->body, q->all, q->pod_namespace, &answers->result,
                                      &answers->reply, err);
    return rc < 0 ? rc : give(answers);
}

static int answer_item(struct answers *answers, const cJSON *item, struct err *err)
{
    const struct offline_question *q = answers->question;
    buf_clear(&answers->review);
    int rc =
        workload_write_review(&answers->review, item, q->pod_namespace != NULL ? q->pod_namespace : "default", err);
    if (rc < 0)
        return rc;
    const struct span body = {buf_text(&answers->review), answers->review.len};
    rc = admission_answer(answers->policy, body, q->all, &answers->result, &answers->reply, err);
    return rc < 0 ? rc : give(answers);
}

static int answer_items(struct answers *answers, const cJSON *root, struct err *err)
{
    struct workload_iter iter = {.root = root};
    unsigned count = 0;
    for (; workload_iter_next(&iter); count++) {
        int rc = answer_item(answers, iter.item, err);
        if (rc < 0)
            return rc;
    }
    return count > 0 ? 0 : err_set(err, EINVAL, "items: expected a Pod or a workload among them, got none");
}

int offline_answer(const struct policy *policy, const struct offline_question *question, offline_take *take, void *ctx,
                   struct err *err)
{
    CLEANUP(json_done) struct json json = {0};
    CLEANUP(answers_done) struct answers answers = {
        .policy = policy, .question = question, .take = take, .ctx = ctx};
    buf_init(&answers.review, WORKLOAD_REVIEW_MAX);
    buf_init(&answers.reply, REVIEW_REPLY_MAX);
    int rc = json_read(&json, question->body.ptr, question->body.len, err);
    if (rc < 0)
        return rc;
    rc = workload_check_version(json.root, err);
    if (rc < 0)
        return rc;
    return workload_is(json.root) ? answer_items(&answers, json.root, err) : answer_document(&answers, err);
}
