/* A way out for profiles: what each way does, and how a try on it ends. deliver_http.h and deliver_dir.h make one each;
 * whoever sends (push.h) knows no more of them than this.
 */
#ifndef PROFEFE_DELIVERY_H
#define PROFEFE_DELIVERY_H

#include "common/base/cleanup.h"
#include "common/push/outgoing.h"

#include <stdbool.h>
#include <stdint.h>

/* How a try ended; the metric label `result`. */
enum delivery_result {
    DELIVERY_STORED,
    DELIVERY_FOUND,     /* it was there already: an unanswered try had stored it */
    DELIVERY_REFUSED,   /* 400, 422 in profefe's words, or ids that readers refuse: dropped */
    DELIVERY_TOO_LARGE, /* 413: dropped */
    DELIVERY_LATER,     /* 408, 429, 5xx */
    DELIVERY_WRONG,     /* the collector or its URL is wrong: 401, 403, 404, 3xx, not profefe's reply, … */
    DELIVERY_NETWORK,   /* no reply: not resolved, refused, reset, timed out before the body was sent */
    DELIVERY_UNSURE,    /* no reply after the whole body was sent: it may be stored, and is asked for first */
    DELIVERY_WRITE,     /* the output directory cannot be written */
    DELIVERY_NO_LENGTH, /* a body without a length is refused or emptied on the way: kept, from now on sent with one */
    DELIVERY_GONE,      /* evicted from the spool while it was sent */
    DELIVERY_RESULT_COUNT,
};
extern const char *const delivery_result_names[DELIVERY_RESULT_COUNT];

struct delivery_end {
    enum delivery_result result;
    bool refused_connection; /* DELIVERY_NETWORK: nobody listens there */
    bool broke_inside;       /* DELIVERY_NETWORK: the connection broke after some of the body */
    bool unchecked;          /* DELIVERY_STORED, _FOUND: its ids were to be checked, and could not */
    int64_t retry_after_ms;  /* -1 = the server did not say */
    char words[ERR_TEXT_MAX];
};
typedef void delivery_done(void *ctx, const struct delivery_end *end);

void delivery_end_set(struct delivery_end *end, enum delivery_result result, const char *words);
void delivery_end_set_unread(struct delivery_end *end, int code); /* outgoing_read or _scan gave this -Exxx */

struct delivery;

/* One try at a time. `done` is called once for each send or ask that returned 0, never from inside it; where they
 * return -Exxx it cannot even begin, and *end tells how that counts. */
struct delivery_ops {
    /* Sends a profile that is ready to be read. */
    int (*send)(struct delivery *delivery, struct outgoing *outgoing, struct delivery_end *end);
    /* Asks whether the profile is stored. Ends as DELIVERY_FOUND; as DELIVERY_NETWORK when it could not be sent either;
     * else as DELIVERY_UNSURE: send it. NULL: this way leaves no try in doubt. */
    int (*ask)(struct delivery *delivery, struct outgoing *outgoing, struct delivery_end *end);
    /* Ends the try under way, if there is one; `done` is not called for it. */
    void (*cancel)(struct delivery *delivery);
    /* Frees what the way added; nothing is under way. */
    void (*release)(struct delivery *delivery);
};

/* The first member of each way's own struct. */
struct delivery {
    const struct delivery_ops *ops;
    const char *destination; /* for the log: a URL or a path; borrowed */
    delivery_done *done;     /* set by who sends */
    void *ctx;
};

/* Cancels what is under way; NULL allowed; returns NULL. */
struct delivery *delivery_free(struct delivery *delivery);

void delivery_cleanup(struct delivery **delivery);
#define CLEANUP_DELIVERY CLEANUP(delivery_cleanup)

#endif
