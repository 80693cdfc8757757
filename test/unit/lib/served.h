/* A server under test, with a handler for each case, and a client of it that runs in a thread of its own. */
#ifndef PROFEFE_TEST_SERVED_H
#define PROFEFE_TEST_SERVED_H

#include "common/http/httpd.h"
#include "peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERVED_BODY_MAX = 1024 * 1024,
    SERVED_RESPONSE_MAX = 64 * 1024,
    SERVED_CUT_MS = 300, /* request deadline of the tests that wait for it */
};

extern struct loop *served_loop;
extern struct httpd *served_httpd;

/* What the handler saw last. */
struct served_seen {
    unsigned calls;
    char method[16];
    char path[64];
    char accept[64];
    size_t body_len;
    unsigned body_sum; /* of its bytes */
    bool terminated;
    int64_t received_ns;
    bool quiesce; /* do it from the handler */
};
extern struct served_seen served_seen;

/* Called at each request that reaches a handler; NULL from each start on. */
extern void (*served_on_request)(void);

struct httpd_options served_default_options(void);
void served_start_with(const struct httpd_options *options); /* fails the test where it does not start */
void served_start(void);
int served_setup(void **state);
int served_teardown(void **state);

uint64_t served_refused(enum httpd_refusal reason);
void served_run_for(int64_t ms);

/* Turns until the server has no connection left. */
void served_run_until_empty(void);

/* A client: sends one text, optionally more bytes, and reads until the server closes or `until` stands there. */
struct served_client {
    const char *send;
    size_t fill;        /* bytes of 'x' after it */
    const char *after;  /* and this */
    const char *until;
    bool half_close;    /* after sending */
    bool sent;
    char reply[PEER_TEXT_MAX];
    size_t reply_len;
};
extern struct served_client served_client;

#define SERVED_HEAD_CLOSE "Host: x\r\nConnection: close\r\n"

void served_play_client(void *client);        /* a struct served_client */
const char *served_ask(const char *request);  /* the reply, until the next question */
void served_play_leaver(void *text);          /* sends it and goes without a word */

struct served_trickle {
    const char *begin;
    bool drip;      /* a byte every 20 ms, never ending */
    uint64_t sent;
};

void served_play_trickle(void *trickle);

void served_assert_contains(const char *text, const char *part);
void served_assert_lacks(const char *text, const char *part);
void served_assert_starts(const char *text, const char *start);

#endif
