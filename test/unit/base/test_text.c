/* text: outside strings made safe to show, lists cut into items, slips found. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/quote.h"
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

static void quote_escapes_what_a_terminal_or_a_log_would_obey(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *expected;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"say \"hi\"\\", 9, "\"say \\\"hi\\\"\\\\\""},
        {"a\nb\tc\x1b[31m", 10, "\"a\\x0ab\\x09c\\x1b[31m\""},
        {"\0", 1, "\"\\x00\""},
        {"\x7f", 1, "\"\\x7f\""},
        {"\xc2\x80\xc2\x9b" "31m\xc2\x9f\xc2\xa0", 11, "\"\\xc2\\x80\\xc2\\x9b31m\\xc2\\x9f\xc2\xa0\""},
        {"gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xc0\xaf", 2, "\"\\xc0\\xaf\""},
        {"\xf0\x9f\x98", 3, "\"\\xf0\\x9f\\x98\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct quoted q;
        expect_text(rows[i].bytes, rows[i].expected, quote_bytes(&q, rows[i].bytes, rows[i].len));
    }
}

static void quote_of_a_null_span_is_empty(void **state)
{
    (void)state;
    struct quoted q;
    assert_string_equal("\"\"", quote_bytes(&q, NULL, 0));
}

static void quote_cuts_after_80_bytes_between_characters(void **state)
{
    (void)state;
    struct quoted q;
    char text[200] = "";
    memset(text, 'a', QUOTE_MAX);
    quote_text(&q, text);
    assert_int_equal(QUOTE_MAX + 2, strlen(q.text));
    text[QUOTE_MAX] = 'b';
    quote_text(&q, text);
    assert_int_equal(QUOTE_MAX + 2 + 3, strlen(q.text));
    assert_string_equal("a…\"", q.text + QUOTE_MAX);
    memcpy(text + QUOTE_MAX - 1, "\xc3\xa4", 3);
    quote_text(&q, text);
    assert_string_equal("a…\"", q.text + QUOTE_MAX - 1);
}

static void quote_has_room_for_the_worst(void **state)
{
    (void)state;
    struct quoted q;
    char text[300];
    for (int c = 1; c < 256; c++) {
        memset(text, c, sizeof(text));
        quote_bytes(&q, text, sizeof(text));
        assert_in_range(strlen(q.text), 80, sizeof(q.text) - 1);
        assert_string_equal("…\"", q.text + strlen(q.text) - 4);
    }
}

static int escape_all_bytes(void *ctx)
{
    (void)ctx;
    char bytes[256];
    struct buf buf;
    for (int c = 0; c < 256; c++)
        bytes[c] = (char)c;
    buf_init(&buf, 4096);
    int rc = quote_escape(&buf, bytes, sizeof(bytes));
    for (const char *c = buf_text(&buf); *c != '\0'; c++)
        assert_in_range((unsigned char)*c, 0x20, 0x7e);
    buf_done(&buf);
    return rc;
}

static void escape_leaves_printable_ascii_of_any_bytes(void **state)
{
    (void)state;
    alloc_fail_in_turn("quote_escape", escape_all_bytes, NULL);
    struct buf buf;
    buf_init(&buf, 6);
    assert_int_equal(0, quote_escape(&buf, "a\"\n", 2));
    assert_string_equal("a\\\"", buf_text(&buf));
    assert_int_equal(-ENOBUFS, quote_escape(&buf, "\n", 1));
    assert_string_equal("a\\\"", buf_text(&buf));
    buf_done(&buf);
}

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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_len_follows_rfc_3629),
        cmocka_unit_test(utf8_cut_takes_the_most_that_ends_between_characters),
        cmocka_unit_test(utf8_whole_drops_only_an_unfinished_end),
        cmocka_unit_test(quote_escapes_what_a_terminal_or_a_log_would_obey),
        cmocka_unit_test(quote_of_a_null_span_is_empty),
        cmocka_unit_test(quote_cuts_after_80_bytes_between_characters),
        cmocka_unit_test(quote_has_room_for_the_worst),
        cmocka_unit_test(escape_leaves_printable_ascii_of_any_bytes),
        cmocka_unit_test(trim_takes_spaces_off_both_ends),
        cmocka_unit_test(equal_compares_whole_words),
        cmocka_unit_test(has_prefix_looks_at_the_beginning),
        cmocka_unit_test(list_is_cut_at_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
