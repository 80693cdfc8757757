/* retry: exponential ceilings with full jitter, and what a server asks for. */
#include "unit.h"

#include "common/http/retry.h"

static void ceilings_double_up_to_the_highest(void **state)
{
    (void)state;
    static const int64_t ceilings[] = {1000, 2000, 4000, 8000, 16000, 32000, 64000, 120000, 120000, 120000};
    struct retry retry = {.min_ms = 1000, .max_ms = 120000};
    for (size_t i = 0; i < COUNT_OF(ceilings); i++) {
        /* the draw that gives the most, and the one after it, which gives the least */
        struct retry same = retry;
        int64_t span = ceilings[i] - RETRY_FLOOR_MS + 1;
        assert_int_equal(ceilings[i], retry_next_ms(&retry, -1, (uint64_t)span - 1));
        assert_int_equal(RETRY_FLOOR_MS, retry_next_ms(&same, -1, (uint64_t)span));
    }
    retry_reset(&retry);
    assert_int_equal(1000, retry_next_ms(&retry, -1, 990));
}

static void every_draw_lies_between_floor_and_ceiling(void **state)
{
    (void)state;
    static const struct {
        int64_t min_ms, max_ms, ceiling_ms;
    } rows[] = {{10, 10, 10}, {10, 3600000, 3600000}, {3600000, 3600000, 3600000},
                {1, 5, 10},   {20, 10, 10},           {3, INT64_MAX, INT64_MAX}};
    uint64_t random = 88172645463325252ULL;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct retry retry = {.min_ms = rows[i].min_ms, .max_ms = rows[i].max_ms};
        for (int n = 0; n < 1000; n++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            int64_t wait = retry_next_ms(&retry, -1, random);
            assert_true(wait >= RETRY_FLOOR_MS && wait <= rows[i].ceiling_ms);
        }
        retry.failures = UINT32_MAX;
        assert_true(retry_next_ms(&retry, -1, random) <= rows[i].ceiling_ms);
        assert_int_equal(UINT32_MAX, retry.failures);
    }
}

/* Full jitter: a fleet that lost its collector in one second comes back spread over the whole ceiling. */
static void draws_are_spread_evenly(void **state)
{
    (void)state;
    unsigned tenths[10] = {0};
    uint64_t random = 42;
    for (int i = 0; i < 100000; i++) {
        struct retry retry = {.min_ms = 1000, .max_ms = 120000, .failures = 10};
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        tenths[(retry_next_ms(&retry, -1, random >> 16) - RETRY_FLOOR_MS) * 10 / (120000 - RETRY_FLOOR_MS + 1)]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenths[i], 9500, 10500);
}

static void retry_after_is_the_least(void **state)
{
    (void)state;
    struct retry retry = {.min_ms = 1000, .max_ms = 120000};
    assert_int_equal(600000, retry_next_ms(&retry, 600000, 0));
    assert_int_equal(RETRY_FLOOR_MS, retry_next_ms(&retry, 0, 0));
    retry_reset(&retry);
    assert_int_equal(1000, retry_next_ms(&retry, 500, 990));
}

static void retry_after_header(void **state)
{
    (void)state;
    static const int64_t wall_ms = INT64_C(1795366000000); /* Sun, 22 Nov 2026 16:46:40 GMT */
    static const struct {
        const char *text;
        int64_t expected;
    } rows[] = {
        {"0", 0},
        {"1", 1000},
        {" 120 ", 120000},
        {"600", 600000},
        {"601", 600000},
        {"99999999999", 600000},
        {"18446744073709551615", 600000},
        {"99999999999999999999999999", 600000},
        {"Sun, 22 Nov 2026 16:46:50 GMT", 10000},
        {" Sun, 22 Nov 2026 16:46:50 GMT ", 10000},
        {"Sun, 22 Nov 2026 16:46:40 GMT", 0},
        {"Sun, 22 Nov 2026 16:46:00 GMT", 0},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Sun, 22 Nov 2099 16:46:40 GMT", 600000},
        {"", -1},
        {" ", -1},
        {"-1", -1},
        {"1.5", -1},
        {"10s", -1},
        {"soon", -1},
        {"Sun, 22 Nov 2026 16:46:50", -1},
        {"Sun, 22 Nov 2026 16:46:50 CET", -1},
        {"Sun, 22 Nov 2026 16:46:50 GMT, 10", -1},
        {"Sun, 22 Foo 2026 16:46:50 GMT", -1},
        {"Sun, 99 Nov 2026 16:46:50 GMT", -1},
        {"2026-11-22T16:46:50Z", -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_number(rows[i].text, rows[i].expected, retry_parse_after(rows[i].text, wall_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ceilings_double_up_to_the_highest),
        cmocka_unit_test(every_draw_lies_between_floor_and_ceiling),
        cmocka_unit_test(draws_are_spread_evenly),
        cmocka_unit_test(retry_after_is_the_least),
        cmocka_unit_test(retry_after_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
