/* wrap: calloc realloc pwrite pread openat renameat unlinkat fstatat close fallocate ftruncate memfd_create */
/* wrap: flock mkdir fstat readdir */
/* The contract of spool.h, kept by both stores; and the ring. What only a directory does: test_spool_disk.c. */
#include "spool_bench.h"

enum {
    KB = 1024,
    BUDGET = SPOOL_BUDGET_MIN,
};

static uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the two stores ---- */

struct bench {
    bool is_disk;
    struct bench_dir dir;
    struct spool *spool;
};

static int bench_open(struct bench *bench, uint64_t budget, struct err *err)
{
    return bench->is_disk ? spool_new_disk(bench->dir.spool, budget, "agent", &bench->spool, err)
                          : spool_new_memory(budget, &bench->spool, err);
}

static struct spool *must_open(struct bench *bench, uint64_t budget)
{
    struct err err = {0};
    if (bench_open(bench, budget, &err) < 0)
        fail_msg("spool of %llu bytes: %s", (unsigned long long)budget, err.text);
    return bench->spool;
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    bench->is_disk = strcmp(*state, "disk") == 0;
    if (bench->is_disk)
        bench_dir_make(&bench->dir);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fault_disarm();
    bench->spool = spool_free(bench->spool);
    if (bench->is_disk)
        bench_delete(bench->dir.root);
    free(bench);
    return 0;
}

/* The ring's descriptor, as the kernel names it. */
static int find_memfd(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char link[32], target[64];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strstr(target, "memfd:profefe-spool") != NULL)
            return fd;
    }
    fail_msg("no descriptor of memfd:profefe-spool is open");
    return -1;
}

/* The kernel's own count of what the spool takes. */
static uint64_t measured_bytes(const struct bench *bench)
{
    struct stat st;
    if (bench->is_disk)
        return bench_blocks(bench->dir.spool);
    assert_int_equal(fstat(find_memfd(), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Huge pages, where an administrator forced them, are charged 2 MiB at a time: then only the bound is checked. */
static bool has_exact_pages(void)
{
    char text[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
    if (file == NULL)
        return true;
    if (fgets(text, sizeof(text), file) == NULL)
        text[0] = '\0';
    fclose(file);
    return strstr(text, "[never]") != NULL || strstr(text, "[advise]") != NULL || strstr(text, "[deny]") != NULL;
}

static void check_measured(const struct bench *bench)
{
    const struct spool_stats *stats = spool_get_stats(bench->spool);
    uint64_t measured = measured_bytes(bench);
    if (measured > stats->budget_bytes)
        fail_msg("%llu bytes taken, budget %llu", (unsigned long long)measured,
                 (unsigned long long)stats->budget_bytes);
    if (bench->is_disk)
        assert_true(measured <= stats->bytes); /* XFS preallocates and gives back later */
    else if (has_exact_pages())
        assert_int_equal(measured, stats->bytes);
}

/* ---- the contract ---- */

static void spool_refuses_budget_out_of_range(void **state)
{
    static const uint64_t bad[] = {0, SPOOL_BUDGET_MIN - 1, (uint64_t)SPOOL_BUDGET_MAX + 1, UINT64_MAX};
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        assert_int_equal(bench_open(bench, bad[i], &err), -ERANGE);
        assert_non_null(strstr(err.text, "expected 262144 to 1073741824"));
        assert_null(bench->spool);
    }
    assert_int_equal(bench_open(bench, 0, NULL), -ERANGE);
    must_open(bench, SPOOL_BUDGET_MAX);
}

static void spool_keeps_order_meta_and_content(void **state)
{
    static const struct {
        const char *type, *target;
        int64_t begin_ms, commit_ms, want_ms;
        uint64_t size;
    } rows[] = {
        {"cpu", "", 1000, 0, 1000, 1},
        {"heap", "api", 3000, 2500, 2500, 4096},
        {"other/wall", "my-app", 2000, -5, 2000, 4097},
        {"heap", "api", 0, 0, 0, 60000},
        {"other/a-b%c", "ünï code", INT64_MAX, 0, INT64_MAX, 600},
        {"block", "x", 10, INT64_MAX, INT64_MAX, 0},
    };
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    struct spool *spool = must_open(*state, BUDGET);
    uint64_t last = 0;
    for (size_t i = 0; i < ROWS; i++) {
        struct spool_meta meta = meta_of(rows[i].type, rows[i].target, rows[i].begin_ms);
        uint64_t id = 0;
        assert_int_equal(spool_begin(spool, &meta, NULL), 0);
        assert_int_equal(put_bytes(spool, i, 0, rows[i].size, NULL), 0);
        assert_int_equal(spool_get_stats(spool)->items, i);
        assert_int_equal(spool_commit(spool, rows[i].commit_ms, &id, NULL), 0);
        assert_true(id > last);
        last = id;
    }
    struct spool_item item = {0};
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(spool_next(spool, item.id, &item), 0);
        assert_string_equal(item.meta.type, rows[i].type);
        assert_string_equal(item.meta.target, rows[i].target);
        assert_int_equal(item.meta.time_ms, rows[i].want_ms);
        assert_int_equal(item.size_bytes, rows[i].size);
        assert_int_equal(content_differs(spool, item.id, i, rows[i].size), -1);
    }
    assert_int_equal(spool_next(spool, item.id, &item), -ENOENT);
    assert_int_equal(spool_next(spool, UINT64_MAX, &item), -ENOENT);
    check_measured(*state);
}

static void spool_reads_at_offsets(void **state)
{
    struct spool *spool = must_open(*state, BUDGET);
    uint64_t id = must_put(spool, 7, 10000);
    unsigned char got[64], want[64];
    static const struct {
        uint64_t offset;
        size_t len;
        int64_t want;
    } rows[] = {{0, 64, 64}, {1, 1, 1}, {9990, 64, 10}, {9999, 1, 1}, {10000, 1, 0}, {UINT64_MAX, 64, 0}, {5, 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(spool_read(spool, id, rows[i].offset, got, rows[i].len), rows[i].want);
        content_fill(7, rows[i].offset, want, (size_t)rows[i].want);
        assert_memory_equal(got, want, (size_t)rows[i].want);
    }
    assert_int_equal(spool_read(spool, 0, 0, got, 1), -ESTALE);
    assert_int_equal(spool_read(spool, id + 1, 0, got, 1), -ESTALE);
    assert_int_equal(spool_remove(spool, id), 0);
    assert_int_equal(spool_read(spool, id, 0, got, 1), -ESTALE);
    assert_int_equal(spool_remove(spool, id), -ENOENT);
    assert_int_equal(sum_dropped(spool), 0);
}

static void spool_refuses_wrong_calls_and_bad_meta(void **state)
{
    struct spool *spool = must_open(*state, BUDGET);
    struct spool_meta good = meta_of("cpu", "", 1), bad;
    struct err err = {0};
    assert_int_equal(spool_write(spool, "x", 1, &err), -EINVAL);
    assert_int_equal(spool_commit(spool, 1, NULL, &err), -EINVAL);
    bad = meta_of("", "api", 1);
    assert_int_equal(spool_begin(spool, &bad, &err), -EINVAL);
    assert_non_null(strstr(err.text, "expected 1 to 63 bytes"));
    bad = meta_of("cpu", "", -1);
    assert_int_equal(spool_begin(spool, &bad, &err), -EINVAL);
    bad = good;
    memset(bad.type, 'x', sizeof(bad.type));
    assert_int_equal(spool_begin(spool, &bad, &err), -EINVAL);
    bad = good;
    memset(bad.target, 'x', sizeof(bad.target));
    assert_int_equal(spool_begin(spool, &bad, &err), -EINVAL);
    assert_int_equal(spool_begin(spool, &good, &err), 0);
    assert_int_equal(spool_begin(spool, &good, &err), -EBUSY);
    assert_int_equal(spool_write(spool, "x", 1, NULL), 0);
    assert_int_equal(spool_commit(spool, 0, NULL, NULL), 0);
    assert_int_equal(sum_dropped(spool), 0);
}

static void spool_aborts_uncounted_and_gives_all_back(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    struct spool_meta meta = meta_of("cpu", "", 1);
    spool_abort(spool);
    must_put(spool, 1, 5000);
    uint64_t before = spool_get_stats(spool)->bytes;
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    assert_int_equal(put_bytes(spool, 2, 0, 50000, NULL), 0);
    assert_true(spool_get_stats(spool)->bytes >= before + 45000);
    check_measured(bench);
    spool_abort(spool);
    assert_int_equal(spool_get_stats(spool)->bytes, before);
    check_measured(bench);
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    spool_abort(spool);
    assert_int_equal(spool_get_stats(spool)->bytes, before);
    assert_int_equal(check_all_whole(spool), 1);
    assert_int_equal(sum_dropped(spool), 0);
    struct spool_item item;
    assert_int_equal(spool_next(spool, 0, &item), 0);
    assert_int_equal(spool_remove(spool, item.id), 0);
    assert_int_equal(spool_get_stats(spool)->bytes, 0);
    assert_int_equal(measured_bytes(bench), 0);
}

static void spool_evicts_oldest_also_under_its_reader(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    unsigned char byte;
    uint64_t first = must_put(spool, 1, 100 * KB), second = must_put(spool, 2, 100 * KB);
    assert_int_equal(spool_read(spool, first, 0, &byte, 1), 1);
    uint64_t third = must_put(spool, 3, 100 * KB);
    assert_int_equal(spool_read(spool, first, 1, &byte, 1), -ESTALE);
    assert_int_equal(spool_get_stats(spool)->dropped[SPOOL_DROP_EVICTED], 1);
    assert_int_equal(content_differs(spool, second, 2, 100 * KB), -1);
    assert_int_equal(content_differs(spool, third, 3, 100 * KB), -1);
    check_measured(bench);
}

static void spool_refuses_a_profile_over_the_ceiling(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    struct spool_meta meta = meta_of("heap", "", 1);
    struct err err = {0};
    uint64_t most = bench->is_disk ? BUDGET / 2 : BUDGET - page_size();
    must_put(spool, 1, most);
    assert_int_equal(check_all_whole(spool), 1);
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    assert_int_equal(put_bytes(spool, 2, 0, most, NULL), 0);
    assert_int_equal(spool_write(spool, "x", 1, &err), -EFBIG);
    assert_non_null(strstr(err.text, "profile \"heap\" is too big"));
    assert_int_equal(spool_get_stats(spool)->dropped[SPOOL_DROP_TOO_BIG], 1);
    assert_int_equal(spool_write(spool, "x", 1, &err), -EINVAL); /* aborted already */

    /* In one piece it is refused before anything is evicted for it. */
    uint64_t id = must_put(spool, 3, 1000), evicted = spool_get_stats(spool)->dropped[SPOOL_DROP_EVICTED];
    unsigned char *large = calloc(1, (size_t)most + 1);
    assert_non_null(large);
    assert_int_equal(spool_begin(spool, &meta, NULL), 0);
    assert_int_equal(spool_write(spool, large, (size_t)most + 1, &err), -EFBIG);
    free(large);
    assert_int_equal(spool_get_stats(spool)->dropped[SPOOL_DROP_EVICTED], evicted);
    assert_int_equal(content_differs(spool, id, 3, 1000), -1);
    check_measured(bench);
}

static void spool_bounds_its_index(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, bench->is_disk ? 8 * 1024 * KB : BUDGET);
    for (uint64_t i = 1; i <= SPOOL_ITEMS_MIN + 50; i++)
        must_put(spool, i, 20);
    const struct spool_stats *stats = spool_get_stats(spool);
    assert_int_equal(stats->items, SPOOL_ITEMS_MIN);
    assert_int_equal(stats->dropped[SPOOL_DROP_EVICTED], 50);
    struct spool_item item;
    assert_int_equal(spool_next(spool, 0, &item), 0);
    assert_int_equal(item.meta.time_ms, 51);
    assert_int_equal(check_all_whole(spool), SPOOL_ITEMS_MIN);
    while (spool_next(spool, 0, &item) == 0)
        assert_int_equal(spool_remove(spool, item.id), 0);
    assert_int_equal(stats->bytes, 0);
    assert_int_equal(measured_bytes(bench), 0);
    must_put(spool, 1, 20); /* after the index went back to its first step */
    assert_int_equal(check_all_whole(spool), 1);
}

static void spool_keeps_as_many_kinds_as_items(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, bench->is_disk ? 8 * 1024 * KB : BUDGET);
    for (int i = 0; i < SPOOL_ITEMS_MIN + 3; i++) {
        struct spool_meta meta = meta_of("heap", "", i);
        snprintf(meta.target, sizeof(meta.target), "target%d", i);
        assert_int_equal(spool_begin(spool, &meta, NULL), 0);
        assert_int_equal(put_bytes(spool, (uint64_t)i, 0, 10, NULL), 0);
        assert_int_equal(spool_commit(spool, 0, NULL, NULL), 0);
    }
    struct spool_item item = {0};
    for (int i = 3; spool_next(spool, item.id, &item) == 0; i++) {
        char want[SPOOL_TARGET_MAX + 1];
        snprintf(want, sizeof(want), "target%d", i);
        assert_string_equal(item.meta.target, want);
        assert_int_equal(item.meta.time_ms, i);
    }
    assert_int_equal(check_all_whole(spool), SPOOL_ITEMS_MIN);
}

static void spool_expires_by_time_not_by_order(void **state)
{
    struct spool *spool = must_open(*state, BUDGET);
    must_put(spool, 500, 100);
    must_put(spool, 100, 100);
    must_put(spool, 300, 100);
    must_put(spool, 299, 100);
    assert_int_equal(spool_expire(spool, 300), 2);
    assert_int_equal(spool_get_stats(spool)->dropped[SPOOL_DROP_OLD], 2);
    assert_int_equal(check_all_whole(spool), 2);
    assert_int_equal(spool_expire(spool, 300), 0);
    assert_int_equal(spool_expire(spool, INT64_MAX), 2);
    assert_int_equal(spool_get_stats(spool)->bytes, 0);
}

/* The clock is set a day forward, and back: what was taken before is as old as it was. */
static void a_clock_that_is_set_ages_nothing(void **state)
{
    enum { DAY_MS = 24 * 3600 * 1000, TAKEN_MS = 10 * DAY_MS };
    struct spool *spool = must_open(*state, BUDGET);
    static const int64_t walls[] = {TAKEN_MS, TAKEN_MS + DAY_MS, 0};
    for (int64_t i = 0; i < 3; i++) {
        struct spool_meta meta = {.type = "cpu", .time_ms = walls[i], .steady_ms = TAKEN_MS + i};
        assert_int_equal(0, spool_begin(spool, &meta, NULL));
        assert_int_equal(0, spool_write(spool, "x", 1, NULL));
        assert_int_equal(0, spool_commit(spool, walls[i], NULL, NULL));
    }
    assert_int_equal(spool_expire(spool, TAKEN_MS), 0);
    assert_int_equal(spool_expire(spool, TAKEN_MS + 2), 2);
    struct spool_item left;
    assert_int_equal(0, spool_next(spool, 0, &left));
    assert_int_equal(left.meta.time_ms, 0);
    assert_int_equal(spool_expire(spool, INT64_MAX), 1);
}

static void the_index_grows_with_the_budget(void **state)
{
    (void)state;
    static const struct {
        uint64_t budget_bytes;
        size_t expected;
    } rows[] = {
        {SPOOL_BUDGET_MIN, 1024}, {SPOOL_BUDGET_DEFAULT, 1024}, {16 << 20, 2048}, {64 << 20, 8192},
        {128 << 20, 16384}, {200 << 20, 16384}, {SPOOL_BUDGET_MAX, 16384},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(spool_items_max(rows[i].budget_bytes), rows[i].expected);
}

static void a_note_goes_with_its_profile(void **state)
{
    struct spool *spool = must_open(*state, BUDGET);
    struct spool_meta meta = {.type = "cpu"};
    struct spool_item item;
    assert_int_equal(0, spool_begin(spool, &meta, NULL));
    spool_set_note(spool, (struct spool_note){.number = 4000000000, .flags = 5});
    assert_int_equal(0, spool_commit(spool, 0, NULL, NULL));
    must_put(spool, 1, 100);
    assert_int_equal(0, spool_next(spool, 0, &item));
    assert_int_equal(item.note.number, 4000000000);
    assert_int_equal(item.note.flags, 5);
    assert_int_equal(0, spool_next(spool, item.id, &item));
    assert_int_equal(item.note.number, 0);
    assert_int_equal(item.note.flags, 0);
}

static void spool_names_its_drops(void **state)
{
    (void)state;
    static const char *const want[SPOOL_DROP_COUNT] = {"spool-full", "too-big", "spool-error", "too-old"};
    for (int i = 0; i < SPOOL_DROP_COUNT; i++)
        assert_string_equal(spool_drop_names[i], want[i]);
    assert_null(spool_free(NULL));
}

/* ---- failures, one after the other ---- */

/* Puts, reads and removes; what fails is counted by the spool. Returns what was begun. */
static unsigned run_scenario(struct spool *spool, unsigned *ret_removed)
{
    unsigned begun = 0, removed = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        begun++;
        int rc = put_profile(spool, i, i % 7 == 0 ? 60 * KB : i * 300, NULL, NULL);
        assert_true(rc == 0 || rc == -EIO || rc == -ENOSPC || rc == -ENOMEM);
        struct spool_item item;
        if (i % 3 == 0 && spool_next(spool, 0, &item) == 0)
            removed += spool_remove(spool, item.id) == 0 ? 1 : 0;
    }
    *ret_removed = removed;
    return begun;
}

static void check_accounts(struct spool *spool, unsigned begun, unsigned removed)
{
    const struct spool_stats *stats = spool_get_stats(spool);
    if (stats->items + removed + sum_dropped(spool) != begun)
        fail_msg("%llu waiting + %u removed + %llu dropped: expected %u begun", (unsigned long long)stats->items,
                 removed, (unsigned long long)sum_dropped(spool), begun);
    assert_true(stats->bytes <= stats->budget_bytes);
}

static void spool_survives_each_failed_allocation(void **state)
{
    struct bench *bench = *state;
    bool was_hit = true;
    for (long n = 0; was_hit; n++) {
        struct err err = {0};
        fault_arm(CALL_MEMORY, ACT_FAIL, n, ENOMEM);
        int rc = bench_open(bench, BUDGET, &err);
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_null(bench->spool);
            assert_true(strlen(err.text) > 0);
            continue;
        }
        unsigned removed = 0, begun = run_scenario(bench->spool, &removed);
        was_hit = fault_disarm();
        check_accounts(bench->spool, begun, removed);
        assert_int_equal(spool_get_stats(bench->spool)->dropped[SPOOL_DROP_ERROR], was_hit ? 1 : 0);
        check_all_whole(bench->spool);
        check_measured(bench);
        assert_true(spool_expire(bench->spool, INT64_MAX) > 0);
        bench->spool = spool_free(bench->spool);
        assert_true(n < 100);
    }
}

/* Once, and for ever from there on: what was written before stays whole, what fails is counted, no room is lost. */
static void spool_survives_each_failed_write(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EFBIG, ENOMEM};
    static const enum bench_action actions[] = {ACT_FAIL, ACT_BREAK, ACT_SHORT};
    struct bench *bench = *state;
    unsigned runs = 0;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        for (size_t a = 0; a < sizeof(actions) / sizeof(actions[0]); a++) {
            bool was_hit = true;
            for (long n = 0; was_hit; n += 1 + n / 2, runs++) {
                struct spool *spool = must_open(bench, BUDGET);
                fault_arm(CALL_PWRITE, actions[a], n, errors[e]);
                unsigned removed = 0, begun = run_scenario(spool, &removed);
                was_hit = fault_disarm();
                check_accounts(spool, begun, removed);
                check_all_whole(spool);
                check_measured(bench);
                must_put(spool, 99, 1000);
                spool_expire(spool, INT64_MAX);
                assert_int_equal(measured_bytes(bench), 0);
                bench->spool = spool_free(spool);
            }
        }
    }
    assert_true(runs > 15 * 5);
}

static void spool_goes_on_after_a_full_store_by_evicting(void **state)
{
    struct spool *spool = must_open(*state, BUDGET);
    must_put(spool, 1, 3000);
    must_put(spool, 2, 3000);
    fault_arm(CALL_PWRITE, ACT_SHORT, 0, ENOSPC);
    must_put(spool, 3, 4000);
    assert_true(fault_disarm());
    const struct spool_stats *stats = spool_get_stats(spool);
    assert_int_equal(stats->dropped[SPOOL_DROP_EVICTED], 1);
    assert_int_equal(stats->dropped[SPOOL_DROP_ERROR], 0);
    assert_int_equal(check_all_whole(spool), 2);

    /* Where others eat what is freed, the rest of the spool is not thrown after it. */
    for (uint64_t i = 4; i < 14; i++)
        must_put(spool, i, 20 * KB);
    fault_arm(CALL_PWRITE, ACT_BREAK, 0, ENOSPC);
    struct err err = {0};
    assert_int_equal(put_profile(spool, 99, 4000, NULL, &err), -ENOSPC);
    fault_disarm();
    assert_non_null(strstr(err.text, "profile \"heap\" lost after 0 bytes: No space left on device"));
    assert_int_equal(stats->dropped[SPOOL_DROP_ERROR], 1);
    assert_true(check_all_whole(spool) >= 6);
}

static void spool_keeps_an_item_when_reading_fails_for_lack_of_means(void **state)
{
    static const struct {
        int error;
        bool is_lost_on_disk;
    } rows[] = {{ENOMEM, false}, {EINTR, false}, {EIO, true}};
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char byte = 0, want = 0;
        uint64_t id = must_put(spool, i, 100), lost = sum_dropped(spool);
        content_fill(i, 0, &want, 1);
        fault_arm(CALL_PREAD, ACT_FAIL, 0, rows[i].error);
        int64_t n = spool_read(spool, id, 0, &byte, 1);
        assert_true(fault_disarm());
        bool is_lost = bench->is_disk && rows[i].is_lost_on_disk;
        int64_t failed = rows[i].error == EINTR ? 1 : -rows[i].error;
        assert_int_equal(n, is_lost ? -ESTALE : failed);
        assert_int_equal(sum_dropped(spool), lost + (is_lost ? 1 : 0));
        assert_int_equal(spool_read(spool, id, 0, &byte, 1), is_lost ? -ESTALE : 1);
        assert_true(is_lost || byte == want);
    }
}

/* ---- the ring ---- */

static void ring_charges_whole_pages_shared_by_neighbours(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    const struct spool_stats *stats = spool_get_stats(spool);
    uint64_t page = page_size(), ids[3];
    ids[0] = must_put(spool, 1, 100);
    assert_int_equal(stats->bytes, page);
    ids[1] = must_put(spool, 2, 100);
    assert_int_equal(stats->bytes, page);
    ids[2] = must_put(spool, 3, page); /* ends in the second page */
    assert_int_equal(stats->bytes, 2 * page);
    assert_int_equal(spool_remove(spool, ids[1]), 0);
    assert_int_equal(stats->bytes, 2 * page);
    assert_int_equal(spool_remove(spool, ids[2]), 0);
    assert_int_equal(stats->bytes, page);
    assert_int_equal(measured_bytes(bench), has_exact_pages() ? page : measured_bytes(bench));
    assert_int_equal(spool_remove(spool, ids[0]), 0);
    assert_int_equal(measured_bytes(bench), 0);
}

static void ring_wraps_and_stays_inside_its_file(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    must_put(spool, 1, 1000); /* so that nothing is aligned */
    for (uint64_t i = 2; i < 200; i++) {
        must_put(spool, i, 37 * KB + i);
        struct stat st;
        assert_int_equal(fstat(find_memfd(), &st), 0);
        assert_true((uint64_t)st.st_size <= spool_get_stats(spool)->budget_bytes);
        check_measured(bench);
        assert_true(check_all_whole(spool) >= (i < 7 ? 1 : 5)); /* 6 × 37 KB fit beside the one page lost */
    }
    assert_int_equal(sum_dropped(spool), 199 - spool_get_stats(spool)->items);
}

/* Without PUNCH_HOLE and ftruncate (sandbox kernels) the ring itself is the bound, and contents are right. */
static void ring_holds_its_budget_without_punching(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, BUDGET);
    fault_arm(CALL_FALLOCATE | CALL_FTRUNCATE, ACT_BREAK, 0, EOPNOTSUPP);
    for (uint64_t i = 1; i < 100; i++) {
        must_put(spool, i, 17 * KB + i);
        struct spool_item item;
        if (i % 10 == 0)
            while (spool_next(spool, 0, &item) == 0)
                spool_remove(spool, item.id);
        assert_true(measured_bytes(bench) <= spool_get_stats(spool)->budget_bytes);
        check_all_whole(spool);
    }
    assert_true(fault_disarm());
    spool_expire(spool, INT64_MAX);
    assert_int_equal(measured_bytes(bench), 0);
}

static void ring_says_why_there_is_no_memfd(void **state)
{
    struct bench *bench = *state;
    struct err err = {0};
    fault_arm(CALL_MEMFD, ACT_FAIL, 0, EMFILE);
    assert_int_equal(bench_open(bench, BUDGET, &err), -EMFILE);
    assert_true(fault_disarm());
    char expected[96];
    snprintf(expected, sizeof(expected), "memory spool: memfd_create: %s", strerror(EMFILE));
    assert_string_equal(err.text, expected);
    assert_null(bench->spool);
}

/* ---- random operations against a model ---- */

struct thing {
    uint64_t id, seed, size, place;
    int64_t time_ms, steady_ms;
    int kind;
};

struct model {
    struct bench *bench;
    struct spool *spool;
    uint64_t random;
    struct thing things[SPOOL_ITEMS_MIN];
    size_t count;
    bool is_writing;
    struct thing writing;
    uint64_t begun, removed, aborted, expired;
    uint64_t seen[SPOOL_DROP_COUNT]; /* drops that the model accounts for */
    uint64_t wraps;
};

static const char *const kind_types[] = {"cpu", "heap", "goroutine", "other/a-b", "block"};
static const char *const kind_targets[] = {"", "api", "worker-1"};

static struct spool_meta kind_meta(const struct thing *thing)
{
    struct spool_meta meta = meta_of(kind_types[thing->kind % 5], kind_targets[thing->kind % 3], thing->time_ms);
    meta.steady_ms = thing->steady_ms;
    return meta;
}

static void model_forget_first(struct model *model, size_t n)
{
    assert_true(n <= model->count);
    model->count -= n;
    memmove(model->things, model->things + n, model->count * sizeof(model->things[0]));
}

/* How many of the oldest the ring has to give up for len bytes more: spelled out from the header's words. */
static size_t model_evictions(const struct model *model, uint64_t len)
{
    uint64_t budget = spool_get_stats(model->spool)->budget_bytes, page = page_size();
    uint64_t end = model->writing.place + model->writing.size + len;
    size_t n = 0;
    for (; n < model->count; n++) {
        uint64_t oldest_page = model->things[n].place / page * page;
        if (end <= oldest_page + budget)
            break;
    }
    return n;
}

/* Takes over what the spool evicted: it must be the oldest, in order, and counted. On disk the file system decides how
 * many. */
static void model_follow(struct model *model, size_t expected)
{
    const struct spool_stats *stats = spool_get_stats(model->spool);
    uint64_t evicted = stats->dropped[SPOOL_DROP_EVICTED] - model->seen[SPOOL_DROP_EVICTED];
    if (!model->bench->is_disk && evicted != expected)
        fail_msg("%llu evicted, expected %zu", (unsigned long long)evicted, expected);
    model->seen[SPOOL_DROP_EVICTED] += evicted;
    model_forget_first(model, (size_t)evicted);
    assert_int_equal(stats->items, model->count);
    struct spool_item item;
    assert_int_equal(spool_next(model->spool, 0, &item), model->count > 0 ? 0 : -ENOENT);
    if (model->count > 0)
        assert_int_equal(item.id, model->things[0].id);
}

static void model_begin(struct model *model)
{
    struct thing *writing = &model->writing;
    *writing = (struct thing){.seed = mix(model->random), .time_ms = (int64_t)random_below(&model->random, 1000000),
                              .steady_ms = 1 + (int64_t)random_below(&model->random, 1000000),
                              .kind = (int)random_below(&model->random, 15)};
    if (model->count > 0)
        writing->place = model->things[model->count - 1].place + model->things[model->count - 1].size;
    struct spool_meta meta = kind_meta(writing);
    assert_int_equal(spool_begin(model->spool, &meta, NULL), 0);
    model->is_writing = true;
    model->begun++;
}

static void model_write(struct model *model)
{
    static unsigned char bytes[96 * KB];
    static const uint64_t limits[] = {10, 600, 5000, 20 * KB, 96 * KB};
    struct thing *writing = &model->writing;
    uint64_t len = random_below(&model->random, limits[random_below(&model->random, 5)]);
    uint64_t budget = spool_get_stats(model->spool)->budget_bytes;
    uint64_t most = model->bench->is_disk ? budget / 2 : budget - page_size();
    bool is_too_big = writing->size + len > most;
    size_t evictions = is_too_big ? 0 : model_evictions(model, len);
    content_fill(writing->seed, writing->size, bytes, (size_t)len);
    assert_int_equal(spool_write(model->spool, bytes, (size_t)len, NULL), is_too_big ? -EFBIG : 0);
    model->is_writing = !is_too_big;
    model->seen[SPOOL_DROP_TOO_BIG] += is_too_big ? 1 : 0;
    uint64_t start = writing->place + writing->size;
    model->wraps += !is_too_big && len > 0 && start / budget != (start + len - 1) / budget;
    writing->size += is_too_big ? 0 : len;
    model_follow(model, evictions);
}

static void model_commit(struct model *model)
{
    struct thing *writing = &model->writing;
    if (random_below(&model->random, 2) == 0)
        writing->time_ms = 1 + (int64_t)random_below(&model->random, 1000000);
    assert_int_equal(spool_commit(model->spool, writing->time_ms, &writing->id, NULL), 0);
    size_t evictions = model->count == SPOOL_ITEMS_MIN ? 1 : 0;
    model->things[model->count - evictions] = *writing; /* follow moves the others */
    if (evictions > 0)
        memmove(model->things, model->things + 1, (model->count - 1) * sizeof(model->things[0]));
    assert_true(model->count == 0 || writing->id > model->things[model->count - 1].id);
    model->count += 1 - evictions;
    model->seen[SPOOL_DROP_EVICTED] += evictions;
    model->is_writing = false;
    model_follow(model, 0);
}

static void model_remove(struct model *model)
{
    if (model->count == 0)
        return;
    size_t at = random_below(&model->random, 2) == 0 ? 0 : random_below(&model->random, model->count);
    assert_int_equal(spool_remove(model->spool, model->things[at].id), 0);
    assert_int_equal(spool_remove(model->spool, model->things[at].id), -ENOENT);
    model->count--;
    memmove(model->things + at, model->things + at + 1, (model->count - at) * sizeof(model->things[0]));
    model->removed++;
}

static void model_read(struct model *model)
{
    static unsigned char got[30000], want[30000];
    if (model->count == 0)
        return;
    const struct thing *thing = &model->things[random_below(&model->random, model->count)];
    uint64_t offset = random_below(&model->random, thing->size + 2);
    size_t len = random_below(&model->random, sizeof(got));
    int64_t n = spool_read(model->spool, thing->id, offset, got, len);
    uint64_t left = offset < thing->size ? thing->size - offset : 0;
    assert_int_equal(n, left < len ? left : len);
    content_fill(thing->seed, offset, want, (size_t)n);
    assert_memory_equal(got, want, (size_t)n);
}

static void model_expire(struct model *model)
{
    int64_t before = (int64_t)random_below(&model->random, 100000);
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->things[i].steady_ms >= before)
            model->things[kept++] = model->things[i];
    }
    assert_int_equal(spool_expire(model->spool, before), model->count - kept);
    model->seen[SPOOL_DROP_OLD] += model->count - kept;
    model->count = kept;
}

static void model_check_all(struct model *model)
{
    struct spool_item item = {0};
    for (size_t i = 0; i < model->count; i++) {
        const struct thing *thing = &model->things[i];
        struct spool_meta want = kind_meta(thing);
        assert_int_equal(spool_next(model->spool, item.id, &item), 0);
        assert_int_equal(item.id, thing->id);
        assert_int_equal(item.size_bytes, thing->size);
        assert_int_equal(item.meta.time_ms, thing->time_ms);
        assert_string_equal(item.meta.type, want.type);
        assert_string_equal(item.meta.target, want.target);
        assert_int_equal(content_differs(model->spool, thing->id, thing->seed, thing->size), -1);
    }
    assert_int_equal(spool_next(model->spool, item.id, &item), -ENOENT);
}

/* The pages under live bytes, marked one by one. */
static uint64_t model_ring_bytes(const struct model *model)
{
    static bool is_live[SPOOL_BUDGET_MIN / 1024];
    uint64_t page = page_size(), pages = spool_get_stats(model->spool)->budget_bytes / page, live = 0;
    memset(is_live, 0, sizeof(is_live));
    for (size_t i = 0; i <= model->count; i++) {
        const struct thing *thing = i < model->count ? &model->things[i] : &model->writing;
        if ((i == model->count && !model->is_writing) || thing->size == 0)
            continue;
        for (uint64_t p = thing->place / page; p <= (thing->place + thing->size - 1) / page; p++)
            is_live[p % pages] = true;
    }
    for (uint64_t p = 0; p < pages; p++)
        live += is_live[p] ? page : 0;
    return live;
}

static void model_check_accounts(const struct model *model)
{
    const struct spool_stats *stats = spool_get_stats(model->spool);
    for (int i = 0; i < SPOOL_DROP_COUNT; i++)
        assert_int_equal(stats->dropped[i], model->seen[i]);
    assert_int_equal(model->begun, model->count + model->removed + model->aborted + sum_dropped(model->spool) +
                                       (model->is_writing ? 1 : 0));
    if (!model->bench->is_disk)
        assert_int_equal(stats->bytes, model_ring_bytes(model));
}

static void model_step(struct model *model)
{
    uint64_t dice = random_below(&model->random, 100);
    if (dice < 50 && !model->is_writing)
        model_begin(model);
    else if (dice < 36)
        model_write(model);
    else if (dice < 48)
        model_commit(model);
    else if (dice < 50) {
        spool_abort(model->spool);
        model->aborted++;
        model->is_writing = false;
    } else if (dice < 55)
        model_remove(model);
    else if (dice < 99)
        model_read(model);
    else
        model_expire(model);
}

static void spool_agrees_with_a_model(void **state)
{
    enum { SEEDS = 4, STEPS = 4000, CHECK_ALL = 100, MEASURE_DISK = 16 };
    static struct model model;
    uint64_t wraps = 0, evicted = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        model = (struct model){.bench = *state, .spool = must_open(*state, BUDGET), .random = seed};
        for (int step = 0; step < STEPS; step++) {
            model_step(&model);
            model_check_accounts(&model);
            if (!model.bench->is_disk || step % MEASURE_DISK == 0)
                check_measured(model.bench);
            if (step % CHECK_ALL == 0)
                model_check_all(&model);
        }
        model_check_all(&model);
        wraps += model.wraps;
        evicted += model.seen[SPOOL_DROP_EVICTED];
        spool_abort(model.spool);
        spool_expire(model.spool, INT64_MAX);
        assert_int_equal(spool_get_stats(model.spool)->bytes, 0);
        assert_int_equal(measured_bytes(model.bench), 0);
        model.bench->spool = spool_free(model.spool);
    }
    assert_true(wraps > 100 || model.bench->is_disk); /* or the run showed nothing */
    assert_true(evicted > 300);
}

#define ON(store, test) {#test " (" store ")", test, setup, teardown, (void *)(uintptr_t)store}
#define ON_BOTH(test) ON("memory", test), ON("disk", test)

struct losses {
    struct spool *spool;
    unsigned count;
    uint64_t ids[16];
    enum spool_drop reasons[16];
};

/* What is told of is counted and gone already. */
static void on_lost(void *ctx, uint64_t id, enum spool_drop reason)
{
    struct losses *losses = ctx;
    char byte;
    assert_true(losses->count < 16);
    assert_int_equal(spool_read(losses->spool, id, 0, &byte, 1), -ESTALE);
    assert_true(spool_get_stats(losses->spool)->dropped[reason] > 0);
    losses->ids[losses->count] = id;
    losses->reasons[losses->count++] = reason;
}

static void spool_tells_of_each_profile_it_drops(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, SPOOL_BUDGET_MIN);
    struct losses losses = {.spool = spool};
    spool_on_lost(spool, on_lost, &losses);
    uint64_t first = must_put(spool, 1, SPOOL_BUDGET_MIN / 16 * 5);
    uint64_t second = must_put(spool, 2, SPOOL_BUDGET_MIN / 16 * 5);
    uint64_t third = must_put(spool, 3, SPOOL_BUDGET_MIN / 16 * 5);
    uint64_t fourth = must_put(spool, 4, SPOOL_BUDGET_MIN / 2 - 8192);
    assert_int_equal(losses.count, 2);
    assert_int_equal(losses.ids[0], first);
    assert_int_equal(losses.ids[1], second);
    assert_int_equal(losses.reasons[0], SPOOL_DROP_EVICTED);
    assert_int_equal(spool_remove(spool, third), 0); /* by our own hand: not told */
    assert_int_equal(spool_begin(spool, &(struct spool_meta){.type = "cpu"}, NULL), 0);
    spool_abort(spool);
    assert_int_equal(losses.count, 2);
    assert_int_equal(spool_expire(spool, INT64_MAX), 1);
    assert_int_equal(losses.count, 3);
    assert_int_equal(losses.ids[2], fourth);
    assert_int_equal(losses.reasons[2], SPOOL_DROP_OLD);
    spool_on_lost(spool, NULL, NULL);
    must_put(spool, 5, 10);
    spool_expire(spool, INT64_MAX);
    assert_int_equal(losses.count, 3);
}

/* The one that is being sent may arrive although it was evicted: then it was no loss. */
static void spool_counts_what_is_on_hold_at_the_end(void **state)
{
    struct bench *bench = *state;
    struct spool *spool = must_open(bench, SPOOL_BUDGET_MIN);
    const struct spool_stats *stats = spool_get_stats(spool);
    struct losses losses = {.spool = spool};
    spool_on_lost(spool, on_lost, &losses);
    assert_false(spool_end_hold(spool, false)); /* none is */
    uint64_t id = must_put(spool, 1, 100);
    spool_hold(spool, id);
    assert_true(spool_end_hold(spool, false)); /* it waits on */
    for (unsigned arrived = 0; arrived < 2; arrived++) {
        id = must_put(spool, 1, 100);
        uint64_t before = stats->dropped[SPOOL_DROP_OLD];
        spool_hold(spool, id);
        unsigned others = spool_expire(spool, INT64_MAX) - 1;
        assert_int_equal(stats->dropped[SPOOL_DROP_OLD], before + others);
        assert_int_equal(stats->held_lost, 1);
        assert_int_equal(losses.count, 1); /* the first of all */
        assert_false(spool_end_hold(spool, arrived));
        assert_int_equal(stats->dropped[SPOOL_DROP_OLD], before + others + (arrived ? 0 : 1));
        assert_int_equal(stats->held_lost, 0);
        assert_false(spool_end_hold(spool, arrived));
        assert_int_equal(stats->dropped[SPOOL_DROP_OLD], before + others + (arrived ? 0 : 1));
    }
    id = must_put(spool, 1, 100);
    spool_hold(spool, id);
    assert_int_equal(spool_remove(spool, id), 0); /* by our own hand: no loss */
    assert_int_equal(stats->held_lost, 0);
    assert_false(spool_end_hold(spool, false));
    assert_int_equal(losses.count, 1);
    id = must_put(spool, 1, 100);
    spool_hold(spool, id);
    spool_expire(spool, INT64_MAX);
    uint64_t before = stats->dropped[SPOOL_DROP_OLD];
    spool_hold(spool, must_put(spool, 2, 100)); /* the next one ends the account of the one before */
    assert_int_equal(stats->dropped[SPOOL_DROP_OLD], before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(spool_refuses_budget_out_of_range),
        ON_BOTH(spool_keeps_order_meta_and_content),
        ON_BOTH(spool_reads_at_offsets),
        ON_BOTH(spool_refuses_wrong_calls_and_bad_meta),
        ON_BOTH(spool_aborts_uncounted_and_gives_all_back),
        ON_BOTH(spool_evicts_oldest_also_under_its_reader),
        ON_BOTH(spool_refuses_a_profile_over_the_ceiling),
        ON_BOTH(spool_bounds_its_index),
        ON_BOTH(spool_keeps_as_many_kinds_as_items),
        ON_BOTH(spool_expires_by_time_not_by_order),
        ON_BOTH(a_clock_that_is_set_ages_nothing),
        ON_BOTH(a_note_goes_with_its_profile),
        cmocka_unit_test(the_index_grows_with_the_budget),
        ON_BOTH(spool_tells_of_each_profile_it_drops),
        ON_BOTH(spool_counts_what_is_on_hold_at_the_end),
        cmocka_unit_test(spool_names_its_drops),
        ON_BOTH(spool_survives_each_failed_allocation),
        ON_BOTH(spool_survives_each_failed_write),
        ON_BOTH(spool_goes_on_after_a_full_store_by_evicting),
        ON_BOTH(spool_keeps_an_item_when_reading_fails_for_lack_of_means),
        ON("memory", ring_charges_whole_pages_shared_by_neighbours),
        ON("memory", ring_wraps_and_stays_inside_its_file),
        ON("memory", ring_holds_its_budget_without_punching),
        ON("memory", ring_says_why_there_is_no_memfd),
        ON_BOTH(spool_agrees_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
