/* On disk: one file a profile in a directory of our own, SEQ-TIME-TYPE-TARGET-SIZE (decimal; TIME in ms of
 * Unix time; TYPE and TARGET with every byte but letters, digits, '.', '_' and '~' as %XX). It is written as
 * "writing.tmp" and renamed when it is whole, so that death at any instruction leaves no half profile under a
 * name. The next start reads them in the order of SEQ; what is not as long as its name says (the machine
 * crashed) is deleted and counted. Files with other names are left alone. Blocks are charged
 * (st_blocks * 512), not sizes: 1000 profiles of 0.6 KB take 4 MB (seen); the directory itself (about 100 KB)
 * is not. "lock" is held by flock as long as the spool is open and never deleted: one program a directory. One
 * profile: at most spool_profile_max(). No fsync: a killed agent needs none, a crashed
 * machine is found at start. A full disk (short write, ENOSPC, EDQUOT) evicts the oldest like a full budget
 * does; a directory that vanishes is made again at the next begin; a profile that cannot be deleted
 * (read-only) stays charged and is deleted when that works again, or is sent once more after a restart.
 *
 * entry.place is what is charged for a file. A name is made from the index entry again whenever it is needed, so that
 * none has to be kept.
 */
#include "common/base/cleanup.h"
#include "common/base/number.h"
#include "common/base/percent.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/os/directory.h"
#include "common/spool/spool_store.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 4096,      /* what one more byte may cost, before the file system says what it did */
    STAT_BLOCK = 512,  /* unit of st_blocks (inode(7)) */
    DIRECTORY_MODE = 0700, /* profiles show the names of functions: for the agent's own uid */
    FILE_MODE = 0600,
};

#define WRITING_NAME "writing.tmp"
#define LOCK_NAME "lock"

/* A SEQ over 10^15 (30,000 years of one a millisecond) or a SIZE over 10^15 is none of ours. So SEQ keeps room to grow,
 * and nothing that is added up here can overflow. */
static const uint64_t NUMBER_MAX = 1000000000000000U;

struct place {
    int dir_fd;
    int lock_fd;
    dev_t lock_dev; /* the lock file as it was opened: another one in its place means another directory */
    ino_t lock_ino;
};

struct disk {
    struct spool base; /* first: the front frees it */
    char *path;
    char *label;
    const char *holder; /* what to call another one */
    struct place place;
    int write_fd; /* WRITING_NAME; -1 also between close and rename */
    bool has_temporary;
    uint64_t temporary_bytes; /* charged for it */
    int read_fd;              /* of read_id, kept because a push reads many times */
    uint64_t read_id;
    uint64_t leftover_bytes; /* charged for files that could not be deleted */
};

static struct disk *as_disk(struct spool *spool)
{
    return (struct disk *)spool;
}

static const struct disk *as_const_disk(const struct spool *spool)
{
    return (const struct disk *)spool;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Never under the size: some file systems allocate later (ZFS shows one block until it syncs). */
static uint64_t charge_of(const struct stat *st)
{
    uint64_t blocks = (uint64_t)st->st_blocks * STAT_BLOCK, size = (uint64_t)st->st_size;
    return blocks > size ? blocks : size;
}

/* ---- names ---- */

struct name {
    char text[NAME_MAX + 1];
    size_t len;
};

/* Text that does not fit makes len NAME_MAX + 1: said once, by name_entry. */
static void name_add(struct name *name, const char *text, size_t len)
{
    if (len > NAME_MAX - name->len || name->len > NAME_MAX) {
        name->len = NAME_MAX + 1;
        return;
    }
    memcpy(name->text + name->len, text, len);
    name->len += len;
}

static void name_add_number(struct name *name, int digits, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%0*llu", digits, (unsigned long long)number);
    name_add(name, text, (size_t)len);
}

static void name_add_escaped(struct name *name, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        char bytes[PERCENT_BYTES_MAX];
        name_add(name, bytes, percent_write(bytes, *c, percent_is_unreserved(*c) && *c != '-'));
    }
}

/* SEQ-TIME-TYPE-TARGET-SIZE. SEQ has leading zeros only so that `ls` shows the order. */
static int name_entry(struct name *name, const struct spool_entry *entry, const char *type, const char *target)
{
    name->len = 0;
    name_add_number(name, 10, entry->id);
    name_add(name, "-", 1);
    name_add_number(name, 1, (uint64_t)entry->time_ms);
    name_add(name, "-", 1);
    name_add_escaped(name, type);
    name_add(name, "-", 1);
    name_add_escaped(name, target);
    name_add(name, "-", 1);
    name_add_number(name, 1, entry->size_bytes);
    if (name->len > NAME_MAX)
        return -ENAMETOOLONG;
    name->text[name->len] = '\0';
    return 0;
}

static int name_of(const struct disk *disk, struct name *name, const struct spool_entry *entry)
{
    const struct spool_kind *kind = &disk->base.kinds[entry->kind];
    return name_entry(name, entry, kind->type, kind->target);
}

static struct span next_field(const char **rest)
{
    const char *dash = strchrnul(*rest, '-');
    struct span field = {*rest, (size_t)(dash - *rest)};
    *rest = *dash == '-' ? dash + 1 : dash;
    return field;
}

/* One of our names, exactly as name_entry writes it; anything else in the directory is not ours to judge. */
static bool parse_name(const char *text, struct spool_entry *entry, struct spool_meta *meta)
{
    const char *rest = text;
    uint64_t time_ms = 0;
    *entry = (struct spool_entry){0};
    struct span seq = next_field(&rest), time = next_field(&rest), type = next_field(&rest);
    struct span target = next_field(&rest), size = next_field(&rest);
    if (number_parse_u64(seq, 1, NUMBER_MAX, &entry->id, NULL) < 0 ||
        number_parse_u64(time, 0, INT64_MAX, &time_ms, NULL) < 0 ||
        number_parse_u64(size, 0, NUMBER_MAX, &entry->size_bytes, NULL) < 0)
        return false;
    if (!percent_decode(type, meta->type, sizeof(meta->type)) || meta->type[0] == '\0' ||
        !percent_decode(target, meta->target, sizeof(meta->target)))
        return false;
    entry->time_ms = meta->time_ms = (int64_t)time_ms;
    struct name again;
    return name_entry(&again, entry, meta->type, meta->target) == 0 && strcmp(again.text, text) == 0;
}

/* ---- the directory ---- */

/* The lock is taken on a file that is never deleted: were it, two could each hold "the" lock. */
static int lock_place(struct place *place, const char *holder, struct err *err)
{
    place->lock_fd = openat(place->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (place->lock_fd < 0)
        return err_errno(err, errno, "cannot open its file \"" LOCK_NAME "\"");
    struct stat st;
    int rc = flock(place->lock_fd, LOCK_EX | LOCK_NB);
    if (rc < 0 && errno == EWOULDBLOCK)
        return err_set(err, EAGAIN, "another %s holds its file \"" LOCK_NAME "\"; each %s needs its own directory",
                       holder, holder);
    if (rc < 0 || fstat(place->lock_fd, &st) < 0)
        return err_errno(err, errno, "cannot lock its file \"" LOCK_NAME "\"");
    place->lock_dev = st.st_dev;
    place->lock_ino = st.st_ino;
    return 0;
}

static void close_place(struct place *place)
{
    close_fd(&place->dir_fd);
    close_fd(&place->lock_fd);
}

static int open_place(const char *path, const char *holder, struct place *ret, struct err *err)
{
    struct place place = {.dir_fd = -1, .lock_fd = -1};
    int rc = directory_make(path, DIRECTORY_MODE, err);
    if (rc < 0)
        return rc;
    place.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place.dir_fd < 0)
        return err_errno(err, errno, "cannot open it");
    rc = lock_place(&place, holder, err);
    if (rc < 0) {
        close_place(&place);
        return rc;
    }
    *ret = place;
    return 0;
}

/* Deletes; what is gone already is fine. */
static int delete_name(const struct disk *disk, const char *name)
{
    if (unlinkat(disk->place.dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return -errno;
}

/* Calls visit for each regular file that bears one of our names; a visit that fails ends it. */
static int each_profile(struct disk *disk,
                        int (*visit)(struct disk *disk, const char *name, const struct stat *st,
                                     const struct spool_entry *entry, const struct spool_meta *meta))
{
    int fd = openat(disk->place.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int code = errno;
        close_fd(&fd);
        return -code;
    }
    int rc = 0;
    const struct dirent *file;
    for (errno = 0; rc == 0 && (file = readdir(dir)) != NULL; errno = 0) {
        struct spool_entry entry;
        struct spool_meta meta;
        struct stat st;
        if (!parse_name(file->d_name, &entry, &meta) ||
            fstatat(disk->place.dir_fd, file->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        rc = visit(disk, file->d_name, &st, &entry, &meta);
    }
    if (rc == 0 && errno != 0)
        rc = -errno;
    closedir(dir);
    return rc;
}

static void charge_leftover(struct disk *disk, uint64_t bytes)
{
    disk->leftover_bytes += bytes;
    disk->base.stats.bytes += bytes;
}

static void reject(struct disk *disk, const char *name, const struct stat *st, enum spool_drop reason)
{
    disk->base.stats.taken++;
    disk->base.stats.dropped[reason]++;
    if (delete_name(disk, name) < 0)
        charge_leftover(disk, charge_of(st));
}

/* A file as long as its name says is whole: it was renamed after its last byte. Anything else is what a
 * crashed machine left. */
static int load_profile(struct disk *disk, const char *name, const struct stat *st,
                        const struct spool_entry *found, const struct spool_meta *meta)
{
    struct spool_entry entry = *found;
    if ((uint64_t)st->st_size != entry.size_bytes) {
        reject(disk, name, st, SPOOL_DROP_ERROR);
        return 0;
    }
    entry.place = charge_of(st);
    int rc = spool_adopt(&disk->base, &entry, meta);
    if (rc == 0)
        disk->base.stats.bytes += entry.place;
    if (rc == -EEXIST || rc == -ENOBUFS)
        reject(disk, name, st, rc == -EEXIST ? SPOOL_DROP_ERROR : SPOOL_DROP_EVICTED);
    return rc == -ENOMEM ? rc : 0;
}

/* Files that bear our names but are not in the index: an earlier deletion failed. */
static int sweep_profile(struct disk *disk, const char *name, const struct stat *st,
                         const struct spool_entry *entry, const struct spool_meta *meta)
{
    (void)meta;
    size_t at = spool_find(&disk->base, entry->id);
    if (at < disk->base.count && disk->base.entries[at].id == entry->id)
        return 0;
    if (delete_name(disk, name) < 0)
        charge_leftover(disk, charge_of(st));
    return 0;
}

static void sweep(struct disk *disk)
{
    uint64_t before = disk->leftover_bytes;
    disk->base.stats.bytes -= before;
    disk->leftover_bytes = 0;
    if (each_profile(disk, sweep_profile) < 0 && disk->leftover_bytes < before)
        charge_leftover(disk, before - disk->leftover_bytes);
}

static bool is_there(const struct disk *disk, const struct spool_entry *entry)
{
    struct name name;
    struct stat st;
    return name_of(disk, &name, entry) == 0 &&
           fstatat(disk->place.dir_fd, name.text, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == entry->size_bytes;
}

/* The directory, or all that was in it, was deleted by somebody: start anew, and count what went with it. */
static int reopen_place(struct disk *disk, struct err *err)
{
    struct place fresh;
    int rc = open_place(disk->path, disk->holder, &fresh, err);
    if (rc < 0)
        return err_wrap(err, rc, "%s", disk->label);
    close_fd(&disk->read_fd);
    close_place(&disk->place);
    disk->place = fresh;
    disk->base.stats.recreated++;
    for (size_t at = disk->base.count; at > 0; at--) {
        if (!is_there(disk, &disk->base.entries[at - 1]))
            spool_drop(&disk->base, at - 1, SPOOL_DROP_ERROR);
    }
    sweep(disk);
    return 0;
}

/* A failure that does not say "gone" is left to the next call to tell: opening anew would meet our own lock. */
static bool is_place_intact(const struct disk *disk)
{
    struct stat st;
    if (fstatat(disk->place.dir_fd, LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno != ENOENT && errno != ESTALE;
    return st.st_dev == disk->place.lock_dev && st.st_ino == disk->place.lock_ino;
}

/* ---- writing ---- */

static void charge_temporary(struct disk *disk, uint64_t bytes)
{
    disk->base.stats.bytes += bytes - disk->temporary_bytes; /* modulo 2^64, as unsigned numbers do */
    disk->temporary_bytes = bytes;
}

static int disk_begin(struct spool *spool, struct err *err)
{
    struct disk *disk = as_disk(spool);
    struct spool_entry longest = spool->writing;
    struct name name;
    longest.id = longest.size_bytes = 10 * NUMBER_MAX;
    longest.time_ms = INT64_MAX;
    if (name_of(disk, &name, &longest) < 0)
        return err_set(err, ENAMETOOLONG, "%s: type and target make a file name over %d bytes", disk->label, NAME_MAX);
    int rc = is_place_intact(disk) ? 0 : reopen_place(disk, err);
    if (rc < 0)
        return rc;
    if (disk->leftover_bytes > 0)
        sweep(disk);
    disk->write_fd = openat(disk->place.dir_fd, WRITING_NAME,
                            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (disk->write_fd < 0)
        return err_errno(err, -spool_write_error(errno), "%s: cannot make a file", disk->label);
    disk->has_temporary = true;
    return 0;
}

static int disk_room(const struct spool *spool, size_t len)
{
    const struct disk *disk = as_const_disk(spool);
    uint64_t budget = spool->stats.budget_bytes, written = spool->writing.size_bytes;
    uint64_t most = spool_profile_max(budget);
    if (len > most || written > most - len)
        return -EFBIG;
    uint64_t expected = (written + len + BLOCK - 1) / BLOCK * BLOCK;
    if (expected < disk->temporary_bytes)
        expected = disk->temporary_bytes;
    return spool->stats.bytes - disk->temporary_bytes + expected <= budget ? 0 : -ENOBUFS;
}

static int64_t disk_write(struct spool *spool, const void *bytes, size_t len)
{
    struct disk *disk = as_disk(spool);
    ssize_t n;
    do
        n = pwrite(disk->write_fd, bytes, len, (off_t)spool->writing.size_bytes);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? spool_write_error(errno) : -EIO;
    spool->writing.size_bytes += (uint64_t)n;
    struct stat st;
    if (fstat(disk->write_fd, &st) == 0)
        charge_temporary(disk, charge_of(&st));
    return n;
}

/* Called again after -ENOSPC from renameat: then the file is closed already. close() may be the first to tell of a
 * full disk (NFS, quotas); what it lost does not come back, so that is -EIO. */
static int disk_commit(struct spool *spool)
{
    struct disk *disk = as_disk(spool);
    struct name name;
    struct stat st;
    int fd = TAKE_FD(disk->write_fd);
    if (fd >= 0 && close(fd) < 0 && errno != EINTR)
        return -EIO;
    if (fstatat(disk->place.dir_fd, WRITING_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if ((uint64_t)st.st_size != spool->writing.size_bytes)
        return -EIO;
    int rc = name_of(disk, &name, &spool->writing);
    if (rc < 0)
        return rc;
    if (renameat(disk->place.dir_fd, WRITING_NAME, disk->place.dir_fd, name.text) < 0)
        return spool_write_error(errno);
    charge_temporary(disk, 0);
    disk->has_temporary = false;
    spool->writing.place = charge_of(&st);
    spool->stats.bytes += spool->writing.place;
    return 0;
}

/* A temporary file that cannot be deleted is cut to nothing by the next begin. */
static void disk_abort(struct spool *spool)
{
    struct disk *disk = as_disk(spool);
    close_fd(&disk->write_fd);
    if (disk->has_temporary)
        (void)delete_name(disk, WRITING_NAME);
    disk->has_temporary = false;
    charge_temporary(disk, 0);
}

static void disk_release(struct spool *spool, const struct spool_entry *gone, size_t at)
{
    (void)at;
    struct disk *disk = as_disk(spool);
    struct name name;
    if (disk->read_fd >= 0 && disk->read_id == gone->id)
        close_fd(&disk->read_fd); /* space comes back only when the descriptor is closed too */
    spool->stats.bytes -= gone->place;
    if (name_of(disk, &name, gone) < 0 || delete_name(disk, name.text) < 0)
        charge_leftover(disk, gone->place);
}

/* ---- reading ---- */

static int open_for_read(struct disk *disk, const struct spool_entry *entry)
{
    struct name name;
    if (disk->read_fd >= 0 && disk->read_id == entry->id)
        return 0;
    close_fd(&disk->read_fd);
    if (name_of(disk, &name, entry) < 0)
        return -ESTALE;
    disk->read_fd = openat(disk->place.dir_fd, name.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (disk->read_fd < 0)
        return errno == ENOENT || errno == EIO ? -ESTALE : -errno;
    disk->read_id = entry->id;
    return 0;
}

static int64_t disk_read(struct spool *spool, const struct spool_entry *entry, uint64_t offset, void *bytes,
                         size_t len)
{
    struct disk *disk = as_disk(spool);
    int rc = open_for_read(disk, entry);
    if (rc < 0)
        return rc;
    ssize_t n;
    do
        n = pread(disk->read_fd, bytes, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == EIO))
        return -ESTALE; /* cut by somebody, or a bad sector: it would block the queue for ever */
    return n > 0 ? n : -errno;
}

static uint64_t disk_count_bytes(const struct spool *spool)
{
    const struct disk *disk = as_const_disk(spool);
    uint64_t bytes = disk->leftover_bytes + disk->temporary_bytes;
    assert(spool->is_writing || (disk->write_fd < 0 && disk->temporary_bytes == 0 && !disk->has_temporary));
    for (size_t i = 0; i < spool->count; i++)
        bytes += spool->entries[i].place;
    return bytes;
}

static void disk_done(struct spool *spool)
{
    struct disk *disk = as_disk(spool);
    close_fd(&disk->write_fd);
    close_fd(&disk->read_fd);
    close_place(&disk->place);
    free(disk->path);
    free(disk->label);
}

static const struct spool_ops disk_ops = {
    .begin = disk_begin,
    .room = disk_room,
    .write = disk_write,
    .commit = disk_commit,
    .abort = disk_abort,
    .release = disk_release,
    .read = disk_read,
    .count_bytes = disk_count_bytes,
    .done = disk_done,
};

/* ---- start ---- */

static int set_path(struct disk *disk, const char *dir, struct err *err)
{
    struct quoted quoted;
    size_t len = strlen(dir);
    if (len == 0 || len >= PATH_MAX)
        return err_set(err, EINVAL, "spool directory %s: expected a path of 1 to %d bytes", quote_text(&quoted, dir),
                       PATH_MAX - 1);
    static const char prefix[] = "spool directory ";
    quote_text(&quoted, dir);
    size_t label_size = sizeof(prefix) + strlen(quoted.text);
    disk->path = calloc(1, len + 1);
    disk->label = calloc(1, label_size);
    if (disk->path == NULL || disk->label == NULL)
        return err_errno(err, ENOMEM, "spool directory %s", quoted.text);
    memcpy(disk->path, dir, len);
    snprintf(disk->label, label_size, "%s%s", prefix, quoted.text);
    disk->base.label = disk->label;
    return 0;
}

/* What an earlier agent left: its unfinished file goes, the rest comes in, the oldest out if the budget shrank. */
static int load(struct disk *disk, struct err *err)
{
    struct spool *spool = &disk->base;
    int rc = delete_name(disk, WRITING_NAME);
    if (rc < 0)
        return err_errno(err, -rc, "cannot delete its file \"" WRITING_NAME "\"");
    rc = each_profile(disk, load_profile);
    if (rc < 0)
        return err_errno(err, -rc, "cannot read it");
    while (spool->count > 0 && spool->stats.bytes > spool->stats.budget_bytes)
        spool_drop(spool, 0, SPOOL_DROP_EVICTED);
    return 0;
}

int spool_new_disk(const char *dir, uint64_t budget_bytes, const char *holder, struct spool **ret, struct err *err)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL)
        return err_errno(err, ENOMEM, "spool directory");
    int rc = spool_setup(&disk->base, &disk_ops, budget_bytes, err);
    if (rc < 0) {
        free(disk);
        return rc;
    }
    disk->holder = holder;
    disk->place = (struct place){.dir_fd = -1, .lock_fd = -1};
    disk->write_fd = disk->read_fd = -1;
    rc = set_path(disk, dir, err);
    if (rc == 0) {
        rc = open_place(disk->path, holder, &disk->place, err);
        if (rc == 0)
            rc = load(disk, err);
        if (rc < 0)
            err_wrap(err, rc, "%s", disk->label);
    }
    if (rc < 0) {
        spool_free(&disk->base);
        return rc;
    }
    *ret = &disk->base;
    return 0;
}
