/* Each allocation of check and relabel fails in turn, zlib's own among them: gz.c takes them with malloc. */
#include "alloc_fail.h"
#include "pprof_fixtures.h"

#include "common/pprof/pprof.h"
#include "common/pprof/relabel.h"

#include <errno.h>

static int check_once(void *ctx)
{
    const struct fixture *fixture = ctx;
    struct pprof_check *check = NULL;
    struct pprof_summary summary;
    int rc = pprof_check_new(PPROF_RAW_MAX, &check);
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_null(check);
        return rc;
    }
    assert_int_equal(pprof_check_feed(check, fixture->bytes, fixture->len), 0);
    pprof_check_finish(check, &summary);
    assert_int_equal(summary.verdict, PPROF_OK);
    pprof_check_free(check);
    return 0;
}

static int64_t read_fixture(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct fixture *fixture = ctx;
    size_t n = fixture->len - (size_t)offset;
    n = n < len ? n : len;
    memcpy(bytes, fixture->bytes + offset, n);
    return (int64_t)n;
}

static const struct labels labels = {.count = 1, .items = {{"pod", "web-0"}}};

static int relabel_once(void *ctx)
{
    static char out[64 * 1024];
    const struct fixture *fixture = ctx;
    struct relabel_request request = {.source = read_fixture, .source_ctx = ctx, .labels = &labels,
                                      .raw_max = PPROF_RAW_MAX};
    struct relabel *relabel = NULL;
    int rc = relabel_new(&request, &relabel);
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_null(relabel);
        return rc;
    }
    size_t len = 0;
    int64_t n = 0;
    while ((n = relabel_read(relabel, out + len, sizeof(out) - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0);
    bool labelled = relabel_get_result(relabel) == RELABEL_DONE;
    if (!labelled) {
        assert_int_equal(relabel_get_result(relabel), RELABEL_NO_MEMORY);
        assert_int_equal(len, fixture->len);
        assert_memory_equal(out, fixture->bytes, len);
    }
    relabel_free(relabel);
    return labelled ? 0 : ALLOC_FAIL_SHED;
}

static void check_fails_cleanly_without_memory(void **state)
{
    struct fixture *fixture = *state;
    /* Itself, zlib's state and its window. */
    alloc_fail_in_turn_exactly(3, "check", check_once, fixture);
}

static void relabel_never_loses_a_profile_for_want_of_memory(void **state)
{
    struct fixture *fixture = *state;
    /* Itself, the three of its check, two to inflate again, and what zlib wants to compress: at least one. */
    assert_in_range(alloc_fail_in_turn("relabel", relabel_once, fixture), 7, 20);
}

/* So that memory is short at the beginning of a scrape or not at all. */
static void check_takes_nothing_under_way(void **state)
{
    const struct fixture *fixture = *state;
    struct pprof_check *check = NULL;
    struct pprof_summary summary;
    assert_int_equal(pprof_check_new(PPROF_RAW_MAX, &check), 0);
    alloc_fail_arm(0, /* for_ever= */ true);
    for (size_t at = 0; at < fixture->len; at++)
        assert_int_equal(pprof_check_feed(check, fixture->bytes + at, 1), 0);
    pprof_check_finish(check, &summary);
    assert_false(alloc_fail_disarm());
    assert_int_equal(summary.verdict, PPROF_OK);
    pprof_check_free(check);
}

/* Whether it can be labelled is settled before the first byte goes out. */
static void relabel_takes_nothing_after_the_scan(void **state)
{
    struct fixture *fixture = *state;
    struct relabel_request request = {.source = read_fixture, .source_ctx = fixture, .labels = &labels,
                                      .raw_max = PPROF_RAW_MAX};
    struct relabel *relabel = NULL;
    char out[100];
    assert_int_equal(relabel_new(&request, &relabel), 0);
    while (relabel_scan(relabel, 100) > 0) {
    }
    assert_int_equal(relabel_get_result(relabel), RELABEL_DONE);
    alloc_fail_arm(0, /* for_ever= */ true);
    int64_t n = 0;
    while ((n = relabel_read(relabel, out, sizeof(out))) > 0) {
    }
    assert_false(alloc_fail_disarm());
    assert_int_equal(n, 0);
    relabel_free(relabel);
}

static int setup(void **state)
{
    static struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-many-samples.pb.gz");
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_done(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_fails_cleanly_without_memory),
        cmocka_unit_test(check_takes_nothing_under_way),
        cmocka_unit_test(relabel_never_loses_a_profile_for_want_of_memory),
        cmocka_unit_test(relabel_takes_nothing_after_the_scan),
    };
    return cmocka_run_group_tests_name("relabel_memory", tests, setup, teardown);
}
