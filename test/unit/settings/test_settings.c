/* settings: values from flag, environment, INI and default, of which the strongest origin counts. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/settings/settings.h"

static int set(struct settings *settings, enum setting_id id, const char *text, enum setting_origin origin)
{
    return settings_set(settings, id, span_of(text), origin, NULL);
}

static void stronger_origin_wins_in_any_order(void **state)
{
    (void)state;
    static const struct {
        enum setting_origin origin;
        const char *text;
    } values[] = {{SETTING_FROM_INI, "2m"}, {SETTING_FROM_ENV, "3m"}, {SETTING_FROM_FLAG, "4m"}};
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < COUNT_OF(orders); o++) {
        for (size_t n = 0; n <= 3; n++) {
            struct settings settings;
            unsigned best = 0;
            settings_init(&settings);
            for (size_t i = 0; i < n; i++) {
                unsigned v = orders[o][i];
                assert_int_equal(0, set(&settings, SETTING_INTERVAL, values[v].text, values[v].origin));
                best = v + 1 > best ? v + 1 : best;
            }
            assert_string_equal(best == 0 ? "60s" : values[best - 1].text, settings_get(&settings, SETTING_INTERVAL));
            assert_int_equal(n > 0, settings_is_set(&settings, SETTING_INTERVAL));
            assert_int_equal(best == 0 ? 60000 : (int64_t)(best + 1) * 60000,
                             settings_get_ms(&settings, SETTING_INTERVAL));
            settings_done(&settings);
        }
    }
}

static void bad_value_leaves_the_old_one(void **state)
{
    (void)state;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    assert_int_equal(0, set(&settings, SETTING_INTERVAL, " 2m\n", SETTING_FROM_ENV));
    assert_string_equal("2m", settings_get(&settings, SETTING_INTERVAL));
    int rc = settings_set(&settings, SETTING_INTERVAL, span_of("soon"), SETTING_FROM_FLAG, &err);
    expect_failure("interval", -EINVAL, "got \"soon\"", rc, &err);
    assert_string_equal("2m", settings_get(&settings, SETTING_INTERVAL));
    /* also where it would not have counted: a wrong line in a file is wrong */
    assert_int_equal(-EINVAL, set(&settings, SETTING_INTERVAL, "soon", SETTING_FROM_INI));
    settings_done(&settings);
    settings_done(&settings);
}

static void items_are_added_to_those_of_the_same_origin(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings settings = {0};
    struct err err = {0};
    assert_int_equal(0, set(&settings, SETTING_LABELS, "e=1", SETTING_FROM_ENV));
    assert_int_equal(0, settings_add(&settings, SETTING_LABELS, span_of("a=b"), SETTING_FROM_FLAG, &err));
    assert_string_equal("a=b", settings_get(&settings, SETTING_LABELS));
    assert_int_equal(0, settings_add(&settings, SETTING_LABELS, span_of("c=d,e=f"), SETTING_FROM_FLAG, &err));
    assert_string_equal("a=b,c=d,e=f", settings_get(&settings, SETTING_LABELS));
    int rc = settings_add(&settings, SETTING_LABELS, span_of("bad"), SETTING_FROM_FLAG, &err);
    expect_failure("bad item", -EINVAL, "expected KEY=VALUE", rc, &err);
    assert_string_equal("a=b,c=d,e=f", settings_get(&settings, SETTING_LABELS));
}

static void typed_values(void **state)
{
    (void)state;
    struct settings settings;
    settings_init(&settings);
    assert_null(settings_get(&settings, SETTING_COLLECTOR));
    assert_false(settings_get_bool(&settings, SETTING_SIDECAR));
    assert_int_equal(10, settings_get_whole(&settings, SETTING_CPU_SECONDS));
    assert_int_equal(0, set(&settings, SETTING_SIDECAR, "YES", SETTING_FROM_ENV));
    assert_int_equal(0, set(&settings, SETTING_CPU_SECONDS, "300", SETTING_FROM_ENV));
    assert_true(settings_get_bool(&settings, SETTING_SIDECAR));
    assert_int_equal(300, settings_get_whole(&settings, SETTING_CPU_SECONDS));
    settings_done(&settings);
}

/* All typed getters work on all defaults: none may run into its assert. */
static void typed_getters_take_every_default(void **state)
{
    (void)state;
    struct settings settings;
    settings_init(&settings);
    for (int i = 0; i < SETTING_COUNT; i++) {
        enum setting_id id = (enum setting_id)i;
        const struct setting *row = &settings_table[id];
        if (row->default_text == NULL)
            continue;
        if (row->type == SETTING_TYPE_BOOL)
            settings_get_bool(&settings, id);
        else if (row->type == SETTING_TYPE_DURATION)
            assert_in_range(settings_get_ms(&settings, id), row->min, row->max);
        else if (row->type == SETTING_TYPE_WHOLE)
            assert_in_range(settings_get_whole(&settings, id), row->min, row->max);
    }
    settings_done(&settings);
}

/* ---- without memory ---- */

static int set_attempt(void *ctx)
{
    const char *before = ctx;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    alloc_fail_pause();
    if (before != NULL)
        assert_int_equal(0, set(&settings, SETTING_LABELS, before, SETTING_FROM_ENV));
    alloc_fail_resume();
    int rc = settings_set(&settings, SETTING_LABELS, span_of("a=b"), SETTING_FROM_ENV, &err);
    if (rc < 0) {
        assert_int_equal(-ENOMEM, rc);
        assert_non_null(strstr(err.text, "no memory"));
        assert_true(settings_is_set(&settings, SETTING_LABELS) == (before != NULL));
        if (before != NULL)
            assert_string_equal(before, settings_get(&settings, SETTING_LABELS));
    }
    settings_done(&settings);
    return rc;
}

static int add_attempt(void *ctx)
{
    (void)ctx;
    struct settings settings;
    struct err err = {0};
    settings_init(&settings);
    int rc = settings_add(&settings, SETTING_LABELS, span_of("a=b"), SETTING_FROM_FLAG, &err);
    bool first = rc == 0;
    if (rc == 0)
        rc = settings_add(&settings, SETTING_LABELS, span_of("c=d"), SETTING_FROM_FLAG, &err);
    if (rc < 0)
        assert_non_null(strstr(err.text, "no memory"));
    if (rc < 0 && first)
        assert_string_equal("a=b", settings_get(&settings, SETTING_LABELS));
    settings_done(&settings);
    return rc;
}

static int copy_attempt(void *ctx)
{
    const struct settings *from = ctx;
    struct settings to = {0};
    struct err err = {0};
    int rc = settings_copy(&to, from, &err);
    if (rc < 0)
        assert_non_null(strstr(err.text, "no memory"));
    settings_done(&to);
    return rc;
}

static void without_memory_the_old_values_stay(void **state)
{
    (void)state;
    char old[] = "old=1";
    CLEANUP(settings_done) struct settings settings = {0};
    alloc_fail_in_turn_exactly(2, "settings_set, first", set_attempt, NULL);
    alloc_fail_in_turn_exactly(2, "settings_set, again", set_attempt, old);
    assert_in_range(alloc_fail_in_turn("settings_add", add_attempt, NULL), 3, 10);
    assert_int_equal(0, set(&settings, SETTING_LABELS, "a=b", SETTING_FROM_ENV));
    assert_int_equal(0, set(&settings, SETTING_SERVICE, "web", SETTING_FROM_INI));
    alloc_fail_in_turn_exactly(2, "settings_copy", copy_attempt, &settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stronger_origin_wins_in_any_order),
        cmocka_unit_test(bad_value_leaves_the_old_one),
        cmocka_unit_test(items_are_added_to_those_of_the_same_origin),
        cmocka_unit_test(typed_values),
        cmocka_unit_test(typed_getters_take_every_default),
        cmocka_unit_test(without_memory_the_old_values_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
