/* wrap: malloc calloc */
#include "common/os/loop.h"

#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop = loop_free(loop);
    return 0;
}

static int readable_fd(void)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

static void stop_on_fd(void *ctx, int fd, uint32_t events)
{
    (void)ctx;
    (void)fd;
    (void)events;
    loop_stop(loop);
}

static void stop_on_timer(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

/* Timers */

struct note {
    struct loop_timer timer;
    char letter;
    char *text;           /* the letters of those that fired */
    struct loop_timer *disarm;
    int64_t rearm_ms;     /* -1 = not */
    bool stop;            /* the loop */
};

static void on_note(void *ctx)
{
    struct note *note = ctx;
    size_t len = strlen(note->text);
    note->text[len] = note->letter;
    note->text[len + 1] = '\0';
    if (note->disarm != NULL)
        loop_timer_disarm(note->disarm);
    if (note->rearm_ms >= 0)
        loop_timer_arm(&note->timer, note->rearm_ms);
    else if (note->stop)
        loop_stop(loop);
    note->rearm_ms = -1;
}

static void arm_note(struct note *note, char letter, char *text, int64_t delay_ms)
{
    note->letter = letter;
    note->text = text;
    note->rearm_ms = -1;
    loop_timer_init(&note->timer, loop, on_note, note);
    loop_timer_arm(&note->timer, delay_ms);
}

/* False: something stopped the loop before. */
static bool run_at_most(int64_t ms)
{
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, stop_on_timer, NULL);
    loop_timer_arm(&timer, ms);
    assert_int_equal(loop_run(loop, NULL), 0);
    bool is_over = !timer.armed;
    loop_timer_disarm(&timer);
    return is_over;
}

static void run_for(int64_t ms)
{
    assert_true(run_at_most(ms));
}

/* Arms timers inside a turn, where time stands still: the order is then not a matter of the machine's load. */
static void arm_several(void *ctx)
{
    struct note *notes = ctx;
    char *text = notes[0].text;
    arm_note(&notes[0], 'd', text, 30);
    arm_note(&notes[1], 'b', text, 10);
    arm_note(&notes[2], 'c', text, 10);
    arm_note(&notes[3], 'a', text, -5);
    arm_note(&notes[4], 'e', text, 30);
    arm_note(&notes[5], 'f', text, 5000);
    loop_timer_arm(&notes[5].timer, 20); /* armed again: moves */
    loop_timer_arm(&notes[5].timer, 30);
    notes[5].stop = true;
}

static void timers_fire_in_order_of_time_then_of_arming(void **state)
{
    (void)state;
    char text[16] = "";
    struct note notes[6] = {{.text = text}};
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, arm_several, notes);
    loop_timer_arm(&timer, 0);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_string_equal(text, "abcdef");
}

static void timer_is_never_early(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        int64_t before = peer_now_ms();
        run_for(7);
        assert_true(peer_now_ms() - before >= 7);
    }
}

static void timer_disarmed_by_another_of_the_same_turn_is_not_called(void **state)
{
    (void)state;
    char text[16] = "";
    struct note notes[3] = {0};
    arm_note(&notes[0], 'a', text, 0);
    arm_note(&notes[1], 'b', text, 0);
    arm_note(&notes[2], 'c', text, 0);
    notes[0].disarm = &notes[1].timer;
    run_for(5);
    assert_string_equal(text, "ac");
}

static void timer_can_arm_itself_again(void **state)
{
    (void)state;
    char text[16] = "";
    struct note note = {0};
    arm_note(&note, 'a', text, 0);
    note.rearm_ms = 3;
    note.stop = true;
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_string_equal(text, "aa");
}

static void timer_of_far_away_does_not_overflow(void **state)
{
    (void)state;
    char text[16] = "";
    struct note note = {0};
    arm_note(&note, 'a', text, INT64_MAX);
    run_for(2);
    assert_string_equal(text, "");
    assert_true(note.timer.armed);
    loop_timer_disarm(&note.timer);
}

struct greedy {
    struct loop_timer timer;
    unsigned rounds;
};

static void on_greedy(void *ctx)
{
    struct greedy *greedy = ctx;
    greedy->rounds++;
    loop_timer_arm(&greedy->timer, 0);
}

static void timer_armed_with_zero_from_its_callback_lets_descriptors_be_served(void **state)
{
    (void)state;
    struct greedy greedy = {.rounds = 0};
    struct loop_watch *watch = NULL;
    int fd = readable_fd();
    loop_timer_init(&greedy.timer, loop, on_greedy, &greedy);
    loop_timer_arm(&greedy.timer, 0);
    assert_int_equal(loop_watch_add(loop, fd, EPOLLIN, stop_on_fd, NULL, &watch, NULL), 0);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_true(greedy.rounds <= 2);
    loop_timer_disarm(&greedy.timer);
    loop_watch_free(watch);
    close(fd);
}

static void time_passes_outside_of_turns(void **state)
{
    (void)state;
    int64_t before = loop_now_ms(loop);
    peer_sleep_ms(3);
    assert_true(loop_now_ms(loop) > before);
    assert_true(loop_wall_ms() > INT64_C(1600000000000)); /* 2020 */
}

static void on_slow_timer(void *ctx)
{
    int64_t *seen = ctx;
    seen[0] = loop_now_ms(loop);
    peer_sleep_ms(5);
    seen[1] = loop_now_ms(loop);
    loop_stop(loop);
}

static void time_stands_still_within_a_turn(void **state)
{
    (void)state;
    int64_t seen[2] = {0, 1};
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, on_slow_timer, seen);
    loop_timer_arm(&timer, 0);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(seen[0], seen[1]);
}

/* Descriptors */

/* Two descriptors are ready in the same turn. The callback that comes first removes both watches and closes the
 * other descriptor; with `replace`, a new watch takes over its number. */
struct rivals {
    struct loop_watch *watches[2];
    int fds[2];
    unsigned calls;
    bool replace;
    struct loop_watch *replacement;
    unsigned replacement_calls;
};

static void on_replacement(void *ctx, int fd, uint32_t events)
{
    struct rivals *rivals = ctx;
    (void)fd;
    (void)events;
    rivals->replacement_calls++;
}

static void on_rival(void *ctx, int fd, uint32_t events)
{
    struct rivals *rivals = ctx;
    int other = fd == rivals->fds[0] ? 1 : 0;
    assert_int_equal(events, EPOLLIN);
    rivals->calls++;
    rivals->watches[other] = loop_watch_free(rivals->watches[other]);
    rivals->watches[1 - other] = loop_watch_free(rivals->watches[1 - other]);
    close(rivals->fds[other]);
    if (!rivals->replace) {
        rivals->fds[other] = -1;
        return;
    }
    assert_int_equal(eventfd(0, EFD_CLOEXEC), rivals->fds[other]);
    assert_int_equal(loop_watch_add(loop, rivals->fds[other], EPOLLIN, on_replacement, rivals,
                                    &rivals->replacement, NULL),
                     0);
}

static void run_rivals(bool replace)
{
    struct rivals rivals = {.replace = replace};
    for (int i = 0; i < 2; i++) {
        rivals.fds[i] = readable_fd();
        assert_int_equal(
            loop_watch_add(loop, rivals.fds[i], EPOLLIN, on_rival, &rivals, &rivals.watches[i], NULL), 0);
    }
    run_for(10);
    assert_int_equal(rivals.calls, 1);
    assert_int_equal(rivals.replacement_calls, 0);
    loop_watch_free(rivals.replacement);
    for (int i = 0; i < 2; i++) {
        if (rivals.fds[i] >= 0)
            close(rivals.fds[i]);
    }
}

static void removed_watch_is_not_called_for_fetched_events(void **state)
{
    (void)state;
    run_rivals(false);
}

static void new_watch_on_the_same_number_does_not_get_the_old_event(void **state)
{
    (void)state;
    run_rivals(true);
}

struct counter {
    unsigned calls;
    unsigned goal; /* stops the loop when reached */
    uint32_t events;
    struct loop_watch *watch;
};

static void on_count(void *ctx, int fd, uint32_t events)
{
    struct counter *counter = ctx;
    (void)fd;
    counter->events = events;
    if (++counter->calls == counter->goal)
        loop_stop(loop);
}

static void watch_is_level_triggered_and_can_change_its_events(void **state)
{
    (void)state;
    struct counter counter = {.goal = 3};
    int fd = readable_fd();
    assert_int_equal(loop_watch_add(loop, fd, EPOLLIN, on_count, &counter, &counter.watch, NULL), 0);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(counter.events, EPOLLIN);
    counter.goal = 4;
    assert_int_equal(loop_watch_change(counter.watch, EPOLLOUT, NULL), 0);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(counter.events, EPOLLOUT);
    counter.goal = 0;
    assert_int_equal(loop_watch_change(counter.watch, 0, NULL), 0);
    run_for(5);
    assert_int_equal(counter.calls, 4);
    loop_watch_free(counter.watch);
    close(fd);
}

static unsigned uncalled; /* of several counters */

static void on_first_count(void *ctx, int fd, uint32_t events)
{
    struct counter *counter = ctx;
    on_count(ctx, fd, events);
    if (counter->calls == 1 && --uncalled == 0)
        loop_stop(loop);
}

static void more_descriptors_than_a_turn_takes_are_all_served(void **state)
{
    (void)state;
    enum { MANY = 3 * LOOP_EVENTS_MAX };
    static struct counter counters[MANY];
    static int fds[MANY];
    memset(counters, 0, sizeof(counters));
    for (int i = 0; i < MANY; i++) {
        fds[i] = readable_fd();
        assert_int_equal(loop_watch_add(loop, fds[i], EPOLLIN, on_first_count, &counters[i], &counters[i].watch, NULL),
                         0);
    }
    uncalled = MANY;
    run_at_most(PEER_PATIENCE_S * 1000);
    for (int i = 0; i < MANY; i++) {
        assert_true(counters[i].calls > 0);
        loop_watch_free(counters[i].watch);
        close(fds[i]);
    }
}

static void what_cannot_be_watched_is_named(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop_watch *watch = NULL;
    struct loop_watch *second = NULL;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(loop_watch_add(loop, file, EPOLLIN, stop_on_fd, NULL, &watch, &err), -EPERM);
    assert_non_null(strstr(err.text, "descriptor"));
    assert_null(watch);
    close(file);
    int fd = readable_fd();
    assert_int_equal(loop_watch_add(loop, fd, EPOLLIN, stop_on_fd, NULL, &watch, NULL), 0);
    assert_int_equal(loop_watch_add(loop, fd, EPOLLIN, stop_on_fd, NULL, &second, &err), -EEXIST);
    assert_null(second);
    loop_watch_free(watch);
    close(fd);
    assert_null(loop_watch_free(NULL));
}

/* Signals */

struct heard {
    int signals[8];
    unsigned count;
    unsigned goal;
};

static void on_heard(void *ctx, int signo)
{
    struct heard *heard = ctx;
    heard->signals[heard->count % 8] = signo;
    if (++heard->count == heard->goal)
        loop_stop(loop);
}

static void signals_come_as_callbacks(void **state)
{
    (void)state;
    struct heard usr1 = {.goal = 0};
    struct heard term = {.goal = 1};
    assert_int_equal(loop_signal_add(loop, SIGUSR1, on_heard, &usr1, NULL), 0);
    assert_int_equal(loop_signal_add(loop, SIGTERM, on_heard, &term, NULL), 0);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGTERM);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(usr1.count, 1);
    assert_int_equal(usr1.signals[0], SIGUSR1);
    assert_int_equal(term.signals[0], SIGTERM);
}

static void signal_added_again_gets_the_new_callback(void **state)
{
    (void)state;
    struct heard first = {.goal = 1};
    struct heard second = {.goal = 1};
    assert_int_equal(loop_signal_add(loop, SIGUSR1, on_heard, &first, NULL), 0);
    assert_int_equal(loop_signal_add(loop, SIGUSR1, on_heard, &second, NULL), 0);
    kill(getpid(), SIGUSR1);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(first.count, 0);
    assert_int_equal(second.count, 1);
}

static void too_many_signals_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct heard heard = {.goal = 0};
    for (int i = 0; i < LOOP_SIGNALS_MAX; i++)
        assert_int_equal(loop_signal_add(loop, SIGRTMIN + i, on_heard, &heard, NULL), 0);
    assert_int_equal(loop_signal_add(loop, SIGRTMIN + LOOP_SIGNALS_MAX, on_heard, &heard, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "signal"));
    assert_int_equal(loop_signal_add(loop, -1, on_heard, &heard, &err), -EINVAL);
    assert_int_equal(loop_signal_add(loop, SIGRTMIN, on_heard, &heard, NULL), 0);
}

static void signal_after_the_loop_is_gone_does_not_kill(void **state)
{
    (void)state;
    struct heard heard = {.goal = 0};
    assert_int_equal(loop_signal_add(loop, SIGTERM, on_heard, &heard, NULL), 0);
    loop = loop_free(loop);
    kill(getpid(), SIGTERM); /* the second SIGTERM of an impatient operator */
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    assert_true(sigismember(&pending, SIGTERM));
    assert_int_equal(loop_new(&loop, NULL), 0);
    heard.goal = 1;
    assert_int_equal(loop_signal_add(loop, SIGTERM, on_heard, &heard, NULL), 0);
    assert_int_equal(loop_run(loop, NULL), 0); /* takes it off the list of pending ones */
}

static void writing_to_a_closed_peer_raises_no_signal(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    close(fds[1]);
    assert_int_equal(write(fds[0], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[0]);
}

/* Hooks */

struct probe {
    struct loop_hook hook;
    int64_t wait_ms;
    unsigned waits;
    unsigned runs;
    unsigned goal;
    struct loop_hook *remove; /* in run */
};

static int64_t probe_wait(void *ctx)
{
    struct probe *probe = ctx;
    probe->waits++;
    return probe->wait_ms;
}

static void probe_run(void *ctx)
{
    struct probe *probe = ctx;
    if (probe->remove != NULL)
        loop_hook_remove(loop, probe->remove);
    if (++probe->runs == probe->goal)
        loop_stop(loop);
}

static void add_probe(struct probe *probe)
{
    probe->hook = (struct loop_hook){.wait_ms = probe_wait, .run = probe_run, .ctx = probe};
    loop_hook_add(loop, &probe->hook);
}

static void hook_shortens_the_wait_and_runs_after_each(void **state)
{
    (void)state;
    struct probe probe = {.wait_ms = 1, .goal = 5};
    struct probe silent = {.wait_ms = -1};
    add_probe(&probe);
    add_probe(&silent);
    assert_int_equal(loop_run(loop, NULL), 0); /* nothing else would wake it within a minute */
    assert_int_equal(probe.waits, 5);
    assert_int_equal(silent.runs, 5);
    loop_hook_remove(loop, &probe.hook);
    loop_hook_remove(loop, &silent.hook);
    loop_hook_remove(loop, &silent.hook); /* not there: nothing happens */
}

static void hook_may_remove_itself_and_the_next(void **state)
{
    (void)state;
    struct probe last = {.wait_ms = 0, .goal = 3};
    struct probe next = {.wait_ms = 0};
    struct probe first = {.wait_ms = 0, .remove = &next.hook};
    add_probe(&last);
    add_probe(&next);
    add_probe(&first); /* the newest comes first */
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(first.runs, 3);
    assert_int_equal(next.runs, 0);
    first.remove = &first.hook;
    last.goal = 6;
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(first.runs, 4);
    loop_hook_remove(loop, &last.hook);
}

/* The whole */

static void stop_before_run_ends_it_at_once(void **state)
{
    (void)state;
    struct probe probe = {.wait_ms = 0};
    add_probe(&probe);
    loop_stop(loop);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(probe.runs, 0);
    loop_hook_remove(loop, &probe.hook);
    run_for(1); /* and the order is forgotten */
}

/* Fails one allocation of ours */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static long allocations_left = -1; /* -1 = all pass */

static bool allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(n, size);
}

static int build_all(struct loop **ret, struct loop_watch **ret_watch, int fd, struct heard *heard)
{
    struct loop *built = NULL;
    int rc = loop_new(&built, NULL);
    if (rc < 0)
        return rc;
    rc = loop_signal_add(built, SIGUSR1, on_heard, heard, NULL);
    if (rc == 0)
        rc = loop_watch_add(built, fd, EPOLLIN, stop_on_fd, NULL, ret_watch, NULL);
    if (rc < 0)
        loop_free(built);
    else
        *ret = built;
    return rc;
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
    (void)state;
    struct heard heard = {.goal = 0};
    int fd = readable_fd();
    int rc = -ENOMEM;
    int failures = 0;
    for (long n = 0; rc < 0; n++, failures++) {
        struct loop *built = NULL;
        struct loop_watch *watch = NULL;
        allocations_left = n;
        rc = build_all(&built, &watch, fd, &heard);
        allocations_left = -1;
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_null(watch);
            continue;
        }
        loop_watch_free(watch);
        loop_free(built);
        break;
    }
    assert_true(failures >= 3); /* the loop, its signal watch, our watch */
    close(fd);
}

/* The process's limit on the size of files is an error of the write, as its callers expect, and not the end of us. */
static void write_past_the_file_size_limit_is_an_error(void **state)
{
    (void)state;
    struct rlimit before, small;
    int fd = memfd_create("test-loop", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(0, getrlimit(RLIMIT_FSIZE, &before));
    small = (struct rlimit){.rlim_cur = 1, .rlim_max = before.rlim_max};
    assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &small));
    ssize_t n = pwrite(fd, "x", 1, 1);
    int code = errno;
    assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &before));
    assert_int_equal(-1, n);
    assert_int_equal(EFBIG, code);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_past_the_file_size_limit_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_fire_in_order_of_time_then_of_arming, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_is_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_disarmed_by_another_of_the_same_turn_is_not_called, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_can_arm_itself_again, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_of_far_away_does_not_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_armed_with_zero_from_its_callback_lets_descriptors_be_served, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(time_passes_outside_of_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(time_stands_still_within_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_watch_is_not_called_for_fetched_events, setup, teardown),
        cmocka_unit_test_setup_teardown(new_watch_on_the_same_number_does_not_get_the_old_event, setup, teardown),
        cmocka_unit_test_setup_teardown(watch_is_level_triggered_and_can_change_its_events, setup, teardown),
        cmocka_unit_test_setup_teardown(more_descriptors_than_a_turn_takes_are_all_served, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_come_as_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(signal_added_again_gets_the_new_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_signals_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(signal_after_the_loop_is_gone_does_not_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(writing_to_a_closed_peer_raises_no_signal, setup, teardown),
        cmocka_unit_test_setup_teardown(hook_shortens_the_wait_and_runs_after_each, setup, teardown),
        cmocka_unit_test_setup_teardown(hook_may_remove_itself_and_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_before_run_ends_it_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_allocation_is_an_error_and_no_leak, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
