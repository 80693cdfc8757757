/* wrap: spool_new_disk */
/* spooling: whatever keeps the directory from being opened, a spool in memory stands in, and nothing is lost
 * uncounted when it opens. */
#include "unit.h"

#include "agent/spooling.h"
#include "common/os/log.h"

#include <errno.h>

enum {
    RETRY_MIN_MS = 10,
    RETRY_MAX_MS = 40,
};

static struct {
    int error; /* of the next openings; 0 = none */
    unsigned calls;
} disk;

int __wrap_spool_new_disk(const char *dir, uint64_t budget, const char *holder, struct spool **ret, struct err *err);
int __wrap_spool_new_disk(const char *dir, uint64_t budget, const char *holder, struct spool **ret, struct err *err)
{
    (void)dir;
    (void)holder;
    disk.calls++;
    if (disk.error != 0)
        return err_errno(err, disk.error, "spool directory \"/spool\": cannot open it");
    return spool_new_memory(budget, ret, err); /* as good as a disk here */
}

static struct options options;
static struct loop *loop;
static struct spooling spooling;
static unsigned due;

static void on_due(void *ctx)
{
    (void)ctx;
    due++;
    loop_stop(loop);
}

static int setup(void **state)
{
    (void)state;
    disk.error = 0;
    disk.calls = due = 0;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    options = (struct options){.spool_dir = "/spool", .stand_in_bytes = SPOOL_BUDGET_MIN,
                               .gather = {.spool_bytes = 2 * SPOOL_BUDGET_MIN, .retry_min_ms = RETRY_MIN_MS,
                                          .retry_max_ms = RETRY_MAX_MS}};
    static const struct program program = {.name = "test", .noun = "test", .user_agent = "test"};
    options.gather.program = &program;
    if (loop_new(&loop, NULL) < 0)
        return -1;
    spooling_init(&spooling, loop, &options, on_due, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    spooling_close(&spooling);
    loop = loop_free(loop);
    return 0;
}

static void put(struct spool *spool, const char *text)
{
    const struct spool_meta meta = {.type = "heap", .time_ms = 1};
    assert_int_equal(0, spool_begin(spool, &meta, NULL));
    assert_int_equal(0, spool_write(spool, text, strlen(text), NULL));
    assert_int_equal(0, spool_commit(spool, 0, NULL, NULL));
}

static void each_cause_is_waited_out_in_memory(void **state)
{
    (void)state;
    static const int causes[] = {ENOSPC, EAGAIN, ENOTDIR, EMFILE, ENFILE, ENOLCK, EROFS, EACCES, EIO, EDQUOT, ENOMEM};
    const struct push_stats push = {.results = {[DELIVERY_STORED] = 1}};
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        const char *row = strerror(causes[i]);
        struct err err = err_untouched;
        struct account account;
        disk.error = causes[i];
        expect_success(row, spooling_open(&spooling, /* may_stand_in= */ true, &err), &err);
        expect_number(row, SPOOL_BUDGET_MIN, (long long)spool_get_stats(spooling.spool)->budget_bytes);
        expect_contains(row, spooling.directory.words, "spool-dir: spool directory \"/spool\"");
        put(spooling.spool, "one");
        put(spooling.spool, "two");
        assert_int_equal(0, spool_remove(spooling.spool, 1)); /* stored */
        expect_number(row, 1, (long long)spooling_read_account(&spooling, &push, &account));
        assert_false(spooling_try_directory(&spooling));
        expect_number(row, 2, spooling.directory.failures);

        disk.error = 0;
        assert_true(spooling_try_directory(&spooling));
        expect_number(row, 0, spooling.directory.failures);
        put(spooling.spool, "three");
        expect_number("lost", 1, (long long)spooling_read_account(&spooling, &push, &account));
        expect_number("waiting", 2, (long long)account.waiting);
        expect_number("taken", 3, (long long)account.taken);
        expect_number(row, (long long)account.taken, (long long)(account.stored + account.dropped + account.waiting));
        spooling_close(&spooling);
        spooling_init(&spooling, loop, &options, on_due, NULL);
    }
}

static void it_is_tried_again_in_time(void **state)
{
    (void)state;
    static const int64_t waits[] = {10, 20, 40, 40};
    disk.error = ENOSPC;
    assert_int_equal(0, spooling_open(&spooling, /* may_stand_in= */ true, NULL));
    for (unsigned i = 0; i < COUNT_OF(waits); i++) {
        assert_int_equal(waits[i], spooling.directory.timer.due_ms - loop_now_ms(loop));
        assert_int_equal(0, loop_run(loop, NULL));
        assert_int_equal(i + 1, due);
        assert_false(spooling_try_directory(&spooling));
    }
    disk.error = 0;
    assert_true(spooling_try_directory(&spooling));
    assert_false(spooling.directory.timer.armed);
}

static void on_the_command_line_it_is_a_failure(void **state)
{
    (void)state;
    struct err err = {0};
    disk.error = EAGAIN;
    expect_failure("held", -EAGAIN, "spool-dir: spool directory \"/spool\"",
                   spooling_open(&spooling, /* may_stand_in= */ false, &err), &err);
    assert_null(spooling.spool);
    assert_false(spooling.directory.timer.armed);
}

static void without_a_directory_there_is_nothing_to_try(void **state)
{
    (void)state;
    struct account account;
    const struct push_stats push = {0};
    options.spool_dir = NULL;
    assert_int_equal(0, spooling_open(&spooling, /* may_stand_in= */ true, NULL));
    put(spooling.spool, "one");
    assert_int_equal(1, spooling_read_account(&spooling, &push, &account));
    assert_int_equal(0, disk.calls);
    assert_int_equal(2 * SPOOL_BUDGET_MIN, spool_get_stats(spooling.spool)->budget_bytes);
}

/* Not even memory: then the whole start is tried again. */
static void without_memory_it_fails(void **state)
{
    (void)state;
    struct err err = {0};
    disk.error = EMFILE;
    options.stand_in_bytes = SPOOL_BUDGET_MIN - 1; /* as good as none */
    expect_failure("neither", -ERANGE, "", spooling_open(&spooling, /* may_stand_in= */ true, &err), &err);
    assert_null(spooling.spool);
    assert_int_equal(0, spooling.directory.failures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_cause_is_waited_out_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_tried_again_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(on_the_command_line_it_is_a_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_directory_there_is_nothing_to_try, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_it_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
