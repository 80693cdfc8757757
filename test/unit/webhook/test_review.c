/* review: the wire format of AdmissionReview, beyond what the fixtures show. */
#include "review_fixtures.h"

#include "webhook/review.h"

static const struct review review = {.api_version = "admission.k8s.io/v1", .uid = "u", .pod_namespace = "", .name = ""};

static void expect_reply(const struct review_response *response, const char *want)
{
    struct buf out;
    buf_init(&out, REVIEW_REPLY_MAX);
    assert_int_equal(review_write(&out, &review, response), 0);
    assert_string_equal(buf_text(&out), want);
    buf_done(&out);
}

static void review_reply_holds_only_what_there_is(void **state)
{
    (void)state;
    const struct review_response response = {.allowed = true, .reason = ""};
    expect_reply(&response,
                 "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":\"u\","
                 "\"allowed\":true}}");
}

static void review_reply_holds_all_of_it(void **state)
{
    (void)state;
    struct warnings warnings;
    warnings_clear(&warnings);
    warnings_add(&warnings, "a \"quoted\" one");
    warnings_add(&warnings, "tab\there");
    const struct review_response response = {
        .allowed = true, .patch = {"[]", 2}, .warnings = &warnings, .decision = "skipped", .reason = "windows"};
    expect_reply(
        &response,
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":\"u\","
        "\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"W10=\",\"warnings\":[\"a \\\"quoted\\\" one\","
        "\"tab\\\\x09here\"],\"auditAnnotations\":{\"decision\":\"skipped\",\"reason\":\"windows\",\"warning\":\"a "
        "\\\"quoted\\\" one\"}}}");
}

/* metav1.Status: without a message the API server makes one up. All that is wrong is in it, and only there. */
static void review_reply_says_why_not(void **state)
{
    (void)state;
    struct warnings warnings;
    warnings_clear(&warnings);
    warnings_add(&warnings, "say \"no\"");
    warnings_add(&warnings, "twice");
    const struct review_response response = {.warnings = &warnings, .decision = "denied", .reason = ""};
    expect_reply(
        &response,
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":\"u\","
        "\"allowed\":false,\"status\":{\"code\":403,\"reason\":\"Forbidden\",\"message\":\"say \\\"no\\\" | twice\"},"
        "\"auditAnnotations\":{\"decision\":\"denied\",\"warning\":\"say \\\"no\\\"\"}}}");
}

/* RFC 4648 §10, and every byte. */
static void review_patch_is_base64(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {{"f", "Zg=="},         {"fo", "Zm8="},         {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},  {"fooba", "Zm9vYmE="},  {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[256];
        snprintf(want, sizeof(want),
                 "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":"
                 "{\"uid\":\"u\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"%s\"}}",
                 cases[i].want);
        const struct review_response response = {.allowed = true, .patch = span_of(cases[i].text), .reason = ""};
        expect_reply(&response, want);
    }
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    for (size_t len = 1; len <= sizeof(bytes); len++) {
        struct buf out;
        struct json json;
        size_t got_len = 0;
        const struct review_response response = {.allowed = true, .patch = {bytes, len}, .reason = ""};
        buf_init(&out, REVIEW_REPLY_MAX);
        assert_int_equal(review_write(&out, &review, &response), 0);
        assert_int_equal(json_read(&json, buf_text(&out), out.len, NULL), 0);
        char *got = decode_base64(json_get_text(json_get(json.root, "response"), "patch"), &got_len);
        assert_non_null(got);
        assert_int_equal(got_len, len);
        assert_memory_equal(got, bytes, len);
        free(got);
        json_done(&json);
        buf_done(&out);
    }
}

static void review_write_says_when_it_does_not_fit(void **state)
{
    (void)state;
    const struct review_response response = {.allowed = true, .patch = span_of("a patch of some length"), .reason = ""};
    struct buf whole, out;
    buf_init(&whole, REVIEW_REPLY_MAX);
    assert_int_equal(review_write(&whole, &review, &response), 0);
    for (size_t max = 0; max < whole.len; max++) {
        buf_init(&out, max);
        assert_int_equal(review_write(&out, &review, &response), -ENOBUFS);
        buf_done(&out);
    }
    buf_done(&whole);
}

/* A name is for the log: request.name, else the pod's, else its generateName. */
static void review_finds_a_name(void **state)
{
    (void)state;
    static const struct {
        const char *request, *want;
    } cases[] = {
        {"'name':'r','object':{'metadata':{'name':'p','generateName':'g-'}}", "r"},
        {"'name':null,'object':{'metadata':{'name':'p','generateName':'g-'}}", "p"},
        {"'name':'','object':{'metadata':{'name':'','generateName':'g-'}}", "g-"},
        {"'name':7,'object':{'metadata':{'name':[],'generateName':'g-'}}", "g-"},
        {"'object':{}", ""},
        {"'object':null", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json json;
        struct review got;
        char text[256];
        snprintf(text, sizeof(text),
                 "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1','request':{'uid':'u',%s}}",
                 cases[i].request);
        read_quoted(&json, text);
        assert_int_equal(review_read(json.root, &got, NULL), 0);
        assert_string_equal(got.name, cases[i].want);
        assert_null(got.object); /* no CREATE of a Pod */
        json_done(&json);
    }
}

static void review_wraps_only_pods(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{'kind':'Pod','apiVersion':'v1'}", ""},
        {"{'kind':'Service','apiVersion':'v1'}",
         "kind: expected AdmissionReview, Pod, List or a workload such as Deployment, got \"Service\""},
        {"{'kind':'Pod','apiVersion':'v2'}", "apiVersion: expected v1, got \"v2\""},
        {"{'kind':'Pod'}", "apiVersion: expected v1, got none"},
        {"[]", "kind: expected AdmissionReview, Pod, List or a workload such as Deployment, got none"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json json;
        struct review got;
        struct err err = {0};
        read_quoted(&json, cases[i].text);
        assert_int_equal(review_wrap_pod(json.root, &got, &err), cases[i].error[0] == '\0' ? 0 : -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        json_done(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(review_reply_holds_only_what_there_is),
        cmocka_unit_test(review_reply_holds_all_of_it),
        cmocka_unit_test(review_reply_says_why_not),
        cmocka_unit_test(review_patch_is_base64),
        cmocka_unit_test(review_write_says_when_it_does_not_fit),
        cmocka_unit_test(review_finds_a_name),
        cmocka_unit_test(review_wraps_only_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
