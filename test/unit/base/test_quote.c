/* quote: outside strings made safe to show. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/quote.h"

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(quote_escapes_what_a_terminal_or_a_log_would_obey),
        cmocka_unit_test(quote_of_a_null_span_is_empty),
        cmocka_unit_test(quote_cuts_after_80_bytes_between_characters),
        cmocka_unit_test(quote_has_room_for_the_worst),
        cmocka_unit_test(escape_leaves_printable_ascii_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
