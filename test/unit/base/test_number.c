/* number: whole texts only, with messages that say what was expected. */
#include "unit.h"

#include "common/base/number.h"

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
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(message_names_the_range_and_the_value),
        cmocka_unit_test(numbers_are_written_as_printf_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
