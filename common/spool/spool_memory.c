/* In memory: a ring in one memfd. Its pages count against the container, not against RSS, and past the limit
 * comes SIGKILL, not ENOMEM (seen): so the budget is charged in whole pages, and pages without a live byte are
 * given back at once (fallocate PUNCH_HOLE; all of them when the spool is empty). The file is never longer than
 * the budget, so that the bound holds by construction. One profile: at most the budget less one page. (Where
 * the node forces huge pages on shared memory, which no kernel does by default, 2 MiB are charged at a time.)
 *
 *     0          oldest                     tail        budget
 *     ├── free ───┼── p1 ──┼─ p2 ─┼─ writing ┼── free ─────┤       a profile may wrap around the end
 *
 * Positions grow for ever and are taken modulo the ring's size; entry.place is the position of a profile's
 * first byte. Live bytes are those of the entries and of the writing; a page is charged as long as it has one.
 */
#include "common/base/cleanup.h"
#include "common/spool/spool_store.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct memory {
    struct spool base; /* first: the front frees it */
    int fd;
    uint64_t page;
    uint64_t ring; /* bytes, whole pages: the budget */
};

static struct memory *as_memory(struct spool *spool)
{
    return (struct memory *)spool;
}

static const struct memory *as_const_memory(const struct spool *spool)
{
    return (const struct memory *)spool;
}

static uint64_t entry_end(const struct spool_entry *entry)
{
    return entry->place + entry->size_bytes;
}

/* Where the live bytes before index `at` end; 0 without any. Empty profiles have a place but no bytes. */
static uint64_t live_before(const struct spool *spool, size_t at)
{
    while (at > 0 && spool->entries[at - 1].size_bytes == 0)
        at--;
    return at > 0 ? entry_end(&spool->entries[at - 1]) : 0;
}

/* Where the live bytes from index `at` on begin. */
static uint64_t live_from(const struct spool *spool, size_t at)
{
    while (at < spool->count && spool->entries[at].size_bytes == 0)
        at++;
    if (at < spool->count)
        return spool->entries[at].place;
    return spool->is_writing && spool->writing.size_bytes > 0 ? spool->writing.place : UINT64_MAX;
}

struct pages {
    uint64_t first;
    uint64_t end; /* past the last; first == end: none */
};

/* The pages that hold bytes of [start, end) and no live byte before `before` or from `after` on. */
static struct pages own_pages(const struct memory *memory, uint64_t start, uint64_t end, uint64_t before,
                              uint64_t after)
{
    uint64_t page = memory->page;
    struct pages own = {start / page, (end + page - 1) / page};
    if (start == end)
        return (struct pages){0, 0};
    if (before > own.first * page)
        own.first++;
    if (after < own.end * page)
        own.end--;
    return own.first < own.end ? own : (struct pages){0, 0};
}

/* Should PUNCH_HOLE be refused (a seccomp profile, a sandbox kernel), the pages stay ours until the spool is empty or
 * the ring comes round to them: the budget holds all the same. */
static void punch(const struct memory *memory, struct pages pages)
{
    uint64_t ring_pages = memory->ring / memory->page;
    while (pages.first < pages.end) {
        uint64_t at = pages.first % ring_pages;
        uint64_t count = pages.end - pages.first;
        if (count > ring_pages - at)
            count = ring_pages - at;
        (void)fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(at * memory->page),
                        (off_t)(count * memory->page));
        pages.first += count;
    }
}

/* [place, end) was given up; `at` is where it stood in the index. */
static void give_back(struct memory *memory, const struct spool_entry *gone, size_t at)
{
    struct spool *spool = &memory->base;
    if (spool->count == 0 && !spool->is_writing && ftruncate(memory->fd, 0) == 0) {
        spool->stats.bytes = 0;
        return;
    }
    struct pages own =
        own_pages(memory, gone->place, entry_end(gone), live_before(spool, at), live_from(spool, at));
    punch(memory, own);
    spool->stats.bytes -= (own.end - own.first) * memory->page;
}

static int memory_begin(struct spool *spool, struct err *err)
{
    (void)err;
    spool->writing.place = spool->count > 0 ? entry_end(&spool->entries[spool->count - 1]) : 0;
    return 0;
}

/* The ring may be used up to the page before the one where the oldest begins, once round. */
static int memory_room(const struct spool *spool, size_t len)
{
    const struct memory *memory = as_const_memory(spool);
    const struct spool_entry *writing = &spool->writing;
    uint64_t most = memory->ring - memory->page;
    if (len > most || writing->size_bytes > most - len)
        return -EFBIG;
    uint64_t oldest = spool->count > 0 ? spool->entries[0].place : writing->place;
    uint64_t limit = oldest - oldest % memory->page + memory->ring;
    return entry_end(writing) + len <= limit ? 0 : -ENOBUFS;
}

static int64_t memory_write(struct spool *spool, const void *bytes, size_t len)
{
    struct memory *memory = as_memory(spool);
    struct spool_entry *writing = &spool->writing;
    uint64_t at = entry_end(writing) % memory->ring;
    if (len > memory->ring - at)
        len = (size_t)(memory->ring - at);
    ssize_t n;
    do
        n = pwrite(memory->fd, bytes, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? spool_write_error(errno) : -EIO;
    uint64_t before = live_before(spool, spool->count);
    struct pages old = own_pages(memory, writing->place, entry_end(writing), before, UINT64_MAX);
    writing->size_bytes += (uint64_t)n;
    struct pages now = own_pages(memory, writing->place, entry_end(writing), before, UINT64_MAX);
    spool->stats.bytes += (now.end - now.first - (old.end - old.first)) * memory->page;
    return n;
}

static int memory_commit(struct spool *spool)
{
    (void)spool;
    return 0;
}

static void memory_abort(struct spool *spool)
{
    give_back(as_memory(spool), &spool->writing, spool->count);
}

static void memory_release(struct spool *spool, const struct spool_entry *gone, size_t at)
{
    give_back(as_memory(spool), gone, at);
}

static int64_t memory_read(struct spool *spool, const struct spool_entry *entry, uint64_t offset, void *bytes,
                           size_t len)
{
    struct memory *memory = as_memory(spool);
    size_t done = 0;
    while (done < len) {
        uint64_t at = (entry->place + offset + done) % memory->ring;
        size_t part = len - done < memory->ring - at ? len - done : (size_t)(memory->ring - at);
        ssize_t n = pread(memory->fd, (char *)bytes + done, part, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ESTALE; /* the file ends before the profile does: cannot happen, and must not loop */
        done += (size_t)n;
    }
    return (int64_t)done;
}

/* Live pages counted one profile after the other: in order of position, so a shared page is the last one counted. */
static uint64_t memory_count_bytes(const struct spool *spool)
{
    const struct memory *memory = as_const_memory(spool);
    uint64_t pages = 0, next_page = 0;
    for (size_t i = 0; i <= spool->count; i++) {
        const struct spool_entry *entry = i < spool->count ? &spool->entries[i] : &spool->writing;
        if (i == spool->count && !spool->is_writing)
            break;
        assert(i == 0 || entry->place >= entry_end(&spool->entries[i - 1]));
        if (entry->size_bytes == 0)
            continue;
        uint64_t first = entry->place / memory->page;
        uint64_t end = (entry_end(entry) + memory->page - 1) / memory->page;
        pages += end - (first > next_page ? first : next_page);
        next_page = end;
    }
    assert(pages * memory->page <= memory->ring);
    return pages * memory->page;
}

static void memory_done(struct spool *spool)
{
    struct memory *memory = as_memory(spool);
    if (memory->fd >= 0)
        close(memory->fd);
}

static const struct spool_ops memory_ops = {
    .begin = memory_begin,
    .room = memory_room,
    .write = memory_write,
    .commit = memory_commit,
    .abort = memory_abort,
    .release = memory_release,
    .read = memory_read,
    .count_bytes = memory_count_bytes,
    .done = memory_done,
};

int spool_new_memory(uint64_t budget_bytes, struct spool **ret, struct err *err)
{
    CLEANUP_FREE struct memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return err_errno(err, ENOMEM, "memory spool");
    int rc = spool_setup(&memory->base, &memory_ops, budget_bytes, err);
    if (rc < 0)
        return rc;
    memory->base.label = "memory spool";
    memory->page = (uint64_t)sysconf(_SC_PAGESIZE);
    memory->ring = budget_bytes - budget_bytes % memory->page;
    memory->base.stats.budget_bytes = memory->ring;
    memory->fd = memfd_create("profefe-spool", MFD_CLOEXEC);
    if (memory->fd < 0)
        return err_errno(err, errno, "memory spool: memfd_create");
    struct memory *taken = TAKE_PTR(memory);
    *ret = &taken->base;
    return 0;
}
