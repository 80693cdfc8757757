/* config: the webhook's INI file read again when it changes; a good one is taken whole, a bad one not at all. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/os/log.h"
#include "webhook/config.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 10, PATIENCE_MS = 20 * 1000 };

static char path[] = "/tmp/profefe-config-XXXXXX";
static struct loop *loop;

static void write_ini(const char *text)
{
    char next[sizeof(path) + 8];
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *file = fopen(next, "w");
    assert_non_null(file);
    fprintf(file, "[inject]\nimage = localhost/agent\n%s", text);
    assert_int_equal(0, fclose(file));
    assert_int_equal(0, rename(next, path));
}

static int make(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    return fd < 0 || close(fd) < 0 ? -1 : loop_new(&loop, NULL);
}

static int end(void **state)
{
    (void)state;
    loop = loop_free(loop);
    return unlink(path);
}

static void stop(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

static void turn(void)
{
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, stop, NULL);
    loop_timer_arm(&timer, POLL_MS);
    assert_int_equal(0, loop_run(loop, NULL));
}

static void wait_for(const uint64_t *count, uint64_t goal)
{
    for (int i = 0; *count < goal; i++) {
        assert_true(i < PATIENCE_MS / POLL_MS);
        turn();
    }
    assert_int_equal(goal, *count);
}

static const char *interval(const struct config *config)
{
    return settings_get(&config_policy(config)->settings, SETTING_INTERVAL);
}

static void a_good_file_is_taken_and_a_bad_one_is_not(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    struct err err = err_untouched;
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 31s\n");
    expect_success("new", config_new(loop, &base, path, POLL_MS, &config, &err), &err);
    const struct config_stats *stats = config_get_stats(config);
    expect_text("at start", "31s", interval(config));
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(0, stats->taken + stats->refused); /* nothing has changed */
    assert_true(stats->last_taken);
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 32s\n");
    wait_for(&stats->taken, 1);
    expect_text("changed", "32s", interval(config));
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = soon\n");
    wait_for(&stats->refused, 1);
    expect_text("bad", "32s", interval(config));
    assert_false(stats->last_taken);
    assert_int_equal(0, unlink(path));
    wait_for(&stats->refused, 2);
    expect_text("gone", "32s", interval(config));
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 33s\n");
    wait_for(&stats->taken, 2);
    expect_text("back", "33s", interval(config));
    assert_true(stats->last_taken);
    config_free(config);
}

static void a_stronger_origin_stays(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    struct err err = err_untouched;
    assert_int_equal(0, settings_set(&base, SETTING_SERVER_LOG_LEVEL, span_of("error"), SETTING_FROM_FLAG, NULL));
    write_ini("[server]\nlog-level = info\n");
    expect_success("new", config_new(loop, &base, path, POLL_MS, &config, &err), &err);
    expect_text("start", "error", settings_get(&config_policy(config)->settings, SETTING_SERVER_LOG_LEVEL));
    write_ini("[server]\nlog-level = debug\n");
    wait_for(&config_get_stats(config)->taken, 1);
    expect_text("changed", "error", settings_get(&config_policy(config)->settings, SETTING_SERVER_LOG_LEVEL));
    config_free(config);
}

static void without_a_file_nothing_is_read(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    struct err err = err_untouched;
    expect_failure("no image", -EINVAL, "[inject] image", config_new(loop, &base, NULL, POLL_MS, &config, &err), &err);
    assert_null(config);
    err = err_untouched;
    assert_int_equal(0, settings_set(&base, SETTING_IMAGE, span_of("a"), SETTING_FROM_FLAG, NULL));
    expect_success("new", config_new(loop, &base, NULL, POLL_MS, &config, &err), &err);
    turn();
    expect_text("image", "a", settings_get(&config_policy(config)->settings, SETTING_IMAGE));
    config_free(config);
    config_free(NULL);
}

static void a_bad_start_is_told(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    struct err err = err_untouched;
    expect_failure("absent", -ENOENT, "/no/such.ini: No such file",
                   config_new(loop, &base, "/no/such.ini", POLL_MS, &config, &err), &err);
    write_ini("[limits]\nmode = plain\n");
    expect_failure("limit", -EINVAL, ":4: [limits] mode", config_new(loop, &base, path, POLL_MS, &config, &err), &err);
    assert_null(config);
}

static int new_attempt(void *ctx)
{
    struct config *config = NULL;
    struct err err = {0};
    int rc = config_new(loop, ctx, path, POLL_MS, &config, &err);
    config_free(config);
    return rc;
}

static void each_allocation_failed_in_turn(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    assert_int_equal(0, settings_set(&base, SETTING_SERVER_LOG_LEVEL, span_of("error"), SETTING_FROM_FLAG, NULL));
    write_ini("[defaults]\ninterval = 31s\n[limits]\nmode = native\n");
    assert_in_range(alloc_fail_in_turn("config_new", new_attempt, &base), 5, 60);
}

/* A change that meets no memory is tried again, and the settings in use stay whole until then. */
static void a_change_without_memory_is_taken_later(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 31s\n");
    assert_int_equal(0, config_new(loop, &base, path, POLL_MS, &config, NULL));
    const struct config_stats *stats = config_get_stats(config);
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 32s\n");
    alloc_fail_arm(2, /* for_ever= */ true);
    for (int i = 0; stats->refused == 0 && i < PATIENCE_MS / POLL_MS; i++)
        turn();
    assert_true(alloc_fail_disarm());
    expect_text("old", "31s", interval(config));
    wait_for(&stats->taken, 1);
    expect_text("new", "32s", interval(config));
    config_free(config);
}

/* As chmod does for a file that could not be read: neither time of writing nor size tell it. */
static void a_change_of_mode_is_looked_at(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    write_ini("[server]\nlog-level = error\n");
    assert_int_equal(0, config_new(loop, &base, path, POLL_MS, &config, NULL));
    assert_int_equal(0, chmod(path, 0400));
    wait_for(&config_get_stats(config)->taken, 1);
    config_free(config);
}

/* Without a descriptor nothing is wrong with the file. */
static void a_change_without_descriptors_is_taken_later(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    struct config *config = NULL;
    struct rlimit before, few;
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 31s\n");
    assert_int_equal(0, config_new(loop, &base, path, POLL_MS, &config, NULL));
    const struct config_stats *stats = config_get_stats(config);
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &before));
    few = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 32s\n");
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &few));
    for (int i = 0; stats->refused == 0 && i < PATIENCE_MS / POLL_MS; i++)
        turn();
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &before));
    assert_true(stats->refused > 0);
    expect_text("old", "31s", interval(config));
    wait_for(&stats->taken, 1);
    expect_text("new", "32s", interval(config));
    config_free(config);
}

/* Its writer might let us wait for ever. A look is not due, it is asked for. */
static void a_pipe_in_the_files_place_holds_nothing_up(void **state)
{
    (void)state;
    CLEANUP(settings_done) struct settings base = {0};
    CLEANUP_CONFIG struct config *config = NULL;
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 31s\n");
    assert_int_equal(0, config_new(loop, &base, path, POLL_MS, &config, NULL));
    assert_int_equal(0, unlink(path));
    assert_int_equal(0, mkfifo(path, 0600));
    CLEANUP_CLOSE int writer = open(path, O_RDWR | O_CLOEXEC);
    assert_true(writer >= 0);
    config_look(config);
    assert_int_equal(1, config_get_stats(config)->refused);
    expect_text("old", "31s", interval(config));
    assert_int_equal(0, unlink(path));
    write_ini("[server]\nlog-level = error\n[defaults]\ninterval = 32s\n");
    config_look(config);
    expect_text("new", "32s", interval(config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_taken_and_a_bad_one_is_not),
        cmocka_unit_test(a_stronger_origin_stays),
        cmocka_unit_test(without_a_file_nothing_is_read),
        cmocka_unit_test(a_bad_start_is_told),
        cmocka_unit_test(each_allocation_failed_in_turn),
        cmocka_unit_test(a_change_without_memory_is_taken_later),
        cmocka_unit_test(a_change_of_mode_is_looked_at),
        cmocka_unit_test(a_change_without_descriptors_is_taken_later),
        cmocka_unit_test(a_pipe_in_the_files_place_holds_nothing_up),
    };
    return cmocka_run_group_tests_name("config", tests, make, end);
}
