#include "common/gather/account.h"

static void count_drop(struct account *account, const char *reason, uint64_t profiles)
{
    account->drops[account->drop_count++] = (struct account_drop){reason, profiles};
    account->dropped += profiles;
}

void account_read(struct account *ret, const struct spool_stats *spool, const struct push_stats *push)
{
    *ret = (struct account){
        .taken = spool->taken,
        .stored = push->results[DELIVERY_STORED] + push->results[DELIVERY_FOUND],
        .waiting = spool->items + spool->held_lost,
    };
    for (unsigned r = 0; r < SPOOL_DROP_COUNT; r++)
        count_drop(ret, spool_drop_names[r], spool->dropped[r]);
    for (unsigned r = 0; r < PUSH_DROP_COUNT; r++)
        count_drop(ret, push_drop_names[r], push->dropped[r]);
}

void account_add(struct account *account, const struct spool_stats *spool)
{
    account->taken += spool->taken;
    account->waiting += spool->items + spool->held_lost;
    for (unsigned r = 0; r < SPOOL_DROP_COUNT; r++) {
        account->drops[r].profiles += spool->dropped[r];
        account->dropped += spool->dropped[r];
    }
}

void account_drop_waiting(struct account *account, const char *reason)
{
    count_drop(account, reason, account->waiting);
    account->waiting = 0;
}
