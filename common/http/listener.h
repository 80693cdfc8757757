/* A listening TCP socket on the loop that hands out accepted connections.
 *
 * It never spins: when descriptors, kernel memory or its owner's room run out, it stops looking for LISTENER_PAUSE_MS
 * and tries again; the clients wait in the kernel's backlog meanwhile.
 */
#ifndef PROFEFE_LISTENER_H
#define PROFEFE_LISTENER_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/os/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    LISTENER_BURST = 16,      /* connections accepted a turn, so that those we have are served as well */
    LISTENER_PAUSE_MS = 100,  /* rest after EMFILE and the like: soon enough for people, long enough for the CPU */
    /* Bytes that wait in the kernel for a connection, each way, doubled by it: what a client that reads nothing costs,
     * and it counts against the memory limit. A reply mostly fits; a large body comes by windows of it. */
    LISTENER_SEND_BUFFER = 8 * 1024,
    LISTENER_RECEIVE_BUFFER = 16 * 1024,
    LISTENER_UNTAKEN_MS = 10 * 1000, /* what a client takes nothing of for so long is thrown away, closed or not */
};

struct listener;

/* One accepted connection: fd is non-blocking, close-on-exec, and the callee's to close.
 * Must not free the listener. */
typedef void listener_cb(void *ctx, int fd, const struct sockaddr *addr, socklen_t addr_len);

/* Asked before each connection is taken: true = no room now, the clients wait in the kernel's backlog for
 * LISTENER_PAUSE_MS. */
typedef bool listener_full_cb(void *ctx);

/* There was no descriptor, or no memory, for one more. True = somebody was sent away for it: it is tried again in the
 * loop's next turn. False = after LISTENER_PAUSE_MS. */
typedef bool listener_spare_cb(void *ctx);

struct listener_calls {
    listener_cb *accepted;
    listener_full_cb *full;
    listener_spare_cb *spare;
};

/* address: see address.h; without a host all addresses, IPv4 alone where IPv6 is off. *pauses counts the rests; it must
 * outlive the listener. -EINVAL on a bad address, -EADDRINUSE, -EACCES, … with a message that names it. */
MUST_CHECK int listener_new(struct loop *loop, const char *address, const struct listener_calls *calls, void *ctx,
                            uint64_t *pauses, struct listener **ret, struct err *err) NONNULL(1);

/* Takes what waits in the backlog, as long as there is room: closing the port would reset it. */
void listener_take_rest(struct listener *listener);
struct listener *listener_free(struct listener *listener); /* closes the port; NULL allowed; returns NULL */

static inline void listener_free_scope(struct listener **listener)
{
    listener_free(*listener);
}

#define CLEANUP_LISTENER CLEANUP(listener_free_scope)

uint16_t listener_port(const struct listener *listener);

#endif
