/* What test_spool.c and test_spool_disk.c share: profiles whose content follows from a seed, library calls
 * that fail or kill on demand, a temporary directory, and accounts that must add up.
 */
#ifndef PROFEFE_TEST_SPOOL_BENCH_H
#define PROFEFE_TEST_SPOOL_BENCH_H

#include "common/spool/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- calls that fail ---- */

enum bench_call {
    CALL_CALLOC = 1 << 0,
    CALL_REALLOC = 1 << 1,
    CALL_MEMORY = CALL_CALLOC | CALL_REALLOC,
    CALL_PWRITE = 1 << 2,
    CALL_PREAD = 1 << 3,
    CALL_OPENAT = 1 << 4,
    CALL_RENAMEAT = 1 << 5,
    CALL_UNLINKAT = 1 << 6,
    CALL_FSTATAT = 1 << 7,
    CALL_CLOSE = 1 << 8,
    CALL_FALLOCATE = 1 << 9,
    CALL_FTRUNCATE = 1 << 10,
    CALL_MEMFD = 1 << 11,
    CALL_FLOCK = 1 << 12,
    CALL_MKDIR = 1 << 13,
    CALL_FSTAT = 1 << 14,
    CALL_READDIR = 1 << 15,
    CALL_FILES = ((1 << 16) - 1) & ~CALL_MEMORY,
};

enum bench_action {
    ACT_FAIL,  /* once */
    ACT_BREAK, /* from then on */
    ACT_SHORT, /* the call takes half of its bytes, the next one fails with `error`, the rest works */
    ACT_KILL_BEFORE,
    ACT_KILL_AFTER,
};

extern int64_t bench_extra_blocks; /* what fstat adds to st_blocks: a file system that preallocates */

/* Of the calls of these kinds (CALL_*) `passes` pass, the next one meets the fault. */
void fault_arm(unsigned calls, enum bench_action action, long passes, int error);
/* Says whether the fault was met. */
bool fault_disarm(void);

/* ---- random numbers and content ---- */

/* A hash; and a random number below the limit, which follows from *state alone. */
uint64_t mix(uint64_t x);
uint64_t random_below(uint64_t *state, uint64_t limit);

/* Bytes [offset, offset + len) of the profile with that seed. */
void content_fill(uint64_t seed, uint64_t offset, unsigned char *bytes, size_t len);

/* The first byte that differs, or -1: all of `size` bytes are there and right, and not one more. */
int64_t content_differs(struct spool *spool, uint64_t id, uint64_t seed, uint64_t size);

struct spool_meta meta_of(const char *type, const char *target, int64_t time_ms);

/* Writes in pieces; what fails is left to the spool, which aborts. */
int put_bytes(struct spool *spool, uint64_t seed, uint64_t offset, uint64_t len, struct err *err);

/* A whole profile whose time is its seed, so that a reader can check it. */
int put_profile(struct spool *spool, uint64_t seed, uint64_t size, uint64_t *ret_id, struct err *err);

/* The same, and its id; fails the test when it is not stored. */
uint64_t must_put(struct spool *spool, uint64_t seed, uint64_t size);

/* Profiles that were dropped, whatever the reason. */
uint64_t sum_dropped(const struct spool *spool);

/* Each waiting profile (of put_profile) is whole; returns how many there are. */
unsigned check_all_whole(struct spool *spool);

/* ---- a place on disk ---- */

struct bench_dir {
    char root[64];  /* made by mkdtemp */
    char spool[96]; /* root/spool, not made yet */
};

void bench_dir_make(struct bench_dir *dir);
/* With all that is below it. */
void bench_delete(const char *path);

/* Calls visit for each file of a directory but "lock". */
void bench_each_file(const char *dir, void (*visit)(const char *name, const struct stat *st, void *sum), void *sum);

/* What the files of a directory take on disk, in bytes. */
uint64_t bench_blocks(const char *dir);

#endif
