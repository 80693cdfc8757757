#include "pprof_fixtures.h"

#include "common/pprof/gz.h"

#include <errno.h>

enum {
    PLENTY = 1024 * 1024,
    TEXT_LEN = 100 * 1000,
};

static uint8_t *make_text(size_t len)
{
    uint8_t *text = malloc(len);
    assert_non_null(text);
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525 + 1013904223;
        text[i] = (uint8_t)"abcdefgh01234567"[state >> 28];
    }
    return text;
}

struct outcome {
    int rc;
    bool inside;
    size_t len;
    char words[64];
    uint8_t bytes[PLENTY];
};

/* Reads the whole body in pieces of `in_step` bytes through a room of `out_step`. */
static void read_all(struct outcome *outcome, const uint8_t *bytes, size_t len, size_t in_step, size_t out_step,
                     uint64_t raw_max)
{
    struct gz_reader reader;
    assert_int_equal(gz_reader_init(&reader, raw_max), 0);
    memset(outcome, 0, offsetof(struct outcome, bytes));
    for (size_t at = 0; at < len && outcome->rc == 0; at += in_step) {
        struct gz_bytes in = {bytes + at, len - at < in_step ? len - at : in_step};
        size_t written = 0, room = 0;
        do {
            room = PLENTY - outcome->len < out_step ? PLENTY - outcome->len : out_step;
            outcome->rc = gz_reader_step(&reader, &in, outcome->bytes + outcome->len, room, &written);
            outcome->len += written;
        } while (outcome->rc == 0 && (in.len > 0 || (room > 0 && written == room)));
    }
    assert_int_equal(reader.raw_bytes, outcome->len);
    outcome->inside = gz_reader_is_inside(&reader);
    if (outcome->rc == -EBADMSG)
        snprintf(outcome->words, sizeof(outcome->words), "%s", gz_reader_words(&reader));
    gz_reader_done(&reader);
    gz_reader_done(&reader);
}

static void what_is_written_reads_back(void **state)
{
    struct outcome *outcome = *state;
    static const size_t lengths[] = {0, 1, 2, 1000, 8192, 8193, TEXT_LEN};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t *text = make_text(lengths[i] + 1);
        size_t len = 0;
        uint8_t *packed = fixture_compress(text, lengths[i], &len);
        read_all(outcome, packed, len, PLENTY, PLENTY, PLENTY);
        assert_int_equal(outcome->rc, 0);
        assert_false(outcome->inside);
        assert_int_equal(outcome->len, lengths[i]);
        assert_memory_equal(outcome->bytes, text, lengths[i]);
        free(packed);
        free(text);
    }
}

static void writer_gives_the_same_through_any_room(void **state)
{
    (void)state;
    uint8_t *text = make_text(TEXT_LEN), *out = malloc(PLENTY);
    assert_non_null(out);
    size_t whole_len = 0;
    uint8_t *whole = fixture_compress(text, TEXT_LEN, &whole_len);
    static const size_t rooms[] = {1, 7, 4096};
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct gz_writer writer;
        assert_int_equal(gz_writer_init(&writer), 0);
        size_t at = 0, used = 0;
        while (!writer.finished) {
            size_t piece = TEXT_LEN - at < 777 ? TEXT_LEN - at : 777;
            struct gz_bytes in = {text + at, piece};
            used += gz_writer_step(&writer, &in, at + piece == TEXT_LEN, out + used, rooms[i]);
            at += piece - in.len;
        }
        gz_writer_done(&writer);
        assert_int_equal(used, whole_len);
        assert_memory_equal(out, whole, whole_len);
    }
    free(whole);
    free(text);
    free(out);
}

static void raw_bytes_pass_through(void **state)
{
    struct outcome *outcome = *state;
    uint8_t *text = make_text(TEXT_LEN);
    read_all(outcome, text, TEXT_LEN, 999, 64, PLENTY);
    assert_int_equal(outcome->rc, 0);
    assert_int_equal(outcome->len, TEXT_LEN);
    assert_memory_equal(outcome->bytes, text, TEXT_LEN);
    free(text);
}

static void members_read_as_one_however_they_are_cut(void **state)
{
    struct outcome *outcome = *state;
    uint8_t *text = make_text(TEXT_LEN), *joined = malloc(PLENTY);
    assert_non_null(joined);
    static const size_t cuts[] = {0, 10, 10, 50000, TEXT_LEN};
    size_t joined_len = 0;
    for (size_t i = 0; i + 1 < sizeof(cuts) / sizeof(cuts[0]); i++) {
        size_t len = 0;
        uint8_t *member = fixture_compress(text + cuts[i], cuts[i + 1] - cuts[i], &len);
        memcpy(joined + joined_len, member, len);
        joined_len += len;
        free(member);
    }
    static const size_t steps[] = {1, 2, 13, 4096, PLENTY};
    for (size_t i = 0; i < 5; i++) {
        for (size_t k = 0; k < 5; k++) {
            read_all(outcome, joined, joined_len, steps[i], steps[k], PLENTY);
            assert_int_equal(outcome->rc, 0);
            assert_false(outcome->inside);
            assert_int_equal(outcome->len, TEXT_LEN);
            assert_memory_equal(outcome->bytes, text, TEXT_LEN);
        }
    }
    free(joined);
    free(text);
}

static void each_cut_body_is_inside(void **state)
{
    struct outcome *outcome = *state;
    uint8_t *text = make_text(500);
    size_t len = 0;
    uint8_t *packed = fixture_compress(text, 500, &len);
    for (size_t cut = 1; cut < len; cut++) {
        read_all(outcome, packed, cut, 17, 100, PLENTY);
        assert_int_equal(outcome->rc, 0);
        assert_true(outcome->inside);
    }
    free(packed);
    free(text);
}

static void garbage_is_named(void **state)
{
    struct outcome *outcome = *state;
    static const struct {
        const char *file;
        const char *words;
    } cases[] = {
        {"odd-byte-after-gzip.pb.gz", "bytes after the end of the gzip stream"},
        {"odd-text-after-gzip.pb.gz", "bytes after the end of the gzip stream"},
        {"odd-crc-wrong.pb.gz", "incorrect data check"},
        {"odd-size-wrong.pb.gz", "incorrect length check"},
        {"odd-not-deflate.gz", "unknown compression method"},
        {"odd-deflate-broken.pb.gz", "invalid block type"},
        {"odd-gzip-first-byte-only-alike.bin", "incorrect header check"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        fixture_read(&fixture, "malformed", cases[i].file);
        for (size_t step = 1; step <= fixture.len; step += fixture.len - 1) {
            read_all(outcome, fixture.bytes, fixture.len, step, PLENTY, PLENTY);
            assert_int_equal(outcome->rc, -EBADMSG);
            assert_string_equal(outcome->words, cases[i].words);
        }
        fixture_done(&fixture);
    }
}

static void ceiling_is_exact(void **state)
{
    struct outcome *outcome = *state;
    uint8_t *text = make_text(TEXT_LEN);
    size_t len = 0;
    uint8_t *packed = fixture_compress(text, TEXT_LEN, &len);
    const struct gz_bytes bodies[] = {{packed, len}, {text, TEXT_LEN}};
    for (size_t i = 0; i < 2; i++) {
        read_all(outcome, bodies[i].ptr, bodies[i].len, 1000, 1000, TEXT_LEN);
        assert_int_equal(outcome->rc, 0);
        read_all(outcome, bodies[i].ptr, bodies[i].len, 1000, 1000, TEXT_LEN - 1);
        assert_int_equal(outcome->rc, -EFBIG);
        assert_int_equal(outcome->len, TEXT_LEN);
        read_all(outcome, bodies[i].ptr, bodies[i].len, PLENTY, PLENTY, 10);
        assert_int_equal(outcome->rc, -EFBIG);
        assert_int_equal(outcome->len, 11);
    }
    free(packed);
    free(text);
}

static void reader_goes_no_further_past_the_ceiling(void **state)
{
    (void)state;
    struct gz_reader reader;
    assert_int_equal(gz_reader_init(&reader, 3), 0);
    struct gz_bytes in = {(const uint8_t *)"abcdefgh", 8};
    uint8_t out[8];
    size_t written = 0;
    assert_int_equal(gz_reader_step(&reader, &in, out, sizeof(out), &written), -EFBIG);
    assert_int_equal(written, 4);
    assert_int_equal(gz_reader_step(&reader, &in, out, sizeof(out), &written), -EFBIG);
    assert_int_equal(written, 0);
    gz_reader_done(&reader);
}

static void skipped_checks_leave_check_sums_unread(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_read(&fixture, "malformed", "odd-crc-wrong.pb.gz");
    struct gz_reader reader;
    assert_int_equal(gz_reader_init(&reader, PLENTY), 0);
    gz_reader_skip_checks(&reader);
    struct gz_bytes in = {fixture.bytes, fixture.len};
    uint8_t out[4096];
    size_t written = 0;
    assert_int_equal(gz_reader_step(&reader, &in, out, sizeof(out), &written), 0);
    assert_int_equal(in.len, 0);
    assert_false(gz_reader_is_inside(&reader));
    gz_reader_done(&reader);
    fixture_done(&fixture);
}

static int setup(void **state)
{
    *state = malloc(sizeof(struct outcome));
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(writer_gives_the_same_through_any_room),
        cmocka_unit_test(raw_bytes_pass_through),
        cmocka_unit_test(members_read_as_one_however_they_are_cut),
        cmocka_unit_test(each_cut_body_is_inside),
        cmocka_unit_test(garbage_is_named),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(reader_goes_no_further_past_the_ceiling),
        cmocka_unit_test(skipped_checks_leave_check_sums_unread),
    };
    return cmocka_run_group_tests_name("gz", tests, setup, teardown);
}
