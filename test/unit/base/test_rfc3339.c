/* rfc3339: times to the second, and what has no such form. */
#include "unit.h"

#include "common/base/rfc3339.h"

static void seconds_are_written_in_utc(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *expected;
    } rows[] = {
        {0, "1970-01-01T00:00:00"},
        {-1, "1969-12-31T23:59:59"},
        {951782400, "2000-02-29T00:00:00"},
        {1764324592, "2025-11-28T10:09:52"},
        {RFC3339_SECONDS_MAX, "9999-12-31T23:59:59"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[RFC3339_SIZE];
        assert_true(rfc3339_write(text, rows[i].seconds));
        assert_string_equal(rows[i].expected, text);
    }
}

static void a_year_past_int_is_refused(void **state)
{
    (void)state;
    char text[RFC3339_SIZE] = "x";
    assert_false(rfc3339_write(text, INT64_MAX));
    assert_string_equal("", text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_written_in_utc),
        cmocka_unit_test(a_year_past_int_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
