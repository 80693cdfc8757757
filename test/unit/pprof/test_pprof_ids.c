#include "alloc_fail.h"
#include "pprof_fixtures.h"

#include "common/pprof/pprof_ids.h"

#include <errno.h>

enum { WHOLE = 1 << 30 };

/* The verdict on the rest; ids as the check leaves them, for pprof_ids_done. */
static enum pprof_verdict read_ids(const struct fixture *fixture, size_t step, struct pprof_ids *ids)
{
    struct pprof_check *check = NULL;
    struct pprof_summary summary;
    alloc_fail_pause();
    assert_int_equal(0, pprof_check_new(PPROF_RAW_MAX, &check));
    alloc_fail_resume();
    pprof_ids_init(ids);
    pprof_check_ids(check, ids);
    for (size_t at = 0; at < fixture->len; at += step)
        pprof_check_feed(check, fixture->bytes + at, fixture->len - at < step ? fixture->len - at : step);
    pprof_check_finish(check, &summary);
    pprof_check_free(check);
    return summary.verdict;
}

static const size_t steps[] = {1, 7, 1000, WHOLE};

static void expect_fault(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char reason[PPROF_REASON_MAX] = "";
        struct pprof_ids ids;
        assert_int_equal(PPROF_OK, read_ids(fixture, steps[i], &ids));
        if (pprof_ids_are_right(&ids, reason) || reason[0] == '\0')
            fail_msg("%s in pieces of %zu: expected a fault in its ids", fixture->path, steps[i]);
        pprof_ids_done(&ids);
    }
}

static void expect_none(const struct fixture *fixture, void *ctx)
{
    unsigned *unchecked = ctx;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char reason[PPROF_REASON_MAX] = "";
        struct pprof_ids ids;
        read_ids(fixture, steps[i], &ids);
        if (!pprof_ids_are_right(&ids, reason))
            fail_msg("%s in pieces of %zu: %s", fixture->path, steps[i], reason);
        *unchecked += ids.unchecked ? 1 : 0;
        pprof_ids_done(&ids);
    }
}

static void ids_that_readers_refuse_are_found(void **state)
{
    (void)state;
    fixture_each("ids", expect_fault, NULL);
}

/* All but the one made for it fit below the ceiling. */
static void good_profiles_have_good_ids(void **state)
{
    (void)state;
    unsigned unchecked = 0;
    fixture_each("ok", expect_none, &unchecked);
    fixture_each("empty", expect_none, &unchecked);
    assert_int_equal(sizeof(steps) / sizeof(steps[0]), unchecked);
}

static void reasons_name_the_id(void **state)
{
    (void)state;
    static const struct {
        const char *file, *reason;
    } cases[] = {
        {"odd-mapping-twice.pb", "two mappings have the id 1"},
        {"odd-location-twice.pb", "two locations have the id 1"},
        {"odd-function-twice.pb", "two functions have the id 1"},
        {"odd-location-missing.pb", "a sample refers to id 7, which none of the locations has"},
        {"odd-location-far-missing.pb.gz", "a sample refers to id 40000, which none of the locations has"},
        {"odd-function-missing.pb", "a line refers to id 8, which none of the functions has"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char reason[PPROF_REASON_MAX] = "";
        struct fixture fixture;
        struct pprof_ids ids;
        fixture_read(&fixture, "ids", cases[i].file);
        read_ids(&fixture, WHOLE, &ids);
        assert_false(pprof_ids_are_right(&ids, reason));
        assert_string_equal(cases[i].reason, reason);
        pprof_ids_done(&ids);
        fixture_done(&fixture);
    }
}

static void ids_from_the_ceiling_on_leave_it_unchecked(void **state)
{
    (void)state;
    static const struct {
        uint64_t id;
        bool unchecked;
    } rows[] = {{1, false}, {PPROF_IDS_MAX - 1, false}, {PPROF_IDS_MAX, true}, {UINT64_MAX, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char reason[PPROF_REASON_MAX] = "";
        struct pprof_ids ids;
        pprof_ids_init(&ids);
        pprof_ids_add(&ids, PPROF_IDS_SAMPLED, rows[i].id);
        assert_false(pprof_ids_are_right(&ids, reason)); /* however large: nothing that is there is */
        pprof_ids_add(&ids, PPROF_IDS_LOCATIONS, rows[i].id);
        assert_int_equal(rows[i].unchecked, ids.unchecked);
        assert_true(pprof_ids_are_right(&ids, reason));
        pprof_ids_done(&ids);
    }
}

static int read_once(void *ctx)
{
    char reason[PPROF_REASON_MAX] = "";
    struct pprof_ids ids;
    assert_int_equal(PPROF_OK, read_ids(ctx, WHOLE, &ids));
    bool unchecked = ids.unchecked;
    assert_int_equal(unchecked, pprof_ids_are_right(&ids, reason));
    pprof_ids_done(&ids);
    return unchecked ? ALLOC_FAIL_SHED : 0;
}

/* A fault is told only where all ids are held: a lost page would look like one. */
static void without_memory_nothing_is_said(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_read(&fixture, "ids", "odd-location-far-missing.pb.gz");
    /* A page for each of the five sets, and one for the far id. */
    alloc_fail_in_turn_exactly(6, "ids", read_once, &fixture);
    fixture_done(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_that_readers_refuse_are_found),
        cmocka_unit_test(good_profiles_have_good_ids),
        cmocka_unit_test(reasons_name_the_id),
        cmocka_unit_test(ids_from_the_ceiling_on_leave_it_unchecked),
        cmocka_unit_test(without_memory_nothing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
