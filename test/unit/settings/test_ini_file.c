/* ini_file: INI texts as folders: fixtures/ini/NAME/in.ini gives what NAME/expected says: a line
 * "[SECTION] KEY = VALUE" for each call (" / " where the value has a new line), then "error: MESSAGE" where it ends
 * with one. A handler that meets the key `refuse` fails. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/buf.h"
#include "common/os/file.h"
#include "common/settings/ini_file.h"

#include <glob.h>

enum { OUT_MAX = 64 * 1024 };

static int take(void *ctx, const char *section, const char *key, const char *value, int line, struct err *err)
{
    struct buf *out = ctx;
    (void)line;
    if (strcmp(key, "refuse") == 0)
        return err_set(err, ERANGE, "refused %s", value);
    buf_printf(out, "[%s] %s = ", section, key);
    for (; *value != '\0'; value++)
        buf_puts(out, *value == '\n' ? " / " : (char[2]){*value, '\0'});
    buf_putc(out, '\n');
    return 0;
}

static char *read_fixture(const char *dir, const char *name, size_t *ret_len)
{
    char path[1024];
    char *bytes = NULL;
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (file_read(path, OUT_MAX, &bytes, ret_len, &err) < 0)
        fail_msg("%s", err.text);
    return bytes;
}

static void read_as_expected(const char *dir)
{
    struct buf out;
    struct err err = err_untouched;
    size_t len = 0, expected_len = 0;
    char *in = read_fixture(dir, "in.ini", &len), *expected = read_fixture(dir, "expected", &expected_len);
    buf_init(&out, OUT_MAX);
    int rc = ini_file_parse("in.ini", in, len, take, &out, &err);
    if (rc < 0)
        buf_printf(&out, "error: %s\n", err.text);
    else
        expect_success(dir, rc, &err);
    if (rc < 0)
        expect_number(dir, -rc, err.code);
    expect_text(dir, expected, buf_text(&out));
    buf_done(&out);
    free(expected);
    free(in);
}

static void fixtures_read_as_expected(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(0, glob(FIXTURES "/ini/*", 0, NULL, &found));
    assert_true(found.gl_pathc >= 15);
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_as_expected(found.gl_pathv[i]);
    globfree(&found);
}

/* At and around the limit, and around inih's own buffer of 200 bytes, which it cuts at in silence. */
static void lines_up_to_190_bytes_are_whole_and_longer_ones_refused(void **state)
{
    (void)state;
    for (size_t len = 180; len <= 420; len++) {
        struct buf text, out;
        struct err err = {0};
        buf_init(&text, OUT_MAX);
        buf_init(&out, OUT_MAX);
        buf_puts(&text, "[s]\nk = ");
        while (text.len < 4 + len)
            buf_putc(&text, 'v');
        buf_puts(&text, "\nnext = 1\n");
        int rc = ini_file_parse("long", text.data, text.len, take, &out, &err);
        if (len > INI_FILE_LINE_MAX) {
            expect_failure("long line", -EINVAL, "long:2: line longer than 190 bytes", rc, &err);
            assert_string_equal("", buf_text(&out));
        } else {
            assert_int_equal(0, rc);
            assert_int_equal(strlen("[s] ") + len + 1 + strlen("[s] next = 1\n"), out.len);
        }
        buf_done(&text);
        buf_done(&out);
    }
}

static void nothing_at_all_is_a_good_text(void **state)
{
    (void)state;
    struct err err = err_untouched;
    expect_success("NULL", ini_file_parse("empty", NULL, 0, take, NULL, &err), &err);
    expect_success("\"\"", ini_file_parse("empty", "", 0, take, NULL, &err), &err);
}

static void null_err_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(-EINVAL, ini_file_parse("x", "what is this", 12, take, NULL, NULL));
    assert_int_equal(-ERANGE, ini_file_parse("x", "refuse = 1", 10, take, NULL, NULL));
    assert_int_equal(-ENOENT, ini_file_read("/no/such.ini", take, NULL, NULL));
}

static void file_errors_name_the_file(void **state)
{
    (void)state;
    struct err err = {0};
    int rc = ini_file_read("/no/such.ini", take, NULL, &err);
    expect_failure("absent", -ENOENT, "/no/such.ini: No such file or directory", rc, &err);
    rc = ini_file_read("/", take, NULL, &err);
    expect_failure("folder", -EISDIR, "/: Is a directory", rc, &err);
    rc = ini_file_read("/dev/zero", take, NULL, &err);
    expect_failure("endless", -EFBIG, "/dev/zero: larger than 1048576 bytes", rc, &err);
    struct buf out;
    buf_init(&out, OUT_MAX);
    rc = ini_file_read(FIXTURES "/ini/refused-value/in.ini", take, &out, &err);
    buf_done(&out);
    expect_failure("bad line", -ERANGE, "/ini/refused-value/in.ini:3: refused yes", rc, &err);
}

static int read_file_attempt(void *ctx)
{
    (void)ctx;
    struct buf out;
    struct err err = {0};
    buf_init(&out, OUT_MAX);
    alloc_fail_pause();
    buf_reserve(&out, 4096);
    alloc_fail_resume();
    int rc = ini_file_read(FIXTURES "/ini/plain/in.ini", take, &out, &err);
    if (rc < 0) {
        assert_int_equal(-ENOMEM, rc);
        assert_string_equal("", buf_text(&out));
        assert_non_null(strstr(err.text, "no memory"));
    }
    buf_done(&out);
    return rc;
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    assert_in_range(alloc_fail_in_turn("ini_file_read", read_file_attempt, NULL), 1, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_read_as_expected),
        cmocka_unit_test(lines_up_to_190_bytes_are_whole_and_longer_ones_refused),
        cmocka_unit_test(nothing_at_all_is_a_good_text),
        cmocka_unit_test(null_err_is_allowed),
        cmocka_unit_test(file_errors_name_the_file),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
