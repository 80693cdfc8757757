/* Any bytes as the body of a profile. What must hold, besides no error of memory:
 *
 *   - the verdict, on its ids too, is the same however the body is cut, and for the body gzipped (a cut body apart);
 *   - a profile that is ok comes out of relabel ok, with as many samples and the new strings, or as it came;
 *   - all else comes out of relabel as it came.
 *
 * The ways of cutting follow from the input itself, so that an input alone is the whole case.
 */
#include "common/pprof/gz.h"
#include "common/pprof/pprof_ids.h"
#include "common/pprof/relabel.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RAW_MAX = 1024 * 1024,      /* a bomb ends here, so that the fuzzer goes on */
    SIZE_MAX_USED = 64 * 1024,  /* larger inputs show nothing new */
    ROOM = 4 * RAW_MAX,
    TIME_MS = 1000000,          /* replaces the profile's own, for every other input */
};

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_pprof: %s\n", what);
    abort();
}

/* A fault in the ids of a whole profile goes into its reason, which is compared. */
static void judge_ids(const struct pprof_ids *ids, struct pprof_summary *summary)
{
    if (summary->verdict == PPROF_OK && !pprof_ids_are_right(ids, summary->reason))
        must(summary->reason[0] != '\0', "expected a reason for a fault in ids");
}

static struct pprof_summary check_body(const uint8_t *bytes, size_t len, size_t step)
{
    struct pprof_check *check = NULL;
    struct pprof_ids ids;
    struct pprof_summary summary;
    must(pprof_check_new(RAW_MAX, &check) == 0, "expected memory for a check");
    pprof_ids_init(&ids);
    pprof_check_ids(check, &ids);
    for (size_t at = 0; at < len; at += step) {
        if (pprof_check_feed(check, bytes + at, len - at < step ? len - at : step) < 0)
            break;
    }
    pprof_check_finish(check, &summary);
    pprof_check_free(check);
    must(summary.verdict != PPROF_NO_MEMORY, "expected memory to inflate");
    must(memchr(summary.reason, '\0', sizeof(summary.reason)) != NULL, "expected a reason with an end");
    bool has_reason = summary.reason[0] != '\0';
    must(has_reason == (summary.verdict != PPROF_OK), "expected a reason exactly when it is not ok");
    judge_ids(&ids, &summary);
    pprof_ids_done(&ids);
    return summary;
}

static bool is_good(enum pprof_verdict verdict)
{
    return verdict == PPROF_OK || verdict == PPROF_EMPTY;
}

/* Field by field: there is padding between them. */
static bool same_summary(const struct pprof_summary *a, const struct pprof_summary *b)
{
    return a->verdict == b->verdict && strcmp(a->reason, b->reason) == 0 && a->raw_bytes == b->raw_bytes &&
           a->samples == b->samples && a->strings == b->strings && a->sample_types == b->sample_types &&
           a->sample_bytes_max == b->sample_bytes_max && a->time_nanos == b->time_nanos &&
           a->duration_nanos == b->duration_nanos;
}

static void compare_cut(const uint8_t *data, size_t size, const struct pprof_summary *whole, size_t step)
{
    struct pprof_summary cut = check_body(data, size, step);
    must(cut.verdict == whole->verdict, "expected the same verdict in pieces");
    must(strcmp(cut.reason, whole->reason) == 0, "expected the same reason in pieces");
    must(!is_good(cut.verdict) || same_summary(&cut, whole), "expected the same summary in pieces");
}

static void compare_gzipped(const uint8_t *data, size_t size, const struct pprof_summary *raw, size_t step)
{
    static uint8_t packed[2 * SIZE_MAX_USED];
    struct gz_writer writer;
    must(gz_writer_init(&writer) == 0, "expected memory to compress");
    struct gz_bytes in = {data, size};
    size_t len = gz_writer_step(&writer, &in, /* last= */ true, packed, sizeof(packed));
    must(writer.finished, "expected it to compress in one step");
    gz_writer_done(&writer);
    struct pprof_summary gzipped = check_body(packed, len, step);
    enum pprof_verdict expected = raw->verdict == PPROF_TRUNCATED ? PPROF_MALFORMED : raw->verdict;
    must(gzipped.verdict == expected, "expected the same verdict gzipped");
    must(!is_good(expected) || same_summary(&gzipped, raw), "expected the same summary gzipped");
}

struct stored {
    const uint8_t *bytes;
    size_t len;
    size_t step;
};

static int64_t read_stored(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    const struct stored *stored = ctx;
    size_t n = stored->len - (size_t)offset;
    n = n < len ? n : len;
    n = n < stored->step ? n : stored->step;
    memcpy(bytes, stored->bytes + offset, n);
    return (int64_t)n;
}

static const struct labels labels = {.count = 3, .items = {{"pod", "web-0"}, {"handler", "none"}, {"k", "v"}}};

static void compare_rewritten(const uint8_t *data, size_t size, const struct pprof_summary *before, size_t step)
{
    static char out[ROOM];
    struct stored stored = {data, size, 8 * step};
    struct relabel_request request = {.source = read_stored, .source_ctx = &stored, .labels = &labels, .type = "cpu",
                                      .url = "http://127.0.0.1:6060/debug/pprof/profile", .raw_max = RAW_MAX,
                                      .time_ms = step % 2 == 0 ? TIME_MS : 0};
    struct relabel *relabel = NULL;
    must(relabel_new(&request, &relabel) == 0, "expected memory to relabel");
    size_t len = 0;
    int64_t n = 0;
    while ((n = relabel_read(relabel, out + len, ROOM - len < 64 * step ? ROOM - len : 64 * step)) > 0)
        len += (size_t)n;
    must(n == 0 && len < ROOM, "expected it to be read to its end");
    enum relabel_result result = relabel_get_result(relabel);
    bool replaced = relabel_replaces_time(relabel);
    uint64_t renamed_max = relabel_has_renamed(relabel) ? labels.count : 0;
    relabel_free(relabel);
    bool profile = result != RELABEL_NOT_A_PROFILE;
    must(profile == (before->verdict == PPROF_OK), "expected the result to follow the verdict");
    must(!replaced || (profile && before->time_nanos != 0), "expected a time to replace");
    if (result != RELABEL_DONE && !replaced) {
        must(len == size && memcmp(out, data, len) == 0, "expected it as it came");
        return;
    }
    struct pprof_summary after = check_body((const uint8_t *)out, len, sizeof(out));
    if (after.verdict == PPROF_TOO_BIG) /* what was just below the ceiling */
        return;
    must(after.verdict == PPROF_OK, "expected a good profile to stay good");
    must(after.samples == before->samples, "expected as many samples");
    uint64_t more = result == RELABEL_DONE ? 2 * labels.count + 2 : 0;
    must(after.strings >= before->strings + more && after.strings <= before->strings + more + renamed_max,
         "expected the new strings");
    must(after.time_nanos == (replaced ? TIME_MS * INT64_C(1000000) : before->time_nanos), "expected the time");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_MAX_USED)
        return 0;
    size_t step = 1 + (size > 0 ? data[size - 1] % 61 : 0);
    struct pprof_summary whole = check_body(data, size, SIZE_MAX_USED);
    compare_cut(data, size, &whole, step);
    if (size > 0 && data[0] != 0x1F)
        compare_gzipped(data, size, &whole, 8 * step);
    compare_rewritten(data, size, &whole, step);
    return 0;
}
