/* The body of one fetch on its way from the app into the spool: freed of a second gzip, checked, and stored gzipped.
 *
 *     gzip, as Go gives it                    ───────────────▶ check ──────────────▶ spool, byte for byte
 *     raw                                     ───────────────▶ check ─▶ gz_writer ─▶ spool
 *     Content-Encoding: gzip of a raw one     ───────────────▶ check ──────────────▶ spool, byte for byte
 *     Content-Encoding: gzip of a gzipped one ─▶ gz_reader ──▶ check ──────────────▶ spool
 *     a trace                                 ───────────────▶ check ──────────────▶ spool, byte for byte
 *
 * A raw profile is some six times as large as gzipped, and it is the gzipped one that has to fit. Traces stay raw:
 * profefe gives back what it was given, and `go tool trace` reads no gzip.
 *
 * Memory is fixed: 60 KB to check, 100 KB more to compress, 40 KB more to undo a second gzip.
 */
#ifndef PROFEFE_SCRAPE_BODY_H
#define PROFEFE_SCRAPE_BODY_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/pprof/pprof.h"
#include "common/spool/spool.h"
#include "common/values/profile_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCRAPE_RAW_FACTOR = 16, /* inflated bytes per stored byte; Go's profiles have 5 to 6 */
};

struct scrape_body;

/* Writes to the spool where a profile has begun; size_max: bytes of it there. 0 or -ENOMEM. */
MUST_CHECK int scrape_body_new(struct spool *spool, enum profile_kind kind, uint64_t size_max, struct scrape_body **ret)
    NONNULL(1);
struct scrape_body *scrape_body_free(struct scrape_body *body); /* NULL allowed; returns NULL */

static inline void cleanup_scrape_body(struct scrape_body **body)
{
    scrape_body_free(*body);
}

#define CLEANUP_SCRAPE_BODY CLEANUP(cleanup_scrape_body)

/* The check also looks for these strings (pprof.h); borrowed. Before the first byte. */
void scrape_body_watch(struct scrape_body *body, struct pprof_watch *watch);

/* Before the first byte, what the headers say: encoding: Content-Encoding, "" = none; length: Content-Length, "" = not
 * known. */
void scrape_body_begin(struct scrape_body *body, const char *encoding, const char *length);

/* 0; -EINVAL once the check's verdict is bad; -EFBIG when the spool cannot hold it; -ENOMEM; -Exxx of the spool. */
int scrape_body_feed(struct scrape_body *body, const void *bytes, size_t len);

/* The end of the body, and what it was. */
void scrape_body_judge(struct scrape_body *body, struct pprof_summary *ret);

/* Writes what is left of a body that was judged well; the spool may commit it then. 0 or as of scrape_body_feed. */
MUST_CHECK int scrape_body_end(struct scrape_body *body, struct err *err) NONNULL(1);

/* Why feeding it failed, but for the check's verdict; NULL = it did not. */
const struct err *scrape_body_error(const struct scrape_body *body);

/* It came without gzip, so that asking for that is worth while. */
bool scrape_body_is_raw(const struct scrape_body *body);

#endif
