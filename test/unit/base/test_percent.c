/* percent: which bytes stand for themselves, and that decoding takes back just what encoding makes. */
#include "unit.h"

#include "common/base/percent.h"

static void bytes_are_escaped_but_for_the_plain_ones(void **state)
{
    (void)state;
    static const struct {
        const char *text, *also, *expected;
    } rows[] = {
        {"", "", ""},
        {"azAZ09-._~", "", "azAZ09-._~"},
        {"a b/c", "", "a%20b%2Fc"},
        {"a b/c", "/", "a%20b/c"},
        {"100%", "", "100%25"},
        {"\xC3\xA9\x7F\x01", "", "%C3%A9%7F%01"},
        {"@[`{", "", "%40%5B%60%7B"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out;
        buf_init(&out, 64);
        percent_append(&out, span_of(rows[i].text), rows[i].also);
        assert_string_equal(rows[i].expected, buf_text(&out));
        buf_done(&out);
    }
}

static void a_nul_is_never_plain(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 64);
    percent_append(&out, (struct span){"a\0b", 3}, "/");
    assert_string_equal("a%00b", buf_text(&out));
    buf_done(&out);
}

static void decoding_refuses_what_encoding_never_makes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *expected; /* NULL = refused */
    } rows[] = {
        {"", 1, ""},         {"a%20b", 8, "a b"},   {"%C3%A9", 8, "\xC3\xA9"}, {"abc", 4, "abc"}, {"abc", 3, NULL},
        {"%41%42", 3, "AB"}, {"%41%42", 2, NULL},   {"%", 8, NULL},           {"%4", 8, NULL},   {"a%4", 8, NULL},
        {"%4g", 8, NULL},    {"%c3", 8, NULL},      {"%00", 8, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[8];
        bool decoded = percent_decode(span_of(rows[i].text), out, rows[i].size);
        expect_number(rows[i].text, rows[i].expected != NULL, decoded);
        if (decoded)
            assert_string_equal(rows[i].expected, out);
    }
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char text[2] = {(char)byte}, written[PERCENT_BYTES_MAX], out[2];
        size_t len = percent_write(written, text[0], percent_is_unreserved(text[0]));
        assert_true(percent_decode((struct span){written, len}, out, sizeof(out)));
        assert_string_equal(text, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_escaped_but_for_the_plain_ones),
        cmocka_unit_test(a_nul_is_never_plain),
        cmocka_unit_test(decoding_refuses_what_encoding_never_makes),
        cmocka_unit_test(every_byte_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
