/* For tests of code that lives on the loop: blocking peers on their own threads and raw sockets on 127.0.0.1.
 * The loop runs in the test's thread until the peer is through.
 *
 * Asserts of cmocka must not be used on a peer's thread: a peer notes what it saw, the test looks at it afterwards.
 */
#ifndef PROFEFE_TEST_PEER_H
#define PROFEFE_TEST_PEER_H

#include "common/base/err.h"
#include "common/os/loop.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    PEER_PATIENCE_S = 30,   /* longest wait of anything here: only a broken test gets there */
    PEER_TEXT_MAX = 96 * 1024,
};

/* Sockets. Functions that return one return -1 when there is none; close() it. */

/* No send or receive on fd waits longer than PEER_PATIENCE_S. */
void peer_set_patience(int fd);

/* Connects to 127.0.0.1. */
int peer_connect(uint16_t port);

/* A socket bound to 127.0.0.1; *port 0 takes a free one and tells which. As long as nobody listens there, connections
 * are refused, and nobody gets the port by chance; who sets SO_REUSEADDR may listen on it all the same. */
int peer_bind(uint16_t *port);

/* A listening socket on 127.0.0.1; port as for peer_bind(). */
int peer_listen(uint16_t *port);

/* Sends all of it; false when the other side does not take it. */
bool peer_send_n(int fd, const char *bytes, size_t len);
bool peer_send(int fd, const char *text);
/* Sends the letter x, `count` times. */
bool peer_send_fill(int fd, size_t count);

/* Reads until `end` stands in the text, the peer closes, or the text is full. NUL-terminated. Returns its length. */
size_t peer_read_until(int fd, const char *end, char text[static PEER_TEXT_MAX]);

/* Reads and forgets until the peer closes; returns how many bytes that were. */
uint64_t peer_drain(int fd);

/* Closes with a reset in place of a FIN. */
void peer_reset(int fd);

void peer_sleep_ms(long ms);
/* The monotonic clock, and the CPU time of the process. */
int64_t peer_now_ms(void);
int64_t peer_cpu_ms(void);

/* Threads */

typedef void peer_script(void *ctx);

struct peer {
    pthread_t thread;
    peer_script *script;
    void *ctx;
    int finished_fd; /* eventfd */
    struct loop *loop;
    bool late;
};

/* Runs the script on a thread of its own; peer_join() waits for its end and must follow. */
void peer_start(struct peer *peer, peer_script *script, void *ctx);
void peer_join(struct peer *peer);

/* Runs the loop until the script has ended, then joins its thread. False when it took too long. */
bool peer_run_loop(struct peer *peer, struct loop *loop);

/* Runs the loop for so long, or until something else stops it. False when it failed. */
bool peer_run_loop_for(struct loop *loop, int64_t ms);

/* Runs the script beside the loop. */
bool peer_play(struct loop *loop, peer_script *script, void *ctx);

#endif
