/* The spool: profiles that were taken and wait to be sent, within one budget of bytes.
 *
 * One writer (the scrape under way: begin, write, commit or abort) and readers by id (the push under way). The
 * budget covers what waits, what is being written and what is being sent. A writer that needs room evicts the
 * oldest finished profile, also one that is being sent: its reader then gets -ESTALE. A single profile over
 * the ceiling is refused (-EFBIG) and nothing more is evicted for it. Order is that of commit; the true time
 * travels in the meta data. Not for use by two threads at once.
 *
 * Accounts: each profile begun ends in exactly one way: waiting, removed, aborted, or counted in dropped[]. Only the
 * one on hold (spool_hold) may be in between: no longer here, and not counted before it is known whether it arrived.
 *
 * spool_memory.c and spool_disk.c say how each keeps the bytes.
 */
#ifndef PROFEFE_SPOOL_H
#define PROFEFE_SPOOL_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/values/spool_size.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Index entries: one for each SPOOL_ITEM_BYTES of the budget, within these. A day of the default types is 2,600. */
    SPOOL_ITEMS_MIN = 1024,
    SPOOL_ITEMS_MAX = 16 * 1024,
    SPOOL_ITEM_BYTES = 8 * 1024, /* two blocks: fewer bytes a profile are seldom seen over a whole spool */
    SPOOL_TYPE_MAX = 63,
    SPOOL_TARGET_MAX = 63,
};

struct spool_meta {
    char type[SPOOL_TYPE_MAX + 1];     /* "cpu", "other/wall"; never "" */
    char target[SPOOL_TARGET_MAX + 1]; /* name of the target, "" without one */
    int64_t time_ms;                   /* Unix time at which the profile began, >= 0 */
    int64_t steady_ms;                 /* loop_steady_ms() then, from which it ages; 0 = time_ms */
};

/* What whoever writes a profile tells whoever reads it, in their own words; not kept on disk. */
struct spool_note {
    uint32_t number;
    uint16_t flags;
};

struct spool_item {
    uint64_t id; /* > 0, ascending in the order of commit; never reused while the spool is open */
    struct spool_meta meta;
    uint64_t size_bytes;
    struct spool_note note; /* zeros when there is none, and for what was found at the start */
};

/* Why profiles were lost here; the counters' label `reason`. */
enum spool_drop {
    SPOOL_DROP_EVICTED, /* the oldest had to make room */
    SPOOL_DROP_TOO_BIG, /* one profile over the ceiling */
    SPOOL_DROP_ERROR,   /* the memory or the disk failed, or the file vanished */
    SPOOL_DROP_OLD,     /* spool_expire */
    SPOOL_DROP_COUNT,
};
extern const char *const spool_drop_names[SPOOL_DROP_COUNT]; /* "spool-full", "too-big", "spool-error", "too-old" */

struct spool_stats {
    uint64_t items;
    uint64_t bytes;        /* charged now, whole pages or blocks, the one being written included */
    uint64_t budget_bytes; /* memory: rounded down to whole pages */
    uint64_t taken; /* that came here: committed, found at the start, or lost while written. Each of them is in items or
                       held_lost, or was removed, or is counted in dropped[] */
    uint64_t dropped[SPOOL_DROP_COUNT];
    uint64_t held_lost; /* 1: the profile on hold is lost here, and its account is open */
    uint64_t recreated; /* times the directory was gone or replaced and was opened anew; the decider says so */
};

struct spool;

/* How many profiles a spool of this budget holds at most, however small they are. */
size_t spool_items_max(uint64_t budget_bytes);

/* -ERANGE outside SPOOL_BUDGET_MIN..MAX, -ENOMEM, or why there is no memfd. */
MUST_CHECK int spool_new_memory(uint64_t budget_bytes, struct spool **ret, struct err *err);

/* Makes the directory when missing (0700, its parents too) and takes in what an earlier program left; stats tell
 * how much that is and what was lost. -EAGAIN: another program holds it, which the text calls by `holder` ("agent";
 * borrowed). -EROFS, -EACCES, …: not writable. */
MUST_CHECK int spool_new_disk(const char *dir, uint64_t budget_bytes, const char *holder, struct spool **ret,
                              struct err *err);

/* NULL allowed; returns NULL. What waits on disk stays there; what is being written is aborted. */
struct spool *spool_free(struct spool *spool);

/* One at a time: -EBUSY while another is being written; -EINVAL for meta data out of range. Any other failure
 * is counted already. */
MUST_CHECK int spool_begin(struct spool *spool, const struct spool_meta *meta, struct err *err) NONNULL(1);

/* -EFBIG (over the ceiling) or -EIO/-ENOSPC/-ENOMEM/…: the writing is then aborted and counted already.
 * -EINVAL when nothing is being written. */
MUST_CHECK int spool_write(struct spool *spool, const void *bytes, size_t len, struct err *err) NONNULL(1);

/* Puts a note on what is being written. */
void spool_set_note(struct spool *spool, struct spool_note note);

/* Makes it visible to readers; ret_id may be NULL. time_ms replaces meta.time_ms when > 0 (the profile's own
 * time). Failures as with spool_write. An empty profile is stored like any other. */
MUST_CHECK int spool_commit(struct spool *spool, int64_t time_ms, uint64_t *ret_id, struct err *err) NONNULL(1);

/* Forgets what is being written, uncounted: the scrape itself names the reason. No-op when nothing is. */
void spool_abort(struct spool *spool);

/* The oldest item with id > after (0 = the oldest of all): 0, or -ENOENT. */
MUST_CHECK int spool_next(const struct spool *spool, uint64_t after, struct spool_item *ret) NONNULL(1);

/* Up to len bytes at offset; 0 at the end; -ESTALE when the item is gone. Finding that its file vanished or
 * cannot be read (EIO) removes and counts it. Any other -Exxx (no descriptor left): nothing changed, try again
 * later. */
int64_t spool_read(struct spool *spool, uint64_t id, uint64_t offset, void *bytes, size_t len);

/* Gives the room back. -ENOENT when it is gone already. */
int spool_remove(struct spool *spool, uint64_t id);

/* Drops and counts all that began before steady_ms, by a clock that does not jump; returns how many. What was found at
 * the start goes by the Unix time in its name. */
unsigned spool_expire(struct spool *spool, int64_t steady_ms);

/* Puts the profile that is being sent on hold, in place of an earlier one: it is evicted and expires like all, but that
 * is counted when the hold ends, since it may have arrived. */
void spool_hold(struct spool *spool, uint64_t id);

/* Ends the hold. False: the profile is no longer here; if that was a loss, it is counted now, unless it arrived. */
bool spool_end_hold(struct spool *spool, bool arrived);

/* Calls `lost` for each profile that is dropped while it waits (not for the one on hold), once it is counted. It may
 * read the spool, not change it. NULL = nobody. */
typedef void spool_lost(void *ctx, uint64_t id, enum spool_drop reason);
void spool_on_lost(struct spool *spool, spool_lost *lost, void *ctx);

const struct spool_stats *spool_get_stats(const struct spool *spool);

#endif
