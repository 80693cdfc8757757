/* targets: [NAME=]URL, comma-separated. */
#include "unit.h"

#include "common/values/targets.h"

/* "NAME=URL NAME=URL" of what was parsed. */
static void show(const struct targets *targets, char out[static 2048])
{
    out[0] = '\0';
    for (unsigned i = 0; i < targets->count; i++)
        snprintf(out + strlen(out), 2048 - strlen(out), "%s%s=%s", i > 0 ? " " : "", targets->items[i].name,
                 targets->items[i].url);
}

static void good_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"http://127.0.0.1:6060/debug/pprof", "=http://127.0.0.1:6060/debug/pprof"},
        {"http://127.0.0.1:6060/debug/pprof/", "=http://127.0.0.1:6060/debug/pprof"},
        {"http://127.0.0.1:6060", "=http://127.0.0.1:6060"},
        {"http://127.0.0.1:6060/", "=http://127.0.0.1:6060"},
        {" api = http://a:1/x , worker=https://b:2 ,", "api=http://a:1/x worker=https://b:2"},
        {"a.b_c-d=http://a", "a.b_c-d=http://a"},
        {"http://a/x=y", "=http://a/x=y"},
        {"n=http://a/x=y", "n=http://a/x=y"},
        {"http://a,n=http://a", "=http://a n=http://a"},
        {"Api=http://a,api=http://a", "Api=http://a api=http://a"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        struct targets targets;
        char got[2048];
        expect_success(rows[i].text, targets_parse(span_of(rows[i].text), &targets, &err), &err);
        show(&targets, got);
        expect_text(rows[i].text, rows[i].expected, got);
    }
}

static void target_on_loopback_is_known(void **state)
{
    (void)state;
    struct targets targets;
    assert_int_equal(
        0, targets_parse(span_of("a=https://localhost:1/x,b=https://10.0.0.7:1/x,c=http://[::1]:1"), &targets, NULL));
    assert_true(targets.items[0].is_loopback);
    assert_false(targets.items[1].is_loopback);
    assert_true(targets.items[2].is_loopback);
}

static void bad_lists_leave_the_output_alone(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "at least one target"},
        {" \n", "at least one target"},
        {",", "got \"\""},
        {"http://a,,http://b", "got \"\""},
        {"6060", "begin with http"},
        {"a=6060", "begin with http"},
        {"a=", "begin with http"},
        {"=http://a", "target name"},
        {"-a=http://a", "target name"},
        {"a b=http://a", "target name"},
        {"\xc3\xa4=http://a", "target name"},
        {"http://a,http://b", "with a name of its own"},
        {"n=http://a,n=http://b", "\"n\" twice"},
        {"http://a,nope", "got \"nope\""},
        {"http://a/%2", "hexadecimal"},
        {"1=http://a,2=http://a,3=http://a,4=http://a,5=http://a,6=http://a,7=http://a,8=http://a,9=http://a",
         "at most 8"},
        {"a123456789012345678901234567890123456789012345678901234567890123=http://a", "target name"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct targets targets = {.count = 77};
        int rc = targets_parse(span_of(rows[i].text), &targets, &err);
        expect_failure(rows[i].text, -EINVAL, rows[i].words, rc, &err);
        expect_number("untouched", 77, targets.count);
    }
}

static void longest_names_and_urls_fit(void **state)
{
    (void)state;
    struct targets targets;
    char text[TARGET_NAME_MAX + 1 + TARGET_URL_MAX + 3];
    memset(text, 'n', sizeof(text));
    memcpy(text + TARGET_NAME_MAX, "=http://h/", 10);
    memset(text + TARGET_NAME_MAX + 10, 'p', sizeof(text) - TARGET_NAME_MAX - 10);
    size_t len = TARGET_NAME_MAX + 1 + TARGET_URL_MAX;
    assert_int_equal(0, targets_parse((struct span){text, len}, &targets, NULL));
    assert_int_equal(TARGET_NAME_MAX, strlen(targets.items[0].name));
    assert_int_equal(TARGET_URL_MAX, strlen(targets.items[0].url));
    text[len] = '/';
    assert_int_equal(0, targets_parse((struct span){text, len + 1}, &targets, NULL));
    text[len] = 'p';
    assert_int_equal(-EINVAL, targets_parse((struct span){text, len + 1}, &targets, NULL));
}

static void eight_targets_fit(void **state)
{
    (void)state;
    struct targets targets;
    assert_int_equal(
        0, targets_parse(span_of("1=http://a,2=http://a,3=http://a,4=http://a,5=http://a,6=http://a,7=http://a,"
                                 "8=http://a"),
                         &targets, NULL));
    assert_int_equal(TARGETS_MAX, targets.count);
    assert_string_equal("8", targets.items[7].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lists),
        cmocka_unit_test(target_on_loopback_is_known),
        cmocka_unit_test(bad_lists_leave_the_output_alone),
        cmocka_unit_test(longest_names_and_urls_fit),
        cmocka_unit_test(eight_targets_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
