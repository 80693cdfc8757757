/* A streaming check of one pprof body, gzip or raw, without building the profile in memory.
 *
 * Bytes are fed as they arrive; memory is fixed and taken at pprof_check_new: the check itself (17 KB) and zlib's
 * inflate state (40 KB). The verdict does not depend on how the bytes are cut into calls. What is recognised follows
 * profile.proto of google/pprof, what is refused its reader (pprof_walk.h):
 *
 *   message Profile: 1 sample_type* · 2 sample* · 3 mapping* · 4 location* · 5 function* · 6 string_table* ·
 *                    7 drop_frames · 8 keep_frames · 9 time_nanos · 10 duration_nanos · 11 period_type ·
 *                    12 period · 13 comment* · 14 default_sample_type · 15 doc_url
 */
#ifndef PROFEFE_PPROF_H
#define PROFEFE_PPROF_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pprof_verdict {
    PPROF_OK,
    PPROF_EMPTY,     /* well-formed, no samples: profefe would refuse it */
    PPROF_TEXT,      /* text or HTML: debug=1 output, an error page */
    PPROF_MALFORMED, /* neither gzip nor a profile, or one that google/pprof refuses */
    PPROF_TRUNCATED, /* no byte at all, or ended inside the gzip stream, or inside a field of a raw profile;
                        a field that passes the end of a whole gzip stream is the producer's fault: malformed */
    PPROF_TOO_BIG,   /* inflates beyond the ceiling */
    PPROF_NO_MEMORY, /* ours; with Debian's zlib only pprof_check_new can say so (gz.h) */
    PPROF_VERDICT_COUNT,
};
extern const char *const pprof_verdict_names[PPROF_VERDICT_COUNT]; /* "ok", "empty", "text", "too-big", … */

enum {
    PPROF_REASON_MAX = 160,
    /* A good ceiling of inflated bytes: the largest disk spool item, 64 MiB, at twice the ratio seen (5.4). */
    PPROF_RAW_MAX = 640 * 1024 * 1024,
};

enum {
    PPROF_HEAD_MAX = 64, /* first bytes by which text is told: no profile has only printable ones there */
};

/* Whether a body that is no profile begins like text or HTML: printable UTF-8, a character cut at the end allowed, with
 * something to read in it. Then *reason quotes its beginning. head: its first bytes, PPROF_HEAD_MAX when it has so
 * many. */
bool pprof_head_is_text(const void *head, size_t len, char reason[static PPROF_REASON_MAX]);

struct pprof_summary {
    enum pprof_verdict verdict;
    char reason[PPROF_REASON_MAX]; /* in words, for the log; "" on PPROF_OK; outside text is quoted and cut */
    uint64_t raw_bytes;            /* inflated */
    uint64_t samples;
    uint64_t strings;              /* entries of the string table */
    uint64_t sample_types;
    uint64_t sample_bytes_max;     /* the largest sample, its tag and length not counted */
    int64_t time_nanos;            /* 0 = absent */
    int64_t duration_nanos;
};

/* Strings to look for in the string table: where the label keys are, for relabel. */
enum {
    PPROF_WATCH_MAX = 32,
    PPROF_WATCH_TEXT_MAX = 63,    /* bytes of one string */
    PPROF_WATCH_INDICES = 8,      /* a table may hold the same string several times; this many are remembered */
};

struct pprof_watch {
    unsigned count;
    bool overflow; /* a string was there more than PPROF_WATCH_INDICES times */
    struct pprof_watched {
        const char *text; /* borrowed, 1 to PPROF_WATCH_TEXT_MAX bytes */
        size_t len;
        unsigned found;
        uint64_t index[PPROF_WATCH_INDICES];
    } items[PPROF_WATCH_MAX];
};

struct pprof_check;
struct pprof_ids;

/* raw_max: ceiling of inflated bytes (a gzip bomb ends there). 0 or -ENOMEM. */
MUST_CHECK int pprof_check_new(uint64_t raw_max, struct pprof_check **ret);
struct pprof_check *pprof_check_free(struct pprof_check *check); /* NULL allowed; returns NULL */

/* Also fills watch (borrowed until the free); before the first feed. */
void pprof_check_watch(struct pprof_check *check, struct pprof_watch *watch);

/* Also fills ids (pprof_ids.h; borrowed until the free), of which the verdict says nothing; before the first feed,
 * after pprof_check_watch. */
void pprof_check_ids(struct pprof_check *check, struct pprof_ids *ids);

/* 0, or -EINVAL as soon as the verdict is clear and bad: the transfer may be cut; pprof_check_finish tells it.
 * Feeding on after that is allowed and changes nothing. */
int pprof_check_feed(struct pprof_check *check, const void *bytes, size_t len);

/* The end of the body, and what it was. Asking again gives the same. */
void pprof_check_finish(struct pprof_check *check, struct pprof_summary *ret);

#endif
