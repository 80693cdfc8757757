/* labels: each key once, ours are ours, and a list is taken whole or not at all. */
#include "unit.h"

#include "common/values/labels.h"

enum { SHOWN_MAX = 16 * 1024 }; /* bytes of all labels there can be */

static void show(const struct labels *labels, char out[static SHOWN_MAX])
{
    out[0] = '\0';
    for (const struct label *label = labels->items; label < labels->items + labels->count; label++)
        snprintf(out + strlen(out), SHOWN_MAX - strlen(out), "%s%s=%s", label > labels->items ? "," : "", label->key,
                 label->value);
}

static void good_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"team=shop,tier=web", "team=shop,tier=web"},
        {" team = shop & co , a = b c,", "team=shop & co,a=b c"},
        {"app.kubernetes.io/name=web", "app.kubernetes.io/name=web"},
        {"a=b=c=d", "a=b=c=d"},
        {"a=\xc3\xa4\xe2\x82\xac", "a=\xc3\xa4\xe2\x82\xac"},
        {"a=\"quoted\" %2C + ;", "a=\"quoted\" %2C + ;"},
        {"empty=,a=b", "a=b"}, /* profile.proto cannot tell an empty value from none */
        {"A=1,a=2", "A=1,a=2"},
        {"0-_./x=1", "0-_./x=1"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        struct labels labels = {0};
        struct warnings warnings = {0};
        char got[SHOWN_MAX];
        expect_success(rows[i].text, labels_add_list(&labels, span_of(rows[i].text), "profefe-agent", &warnings, &err),
                       &err);
        show(&labels, got);
        expect_text(rows[i].text, rows[i].expected, got);
        expect_number(rows[i].text, 0, warnings.count);
    }
}

static void bad_lists_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"team", "expected KEY=VALUE"},
        {"a=b,,c=d", "expected KEY=VALUE"},
        {"a=b,team", "got \"team\""},
        {"=b", "expected a label key"},
        {"a b=c", "expected a label key"},
        {"-a=c", "expected a label key"},
        {"/a=c", "expected a label key"},
        {"\xc3\xa4=c", "expected a label key"},
        {"a\n=c,b=d,a\nb=e", "expected a label key"},
        {"a=b\nc", "expected a label value"},
        {"a=\x1b[0m", "expected a label value"},
        {"a=\x7f", "expected a label value"},
        {"a=\xc2\x9b" "0m", "expected a label value"},
        {"a=\xff", "expected a label value"},
        {"a=\xc3", "expected a label value"},
        {"a=b,pod=x,bad", "got \"bad\""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        struct labels labels = {0};
        char got[SHOWN_MAX];
        labels_add(&labels, span_of("kept"), span_of("yes"), NULL);
        int rc = labels_add_list(&labels, span_of(rows[i].text), "profefe-agent", NULL, &err);
        expect_failure(rows[i].text, -EINVAL, rows[i].words, rc, &err);
        show(&labels, got);
        expect_text(rows[i].text, "kept=yes", got);
    }
}

static void our_own_keys_are_left_out_with_a_warning(void **state)
{
    (void)state;
    static const char *const keys[] = {"namespace", "pod",          "node",    "container", "target",
                                       "from",      "profile_type", "trigger", "capture"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct labels labels = {0};
        struct warnings warnings = {0};
        char text[64];
        assert_true(labels_key_is_reserved(span_of(keys[i])));
        snprintf(text, sizeof(text), "%s=mine,a=b", keys[i]);
        assert_int_equal(0, labels_add_list(&labels, span_of(text), "profefe-agent", &warnings, NULL));
        assert_int_equal(1, labels.count);
        assert_int_equal(1, warnings.count);
        expect_contains(keys[i], warnings_text(&warnings, 0), keys[i]);
    }
    assert_false(labels_key_is_reserved(span_of("Pod")));
    assert_false(labels_key_is_reserved(span_of("po")));
    assert_false(labels_key_is_reserved(span_of("pods")));
    assert_false(labels_key_is_reserved((struct span){NULL, 0}));
}

static void of_a_repeated_key_the_first_counts(void **state)
{
    (void)state;
    struct err err = err_untouched;
    struct labels labels = {0};
    struct warnings warnings = {0};
    labels_add(&labels, span_of("team"), span_of("one"), NULL);
    expect_success("list", labels_add_list(&labels, span_of("team=two,x=1,x=2"), "profefe-agent", &warnings, &err),
                   &err);
    assert_string_equal("one", labels_get(&labels, "team"));
    assert_string_equal("1", labels_get(&labels, "x"));
    assert_null(labels_get(&labels, "y"));
    assert_int_equal(2, warnings.count);
    expect_contains("warning", warnings_text(&warnings, 0), "labels: \"team\" is there already");
}

static void add_refuses_a_key_that_is_there(void **state)
{
    (void)state;
    struct labels labels = {0};
    struct err err = {0};
    assert_int_equal(0, labels_add(&labels, span_of("pod"), span_of("web-1"), &err));
    int rc = labels_add(&labels, span_of("pod"), span_of("web-2"), &err);
    expect_failure("pod", -EEXIST, "\"pod\" is there already", rc, &err);
    assert_int_equal(0, labels_add(&labels, span_of("pod"), span_of(""), &err));
    assert_int_equal(1, labels.count);
    assert_string_equal("web-1", labels_get(&labels, "pod"));
}

static void lengths_have_limits(void **state)
{
    (void)state;
    struct labels labels = {0};
    char key[LABEL_KEY_MAX + 1], value[LABEL_VALUE_MAX + 1];
    memset(key, 'k', sizeof(key));
    memset(value, 'v', sizeof(value));
    assert_int_equal(-EINVAL, labels_add(&labels, (struct span){key, LABEL_KEY_MAX + 1}, span_of("v"), NULL));
    assert_int_equal(-EINVAL, labels_add(&labels, span_of("k"), (struct span){value, LABEL_VALUE_MAX + 1}, NULL));
    assert_int_equal(
        0, labels_add(&labels, (struct span){key, LABEL_KEY_MAX}, (struct span){value, LABEL_VALUE_MAX}, NULL));
    assert_int_equal(LABEL_KEY_MAX, strlen(labels.items[0].key));
    assert_int_equal(LABEL_VALUE_MAX, strlen(labels.items[0].value));
    assert_int_equal(-EINVAL, labels_add(&labels, (struct span){"a\0b", 3}, span_of("v"), NULL));
    assert_int_equal(-EINVAL, labels_add(&labels, span_of("a"), (struct span){"v\0", 2}, NULL));
}

/* Whether a list is an error must not depend on how many labels of identity are there: the webhook checks it without
 * them, and an agent that finds an error idles. */
static void labels_beyond_the_room_are_left_out_with_a_warning(void **state)
{
    (void)state;
    struct err err = err_untouched;
    struct labels labels = {0};
    struct warnings warnings = {0};
    char text[1024] = "";
    for (int i = 0; i < LABELS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "k%d=v,", i);
    expect_success("32 into none", labels_add_list(&labels, span_of(text), "profefe-agent", &warnings, &err), &err);
    assert_int_equal(LABELS_MAX, labels.count);
    assert_int_equal(0, warnings.count);
    assert_int_equal(-ENOSPC, labels_add(&labels, span_of("more"), span_of("v"), NULL));

    labels = (struct labels){0};
    for (int i = 0; i < 5; i++) {
        char key[8];
        snprintf(key, sizeof(key), "i%d", i);
        labels_add(&labels, span_of(key), span_of("v"), NULL);
    }
    expect_success("32 into 27", labels_add_list(&labels, span_of(text), "profefe-agent", &warnings, &err), &err);
    assert_int_equal(LABELS_MAX, labels.count);
    assert_non_null(labels_get(&labels, "k26"));
    assert_null(labels_get(&labels, "k27"));
    assert_int_equal(5, warnings.count);
    expect_contains("warning", warnings_text(&warnings, 0), "\"k27\" is left out: expected at most 32 labels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lists),
        cmocka_unit_test(bad_lists_change_nothing),
        cmocka_unit_test(our_own_keys_are_left_out_with_a_warning),
        cmocka_unit_test(of_a_repeated_key_the_first_counts),
        cmocka_unit_test(add_refuses_a_key_that_is_there),
        cmocka_unit_test(lengths_have_limits),
        cmocka_unit_test(labels_beyond_the_room_are_left_out_with_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
