/* types: TYPE[:EVERY][=SECONDS], what is refused, and what is tolerated with a warning. */
#include "unit.h"

#include "common/base/duration.h"
#include "common/base/span.h"
#include "common/values/profile_types.h"

static const struct profile_types_defaults usual = {.interval_ms = 60000, .cpu_seconds_ms = 10000, .grace_ms = -1};

/* "NAME:EVERY=SECONDS NAME:EVERY" of what was parsed. */
static void show(const struct profile_types *types, char out[static 1024])
{
    out[0] = '\0';
    for (unsigned i = 0; i < types->count; i++) {
        const struct profile_type *type = &types->items[i];
        struct duration_text every, seconds;
        snprintf(out + strlen(out), 1024 - strlen(out), "%s%s:%s", i > 0 ? " " : "", type->name,
                 duration_format(&every, type->every_ms));
        if (type->seconds_ms > 0)
            snprintf(out + strlen(out), 1024 - strlen(out), "=%s", duration_format(&seconds, type->seconds_ms));
    }
}

static void kinds_table_names_what_go_and_profefe_know(void **state)
{
    (void)state;
    static const char *const profefe_types[] = {"cpu",       "heap",         "block", "mutex",
                                                "goroutine", "threadcreate", "other", "trace"};
    for (unsigned k = 0; k < PROFILE_KIND_COUNT; k++) {
        const struct profile_kind_info *info = &profile_kinds[k];
        bool known = false;
        assert_non_null(info->name);
        assert_in_range(strlen(info->name), 1, PROFILE_TYPE_NAME_MAX);
        assert_true((info->path == NULL) == (k == PROFILE_OTHER));
        for (size_t i = 0; i < COUNT_OF(profefe_types); i++)
            known |= strcmp(profefe_types[i], info->profefe_type) == 0;
        assert_true(known);
        assert_true(info->timed || !info->fractions);
    }
    assert_string_equal("profile", profile_kinds[PROFILE_CPU].path);
}

static void good_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"cpu", "cpu:1m=10s"},
        {"cpu,heap,goroutine,block,mutex", "cpu:1m=10s heap:5m goroutine:5m block:5m mutex:5m"},
        {" heap , cpu ,", "heap:5m cpu:1m=10s"},
        {"cpu:60s=10s,heap:5m", "cpu:1m=10s heap:5m"},
        {"cpu:90s", "cpu:90s=10s"},
        {"cpu=30", "cpu:1m=30s"},
        {"cpu = 30s", "cpu:1m=30s"},
        {"cpu : 2m = 30s", "cpu:2m=30s"},
        {"cpu:2s=1", "cpu:2s=1s"},
        {"cpu:24h=300s", "cpu:24h=5m"},
        {"threadcreate", "threadcreate:5m"},
        {"heap:1s", "heap:1s"},
        {"heap:24h", "heap:24h"},
        {"heap:1500ms", "heap:1500ms"},
        {"allocs", "allocs:5m"},
        {"trace", "trace:5m=1s"},
        {"trace:1h=0.5", "trace:1h=500ms"},
        {"trace=2.25s", "trace:5m=2250ms"},
        {"other/wall", "other/wall:5m"},
        {"other/wall:1m=0.5", "other/wall:1m=500ms"},
        {"other/a/b.c", "other/a/b.c:5m"},
        {"other/..x/.y", "other/..x/.y:5m"},
        {"other/gr\xc3\xbc\xc3\x9f" "e<1>", "other/gr\xc3\xbc\xc3\x9f" "e<1>:5m"},
        {"cpu,trace,allocs,other/heap,other/x", "cpu:1m=10s trace:5m=1s allocs:5m other/heap:5m other/x:5m"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        struct profile_types types;
        struct warnings warnings = {0};
        char got[1024];
        expect_success(rows[i].text, profile_types_parse(span_of(rows[i].text), &usual, &types, &warnings, &err), &err);
        show(&types, got);
        expect_text(rows[i].text, rows[i].expected, got);
        if (warnings.count > 0)
            fail_msg("%s: a warning: %s", rows[i].text, warnings_text(&warnings, 0));
    }
}

static void bad_lists_name_item_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "at least one profile type"},
        {" ", "at least one profile type"},
        {",", "unknown profile type \"\""},
        {"cpu,,heap", "unknown profile type \"\""},
        {"cpux", "\"cpux\", did you mean cpu?"},
        {"CPU", "unknown profile type \"CPU\""},
        {"profile", "unknown profile type \"profile\", expected cpu, heap"},
        {"haep", "did you mean heap?"},
        {"gorutine", "did you mean goroutine?"},
        {"goroutines", "did you mean goroutine?"},
        {"mutexes", "did you mean mutex?"},
        {"alocs", "did you mean allocs?"}, /* the nearest, not the first near one, which is block */
        {"blok", "did you mean block?"},
        {"threadcreat", "did you mean threadcreate?"},
        {"other", "unknown profile type \"other\""},
        {"other/", "unknown profile type \"other/\""},
        {"other//a", "unknown profile type"},
        {"other/.", "unknown profile type"},
        {"other/a?b", "unknown profile type"},
        {"other/a b", "unknown profile type"},
        {"other/a#b", "unknown profile type"},
        {"other/a%20b", "unknown profile type"},
        {"other/a\x7f", "unknown profile type"},
        {"other/a\xc2\x85", "unknown profile type"},
        {"other/a\nb", "unknown profile type"},
        {"other/\xff", "unknown profile type"},
        {"other/\xc3", "unknown profile type"},
        {"other/..", "unknown profile type"},
        {"other/../../etc", "unknown profile type"},
        {"other/a/./b", "unknown profile type"},
        {"other/a/../b", "unknown profile type"},
        {"other/a//b", "unknown profile type"},
        {"other/a/", "unknown profile type"},
        {"other/a,other/a", "each type once, got other/a twice"},
        {"other/a=0.05", "SECONDS of other/a"},
        {"trace=x", "SECONDS of trace"},
        {"trace:1s=1s", "expected SECONDS less than EVERY"},
        {"other/123456789012345678901234567890123456789012345678901234567890", "unknown profile type"},
        {"cpu,cpu", "each type once, got cpu twice"},
        {"heap:1m,heap:2m", "each type once, got heap twice"},
        {"cpu:", "EVERY of cpu: expected a whole number with a unit"},
        {"cpu:60", "EVERY of cpu: expected a whole number with a unit"},
        {"cpu:999ms", "EVERY of cpu: expected a whole number with a unit (ms, s, m, h) from 1s to 24h"},
        {"cpu:25h", "EVERY of cpu"},
        {"heap:1.5m", "EVERY of heap"},
        {"cpu=", "SECONDS of cpu: expected whole seconds from 1s to 5m"},
        {"cpu=0", "SECONDS of cpu"},
        {"cpu=0.5", "SECONDS of cpu: expected whole seconds"},
        {"cpu=301", "SECONDS of cpu"},
        {"cpu=10ms", "SECONDS of cpu"},
        {"cpu=10s:60s", "SECONDS of cpu"},
        {"trace=0.05", "SECONDS of trace: expected seconds (fractions allowed) from 100ms to 5m"},
        {"cpu:10s=10s", "expected SECONDS less than EVERY, got \"cpu:10s=10s\""},
        {"cpu:10s=11s", "expected SECONDS less than EVERY"},
        {"cpu:1s=1s", "expected SECONDS less than EVERY"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct profile_types types = {.count = 77};
        int rc = profile_types_parse(span_of(rows[i].text), &usual, &types, NULL, &err);
        if (rc == 0)
            fail_msg("%s: was taken", rows[i].text);
        expect_contains(rows[i].text, err.text, rows[i].words);
        expect_number("code", -rc, err.code);
        expect_number("untouched", 77, types.count);
    }
}

static void nul_bytes_are_refused(void **state)
{
    (void)state;
    struct profile_types types;
    assert_int_equal(-EINVAL, profile_types_parse((struct span){"cpu\0", 4}, &usual, &types, NULL, NULL));
    assert_int_equal(-EINVAL, profile_types_parse((struct span){"other/\0a", 8}, &usual, &types, NULL, NULL));
}

static void oddities_are_tolerated_with_a_warning(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t interval_ms, cpu_seconds_ms, grace_ms;
        const char *expected, *words;
    } rows[] = {
        {"heap=10", 60000, 10000, -1, "heap:5m", "=SECONDS on heap is ignored"},
        {"heap=rubbish", 60000, 10000, -1, "heap:5m", "=SECONDS on heap is ignored"},
        {"block:1m=5s", 60000, 10000, -1, "block:1m", "=SECONDS on block is ignored"},
        {"allocs=5", 60000, 10000, -1, "allocs:5m", "=SECONDS on allocs is ignored"},
        {"trace:1s", 60000, 10000, -1, "trace:1s=500ms", "trace takes 500ms instead of 1s, since it must end"},
        {"trace=10", 60000, 10000, 3000, "trace:5m=1500ms", "half of the grace period"},
        {"other/wall=10", 60000, 10000, 3000, "other/wall:5m=1500ms", "half of the grace period"},
        {"cpu:10s", 60000, 10000, -1, "cpu:10s=5s", "cpu takes 5s instead of 10s, since it must end"},
        {"cpu", 5000, 10000, -1, "cpu:5s=2s", "cpu takes 2s instead of 10s"},
        {"cpu", 1000, 10000, -1, "cpu:2s=1s", "taken every 2s instead of 1s"},
        {"cpu:1500ms", 60000, 10000, -1, "cpu:2s=1s", "taken every 2s instead of 1500ms"},
        {"cpu=60", 60000, 10000, -1, "cpu:1m=30s", "cpu takes 30s instead of 1m"},
        {"cpu", 60000, 10000, 15000, "cpu:1m=7s", "half of the grace period"},
        {"cpu", 60000, 10000, 1000, "cpu:1m=1s", "half of the grace period"},
        {"cpu", 60000, 10000, 0, "cpu:1m=1s", "half of the grace period"},
        {"cpu:2m=60", 60000, 10000, 30000, "cpu:2m=15s", "cpu takes 15s instead of 1m"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        struct profile_types types;
        struct warnings warnings = {0};
        char got[1024];
        const struct profile_types_defaults defaults = {rows[i].interval_ms, rows[i].cpu_seconds_ms, rows[i].grace_ms};
        expect_success(rows[i].text, profile_types_parse(span_of(rows[i].text), &defaults, &types, &warnings, &err),
                       &err);
        show(&types, got);
        expect_text(rows[i].text, rows[i].expected, got);
        assert_true(warnings.count > 0);
        expect_contains(rows[i].text, warnings_text(&warnings, 0), rows[i].words);
        assert_non_null(strstr(warnings_text(&warnings, 0), ": ")); /* begins with the setting it came from */
    }
}

static void grace_that_leaves_room_warns_of_nothing(void **state)
{
    (void)state;
    struct profile_types types;
    struct warnings warnings = {0};
    const struct profile_types_defaults defaults = {.interval_ms = 60000, .cpu_seconds_ms = 10000, .grace_ms = 20000};
    assert_int_equal(0, profile_types_parse(span_of("cpu,heap"), &defaults, &types, &warnings, NULL));
    assert_int_equal(10000, types.items[0].seconds_ms);
    assert_int_equal(0, warnings.count);
}

static void default_every_of_the_others_is_five_intervals_and_a_day_at_most(void **state)
{
    (void)state;
    static const struct {
        int64_t interval_ms, expected_ms;
    } rows[] = {{1000, 5000}, {60000, 300000}, {17280000, 86400000}, {17281000, 86400000}, {86400000, 86400000}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct profile_types types;
        const struct profile_types_defaults defaults = {
            .interval_ms = rows[i].interval_ms, .cpu_seconds_ms = 1000, .grace_ms = -1};
        assert_int_equal(0, profile_types_parse(span_of("heap"), &defaults, &types, NULL, NULL));
        expect_number("every", rows[i].expected_ms, types.items[0].every_ms);
    }
}

/* The webhook checks with defaults of its own what the agent reads with others: what passes there must pass here. And
 * whatever the defaults, a CPU profile is whole seconds, at least one, and over before the next. */
static void defaults_never_make_an_error(void **state)
{
    (void)state;
    static const char *const texts[] = {"cpu",          "cpu=1",      "cpu=300",         "cpu:1s",
                                        "cpu:2s=1",     "cpu:1999ms", "cpu:24h",         "cpu:24h=300",
                                        "heap,cpu=299", "cpu:3s=2s",  "threadcreate,cpu"};
    static const int64_t intervals[] = {1000, 1500, 2000, 3000, 60000, 86400000};
    static const int64_t seconds[] = {1000, 2000, 10000, 300000};
    static const int64_t graces[] = {-1, 0, 1000, 3000, 30000, INT64_C(2147483647000)};
    for (size_t n = 0; n < COUNT_OF(texts) * COUNT_OF(intervals) * COUNT_OF(seconds) * COUNT_OF(graces); n++) {
        const char *text = texts[n % COUNT_OF(texts)];
        const struct profile_types_defaults defaults = {
            .interval_ms = intervals[n / COUNT_OF(texts) % COUNT_OF(intervals)],
            .cpu_seconds_ms = seconds[n / COUNT_OF(texts) / COUNT_OF(intervals) % COUNT_OF(seconds)],
            .grace_ms = graces[n / COUNT_OF(texts) / COUNT_OF(intervals) / COUNT_OF(seconds)],
        };
        struct err err = err_untouched;
        struct profile_types types;
        expect_success(text, profile_types_parse(span_of(text), &defaults, &types, NULL, &err), &err);
        for (unsigned i = 0; i < types.count; i++) {
            const struct profile_type *type = &types.items[i];
            assert_in_range(type->every_ms, PROFILE_TYPE_EVERY_MIN_MS, PROFILE_TYPE_EVERY_MAX_MS);
            if (type->kind != PROFILE_CPU)
                continue;
            assert_in_range(type->seconds_ms, 1000, type->every_ms - 1);
            assert_int_equal(0, type->seconds_ms % 1000);
            if (defaults.grace_ms >= 2000)
                assert_in_range(type->seconds_ms, 1000, defaults.grace_ms / 2);
        }
    }
}

static void sixteen_types_and_no_more(void **state)
{
    (void)state;
    char text[1024] = "cpu";
    struct err err = {0};
    struct profile_types types;
    struct warnings warnings = {0};
    for (int i = 1; i < PROFILE_TYPES_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), ",other/x%d", i);
    assert_int_equal(0, profile_types_parse(span_of(text), &usual, &types, &warnings, &err));
    assert_int_equal(PROFILE_TYPES_MAX, types.count);
    assert_int_equal(0, warnings.count);
    strcat(text, ",heap");
    int rc = profile_types_parse(span_of(text), &usual, &types, NULL, &err);
    expect_failure("17 types", -EINVAL, "at most 16 types", rc, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_table_names_what_go_and_profefe_know),
        cmocka_unit_test(good_lists),
        cmocka_unit_test(bad_lists_name_item_and_expectation),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(oddities_are_tolerated_with_a_warning),
        cmocka_unit_test(grace_that_leaves_room_warns_of_nothing),
        cmocka_unit_test(default_every_of_the_others_is_five_intervals_and_a_day_at_most),
        cmocka_unit_test(defaults_never_make_an_error),
        cmocka_unit_test(sixteen_types_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
