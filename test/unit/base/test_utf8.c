/* utf8: characters as RFC 3629 has them, and cuts between them. */
#include "unit.h"

#include "common/base/utf8.h"

static void utf8_len_follows_rfc_3629(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t len, expected;
    } rows[] = {
        {"nothing", "", 0, 0},
        {"ASCII", "a", 1, 1},
        {"NUL is a character", "\0", 1, 1},
        {"DEL", "\x7f", 1, 1},
        {"U+0080", "\xc2\x80", 2, 2},
        {"U+07FF", "\xdf\xbf", 2, 2},
        {"U+0800", "\xe0\xa0\x80", 3, 3},
        {"U+FFFF", "\xef\xbf\xbf", 3, 3},
        {"U+D7FF", "\xed\x9f\xbf", 3, 3},
        {"U+10000", "\xf0\x90\x80\x80", 4, 4},
        {"U+10FFFF", "\xf4\x8f\xbf\xbf", 4, 4},
        {"the rest does not matter", "\xc3\xa4\xff", 3, 2},
        {"continuation alone", "\x80", 1, 0},
        {"overlong slash in two", "\xc0\xaf", 2, 0},
        {"overlong in two", "\xc1\xbf", 2, 0},
        {"overlong in three", "\xe0\x9f\xbf", 3, 0},
        {"overlong in four", "\xf0\x8f\xbf\xbf", 4, 0},
        {"first surrogate", "\xed\xa0\x80", 3, 0},
        {"last surrogate", "\xed\xbf\xbf", 3, 0},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 4, 0},
        {"F5", "\xf5\x80\x80\x80", 4, 0},
        {"FF", "\xff", 1, 0},
        {"two cut to one", "\xc3", 1, 0},
        {"four cut to three", "\xf0\x9f\x98", 3, 0},
        {"bad second", "\xc3\x28", 2, 0},
        {"bad third", "\xe2\x82\x28", 3, 0},
        {"bad fourth", "\xf0\x9f\x98\x28", 4, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_number(rows[i].name, (long long)rows[i].expected, (long long)utf8_len(rows[i].bytes, rows[i].len));
}

/* Against the definition: every cut of a text that mixes all lengths and rubbish. */
static void utf8_cut_takes_the_most_that_ends_between_characters(void **state)
{
    (void)state;
    static const char text[] =
        "a\xc3\xa4z\xe2\x82\xac\xf0\x9f\x98\x80\xff\x80\x80\x80\x80\x80\xe2\x82 \xf0\x9f\x98\x80";
    const size_t len = sizeof(text) - 1;
    bool inside[sizeof(text)] = {false};
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(text + i, len - i);
        for (size_t k = 1; k < n; k++)
            inside[i + k] = true;
        i += n > 0 ? n : 1;
    }
    for (size_t max = 0; max <= len + 2; max++) {
        size_t expected = max < len ? max : len;
        while (inside[expected])
            expected--;
        assert_int_equal(expected, utf8_cut(text, len, max));
    }
}

static void utf8_whole_drops_only_an_unfinished_end(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len, expected;
    } rows[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"ab\xc3", 3, 2},
        {"ab\xc3\xa4", 4, 4},
        {"a\xe2\x82", 3, 1},
        {"a\xe2", 2, 1},
        {"a\xe2\x82\xac", 4, 4},
        {"a\xf0\x9f\x98", 4, 1},
        {"a\xf0\x9f\x98\x80", 5, 5},
        {"\xf0", 1, 0},
        {"a\xff", 2, 2},
        {"\x80\x80\x80\x80", 4, 4},
        {"a\xc3\xa4\x80", 4, 4},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_number(rows[i].bytes, (long long)rows[i].expected, (long long)utf8_whole(rows[i].bytes, rows[i].len));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_len_follows_rfc_3629),
        cmocka_unit_test(utf8_cut_takes_the_most_that_ends_between_characters),
        cmocka_unit_test(utf8_whole_drops_only_an_unfinished_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
