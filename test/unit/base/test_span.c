/* span: comparing, trimming, and lists cut into items. */
#include "unit.h"

#include "common/base/span.h"

static void trim_takes_spaces_off_both_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {{"", ""}, {" \t\r\n ", ""}, {"a", "a"}, {" a b\t", "a b"}, {"\n\ra", "a"}, {"\va\f", "\va\f"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span s = span_trim(span_of(rows[i].text));
        assert_int_equal(strlen(rows[i].expected), s.len);
        assert_memory_equal(rows[i].expected, s.ptr, s.len);
    }
}

static void equal_compares_whole_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
        bool equal, nocase;
    } rows[] = {
        {"", "", true, true},       {"a", "", false, false},     {"", "a", false, false}, {"abc", "abc", true, true},
        {"abc", "ab", false, false}, {"aBc", "Abc", false, true}, {"a[", "a{", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        expect_number(rows[i].text, rows[i].equal, span_equal(span_of(rows[i].text), rows[i].word));
        expect_number(rows[i].text, rows[i].nocase, span_equal_nocase(span_of(rows[i].text), rows[i].word));
    }
    assert_true(span_equal((struct span){NULL, 0}, ""));
    assert_false(span_equal((struct span){NULL, 0}, "a"));
    assert_false(span_equal((struct span){"a\0b", 3}, "a"));
}

static void has_prefix_looks_at_the_beginning(void **state)
{
    (void)state;
    assert_true(span_has_prefix(span_of("--check"), "--"));
    assert_true(span_has_prefix(span_of("--"), "--"));
    assert_true(span_has_prefix(span_of("x"), ""));
    assert_false(span_has_prefix(span_of("-"), "--"));
}

static void list_is_cut_at_commas(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected; /* items in brackets */
    } rows[] = {
        {"", ""},
        {"  \n", ""},
        {"a", "[a]"},
        {"a,b", "[a][b]"},
        {" a , b c ,d", "[a][b c][d]"},
        {"a,", "[a]"},
        {"a, \n", "[a]"},
        {",", "[]"},
        {",a", "[][a]"},
        {",,", "[][]"},
        {"a,,b", "[a][][b]"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span rest = span_of(rows[i].text), item;
        char got[64] = "";
        while (span_next_item(&rest, &item))
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "[%.*s]", (int)item.len, item.ptr);
        expect_text(rows[i].text, rows[i].expected, got);
        assert_false(span_next_item(&rest, &item));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(trim_takes_spaces_off_both_ends),
        cmocka_unit_test(equal_compares_whole_words),
        cmocka_unit_test(has_prefix_looks_at_the_beginning),
        cmocka_unit_test(list_is_cut_at_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
