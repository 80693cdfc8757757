/* parse: numbers, booleans and durations, whole texts only, with messages that say what was expected. */
#include "unit.h"

#include "common/base/boolean.h"
#include "common/base/duration.h"
#include "common/base/number.h"
#include "common/base/span.h"

static void whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t min, max;
        int rc;
        uint64_t value;
    } rows[] = {
        {"0", 0, 9, 0, 0},
        {"9", 0, 9, 0, 9},
        {"009", 0, 9, 0, 9},
        {"18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX},
        {"10", 0, 9, -ERANGE, 0},
        {"0", 1, 9, -ERANGE, 0},
        {"18446744073709551616", 0, UINT64_MAX - 1, -ERANGE, 0},
        {"99999999999999999999999999999999", 0, 9, -ERANGE, 0},
        {"", 0, 9, -EINVAL, 0},
        {" 1", 0, 9, -EINVAL, 0},
        {"1 ", 0, 9, -EINVAL, 0},
        {"+1", 0, 9, -EINVAL, 0},
        {"-1", 0, 9, -EINVAL, 0},
        {"1.0", 0, 9, -EINVAL, 0},
        {"0x1", 0, 9, -EINVAL, 0},
        {"1e3", 0, 9, -EINVAL, 0},
        {"١", 0, 9, -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        uint64_t value = 4711;
        int rc = number_parse_u64(span_of(rows[i].text), rows[i].min, rows[i].max, &value, &err);
        if (rows[i].rc == 0)
            expect_success(rows[i].text, rc, &err);
        else
            expect_failure(rows[i].text, rows[i].rc, "expected a whole number from ", rc, &err);
        assert_true(value == (rows[i].rc == 0 ? rows[i].value : 4711));
    }
}

static void message_names_the_range_and_the_value(void **state)
{
    (void)state;
    struct err err;
    uint64_t value;
    number_parse_u64(span_of("7\n"), 1, 300, &value, &err);
    assert_string_equal("expected a whole number from 1 to 300, got \"7\\x0a\"", err.text);
}

static void booleans_in_any_case(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int value; /* -1 = not one */
    } rows[] = {
        {"true", 1}, {"TRUE", 1},   {"True", 1}, {"1", 1},  {"t", 1},     {"T", 1},      {"yes", 1}, {"YES", 1},
        {"y", 1},    {"on", 1},     {"oN", 1},   {"false", 0}, {"FALSE", 0}, {"0", 0},      {"f", 0},   {"F", 0},
        {"no", 0},   {"N", 0},      {"off", 0},  {"OFF", 0},   {"", -1},     {"2", -1},     {"tru", -1}, {"truee", -1},
        {" true", -1}, {"true ", -1}, {"nope", -1}, {"00", -1},   {"null", -1}, {"enabled", -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        bool value = rows[i].value == 0;
        int rc = boolean_parse(span_of(rows[i].text), &value, &err);
        if (rows[i].value < 0) {
            expect_failure(rows[i].text, -EINVAL, "expected true or false, got \"", rc, &err);
            continue;
        }
        expect_success(rows[i].text, rc, &err);
        expect_number(rows[i].text, rows[i].value, value);
    }
}

static void word_lists_are_what_parse_bool_takes(void **state)
{
    (void)state;
    unsigned count = 0;
    for (const char *const *word = boolean_true_words; *word != NULL; word++, count++) {
        bool value = false;
        assert_int_equal(0, boolean_parse(span_of(*word), &value, NULL));
        assert_true(value);
    }
    for (const char *const *word = boolean_false_words; *word != NULL; word++, count++) {
        bool value = true;
        assert_int_equal(0, boolean_parse(span_of(*word), &value, NULL));
        assert_false(value);
    }
    assert_int_equal(12, count); /* six of each, as README says */
}

enum { HOUR_MS = 3600 * 1000 };

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max;
        int rc;
        int64_t ms;
    } rows[] = {
        {"0s", 0, 10, 0, 0},
        {"250ms", 0, 1000, 0, 250},
        {"1s", 1000, 1000, 0, 1000},
        {"90s", 0, HOUR_MS, 0, 90000},
        {"5m", 0, HOUR_MS, 0, 300000},
        {"24h", 0, 24LL * HOUR_MS, 0, 24LL * HOUR_MS},
        {"9223372036854775807ms", 0, INT64_MAX, 0, INT64_MAX},
        {"9223372036854775808ms", 0, INT64_MAX, -ERANGE, 0},
        {"9223372036854776s", 0, INT64_MAX, -ERANGE, 0},
        {"18446744073709551616h", 0, INT64_MAX, -ERANGE, 0},
        {"999ms", 1000, 2000, -ERANGE, 0},
        {"2001ms", 1000, 2000, -ERANGE, 0},
        {"", 0, 10, -EINVAL, 0},
        {"60", 0, 100000, -EINVAL, 0},
        {"s", 0, 100000, -EINVAL, 0},
        {"1.5s", 0, 100000, -EINVAL, 0},
        {"1 s", 0, 100000, -EINVAL, 0},
        {"1S", 0, 100000, -EINVAL, 0},
        {"1d", 0, 100000, -EINVAL, 0},
        {"1m30s", 0, 100000, -EINVAL, 0},
        {"-1s", 0, 100000, -EINVAL, 0},
        {"1us", 0, 100000, -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        int64_t ms = 4711;
        int rc = duration_parse(span_of(rows[i].text), rows[i].min, rows[i].max, &ms, &err);
        if (rows[i].rc == 0)
            expect_success(rows[i].text, rc, &err);
        else
            expect_failure(rows[i].text, rows[i].rc, "expected a whole number with a unit (ms, s, m, h) from ", rc,
                           &err);
        expect_number(rows[i].text, rows[i].rc == 0 ? rows[i].ms : 4711, ms);
    }
    struct err err;
    int64_t ms;
    duration_parse(span_of("1d"), 1000, 24LL * HOUR_MS, &ms, &err);
    assert_string_equal("expected a whole number with a unit (ms, s, m, h) from 1s to 24h, got \"1d\"", err.text);
}

static void seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool fractions;
        int rc;
        int64_t ms;
    } rows[] = {
        {"1", false, 0, 1000},
        {"10", false, 0, 10000},
        {"10s", false, 0, 10000},
        {"300s", false, 0, 300000},
        {"301", false, -ERANGE, 0},
        {"0", false, -ERANGE, 0},
        {"9223372036854775807", false, -ERANGE, 0},
        {"18446744073709551616", false, -ERANGE, 0},
        {"1.5", false, -EINVAL, 0},
        {"1ms", false, -EINVAL, 0},
        {"5m", false, -EINVAL, 0},
        {"10ss", false, -EINVAL, 0},
        {"s", false, -EINVAL, 0},
        {"", false, -EINVAL, 0},
        {"0.5", true, 0, 500},
        {"0.5s", true, 0, 500},
        {"1.25", true, 0, 1250},
        {"1.125s", true, 0, 1125},
        {"10s", true, 0, 10000},
        {"300.000", true, 0, 300000},
        {"300.001", true, -ERANGE, 0},
        {"0.099", true, -ERANGE, 0},
        {"1.0000", true, -EINVAL, 0},
        {"1.", true, -EINVAL, 0},
        {"1.s", true, -EINVAL, 0},
        {".5", true, -EINVAL, 0},
        {"1.5.5", true, -EINVAL, 0},
        {"1,5", true, -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        int64_t ms = 4711, min = rows[i].fractions ? 100 : 1000;
        int rc = duration_parse_seconds(span_of(rows[i].text), rows[i].fractions, min, 300000, &ms, &err);
        if (rows[i].rc == 0)
            expect_success(rows[i].text, rc, &err);
        else
            expect_failure(rows[i].text, rows[i].rc,
                           rows[i].fractions ? "expected seconds (fractions allowed) from 100ms to 5m"
                                             : "expected whole seconds from 1s to 5m",
                           rc, &err);
        expect_number(rows[i].text, rows[i].rc == 0 ? rows[i].ms : 4711, ms);
    }
}

static void durations_are_written_in_the_largest_unit_and_read_back(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *expected;
    } rows[] = {
        {0, "0ms"},     {1, "1ms"},       {999, "999ms"},   {1000, "1s"},        {1500, "1500ms"},
        {60000, "1m"},  {90000, "90s"},   {300000, "5m"},   {3600000, "1h"},     {5400000, "90m"},
        {86400000, "24h"}, {INT64_MAX, "9223372036854775807ms"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct duration_text out;
        int64_t ms = -1;
        expect_text("duration", rows[i].expected, duration_format(&out, rows[i].ms));
        assert_int_equal(0, duration_parse(span_of(out.text), 0, INT64_MAX, &ms, NULL));
        assert_true(ms == rows[i].ms);
    }
}

static void numbers_are_written_as_printf_does(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 9, 10, 11, 99, 100, 65535, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[NUMBER_TEXT_MAX], expected[32];
        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)numbers[i]);
        assert_int_equal(number_format_u64(numbers[i], text), strlen(expected));
        assert_string_equal(text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_printf_does),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(message_names_the_range_and_the_value),
        cmocka_unit_test(booleans_in_any_case),
        cmocka_unit_test(word_lists_are_what_parse_bool_takes),
        cmocka_unit_test(durations),
        cmocka_unit_test(seconds),
        cmocka_unit_test(durations_are_written_in_the_largest_unit_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
