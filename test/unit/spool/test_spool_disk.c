/* wrap: calloc realloc pwrite pread openat renameat unlinkat fstatat close fallocate ftruncate memfd_create */
/* wrap: flock mkdir fstat readdir */
/* The spool in a directory: names, restarts, the lock, death at any instruction, disks that are full, read-only or
 * gone. What both stores keep: test_spool.c. */
#include "spool_bench.h"

#include <limits.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum {
    KB = 1024,
    BUDGET = 1024 * KB,
    OTHER_UID = 65534, /* "nobody" */
};

struct bench {
    struct bench_dir dir;
    struct spool *spool;
    bool is_mounted; /* a file system of its own is on dir.spool */
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    bench_dir_make(&bench->dir);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fault_disarm();
    bench_extra_blocks = 0;
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    bench->spool = spool_free(bench->spool);
    if (bench->is_mounted)
        assert_int_equal(umount2(bench->dir.spool, MNT_DETACH), 0);
    bench_delete(bench->dir.root);
    free(bench);
    return 0;
}

static struct spool *must_open(struct bench *bench, uint64_t budget)
{
    struct err err = {0};
    if (spool_new_disk(bench->dir.spool, budget, "agent", &bench->spool, &err) < 0)
        fail_msg("%s", err.text);
    return bench->spool;
}

static struct spool *reopen(struct bench *bench, uint64_t budget)
{
    bench->spool = spool_free(bench->spool);
    return must_open(bench, budget);
}

static void file_path(const struct bench *bench, const char *name, char path[static PATH_MAX])
{
    int len = snprintf(path, PATH_MAX, "%s/%s", bench->dir.spool, name);
    assert_true(len > 0 && len < PATH_MAX);
}

/* A file of `size` bytes of the profile with that seed. */
static void make_file(const struct bench *bench, const char *name, uint64_t seed, uint64_t size)
{
    char path[PATH_MAX];
    unsigned char bytes[20000];
    assert_true(size <= sizeof(bytes));
    file_path(bench, name, path);
    content_fill(seed, 0, bytes, (size_t)size);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, (size_t)size, file), size);
    assert_int_equal(fclose(file), 0);
}

static bool has_file(const struct bench *bench, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    file_path(bench, name, path);
    return lstat(path, &st) == 0;
}

static void delete_file(const struct bench *bench, const char *name)
{
    char path[PATH_MAX];
    file_path(bench, name, path);
    assert_int_equal(unlink(path), 0);
}

static void count_file(const char *name, const struct stat *st, void *sum)
{
    (void)name;
    (void)st;
    ++*(unsigned *)sum;
}

static unsigned count_files(const struct bench *bench)
{
    unsigned count = 0;
    bench_each_file(bench->dir.spool, count_file, &count);
    return count;
}

static uint64_t dropped(const struct bench *bench, enum spool_drop reason)
{
    return spool_get_stats(bench->spool)->dropped[reason];
}

/* A child that does not outlive a test that fails. */
static pid_t fork_child(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

/* ---- names and restarts ---- */

static void disk_names_files_as_documented(void **state)
{
    static const struct {
        const char *type, *target, *name;
        int64_t time_ms;
        unsigned size;
    } rows[] = {
        {"cpu", "", "0000000001-1700000000123-cpu--5", 1700000000123, 5},
        {"other/wall", "my-app", "0000000002-0-other%2Fwall-my%2Dapp-0", 0, 0},
        {"a_b.c~d", "../../etc", "0000000003-1-a_b.c~d-..%2F..%2Fetc-4096", 1, 4096},
        {"100%", "\n\x01\xFF \xC3\xBC", "0000000004-9223372036854775807-100%25-%0A%01%FF%20%C3%BC-1", INT64_MAX, 1},
    };
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    for (unsigned i = 0; i < ROWS; i++) {
        struct spool_meta meta = meta_of(rows[i].type, rows[i].target, rows[i].time_ms);
        assert_int_equal(spool_begin(bench->spool, &meta, NULL), 0);
        assert_int_equal(put_bytes(bench->spool, i, 0, rows[i].size, NULL), 0);
        assert_true(has_file(bench, "writing.tmp"));
        assert_int_equal(spool_commit(bench->spool, 0, NULL, NULL), 0);
        if (!has_file(bench, rows[i].name))
            fail_msg("no file %s", rows[i].name);
        assert_int_equal(count_files(bench), i + 1);
    }
    reopen(bench, BUDGET);
    struct spool_item item = {0};
    for (unsigned i = 0; i < ROWS; i++) {
        assert_int_equal(spool_next(bench->spool, item.id, &item), 0);
        assert_int_equal(item.id, i + 1);
        assert_string_equal(item.meta.type, rows[i].type);
        assert_string_equal(item.meta.target, rows[i].target);
        assert_int_equal(item.meta.time_ms, rows[i].time_ms);
        assert_int_equal(content_differs(bench->spool, item.id, i, rows[i].size), -1);
    }
    assert_int_equal(sum_dropped(bench->spool), 0);
}

static void disk_refuses_a_name_too_long_and_counts_it(void **state)
{
    struct bench *bench = *state;
    struct spool_meta meta = {.time_ms = 1};
    struct err err = {0};
    must_open(bench, BUDGET);
    memset(meta.type, '/', SPOOL_TYPE_MAX);
    memset(meta.target, '-', SPOOL_TARGET_MAX);
    assert_int_equal(spool_begin(bench->spool, &meta, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.text, "file name over 255 bytes"));
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    memset(meta.type, 'x', SPOOL_TYPE_MAX);
    memset(meta.target, 'y', SPOOL_TARGET_MAX);
    assert_int_equal(spool_begin(bench->spool, &meta, &err), 0);
    assert_int_equal(spool_commit(bench->spool, 0, NULL, &err), 0);
}

/* What is not exactly one of our names is left alone, also what comes close. */
static void disk_leaves_foreign_files_alone(void **state)
{
    static const char *const names[] = {
        "README",
        "0000000001-1-cpu-",
        "0000000001-1-cpu--5-",
        "0000000001-1-cpu--5-6",
        "1-1-cpu--5",                       /* SEQ without its zeros */
        "00000000001-1-cpu--5",             /* one zero too many */
        "0000000000-1-cpu--5",              /* SEQ starts at 1 */
        "0000000001-01-cpu--5",
        "0000000001--1-cpu--5",
        "0000000001-1---5",                 /* no type */
        "0000000001-1-c%70u--5",            /* escaped without need */
        "0000000001-1-cpu-%2f-5",           /* lower case */
        "0000000001-1-cpu-%00-5",
        "0000000001-1-cpu-%4-5",
        "0000000001-1-cpu-%-5",
        "0000000001-1-cpu-a b-5",
        "0000000001-1-cpu--0x5",
        "0000000001-1-cpu--5.tmp",
        "0000000001-9223372036854775808-cpu--5",
        "0000000001-1-cpu--1000000000000001",
        "1000000000000001-1-cpu--5",
        "99999999999999999999999-1-cpu--5",
        "0000000001-1-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx--5",
    };
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    struct bench *bench = *state;
    char path[PATH_MAX];
    must_open(bench, BUDGET);
    for (unsigned i = 0; i < NAMES; i++)
        make_file(bench, names[i], i, 5);
    file_path(bench, "0000000007-1-cpu--4096", path);
    assert_int_equal(mkdir(path, 0700), 0);
    file_path(bench, "0000000008-1-cpu--5", path);
    assert_int_equal(symlink("README", path), 0);
    reopen(bench, BUDGET);
    assert_int_equal(spool_get_stats(bench->spool)->items, 0);
    assert_int_equal(sum_dropped(bench->spool), 0);
    must_put(bench->spool, 1, 100);
    assert_int_equal(count_files(bench), NAMES + 1);
}

static void disk_restart_keeps_order_and_drops_what_is_torn(void **state)
{
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    /* The clock stepped back: SEQ gives the order. Made in another order than that of the names. */
    make_file(bench, "0000000012-100-heap-api-600", 100, 600);
    make_file(bench, "0000000002-900-heap-api-5000", 900, 5000);
    make_file(bench, "0000000007-500-heap-api-0", 500, 0);
    make_file(bench, "0000000009-1-heap-api-700", 1, 699);
    make_file(bench, "0000000010-2-heap-api-700", 2, 701);
    make_file(bench, "0000000011-3-heap-api-700", 3, 0);
    make_file(bench, "0000000012-101-heap-api-600", 101, 600); /* the same SEQ twice: either one is dropped */
    make_file(bench, "writing.tmp", 4, 3000);
    struct spool *spool = reopen(bench, BUDGET);
    assert_false(has_file(bench, "writing.tmp"));
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 4);
    assert_int_equal(check_all_whole(spool), 3);
    assert_int_equal(count_files(bench), 3);
    struct spool_item item = {0};
    static const uint64_t order[] = {2, 7, 12};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(spool_next(spool, item.id, &item), 0);
        assert_int_equal(item.id, order[i]);
    }
    assert_int_equal(must_put(spool, 200, 10), 13);
    reopen(bench, BUDGET);
    assert_int_equal(sum_dropped(bench->spool), 0);
    assert_int_equal(check_all_whole(bench->spool), 4);
}

static void disk_restart_with_less_budget_evicts_the_oldest(void **state)
{
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    for (uint64_t i = 1; i <= 8; i++)
        must_put(bench->spool, i, 100 * KB);
    reopen(bench, SPOOL_BUDGET_MIN);
    assert_int_equal(check_all_whole(bench->spool), 2);
    assert_int_equal(dropped(bench, SPOOL_DROP_EVICTED), 6);
    assert_true(bench_blocks(bench->dir.spool) <= SPOOL_BUDGET_MIN);
    struct spool_item item;
    assert_int_equal(spool_next(bench->spool, 0, &item), 0);
    assert_int_equal(item.id, 7);
}

static void disk_restart_keeps_the_newest_of_too_many(void **state)
{
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    for (unsigned i = 1; i <= SPOOL_ITEMS_MIN + 60; i++) {
        char name[64];
        unsigned seq = i * 7919 % (SPOOL_ITEMS_MIN + 60) + 1; /* each once, shuffled */
        snprintf(name, sizeof(name), "%010u-%u-heap-api-10", seq, seq);
        make_file(bench, name, seq, 10);
    }
    reopen(bench, SPOOL_BUDGET_DEFAULT);
    assert_int_equal(check_all_whole(bench->spool), SPOOL_ITEMS_MIN);
    assert_int_equal(dropped(bench, SPOOL_DROP_EVICTED), 60);
    assert_int_equal(count_files(bench), SPOOL_ITEMS_MIN);
    struct spool_item item;
    assert_int_equal(spool_next(bench->spool, 0, &item), 0);
    assert_int_equal(item.id, 61);
}

/* Small profiles cost a block each: the budget holds for blocks. */
static void disk_charges_blocks_the_temporary_included(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, SPOOL_BUDGET_MIN);
    for (uint64_t i = 1; i <= 200; i++) {
        struct spool_meta meta = meta_of("heap", "api", (int64_t)i);
        assert_int_equal(spool_begin(spool, &meta, NULL), 0);
        assert_int_equal(put_bytes(spool, i, 0, 600, NULL), 0);
        assert_true(bench_blocks(bench->dir.spool) <= SPOOL_BUDGET_MIN);
        assert_true(bench_blocks(bench->dir.spool) <= spool_get_stats(spool)->bytes);
        assert_int_equal(spool_commit(spool, 0, NULL, NULL), 0);
    }
    assert_true(spool_get_stats(spool)->items <= SPOOL_BUDGET_MIN / 600);
    assert_true(check_all_whole(spool) > 30);
}

/* XFS takes blocks ahead: what is charged then is more than the bytes, and the oldest goes for that too. */
static void disk_evicts_for_preallocated_blocks(void **state)
{
    struct bench *bench = *state;
    struct spool_meta meta = meta_of("heap", "api", 9);
    struct spool *spool = must_open(bench, SPOOL_BUDGET_MIN);
    must_put(spool, 1, 100 * KB);
    must_put(spool, 2, 100 * KB);
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    bench_extra_blocks = 64 * KB / 512;
    assert_int_equal(put_bytes(spool, 9, 0, 4 * KB, NULL), 0);
    assert_int_equal(dropped(bench, SPOOL_DROP_EVICTED), 1);
    assert_int_equal(spool_get_stats(spool)->bytes, (100 + 64 + 4) * KB);
    bench_extra_blocks = 0;
    assert_int_equal(spool_commit(spool, 0, NULL, NULL), 0);
    assert_int_equal(spool_get_stats(spool)->bytes, (100 + 4) * KB);
    assert_int_equal(check_all_whole(spool), 2);
}

/* ---- one agent a directory ---- */

static void disk_refuses_a_second_agent(void **state)
{
    struct bench *bench = *state;
    struct spool *second = NULL;
    struct err err = {0};
    must_open(bench, BUDGET);
    must_put(bench->spool, 1, 100);
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &second, &err), -EAGAIN);
    assert_null(second);
    assert_non_null(strstr(err.text, bench->dir.spool));
    assert_non_null(strstr(err.text, "another agent holds its file \"lock\"; each agent needs its own directory"));
    assert_int_equal(check_all_whole(bench->spool), 1); /* and it touched nothing */
    bench->spool = spool_free(bench->spool);
    assert_true(has_file(bench, "lock"));
    assert_int_equal(check_all_whole(must_open(bench, BUDGET)), 1);
}

static void disk_is_free_again_after_the_holder_was_killed(void **state)
{
    struct bench *bench = *state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t holder = fork_child();
    if (holder == 0) {
        if (spool_new_disk(bench->dir.spool, BUDGET, "agent", &bench->spool, NULL) == 0 && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &bench->spool, NULL), -EAGAIN);
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    must_open(bench, BUDGET);
}

/* Descriptors on files of the spool; each must be closed on exec. */
static unsigned spool_descriptors(const struct bench *bench)
{
    unsigned open = 0;
    for (int fd = 3; fd < 256; fd++) {
        char link[32], target[PATH_MAX];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strstr(target, bench->dir.spool) == NULL)
            continue;
        open++;
        if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
            fail_msg("%s would be inherited", target);
    }
    return open;
}

static void disk_holds_at_most_four_descriptors(void **state)
{
    struct bench *bench = *state;
    struct spool_meta meta = meta_of("cpu", "", 1);
    char byte;
    must_open(bench, BUDGET);
    uint64_t ids[3] = {must_put(bench->spool, 1, 100), must_put(bench->spool, 2, 100), must_put(bench->spool, 3, 100)};
    assert_int_equal(spool_descriptors(bench), 2); /* directory, lock */
    for (int round = 0; round < 6; round++)
        assert_int_equal(spool_read(bench->spool, ids[round % 3], 0, &byte, 1), 1);
    assert_int_equal(spool_begin(bench->spool, &meta, NULL), 0);
    assert_int_equal(spool_descriptors(bench), 4); /* and reading, writing */
    assert_int_equal(spool_remove(bench->spool, ids[2]), 0); /* the one being read: or its room would not come back */
    assert_int_equal(spool_descriptors(bench), 3);
    assert_int_equal(spool_read(bench->spool, ids[0], 0, &byte, 1), 1);
    bench->spool = spool_free(bench->spool);
    assert_int_equal(spool_descriptors(bench), 0);
    assert_false(has_file(bench, "writing.tmp"));
}

/* ---- a directory that others change ---- */

static void disk_makes_missing_directories(void **state)
{
    struct bench *bench = *state;
    struct err err = {0};
    struct stat st;
    char deep[200], file[200];
    snprintf(deep, sizeof(deep), "%s/a//b/c/", bench->dir.root);
    assert_int_equal(spool_new_disk(deep, BUDGET, "agent", &bench->spool, &err), 0);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    bench->spool = spool_free(bench->spool);

    snprintf(file, sizeof(file), "%s/file", bench->dir.root);
    fclose(fopen(file, "we"));
    assert_int_equal(spool_new_disk(file, BUDGET, "agent", &bench->spool, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "Not a directory"));
    snprintf(deep, sizeof(deep), "%s/file/deeper", bench->dir.root);
    assert_int_equal(spool_new_disk(deep, BUDGET, "agent", &bench->spool, &err), -ENOTDIR);
    assert_int_equal(spool_new_disk("", BUDGET, "agent", &bench->spool, &err), -EINVAL);
    assert_null(bench->spool);
}

static void disk_recreates_a_deleted_directory(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    unsigned char byte;
    uint64_t id = must_put(spool, 1, 3000);
    must_put(spool, 2, 3000);
    assert_int_equal(spool_read(spool, id, 0, &byte, 1), 1);
    bench_delete(bench->dir.spool);
    must_put(spool, 3, 3000);
    assert_int_equal(spool_get_stats(spool)->recreated, 1);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 2);
    assert_int_equal(check_all_whole(spool), 1);
    assert_int_equal(bench_blocks(bench->dir.spool), spool_get_stats(spool)->bytes);
    struct spool *second = NULL;
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &second, NULL), -EAGAIN); /* locked anew */
    assert_int_equal(check_all_whole(reopen(bench, BUDGET)), 1);
}

static void disk_counts_the_profile_whose_directory_goes_while_it_is_written(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    struct spool_meta meta = meta_of("cpu", "", 1);
    struct err err = {0};
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    assert_int_equal(put_bytes(spool, 1, 0, 3000, NULL), 0);
    bench_delete(bench->dir.spool);
    assert_int_equal(put_bytes(spool, 1, 3000, 3000, NULL), 0);
    assert_int_equal(spool_commit(spool, 0, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "profile \"cpu\" lost after 6000 bytes: No such file or directory"));
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    must_put(spool, 2, 100);
    assert_int_equal(check_all_whole(spool), 1);
}

static void disk_keeps_its_profiles_when_only_the_lock_file_goes(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    must_put(spool, 1, 3000);
    delete_file(bench, "lock");
    must_put(spool, 2, 3000);
    assert_int_equal(spool_get_stats(spool)->recreated, 1);
    assert_int_equal(check_all_whole(spool), 2);
    assert_int_equal(sum_dropped(spool), 0);
    struct spool *second = NULL;
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &second, NULL), -EAGAIN);
}

/* Another agent came first after the deletion: shed and say, until it is gone. */
static void disk_waits_while_another_agent_has_the_new_directory(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET), *other = NULL;
    struct err err = {0};
    must_put(spool, 1, 100);
    bench_delete(bench->dir.spool);
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &other, NULL), 0);
    must_put(other, 50, 100);
    assert_int_equal(put_profile(spool, 2, 100, NULL, &err), -EAGAIN);
    assert_non_null(strstr(err.text, "another agent holds"));
    assert_int_equal(check_all_whole(other), 1);
    spool_free(other);
    must_put(spool, 3, 100);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 2);
    assert_int_equal(check_all_whole(spool), 1);
}

static void disk_says_and_recovers_when_a_file_stands_in_its_place(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    struct err err = {0};
    must_put(spool, 1, 100);
    bench_delete(bench->dir.spool);
    fclose(fopen(bench->dir.spool, "we"));
    assert_int_equal(put_profile(spool, 2, 100, NULL, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, bench->dir.spool));
    assert_int_equal(unlink(bench->dir.spool), 0);
    must_put(spool, 3, 100);
    assert_int_equal(check_all_whole(spool), 1);
}

static void disk_counts_once_what_vanished_or_was_cut(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    unsigned char bytes[300];
    char path[PATH_MAX];
    uint64_t gone = must_put(spool, 1, 300), cut = must_put(spool, 2, 300), kept = must_put(spool, 3, 300);
    delete_file(bench, "0000000001-1-heap-api-300");
    assert_int_equal(spool_read(spool, gone, 0, bytes, 300), -ESTALE);
    assert_int_equal(spool_read(spool, gone, 0, bytes, 300), -ESTALE);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    file_path(bench, "0000000002-2-heap-api-300", path);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(spool_read(spool, cut, 0, bytes, 300), 100);
    assert_int_equal(spool_read(spool, cut, 100, bytes, 200), -ESTALE);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 2);
    assert_false(has_file(bench, "0000000002-2-heap-api-300"));
    assert_int_equal(content_differs(spool, kept, 3, 300), -1);
    delete_file(bench, "0000000003-3-heap-api-300");
    assert_int_equal(spool_remove(spool, kept), 0); /* sent already, from the descriptor */
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 2);
    assert_int_equal(spool_get_stats(spool)->bytes, 0);
}

static void disk_does_not_store_what_was_cut_while_written(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    struct spool_meta meta = meta_of("cpu", "", 1);
    char path[PATH_MAX];
    file_path(bench, "writing.tmp", path);
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    assert_int_equal(put_bytes(spool, 1, 0, 3000, NULL), 0);
    assert_int_equal(truncate(path, 2999), 0);
    assert_int_equal(spool_commit(spool, 0, NULL, NULL), -EIO);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    assert_int_equal(count_files(bench), 0);
    must_put(spool, 2, 100);
}

/* Only "not there" means that the directory is gone; opening it anew would meet our own lock. */
static void disk_goes_on_when_the_look_at_its_lock_fails(void **state)
{
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    fault_arm(CALL_FSTATAT, ACT_FAIL, 0, EIO);
    must_put(bench->spool, 1, 100);
    assert_true(fault_disarm());
    assert_int_equal(spool_get_stats(bench->spool)->recreated, 0);
}

/* A file that was sent but cannot be deleted stays charged, and goes when that works again. */
static void disk_charges_and_sweeps_what_it_could_not_delete(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    uint64_t id = must_put(spool, 1, 5000);
    must_put(spool, 2, 100);
    uint64_t before = spool_get_stats(spool)->bytes;
    fault_arm(CALL_UNLINKAT, ACT_BREAK, 0, EROFS);
    assert_int_equal(spool_remove(spool, id), 0);
    assert_int_equal(spool_get_stats(spool)->bytes, before);
    assert_int_equal(check_all_whole(spool), 1);
    must_put(spool, 3, 100); /* the sweep fails too */
    assert_int_equal(count_files(bench), 3);
    assert_int_equal(spool_get_stats(spool)->bytes, bench_blocks(bench->dir.spool));
    assert_true(fault_disarm());
    must_put(spool, 4, 100);
    assert_int_equal(count_files(bench), 3);
    assert_int_equal(spool_get_stats(spool)->bytes, bench_blocks(bench->dir.spool));
    assert_int_equal(check_all_whole(spool), 3);
    assert_int_equal(sum_dropped(spool), 0);
}

/* The directory's rights change under way: what is there can be read and sent, nothing new comes in. As root the
 * test takes another uid for it, since rights do not bind root. */
static void disk_not_writable_is_shed_counted_and_recovers(void **state)
{
    struct bench *bench = *state;
    struct err err = {0};
    if (getuid() == 0) {
        assert_int_equal(chown(bench->dir.root, OTHER_UID, OTHER_UID), 0);
        assert_int_equal(seteuid(OTHER_UID), 0);
    }
    struct spool *spool = must_open(bench, BUDGET);
    uint64_t first = must_put(spool, 1, 5000);
    must_put(spool, 2, 5000);
    assert_int_equal(chmod(bench->dir.spool, 0500), 0);
    assert_int_equal(put_profile(spool, 3, 5000, NULL, &err), -EACCES);
    assert_non_null(strstr(err.text, "cannot make a file: Permission denied"));
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    assert_int_equal(check_all_whole(spool), 2);
    uint64_t before = spool_get_stats(spool)->bytes;
    assert_int_equal(spool_remove(spool, first), 0); /* sent; the file stays for now, and is charged */
    assert_int_equal(spool_get_stats(spool)->bytes, before);
    assert_int_equal(count_files(bench), 2);
    assert_int_equal(chmod(bench->dir.spool, 0700), 0);
    must_put(spool, 4, 5000);
    assert_int_equal(check_all_whole(spool), 2);
    assert_int_equal(count_files(bench), 2);
    assert_int_equal(spool_get_stats(spool)->bytes, bench_blocks(bench->dir.spool));
}

/* ---- each call fails, once and for ever ---- */

static unsigned run_scenario(struct spool *spool, unsigned *ret_removed)
{
    unsigned begun = 0, removed = 0;
    for (uint64_t i = 1; i <= 12; i++) {
        begun++;
        (void)put_profile(spool, i, i % 5 == 0 ? 90 * KB : i * 700, NULL, NULL);
        struct spool_item item;
        unsigned char byte;
        if (spool_next(spool, 0, &item) == 0)
            (void)spool_read(spool, item.id, 0, &byte, 1);
        if (i % 3 == 0 && spool_next(spool, 0, &item) == 0)
            removed += spool_remove(spool, item.id) == 0 ? 1 : 0;
    }
    *ret_removed = removed;
    return begun;
}

static void check_recovered(struct bench *bench, unsigned begun, unsigned removed)
{
    struct spool *spool = bench->spool;
    uint64_t waiting = spool_get_stats(spool)->items, lost = sum_dropped(spool);
    if (waiting + removed + lost != begun)
        fail_msg("%llu waiting + %u removed + %llu dropped: expected %u begun", (unsigned long long)waiting, removed,
                 (unsigned long long)lost, begun);
    must_put(spool, 99, 100); /* also sweeps */
    waiting = check_all_whole(spool);
    assert_int_equal(count_files(bench), waiting);
    assert_int_equal(bench_blocks(bench->dir.spool), spool_get_stats(spool)->bytes);
    assert_int_equal(check_all_whole(reopen(bench, SPOOL_BUDGET_MIN)), waiting);
    assert_int_equal(sum_dropped(bench->spool), 0);
    spool_expire(bench->spool, INT64_MAX);
}

static void disk_survives_each_failed_call(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EROFS, EACCES, EMFILE};
    static const enum bench_action actions[] = {ACT_FAIL, ACT_BREAK};
    struct bench *bench = *state;
    unsigned runs = 0;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        for (size_t a = 0; a < sizeof(actions) / sizeof(actions[0]); a++) {
            bool was_hit = true;
            /* Each call for the first error, then samples that grow farther apart. */
            for (long n = 0; was_hit; n += e == 0 ? 1 : 1 + n / 8, runs++) {
                unsigned removed = 0;
                must_open(bench, SPOOL_BUDGET_MIN);
                fault_arm(CALL_FILES, actions[a], n, errors[e]);
                unsigned begun = run_scenario(bench->spool, &removed);
                was_hit = fault_disarm();
                check_recovered(bench, begun, removed);
                bench->spool = spool_free(bench->spool);
                assert_true(n < 1000);
            }
        }
    }
    print_message("%u runs\n", runs);
    assert_true(runs > 300);
}

static void disk_says_why_it_cannot_start(void **state)
{
    struct bench *bench = *state;
    must_open(bench, BUDGET);
    must_put(bench->spool, 1, 100);
    must_put(bench->spool, 2, 100);
    bench->spool = spool_free(bench->spool);
    bool was_hit = true;
    unsigned refused = 0;
    struct err err = {0};
    fault_arm(CALL_READDIR, ACT_FAIL, 1, EIO); /* half a list is no list */
    assert_int_equal(spool_new_disk(bench->dir.spool, BUDGET, "agent", &bench->spool, &err), -EIO);
    assert_non_null(strstr(err.text, "cannot read it: "));
    assert_non_null(strstr(err.text, strerror(EIO)));
    for (long n = 0; was_hit; n++) {
        err = (struct err){0};
        fault_arm(CALL_FILES | CALL_MEMORY, ACT_FAIL, n, n % 2 == 0 ? EROFS : ENOMEM);
        int rc = spool_new_disk(bench->dir.spool, BUDGET, "agent", &bench->spool, &err);
        was_hit = fault_disarm();
        if (rc < 0) {
            refused++;
            assert_null(bench->spool);
            assert_non_null(strstr(err.text, "spool directory"));
        }
        bench->spool = spool_free(bench->spool);
    }
    assert_true(refused >= 6);
    assert_int_equal(check_all_whole(must_open(bench, BUDGET)), 2);
}

/* ---- death ---- */

/* What the child did, told after a commit and before a removal; it may die before it tells or before it does. */
struct report {
    uint64_t what; /* 'c' committed, 'r' about to remove */
    uint64_t seed;
};

static void tell(int fd, char what, uint64_t seed)
{
    struct report report = {.what = (uint64_t)what, .seed = seed};
    if (write(fd, &report, sizeof(report)) != sizeof(report))
        _exit(3);
}

/* The writer's life: profiles of 0 to 30 KB for ever or `rounds`, one in three also removes the oldest. */
static _Noreturn void child_write(const struct bench *bench, uint64_t first_seed, unsigned rounds, int reports)
{
    struct spool *spool = NULL;
    uint64_t random = first_seed;
    if (spool_new_disk(bench->dir.spool, BUDGET, "agent", &spool, NULL) < 0)
        _exit(2);
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        struct spool_item item;
        if (put_profile(spool, seed, random_below(&random, 30 * KB), NULL, NULL) < 0)
            _exit(2);
        tell(reports, 'c', seed);
        if (random_below(&random, 3) == 0 && spool_next(spool, 0, &item) == 0) {
            tell(reports, 'r', (uint64_t)item.meta.time_ms);
            spool_remove(spool, item.id);
        }
    }
    spool_free(spool);
    _exit(0);
}

enum { LEDGER_MAX = 1 << 20 }; /* a life tells at most 4096 times: then its pipe is full (pipe(7)) */

/* Seeds of profiles, over all lives. */
struct ledger {
    bool is_committed[LEDGER_MAX];
    bool is_removed[LEDGER_MAX];
    uint64_t committed;
    uint64_t end; /* no seed from here on was begun */
};

static void ledger_read(struct ledger *ledger, int reports)
{
    struct report report;
    ssize_t n;
    while ((n = read(reports, &report, sizeof(report))) == sizeof(report)) {
        assert_true(report.seed < LEDGER_MAX);
        if (report.what == 'c')
            ledger->is_committed[report.seed] = true;
        else
            ledger->is_removed[report.seed] = true;
        ledger->committed += report.what == 'c';
        if (report.seed >= ledger->end)
            ledger->end = report.seed + 1;
    }
    assert_int_equal(n, 0);
}

/* Opens what the dead left: all whole, in order, nothing committed missing but what the budget evicted (the oldest). */
static unsigned check_after_death(struct bench *bench, struct ledger *ledger)
{
    struct spool *spool = must_open(bench, BUDGET);
    struct spool_item item = {0};
    uint64_t last = 0;
    bool is_first = true;
    assert_int_equal(sum_dropped(spool), 0); /* nothing torn was visible */
    unsigned count = check_all_whole(spool);
    assert_int_equal(count_files(bench), count);
    while (spool_next(spool, item.id, &item) == 0) {
        uint64_t seed = (uint64_t)item.meta.time_ms;
        assert_true(seed > last && seed <= ledger->end);
        for (uint64_t s = last + 1; s < seed && !is_first; s++) {
            if (ledger->is_committed[s] && !ledger->is_removed[s])
                fail_msg("profile %llu was committed and is gone", (unsigned long long)s);
        }
        last = seed;
        is_first = false;
    }
    for (uint64_t s = last + 1; s < ledger->end; s++) {
        if (ledger->is_committed[s] && !ledger->is_removed[s])
            fail_msg("profile %llu was committed last and is gone", (unsigned long long)s);
    }
    ledger->end = (last > ledger->end ? last : ledger->end) + 2;
    bench->spool = spool_free(spool);
    return count;
}

static void sleep_us(uint64_t us)
{
    struct timespec time = {.tv_nsec = (long)(us * 1000)};
    nanosleep(&time, NULL);
}

static void disk_survives_kill_at_random_moments(void **state)
{
    enum { KILLS = 200, LIFE_US = 40000, TIME_MAX_S = 15, COMMITTED_MIN = 50 };
    static struct ledger ledger;
    struct bench *bench = *state;
    uint64_t random = (uint64_t)getpid();
    unsigned most = 0;
    time_t start = time(NULL);
    ledger = (struct ledger){.end = 1};
    for (unsigned i = 0; i < KILLS; i++) {
        int reports[2];
        assert_int_equal(pipe(reports), 0);
        pid_t child = fork_child();
        if (child == 0)
            child_write(bench, ledger.end, UINT32_MAX, reports[1]);
        close(reports[1]);
        sleep_us(random_below(&random, LIFE_US));
        assert_int_equal(kill(child, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status))
            fail_msg("the writer ended by itself with status %d", WEXITSTATUS(status));
        ledger_read(&ledger, reports[0]);
        close(reports[0]);
        unsigned count = check_after_death(bench, &ledger);
        most = count > most ? count : most;
        if (time(NULL) - start > TIME_MAX_S && ledger.committed > COMMITTED_MIN) {
            print_message("slow machine: %u kills instead of %d\n", i + 1, KILLS);
            break;
        }
    }
    print_message("%llu profiles committed, at most %u waiting\n", (unsigned long long)ledger.committed, most);
    assert_true(ledger.committed > COMMITTED_MIN && most > 3);
}

/* The same just before and just after each system call that changes the directory, one by one. */
static void disk_survives_kill_at_each_call(void **state)
{
    enum { ROUNDS = 10 };
    static const enum bench_action actions[] = {ACT_KILL_BEFORE, ACT_KILL_AFTER};
    static struct ledger ledger;
    struct bench *bench = *state;
    unsigned kills = 0;
    for (size_t a = 0; a < 2; a++) {
        ledger = (struct ledger){.end = 1};
        for (long n = 0;; n++) {
            int reports[2], status = 0;
            assert_int_equal(pipe(reports), 0);
            pid_t child = fork_child();
            if (child == 0) {
                fault_arm(CALL_PWRITE | CALL_OPENAT | CALL_RENAMEAT | CALL_UNLINKAT | CALL_CLOSE | CALL_MKDIR,
                          actions[a], n, 0);
                child_write(bench, ledger.end, ROUNDS, reports[1]);
            }
            close(reports[1]);
            assert_int_equal(waitpid(child, &status, 0), child);
            ledger_read(&ledger, reports[0]);
            close(reports[0]);
            check_after_death(bench, &ledger);
            if (!WIFSIGNALED(status))
                break;
            kills++;
        }
        bench_delete(bench->dir.spool);
    }
    assert_true(kills > 60);
}

/* ---- a disk of our own ---- */

/* Mounts a tmpfs of 256 KiB on the spool directory, in a mount namespace of this process. False: not allowed here. */
static bool mount_small_disk(struct bench *bench)
{
    static bool is_alone;
    if (!is_alone && (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0)) {
        print_message("SKIPPED: a full and a read-only disk need root and a mount namespace: %s\n", strerror(errno));
        return false;
    }
    is_alone = true;
    assert_int_equal(mkdir(bench->dir.spool, 0700), 0);
    if (mount("tmpfs", bench->dir.spool, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k") < 0) {
        print_message("SKIPPED: cannot mount a tmpfs: %s\n", strerror(errno));
        return false;
    }
    bench->is_mounted = true;
    return true;
}

/* Where tests are judged, a skip is a failure. */
static void skip_loudly(void)
{
    const char *ci = getenv("CI");
    if (ci != NULL && strcmp(ci, "true") == 0)
        fail_msg("skipped under CI=true");
    skip();
}

/* The budget is larger than the disk: the disk is then the budget. */
static void disk_full_evicts_the_oldest_and_goes_on(void **state)
{
    struct bench *bench = *state;
    if (!mount_small_disk(bench))
        skip_loudly();
    struct spool *spool = must_open(bench, BUDGET);
    for (uint64_t i = 1; i <= 100; i++)
        must_put(spool, i, 17 * KB + i * 10);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 0);
    assert_true(dropped(bench, SPOOL_DROP_EVICTED) >= 80);
    assert_true(check_all_whole(spool) >= 10);

    /* One larger than the disk is counted, and what it took comes back. */
    struct err err = {0};
    assert_int_equal(put_profile(spool, 200, 300 * KB, NULL, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    must_put(spool, 201, 100 * KB);
    assert_true(check_all_whole(spool) >= 1);
}

/* Others filled it: what waits is not thrown away for nothing; room given back is used at once. */
static void disk_filled_by_others_is_shed_counted_and_recovers(void **state)
{
    struct bench *bench = *state;
    if (!mount_small_disk(bench))
        skip_loudly();
    struct spool *spool = must_open(bench, BUDGET);
    static char block[4096];
    char path[PATH_MAX];
    file_path(bench, "foreign", path);
    FILE *foreign = fopen(path, "we");
    assert_non_null(foreign);
    setbuf(foreign, NULL);
    while (fwrite(block, 1, sizeof(block), foreign) == sizeof(block)) {}
    fclose(foreign);
    struct err err = {0};
    assert_int_equal(put_profile(spool, 1, 5000, NULL, &err), -ENOSPC);
    assert_int_equal(dropped(bench, SPOOL_DROP_ERROR), 1);
    assert_int_equal(truncate(path, 200 * KB), 0);
    must_put(spool, 2, 5000);
    must_put(spool, 3, 50 * KB); /* only in place of the other */
    assert_int_equal(check_all_whole(spool), 1);
    assert_int_equal(unlink(path), 0);
    must_put(spool, 4, 50 * KB);
    assert_int_equal(check_all_whole(spool), 2);
}

static void disk_read_only_is_refused_in_words_and_loses_nothing(void **state)
{
    struct bench *bench = *state;
    if (!mount_small_disk(bench))
        skip_loudly();
    const char *dir = bench->dir.spool;
    struct err err = {0};
    must_put(must_open(bench, BUDGET), 1, 5000);
    bench->spool = spool_free(bench->spool);
    assert_int_equal(mount("none", dir, "", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    assert_int_equal(spool_new_disk(dir, BUDGET, "agent", &bench->spool, &err), -EROFS);
    assert_non_null(strstr(err.text, dir));
    assert_non_null(strstr(err.text, "Read-only file system"));
    assert_int_equal(mount("none", dir, "", MS_REMOUNT | MS_BIND, NULL), 0);
    assert_int_equal(check_all_whole(must_open(bench, BUDGET)), 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(disk_names_files_as_documented),
        TEST(disk_refuses_a_name_too_long_and_counts_it),
        TEST(disk_leaves_foreign_files_alone),
        TEST(disk_restart_keeps_order_and_drops_what_is_torn),
        TEST(disk_restart_with_less_budget_evicts_the_oldest),
        TEST(disk_restart_keeps_the_newest_of_too_many),
        TEST(disk_charges_blocks_the_temporary_included),
        TEST(disk_evicts_for_preallocated_blocks),
        TEST(disk_refuses_a_second_agent),
        TEST(disk_is_free_again_after_the_holder_was_killed),
        TEST(disk_holds_at_most_four_descriptors),
        TEST(disk_makes_missing_directories),
        TEST(disk_recreates_a_deleted_directory),
        TEST(disk_counts_the_profile_whose_directory_goes_while_it_is_written),
        TEST(disk_keeps_its_profiles_when_only_the_lock_file_goes),
        TEST(disk_waits_while_another_agent_has_the_new_directory),
        TEST(disk_says_and_recovers_when_a_file_stands_in_its_place),
        TEST(disk_counts_once_what_vanished_or_was_cut),
        TEST(disk_does_not_store_what_was_cut_while_written),
        TEST(disk_goes_on_when_the_look_at_its_lock_fails),
        TEST(disk_charges_and_sweeps_what_it_could_not_delete),
        TEST(disk_not_writable_is_shed_counted_and_recovers),
        TEST(disk_survives_each_failed_call),
        TEST(disk_says_why_it_cannot_start),
        TEST(disk_survives_kill_at_each_call),
        TEST(disk_survives_kill_at_random_moments),
        TEST(disk_full_evicts_the_oldest_and_goes_on),
        TEST(disk_filled_by_others_is_shed_counted_and_recovers),
        TEST(disk_read_only_is_refused_in_words_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
