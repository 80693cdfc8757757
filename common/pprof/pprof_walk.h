/* Walks the protobuf of one profile as it streams by, checking its form and counting: no message is ever held.
 *
 * The walker keeps a stack of the messages it is inside of (profile > sample > label is the deepest) with the
 * few numbers each needs until its end. Where a field is cut by the end of the bytes at hand, it is left for
 * the next call, so its answer does not depend on how the bytes are cut.
 *
 *     bytes    ├ field ┼ field ┼─ fie┤            pprof_walk_feed returns what it used; the caller puts the
 *                               ╰─┬─╯             rest, at most PPROF_WALK_REST_MAX bytes, before the next
 *     next     ├─ fie┼ld ─┼ field ┼ …             bytes
 *
 * Source of the field numbers: google/pprof proto/profile.proto; of what is refused: its profile package
 * (encode.go, CheckValid in profile.go), whose older copy profefe uses. What needs a table in memory is not
 * checked here: that ids are unique, and that what they refer to exists (pprof_ids.h).
 */
#ifndef PROFEFE_PPROF_WALK_H
#define PROFEFE_PPROF_WALK_H

#include "common/pprof/pprof.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PPROF_WALK_DEPTH = 4, /* profile, sample, label, bytes skipped within it */
    PPROF_WALK_SLOTS = 4,
    /* Two varints of a field, or a length and the text of a watched string. */
    PPROF_WALK_REST_MAX = 2 * 10 + PPROF_WATCH_TEXT_MAX,
};

struct pprof_ids;

struct pprof_walk_frame {
    uint8_t kind;
    uint64_t end;                     /* position after the last byte */
    uint64_t slots[PPROF_WALK_SLOTS]; /* last value of the fields that count, by kind */
};

struct pprof_walk {
    struct pprof_walk_frame frames[PPROF_WALK_DEPTH];
    unsigned depth;
    uint64_t position; /* of the next byte in the profile */
    uint64_t raw_max;
    struct pprof_watch *watch;
    struct pprof_ids *ids; /* filled as they go by; NULL = not asked for */
    uint64_t watched_lengths; /* bit n: a watched string has n bytes */
    uint64_t index_max;       /* largest string index referred to */
    uint64_t values_min, values_max; /* values in one sample */
    uint64_t period_type[2];
    uint64_t samples, sample_types, strings;
    uint64_t sample_bytes_max;
    uint64_t time_nanos, duration_nanos;
    bool failed;
    char reason[PPROF_REASON_MAX];
};

/* raw_max: a field longer than this is a lie. watch: NULL, or filled as strings go by; borrowed. */
void pprof_walk_init(struct pprof_walk *walk, uint64_t raw_max, struct pprof_watch *watch);

/* Returns the bytes used; after a failure (walk->failed, walk->reason) nothing more is used. */
size_t pprof_walk_feed(struct pprof_walk *walk, const uint8_t *bytes, size_t len);

/* True when the profile cannot end here: inside a message. */
bool pprof_walk_is_inside(const struct pprof_walk *walk);

/* The checks that need the whole: once, when all bytes were used and the walk is not inside of anything. May fail
 * the walk. */
void pprof_walk_finish(struct pprof_walk *walk);

#endif
