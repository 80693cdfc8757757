#include "common/os/loop.h"

#include "common/base/cleanup.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    SIGNALS_READ = 4, /* signals fetched by one read; the rest waits for the next turn */
};

/* Longer delays are cut to this (24 days): keeps the sums far from overflow, and nobody waits so long. */
static const int64_t DELAY_MAX_MS = INT32_MAX;

struct loop_watch {
    struct loop *loop;
    int fd;
    loop_fd_cb *cb; /* NULL = removed, waiting to be freed at the end of the turn */
    void *ctx;
    struct loop_watch *next_dead;
};

struct signal_handler {
    int signo;
    loop_signal_cb *cb;
    void *ctx;
};

struct loop {
    int epoll_fd;
    int signal_fd; /* -1 until the first loop_signal_add */
    bool running;  /* inside loop_run */
    bool stop;
    int64_t now_ms;            /* of this turn */
    struct loop_timer *timers; /* ordered by due_ms; equal ones in the order they were armed */
    struct loop_timer *due;    /* taken off `timers` in this turn, not called yet */
    struct loop_hook *hooks;
    struct loop_hook *next_hook; /* the one after the hook being called */
    struct loop_watch *dead;     /* removed in this turn: events already fetched may still point to them */
    struct loop_watch *signal_watch;
    sigset_t signals;
    struct signal_handler handlers[LOOP_SIGNALS_MAX];
    size_t handler_count;
};

static int64_t clock_ms(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts); /* cannot fail: both clocks always exist on Linux */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->running ? loop->now_ms : clock_ms(CLOCK_MONOTONIC);
}

int64_t loop_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

int64_t loop_steady_ms(void)
{
    static int64_t ahead_ms;
    if (ahead_ms == 0)
        ahead_ms = clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_BOOTTIME);
    return clock_ms(CLOCK_BOOTTIME) + ahead_ms;
}

int loop_new(struct loop **ret, struct err *err)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return err_errno(err, ENOMEM, "event loop");
    loop->signal_fd = -1;
    sigemptyset(&loop->signals);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        int code = errno;
        free(loop);
        return err_errno(err, code, "event loop: epoll_create1");
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    *ret = loop;
    return 0;
}

struct loop *loop_free(struct loop *loop)
{
    if (loop == NULL)
        return NULL;
    assert(!loop->running);
    assert(loop->timers == NULL && loop->hooks == NULL);
    loop_watch_free(loop->signal_watch);
    if (loop->signal_fd >= 0)
        close(loop->signal_fd);
    close(loop->epoll_fd);
    free(loop);
    return NULL;
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

/* Descriptors */

int loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_fd_cb *cb, void *ctx, struct loop_watch **ret,
                   struct err *err)
{
    struct loop_watch *watch = malloc(sizeof(*watch));
    if (watch == NULL)
        return err_errno(err, ENOMEM, "watching descriptor %d", fd);
    *watch = (struct loop_watch){.loop = loop, .fd = fd, .cb = cb, .ctx = ctx};
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int code = errno;
        free(watch);
        return err_errno(err, code, "watching descriptor %d", fd);
    }
    *ret = watch;
    return 0;
}

int loop_watch_change(struct loop_watch *watch, uint32_t events, struct err *err)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
        return err_errno(err, errno, "watching descriptor %d", watch->fd);
    return 0;
}

struct loop_watch *loop_watch_free(struct loop_watch *watch)
{
    if (watch == NULL)
        return NULL;
    assert(watch->cb != NULL); /* not freed before */
    struct loop *loop = watch->loop;
    /* Fails when the descriptor was closed already, which took it out of the epoll set. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->cb = NULL;
    if (loop->running) {
        watch->next_dead = loop->dead;
        loop->dead = watch;
    } else {
        free(watch);
    }
    return NULL;
}

static int wait_events(struct loop *loop, struct epoll_event events[static LOOP_EVENTS_MAX], int wait_ms,
                       struct err *err)
{
    int n = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS_MAX, wait_ms);
    if (n < 0 && errno != EINTR)
        return err_errno(err, errno, "event loop: epoll_wait");
    return n < 0 ? 0 : n;
}

static void call_watches(const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        struct loop_watch *watch = events[i].data.ptr;
        if (watch->cb != NULL)
            watch->cb(watch->ctx, watch->fd, events[i].events);
    }
}

static void free_dead_watches(struct loop *loop)
{
    while (loop->dead != NULL) {
        struct loop_watch *watch = loop->dead;
        loop->dead = watch->next_dead;
        free(watch);
    }
}

/* Timers */

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_cb *cb, void *ctx)
{
    assert(!timer->armed);
    *timer = (struct loop_timer){.loop = loop, .cb = cb, .ctx = ctx};
}

void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms)
{
    loop_timer_disarm(timer);
    int64_t delay = delay_ms < 0 ? 0 : delay_ms > DELAY_MAX_MS ? DELAY_MAX_MS : delay_ms;
    timer->due_ms = loop_now_ms(timer->loop) + delay;
    timer->armed = true;
    struct loop_timer **at = &timer->loop->timers;
    while (*at != NULL && (*at)->due_ms <= timer->due_ms)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
}

static bool take_timer(struct loop_timer **list, const struct loop_timer *timer)
{
    for (struct loop_timer **at = list; *at != NULL; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            return true;
        }
    }
    return false;
}

void loop_timer_disarm(struct loop_timer *timer)
{
    if (!timer->armed)
        return;
    bool found = take_timer(&timer->loop->timers, timer) || take_timer(&timer->loop->due, timer);
    assert(found);
    (void)found;
    timer->armed = false;
    timer->next = NULL;
}

/* Moves the timers that are due to their own list, so that one armed from a callback with delay 0 waits for the
 * next turn: it cannot keep descriptors and hooks from being served. */
static void collect_due_timers(struct loop *loop)
{
    assert(loop->due == NULL);
    struct loop_timer **end = &loop->timers;
    while (*end != NULL && (*end)->due_ms <= loop->now_ms)
        end = &(*end)->next;
    if (end == &loop->timers)
        return;
    loop->due = loop->timers;
    loop->timers = *end;
    *end = NULL;
}

static void call_timers(struct loop *loop)
{
    collect_due_timers(loop);
    while (loop->due != NULL) {
        struct loop_timer *timer = loop->due;
        loop->due = timer->next;
        timer->next = NULL;
        timer->armed = false;
        timer->cb(timer->ctx);
    }
}

/* Signals */

static void call_signal_handler(const struct loop *loop, int signo)
{
    for (size_t i = 0; i < loop->handler_count; i++) {
        if (loop->handlers[i].signo == signo) {
            loop->handlers[i].cb(loop->handlers[i].ctx, signo);
            return;
        }
    }
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
    struct loop *loop = ctx;
    (void)events;
    struct signalfd_siginfo infos[SIGNALS_READ];
    ssize_t n = read(fd, infos, sizeof(infos));
    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(infos[0]); i++)
        call_signal_handler(loop, (int)infos[i].ssi_signo);
}

static struct signal_handler *find_handler(struct loop *loop, int signo)
{
    for (size_t i = 0; i < loop->handler_count; i++) {
        if (loop->handlers[i].signo == signo)
            return &loop->handlers[i];
    }
    return loop->handler_count < LOOP_SIGNALS_MAX ? &loop->handlers[loop->handler_count] : NULL;
}

/* Makes the signalfd, or extends the one we have. */
static int watch_signals(struct loop *loop, const sigset_t *signals, struct err *err)
{
    CLEANUP_CLOSE int made = -1;
    int fd = signalfd(loop->signal_fd, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "signalfd");
    if (loop->signal_fd >= 0)
        return 0;
    made = fd;
    int rc = loop_watch_add(loop, fd, EPOLLIN, on_signal, loop, &loop->signal_watch, err);
    if (rc < 0)
        return rc;
    loop->signal_fd = TAKE_FD(made);
    return 0;
}

int loop_signal_add(struct loop *loop, int signo, loop_signal_cb *cb, void *ctx, struct err *err)
{
    sigset_t signals = loop->signals;
    if (sigaddset(&signals, signo) < 0)
        return err_errno(err, EINVAL, "signal %d", signo);
    struct signal_handler *handler = find_handler(loop, signo);
    if (handler == NULL)
        return err_set(err, ENOSPC, "signal %d: more than %d signals", signo, LOOP_SIGNALS_MAX);
    int rc = watch_signals(loop, &signals, err);
    if (rc < 0)
        return err_wrap(err, rc, "signal %d", signo);
    if (handler == &loop->handlers[loop->handler_count])
        loop->handler_count++;
    *handler = (struct signal_handler){.signo = signo, .cb = cb, .ctx = ctx};
    loop->signals = signals;
    sigprocmask(SIG_BLOCK, &signals, NULL); /* fails only for a bad first argument */
    return 0;
}

/* Hooks */

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
    hook->next = loop->hooks;
    loop->hooks = hook;
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
    for (struct loop_hook **at = &loop->hooks; *at != NULL; at = &(*at)->next) {
        if (*at == hook) {
            *at = hook->next;
            if (loop->next_hook == hook)
                loop->next_hook = hook->next;
            hook->next = NULL;
            return;
        }
    }
}

static void call_hooks(struct loop *loop)
{
    for (struct loop_hook *hook = loop->hooks; hook != NULL; hook = loop->next_hook) {
        loop->next_hook = hook->next;
        hook->run(hook->ctx);
    }
    loop->next_hook = NULL;
}

/* How long this turn may sleep: until the first timer or hook wants to run. The clock is read anew, since the
 * last turn's callbacks may have taken long (a TLS handshake: tens of milliseconds). */
static int choose_wait_ms(const struct loop *loop)
{
    int64_t wait = LOOP_WAIT_MAX_MS;
    if (loop->timers != NULL) {
        int64_t left = loop->timers->due_ms - clock_ms(CLOCK_MONOTONIC);
        wait = left < wait ? left : wait;
    }
    for (struct loop_hook *hook = loop->hooks; hook != NULL; hook = hook->next) {
        int64_t hook_wait = hook->wait_ms(hook->ctx);
        if (hook_wait >= 0 && hook_wait < wait)
            wait = hook_wait;
    }
    return wait < 0 ? 0 : (int)wait;
}

static int run_turn(struct loop *loop, struct err *err)
{
    struct epoll_event events[LOOP_EVENTS_MAX];
    int n = wait_events(loop, events, choose_wait_ms(loop), err);
    if (n < 0)
        return n;
    loop->now_ms = clock_ms(CLOCK_MONOTONIC);
    call_watches(events, n);
    call_timers(loop);
    call_hooks(loop);
    free_dead_watches(loop);
    return 0;
}

int loop_run(struct loop *loop, struct err *err)
{
    assert(!loop->running);
    loop->now_ms = clock_ms(CLOCK_MONOTONIC);
    loop->running = true;
    int rc = 0;
    while (rc == 0 && !loop->stop)
        rc = run_turn(loop, err);
    loop->running = false;
    loop->stop = false;
    return rc;
}
