/* Between spool.c, which keeps order, index and counts, and the places that keep the bytes (spool_memory.c,
 * spool_disk.c). Nobody else includes this.
 *
 * The index is an array in the order of id. It grows in steps and holds 48 bytes a profile; type and target
 * are kept once for all profiles that share them: 1024 waiting profiles cost 48 KiB, an idle spool under 4.
 */
#ifndef PROFEFE_SPOOL_STORE_H
#define PROFEFE_SPOOL_STORE_H

#include "common/base/marks.h"
#include "common/spool/spool.h"

struct spool_entry {
    uint64_t id;
    uint64_t size_bytes;
    uint64_t place; /* the store's own: memory: position in the ring; disk: bytes charged */
    int64_t time_ms;
    int64_t steady_ms; /* it ages from here */
    uint16_t kind; /* index into spool.kinds */
    uint16_t note_flags; /* of struct spool_note, which would leave a gap */
    uint32_t note_number;
};

/* A pair of type and target; free for another pair when refs is 0. */
struct spool_kind {
    char type[SPOOL_TYPE_MAX + 1];
    char target[SPOOL_TARGET_MAX + 1];
    unsigned refs;
};

/* What a store does. "The writing" is spool->writing; its size_bytes is what was written so far. */
struct spool_ops {
    int (*begin)(struct spool *spool, struct err *err);
    /* 0: len more bytes of the writing fit; -ENOBUFS: the oldest has to go first; -EFBIG: they never will. */
    int (*room)(const struct spool *spool, size_t len);
    /* 1 to len bytes written, or -Exxx. -ENOSPC is tried again after an eviction, as in begin and commit. */
    int64_t (*write)(struct spool *spool, const void *bytes, size_t len);
    /* Makes the writing durable under its id and time. */
    int (*commit)(struct spool *spool);
    /* Gives back the bytes of the writing; spool->is_writing is false already. */
    void (*abort)(struct spool *spool);
    /* Gives back the bytes of an entry that was at index `at` and is no longer in the index. */
    void (*release)(struct spool *spool, const struct spool_entry *gone, size_t at);
    /* 1 to len bytes (offset + len is inside the profile), -ESTALE when they are lost, or another -Exxx. */
    int64_t (*read)(struct spool *spool, const struct spool_entry *entry, uint64_t offset, void *bytes,
                    size_t len);
    /* Bytes that should be charged now, counted afresh: for spool_verify. */
    uint64_t (*count_bytes)(const struct spool *spool);
    /* Closes and frees what the store added; the index is freed by spool_free. */
    void (*done)(struct spool *spool);
};

/* The first member of each store's own struct. */
struct spool {
    const struct spool_ops *ops;
    const char *label; /* for messages: "memory spool", "spool directory \"/x\""; the store's */
    struct spool_stats stats;
    struct spool_entry *entries;
    size_t count;
    size_t capacity;
    size_t items_max;
    struct spool_kind *kinds;
    size_t kind_count;
    uint64_t next_id;
    bool is_writing;
    struct spool_entry writing;
    uint64_t held_id; /* 0 = none */
    enum spool_drop held_reason; /* with stats.held_lost */
    spool_lost *lost;
    void *lost_ctx;
};

/* Checks the budget and fills what is common. */
MUST_CHECK int spool_setup(struct spool *spool, const struct spool_ops *ops, uint64_t budget_bytes, struct err *err)
    NONNULL(1);

/* Takes an entry found at start into the index, in the order of id; its kind is set from meta. -EEXIST: that id is
 * there already; -ENOBUFS: the index is full of newer ones; -ENOMEM. */
int spool_adopt(struct spool *spool, const struct spool_entry *entry, const struct spool_meta *meta);

/* Takes the entry at `at` out of the index, has its bytes released, and counts it (the one on hold: later). */
void spool_drop(struct spool *spool, size_t at, enum spool_drop reason);

/* The index of the first entry with an id >= id, or spool->count. */
size_t spool_find(const struct spool *spool, uint64_t id);

/* errno of a failed write as this module returns it: a full quota is a full disk, and the process's file size
 * limit (EFBIG) must not read as "profile too big". Positive in, negative out. */
int spool_write_error(int code);

#endif
