/* Writes labels into each sample of a stored profile while it is being pushed, so that one copy of it exists.
 *
 * The body is read twice through the source. The first reading checks it (pprof.h), counts the string table and
 * looks up the label keys in it; then it is clear whether it can be labelled. The second rewrites it as it
 * streams by:
 *
 *   stored  ├ sample ──────┼ sample ──────┼ mapping, location, function, string_table, … ┤
 *
 *   pushed  ├ sample ──────┬ labels ┼ sample ──────┬ labels ┼ … as it was … ┼ strings ┼ comments ┤
 *             │            │                                                │         │
 *             │            └ prebuilt: one Label a key, as profefe_KEY       │         └ 13: index of "type=…",
 *             │              where this sample has KEY already               │           then of "url=…"
 *             └ 0x12 · new length · body as it was                           └ 6: key, value, key, value, …
 *
 *   a label   0x1A · length · 0x08 · index of the key · 0x10 · index of the value    (Sample 3, Label 1 and 2)
 *
 * Strings at the end of the message are entries strings, strings + 1, … of the table, wherever its other parts
 * are (a repeated field of protobuf may be split). A label that is there stays; where a sample has a key already, as a
 * string or as a number, ours goes in as profefe_KEY, so that both can be split by. Comments are given unpacked beside
 * those that are there. A profile that cannot be labelled is pushed as it came, which is decided before the first byte:
 * relabelling never loses one.
 *
 * profefe files a profile under its time_nanos (9) where that is set. Where it is not the time that the request names,
 * it is replaced on the way, in a profile that cannot be labelled too; a second one beside it would be refused.
 *
 * Memory, whatever the profile: 45 KB of our own; first 57 KB for the check, then 40 KB to inflate and 100 KB to
 * compress (gz.h), taken between the two readings. Nothing here waits.
 */
#ifndef PROFEFE_RELABEL_H
#define PROFEFE_RELABEL_H

#include "common/base/marks.h"
#include "common/values/labels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELABEL_SAMPLE_MAX = 16 * 1024, /* bytes of one sample; 126 were the most seen from Go */
    RELABEL_COMMENT_MAX = 2048,     /* bytes of type or url; the rest is cut */
};

/* What became of the profile; the counter's label `reason` when it was not labelled. */
enum relabel_result {
    RELABEL_DONE,
    RELABEL_SAMPLE_TOO_BIG, /* a sample of more than RELABEL_SAMPLE_MAX bytes */
    RELABEL_TOO_MANY_KEYS,  /* a label key is in the string table more than PPROF_WATCH_INDICES times */
    RELABEL_NOT_A_PROFILE,  /* the check does not say "ok": trace, empty, broken */
    RELABEL_NO_MEMORY,
    RELABEL_RESULT_COUNT,
};
extern const char *const relabel_result_names[RELABEL_RESULT_COUNT]; /* "done", "sample-too-big", … */

/* Reads up to len bytes of the stored body at offset; 0 at its end, -Exxx. Same offset, same bytes. */
typedef int64_t relabel_source(void *ctx, uint64_t offset, void *bytes, size_t len);

struct relabel_request {
    relabel_source *source;
    void *source_ctx;
    const struct labels *labels; /* borrowed until relabel_free; their order is kept */
    const char *type;            /* comment `type=`; NULL = none; borrowed */
    const char *url;             /* comment `url=`; NULL = none; borrowed */
    uint64_t raw_max;            /* ceiling of inflated bytes, see PPROF_RAW_MAX */
    int64_t time_ms;             /* Unix time to be filed under; 0 = its own, whatever that is */
    /* Entries of the string table, from a check that said "ok" of this body, saw no sample over RELABEL_SAMPLE_MAX and
     * none of the keys in the table: then the first reading is left out, and the second checks the body. 0 = not known.
     */
    uint64_t known_strings;
};

struct relabel;

/* 0 or -ENOMEM. Reads nothing yet. */
MUST_CHECK int relabel_new(const struct relabel_request *request, struct relabel **ret) NONNULL(1);
struct relabel *relabel_free(struct relabel *relabel); /* NULL allowed; returns NULL */

/* Does the first reading in pieces of about max_bytes stored bytes (5 ms a megabyte inflated), so that a loop can do
 * other things between. 1 = go on, 0 = all is read, -Exxx of the source. relabel_read does what is left of it. */
int relabel_scan(struct relabel *relabel, size_t max_bytes);

/* Once scanned. */
enum relabel_result relabel_get_result(const struct relabel *relabel);
bool relabel_is_rewriting(const struct relabel *relabel); /* false: relabel_read gives the stored bytes */
bool relabel_replaces_time(const struct relabel *relabel);

/* Once read: a sample had a key of ours already. */
bool relabel_has_renamed(const struct relabel *relabel);

/* Once scanned: relabel_read begins anew, and gives the same bytes once more. -ENOMEM: it then fails for good. */
int relabel_rewind(struct relabel *relabel);

/* The body to push: fills out with up to len bytes (0 at the end), or -Exxx of the source, or -EIO when the body was
 * not the same at the second reading. After an error it stays failed. */
int64_t relabel_read(struct relabel *relabel, char *out, size_t len);

#endif
