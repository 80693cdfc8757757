/* name: how far a mistyped name is from others, which of them was meant, and which names Kubernetes takes. */
#include "unit.h"

#include "common/base/name.h"

static void distance_counts_slips(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned expected;
    } rows[] = {
        {"", "", 0},
        {"port", "port", 0},
        {"", "port", 4},
        {"port", "", 4},
        {"prot", "port", 1},
        {"ports", "port", 1},
        {"por", "port", 1},
        {"pert", "port", 1},
        {"opr", "port", 2},
        {"ca", "abc", 3}, /* alignment, not Damerau: a swapped pair is not edited again */
        {"kitten", "sitting", 3},
        {"cpu-second", "cpu-seconds", 1},
        {"1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890", 0},
        {"12345678901234567890123456789012345678901", "1234567890123456789012345678901234567890", 40},
        {"", "1234567890123456789012345678901234567890", 40},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_number(rows[i].a, rows[i].expected, name_distance(span_of(rows[i].a), rows[i].b));
}

static void near_is_the_nearest_within_the_slips(void **state)
{
    (void)state;
    static const struct {
        const char *mistyped;
        unsigned slips;
        const char *words[4];
        const char *expected;
    } rows[] = {
        {"prot", 2, {"port"}, "port"},
        {"prot", 0, {"port", "prot"}, "prot"},
        {"blok", 2, {"cloak", "block", "bloke"}, "block"}, /* of two that are as near the first */
        {"alocs", 2, {"block", "allocs"}, "allocs"},
        {"opr", 2, {"port"}, "port"},
        {"opr", 1, {"port"}, NULL},
        {"port", 2, {NULL}, NULL},
        {"", 2, {"port"}, NULL},
        {"12345678901234567890123456789012345678901", 2, {"1234567890123456789012345678901234567890"}, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct name_near near = name_near_begin(span_of(rows[i].mistyped), rows[i].slips);
        for (const char *const *word = rows[i].words; *word != NULL; word++)
            name_near_offer(&near, *word);
        expect_text(rows[i].mistyped, rows[i].expected != NULL ? rows[i].expected : "(none)",
                    near.word != NULL ? near.word : "(none)");
    }
}

#define SIXTY_THREE "a23456789-a23456789-a23456789-a23456789-a23456789-a23456789-a23"

static void names_of_kubernetes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool label, subdomain;
    } rows[] = {
        {"a", true, true},
        {"web-1", true, true},
        {"0", true, true},
        {SIXTY_THREE, true, true},
        {SIXTY_THREE "4", false, true},
        {"a.b", false, true},
        {"a-1.b.c", false, true},
        {SIXTY_THREE "." SIXTY_THREE "." SIXTY_THREE ".a23456789-a23456789-a23456789-a23456789-a23456789-a23456789-a",
         false, true},
        {SIXTY_THREE "." SIXTY_THREE "." SIXTY_THREE ".a23456789-a23456789-a23456789-a23456789-a23456789-a23456789-a2",
         false, false},
        {"", false, false},
        {"-", false, false},
        {"-a", false, false},
        {"a-", false, false},
        {"A", false, false},
        {"a_b", false, false},
        {".", false, false},
        {".a", false, false},
        {"a.", false, false},
        {"a..b", false, false},
        {"a.-b", false, false},
        {"\xc3\xa4", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        expect_number(rows[i].text, rows[i].label, name_is_dns_label(span_of(rows[i].text)));
        expect_number(rows[i].text, rows[i].subdomain, name_is_dns_subdomain(span_of(rows[i].text)));
    }
    assert_false(name_is_dns_label((struct span){NULL, 0}));
    assert_false(name_is_dns_subdomain((struct span){NULL, 0}));
    assert_false(name_is_dns_subdomain((struct span){"a\0b", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_counts_slips),
        cmocka_unit_test(near_is_the_nearest_within_the_slips),
        cmocka_unit_test(names_of_kubernetes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
