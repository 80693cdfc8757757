/* quantity: what the API server parses, compared as numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/values/quantity.h"

static int parse(const char *text, struct quantity *ret, struct err *err)
{
    return quantity_parse((struct span){text, strlen(text)}, ret, err);
}

static struct quantity must_parse(const char *text)
{
    struct quantity quantity = {0};
    struct err err = {0};
    if (parse(text, &quantity, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return quantity;
}

static void quantity_compares_as_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"0.01", "10m", 0},
        {"16777216", "16Mi", 0},
        {"0", "0m", 0},
        {"0", "-0", 0},
        {"+5m", "5m", 0},
        {"005", "5", 0},
        {"5.", "5", 0},
        {".5", "500m", 0},
        {"1e3", "1k", 0},
        {"1E3", "1000", 0},
        {"1E-3", "1m", 0},
        {"1e+2", "100", 0},
        {"1E", "1000P", 0},
        {"1P", "1000T", 0},
        {"1T", "1000G", 0},
        {"1G", "1000M", 0},
        {"1M", "1000k", 0},
        {"1u", "1000n", 0},
        {"1m", "1000u", 0},
        {"1Ki", "1024", 0},
        {"1Gi", "1024Mi", 0},
        {"1Ti", "1024Gi", 0},
        {"1Pi", "1024Ti", 0},
        {"1Ei", "1024Pi", 0},
        {"1.5Gi", "1536Mi", 0},
        {"0.5Ki", "512", 0},
        {"7.999999999999Ei", "8Ti", 1},
        {"9223372036854775807", "9223372036854775806", 1},
        {"0.1n", "1n", 0},                                  /* finer than a nano is rounded up */
        {"0.0000000001", "1n", 0},
        {"1.0000000000000000000000001", "1000000001n", 0}, /* a digit that is not kept counts for that */
        {"100000000000000000000000e-20", "1000", 0},       /* more digits than are kept, all of them zero */
        {"50m", "5m", 1},
        {"5m", "50m", -1},
        {"16M", "16Mi", -1},
        {"1", "1001m", -1},
        {"1n", "0", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct quantity a = must_parse(cases[i].a), b = must_parse(cases[i].b);
        if (quantity_compare(&a, &b) != cases[i].order || quantity_compare(&b, &a) != -cases[i].order)
            fail_msg("%s against %s: expected %d, got %d", cases[i].a, cases[i].b, cases[i].order,
                     quantity_compare(&a, &b));
    }
}

static void quantity_refuses_what_is_no_quantity(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",     " ",    "m",     ".",    "+",    "-",     "abc",  "1 m",   " 1",    "1 ",   "1mm",  "1K",    "1ki",
        "1KI",  "1mi",  "1Mib",  "1g",   "1i",   "1e",    "1e1.5", "1ee3", "1e3m",  "1.2.3", "--1",  "+-1",   "1-",
        "1+",   "0x10", "1_000", "1,5",  "none", "1e99", "1e-99", "NaN",  "inf",   "1Zi",  "1Yi",  "\xC2\xB5", "1µ",
        "11111111111111111111111111111111111111111111111111111111111111111", /* longer than QUANTITY_TEXT_MAX */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct quantity quantity = {.nano = 42};
        struct err err = {0};
        if (parse(cases[i], &quantity, &err) != -EINVAL)
            fail_msg("\"%s\": expected -EINVAL", cases[i]);
        assert_true(quantity.nano == 42);
        assert_non_null(strstr(err.text, "expected a quantity"));
    }
}

static void quantity_refuses_numbers_out_of_range(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "-1", "-5m", "-0.0000000001", "8Ei", "9223372036854775808", "9.3E", "1e19", "1e40", "99999999999999999999999",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct quantity quantity = {.nano = 42};
        struct err err = {0};
        if (parse(cases[i], &quantity, &err) != -ERANGE)
            fail_msg("%s: expected -ERANGE, got %s", cases[i], err.text);
        assert_true(quantity.nano == 42);
    }
}

static void quantity_is_bounded_by_its_length(void **state)
{
    (void)state;
    struct quantity quantity;
    assert_int_equal(quantity_parse((struct span){"12Mi", 2}, &quantity, NULL), 0);
    assert_true(quantity.nano == 12000000000u);
    assert_int_equal(quantity_parse((struct span){"12\0Mi", 5}, &quantity, NULL), -EINVAL);
}

static void quantity_knows_zero(void **state)
{
    (void)state;
    struct quantity zero = must_parse("0.000Gi"), some = must_parse("0.1n");
    assert_true(quantity_is_zero(&zero));
    assert_false(quantity_is_zero(&some));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantity_compares_as_numbers),
        cmocka_unit_test(quantity_refuses_what_is_no_quantity),
        cmocka_unit_test(quantity_refuses_numbers_out_of_range),
        cmocka_unit_test(quantity_is_bounded_by_its_length),
        cmocka_unit_test(quantity_knows_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
