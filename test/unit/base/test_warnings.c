/* warnings: what passes the API server: printable, short, few. */
#include "unit.h"

#include "common/base/utf8.h"
#include "common/base/warnings.h"

static void lists_what_was_added(void **state)
{
    (void)state;
    struct warnings warnings = {0};
    assert_int_equal(0, warnings_shown(&warnings));
    assert_string_equal("", warnings_text(&warnings, 0));
    warnings_add(&warnings, "%s: expected %d", "port", 1);
    warnings_add(&warnings, "second");
    assert_int_equal(2, warnings_shown(&warnings));
    assert_string_equal("port: expected 1", warnings_text(&warnings, 0));
    assert_string_equal("second", warnings_text(&warnings, 1));
    assert_string_equal("", warnings_text(&warnings, 2));
    warnings_clear(&warnings);
    assert_int_equal(0, warnings_shown(&warnings));
    assert_string_equal("", warnings_text(&warnings, 0));
}

static void null_means_nobody_wants_them(void **state)
{
    (void)state;
    warnings_add(NULL, "%s", "x");
}

static void the_last_line_of_a_full_list_counts_the_rest(void **state)
{
    (void)state;
    struct warnings warnings = {0};
    for (int i = 1; i <= 10; i++)
        warnings_add(&warnings, "number %d", i);
    assert_int_equal(10, warnings_shown(&warnings));
    assert_string_equal("number 10", warnings_text(&warnings, 9));
    warnings_add(&warnings, "number 11");
    assert_int_equal(10, warnings_shown(&warnings));
    assert_int_equal(11, warnings.count);
    assert_string_equal("number 9", warnings_text(&warnings, 8));
    assert_string_equal("and 2 more warnings", warnings_text(&warnings, 9));
    for (int i = 0; i < 1000; i++)
        warnings_add(&warnings, "x");
    assert_string_equal("and 1002 more warnings", warnings_text(&warnings, 9));
    assert_string_equal("", warnings_text(&warnings, 10));
}

static void one_that_is_kept_goes_on(void **state)
{
    (void)state;
    struct warnings warnings = {0};
    warnings_continue(NULL, 1, "x");
    for (unsigned i = 1; i <= WARNINGS_MAX; i++) {
        warnings_continue(&warnings, i, "too early");
        warnings_add(&warnings, "number\n%u", i);
    }
    warnings_continue(&warnings, 0, "x");
    for (unsigned i = 1; i <= WARNINGS_MAX + 1; i++)
        warnings_continue(&warnings, i, "; %s", "it\t");
    assert_int_equal(WARNINGS_MAX, warnings.count);
    assert_string_equal("number\\x0a1; it\\x09", warnings_text(&warnings, 0));
    assert_string_equal("number\\x0a10; it\\x09", warnings_text(&warnings, 9));
    warnings_add(&warnings, "one more");
    for (unsigned i = WARNINGS_MAX; i <= WARNINGS_MAX + 2; i++)
        warnings_continue(&warnings, i, "x");
    assert_string_equal("and 2 more warnings", warnings_text(&warnings, 9));
}

static void one_that_goes_on_is_cut_as_well(void **state)
{
    (void)state;
    struct warnings warnings = {0};
    warnings_add(&warnings, "%0238d", 0);
    warnings_continue(&warnings, 1, "abc");
    assert_int_equal(WARNING_MAX, strlen(warnings_text(&warnings, 0)));
    assert_string_equal("0…", warnings_text(&warnings, 0) + 236);
    warnings_continue(&warnings, 1, "abc");
    assert_string_equal("0…", warnings_text(&warnings, 0) + 236);
}

static void control_bytes_and_bad_utf8_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *expected;
    } rows[] = {
        {"a \"quote\" and \\", "a \"quote\" and \\"},
        {"line\nbreak\r\t", "line\\x0abreak\\x0d\\x09"},
        {"\x1b[31m\x7f", "\\x1b[31m\\x7f"},
        {"\xc2\x80\xc2\x9b" "31m\xc2\x9f\xc2\xa0", "\\xc2\\x80\\xc2\\x9b31m\\xc2\\x9f\xc2\xa0"},
        {"gr\xc3\xbc\xc3\x9f\xe2\x80\xa6", "gr\xc3\xbc\xc3\x9f\xe2\x80\xa6"},
        {"\xc3(\xff", "\\xc3(\\xff"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct warnings warnings = {0};
        warnings_add(&warnings, "%s", rows[i].raw);
        expect_text(rows[i].raw, rows[i].expected, warnings_text(&warnings, 0));
    }
}

static void long_ones_are_cut_between_characters(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "\n", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff"};
    for (size_t p = 0; p < COUNT_OF(pieces); p++) {
        for (size_t pad = 0; pad < 8; pad++) {
            struct warnings warnings = {0};
            char raw[3000] = "";
            memset(raw, 'x', pad);
            for (int i = 0; i < 500; i++)
                strcat(raw, pieces[p]);
            warnings_add(&warnings, "%s", raw);
            const char *text = warnings_text(&warnings, 0);
            size_t len = strlen(text);
            assert_in_range(len, WARNING_MAX - 7, WARNING_MAX);
            assert_string_equal("…", text + len - 3);
            for (size_t i = 0; i < len;) {
                size_t n = utf8_len(text + i, len - i);
                assert_true(n > 0 && (unsigned char)text[i] >= 0x20);
                i += n;
            }
        }
    }
}

static void what_fits_is_not_cut(void **state)
{
    (void)state;
    char raw[WARNING_MAX + 2];
    for (size_t len = 230; len <= WARNING_MAX + 1; len++) {
        struct warnings warnings = {0};
        memset(raw, 'a', sizeof(raw));
        raw[len] = '\0';
        warnings_add(&warnings, "%s", raw);
        bool cut = strstr(warnings_text(&warnings, 0), "…") != NULL;
        expect_number("cut", len > WARNING_MAX, cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_what_was_added),
        cmocka_unit_test(null_means_nobody_wants_them),
        cmocka_unit_test(the_last_line_of_a_full_list_counts_the_rest),
        cmocka_unit_test(one_that_is_kept_goes_on),
        cmocka_unit_test(one_that_goes_on_is_cut_as_well),
        cmocka_unit_test(control_bytes_and_bad_utf8_are_escaped),
        cmocka_unit_test(long_ones_are_cut_between_characters),
        cmocka_unit_test(what_fits_is_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
