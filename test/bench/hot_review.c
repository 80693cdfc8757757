/* The hot path of the webhook for `instructions`: from a review's bytes to its reply.
 *
 * usage: hot_review FILE     answers the review in FILE once to warm up, then HOT_REPEATS times inside hot_measure()
 */
#include "hot.h"

#include "webhook/admission.h"

static void set(struct settings *settings, enum setting_id id, const char *text)
{
    struct err err = {.text = ""};
    if (settings_set(settings, id, (struct span){text, strlen(text)}, SETTING_FROM_INI, &err) < 0)
        hot_fail(text, err.text);
}

struct job {
    struct policy policy;
    struct span body;
    struct buf reply;
    struct admission_result result;
};

static void answer(void *ctx)
{
    struct job *job = ctx;
    struct err err = {.text = ""};
    if (admission_answer(&job->policy, job->body, /* all= */ false, &job->result, &job->reply, &err) < 0)
        hot_fail("the review", err.text);
}

int main(int argc, char **argv)
{
    static struct job job;
    struct hot_file file = hot_read_file(argc, argv);
    job.body = (struct span){file.bytes, file.len};
    set(&job.policy.settings, SETTING_IMAGE, "localhost/profefe-agent:dev");
    set(&job.policy.settings, SETTING_COLLECTOR, "http://profefe.profefe-system.svc.cluster.local.:10100");
    buf_init(&job.reply, REVIEW_REPLY_MAX);
    hot_run(answer, &job);
    buf_done(&job.reply);
    free(file.bytes);
    return 0;
}
