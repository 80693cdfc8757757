/* offline, workload: what --review answers for Deployments and their like, and for Lists. */
#include "alloc_fail.h"
#include "review_fixtures.h"

#include "webhook/offline.h"
#include "webhook/workload.h"

#define TEMPLATE(metadata) "'template':{'metadata':" metadata ",'spec':{'containers':[{'name':'web','image':'w'}]}}"
#define ASKED "{'annotations':{'profefe.com/enable':'true'}}"
#define SILENT "{}"

enum { ANSWERS_MAX = 2048 };

/* One line for each reply: its uid, the decision, the service, the controlling owner and the pod's name. */
struct told {
    char text[ANSWERS_MAX];
    int rc;
};

static int tell(void *ctx, const struct admission_result *result, const struct buf *reply)
{
    struct told *told = ctx;
    struct json json;
    if (json_read(&json, buf_text(reply), reply->len, NULL) != 0)
        fail_msg("no JSON: %s", buf_text(reply));
    assert_string_equal(json_get_text(json_get(json.root, "response"), "uid"), result->uid);
    json_done(&json);
    size_t len = strlen(told->text);
    snprintf(told->text + len, sizeof(told->text) - len, "%s %s %s %s/%s %s\n", result->uid,
             inject_decision_names[result->decision], result->service, result->owner_kind, result->owner_name,
             result->pod);
    assert_true(result->dry_run);
    return told->rc;
}

static int ask(const char *quoted, bool all, struct told *told, struct err *err)
{
    struct policy policy = {0};
    char *text = strdup(quoted);
    assert_non_null(text);
    init_settings(&policy.settings);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct offline_question question = {.body = span_of(text), .all = all, .pod_namespace = "test"};
    int rc = offline_answer(&policy, &question, tell, told, err);
    free(text);
    policy_done(&policy);
    return rc;
}

static void expect_told(const char *quoted, const char *want)
{
    struct told told = {.text = ""};
    struct err err = {0};
    if (ask(quoted, false, &told, &err) != 0)
        fail_msg("%s: %s", quoted, err.text);
    assert_string_equal(told.text, want);
}

static void workloads_are_answered_for_the_pod_that_their_controller_makes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{'kind':'Deployment','apiVersion':'apps/v1','metadata':{'name':'web','namespace':'shop'},"
         "'spec':{" TEMPLATE(ASKED) "}}",
         "Deployment/shop/web injected web ReplicaSet/web-0000000000 web-0000000000-\n"},
        {"{'kind':'ReplicaSet','apiVersion':'apps/v1','metadata':{'name':'web-5d'},'spec':{" TEMPLATE(
             "{'labels':{'pod-template-hash':'5d'},'annotations':{'profefe.com/enable':'true'}}") "}}",
         "ReplicaSet/test/web-5d injected web ReplicaSet/web-5d web-5d-\n"},
        {"{'kind':'StatefulSet','apiVersion':'apps/v1','metadata':{'name':'db'},'spec':{" TEMPLATE(ASKED) "}}",
         "StatefulSet/test/db injected db StatefulSet/db db-0\n"},
        {"{'kind':'DaemonSet','apiVersion':'apps/v1','metadata':{'name':'node'},'spec':{" TEMPLATE(SILENT) "}}",
         "DaemonSet/test/node skipped node DaemonSet/node node-\n"},
        {"{'kind':'Job','apiVersion':'batch/v1','metadata':{'name':'load'},'spec':{" TEMPLATE(ASKED) "}}",
         "Job/test/load injected load Job/load load-\n"},
        {"{'kind':'Job','apiVersion':'batch/v1','metadata':{'generateName':'load-'},'spec':{" TEMPLATE(ASKED) "}}",
         "Job/test/load- injected load-00000 Job/load-00000 load-00000-\n"},
        {"{'kind':'CronJob','apiVersion':'batch/v1','metadata':{'name':'night'},"
         "'spec':{'jobTemplate':{'spec':{" TEMPLATE(ASKED) "}}}}",
         "CronJob/test/night injected night Job/night-00000000 night-00000000-\n"},
        {"{'kind':'Deployment','apiVersion':'apps/v1','metadata':{'name':'web'},'spec':{" TEMPLATE(
             "{'labels':{'app':'shop'},'annotations':{'profefe.com/enable':'true'}}") "}}",
         "Deployment/test/web injected shop ReplicaSet/web-0000000000 web-0000000000-\n"},
        /* An annotation on the Deployment itself is none of the pod's. */
        {"{'kind':'Deployment','apiVersion':'apps/v1',"
         "'metadata':{'name':'web','annotations':{'profefe.com/enable':'true'}},'spec':{" TEMPLATE(SILENT) "}}",
         "Deployment/test/web skipped web ReplicaSet/web-0000000000 web-0000000000-\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_told(rows[i].text, rows[i].want);
}

static void list_is_answered_item_by_item(void **state)
{
    (void)state;
    expect_told("{'kind':'List','apiVersion':'v1','items':[{'kind':'Service','apiVersion':'v1'},7,"
                "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'one','annotations':{'profefe.com/enable':'true'}},"
                "'spec':{'containers':[{'name':'web'}]}},"
                "{'kind':'StatefulSet','apiVersion':'apps/v1','metadata':{'name':'db'},'spec':{" TEMPLATE(ASKED) "}}]}",
                "Pod/test/one injected one / one\n"
                "StatefulSet/test/db injected db StatefulSet/db db-0\n");
}

static void list_without_pods_is_told(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{'kind':'List','apiVersion':'v1'}",
        "{'kind':'List','apiVersion':'v1','items':[]}",
        "{'kind':'List','apiVersion':'v1','items':'none'}",
        "{'kind':'List','apiVersion':'v1','items':[{'kind':'Service','apiVersion':'v1'},null]}",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct told told = {.text = ""};
        struct err err = {0};
        assert_int_equal(ask(rows[i], false, &told, &err), -EINVAL);
        assert_string_equal(err.text, "items: expected a Pod or a workload among them, got none");
        assert_string_equal(told.text, "");
    }
}

/* A template that no controller could use is a pod that nothing is done about. */
static void odd_workloads_are_skipped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{'kind':'Deployment','apiVersion':'apps/v1'}", "Deployment/test/ skipped  / -0000000000-\n"},
        {"{'kind':'Job','apiVersion':'batch/v1','metadata':[],'spec':'x'}", "Job/test/ skipped  / -\n"},
        {"{'kind':'CronJob','apiVersion':'batch/v1','metadata':{'name':7},'spec':{'jobTemplate':null}}",
         "CronJob/test/ skipped  / -00000000-\n"},
        {"{'kind':'Deployment','apiVersion':'apps/v1','metadata':{'name':'web'},"
         "'spec':{'template':{'metadata':{'labels':[]},'spec':{}}}}",
         "Deployment/test/web skipped  / web-0000000000-\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_told(rows[i].text, rows[i].want);
}

static void other_groups_and_kinds_are_no_workloads(void **state)
{
    (void)state;
    static const char *const rows[] = {"{'kind':'Deployment','apiVersion':'example.com/v1'}",
                                       "{'kind':'Pod','apiVersion':'v1'}", "{'kind':'List'}", "[]", "null"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json json;
        read_quoted(&json, rows[i]);
        assert_false(workload_is(json.root));
        json_done(&json);
    }
}

static void workload_of_another_version_is_told_by_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{'kind':'Deployment','apiVersion':'extensions/v1beta1'}",
         "apiVersion: expected apps/v1 of a Deployment, got \"extensions/v1beta1\""},
        {"{'kind':'CronJob','apiVersion':'batch/v1beta1'}",
         "apiVersion: expected batch/v1 of a CronJob, got \"batch/v1beta1\""},
        {"{'kind':'List','apiVersion':'v2\\n','items':[]}", "apiVersion: expected v1 of a List, got \"v2\\x0a\""},
        {"{'kind':'Job'}", "apiVersion: expected batch/v1 of a Job, got none"},
        {"{'kind':'DeploymentConfig','apiVersion':'apps.openshift.io/v1'}",
         "kind: expected AdmissionReview, Pod, List or a workload such as Deployment, got \"DeploymentConfig\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct told told = {.text = ""};
        struct err err = {0};
        assert_int_equal(ask(rows[i].text, false, &told, &err), -EINVAL);
        assert_string_equal(err.text, rows[i].want);
        assert_string_equal(told.text, "");
    }
}

static void walk_ends_when_nobody_takes_a_reply(void **state)
{
    (void)state;
    struct told told = {.text = "", .rc = -EIO};
    struct err err = {0};
    assert_int_equal(ask("{'kind':'List','apiVersion':'v1','items':[{'kind':'Pod','apiVersion':'v1'},{'kind':'Pod',"
                         "'apiVersion':'v1'}]}", true, &told, &err), -EIO);
    assert_string_equal(told.text, "Pod/test/ skipped  / \n");
}

/* A name of any length, and controls in it, make a review that reads. */
static void long_and_odd_names_make_a_review(void **state)
{
    (void)state;
    static char text[20000];
    char name[9001];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text),
             "{'kind':'Deployment','apiVersion':'apps/v1','metadata':{'name':'\\u0001%s','namespace':'%s'}}", name,
             name);
    struct json json, review;
    struct buf out;
    read_quoted(&json, text);
    buf_init(&out, WORKLOAD_REVIEW_MAX);
    assert_int_equal(workload_write_review(&out, json.root, "test", NULL), 0);
    assert_int_equal(json_read(&review, buf_text(&out), out.len, NULL), 0);
    assert_true(strlen(json_get_text(json_get(review.root, "request"), "uid")) <= REVIEW_UID_MAX);
    json_done(&review);
    buf_done(&out);
    json_done(&json);
}

static void review_that_does_not_fit_is_told(void **state)
{
    (void)state;
    struct json json;
    struct err err = {0};
    read_quoted(&json,
                "{'kind':'Job','apiVersion':'batch/v1','metadata':{'name':'load'},'spec':{" TEMPLATE(ASKED) "}}");
    for (size_t max = 0; max < 100; max++) {
        struct buf out;
        buf_init(&out, max);
        assert_int_equal(workload_write_review(&out, json.root, "test", &err), -ENOBUFS);
        buf_done(&out);
    }
    assert_string_equal(err.text, "the review would be too large");
    json_done(&json);
}

static int write_without_memory(void *ctx)
{
    struct buf out;
    buf_init(&out, WORKLOAD_REVIEW_MAX);
    int rc = workload_write_review(&out, ctx, "test", NULL);
    buf_done(&out);
    return rc;
}

static void review_survives_want_of_memory(void **state)
{
    (void)state;
    struct json json;
    read_quoted(&json,
                "{'kind':'Deployment','apiVersion':'apps/v1','metadata':{'name':'web'},'spec':{" TEMPLATE(
                    "{'labels':{'app':'shop'},'annotations':{'profefe.com/enable':'true'},'finalizers':['x']}") "}}");
    assert_true(alloc_fail_in_turn("a review of a Deployment", write_without_memory, json.root) > 0);
    json_done(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workloads_are_answered_for_the_pod_that_their_controller_makes),
        cmocka_unit_test(list_is_answered_item_by_item),
        cmocka_unit_test(list_without_pods_is_told),
        cmocka_unit_test(odd_workloads_are_skipped),
        cmocka_unit_test(other_groups_and_kinds_are_no_workloads),
        cmocka_unit_test(workload_of_another_version_is_told_by_it),
        cmocka_unit_test(walk_ends_when_nobody_takes_a_reply),
        cmocka_unit_test(long_and_odd_names_make_a_review),
        cmocka_unit_test(review_that_does_not_fit_is_told),
        cmocka_unit_test(review_survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
