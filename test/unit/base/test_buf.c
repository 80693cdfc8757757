/* buf: it grows to its ceiling and no further, fails for good, and loses nothing it held. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/buf.h"

static void starts_as_the_empty_string_without_memory(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_null(buf.data);
    assert_string_equal("", buf_text(&buf));
    assert_int_equal(0, buf_error(&buf));
    assert_null(buf_take(&buf));
    buf_done(&buf);
    buf_done(&buf);
}

static void holds_what_was_appended_in_order(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    assert_int_equal(0, buf_puts(&buf, "ab"));
    assert_int_equal(0, buf_putc(&buf, 'c'));
    assert_int_equal(0, buf_append(&buf, "d\0e", 3));
    assert_int_equal(0, buf_append(&buf, NULL, 0));
    assert_int_equal(0, buf_printf(&buf, "%d-%s", 12, "x"));
    assert_int_equal(10, buf.len);
    assert_memory_equal("abcd\0e12-x", buf.data, 11);
    buf_done(&buf);
    assert_string_equal("", buf_text(&buf));
}

static void is_a_string_after_reserve_alone(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 4096);
    assert_int_equal(0, buf_reserve(&buf, 4096));
    assert_int_equal(0, buf.len);
    assert_string_equal("", buf_text(&buf));
    char *taken = buf_take(&buf);
    assert_non_null(taken);
    assert_string_equal("", taken);
    free(taken);
}

/* Every size of every ceiling: content and capacity stay within it, whichever call fills it. */
static void ceiling_is_exact(void **state)
{
    (void)state;
    for (size_t max = 0; max <= 140; max++) {
        struct buf buf;
        buf_init(&buf, max);
        for (size_t i = 0; i < max; i++) {
            assert_int_equal(0, buf_putc(&buf, 'x'));
            assert_int_equal(i + 1, strlen(buf.data));
            assert_in_range(buf.cap, i + 2, max + 1);
        }
        assert_int_equal(-ENOBUFS, buf_putc(&buf, 'x'));
        assert_int_equal(max, buf.len);
        buf_done(&buf);
        if (max == 0)
            continue;
        char text[160];
        memset(text, 'y', max + 1);
        text[max] = '\0';
        assert_int_equal(0, buf_printf(&buf, "%s", text));
        assert_string_equal(text, buf_text(&buf));
        assert_int_equal(-ENOBUFS, buf_printf(&buf, "%s", "z"));
        buf_done(&buf);
    }
}

static void failure_is_sticky_and_keeps_the_content(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(0, buf_puts(&buf, "abc"));
    assert_int_equal(-ENOBUFS, buf_puts(&buf, "def"));
    assert_int_equal(-ENOBUFS, buf_putc(&buf, 'd'));
    assert_int_equal(-ENOBUFS, buf_printf(&buf, "e"));
    assert_int_equal(-ENOBUFS, buf_append(&buf, "", 0));
    assert_int_equal(-ENOBUFS, buf_reserve(&buf, 0));
    assert_int_equal(-ENOBUFS, buf_error(&buf));
    assert_string_equal("abc", buf_text(&buf));
    assert_null(buf_take(&buf));
    assert_string_equal("", buf_text(&buf));
    assert_int_equal(0, buf_error(&buf));
    assert_int_equal(5, buf.max);
}

static void text_that_does_not_fit_leaves_no_part_of_itself(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(0, buf_puts(&buf, "abc"));
    assert_int_equal(-ENOBUFS, buf_printf(&buf, "%s", "def"));
    assert_int_equal(3, buf.len);
    assert_string_equal("abc", buf_text(&buf));
    buf_done(&buf);
}

static void huge_lengths_do_not_wrap_around(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    assert_int_equal(0, buf_puts(&buf, "abc"));
    assert_int_equal(-ENOBUFS, buf_append(&buf, "x", SIZE_MAX));
    buf_clear(&buf);
    assert_int_equal(0, buf_puts(&buf, "abc"));
    assert_int_equal(-ENOBUFS, buf_reserve(&buf, SIZE_MAX - 2));
    buf_done(&buf);
}

static void clear_forgets_content_and_error(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(-ENOBUFS, buf_puts(&buf, "too long"));
    buf_clear(&buf);
    assert_int_equal(0, buf_error(&buf));
    assert_int_equal(0, buf_puts(&buf, "abc"));
    const char *memory = buf.data;
    buf_clear(&buf);
    assert_string_equal("", buf_text(&buf));
    assert_ptr_equal(memory, buf.data);
    buf_done(&buf);
}

static void take_hands_the_memory_over(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 9);
    buf_puts(&buf, "abc");
    char *taken = buf_take(&buf);
    assert_string_equal("abc", taken);
    assert_null(buf.data);
    assert_int_equal(0, buf.len);
    assert_int_equal(0, buf_puts(&buf, "new"));
    assert_string_equal("new", buf_text(&buf));
    free(taken);
    buf_done(&buf);
}

/* With every allocation failing in turn: what was there before the failed call is still there, and the error names
 * it. */
static int write_page(void *ctx)
{
    (void)ctx;
    struct buf buf;
    char expected[600] = "";
    size_t good = 0;
    buf_init(&buf, sizeof(expected));
    for (int i = 0; i < 60; i++) {
        char line[16];
        snprintf(line, sizeof(line), "line %d\n", i);
        int rc = i % 3 == 0 ? buf_printf(&buf, "line %d\n", i) : i % 3 == 1 ? buf_puts(&buf, line)
                                                                            : buf_append(&buf, line, strlen(line));
        if (buf_error(&buf) != 0)
            assert_int_equal(-ENOMEM, rc);
        else
            good = strlen(strcat(expected, line));
    }
    assert_int_equal(good, buf.len);
    assert_string_equal(expected, buf_text(&buf));
    int rc = buf_error(&buf);
    buf_done(&buf);
    return rc;
}

static void keeps_its_content_when_memory_runs_out(void **state)
{
    (void)state;
    assert_in_range(alloc_fail_in_turn("buf", write_page, NULL), 2, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_as_the_empty_string_without_memory),
        cmocka_unit_test(holds_what_was_appended_in_order),
        cmocka_unit_test(is_a_string_after_reserve_alone),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(failure_is_sticky_and_keeps_the_content),
        cmocka_unit_test(text_that_does_not_fit_leaves_no_part_of_itself),
        cmocka_unit_test(huge_lengths_do_not_wrap_around),
        cmocka_unit_test(clear_forgets_content_and_error),
        cmocka_unit_test(take_hands_the_memory_over),
        cmocka_unit_test(keeps_its_content_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
