#include "common/http/listener.h"

#include "common/base/cleanup.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/values/address.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

struct listener {
    struct loop *loop;
    int fd;
    uint16_t port;
    struct listener_calls calls;
    void *ctx;
    uint64_t *pauses;
    struct loop_watch *watch; /* NULL while resting */
    struct loop_timer rest;
};

/* Returns the descriptor, or -Exxx without a message. */
static int open_socket(const struct address *address)
{
    int on = 1;
    int off = 0;
    CLEANUP_CLOSE int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -errno;
    int send = LISTENER_SEND_BUFFER;
    int receive = LISTENER_RECEIVE_BUFFER;
    unsigned untaken_ms = LISTENER_UNTAKEN_MS;
    /* Without it a restart fails while old connections linger in TIME_WAIT. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    /* Accepted sockets inherit them. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof(send)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(receive)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &untaken_ms, sizeof(untaken_ms)) < 0)
        return -errno;
    /* The default of net.ipv6.bindv6only may be either. */
    if (address->any && address->storage.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int open_any(const struct address *address)
{
    int fd = open_socket(address);
    if (!address->any || (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL))
        return fd;
    struct address v4 = address_any_ipv4(address); /* IPv6 is off here */
    return open_socket(&v4);
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    if (getsockname(fd, (struct sockaddr *)&storage, &len) < 0)
        return 0;
    /* Family and port are at the same place in both forms. */
    struct sockaddr_in v4;
    memcpy(&v4, &storage, sizeof(v4));
    return ntohs(v4.sin_port);
}

/* The new connection's own network trouble: the next one may be fine (accept(2), "Error handling"). */
static bool is_transient(int code)
{
    return code == EINTR || code == ECONNABORTED || code == EPERM || code == ENETDOWN || code == EPROTO ||
           code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET || code == EHOSTUNREACH ||
           code == EOPNOTSUPP || code == ENETUNREACH;
}

static bool is_shortage(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

static void start_rest(struct listener *listener)
{
    ++*listener->pauses;
    listener->watch = loop_watch_free(listener->watch);
    loop_timer_arm(&listener->rest, LISTENER_PAUSE_MS);
}

/* Returns 0, also for one that failed on its own; -EAGAIN = nobody waits; else why no more can be taken now. */
static int take_one(struct listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    if (listener->calls.full(listener->ctx))
        return -EBUSY;
    int accepted = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0 && is_shortage(errno) && listener->calls.spare(listener->ctx))
        return -EAGAIN;
    if (accepted < 0)
        return is_transient(errno) ? 0 : -errno;
    listener->calls.accepted(listener->ctx, accepted, (const struct sockaddr *)&peer, len);
    return 0;
}

static void on_ready(void *ctx, int fd, uint32_t events)
{
    struct listener *listener = ctx;
    int rc = 0;
    (void)fd;
    (void)events;
    for (int i = 0; rc == 0 && i < LISTENER_BURST; i++)
        rc = take_one(listener);
    if (rc < 0 && rc != -EAGAIN)
        start_rest(listener);
}

void listener_take_rest(struct listener *listener)
{
    for (int i = 0; i < SOMAXCONN && take_one(listener) == 0; i++)
        ;
}

static int start_watch(struct listener *listener, struct err *err)
{
    return loop_watch_add(listener->loop, listener->fd, EPOLLIN, on_ready, listener, &listener->watch, err);
}

static void on_rested(void *ctx)
{
    struct listener *listener = ctx;
    if (start_watch(listener, NULL) < 0)
        loop_timer_arm(&listener->rest, LISTENER_PAUSE_MS);
}

int listener_new(struct loop *loop, const char *address, const struct listener_calls *calls, void *ctx,
                 uint64_t *pauses, struct listener **ret, struct err *err)
{
    struct quoted quoted;
    struct address parsed;
    int rc = address_parse((struct span){address, strlen(address)}, &parsed, err);
    if (rc < 0)
        return err_wrap(err, rc, "listen address");
    CLEANUP_CLOSE int fd = open_any(&parsed);
    if (fd < 0)
        return err_errno(err, -fd, "cannot listen on %s", quote_text(&quoted, address));
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return err_errno(err, ENOMEM, "cannot listen on %s", quote_text(&quoted, address));
    *listener = (struct listener){.loop = loop, .fd = fd, .port = bound_port(fd), .calls = *calls, .ctx = ctx,
                                  .pauses = pauses};
    loop_timer_init(&listener->rest, loop, on_rested, listener);
    rc = start_watch(listener, err);
    if (rc < 0) {
        free(listener);
        return err_wrap(err, rc, "cannot listen on %s", quote_text(&quoted, address));
    }
    (void)TAKE_FD(fd);
    *ret = listener;
    return 0;
}

struct listener *listener_free(struct listener *listener)
{
    if (listener == NULL)
        return NULL;
    loop_timer_disarm(&listener->rest);
    loop_watch_free(listener->watch);
    close(listener->fd);
    free(listener);
    return NULL;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}
