/* Who makes room when a server has no place left: the policy of overload. It looks at a table and calls nothing.
 *
 * Connections. A newcomer that finds all places taken gets that of somebody who holds one for nothing. Strangers, whose
 * requests have never been answered well, go before the others, and each has its grace first. In this order:
 *   1. strangers that never asked anything, HTTPD_ROOM_SILENT_MS after they came;
 *   2. strangers that keep an idle connection;
 *   3. strangers that have been sending a request or reading its reply for longer than HTTPD_ROOM_SLOW_MS;
 *   4. while no stranger is in its grace, the others: those slow in the same way, then those idle.
 * Of equals the one goes that has been so for longest. Where nobody can be spared, the newcomer waits: every grace is
 * over within HTTPD_ROOM_SLOW_MS, which an API server's timeout of 2 s outlasts.
 *
 * Peers. Where an address has its share of the places, its own make room for its newcomer in the same order, and where
 * none of them can be spared the newcomer waits, also while other places are free: nobody can push all others out.
 *
 * Bodies. When the bodies under way are too much together, the largest goes, whoever came last. Those over
 * HTTPD_ROOM_SMALL_BODY bytes never take the last quarter of the memory, which is kept for the small ones. What counts
 * is what was received.
 */
#ifndef PROFEFE_HTTPD_ROOM_H
#define PROFEFE_HTTPD_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTPD_ROOM_SILENT_MS = 100,         /* a client's time to begin: a handshake over a slow link */
    HTTPD_ROOM_SLOW_MS = 250,           /* a request of a few KB and its reply take some milliseconds */
    HTTPD_ROOM_SMALL_BODY = 256 * 1024, /* bytes; most reviews have less than a tenth of it */
};

enum httpd_room_stage {
    HTTPD_ROOM_WAITING, /* no request line yet; the TLS handshake included */
    HTTPD_ROOM_HEADERS, /* the request line is there */
    HTTPD_ROOM_BODY,    /* the headers are there */
    HTTPD_ROOM_REPLY,   /* the reply is queued */
};

/* A connection, as far as it matters here. */
struct httpd_room_guest {
    enum httpd_room_stage stage;
    bool used;      /* a request line came */
    bool good;      /* a request was answered with 200, and the answer was read */
    bool unread;    /* bytes wait that nobody has looked at: a request may have begun */
    bool leaving;   /* was cut already, and holds no place any more */
    bool same_peer; /* has the newcomer's address */
    int64_t age_ms; /* since it came, or its last request ended, or the one under way began */
    size_t body;    /* bytes received of a body that is not whole */
};

enum httpd_room_answer {
    HTTPD_ROOM_FREE,     /* there is room */
    HTTPD_ROOM_CUT_IDLE, /* once guest *ret is cut, who did nothing */
    HTTPD_ROOM_CUT_SLOW, /* once guest *ret is cut, in the middle of a request */
    HTTPD_ROOM_WAIT,     /* not now */
};

struct httpd_room_limits {
    unsigned places;   /* at least 1 */
    unsigned peer_max; /* of these for one address; 0 = all */
};

/* Where is a place for one more? *ret is written only with the two CUTs. */
enum httpd_room_answer httpd_room_find(const struct httpd_room_guest *guests, size_t count,
                                       const struct httpd_room_limits *limits, size_t *ret);

/* What the bodies under way have received, bytes. */
struct httpd_room_bodies {
    size_t all;
    size_t large; /* of these in bodies over HTTPD_ROOM_SMALL_BODY */
};

/* One of them goes from `before` to `after` bytes. */
void httpd_room_count_body(struct httpd_room_bodies *bodies, size_t before, size_t after);
bool httpd_room_has_bodies_left(const struct httpd_room_bodies *bodies, size_t max);

/* Whose body goes: the largest, of equals the oldest. `count` when there is none. */
size_t httpd_room_largest_body(const struct httpd_room_guest *guests, size_t count);

#endif
