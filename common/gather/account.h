/* The account of profiles, from the counters of the spool they went through and of the pusher that emptied it. Pure.
 *
 * At any time taken = stored + dropped + waiting. */
#ifndef PROFEFE_ACCOUNT_H
#define PROFEFE_ACCOUNT_H

#include "common/push/push.h"
#include "common/spool/spool.h"

#include <stdint.h>

enum { ACCOUNT_REASONS_MAX = SPOOL_DROP_COUNT + PUSH_DROP_COUNT + 1 };

struct account {
    uint64_t taken;   /* reached the spool, found in it at the start or lost on the way into it included */
    uint64_t stored;  /* the push was answered, or the collector turned out to have it */
    uint64_t dropped; /* the sum of drops */
    uint64_t waiting;
    unsigned drop_count;
    struct account_drop {
        const char *reason; /* a literal */
        uint64_t profiles;
    } drops[ACCOUNT_REASONS_MAX]; /* every reason there is, in an order that stays; most are 0 */
};

void account_read(struct account *ret, const struct spool_stats *spool, const struct push_stats *push);

/* Adds a spool that the same pusher emptied before that one. */
void account_add(struct account *account, const struct spool_stats *spool);

/* What waits is lost for this reason, a literal: its spool goes. At most once. */
void account_drop_waiting(struct account *account, const char *reason);

#endif
