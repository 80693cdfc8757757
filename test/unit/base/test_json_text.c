/* json_text: commas, escapes, and text that is no UTF-8; what comes out is read by a JSON parser. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/base/json_text.h"
#include "common/base/utf8.h"

#include <cjson/cJSON.h>

enum { TEXT_MAX = 64 * 1024 };

static void values_stand_with_commas_between_them(void **state)
{
    (void)state;
    struct json_text json;
    struct buf out;
    buf_init(&out, TEXT_MAX);
    json_text_begin(&json, &out, JSON_TEXT_DELETE);
    json_text_open(&json, NULL, '{');
    json_text_open(&json, "none", '{');
    json_text_close(&json, '}');
    json_text_open(&json, "list", '[');
    json_text_string(&json, NULL, "a");
    json_text_string(&json, NULL, NULL);
    json_text_open(&json, NULL, '[');
    json_text_close(&json, ']');
    json_text_number(&json, NULL, UINT64_MAX);
    json_text_close(&json, ']');
    json_text_bool(&json, "yes", true);
    json_text_bool(&json, "no", false);
    json_text_close(&json, '}');
    expect_text("all", "{\"none\":{},\"list\":[\"a\",null,[],18446744073709551615],\"yes\":true,\"no\":false}",
                buf_text(&out));
    buf_done(&out);
}

static void expect_one(void (*write)(struct json_text *, const char *, int64_t), int64_t value, const char *expected)
{
    struct json_text json;
    struct buf out;
    buf_init(&out, TEXT_MAX);
    json_text_begin(&json, &out, JSON_TEXT_DELETE);
    write(&json, NULL, value);
    expect_text(expected, expected, buf_text(&out));
    buf_done(&out);
}

static void seconds_have_the_decimals_they_need(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *expected;
    } rows[] = {
        {0, "0"},
        {1, "0.001"},
        {10, "0.01"},
        {500, "0.5"},
        {1000, "1"},
        {100000, "100"},
        {86399999, "86399.999"},
        {-1500, "-1.5"},
        {INT64_MAX, "9223372036854775.807"},
        {INT64_MIN, "-9223372036854775.808"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_one(json_text_seconds, rows[i].ms, rows[i].expected);
}

static void times_are_rfc_3339_or_null(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ms;
        const char *expected;
    } rows[] = {{0, "null"}, {-1, "null"}, {INT64_MAX, "null"}, {1, "\"1970-01-01T00:00:00Z\""},
                {INT64_C(1795366000999), "\"2026-11-22T16:46:40Z\""}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_one(json_text_time, rows[i].wall_ms, rows[i].expected);
}

/* Every byte and every pair of bytes, as key and as value. */
static void any_text_becomes_valid_json(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        struct json_text json;
        struct buf out;
        buf_init(&out, TEXT_MAX);
        json_text_begin(&json, &out, JSON_TEXT_DELETE);
        json_text_open(&json, NULL, '[');
        for (unsigned b = 0; b < 256; b++) {
            const char text[] = {(char)a, (char)b, '\0'};
            json_text_open(&json, NULL, '{');
            json_text_key(&json, text);
            json_text_string(&json, NULL, text);
            json_text_close(&json, '}');
        }
        json_text_close(&json, ']');
        assert_int_equal(0, buf_error(&out));
        for (const char *c = out.data; *c != '\0';) {
            size_t n = utf8_len(c, strlen(c));
            if (n == 0 || (unsigned char)*c < 0x20 || *c == 0x7f)
                fail_msg("byte %#x of row %#x is no text", (unsigned char)*c, a);
            c += n;
        }
        cJSON *read = cJSON_Parse(buf_text(&out));
        assert_non_null(read);
        const cJSON *pair = cJSON_GetArrayItem(read, 'x')->child;
        assert_string_equal(pair->string, pair->valuestring);
        if (a < 0x80) {
            const char expected[] = {(char)a, 'x', '\0'};
            assert_string_equal(expected, pair->valuestring);
        }
        cJSON_Delete(read);
        buf_done(&out);
    }
}

static void who_may_see_it_decides_what_is_escaped(void **state)
{
    (void)state;
    static const char text[] = "a\"\\\n\x7f\xc2\x85\xc3\xa9\xff.";
    static const char *const expected[] = {
        [JSON_TEXT_REQUIRED] = "\"a\\\"\\\\\\u000a\x7f\xc2\x85\xc3\xa9\xef\xbf\xbd.\"",
        [JSON_TEXT_DELETE] = "\"a\\\"\\\\\\u000a\\u007f\xc2\x85\xc3\xa9\xef\xbf\xbd.\"",
        [JSON_TEXT_CONTROLS] = "\"a\\\"\\\\\\u000a\\u007f\\u0085\xc3\xa9\\ufffd.\"",
    };
    for (int i = JSON_TEXT_REQUIRED; i <= JSON_TEXT_CONTROLS; i++) {
        struct buf out;
        buf_init(&out, TEXT_MAX);
        json_text_quote(&out, span_of(text), (enum json_text_escapes)i);
        expect_text("quoted", expected[i], buf_text(&out));
        buf_done(&out);
    }
}

static void strings_are_put_together_and_values_taken_as_they_are(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out;
    struct json_text json;
    buf_init(&out, TEXT_MAX);
    json_text_begin(&json, &out, JSON_TEXT_REQUIRED);
    json_text_open(&json, NULL, '{');
    json_text_open(&json, "parts", '"');
    json_text_part(&json, span_of("a\""));
    json_text_part(&json, span_of(""));
    json_text_part(&json, span_of("b"));
    json_text_close(&json, '"');
    json_text_raw(&json, "raw", "[{}]");
    json_text_span(&json, "span", (struct span){"word", 2});
    json_text_span(&json, "empty", (struct span){NULL, 0});
    json_text_key(&json, "key");
    json_text_open(&json, NULL, '[');
    json_text_close(&json, ']');
    json_text_string(&json, "last", "z");
    json_text_close(&json, '}');
    expect_text("all", "{\"parts\":\"a\\\"b\",\"raw\":[{}],\"span\":\"wo\",\"empty\":\"\",\"key\":[],\"last\":\"z\"}",
                buf_text(&out));
}

static int attempt(void *ctx)
{
    CLEANUP(buf_done) struct buf out;
    struct json_text json;
    (void)ctx;
    buf_init(&out, TEXT_MAX);
    json_text_begin(&json, &out, JSON_TEXT_DELETE);
    json_text_string(&json, NULL, "some words");
    return buf_error(&out);
}

static void without_memory_the_buffer_says_so(void **state)
{
    (void)state;
    assert_in_range(alloc_fail_in_turn("json_text", attempt, NULL), 1, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_stand_with_commas_between_them),
        cmocka_unit_test(seconds_have_the_decimals_they_need),
        cmocka_unit_test(times_are_rfc_3339_or_null),
        cmocka_unit_test(any_text_becomes_valid_json),
        cmocka_unit_test(who_may_see_it_decides_what_is_escaped),
        cmocka_unit_test(strings_are_put_together_and_values_taken_as_they_are),
        cmocka_unit_test(without_memory_the_buffer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
