#include "common/push/outdir.h"

#include "common/base/cleanup.h"
#include "common/os/directory.h"
#include "common/base/hash.h"
#include "common/base/percent.h"
#include "common/base/quote.h"
#include "common/base/rfc3339.h"
#include "common/base/span.h"
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

struct outdir {
    char path[PATH_MAX];
    const char *sharer; /* what to call another one at work there */
    struct outdir_names names;
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

static void put_text(char out[static OUTDIR_NAME_MAX + 1], const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, OUTDIR_NAME_MAX + 1 - used, "%s", text);
}

static void put_type(char out[static OUTDIR_NAME_MAX + 1], const char *type)
{
    const char *name = profile_types_other_name(type);
    put_text(out, name != NULL ? "other-" : "");
    put_part(out, name != NULL ? name : type, OUTDIR_DIRECTORY_MAX);
}

/* "20261128T100952Z-": ':' is no byte for a file's name everywhere. */
static void put_second(char out[static OUTDIR_NAME_MAX + 1], int64_t seconds)
{
    char text[RFC3339_SIZE];
    rfc3339_write(text, seconds < RFC3339_SECONDS_MAX ? seconds : RFC3339_SECONDS_MAX);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c != '-' && *c != ':')
            *out++ = *c;
    }
    memcpy(out, "Z-", sizeof("Z-"));
}

void outdir_name(const struct outdir_entry *entry, struct outdir_names *ret)
{
    *ret = (struct outdir_names){.ending = entry->is_trace ? ".trace" : ".pb.gz"};
    put_part(ret->service, entry->service, OUTDIR_DIRECTORY_MAX);
    put_type(ret->type, entry->type);
    put_second(ret->stem, entry->time_ms / 1000);
    put_part(ret->stem, entry->pod, OUTDIR_POD_MAX);
    if (entry->target[0] == '\0')
        return;
    put_text(ret->stem, "-");
    put_part(ret->stem, entry->target, OUTDIR_TARGET_MAX);
}

/* ---- opening ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_all(struct outdir *outdir)
{
    close_fd(&outdir->file_fd);
    close_fd(&outdir->type_fd);
    close_fd(&outdir->root_fd);
}

void outdir_abort(struct outdir *outdir)
{
    if (outdir->file_fd >= 0)
        unlinkat(outdir->root_fd, outdir->partial, 0);
    close_all(outdir);
}

bool outdir_is_begun(const struct outdir *outdir)
{
    return outdir->file_fd >= 0;
}

static int lose(struct outdir *outdir, int code, const char *what, struct err *err)
{
    struct quoted quoted;
    outdir_abort(outdir);
    return err_errno(err, code, "output directory %s: %s", quote_text(&quoted, outdir->path), what);
}

int outdir_new(const char *path, const char *sharer, struct outdir **ret, struct err *err)
{
    struct quoted quoted;
    size_t len = strlen(path);
    if (len == 0 || len >= PATH_MAX)
        return err_set(err, EINVAL, "output directory %s: expected a path of 1 to %d bytes", quote_text(&quoted, path),
                       PATH_MAX - 1);
    struct outdir *outdir = calloc(1, sizeof(*outdir));
    if (outdir == NULL)
        return err_errno(err, ENOMEM, "output directory %s", quote_text(&quoted, path));
    memcpy(outdir->path, path, len + 1);
    outdir->sharer = sharer;
    outdir->root_fd = outdir->type_fd = outdir->file_fd = -1;
    *ret = outdir;
    return 0;
}

struct outdir *outdir_free(struct outdir *outdir)
{
    if (outdir == NULL)
        return NULL;
    outdir_abort(outdir);
    free(outdir);
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

static int open_directories(struct outdir *outdir, struct err *err)
{
    CLEANUP_CLOSE int service_fd = -1;
    struct err why = {0};
    if (directory_make(outdir->path, DIRECTORY_MODE, &why) < 0)
        return err_set(err, why.code, "output directory: %s", why.text);
    outdir->root_fd = open(outdir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (outdir->root_fd < 0)
        return lose(outdir, errno, "cannot open it", err);
    int code = open_below(outdir->root_fd, outdir->names.service, &service_fd);
    if (code == 0)
        code = open_below(service_fd, outdir->names.type, &outdir->type_fd);
    return code == 0 ? 0 : lose(outdir, code, "cannot open the directory of a service and type", err);
}

/* Who writes a file holds its lock: one that can be had belongs to nobody any more. */
static void delete_leftover(const struct outdir *outdir, const char *name)
{
    CLEANUP_CLOSE int fd = openat(outdir->root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(outdir->root_fd, name, 0);
}

static void delete_leftovers(const struct outdir *outdir)
{
    int fd = openat(outdir->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        close_fd(&fd);
        return;
    }
    const struct dirent *file;
    for (unsigned found = 0; found < LEFTOVERS_MAX && (file = readdir(dir)) != NULL;) {
        if (!span_has_prefix(span_of(file->d_name), PARTIAL_PREFIX))
            continue;
        delete_leftover(outdir, file->d_name);
        found++;
    }
    closedir(dir);
}

static int lose_to_sharer(struct outdir *outdir, struct err *err)
{
    char what[SHARER_WORDS_MAX];
    snprintf(what, sizeof(what), "another %s is clearing up", outdir->sharer);
    return lose(outdir, EAGAIN, what, err);
}

/* Where locks do not work nobody can take it for a leftover either. Anybody's sweep in the moment between making and
 * locking it shows by the lock or by the missing name: then the next try makes another. */
static int lock_partial(struct outdir *outdir, struct err *err)
{
    struct stat st;
    if (flock(outdir->file_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lose_to_sharer(outdir, err);
    if (fstat(outdir->file_fd, &st) < 0)
        return lose(outdir, errno, "cannot look at a file", err);
    return st.st_nlink > 0 ? 0 : lose_to_sharer(outdir, err);
}

int outdir_begin(struct outdir *outdir, const struct outdir_entry *entry, struct err *err)
{
    uint64_t random = 0;
    outdir_abort(outdir);
    outdir_name(entry, &outdir->names);
    int rc = open_directories(outdir, err);
    if (rc < 0)
        return rc;
    delete_leftovers(outdir);
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0) /* early boot; O_EXCL keeps it safe */
        random = (uint64_t)getpid() * 2654435761U + (uint64_t)time(NULL);
    snprintf(outdir->partial, sizeof(outdir->partial), PARTIAL_PREFIX "%016llx", (unsigned long long)random);
    outdir->file_fd = openat(outdir->root_fd, outdir->partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (outdir->file_fd < 0)
        return lose(outdir, errno, "cannot make a file", err);
    return lock_partial(outdir, err);
}

/* ---- writing ---- */

int outdir_write(struct outdir *outdir, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(outdir->file_fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return lose(outdir, n < 0 ? errno : EIO, "cannot write", err);
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
static bool is_there(const struct outdir *outdir, const char *name)
{
    struct stat ours, theirs;
    CLEANUP_CLOSE int fd = openat(outdir->type_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &theirs) == 0 && S_ISREG(theirs.st_mode) && fstat(outdir->file_fd, &ours) == 0 &&
           ours.st_size == theirs.st_size && is_same(outdir->file_fd, fd);
}

/* Gives the file its name unless that is taken; 0 or errno. Some file systems (NFS) know no RENAME_NOREPLACE; with a link
 * a death between the two calls leaves a second name, which the next begin deletes. */
static int give_name(struct outdir *outdir, const char *name)
{
    if (renameat2(outdir->root_fd, outdir->partial, outdir->type_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (linkat(outdir->root_fd, outdir->partial, outdir->type_fd, name, 0) < 0)
        return errno;
    unlinkat(outdir->root_fd, outdir->partial, 0);
    return 0;
}

/* The first free name: 0; the first that holds the same: 0 and *ret_was_there; or errno. */
static int settle_name(struct outdir *outdir, bool *ret_was_there)
{
    const struct outdir_names *names = &outdir->names;
    for (unsigned copy = 1; copy <= OUTDIR_COPIES_MAX; copy++) {
        char name[OUTDIR_NAME_MAX + 16], number[8] = "";
        if (copy > 1)
            snprintf(number, sizeof(number), "-%u", copy);
        snprintf(name, sizeof(name), "%s%s%s", names->stem, number, names->ending);
        int code = give_name(outdir, name);
        if (code != EEXIST)
            return code;
        if (is_there(outdir, name)) {
            *ret_was_there = true;
            return 0;
        }
    }
    return EEXIST;
}

int outdir_commit(struct outdir *outdir, bool *ret_was_there, struct err *err)
{
    bool was_there = false;
    /* A machine that crashes must not leave an empty file under a good name; EINVAL: this place cannot sync. */
    if (fdatasync(outdir->file_fd) < 0 && errno != EINVAL)
        return lose(outdir, errno, "cannot write", err);
    int code = settle_name(outdir, &was_there);
    if (code != 0)
        return lose(outdir, code, "cannot name a file", err);
    if (was_there)
        outdir_abort(outdir);
    else
        close_all(outdir);
    *ret_was_there = was_there;
    return 0;
}
