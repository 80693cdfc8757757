/* duration: read with a unit, written in the largest. */
#include "unit.h"

#include "common/base/duration.h"

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(seconds),
        cmocka_unit_test(durations_are_written_in_the_largest_unit_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
