/* scrape_body: whatever wrapping a profile comes in and however it is cut, one gzipped copy of it is in the spool. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/gather/scrape_body.h"
#include "common/values/spool_size.h"
#include "pprof_fixtures.h"

enum {
    MAX = SPOOL_BUDGET_MIN,
    BIG_BYTES = MAX + MAX / 2, /* of a raw profile that does not fit as it is */
};

struct bytes {
    uint8_t *ptr;
    size_t len;
};

struct bench {
    struct spool *spool;
    struct fixture fixture;
    struct bytes raw, once, twice;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    *state = bench;
    assert_non_null(bench);
    fixture_read(&bench->fixture, "ok", "odd-raw.pb");
    bench->raw = (struct bytes){bench->fixture.bytes, bench->fixture.len};
    bench->once.ptr = fixture_compress(bench->raw.ptr, bench->raw.len, &bench->once.len);
    bench->twice.ptr = fixture_compress(bench->once.ptr, bench->once.len, &bench->twice.len);
    return spool_new_memory(MAX, &bench->spool, NULL);
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    spool_free(bench->spool);
    fixture_done(&bench->fixture);
    free(bench->once.ptr);
    free(bench->twice.ptr);
    free(bench);
    return 0;
}

static struct scrape_body *begin(struct bench *bench, enum profile_kind kind, const char *encoding, const char *length)
{
    const struct spool_meta meta = {.type = "heap"};
    struct scrape_body *body = NULL;
    assert_int_equal(0, spool_begin(bench->spool, &meta, NULL));
    assert_int_equal(0, scrape_body_new(bench->spool, kind, MAX, &body));
    scrape_body_begin(body, encoding, length);
    return body;
}

static int feed(struct scrape_body *body, struct bytes bytes, size_t step)
{
    int rc = 0;
    for (size_t at = 0; at < bytes.len && rc == 0; at += step)
        rc = scrape_body_feed(body, bytes.ptr + at, bytes.len - at < step ? bytes.len - at : step);
    return rc;
}

static struct bytes stored(struct bench *bench, uint64_t id)
{
    struct spool_item item;
    assert_int_equal(0, spool_next(bench->spool, id - 1, &item));
    struct bytes bytes = {malloc(item.size_bytes), item.size_bytes};
    assert_non_null(bytes.ptr);
    assert_int_equal(item.size_bytes, spool_read(bench->spool, id, 0, bytes.ptr, bytes.len));
    return bytes;
}

static void expect_stored(struct bench *bench, const char *what, struct scrape_body *body, struct bytes expected)
{
    struct pprof_summary summary;
    uint64_t id = 0;
    size_t len = 0;
    scrape_body_judge(body, &summary);
    expect_text(what, "", summary.reason);
    assert_null(scrape_body_error(body));
    assert_int_equal(0, scrape_body_end(body, NULL));
    assert_int_equal(0, spool_commit(bench->spool, 1, &id, NULL));
    struct bytes got = stored(bench, id);
    if (scrape_body_is_raw(body)) {
        assert_int_equal(0x1F, got.ptr[0]);
        uint8_t *raw = fixture_inflate(got.ptr, got.len, &len);
        free(got.ptr);
        got = (struct bytes){raw, len};
    }
    if (got.len != expected.len || memcmp(got.ptr, expected.ptr, got.len) != 0)
        fail_msg("%s: expected %zu bytes, got %zu others", what, expected.len, got.len);
    free(got.ptr);
}

static void one_gzipped_copy_is_stored_however_it_came_and_was_cut(void **state)
{
    struct bench *bench = *state;
    const struct {
        const char *what, *encoding;
        struct bytes sent, expected;
        bool raw;
    } rows[] = {
        {"gzip, as Go gives it", "", bench->once, bench->once, false},
        {"raw", "", bench->raw, bench->raw, true},
        {"raw, and the header lies", "gzip", bench->raw, bench->raw, true},
        {"raw, in another coding", "identity", bench->raw, bench->raw, true},
        {"encoded", "gzip", bench->once, bench->once, false},
        {"encoded in old words", "X-GZip", bench->once, bench->once, false},
        {"encoded what is gzip", "gzip", bench->twice, bench->once, false},
    };
    static const size_t steps[] = {1, 2, 3, 17, 64, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t s = 0; s < COUNT_OF(steps); s++) {
            CLEANUP_SCRAPE_BODY struct scrape_body *body = begin(bench, PROFILE_HEAP, rows[i].encoding, "");
            assert_int_equal(0, feed(body, rows[i].sent, steps[s]));
            assert_int_equal(rows[i].raw, scrape_body_is_raw(body));
            expect_stored(bench, rows[i].what, body, rows[i].expected);
        }
    }
}

static void bad_wrapping_is_named(void **state)
{
    struct bench *bench = *state;
    struct bytes cut = {bench->twice.ptr, bench->twice.len - 1};
    struct bytes wrong = {malloc(bench->twice.len), bench->twice.len};
    assert_non_null(wrong.ptr);
    memcpy(wrong.ptr, bench->twice.ptr, wrong.len);
    wrong.ptr[wrong.len - 8] ^= 1;
    const struct {
        const char *what, *encoding;
        struct bytes sent;
        enum pprof_verdict verdict;
        const char *reason;
    } rows[] = {
        {"twice, unsaid", "", bench->twice, PPROF_MALFORMED, "gzip inside gzip"},
        {"outer cut", "gzip", cut, PPROF_TRUNCATED, "ended inside the gzip around the profile"},
        {"outer check sum", "gzip", wrong, PPROF_MALFORMED, "gzip around the profile: incorrect data check"},
        {"cut at once", "gzip", {bench->twice.ptr, 5}, PPROF_TRUNCATED, "ended inside the gzip stream"},
        {"nothing", "gzip", {bench->twice.ptr, 0}, PPROF_TRUNCATED, "the body is empty"},
        {"no gzip after all", "gzip", {(uint8_t *)"\x1f\x8b\x09 no such method", 17}, PPROF_MALFORMED, "gzip: "},
        {"text", "", {(uint8_t *)"<html>sign in</html>", 20}, PPROF_TEXT, "text"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct pprof_summary summary;
        CLEANUP_SCRAPE_BODY struct scrape_body *body = begin(bench, PROFILE_HEAP, rows[i].encoding, "");
        int rc = feed(body, rows[i].sent, 7);
        assert_true(rc == 0 || rc == -EINVAL);
        scrape_body_judge(body, &summary);
        expect_text(rows[i].what, pprof_verdict_names[rows[i].verdict], pprof_verdict_names[summary.verdict]);
        expect_contains(rows[i].what, summary.reason, rows[i].reason);
        spool_abort(bench->spool);
    }
    free(wrong.ptr);
}

/* ---- sizes ---- */

/* A profile with a string of so many bytes, all alike or none. */
static struct bytes big_profile(const struct bench *bench, size_t string_bytes, bool alike)
{
    struct bytes big = {malloc(bench->raw.len + 6 + string_bytes), bench->raw.len};
    uint32_t noise = 1;
    assert_non_null(big.ptr);
    memcpy(big.ptr, bench->raw.ptr, big.len);
    big.ptr[big.len++] = 6 << 3 | 2;
    for (size_t left = string_bytes;; left >>= 7) {
        big.ptr[big.len++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
        if (left <= 0x7F)
            break;
    }
    for (size_t i = 0; i < string_bytes; i++) {
        noise = noise * 1664525 + 1013904223;
        big.ptr[big.len++] = alike ? 'x' : (uint8_t)(noise >> 24);
    }
    return big;
}

static void compressed_size_is_what_has_to_fit(void **state)
{
    struct bench *bench = *state;
    struct bytes big = big_profile(bench, BIG_BYTES, /* alike= */ true);
    CLEANUP_SCRAPE_BODY struct scrape_body *body = begin(bench, PROFILE_HEAP, "", "99999999");
    assert_int_equal(0, feed(body, big, 16 * 1024));
    expect_stored(bench, "big", body, big);
    free(big.ptr);
}

static void what_does_not_fit_compressed_is_too_big(void **state)
{
    struct bench *bench = *state;
    struct bytes big = big_profile(bench, BIG_BYTES, /* alike= */ false);
    CLEANUP_SCRAPE_BODY struct scrape_body *body = begin(bench, PROFILE_HEAP, "", "");
    assert_int_equal(-EFBIG, feed(body, big, 16 * 1024));
    assert_int_equal(EFBIG, scrape_body_error(body)->code);
    spool_abort(bench->spool);
    free(big.ptr);
}

static void announced_size_over_the_limit_evicts_nothing(void **state)
{
    struct bench *bench = *state;
    const struct spool_meta meta = {.type = "cpu"};
    char length[32];
    uint64_t id = 0;
    assert_int_equal(0, spool_begin(bench->spool, &meta, NULL));
    assert_int_equal(0, spool_write(bench->spool, "abc", 3, NULL));
    assert_int_equal(0, spool_commit(bench->spool, 1, &id, NULL));
    snprintf(length, sizeof(length), "%d", MAX + 1);
    for (unsigned encoded = 0; encoded < 2; encoded++) {
        CLEANUP_SCRAPE_BODY struct scrape_body *body = begin(bench, PROFILE_HEAP, encoded ? "gzip" : "", length);
        assert_int_equal(-EFBIG, feed(body, bench->once, bench->once.len));
        spool_abort(bench->spool);
    }
    free(stored(bench, id).ptr);
}

/* ---- traces ---- */

static void trace_is_stored_raw(void **state)
{
    struct bench *bench = *state;
    static const char text[] = "go 1.22 trace\0\0\0 and what a later version writes";
    struct bytes trace = {(uint8_t *)text, sizeof(text) - 1};
    struct bytes encoded = {NULL, 0};
    encoded.ptr = fixture_compress(trace.ptr, trace.len, &encoded.len);
    for (size_t step = 1; step <= 64; step *= 8) {
        CLEANUP_SCRAPE_BODY struct scrape_body *plain = begin(bench, PROFILE_TRACE, "", "");
        assert_int_equal(0, feed(plain, trace, step));
        assert_false(scrape_body_is_raw(plain));
        expect_stored(bench, "plain", plain, trace);
        CLEANUP_SCRAPE_BODY struct scrape_body *wrapped = begin(bench, PROFILE_TRACE, "gzip", "");
        assert_int_equal(0, feed(wrapped, encoded, step));
        expect_stored(bench, "encoded", wrapped, trace);
    }
    free(encoded.ptr);
}

/* Brotli has no first bytes to be known by; a good profile is stored whatever the header says. */
static void other_codings_are_named(void **state)
{
    struct bench *bench = *state;
    static const char *const codings[] = {"br", "deflate", "gzip, gzip", "zstd"};
    static uint8_t noise[] = {0x8B, 0x07, 0x80, 0xFF, 0x01};
    for (size_t i = 0; i < COUNT_OF(codings); i++) {
        struct pprof_summary summary;
        CLEANUP_SCRAPE_BODY struct scrape_body *bad = begin(bench, PROFILE_HEAP, codings[i], "");
        if (feed(bad, (struct bytes){noise, sizeof(noise)}, 2) == 0)
            assert_null(scrape_body_error(bad));
        scrape_body_judge(bad, &summary);
        assert_int_equal(PPROF_MALFORMED, summary.verdict);
        expect_contains(codings[i], summary.reason, "Content-Encoding is \"");
        expect_contains(codings[i], summary.reason, codings[i]);
        spool_abort(bench->spool);
        CLEANUP_SCRAPE_BODY struct scrape_body *good = begin(bench, PROFILE_HEAP, codings[i], "");
        assert_int_equal(0, feed(good, bench->once, 7));
        expect_stored(bench, codings[i], good, bench->once);
    }
}

/* ---- memory ---- */

struct attempt {
    struct bench *bench;
    const char *encoding;
    struct bytes sent, expected;
};

static int attempt(void *ctx)
{
    const struct attempt *a = ctx;
    const struct spool_meta meta = {.type = "heap"};
    struct scrape_body *body = NULL;
    alloc_fail_pause();
    assert_int_equal(0, spool_begin(a->bench->spool, &meta, NULL));
    alloc_fail_resume();
    int rc = scrape_body_new(a->bench->spool, PROFILE_HEAP, MAX, &body);
    if (rc == 0) {
        scrape_body_begin(body, a->encoding, "");
        rc = feed(body, a->sent, 64);
    }
    alloc_fail_pause();
    if (rc == 0)
        expect_stored(a->bench, "attempt", body, a->expected);
    else
        spool_abort(a->bench->spool);
    scrape_body_free(body);
    alloc_fail_resume();
    return rc;
}

static void each_allocation_failed_in_turn(void **state)
{
    struct bench *bench = *state;
    struct attempt rows[] = {
        {bench, "", bench->once, bench->once},
        {bench, "", bench->raw, bench->raw},
        {bench, "gzip", bench->twice, bench->once},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(0, attempt(&rows[i])); /* what the spool keeps for later is there */
        assert_in_range(alloc_fail_in_turn("scrape_body", attempt, &rows[i]), 3, 20);
    }
    assert_null(scrape_body_free(NULL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_gzipped_copy_is_stored_however_it_came_and_was_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_wrapping_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(other_codings_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(compressed_size_is_what_has_to_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_compressed_is_too_big, setup, teardown),
        cmocka_unit_test_setup_teardown(announced_size_over_the_limit_evicts_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_is_stored_raw, setup, teardown),
        cmocka_unit_test_setup_teardown(each_allocation_failed_in_turn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
