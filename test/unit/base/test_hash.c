/* hash: stable for ever, and flat for the names that fleets have. */
#include "unit.h"

#include "common/base/hash.h"

enum { PODS = 100000, SLOTS = 60 };

/* A fleet of two versions is spread by one function: these values never change. */
static void values_are_fixed_for_ever(void **state)
{
    (void)state;
    assert_true(hash_text("", 0) == UINT64_C(0xEFD01F60BA992926));
    assert_true(hash_text("web-1", 1) == UINT64_C(0x8878F7FC48B88B78));
    assert_true(hash_text("2f1c6b1e-6a53-4f0e-9a4c-0d6f7c5f3e11", 1002) == UINT64_C(0x3BD8A54C0D661929));
}

static void range_is_kept(void **state)
{
    (void)state;
    static const int64_t ranges[] = {1, 2, 3, 999, 60000, 86400000};
    for (size_t r = 0; r < COUNT_OF(ranges); r++) {
        assert_int_equal(0, hash_to_range(0, ranges[r]));
        assert_int_equal(ranges[r] - 1, hash_to_range(UINT64_MAX, ranges[r]));
    }
    assert_int_equal(0, hash_to_range(UINT64_MAX, 0));
    assert_int_equal(0, hash_to_range(UINT64_MAX, -5));
}

static void make_name(int kind, int i, char out[static 64])
{
    if (kind == 0)
        snprintf(out, 64, "web-%d", i);
    else if (kind == 1)
        snprintf(out, 64, "statefulset-0-%06d", i);
    else
        snprintf(out, 64, "%08x-%04x-4%03x-8%03x-%012x", (unsigned)i * 2654435761U, i & 0xffff, i % 4096, i % 1024, i);
}

/* Names in a row, numbered names and uids; several salts: no slot gets more than 1.1 of its share. */
static void similar_names_are_spread_flat(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        for (uint64_t salt = 0; salt < 5; salt++) {
            unsigned slots[SLOTS] = {0}, most = 0;
            for (int i = 0; i < PODS; i++) {
                char name[64];
                make_name(kind, i, name);
                slots[hash_to_range(hash_text(name, salt), SLOTS)]++;
            }
            for (int s = 0; s < SLOTS; s++)
                most = slots[s] > most ? slots[s] : most;
            if (most * SLOTS > PODS * 11 / 10)
                fail_msg("names of kind %d, salt %d: the busiest slot has %u of %d", kind, (int)salt, most,
                         PODS / SLOTS);
        }
    }
}

/* Two things of one pod must not go together because their salts are neighbours. */
static void salts_are_independent(void **state)
{
    (void)state;
    unsigned cells[10][10] = {{0}};
    for (int i = 0; i < PODS; i++) {
        char name[64];
        make_name(0, i, name);
        cells[hash_to_range(hash_text(name, 2), 10)][hash_to_range(hash_text(name, 3), 10)]++;
    }
    for (int a = 0; a < 10; a++) {
        for (int b = 0; b < 10; b++)
            assert_in_range(cells[a][b], PODS / 100 * 8 / 10, PODS / 100 * 12 / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_fixed_for_ever),
        cmocka_unit_test(range_is_kept),
        cmocka_unit_test(similar_names_are_spread_flat),
        cmocka_unit_test(salts_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
