/* cgroup: the memory limit in the files of both versions; fixtures are written on the spot. */
#include "unit.h"

#include "agent/cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/test_cgroup_XXXXXX";
static char v2[64], v1_dir[64], v1[128];

static int make_root(void **state)
{
    (void)state;
    if (mkdtemp(root) == NULL)
        return -1;
    snprintf(v2, sizeof(v2), "%s/memory.max", root);
    snprintf(v1_dir, sizeof(v1_dir), "%s/memory", root);
    snprintf(v1, sizeof(v1), "%s/memory.limit_in_bytes", v1_dir);
    return mkdir(v1_dir, 0700);
}

static int remove_root(void **state)
{
    (void)state;
    unlink(v1);
    unlink(v2);
    rmdir(v1_dir);
    return rmdir(root);
}

/* NULL: no such file. */
static void write_file(const char *path, const char *text)
{
    unlink(path);
    if (text == NULL)
        return;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(0, fclose(f));
}

static void limit_is_read_from_whichever_file_has_one(void **state)
{
    (void)state;
    static const struct {
        const char *v2, *v1;
        uint64_t expected;
    } rows[] = {
        {NULL, NULL, 0},
        {"33554432\n", NULL, 33554432},
        {"33554432", NULL, 33554432},
        {"max\n", NULL, 0},
        {"", NULL, 0},
        {"0\n", NULL, 0},
        {"-1\n", NULL, 0},
        {"12 34\n", NULL, 0},
        {"lots and lots and lots and lots and lots and lots and lots and lots of it\n", NULL, 0},
        {NULL, "16777216\n", 16777216},
        {NULL, "9223372036854771712\n", 0}, /* v1's "no limit" */
        {NULL, "18446744073709551615\n", 0},
        {NULL, "1152921504606846975\n", UINT64_C(1152921504606846975)},
        {NULL, "1152921504606846976\n", 0},
        {"max\n", "16777216\n", 16777216},
        {"33554432\n", "16777216\n", 33554432},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        write_file(v2, rows[i].v2);
        write_file(v1, rows[i].v1);
        uint64_t got = cgroup_memory_limit(root);
        if (got != rows[i].expected)
            fail_msg("row %zu: expected %llu, got %llu", i, (unsigned long long)rows[i].expected,
                     (unsigned long long)got);
    }
}

static void odd_places_are_no_limit(void **state)
{
    (void)state;
    static const char *const places[] = {"/no/such/place", "/dev/null", ""};
    for (size_t i = 0; i < COUNT_OF(places); i++)
        assert_true(cgroup_memory_limit(places[i]) == 0);
    unlink(v2);
    assert_int_equal(0, mkdir(v2, 0700));
    write_file(v1, NULL);
    assert_true(cgroup_memory_limit(root) == 0);
    rmdir(v2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_is_read_from_whichever_file_has_one),
        cmocka_unit_test(odd_places_are_no_limit),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
