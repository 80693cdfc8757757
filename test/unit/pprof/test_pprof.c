#include "pprof_fixtures.h"

#include "common/pprof/gz.h"
#include "common/pprof/pprof_ids.h"

#include <errno.h>

enum {
    WHOLE = 1 << 30,
    BOMB_PIECES = 1024, /* of a megabyte of zeros each */
};

static void check_body(const uint8_t *bytes, size_t len, size_t step, uint64_t raw_max,
                       struct pprof_summary *ret)
{
    struct pprof_check *check = NULL;
    assert_int_equal(pprof_check_new(raw_max, &check), 0);
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0; at += step)
        rc = pprof_check_feed(check, bytes + at, len - at < step ? len - at : step);
    assert_true(rc == 0 || rc == -EINVAL);
    pprof_check_finish(check, ret);
    if (rc < 0)
        assert_true(ret->verdict != PPROF_OK && ret->verdict != PPROF_EMPTY && ret->verdict != PPROF_TRUNCATED);
    pprof_check_free(check);
}

static void expect_verdict(const struct fixture *fixture, void *ctx)
{
    const enum pprof_verdict *expected = ctx;
    struct pprof_summary summary;
    check_body(fixture->bytes, fixture->len, WHOLE, PPROF_RAW_MAX, &summary);
    if (summary.verdict != *expected)
        fail_msg("%s: %s (%s), expected %s", fixture->path, pprof_verdict_names[summary.verdict], summary.reason,
                 pprof_verdict_names[*expected]);
    if ((summary.reason[0] == '\0') != (summary.verdict == PPROF_OK))
        fail_msg("%s: a reason, \"%s\", exactly when it is not ok", fixture->path, summary.reason);
}

/* Field by field: there is padding between them. */
static bool same_summary(const struct pprof_summary *a, const struct pprof_summary *b)
{
    return a->verdict == b->verdict && strcmp(a->reason, b->reason) == 0 && a->raw_bytes == b->raw_bytes &&
           a->samples == b->samples && a->strings == b->strings && a->sample_types == b->sample_types &&
           a->sample_bytes_max == b->sample_bytes_max && a->time_nanos == b->time_nanos &&
           a->duration_nanos == b->duration_nanos;
}

static void expect_same_however_cut(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    static const size_t steps[] = {1, 2, 3, 7, 63, 64, 65, 1000, 16384};
    struct pprof_summary whole, cut;
    check_body(fixture->bytes, fixture->len, WHOLE, PPROF_RAW_MAX, &whole);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        check_body(fixture->bytes, fixture->len, steps[i], PPROF_RAW_MAX, &cut);
        if (cut.verdict != whole.verdict || strcmp(cut.reason, whole.reason) != 0)
            fail_msg("%s: %s (%s) in pieces of %zu, %s (%s) in one", fixture->path,
                     pprof_verdict_names[cut.verdict], cut.reason, steps[i], pprof_verdict_names[whole.verdict],
                     whole.reason);
        bool good = whole.verdict == PPROF_OK || whole.verdict == PPROF_EMPTY;
        if (good && !same_summary(&cut, &whole))
            fail_msg("%s: another summary in pieces of %zu", fixture->path, steps[i]);
    }
}

/* A raw body gzipped is the same profile; only that a whole gzip stream cannot have been cut. */
static void expect_same_when_gzipped(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    if (fixture->len == 0 || fixture->bytes[0] == 0x1F)
        return;
    struct pprof_summary raw, packed;
    size_t len = 0;
    uint8_t *bytes = fixture_compress(fixture->bytes, fixture->len, &len);
    check_body(fixture->bytes, fixture->len, WHOLE, PPROF_RAW_MAX, &raw);
    check_body(bytes, len, WHOLE, PPROF_RAW_MAX, &packed);
    enum pprof_verdict expected = raw.verdict == PPROF_TRUNCATED ? PPROF_MALFORMED : raw.verdict;
    if (packed.verdict != expected)
        fail_msg("%s gzipped: %s (%s), expected %s", fixture->path, pprof_verdict_names[packed.verdict],
                 packed.reason, pprof_verdict_names[expected]);
    free(bytes);
}

static void each_fixture(void (*fn)(const struct fixture *fixture, void *ctx))
{
    static const enum pprof_verdict verdicts[] = {PPROF_OK, PPROF_EMPTY, PPROF_TEXT, PPROF_MALFORMED,
                                                  PPROF_TRUNCATED};
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        enum pprof_verdict verdict = verdicts[i];
        fixture_each(pprof_verdict_names[verdict], fn, &verdict);
    }
}

static void fixtures_have_the_verdict_of_their_folder(void **state)
{
    (void)state;
    each_fixture(expect_verdict);
}

static void verdict_does_not_depend_on_how_the_body_is_cut(void **state)
{
    (void)state;
    each_fixture(expect_same_however_cut);
}

static void gzipped_is_as_raw(void **state)
{
    (void)state;
    each_fixture(expect_same_when_gzipped);
}

static void summary_tells_what_is_in_it(void **state)
{
    (void)state;
    struct fixture fixture;
    struct pprof_summary summary;
    fixture_read(&fixture, "ok", "odd-many-samples.pb.gz");
    check_body(fixture.bytes, fixture.len, 100, PPROF_RAW_MAX, &summary);
    assert_int_equal(summary.samples, 3400);
    assert_int_equal(summary.strings, 10);
    assert_int_equal(summary.sample_types, 1);
    assert_int_equal(summary.sample_bytes_max, 12);
    assert_int_equal(summary.time_nanos, 1700000000000000000);
    assert_int_equal(summary.duration_nanos, 1000000000);
    assert_int_equal(summary.raw_bytes, 29745);
    fixture_done(&fixture);
}

/* What a person reads first: the place and the numbers. */
static void reasons_name_what_was_found_and_expected(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *file, *reason;
    } cases[] = {
        {"malformed", "odd-values-too-many.pb", "samples of 1 to 2 values, expected 1, one for each sample type"},
        {"malformed", "odd-index-in-comment.pb", "a string index of 10, but the string table has 10 entries"},
        {"malformed", "odd-two-profiles.pb.gz", "time_nanos twice: concatenated profiles, at byte 282"},
        {"malformed", "odd-group.pb", "field 3 of a profile has wire type 3 at byte 153"},
        {"malformed", "odd-label-past-its-sample.pb",
         "a field of 127 bytes in a sample at byte 14, where at most 0 fit"},
        {"malformed", "odd-gzip-of-gzip.pb.gz",
         "gzip inside gzip: the profile is compressed already; let whoever adds the second gzip stop"},
        {"malformed", "foreign-gzip-twice.pb",
         "gzip inside gzip: the profile is compressed already; let whoever adds the second gzip stop"},
        {"malformed", "foreign-zlib.pb", "a zlib stream: expected gzip, or no compression"},
        {"malformed", "odd-zlib.pb", "a zlib stream: expected gzip, or no compression"},
        {"malformed", "odd-zstd.pb.zst", "compressed by zstd: expected gzip, or no compression"},
        {"malformed", "odd-gperftools-cpu.prof",
         "gperftools' binary format: ask for pprof's protobuf, as `pprof -proto` makes it"},
        {"malformed", "odd-gperftools-cpu-32.prof",
         "gperftools' binary format: ask for pprof's protobuf, as `pprof -proto` makes it"},
        {"malformed", "odd-flight-recording.jfr", "a Java Flight Recording: ask for pprof's protobuf"},
        {"text", "odd-gperftools-heap.txt",
         "a heap profile as text, of gperftools or of Go with debug=1: ask for pprof's protobuf, without debug="},
        {"text", "go1.26-heap-debug1.txt",
         "a heap profile as text, of gperftools or of Go with debug=1: ask for pprof's protobuf, without debug="},
        {"text", "odd-jemalloc-heap.txt", "jemalloc's text format: ask for pprof's protobuf"},
        {"text", "go1.26-goroutine-debug1.txt",
         "text form of a Go profile: ask for pprof's protobuf, without debug= in the URL"},
        {"text", "go1.26-index.html", "Go's index page: pprof.Index finds names below /debug/pprof/ only; elsewhere "
         "register pprof.Handler(NAME), or use http.StripPrefix"},
        {"text", "odd-flamegraph.svg", "an SVG picture of a profile: ask for pprof's protobuf"},
        {"malformed", "odd-gzip-of-nothing.pb.gz", "the gzip stream holds nothing"},
        {"malformed", "odd-crc-wrong.pb.gz", "gzip: incorrect data check"},
        {"malformed", "odd-short-field-in-whole-gzip.pb.gz",
         "the last field passes the end of the whole gzip stream"},
        {"truncated", "odd-no-bytes", "the body is empty"},
        {"truncated", "odd-raw-in-string.pb", "ended inside a field"},
        {"truncated", "odd-gzip-without-trailer.pb.gz", "ended inside the gzip stream, after 153 bytes inflated"},
        {"text", "odd-404.txt", "text, not a profile: \"404 page not found\\x0a\""},
        {"text", "odd-newline-first.html", "text, not a profile: \"\\x0a<!DOCTYPE html>\\x0a<html><\"…"},
        {"empty", "odd-no-samples.pb", "the profile has no samples"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct pprof_summary summary;
        fixture_read(&fixture, cases[i].folder, cases[i].file);
        check_body(fixture.bytes, fixture.len, WHOLE, PPROF_RAW_MAX, &summary);
        assert_string_equal(summary.reason, cases[i].reason);
        fixture_done(&fixture);
    }
}

/* Nearly the right thing, each with what to do about it. */
static void other_formats_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *what, *body;
        size_t len;
        enum pprof_verdict verdict;
        const char *words;
    } rows[] = {
#define BODY(text) text, sizeof(text) - 1
        {"bzip2", BODY("BZh91AY&SY\xf6\x08"), PPROF_MALFORMED, "compressed by bzip2: expected gzip"},
        {"xz", BODY("\xfd" "7zXZ\0\0\4\xe6\xd6"), PPROF_MALFORMED, "compressed by xz: expected gzip"},
        {"lz4", BODY("\x04\x22\x4d\x18\x64\x40\xa7"), PPROF_MALFORMED, "compressed by lz4: expected gzip"},
        {"snappy", BODY("\xff\x06\0\0sNaPpY\0"), PPROF_MALFORMED, "compressed by snappy: expected gzip"},
        {"ZIP", BODY("PK\3\4\x14\0\0\0"), PPROF_MALFORMED, "a ZIP archive: expected gzip"},
        {"zlib with a small window", BODY("\x18\x95\xe3\xe2"), PPROF_MALFORMED, "a zlib stream: expected gzip"},
        {"zlib with a dictionary", BODY("\x78\xbb\xe3\xe2"), PPROF_TRUNCATED, "ended inside a field"},
        {"base64", BODY("H4sIAK60CmsC/+Ni4WAUYBIC"), PPROF_TEXT, "gzip in base64"},
        {"trace", BODY("go 1.22 trace\0\0\0\1\2\3"),
         PPROF_MALFORMED, "a Go execution trace: types = trace takes those"},
        {"Java heap", BODY("JAVA PROFILE 1.0.2\0\0\0\0\4"), PPROF_MALFORMED, "a Java heap dump: ask for pprof's"},
        {"perf", BODY("PERFILE2\x68\0\0\0"), PPROF_MALFORMED, "a recording of Linux perf"},
        {".NET", BODY("Nettrace\x14\0\0\0!FastSerialization.1"), PPROF_MALFORMED, "a .NET event trace"},
        {"SVG in XML", BODY("<?xml version=\"1.0\"?>\n<svg>"), PPROF_TEXT, "an SVG picture of a profile"},
        {"SVG after a line", BODY("\n<svg width=\"1\">"), PPROF_TEXT, "an SVG picture of a profile"},
        {"Graphviz", BODY("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n<!DOCTYPE svg PUBLIC>"),
         PPROF_TEXT, "XML, most likely an SVG picture"},
        {"V8", BODY("{\"nodes\":[{\"id\":1,\"callFrame\":{}}]}"), PPROF_TEXT, "a profile of V8 as JSON"},
        {"speedscope", BODY("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\"}"), PPROF_TEXT,
         "a profile of speedscope as JSON"},
        {"Chrome", BODY("{\"traceEvents\":[]}"), PPROF_TEXT, "a trace of Chrome as JSON"},
        {"folded", BODY("main;operator new;b 12\nmain;c 3\n"), PPROF_TEXT, "folded stacks"},
        {"a number without stacks", BODY("waited 12\nmain;c 3\n"), PPROF_TEXT, "text, not a profile"},
        {"words with a semicolon", BODY("no profile; sorry\n"), PPROF_TEXT, "text, not a profile"},
        {"only a number", BODY("12\n;"), PPROF_TEXT, "text, not a profile"},
#undef BODY
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pprof_summary summary;
        check_body((const uint8_t *)rows[i].body, rows[i].len, WHOLE, PPROF_RAW_MAX, &summary);
        if (summary.verdict != rows[i].verdict || strstr(summary.reason, rows[i].words) == NULL)
            fail_msg("%s: expected %s, got %s (%s)", rows[i].what, rows[i].words, pprof_verdict_names[summary.verdict],
                     summary.reason);
    }
}

static void each_cut_of_a_gzipped_profile_is_truncated(void **state)
{
    (void)state;
    struct fixture fixture;
    struct pprof_summary summary;
    fixture_read(&fixture, "ok", "go1.26-heap.pb.gz");
    for (size_t len = 0; len < fixture.len; len++) {
        check_body(fixture.bytes, len, WHOLE, PPROF_RAW_MAX, &summary);
        if (summary.verdict != PPROF_TRUNCATED)
            fail_msg("cut at %zu: %s (%s)", len, pprof_verdict_names[summary.verdict], summary.reason);
    }
    fixture_done(&fixture);
}

/* Some bits of gzip mean nothing (times, padding): the profile is then the same. */
static void no_flipped_bit_passes_as_another_profile(void **state)
{
    (void)state;
    struct fixture fixture;
    struct pprof_summary summary;
    fixture_read(&fixture, "ok", "go1.26-mutex.pb.gz");
    size_t len = 0, flipped_len = 0, passed = 0;
    uint8_t *raw = fixture_inflate(fixture.bytes, fixture.len, &len);
    for (size_t bit = 0; bit < 8 * fixture.len; bit++) {
        fixture.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        check_body(fixture.bytes, fixture.len, WHOLE, PPROF_RAW_MAX, &summary);
        if (summary.verdict == PPROF_OK) {
            uint8_t *flipped = fixture_inflate(fixture.bytes, fixture.len, &flipped_len);
            assert_int_equal(flipped_len, len);
            assert_memory_equal(flipped, raw, len);
            free(flipped);
            passed++;
        }
        fixture.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_in_range(passed, 8 * 6, 8 * 6 + 16); /* MTIME, XFL and OS, and little else */
    free(raw);
    fixture_done(&fixture);
}

static void ceiling_is_exact(void **state)
{
    (void)state;
    static const char *const files[] = {"odd-raw.pb", "odd-plain.pb.gz", "odd-three-members.pb.gz"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct fixture fixture;
        struct pprof_summary summary;
        fixture_read(&fixture, "ok", files[i]);
        check_body(fixture.bytes, fixture.len, WHOLE, 153, &summary);
        assert_int_equal(summary.verdict, PPROF_OK);
        check_body(fixture.bytes, fixture.len, 1, 152, &summary);
        assert_int_equal(summary.verdict, PPROF_TOO_BIG);
        assert_string_equal(summary.reason, "more than 152 bytes inflated");
        assert_int_equal(summary.raw_bytes, 153);
        fixture_done(&fixture);
    }
}

/* A gigabyte of zeros, as fields of number 0 that google/pprof skips: nothing but the ceiling ends it. */
static void bomb_ends_at_the_ceiling(void **state)
{
    (void)state;
    enum { CEILING = 8 << 20, PIECE = 1 << 20 };
    static uint8_t zeros[PIECE], packed[PIECE];
    struct gz_writer writer;
    struct pprof_check *check = NULL;
    assert_int_equal(gz_writer_init(&writer), 0);
    assert_int_equal(pprof_check_new(CEILING, &check), 0);
    int rc = 0;
    for (unsigned i = 0; i < BOMB_PIECES && rc == 0; i++) {
        struct gz_bytes in = {zeros, PIECE};
        size_t len = gz_writer_step(&writer, &in, i + 1 == BOMB_PIECES, packed, sizeof(packed));
        rc = pprof_check_feed(check, packed, len);
    }
    assert_int_equal(rc, -EINVAL);
    struct pprof_summary summary;
    pprof_check_finish(check, &summary);
    assert_int_equal(summary.verdict, PPROF_TOO_BIG);
    assert_int_equal(summary.raw_bytes, CEILING + 1);
    pprof_check_free(check);
    gz_writer_done(&writer);
}

static void verdict_is_final(void **state)
{
    (void)state;
    struct fixture text, good;
    struct pprof_summary first, second;
    struct pprof_check *check = NULL;
    fixture_read(&text, "text", "go1.26-index.html");
    fixture_read(&good, "ok", "odd-raw.pb");
    assert_int_equal(pprof_check_new(PPROF_RAW_MAX, &check), 0);
    assert_int_equal(pprof_check_feed(check, text.bytes, text.len), -EINVAL);
    assert_int_equal(pprof_check_feed(check, good.bytes, good.len), -EINVAL);
    pprof_check_finish(check, &first);
    assert_int_equal(first.verdict, PPROF_TEXT);
    assert_int_equal(pprof_check_feed(check, good.bytes, good.len), -EINVAL);
    pprof_check_finish(check, &second);
    assert_true(same_summary(&first, &second));
    pprof_check_free(check);
    fixture_done(&text);
    fixture_done(&good);
}

static void feeding_nothing_changes_nothing(void **state)
{
    (void)state;
    struct fixture good;
    struct pprof_summary summary;
    struct pprof_check *check = NULL;
    fixture_read(&good, "ok", "odd-plain.pb.gz");
    assert_int_equal(pprof_check_new(PPROF_RAW_MAX, &check), 0);
    assert_int_equal(pprof_check_feed(check, good.bytes, 0), 0);
    assert_int_equal(pprof_check_feed(check, good.bytes, good.len), 0);
    assert_int_equal(pprof_check_feed(check, NULL, 0), 0);
    pprof_check_finish(check, &summary);
    assert_int_equal(summary.verdict, PPROF_OK);
    pprof_check_finish(check, &summary);
    assert_int_equal(summary.verdict, PPROF_OK);
    pprof_check_free(check);
    assert_null(pprof_check_free(NULL));
    fixture_done(&good);
}

enum { LIST_MAX = 40 };

/* A profile whose last field is a sample with this list, of locations or of values, behind what waits for the head. */
static size_t put_sample(uint8_t *out, bool locations, const uint8_t *list, size_t len)
{
    size_t n = 0;
    out[n++] = 6 << 3 | 2; /* the string table: "" and 64 bytes */
    out[n++] = 0;
    out[n++] = 6 << 3 | 2;
    out[n++] = 64;
    memset(out + n, 'x', 64);
    n += 64;
    memcpy(out + n, (const uint8_t[]){1 << 3 | 2, 0}, 2); /* one sample type */
    n += 2;
    out[n++] = 2 << 3 | 2;
    out[n++] = (uint8_t)(2 + len + (locations ? 3 : 0));
    out[n++] = locations ? 1 << 3 | 2 : 2 << 3 | 2;
    out[n++] = (uint8_t)len;
    memcpy(out + n, list, len);
    n += len;
    if (locations) {
        memcpy(out + n, (const uint8_t[]){2 << 3 | 2, 1, 7}, 3);
        n += 3;
    }
    return n;
}

/* A list that is at hand is run through eight bytes at a time, one that comes in pieces number by number: they agree on
 * zeros, numbers of ten bytes and more, and where they stand. */
static void lists_are_judged_alike_in_one_and_in_pieces(void **state)
{
    (void)state;
    static const uint8_t choice[] = {0xFF, 0x01, 0x80, 0x02, 0x81, 0x7F, 0x80, 0x00};
    unsigned random = 1, verdicts[PPROF_VERDICT_COUNT] = {0};
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t list[LIST_MAX], body[2 * LIST_MAX + 128];
        size_t len = round % (LIST_MAX + 1);
        unsigned kinds = 2 + round / 7 % (sizeof(choice) - 1); /* few of them make long runs */
        for (size_t i = 0; i < len; i++) {
            random = random * 1103515245U + 12345U;
            list[i] = choice[(random >> 16) % kinds];
        }
        if (len > 0 && round % 3 > 0)
            list[len - 1] &= 0x7F;
        size_t body_len = put_sample(body, round % 2 == 0, list, len);
        struct pprof_summary whole, cut;
        check_body(body, body_len, WHOLE, PPROF_RAW_MAX, &whole);
        check_body(body, body_len, 1, PPROF_RAW_MAX, &cut);
        verdicts[whole.verdict]++;
        bool same = whole.verdict == cut.verdict && strcmp(whole.reason, cut.reason) == 0;
        if (!same || (whole.verdict == PPROF_OK && !same_summary(&whole, &cut)))
            fail_msg("round %u: %s (%s) in one, %s (%s) in pieces", round, pprof_verdict_names[whole.verdict],
                     whole.reason, pprof_verdict_names[cut.verdict], cut.reason);
    }
    assert_true(verdicts[PPROF_OK] > 1000);
    assert_true(verdicts[PPROF_MALFORMED] > 1000);
}

static struct pprof_watch watch_fixture(const char *file, size_t step)
{
    struct pprof_watch watch = {
        .count = 3,
        .items = {{.text = "handler", .len = 7}, {.text = "pod", .len = 3}, {.text = "no", .len = 2}},
    };
    struct fixture fixture;
    struct pprof_summary summary;
    struct pprof_check *check = NULL;
    fixture_read(&fixture, "ok", file);
    assert_int_equal(pprof_check_new(PPROF_RAW_MAX, &check), 0);
    pprof_check_watch(check, &watch);
    for (size_t at = 0; at < fixture.len; at += step) {
        size_t len = fixture.len - at < step ? fixture.len - at : step;
        assert_int_equal(pprof_check_feed(check, fixture.bytes + at, len), 0);
    }
    pprof_check_finish(check, &summary);
    assert_int_equal(summary.verdict, PPROF_OK);
    pprof_check_free(check);
    fixture_done(&fixture);
    return watch;
}

static void watched_strings_are_found_however_the_body_is_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step < 300; step++) {
        struct pprof_watch watch = watch_fixture("odd-key-in-table-8-times.pb", step);
        assert_int_equal(watch.items[0].found, 1);
        assert_int_equal(watch.items[0].index[0], 6);
        assert_int_equal(watch.items[1].found, 8);
        assert_int_equal(watch.items[1].index[0], 8);
        assert_int_equal(watch.items[1].index[7], 16);
        assert_int_equal(watch.items[2].found, 0);
        assert_false(watch.overflow);
        watch = watch_fixture("odd-key-in-table-9-times.pb", step);
        assert_int_equal(watch.items[1].found, 8);
        assert_true(watch.overflow);
    }
}

/* With its ids: "malformed" for those that readers refuse, "unchecked" where they are not known. */
static const char *verdict_of(struct pprof_check *check, const struct pprof_ids *ids)
{
    char reason[PPROF_REASON_MAX];
    struct pprof_summary summary;
    pprof_check_finish(check, &summary);
    bool is_whole = summary.verdict == PPROF_OK || summary.verdict == PPROF_EMPTY;
    if (is_whole && ids->unchecked)
        return "unchecked";
    return pprof_verdict_names[is_whole && !pprof_ids_are_right(ids, reason) ? PPROF_MALFORMED : summary.verdict];
}

/* --verdict FILE...   prints the verdict and the path of each; for test/go/pprofcheck */
static int verdict_main(char **paths)
{
    for (; *paths != NULL; paths++) {
        FILE *file = fopen(*paths, "rbe");
        struct pprof_check *check = NULL;
        if (file == NULL || pprof_check_new(PPROF_RAW_MAX, &check) < 0) {
            fprintf(stderr, "%s: cannot be read\n", *paths);
            return 1;
        }
        char bytes[4096];
        struct pprof_ids ids;
        pprof_ids_init(&ids);
        pprof_check_ids(check, &ids);
        for (size_t n; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;)
            pprof_check_feed(check, bytes, n);
        printf("%s %s\n", verdict_of(check, &ids), *paths);
        pprof_check_free(check);
        pprof_ids_done(&ids);
        fclose(file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--verdict") == 0)
        return verdict_main(argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_have_the_verdict_of_their_folder),
        cmocka_unit_test(verdict_does_not_depend_on_how_the_body_is_cut),
        cmocka_unit_test(gzipped_is_as_raw),
        cmocka_unit_test(summary_tells_what_is_in_it),
        cmocka_unit_test(reasons_name_what_was_found_and_expected),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(each_cut_of_a_gzipped_profile_is_truncated),
        cmocka_unit_test(no_flipped_bit_passes_as_another_profile),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(bomb_ends_at_the_ceiling),
        cmocka_unit_test(verdict_is_final),
        cmocka_unit_test(feeding_nothing_changes_nothing),
        cmocka_unit_test(lists_are_judged_alike_in_one_and_in_pieces),
        cmocka_unit_test(watched_strings_are_found_however_the_body_is_cut),
    };
    return cmocka_run_group_tests_name("pprof", tests, NULL, NULL);
}
