/* Part of each test program: of its tests only those run whose names match the pattern (* and ?) in UNIT_TESTS. */
#include "unit.h"

__attribute__((constructor)) static void filter_tests(void)
{
    const char *pattern = getenv("UNIT_TESTS");
    if (pattern != NULL)
        cmocka_set_test_filter(pattern);
}
