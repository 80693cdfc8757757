/* Newcomers that are accepted and wait for a place, in the order in which they came: those whose address has its share
 * of the connections. Nothing of theirs is read, and they cost a descriptor and what the kernel takes for them.
 */
#ifndef PROFEFE_HTTPD_QUEUE_H
#define PROFEFE_HTTPD_QUEUE_H

#include "common/base/err.h"
#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct httpd_newcomer {
    int fd;
    struct sockaddr_storage address;
    socklen_t address_len;
    int64_t since_ms; /* when it came, by the loop's clock */
};

/* All zero = none wait, and none can. */
struct httpd_queue {
    struct httpd_newcomer *newcomers; /* the oldest first */
    size_t count, max;
};

/* Room for max newcomers. 0 or -ENOMEM. */
MUST_CHECK int httpd_queue_init(struct httpd_queue *queue, size_t max, struct err *err) NONNULL(1);
void httpd_queue_done(struct httpd_queue *queue); /* closes those that wait */

/* False, and nothing done, where there is no room. Its descriptor is the queue's then. */
bool httpd_queue_add(struct httpd_queue *queue, const struct httpd_newcomer *newcomer);

/* Takes the one at index out; its descriptor is the caller's then. */
struct httpd_newcomer httpd_queue_take(struct httpd_queue *queue, size_t index);

#endif
