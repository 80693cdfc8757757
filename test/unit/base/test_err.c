/* err: code and text of a failure, cut but never broken. */
#include "common/base/utf8.h"
#include "unit.h"

static void set_returns_the_negative_code_and_keeps_both(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(-EINVAL, err_set(&err, EINVAL, "port %s: expected 1 to %d", "x", 65535));
    assert_int_equal(EINVAL, err.code);
    assert_string_equal("port x: expected 1 to 65535", err.text);
}

static void errno_is_put_into_words(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(-ENOENT, err_errno(&err, ENOENT, "%s", "/no/such"));
    assert_int_equal(ENOENT, err.code);
    assert_string_equal("/no/such: No such file or directory", err.text);
}

static void wrap_prefixes_and_passes_the_code_on(void **state)
{
    (void)state;
    struct err err = {0};
    int rc = err_set(&err, ERANGE, "expected 1 to 9, got 10");
    rc = err_wrap(&err, rc, "[agent] %s", "grace");
    assert_int_equal(-ERANGE, err_wrap(&err, rc, "%s:%d", "agent.ini", 7));
    assert_int_equal(ERANGE, err.code);
    assert_string_equal("agent.ini:7: [agent] grace: expected 1 to 9, got 10", err.text);
}

static void null_err_is_allowed_everywhere(void **state)
{
    (void)state;
    assert_int_equal(-EIO, err_set(NULL, EIO, "%d", 1));
    assert_int_equal(-EIO, err_errno(NULL, EIO, "%d", 1));
    assert_int_equal(-EIO, err_wrap(NULL, -EIO, "%d", 1));
}

static const char *text_of(char *text, size_t len)
{
    memset(text, 'a', len);
    text[len] = '\0';
    return text;
}

static void long_text_is_cut_to_the_room(void **state)
{
    (void)state;
    char text[2 * ERR_TEXT_MAX];
    static const size_t lengths[] = {ERR_TEXT_MAX - 2, ERR_TEXT_MAX - 1, ERR_TEXT_MAX, 2 * ERR_TEXT_MAX - 1};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct err err = {0};
        size_t expected = lengths[i] < ERR_TEXT_MAX ? lengths[i] : ERR_TEXT_MAX - 1;
        err_set(&err, EINVAL, "%s", text_of(text, lengths[i]));
        assert_int_equal(expected, strlen(err.text));
        err_errno(&err, EINVAL, "%s", text);
        assert_in_range(strlen(err.text), expected, ERR_TEXT_MAX - 1);
        err_set(&err, EINVAL, "%s", text);
        err_wrap(&err, -EINVAL, "%s", "prefix");
        assert_memory_equal("prefix: aaa", err.text, 11);
        assert_in_range(strlen(err.text), expected, ERR_TEXT_MAX - 1);
    }
}

static bool is_utf8(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(text + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void cut_text_stays_utf8(void **state)
{
    (void)state;
    for (int pad = 0; pad < 4; pad++) {
        struct err err = {0};
        char text[ERR_TEXT_MAX + 64] = "";
        memset(text, 'a', (size_t)pad);
        while (strlen(text) < ERR_TEXT_MAX + 32)
            strcat(text, "\xf0\x9f\x98\x80");
        err_set(&err, EINVAL, "%s", text);
        assert_true(is_utf8(err.text));
        assert_in_range(strlen(err.text), ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        err_wrap(&err, -EINVAL, "x");
        assert_true(is_utf8(err.text));
        err_errno(&err, EINVAL, "%s", text);
        assert_true(is_utf8(err.text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_the_negative_code_and_keeps_both),
        cmocka_unit_test(errno_is_put_into_words),
        cmocka_unit_test(wrap_prefixes_and_passes_the_code_on),
        cmocka_unit_test(null_err_is_allowed_everywhere),
        cmocka_unit_test(long_text_is_cut_to_the_room),
        cmocka_unit_test(cut_text_stays_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
