/* sees: spool */
#include "spool_bench.h"

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- calls that fail ---- */

struct bench_fault {
    unsigned calls; /* which ones count; 0: none */
    enum bench_action action;
    long countdown; /* calls that still pass */
    int error;
    bool was_hit;
    bool is_short; /* ACT_SHORT: the next one fails */
};

static struct bench_fault bench_fault;
int64_t bench_extra_blocks;

void fault_arm(unsigned calls, enum bench_action action, long passes, int error)
{
    bench_fault = (struct bench_fault){calls, action, passes, error, false, false};
}

bool fault_disarm(void)
{
    bool was_hit = bench_fault.was_hit;
    bench_fault = (struct bench_fault){0};
    return was_hit;
}

/* True: this call is the one. */
static bool fault_meets(unsigned call)
{
    struct bench_fault *fault = &bench_fault;
    if ((fault->calls & call) == 0 || fault->countdown-- > 0)
        return false;
    if (fault->was_hit && fault->action != ACT_BREAK)
        return false;
    fault->was_hit = true;
    if (fault->action == ACT_KILL_BEFORE)
        kill(getpid(), SIGKILL);
    return fault->action == ACT_FAIL || fault->action == ACT_BREAK || fault->action == ACT_KILL_AFTER;
}

/* Runs the call, or fails in its place; `result` is its type. close() closes even where it fails. */
#define FAULT_CALL(call, failed, expression)                                                                   \
    __extension__({                                                                                            \
        bool meets_ = fault_meets(call);                                                                       \
        bool fails_ = meets_ && bench_fault.action != ACT_KILL_AFTER;                                          \
        __typeof__(expression) result_ = fails_ && (call) != CALL_CLOSE ? (failed) : (expression);             \
        if (meets_ && !fails_)                                                                                 \
            kill(getpid(), SIGKILL);                                                                           \
        if (fails_) {                                                                                          \
            result_ = (failed);                                                                                \
            errno = bench_fault.error;                                                                         \
        }                                                                                                      \
        result_;                                                                                               \
    })

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return FAULT_CALL(CALL_CALLOC, NULL, __real_calloc(count, size));
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    return FAULT_CALL(CALL_REALLOC, NULL, __real_realloc(old, size));
}

ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    struct bench_fault *fault = &bench_fault;
    if (fault->is_short) {
        fault->is_short = false;
        errno = fault->error;
        return -1;
    }
    if (fault->action == ACT_SHORT && (fault->calls & CALL_PWRITE) != 0 && !fault->was_hit) {
        fault_meets(CALL_PWRITE);
        fault->is_short = fault->was_hit;
        return __real_pwrite(fd, bytes, fault->was_hit && len > 1 ? len / 2 : len, at);
    }
    return FAULT_CALL(CALL_PWRITE, -1, __real_pwrite(fd, bytes, len, at));
}

ssize_t __real_pread(int fd, void *bytes, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t at)
{
    return FAULT_CALL(CALL_PREAD, -1, __real_pread(fd, bytes, len, at));
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return FAULT_CALL(CALL_OPENAT, -1, __real_openat(dir, path, flags, mode));
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return FAULT_CALL(CALL_RENAMEAT, -1, __real_renameat(from_dir, from, to_dir, to));
}

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags)
{
    return FAULT_CALL(CALL_UNLINKAT, -1, __real_unlinkat(dir, path, flags));
}

int __real_fstatat(int dir, const char *path, struct stat *st, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return FAULT_CALL(CALL_FSTATAT, -1, __real_fstatat(dir, path, st, flags));
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    return FAULT_CALL(CALL_CLOSE, -1, __real_close(fd));
}

int __real_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
    return FAULT_CALL(CALL_FALLOCATE, -1, __real_fallocate(fd, mode, at, len));
}

/* Here, too, one wrap looks like the other: that it stands twice is the linker's way of naming them. */
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len)
{
    return FAULT_CALL(CALL_FTRUNCATE, -1, __real_ftruncate(fd, len));
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags)
{
    return FAULT_CALL(CALL_MEMFD, -1, __real_memfd_create(name, flags));
}

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
    return FAULT_CALL(CALL_FLOCK, -1, __real_flock(fd, operation));
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    return FAULT_CALL(CALL_MKDIR, -1, __real_mkdir(path, mode));
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
    int rc = FAULT_CALL(CALL_FSTAT, -1, __real_fstat(fd, st));
    if (rc == 0)
        st->st_blocks += bench_extra_blocks;
    return rc;
}

struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
    return FAULT_CALL(CALL_READDIR, NULL, __real_readdir(dir));
}

/* ---- random numbers and content ---- */

uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit)
{
    *state += 0x9E3779B97F4A7C15U;
    return mix(*state) % limit;
}

void content_fill(uint64_t seed, uint64_t offset, unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(((offset + i + seed * 0x9E3779B97F4A7C15U) * 0xBF58476D1CE4E5B9U) >> 56);
}

int64_t content_differs(struct spool *spool, uint64_t id, uint64_t seed, uint64_t size)
{
    unsigned char got[7001], want[7001]; /* not a divisor of a page */
    uint64_t at = 0;
    for (;;) {
        int64_t n = spool_read(spool, id, at, got, sizeof(got));
        if (n <= 0)
            return n == 0 && at == size ? -1 : (int64_t)at;
        content_fill(seed, at, want, (size_t)n);
        for (size_t i = 0; i < (size_t)n; i++) {
            if (got[i] != want[i] || at + i >= size)
                return (int64_t)(at + i);
        }
        at += (uint64_t)n;
    }
}

struct spool_meta meta_of(const char *type, const char *target, int64_t time_ms)
{
    struct spool_meta meta = {.time_ms = time_ms};
    snprintf(meta.type, sizeof(meta.type), "%s", type);
    snprintf(meta.target, sizeof(meta.target), "%s", target);
    return meta;
}

int put_bytes(struct spool *spool, uint64_t seed, uint64_t offset, uint64_t len, struct err *err)
{
    unsigned char piece[5000];
    for (uint64_t end = offset + len; offset < end;) {
        size_t n = end - offset < sizeof(piece) ? (size_t)(end - offset) : sizeof(piece);
        content_fill(seed, offset, piece, n);
        int rc = spool_write(spool, piece, n, err);
        if (rc < 0)
            return rc;
        offset += n;
    }
    return 0;
}

int put_profile(struct spool *spool, uint64_t seed, uint64_t size, uint64_t *ret_id, struct err *err)
{
    struct spool_meta meta = meta_of("heap", "api", (int64_t)seed);
    int rc = spool_begin(spool, &meta, err);
    if (rc == 0)
        rc = put_bytes(spool, seed, 0, size, err);
    return rc == 0 ? spool_commit(spool, 0, ret_id, err) : rc;
}

uint64_t must_put(struct spool *spool, uint64_t seed, uint64_t size)
{
    struct err err = {0};
    uint64_t id = 0;
    if (put_profile(spool, seed, size, &id, &err) < 0)
        fail_msg("profile %llu of %llu bytes was not stored: %s", (unsigned long long)seed,
                 (unsigned long long)size, err.text);
    return id;
}

uint64_t sum_dropped(const struct spool *spool)
{
    uint64_t sum = 0;
    for (int i = 0; i < SPOOL_DROP_COUNT; i++)
        sum += spool_get_stats(spool)->dropped[i];
    return sum;
}

unsigned check_all_whole(struct spool *spool)
{
    struct spool_item item = {0};
    unsigned count = 0;
    while (spool_next(spool, item.id, &item) == 0) {
        int64_t differs = content_differs(spool, item.id, (uint64_t)item.meta.time_ms, item.size_bytes);
        if (differs >= 0)
            fail_msg("profile %llu of %llu bytes is wrong from byte %lld on", (unsigned long long)item.id,
                     (unsigned long long)item.size_bytes, (long long)differs);
        count++;
    }
    assert_int_equal(count, spool_get_stats(spool)->items);
    return count;
}

/* ---- a place on disk ---- */

void bench_dir_make(struct bench_dir *dir)
{
    snprintf(dir->root, sizeof(dir->root), "/tmp/profefe-spool-XXXXXX");
    assert_non_null(mkdtemp(dir->root));
    snprintf(dir->spool, sizeof(dir->spool), "%s/spool", dir->root);
}

void bench_delete(const char *path)
{
    assert_int_equal(unit_delete(path), 0);
}

void bench_each_file(const char *dir, void (*visit)(const char *name, const struct stat *st, void *sum),
                     void *sum)
{
    DIR *files = opendir(dir);
    assert_non_null(files);
    const struct dirent *file;
    while ((file = readdir(files)) != NULL) {
        struct stat st;
        if (strcmp(file->d_name, "lock") == 0 || fstatat(dirfd(files), file->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            visit(file->d_name, &st, sum);
    }
    closedir(files);
}

static void bench_add_blocks(const char *name, const struct stat *st, void *sum)
{
    (void)name;
    *(uint64_t *)sum += (uint64_t)st->st_blocks * 512;
}

uint64_t bench_blocks(const char *dir)
{
    uint64_t sum = 0;
    bench_each_file(dir, bench_add_blocks, &sum);
    return sum;
}
