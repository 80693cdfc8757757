#include "common/push/profile_dir.h"

#include "common/base/cleanup.h"
#include "common/base/hash.h"
#include "common/base/percent.h"
#include "common/base/quote.h"
#include "common/base/rfc3339.h"
#include "common/base/span.h"
#include "common/os/directory.h"
#include "common/values/profile_types.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

enum {
    DIRECTORY_MODE = 0777, /* less the umask: meant to be read by others */
    FILE_MODE = 0666,
    COMPARE_BYTES = 16 * 1024,
    LEFTOVERS_MAX = 64, /* deleted in one go, so that a begin stays short */
    HASH_CHARS = 9,     /* '~' and eight hexadecimal digits */
    SHARER_WORDS_MAX = 64,
};

#define PARTIAL_PREFIX ".partial-"

struct profile_dir {
    char path[PATH_MAX];
    const char *sharer; /* what to call another one at work there */
    struct profile_dir_names names;
    char partial[sizeof(PARTIAL_PREFIX) + 16];
    int root_fd;
    int type_fd;
    int file_fd;
};

/* ---- names ---- */

/* Appends the escaped text to out, at most max bytes of it; out has room for them and a NUL. */
static void put_part(char *out, const char *text, size_t max)
{
    size_t start = strlen(out), len = 0;
    size_t cut = 0; /* where it ends if it does not fit */
    out += start;
    if (text[0] == '\0')
        out[len++] = '_';
    for (const char *c = text; *c != '\0' && len <= max; c++) {
        char bytes[PERCENT_BYTES_MAX];
        size_t n = percent_write(bytes, *c, percent_is_unreserved(*c) && !(c == text && *c == '.'));
        if (len + n <= max - HASH_CHARS)
            cut = len + n;
        if (len + n <= max)
            memcpy(out + len, bytes, n);
        len += n;
    }
    if (len > max) {
        snprintf(out + cut, HASH_CHARS + 1, "~%08x", (unsigned)hash_text(text, 0));
        len = cut + HASH_CHARS;
    }
    out[len] = '\0';
}

static void put_text(char out[static PROFILE_DIR_NAME_MAX + 1], const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, PROFILE_DIR_NAME_MAX + 1 - used, "%s", text);
}

static void put_type(char out[static PROFILE_DIR_NAME_MAX + 1], const char *type)
{
    const char *name = profile_types_other_name(type);
    put_text(out, name != NULL ? "other-" : "");
    put_part(out, name != NULL ? name : type, PROFILE_DIR_DIRECTORY_MAX);
}

/* "20261128T100952Z-": ':' is no byte for a file's name everywhere. */
static void put_second(char out[static PROFILE_DIR_NAME_MAX + 1], int64_t seconds)
{
    char text[RFC3339_SIZE];
    rfc3339_write(text, seconds < RFC3339_SECONDS_MAX ? seconds : RFC3339_SECONDS_MAX);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c != '-' && *c != ':')
            *out++ = *c;
    }
    memcpy(out, "Z-", sizeof("Z-"));
}

void profile_dir_name(const struct profile_dir_entry *entry, struct profile_dir_names *ret)
{
    *ret = (struct profile_dir_names){.ending = entry->is_trace ? ".trace" : ".pb.gz"};
    put_part(ret->service, entry->service, PROFILE_DIR_DIRECTORY_MAX);
    put_type(ret->type, entry->type);
    put_second(ret->stem, entry->time_ms / 1000);
    put_part(ret->stem, entry->pod, PROFILE_DIR_POD_MAX);
    if (entry->target[0] == '\0')
        return;
    put_text(ret->stem, "-");
    put_part(ret->stem, entry->target, PROFILE_DIR_TARGET_MAX);
}

/* ---- opening ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_all(struct profile_dir *dir)
{
    close_fd(&dir->file_fd);
    close_fd(&dir->type_fd);
    close_fd(&dir->root_fd);
}

void profile_dir_abort(struct profile_dir *dir)
{
    if (dir->file_fd >= 0)
        unlinkat(dir->root_fd, dir->partial, 0);
    close_all(dir);
}

bool profile_dir_is_begun(const struct profile_dir *dir)
{
    return dir->file_fd >= 0;
}

static int lose(struct profile_dir *dir, int code, const char *what, struct err *err)
{
    struct quoted quoted;
    profile_dir_abort(dir);
    return err_errno(err, code, "output directory %s: %s", quote_text(&quoted, dir->path), what);
}

int profile_dir_new(const char *path, const char *sharer, struct profile_dir **ret, struct err *err)
{
    struct quoted quoted;
    size_t len = strlen(path);
    if (len == 0 || len >= PATH_MAX)
        return err_set(err, EINVAL, "output directory %s: expected a path of 1 to %d bytes", quote_text(&quoted, path),
                       PATH_MAX - 1);
    struct profile_dir *dir = calloc(1, sizeof(*dir));
    if (dir == NULL)
        return err_errno(err, ENOMEM, "output directory %s", quote_text(&quoted, path));
    memcpy(dir->path, path, len + 1);
    dir->sharer = sharer;
    dir->root_fd = dir->type_fd = dir->file_fd = -1;
    *ret = dir;
    return 0;
}

struct profile_dir *profile_dir_free(struct profile_dir *dir)
{
    if (dir == NULL)
        return NULL;
    profile_dir_abort(dir);
    free(dir);
    return NULL;
}

/* A directory of ours; never through a symbolic link, which would lead out of DIR. */
static int open_below(int parent_fd, const char *name, int *ret)
{
    if (mkdirat(parent_fd, name, DIRECTORY_MODE) < 0 && errno != EEXIST) {
        struct stat st;
        int code = errno;
        if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return code; /* read-only says so even for what is there */
    }
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    *ret = fd;
    return 0;
}

static int open_directories(struct profile_dir *dir, struct err *err)
{
    CLEANUP_CLOSE int service_fd = -1;
    struct err why = {0};
    if (directory_make(dir->path, DIRECTORY_MODE, &why) < 0)
        return err_set(err, why.code, "output directory: %s", why.text);
    dir->root_fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->root_fd < 0)
        return lose(dir, errno, "cannot open it", err);
    int code = open_below(dir->root_fd, dir->names.service, &service_fd);
    if (code == 0)
        code = open_below(service_fd, dir->names.type, &dir->type_fd);
    return code == 0 ? 0 : lose(dir, code, "cannot open the directory of a service and type", err);
}

/* Who writes a file holds its lock: one that can be had belongs to nobody any more. */
static void delete_leftover(const struct profile_dir *dir, const char *name)
{
    CLEANUP_CLOSE int fd = openat(dir->root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dir->root_fd, name, 0);
}

static void delete_leftovers(const struct profile_dir *dir)
{
    int fd = openat(dir->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        close_fd(&fd);
        return;
    }
    const struct dirent *file;
    for (unsigned found = 0; found < LEFTOVERS_MAX && (file = readdir(stream)) != NULL;) {
        if (!span_has_prefix(span_of(file->d_name), PARTIAL_PREFIX))
            continue;
        delete_leftover(dir, file->d_name);
        found++;
    }
    closedir(stream);
}

static int lose_to_sharer(struct profile_dir *dir, struct err *err)
{
    char what[SHARER_WORDS_MAX];
    snprintf(what, sizeof(what), "another %s is clearing up", dir->sharer);
    return lose(dir, EAGAIN, what, err);
}

/* Where locks do not work nobody can take it for a leftover either. Anybody's sweep in the moment between making and
 * locking it shows by the lock or by the missing name: then the next try makes another. */
static int lock_partial(struct profile_dir *dir, struct err *err)
{
    struct stat st;
    if (flock(dir->file_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lose_to_sharer(dir, err);
    if (fstat(dir->file_fd, &st) < 0)
        return lose(dir, errno, "cannot look at a file", err);
    return st.st_nlink > 0 ? 0 : lose_to_sharer(dir, err);
}

int profile_dir_begin(struct profile_dir *dir, const struct profile_dir_entry *entry, struct err *err)
{
    uint64_t random = 0;
    profile_dir_abort(dir);
    profile_dir_name(entry, &dir->names);
    int rc = open_directories(dir, err);
    if (rc < 0)
        return rc;
    delete_leftovers(dir);
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0) /* early boot; O_EXCL keeps it safe */
        random = (uint64_t)getpid() * 2654435761U + (uint64_t)time(NULL);
    snprintf(dir->partial, sizeof(dir->partial), PARTIAL_PREFIX "%016llx", (unsigned long long)random);
    dir->file_fd = openat(dir->root_fd, dir->partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (dir->file_fd < 0)
        return lose(dir, errno, "cannot make a file", err);
    return lock_partial(dir, err);
}

/* ---- writing ---- */

int profile_dir_write(struct profile_dir *dir, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(dir->file_fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return lose(dir, n < 0 ? errno : EIO, "cannot write", err);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static bool is_same(int a, int b)
{
    static char one[COMPARE_BYTES], other[COMPARE_BYTES];
    for (off_t offset = 0;;) {
        ssize_t n = pread(a, one, sizeof(one), offset), m = pread(b, other, sizeof(other), offset);
        if (n < 0 || n != m || memcmp(one, other, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
        offset += n;
    }
}

/* A file of that name holds what we wrote. */
static bool is_there(const struct profile_dir *dir, const char *name)
{
    struct stat ours, theirs;
    CLEANUP_CLOSE int fd = openat(dir->type_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &theirs) == 0 && S_ISREG(theirs.st_mode) && fstat(dir->file_fd, &ours) == 0 &&
           ours.st_size == theirs.st_size && is_same(dir->file_fd, fd);
}

/* Gives the file its name unless that is taken; 0 or errno. Some file systems (NFS) know no RENAME_NOREPLACE; with a
 * link a death between the two calls leaves a second name, which the next begin deletes. */
static int give_name(struct profile_dir *dir, const char *name)
{
    if (renameat2(dir->root_fd, dir->partial, dir->type_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (linkat(dir->root_fd, dir->partial, dir->type_fd, name, 0) < 0)
        return errno;
    unlinkat(dir->root_fd, dir->partial, 0);
    return 0;
}

/* The first free name: 0; the first that holds the same: 0 and *ret_was_there; or errno. */
static int settle_name(struct profile_dir *dir, bool *ret_was_there)
{
    const struct profile_dir_names *names = &dir->names;
    for (unsigned copy = 1; copy <= PROFILE_DIR_COPIES_MAX; copy++) {
        char name[PROFILE_DIR_NAME_MAX + 16], number[8] = "";
        if (copy > 1)
            snprintf(number, sizeof(number), "-%u", copy);
        snprintf(name, sizeof(name), "%s%s%s", names->stem, number, names->ending);
        int code = give_name(dir, name);
        if (code != EEXIST)
            return code;
        if (is_there(dir, name)) {
            *ret_was_there = true;
            return 0;
        }
    }
    return EEXIST;
}

int profile_dir_commit(struct profile_dir *dir, bool *ret_was_there, struct err *err)
{
    bool was_there = false;
    /* A machine that crashes must not leave an empty file under a good name; EINVAL: this place cannot sync. */
    if (fdatasync(dir->file_fd) < 0 && errno != EINVAL)
        return lose(dir, errno, "cannot write", err);
    int code = settle_name(dir, &was_there);
    if (code != 0)
        return lose(dir, code, "cannot name a file", err);
    if (was_there)
        profile_dir_abort(dir);
    else
        close_all(dir);
    *ret_was_there = was_there;
    return 0;
}
