/* json: reading within a budget, looking up, writing. */
/* sees: webhook */

#include "review_fixtures.h"

static int read_text(struct json *json, const char *text, struct err *err)
{
    return json_read(json, text, strlen(text), err);
}

static void json_takes_exactly_one_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"{}", 0},          {" \t\r\n[1,2] \n", 0}, {"null", 0},       {"\"a\"", 0},      {"-1.5e3", 0},
        {"", -EINVAL},      {" ", -EINVAL},         {"{} {}", -EINVAL}, {"{}x", -EINVAL},  {"[1,]", -EINVAL},
        {"{\"a\"}", -EINVAL}, {"{'a':1}", -EINVAL}, {"[1", -EINVAL},   {"nul", -EINVAL},  {"\"a", -EINVAL},
        {"\"\\x\"", -EINVAL}, {"\"\\u12\"", -EINVAL}, {"\"\\udc00\"", -EINVAL}, {"-", -EINVAL}, {"NaN", -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json json = {0};
        struct err err = {0};
        int rc = read_text(&json, cases[i].text, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: expected %d, got %d %s", cases[i].text, cases[i].rc, rc, err.text);
        assert_true(rc == 0 ? json.root != NULL : json.root == NULL && json.chunks == NULL);
        json_done(&json);
    }
}

static void json_reads_no_byte_beyond_its_length(void **state)
{
    (void)state;
    struct json json = {0};
    assert_int_equal(json_read(&json, "[1]]]]", 3, NULL), 0);
    json_done(&json);
    assert_int_equal(json_read(&json, "[1]]]]", 4, NULL), -EINVAL);
    assert_int_equal(json_read(&json, "123456", 2, NULL), 0);
    assert_true(json.root->valueint == 12);
    json_done(&json);
}

static void json_says_where_it_stopped(void **state)
{
    (void)state;
    struct json json = {0};
    struct err err = {0};
    assert_int_equal(read_text(&json, "{\"a\":b}", &err), -EINVAL);
    assert_string_equal(err.text, "expected JSON, got something else near byte 5");
    assert_int_equal(read_text(&json, "{}  {", &err), -EINVAL);
    assert_string_equal(err.text, "expected the end of the JSON at byte 4");
}

/* One level a byte, until cJSON's own limit. */
static void json_bounds_the_depth(void **state)
{
    (void)state;
    enum { DEEP = 100000, FINE = 900 };
    char *text = malloc(DEEP);
    struct json json = {0};
    assert_non_null(text);
    memset(text, '[', DEEP);
    assert_int_equal(json_read(&json, text, DEEP, NULL), -EINVAL);
    memset(text + FINE, ']', FINE);
    assert_int_equal(json_read(&json, text, 2 * FINE, NULL), 0);
    json_done(&json);
    free(text);
}

static void json_reads_nul_as_a_replacement(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"\"a\\u0000b\"", "a\xEF\xBF\xBD" "b"},
        {"\"\\u0000\\u0000\"", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\"a\\\\u0000\"", "a\\u0000"},                      /* an escaped backslash, then letters */
        {"\"\\\\\\u0000\"", "\\\xEF\xBF\xBD"},
        {"\"\\n\\\"\\u0000\"", "\n\"\xEF\xBF\xBD"},
        {"\"u0000\"", "u0000"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json json = {0};
        assert_int_equal(read_text(&json, cases[i].text, NULL), 0);
        assert_string_equal(json.root->valuestring, cases[i].want);
        json_done(&json);
    }
    struct json json = {0};
    assert_int_equal(read_text(&json, "\"\\u000", NULL), -EINVAL); /* cut in the middle of it */
    assert_int_equal(read_text(&json, "\"\\", NULL), -EINVAL);
}

static void json_get_compares_keys_exactly_and_takes_the_last(void **state)
{
    (void)state;
    struct json json;
    read_quoted(&json, "{'Key':'upper','key':'first','key':'last','gone':1,'gone':null}");
    assert_string_equal(json_get_text(json.root, "key"), "last");
    assert_string_equal(json_get_text(json.root, "Key"), "upper");
    assert_null(json_get(json.root, "KEY"));
    assert_null(json_get(json.root, "gone"));
    json_done(&json);
}

static void json_get_is_safe_on_everything(void **state)
{
    (void)state;
    struct json json;
    int64_t number = 42;
    read_quoted(
        &json,
        "{'list':['a'],'text':'t','number':1.5,'big':1e300,'object':{'a':1},'true':true,'false':false,'null':null}");
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(json_get(json.root, "list"), "a"));
    assert_null(json_get(json_get(json.root, "text"), "a"));
    assert_null(json_get_text(json.root, "number"));
    assert_null(json_get_text(json.root, "absent"));
    assert_null(json_get_array(json.root, "object"));
    assert_null(json_get_object(json.root, "list"));
    assert_non_null(json_get_array(json.root, "list"));
    assert_non_null(json_get_object(json.root, "object"));
    assert_true(json_get_true(json.root, "true"));
    assert_false(json_get_true(json.root, "false"));
    assert_false(json_get_true(json.root, "text"));
    assert_false(json_get_whole(json.root, "number", 0, 10, &number));
    assert_false(json_get_whole(json.root, "big", 0, INT64_MAX, &number));
    assert_false(json_get_whole(json.root, "text", 0, 10, &number));
    assert_int_equal(number, 42);
    assert_false(json_get_whole(json_get(json.root, "object"), "a", 2, 10, &number));
    assert_true(json_get_whole(json_get(json.root, "object"), "a", 1, 1, &number));
    assert_int_equal(number, 1);
    assert_string_equal(json_type_name(json_get(json.root, "list")), "a list");
    assert_string_equal(json_type_name(json_get(json.root, "true")), "a boolean");
    assert_string_equal(json_type_name(NULL), "null");
    json_done(&json);
}

static void json_reads_strings_that_were_written(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c/d", "\"a\\\"b\\\\c/d\""},
        {"\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\x7f\""},
        {"é€😀", "\"é€😀\""},
        {"a\xff" "b\xc3", "\"a\xEF\xBF\xBD" "b\xEF\xBF\xBD\""},
        {"\xed\xa0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}, /* a surrogate is no character */
        {"\xc0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        struct json json = {0};
        buf_init(&out, 100);
        json_text_quote(&out, span_of(cases[i].text), JSON_TEXT_REQUIRED);
        assert_string_equal(buf_text(&out), cases[i].want);
        assert_int_equal(json_read(&json, buf_text(&out), out.len, NULL), 0);
        json_done(&json);
        buf_done(&out);
    }
}

static void json_keeps_texts_as_long_as_the_document(void **state)
{
    (void)state;
    struct json json;
    read_quoted(&json, "{}");
    char *kept = json_keep(&json, (struct span){"abcdef", 3});
    assert_string_equal(kept, "abc");
    json_done(&json);
    json_done(&json);
    assert_null(json.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_takes_exactly_one_value),
        cmocka_unit_test(json_reads_no_byte_beyond_its_length),
        cmocka_unit_test(json_says_where_it_stopped),
        cmocka_unit_test(json_bounds_the_depth),
        cmocka_unit_test(json_reads_nul_as_a_replacement),
        cmocka_unit_test(json_get_compares_keys_exactly_and_takes_the_last),
        cmocka_unit_test(json_get_is_safe_on_everything),
        cmocka_unit_test(json_reads_strings_that_were_written),
        cmocka_unit_test(json_keeps_texts_as_long_as_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
