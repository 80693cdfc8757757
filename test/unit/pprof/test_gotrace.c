/* gotrace: the header of an execution trace, whole or cut in any way, and what is none. */
#include "unit.h"

#include "common/pprof/gotrace.h"

struct row {
    const char *what, *body;
    size_t len;
    enum pprof_verdict expected;
    const char *words;
};
#define BODY(text) text, sizeof(text) - 1

static const struct row rows[] = {
    {"Go 1.22", BODY("go 1.22 trace\0\0\0\x01\x02"), PPROF_OK, ""},
    {"Go 1.5, a digit less and a NUL more", BODY("go 1.5 trace\0\0\0\0\x01"), PPROF_OK, ""},
    {"Go 1.100", BODY("go 1.100 trace\0\0\x01"), PPROF_OK, ""},
    {"long body", BODY("go 1.26 trace\0\0\0 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"),
     PPROF_OK, ""},
    {"header alone", BODY("go 1.22 trace\0\0\0"), PPROF_TRUNCATED, "ended after the header"},
    {"half a header", BODY("go 1.2"), PPROF_TEXT, "text, not a profile: \"go 1.2\""},
    {"half a header with a NUL", BODY("go 1.22 trace\0"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"nothing", BODY(""), PPROF_TRUNCATED, "the body is empty"},
    {"no NUL after it", BODY("go 1.22 tracexyz\x01"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"no digit", BODY("go 1. trace\0\0\0\0\0\x01"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"digits without end", BODY("go 1.11111111111111111111\x01"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"no room for a NUL", BODY("go 1.12345 trace\x01"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"another major", BODY("go 2.22 trace\0\0\0\x01"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"gzip", BODY("\x1f\x8b\x08\0\0\0\0\0\0\xff"), PPROF_MALFORMED, "expected a Go execution trace"},
    {"gzip, as profiles are", BODY("\x1f\x8b\x08\0\0\0\0\0\0\xff"), PPROF_MALFORMED, "gzip, as profiles are"},
    {"a flight recording", BODY("FLR\0\0\2\0\1"), PPROF_MALFORMED,
     "a Java Flight Recording: expected a Go execution trace"},
    {"a heap profile as text", BODY("heap profile: 1: 2 [3: 4] @ heap/1048576\n"), PPROF_TEXT,
     "a heap profile as text, of gperftools or of Go with debug=1: expected a Go execution trace"},
    {"HTML",
     BODY("<!DOCTYPE html><title>Sign in</title> and a page of words behind it, well past the head of the body"),
     PPROF_TEXT, "text, not a profile: \"<!DOCTYPE html><title>Si\"…"},
    {"text about traces", BODY("go 1.22 trace is not enabled here"), PPROF_TEXT, "text, not a profile"},
};

static void expect_verdict(const struct row *row, const struct gotrace_check *check)
{
    struct pprof_summary summary;
    gotrace_check_finish(check, &summary);
    if (summary.verdict != row->expected)
        fail_msg("%s: expected %s, got %s (%s)", row->what, pprof_verdict_names[row->expected],
                 pprof_verdict_names[summary.verdict], summary.reason);
    expect_contains(row->what, summary.reason, row->words);
    assert_true((summary.reason[0] == '\0') == (row->expected == PPROF_OK));
    expect_number(row->what, (long long)row->len, (long long)summary.raw_bytes);
}

static void each_body_has_its_verdict_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t piece = 1; piece <= rows[i].len + 1; piece++) {
            struct gotrace_check check;
            gotrace_check_init(&check);
            for (size_t at = 0; at < rows[i].len; at += piece)
                gotrace_check_feed(&check, rows[i].body + at, rows[i].len - at < piece ? rows[i].len - at : piece);
            expect_verdict(&rows[i], &check);
        }
    }
}

/* A large page is cut after its head, not read to its end; a large trace is never cut. */
static void bad_body_is_told_after_its_head(void **state)
{
    (void)state;
    char body[PPROF_HEAD_MAX];
    struct gotrace_check check;
    memset(body, 'x', sizeof(body));
    gotrace_check_init(&check);
    assert_int_equal(0, gotrace_check_feed(&check, body, sizeof(body) - 1));
    assert_int_equal(-EINVAL, gotrace_check_feed(&check, body, 1));
    assert_int_equal(-EINVAL, gotrace_check_feed(&check, body, 1));
    gotrace_check_init(&check);
    memcpy(body, "go 1.26 trace\0\0\0", 16);
    for (int i = 0; i < 100; i++)
        assert_int_equal(0, gotrace_check_feed(&check, body, sizeof(body)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_body_has_its_verdict_however_it_is_cut),
        cmocka_unit_test(bad_body_is_told_after_its_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
