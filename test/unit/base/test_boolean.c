/* boolean: the words for yes and no. */
#include "unit.h"

#include "common/base/boolean.h"

static void booleans_in_any_case(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int value; /* -1 = not one */
    } rows[] = {
        {"true", 1}, {"TRUE", 1},   {"True", 1}, {"1", 1},  {"t", 1},     {"T", 1},      {"yes", 1}, {"YES", 1},
        {"y", 1},    {"on", 1},     {"oN", 1},   {"false", 0}, {"FALSE", 0}, {"0", 0},      {"f", 0},   {"F", 0},
        {"no", 0},   {"N", 0},      {"off", 0},  {"OFF", 0},   {"", -1},     {"2", -1},     {"tru", -1}, {"truee", -1},
        {" true", -1}, {"true ", -1}, {"nope", -1}, {"00", -1},   {"null", -1}, {"enabled", -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = err_untouched;
        bool value = rows[i].value == 0;
        int rc = boolean_parse(span_of(rows[i].text), &value, &err);
        if (rows[i].value < 0) {
            expect_failure(rows[i].text, -EINVAL, "expected true or false, got \"", rc, &err);
            continue;
        }
        expect_success(rows[i].text, rc, &err);
        expect_number(rows[i].text, rows[i].value, value);
    }
}

static void word_lists_are_what_boolean_parse_takes(void **state)
{
    (void)state;
    unsigned count = 0;
    for (const char *const *word = boolean_true_words; *word != NULL; word++, count++) {
        bool value = false;
        assert_int_equal(0, boolean_parse(span_of(*word), &value, NULL));
        assert_true(value);
    }
    for (const char *const *word = boolean_false_words; *word != NULL; word++, count++) {
        bool value = true;
        assert_int_equal(0, boolean_parse(span_of(*word), &value, NULL));
        assert_false(value);
    }
    assert_int_equal(12, count); /* six of each, as README says */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans_in_any_case),
        cmocka_unit_test(word_lists_are_what_boolean_parse_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
