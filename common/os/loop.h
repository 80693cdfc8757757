/* The event loop: one epoll instance a process, no threads.
 *
 * Descriptors, timers, signals (signalfd) and "hooks". A hook is for a library that has its own idea of
 * time (libmicrohttpd): before each wait it may shorten the wait, after each wait it is run.
 * All callbacks run from loop_run() on the calling thread. A callback may add and remove anything,
 * itself included; a removed watch is never called again, also not for events already fetched.
 * One turn: wait, then descriptors, timers that are due, hooks.
 *
 * Times are CLOCK_MONOTONIC in milliseconds: a suspended machine causes no burst, a stepped wall clock
 * none either. loop_now_ms() is read once a turn; loop_wall_ms() is CLOCK_REALTIME, read when asked.
 *
 * Limits: LOOP_EVENTS_MAX events are handled a turn; the number of watches is bounded by the callers' own
 * ceilings (connections, transfers).
 */
#ifndef PROFEFE_LOOP_H
#define PROFEFE_LOOP_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LOOP_EVENTS_MAX = 64,          /* events fetched a turn: keeps a turn short */
    LOOP_WAIT_MAX_MS = 60 * 1000,  /* longest sleep; a lost wake-up costs at most this */
    LOOP_SIGNALS_MAX = 8,          /* different signals handled */
};

struct loop;

/* Sets SIGPIPE to be ignored in the whole process, since the libraries on the loop write to sockets that peers close;
 * and SIGXFSZ, so that a write past the limit of file sizes (RLIMIT_FSIZE, memfd included) fails with EFBIG. */
MUST_CHECK int loop_new(struct loop **ret, struct err *err);
/* NULL allowed; everything but signals must have been removed before; not from a callback; returns NULL. The
 * signals stay blocked, so that one sent twice does not kill the process on its last steps. */
struct loop *loop_free(struct loop *loop);

/* Runs until loop_stop(), also one called before. Returns 0, or -Exxx when epoll itself fails. */
MUST_CHECK int loop_run(struct loop *loop, struct err *err) NONNULL(1);
void loop_stop(struct loop *loop);

int64_t loop_now_ms(const struct loop *loop);
int64_t loop_wall_ms(void);

/* Unix time as the clock had it at the first call, gone on steadily since, through a suspended machine too: for ages,
 * which a clock that is set must not change. */
int64_t loop_steady_ms(void);

/* Descriptors: events is EPOLLIN | EPOLLOUT …, level-triggered. The descriptor stays the caller's. -ENOMEM, -ENOSPC
 * (max_user_watches), -EEXIST (watched already), -EPERM (a regular file). */
struct loop_watch;
typedef void loop_fd_cb(void *ctx, int fd, uint32_t events);
MUST_CHECK int loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_fd_cb *cb, void *ctx,
                              struct loop_watch **ret, struct err *err) NONNULL(1);
MUST_CHECK int loop_watch_change(struct loop_watch *watch, uint32_t events, struct err *err) NONNULL(1);
/* Call it before close(fd): else another watch that has got the same number meanwhile would be deaf. NULL allowed;
 * returns NULL. */
struct loop_watch *loop_watch_free(struct loop_watch *watch);

/* Timers are embedded in their owner: zero-initialise, then set cb and ctx by loop_timer_init. One-shot. A timer
 * armed with 0 fires in the next turn, never from inside loop_timer_arm(). */
typedef void loop_timer_cb(void *ctx);
struct loop_timer {
    struct loop *loop;
    loop_timer_cb *cb;
    void *ctx;
    int64_t due_ms;
    bool armed;
    struct loop_timer *next; /* the loop's list, ordered by due_ms */
};
void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_cb *cb, void *ctx);
void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms); /* < 0 counts as 0; arming again moves it; no memory */
void loop_timer_disarm(struct loop_timer *timer);                /* must happen before the owner is freed */

/* Signals: blocks the signal for the process and delivers it as a callback. Call it before any thread starts
 * (libcurl's resolver has some), so that they inherit the mask. -ENOSPC over LOOP_SIGNALS_MAX; adding a
 * signal again replaces its callback. */
typedef void loop_signal_cb(void *ctx, int signo);
MUST_CHECK int loop_signal_add(struct loop *loop, int signo, loop_signal_cb *cb, void *ctx, struct err *err) NONNULL(1);

/* Hooks: wait_ms(ctx) returns how long the loop may sleep (-1 = no opinion); run(ctx) after every wait. Embedded. */
struct loop_hook {
    int64_t (*wait_ms)(void *ctx);
    void (*run)(void *ctx);
    void *ctx;
    struct loop_hook *next;
};
void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

#endif
