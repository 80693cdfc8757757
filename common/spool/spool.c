#include "common/spool/spool.h"

#include "common/base/quote.h"
#include "common/spool/spool_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_STEP = 32, /* 1.5 KB: what waits in a healthy spool fits the first step */
    KINDS_STEP = 8,    /* 1.1 KB: five default types of one target fit */
    SHED_SLACK = 64 * 1024, /* a full disk: bytes of blocks for directories and of what others grab meanwhile */
};

const char *const spool_drop_names[SPOOL_DROP_COUNT] = {
    [SPOOL_DROP_EVICTED] = "spool-full",
    [SPOOL_DROP_TOO_BIG] = "too-big",
    [SPOOL_DROP_ERROR] = "spool-error",
    [SPOOL_DROP_OLD] = "too-old",
};

size_t spool_find(const struct spool *spool, uint64_t id)
{
    size_t low = 0, high = spool->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (spool->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct spool_entry *find_exact(const struct spool *spool, uint64_t id)
{
    size_t at = spool_find(spool, id);
    return at < spool->count && spool->entries[at].id == id ? &spool->entries[at] : NULL;
}

#ifdef NDEBUG
static inline void spool_verify(const struct spool *spool)
{
    (void)spool;
}
#else
/* The invariants, at entry and exit of each public function in debug builds. */
static void spool_verify(const struct spool *spool)
{
    size_t refs = 0, users = spool->count + (spool->is_writing ? 1 : 0);
    for (size_t i = 0; i < spool->kind_count; i++)
        refs += spool->kinds[i].refs;
    assert(refs == users);
    assert(spool->count <= spool->items_max && users <= spool->capacity + (spool->count == spool->items_max));
    assert(spool->stats.held_lost == 0 || (spool->held_id != 0 && find_exact(spool, spool->held_id) == NULL));
    assert(spool->stats.items == spool->count && (spool->count == 0 || spool->entries != NULL));
    for (size_t i = 0; i < spool->count; i++) {
        const struct spool_entry *e = &spool->entries[i];
        assert(e->id > (i > 0 ? e[-1].id : 0) && e->id < spool->next_id);
        assert(e->kind < spool->kind_count && spool->kinds[e->kind].refs > 0 && e->time_ms >= 0);
    }
    assert(spool->stats.bytes == spool->ops->count_bytes(spool));
}
#endif

size_t spool_items_max(uint64_t budget_bytes)
{
    uint64_t fitting = budget_bytes / SPOOL_ITEM_BYTES;
    if (fitting < SPOOL_ITEMS_MIN)
        return SPOOL_ITEMS_MIN;
    return fitting < SPOOL_ITEMS_MAX ? (size_t)fitting : SPOOL_ITEMS_MAX;
}

int spool_setup(struct spool *spool, const struct spool_ops *ops, uint64_t budget_bytes, struct err *err)
{
    if (budget_bytes < SPOOL_BUDGET_MIN || budget_bytes > SPOOL_BUDGET_MAX)
        return err_set(err, ERANGE, "spool budget %llu bytes: expected %d to %d",
                       (unsigned long long)budget_bytes, SPOOL_BUDGET_MIN, SPOOL_BUDGET_MAX);
    *spool = (struct spool){.ops = ops, .next_id = 1, .stats.budget_bytes = budget_bytes,
                            .items_max = spool_items_max(budget_bytes)};
    return 0;
}

int spool_write_error(int code)
{
    if (code == EDQUOT)
        return -ENOSPC;
    return code == EFBIG ? -EIO : -code;
}

/* ---- the index ---- */

/* Room for one entry more, so that commit cannot fail for memory. A full index evicts instead. After a backlog
 * it goes back to the memory of a healthy spool. */
static int reserve_entry(struct spool *spool)
{
    if (spool->count == 0 && spool->capacity > ENTRIES_STEP) {
        free(spool->entries);
        spool->entries = NULL;
        spool->capacity = 0;
    }
    if (spool->count < spool->capacity || spool->count == spool->items_max)
        return 0;
    size_t capacity = spool->capacity + ENTRIES_STEP;
    struct spool_entry *entries = realloc(spool->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    spool->entries = entries;
    spool->capacity = capacity;
    return 0;
}

static bool is_kind(const struct spool_kind *kind, const struct spool_meta *meta)
{
    return strcmp(kind->type, meta->type) == 0 && strcmp(kind->target, meta->target) == 0;
}

/* A slot nobody uses, or one more. The array has at most a slot for each item and the writing. */
static struct spool_kind *free_kind(struct spool *spool)
{
    for (size_t i = 0; i < spool->kind_count; i++) {
        if (spool->kinds[i].refs == 0)
            return &spool->kinds[i];
    }
    size_t count = spool->kind_count + KINDS_STEP;
    struct spool_kind *kinds = realloc(spool->kinds, count * sizeof(*kinds));
    if (kinds == NULL)
        return NULL;
    memset(kinds + spool->kind_count, 0, KINDS_STEP * sizeof(*kinds));
    spool->kinds = kinds;
    struct spool_kind *first_new = kinds + spool->kind_count;
    spool->kind_count = count;
    return first_new;
}

static int take_kind(struct spool *spool, const struct spool_meta *meta, uint16_t *ret)
{
    struct spool_kind *kind = NULL;
    for (size_t i = 0; i < spool->kind_count && kind == NULL; i++) {
        if (spool->kinds[i].refs > 0 && is_kind(&spool->kinds[i], meta))
            kind = &spool->kinds[i];
    }
    if (kind == NULL)
        kind = free_kind(spool);
    if (kind == NULL)
        return -ENOMEM;
    if (kind->refs == 0) {
        memcpy(kind->type, meta->type, sizeof(kind->type));
        memcpy(kind->target, meta->target, sizeof(kind->target));
    }
    kind->refs++;
    *ret = (uint16_t)(kind - spool->kinds);
    return 0;
}

static void leave_kind(struct spool *spool, uint16_t kind)
{
    assert(spool->kinds[kind].refs > 0);
    spool->kinds[kind].refs--;
}

static void drop_uncounted(struct spool *spool, size_t at)
{
    struct spool_entry gone = spool->entries[at];
    spool->count--;
    spool->stats.items--;
    memmove(spool->entries + at, spool->entries + at + 1, (spool->count - at) * sizeof(gone));
    spool->ops->release(spool, &gone, at);
    leave_kind(spool, gone.kind);
}

void spool_drop(struct spool *spool, size_t at, enum spool_drop reason)
{
    uint64_t id = spool->entries[at].id;
    drop_uncounted(spool, at);
    if (id == spool->held_id) {
        spool->stats.held_lost = 1;
        spool->held_reason = reason;
        return;
    }
    spool->stats.dropped[reason]++;
    if (spool->lost != NULL)
        spool->lost(spool->lost_ctx, id, reason);
}

int spool_adopt(struct spool *spool, const struct spool_entry *entry, const struct spool_meta *meta)
{
    if (find_exact(spool, entry->id) != NULL)
        return -EEXIST;
    if (spool->count == spool->items_max && entry->id < spool->entries[0].id)
        return -ENOBUFS;
    struct spool_entry taken = *entry;
    taken.steady_ms = entry->time_ms;
    int rc = reserve_entry(spool);
    if (rc == 0)
        rc = take_kind(spool, meta, &taken.kind);
    if (rc < 0)
        return rc;
    if (spool->count == spool->items_max)
        spool_drop(spool, 0, SPOOL_DROP_EVICTED);
    size_t at = spool_find(spool, taken.id);
    memmove(spool->entries + at + 1, spool->entries + at, (spool->count - at) * sizeof(taken));
    spool->entries[at] = taken;
    spool->count++;
    spool->stats.items++;
    spool->stats.taken++;
    if (taken.id >= spool->next_id)
        spool->next_id = taken.id + 1;
    return 0;
}

/* ---- writing ---- */

static bool is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static int check_meta(const struct spool_meta *meta, struct err *err)
{
    if (!is_text(meta->type, sizeof(meta->type)) || meta->type[0] == '\0')
        return err_set(err, EINVAL, "spool: type of a profile: expected 1 to %d bytes", SPOOL_TYPE_MAX);
    if (!is_text(meta->target, sizeof(meta->target)))
        return err_set(err, EINVAL, "spool: target of a profile: expected at most %d bytes", SPOOL_TARGET_MAX);
    if (meta->time_ms < 0)
        return err_set(err, EINVAL, "spool: time of a profile %lld ms: expected 0 or later", (long long)meta->time_ms);
    return 0;
}

/* Forgets the writing; its meta data stay readable for the message until the next begin. */
static void forget_writing(struct spool *spool)
{
    spool->is_writing = false;
    spool->ops->abort(spool);
    leave_kind(spool, spool->writing.kind);
}

/* One that never became an item. */
static void drop_new(struct spool *spool, enum spool_drop reason)
{
    spool->stats.taken++;
    spool->stats.dropped[reason]++;
}

static int lose_writing(struct spool *spool, int rc, struct err *err)
{
    const struct spool_kind *kind = &spool->kinds[spool->writing.kind];
    struct quoted type;
    quote_text(&type, kind->type);
    unsigned long long written = spool->writing.size_bytes;
    forget_writing(spool);
    drop_new(spool, rc == -EFBIG ? SPOOL_DROP_TOO_BIG : SPOOL_DROP_ERROR);
    spool_verify(spool);
    if (rc == -EFBIG)
        return err_set(err, EFBIG, "%s: profile %s is too big: over %llu bytes with a budget of %llu",
                       spool->label, type.text, written, (unsigned long long)spool->stats.budget_bytes);
    return err_errno(err, -rc, "%s: profile %s lost after %llu bytes", spool->label, type.text, written);
}

/* A full disk may be our own doing: the oldest goes, until more was given back than `need`. Past that others eat
 * what we free, and giving up the rest of the spool would not help. */
static bool shed_for(struct spool *spool, int rc, uint64_t need, uint64_t *freed)
{
    if (rc != -ENOSPC || spool->count == 0 || *freed > need + SHED_SLACK)
        return false;
    uint64_t before = spool->stats.bytes;
    spool_drop(spool, 0, SPOOL_DROP_EVICTED);
    *freed += before - spool->stats.bytes;
    return true;
}

static int begin_in_store(struct spool *spool, struct err *err)
{
    struct err last = {0}; /* err stays untouched when a second try succeeds */
    uint64_t freed = 0;
    int rc;
    do
        rc = spool->ops->begin(spool, &last);
    while (shed_for(spool, rc, 0, &freed));
    if (rc < 0 && err != NULL)
        *err = last;
    return rc;
}

int spool_begin(struct spool *spool, const struct spool_meta *meta, struct err *err)
{
    spool_verify(spool);
    if (spool->is_writing)
        return err_set(err, EBUSY, "%s: another profile is being written", spool->label);
    int rc = check_meta(meta, err);
    if (rc < 0)
        return rc;
    spool->writing = (struct spool_entry){
        .time_ms = meta->time_ms, .steady_ms = meta->steady_ms > 0 ? meta->steady_ms : meta->time_ms};
    rc = reserve_entry(spool);
    if (rc == 0)
        rc = take_kind(spool, meta, &spool->writing.kind);
    if (rc < 0) {
        drop_new(spool, SPOOL_DROP_ERROR);
        return err_errno(err, -rc, "%s: no memory for one profile more", spool->label);
    }
    rc = begin_in_store(spool, err);
    if (rc < 0) {
        leave_kind(spool, spool->writing.kind);
        drop_new(spool, SPOOL_DROP_ERROR);
        return rc;
    }
    spool->is_writing = true;
    spool_verify(spool);
    return 0;
}

/* Evicts the oldest until len more bytes fit. -ENOSPC: something else fills the budget, nothing is left to evict. */
static int make_room(struct spool *spool, size_t len)
{
    int rc;
    while ((rc = spool->ops->room(spool, len)) == -ENOBUFS) {
        if (spool->count == 0)
            return -ENOSPC;
        spool_drop(spool, 0, SPOOL_DROP_EVICTED);
    }
    return rc;
}

int spool_write(struct spool *spool, const void *bytes, size_t len, struct err *err)
{
    spool_verify(spool);
    if (!spool->is_writing)
        return err_set(err, EINVAL, "%s: nothing is being written", spool->label);
    int rc = make_room(spool, len);
    if (rc < 0)
        return lose_writing(spool, rc, err);
    const char *at = bytes;
    uint64_t freed = 0;
    for (size_t left = len; left > 0;) {
        int64_t n = spool->ops->write(spool, at, left);
        if (n < 0 && shed_for(spool, (int)n, left, &freed))
            continue;
        if (n < 0)
            return lose_writing(spool, (int)n, err);
        at += n;
        left -= (size_t)n;
    }
    make_room(spool, 0); /* a file system may take more blocks than the bytes need; without more to evict, so be it */
    spool_verify(spool);
    return 0;
}

void spool_set_note(struct spool *spool, struct spool_note note)
{
    spool->writing.note_number = note.number;
    spool->writing.note_flags = note.flags;
}

int spool_commit(struct spool *spool, int64_t time_ms, uint64_t *ret_id, struct err *err)
{
    spool_verify(spool);
    if (!spool->is_writing)
        return err_set(err, EINVAL, "%s: nothing is being written", spool->label);
    if (time_ms > 0)
        spool->writing.time_ms = time_ms;
    spool->writing.id = spool->next_id;
    if (spool->count == spool->items_max)
        spool_drop(spool, 0, SPOOL_DROP_EVICTED);
    uint64_t freed = 0;
    int rc;
    do
        rc = spool->ops->commit(spool);
    while (shed_for(spool, rc, 0, &freed));
    if (rc < 0)
        return lose_writing(spool, rc, err);
    spool->is_writing = false;
    spool->entries[spool->count++] = spool->writing;
    spool->stats.items++;
    spool->stats.taken++;
    spool->next_id++;
    if (ret_id != NULL)
        *ret_id = spool->writing.id;
    spool_verify(spool);
    return 0;
}

void spool_abort(struct spool *spool)
{
    spool_verify(spool);
    if (spool->is_writing)
        forget_writing(spool);
    spool_verify(spool);
}

/* ---- reading ---- */

int spool_next(const struct spool *spool, uint64_t after, struct spool_item *ret)
{
    size_t at = after == UINT64_MAX ? spool->count : spool_find(spool, after + 1);
    if (at == spool->count)
        return -ENOENT;
    const struct spool_entry *entry = &spool->entries[at];
    const struct spool_kind *kind = &spool->kinds[entry->kind];
    *ret = (struct spool_item){.id = entry->id, .size_bytes = entry->size_bytes, .meta.time_ms = entry->time_ms,
                                .note = {.number = entry->note_number, .flags = entry->note_flags}};
    memcpy(ret->meta.type, kind->type, sizeof(kind->type));
    memcpy(ret->meta.target, kind->target, sizeof(kind->target));
    return 0;
}

int64_t spool_read(struct spool *spool, uint64_t id, uint64_t offset, void *bytes, size_t len)
{
    spool_verify(spool);
    const struct spool_entry *entry = find_exact(spool, id);
    if (entry == NULL)
        return -ESTALE;
    if (offset >= entry->size_bytes || len == 0)
        return 0;
    if (len > entry->size_bytes - offset)
        len = (size_t)(entry->size_bytes - offset);
    int64_t n = spool->ops->read(spool, entry, offset, bytes, len);
    if (n == -ESTALE)
        spool_drop(spool, (size_t)(entry - spool->entries), SPOOL_DROP_ERROR);
    spool_verify(spool);
    return n;
}

int spool_remove(struct spool *spool, uint64_t id)
{
    spool_verify(spool);
    const struct spool_entry *entry = find_exact(spool, id);
    if (entry == NULL)
        return -ENOENT;
    drop_uncounted(spool, (size_t)(entry - spool->entries));
    spool_verify(spool);
    return 0;
}

unsigned spool_expire(struct spool *spool, int64_t steady_ms)
{
    spool_verify(spool);
    unsigned expired = 0;
    for (size_t at = spool->count; at > 0; at--) {
        if (spool->entries[at - 1].steady_ms >= steady_ms)
            continue;
        spool_drop(spool, at - 1, SPOOL_DROP_OLD);
        expired++;
    }
    spool_verify(spool);
    return expired;
}

/* ---- the profile that is being sent ---- */

void spool_hold(struct spool *spool, uint64_t id)
{
    spool_end_hold(spool, /* arrived= */ false);
    spool->held_id = id;
}

bool spool_end_hold(struct spool *spool, bool arrived)
{
    bool is_here = find_exact(spool, spool->held_id) != NULL;
    if (spool->stats.held_lost > 0 && !arrived)
        spool->stats.dropped[spool->held_reason]++;
    spool->stats.held_lost = 0;
    spool->held_id = 0;
    return is_here;
}

void spool_on_lost(struct spool *spool, spool_lost *lost, void *ctx)
{
    spool->lost = lost;
    spool->lost_ctx = ctx;
}

const struct spool_stats *spool_get_stats(const struct spool *spool)
{
    return &spool->stats;
}

struct spool *spool_free(struct spool *spool)
{
    if (spool == NULL)
        return NULL;
    spool_abort(spool);
    spool->ops->done(spool);
    free(spool->entries);
    free(spool->kinds);
    free(spool);
    return NULL;
}
