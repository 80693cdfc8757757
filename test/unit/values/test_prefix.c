/* prefix: the one rule for what a beginning of a URL or of an image permits. */
#include "unit.h"

#include "common/values/prefix.h"

static void a_prefix_counts_in_whole_names(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *text;
        size_t owner_len; /* of the text */
        bool permits;
    } rows[] = {
        {"a://h", "a://h", 5, true},
        {"a://h", "a://h:1/x", 5, true},
        {"a://h", "a://h/x", 5, true},
        {"a://h", "a://hh", 6, false},
        {"a://h", "a://h.evil", 10, false},
        {"a://h.", "a://h.evil", 10, false},
        {"a://h-", "a://h-evil", 10, false},
        {"a://h.", "a://h.:1", 6, true},
        {"a://", "a://h", 5, false},
        {"a://h:", "a://h:1", 5, true},
        {"a://h:1", "a://h:12", 5, false},
        {"a://h/", "a://h/x", 5, true},
        {"a://h/x", "a://h/xy", 5, false},
        {"a://h/x", "a://h/x/y", 5, true},
        {"a://h/x-", "a://h/x-y", 5, true},
        {"a://h/x_", "a://h/x_y", 5, true},
        {"a://h/x", "a://h", 5, false},
        {"b://h", "a://h", 5, false},
        {"", "a://h", 5, false},
        {"", "", 0, false},
        {"x", "x:1", 0, true},
        {"x-", "x-y", 0, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool permits = prefix_permits(span_of(rows[i].prefix), span_of(rows[i].text), rows[i].owner_len, ":/");
        if (permits != rows[i].permits)
            fail_msg("%s and %s: expected %d", rows[i].prefix, rows[i].text, rows[i].permits);
    }
    assert_false(prefix_permits((struct span){"x", 1}, (struct span){"x\0y", 3}, 0, ":/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_counts_in_whole_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
