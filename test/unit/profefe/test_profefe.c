/* profefe: the URL of an upload, and what each reply means. */
/* sees: settings */

#include "unit.h"

#include "alloc_fail.h"
#include "common/profefe/profefe.h"
#include "common/settings/settings.h"
#include "common/settings/settings_check.h"

static struct labels make_labels(const char *list)
{
    struct labels labels = {0};
    assert_int_equal(0, labels_add_list(&labels, span_of(list), "profefe-agent", NULL, NULL));
    return labels;
}

static struct profefe_upload make_upload(const struct labels *labels)
{
    return (struct profefe_upload){
        .collector = "http://h:10100", .service = "web", .type = "cpu", .instance_id = "web-1",
        .created_at_ms = INT64_C(1795366000999), .labels = labels,
    };
}

static void expect_url(const char *row, const struct profefe_upload *upload, const char *expected)
{
    struct buf url;
    buf_init(&url, PROFEFE_URL_MAX);
    profefe_upload_url(&url, upload);
    expect_number(row, 0, buf_error(&url));
    expect_text(row, expected, buf_text(&url));
    buf_done(&url);
}

static void upload_url_has_all_parameters(void **state)
{
    (void)state;
    struct labels labels = make_labels("team=shop,tier=web");
    struct profefe_upload upload = make_upload(&labels);
    expect_url("usual", &upload,
               "http://h:10100/api/0/profiles?service=web&type=cpu&labels=team%3Dshop%2Ctier%3Dweb"
               "&created_at=2026-11-22T16%3A46%3A40&instance_id=web-1");
    labels.count = 0;
    upload.collector = "https://h/base//";
    upload.created_at_ms = 0;
    expect_url(
        "no labels", &upload,
        "https://h/base/api/0/profiles?service=web&type=cpu&created_at=1970-01-01T00%3A00%3A00&instance_id=web-1");
}

static void labels_of_the_profile_follow_those_of_all(void **state)
{
    (void)state;
    const struct label extra[] = {{"target", "api"}, {"x", "y"}};
    struct labels labels = make_labels("a=b");
    struct profefe_upload upload = make_upload(&labels);
    upload.extra = extra;
    upload.extra_count = 2;
    expect_url("both", &upload,
               "http://h:10100/api/0/profiles?service=web&type=cpu&labels=a%3Db%2Ctarget%3Dapi%2Cx%3Dy"
               "&created_at=2026-11-22T16%3A46%3A40&instance_id=web-1");
    labels.count = 0;
    upload.extra_count = 1;
    expect_url("its own alone", &upload,
               "http://h:10100/api/0/profiles?service=web&type=cpu&labels=target%3Dapi"
               "&created_at=2026-11-22T16%3A46%3A40&instance_id=web-1");
}

/* Go's url.ParseQuery once, then profefe's labels: split at commas and '=', each part unescaped again. */
static size_t unescape(const char *text, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        if (text[i] == '+') {
            out[used++] = ' ';
        } else if (text[i] == '%' && i + 2 < len && sscanf(text + i + 1, "%2x", &value) == 1) {
            out[used++] = (char)value;
            i += 2;
        } else {
            out[used++] = text[i];
        }
    }
    out[used] = '\0';
    return used;
}

static void label_values_survive_the_way_profefe_reads_them(void **state)
{
    (void)state;
    static const char *const values[] = {"plain",        "a b",           "a+b",
                                         "a=b",          "a%2Cb",         "100%",
                                         "\"quoted\"",   "a&b;c#d?e/f",   "gr\xc3\xbc\xc3\x9f",
                                         "\xe2\x82\xac", "a%25b",         "~.-_",
                                         "'()*!",        "$%&{}[]|\\^`<>"};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct labels labels = {0};
        struct buf url;
        char query[1024], key[256], value[256];
        assert_int_equal(0, labels_add(&labels, span_of("app.kubernetes.io/name"), span_of(values[i]), NULL));
        assert_int_equal(0, labels_add(&labels, span_of("z"), span_of("last"), NULL));
        struct profefe_upload upload = make_upload(&labels);
        buf_init(&url, PROFEFE_URL_MAX);
        profefe_upload_url(&url, &upload);
        for (size_t k = 0; k < url.len; k++)
            assert_in_range((unsigned char)url.data[k], 0x21, 0x7e);
        const char *at = strstr(url.data, "&labels=") + strlen("&labels=");
        unescape(at, strcspn(at, "&"), query);
        size_t key_len = strcspn(query, "=,");
        assert_int_equal('=', query[key_len]);
        unescape(query, key_len, key);
        size_t value_len = strcspn(query + key_len + 1, "=,");
        unescape(query + key_len + 1, value_len, value);
        assert_string_equal("app.kubernetes.io/name", key);
        assert_string_equal(values[i], value);
        assert_string_equal(",z=last", query + key_len + 1 + value_len);
        buf_done(&url);
    }
}

/* A URL that does not fit would block the queue for ever: the longest settings must fit. */
static void the_longest_settings_fit(void **state)
{
    (void)state;
    static struct labels labels;
    static char list[SETTINGS_VALUE_MAX + 1], service[254], collector[2049];
    static const char *const identity[] = {"namespace", "pod", "node", "container"};
    struct label extra = {.key = "target"};
    char value[LABEL_VALUE_MAX + 1] = "";
    for (int i = 0; i < LABEL_VALUE_MAX / 2; i++)
        strcat(value, "\xc3\xbc");
    for (size_t i = 0; i < COUNT_OF(identity); i++)
        assert_int_equal(0, labels_add(&labels, span_of(identity[i]), span_of(value), NULL));
    for (int i = 0; strlen(list) + LABEL_VALUE_MAX + 10 < SETTINGS_VALUE_MAX; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s/%d=%s", i > 0 ? "," : "a", i, value);
    assert_true(strlen(list) > SETTINGS_VALUE_MAX - 300);
    for (char *c = list; (c = strstr(c, ",/")) != NULL;)
        memcpy(c, ",a", 2);
    assert_int_equal(0, settings_check(SETTING_LABELS, span_of(list), NULL));
    assert_int_equal(0, labels_add_list(&labels, span_of(list), "profefe-agent", NULL, NULL));
    memset(extra.value, 't', 63);
    snprintf(service, sizeof(service), "%.252s", value);
    memset(collector, 'c', 2048);
    memcpy(collector, "http://h/", 9);
    assert_int_equal(0, settings_check(SETTING_COLLECTOR, span_of(collector), NULL));
    const struct profefe_upload upload = {.collector = collector, .service = service, .type = "threadcreate",
                                          .instance_id = value, .created_at_ms = 1, .labels = &labels,
                                          .extra = &extra, .extra_count = 1};
    struct buf url;
    buf_init(&url, PROFEFE_URL_MAX);
    profefe_upload_url(&url, &upload);
    assert_int_equal(0, buf_error(&url));
    assert_in_range(url.len, 20000, PROFEFE_URL_MAX);
    buf_done(&url);
}

static void a_url_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct labels labels = make_labels("team=shop,tier=web");
    struct profefe_upload upload = make_upload(&labels);
    struct buf whole;
    buf_init(&whole, PROFEFE_URL_MAX);
    profefe_upload_url(&whole, &upload);
    for (size_t max = 0; max < whole.len; max++) {
        struct buf url;
        buf_init(&url, max);
        profefe_upload_url(&url, &upload);
        assert_int_equal(-ENOBUFS, buf_error(&url));
        assert_in_range(url.len, 0, max);
        buf_done(&url);
    }
    buf_done(&whole);
}

static int url_attempt(void *ctx)
{
    struct buf url;
    buf_init(&url, PROFEFE_URL_MAX);
    profefe_upload_url(&url, ctx);
    int rc = buf_error(&url);
    assert_true(rc == 0 || rc == -ENOMEM);
    buf_done(&url);
    return rc;
}

static void without_memory_the_url_is_an_error(void **state)
{
    (void)state;
    struct labels labels = make_labels("team=shop,tier=web,a=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    struct profefe_upload upload = make_upload(&labels);
    assert_in_range(alloc_fail_in_turn("profefe_upload_url", url_attempt, &upload), 3, 10);
}

/* ---- replies ---- */

static void replies_are_known_by_their_beginning(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool is_profefe;
        int code;
        const char *error;
    } rows[] = {
        {"{\"code\":200,\"body\":{\"id\":\"x\",\"type\":\"cpu\"}}\n", true, 200, ""},
        {"{\"code\":200}", true, 200, ""},
        {" { \"code\" : 200 , \"body\":1}", true, 200, ""},
        {"{\"code\":400,\"error\":\"profile is empty: no samples\"}", true, 400, "profile is empty: no samples"},
        {"{\"code\":400,\"error\":\"bad \\\"type\\\" \\u003cx\\u003E \\\\ \\/\"}", true, 400, "bad \"type\" <x> \\ /"},
        {"{\"code\":400,\"error\":\"a\\nb\\tc\\u0007d\\u00e4\"}", true, 400, "a b c?d?"},
        {"{\"code\":400,\"error\":\"gr\xc3\xbc\xc3\x9f\"}", true, 400, "gr\xc3\xbc\xc3\x9f"},
        {"{\"code\":400,\"error\":\"\\u\xe2\x82\xac \\u3\xc3\xbc \\u\\u004\"}", true, 400,
         "?\xe2\x82\xac ?\xc3\xbc ??"},
        {"{\"code\":400,\"error\":\"cut off", true, 400, "cut off"},
        {"{\"code\":400,\"error\":\"cut gr\xc3", true, 400, "cut gr"},
        {"{\"code\":400,\"error\":\"cut \\", true, 400, "cut \\"},
        {"{\"code\":400,\"error\":\"cut \\u00", true, 400, "cut ?"},
        {"{\"code\":400,\"error\":\"", true, 400, ""},
        {"{\"code\":400,\"error\"", true, 400, ""},
        {"{\"code\":400,", true, 400, ""},
        {"{\"code\":4", true, 4, ""},
        {"{\"code\":404,\"error\":\"nothing found\"}", true, 404, "nothing found"},
        {"{\"code\":99999999999999}", true, 999999, ""},
        {"", false, 0, ""},
        {"{", false, 0, ""},
        {"{\"code\"", false, 0, ""},
        {"{\"code\":", false, 0, ""},
        {"{\"code\":\"200\"}", false, 0, ""},
        {"{\"code\":-1}", false, 0, ""},
        {"[{\"code\":200}]", false, 0, ""},
        {"{\"status\":\"ok\",\"code\":200}", false, 0, ""},
        {"{\"Code\":200}", false, 0, ""},
        {"<html>code 200</html>", false, 0, ""},
        {"200", false, 0, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct profefe_reply reply;
        char *exact = malloc(strlen(rows[i].body) + 1); /* so that a sanitizer sees a byte too far */
        assert_non_null(exact);
        memcpy(exact, rows[i].body, strlen(rows[i].body));
        profefe_reply_parse(exact, strlen(rows[i].body), &reply);
        expect_number(rows[i].body, rows[i].is_profefe, reply.is_profefe);
        expect_number(rows[i].body, rows[i].code, reply.code);
        expect_text(rows[i].body, rows[i].error, reply.error);
        free(exact);
    }
}

static void long_errors_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 4; pad++) {
        char body[1024] = "{\"code\":400,\"error\":\"";
        struct profefe_reply reply;
        memset(body + strlen(body), 'x', pad);
        while (strlen(body) < 900)
            strcat(body, "\xe2\x82\xac");
        profefe_reply_parse(body, strlen(body), &reply);
        size_t len = strlen(reply.error);
        assert_in_range(len, PROFEFE_WORDS_MAX - 2, PROFEFE_WORDS_MAX);
        assert_int_equal(0, (len - pad) % 3);
    }
}

static void each_answer_has_its_meaning(void **state)
{
    (void)state;
    static const char good[] = "{\"code\":200,\"body\":{}}", refused[] = "{\"code\":400,\"error\":\"x\"}",
                      unprocessable[] = "{\"code\":422,\"error\":\"x\"}", html[] = "<html>", empty[] = "";
    static const struct {
        unsigned status;
        const char *body;
        enum profefe_answer expected;
    } rows[] = {
        {200, good, PROFEFE_STORED},
        {200, empty, PROFEFE_WRONG},
        {200, html, PROFEFE_WRONG},
        {200, refused, PROFEFE_WRONG},
        {200, "{\"status\":\"ok\"}", PROFEFE_WRONG},
        {201, good, PROFEFE_WRONG},
        {204, empty, PROFEFE_WRONG},
        {301, html, PROFEFE_WRONG},
        {302, good, PROFEFE_WRONG},
        {307, html, PROFEFE_WRONG},
        {308, html, PROFEFE_WRONG},
        {400, refused, PROFEFE_REFUSED},
        {400, html, PROFEFE_WRONG},
        {400, empty, PROFEFE_WRONG},
        {400, good, PROFEFE_WRONG}, /* whoever says this is no profefe */
        {422, unprocessable, PROFEFE_REFUSED},
        {422, html, PROFEFE_WRONG},
        {401, refused, PROFEFE_WRONG},
        {403, html, PROFEFE_WRONG},
        {404, "{\"code\":404,\"error\":\"nothing found\"}", PROFEFE_WRONG},
        {404, html, PROFEFE_WRONG},
        {405, empty, PROFEFE_WRONG},
        {407, empty, PROFEFE_WRONG},
        {408, empty, PROFEFE_LATER},
        {413, html, PROFEFE_TOO_LARGE},
        {413, refused, PROFEFE_TOO_LARGE},
        {429, empty, PROFEFE_LATER},
        {500, "{\"code\":500,\"error\":\"internal server error\"}", PROFEFE_LATER},
        {502, html, PROFEFE_LATER},
        {503, empty, PROFEFE_LATER},
        {599, empty, PROFEFE_LATER},
        {600, empty, PROFEFE_WRONG},
        {0, empty, PROFEFE_WRONG},
        {101, empty, PROFEFE_WRONG},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct profefe_reply reply;
        char row[64];
        snprintf(row, sizeof(row), "%u %s", rows[i].status, rows[i].body);
        profefe_reply_parse(rows[i].body, strlen(rows[i].body), &reply);
        expect_number(row, rows[i].expected, profefe_judge(rows[i].status, &reply));
    }
}

static void a_list_is_asked_for_by_service_type_and_second(void **state)
{
    (void)state;
    static const struct labels labels = {.count = 1, .items = {{"pod", "web-1"}}};
    const struct profefe_upload upload = {.collector = "http://h:1/base//",
                                          .service = "a b",
                                          .type = "cpu",
                                          .instance_id = "i",
                                          .created_at_ms = INT64_C(1795366019999),
                                          .labels = &labels};
    struct buf url;
    buf_init(&url, PROFEFE_URL_MAX);
    profefe_list_url(&url, &upload);
    expect_text("list", "http://h:1/base/api/0/profiles?service=a%20b&type=cpu&from=2026-11-22T16%3A46%3A59"
                        "&to=2026-11-22T16%3A47%3A00&limit=1000", buf_text(&url));
    buf_done(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_asked_for_by_service_type_and_second),
        cmocka_unit_test(upload_url_has_all_parameters),
        cmocka_unit_test(labels_of_the_profile_follow_those_of_all),
        cmocka_unit_test(label_values_survive_the_way_profefe_reads_them),
        cmocka_unit_test(the_longest_settings_fit),
        cmocka_unit_test(a_url_that_does_not_fit_is_an_error),
        cmocka_unit_test(without_memory_the_url_is_an_error),
        cmocka_unit_test(replies_are_known_by_their_beginning),
        cmocka_unit_test(long_errors_are_cut_between_characters),
        cmocka_unit_test(each_answer_has_its_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
