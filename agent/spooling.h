/* Where the daemon's profiles wait. A sidecar whose directory cannot be opened now (the one before still holds it, the
 * disk is full) does not go without: a small spool in memory stands in, and the directory is tried again. Once that
 * opens, new profiles go there, and the memory is emptied first.
 */
#ifndef PROFEFE_AGENT_SPOOLING_H
#define PROFEFE_AGENT_SPOOLING_H

#include "agent/attempt.h"
#include "agent/options.h"
#include "common/gather/account.h"
#include "common/spool/spool.h"

#include <stdbool.h>

struct spooling {
    const struct options *options;
    struct spool *spool;      /* where new profiles go; NULL = not open */
    struct spool *stand_in;   /* in memory, where they went before; NULL = never */
    struct attempt directory; /* failing: it is not open yet */
    uint64_t recreated;       /* times that were said */
};

/* Borrows the options. `again` is called when it is time for spooling_try_directory. */
void spooling_init(struct spooling *spooling, struct loop *loop, const struct options *options, loop_timer_cb *again,
                   void *ctx);

/* may_stand_in: a directory that cannot be opened is no failure. */
int spooling_open(struct spooling *spooling, bool may_stand_in, struct err *err);
void spooling_close(struct spooling *spooling); /* users of the spools are gone; also one that is all zeros */

/* Tries the directory once more. True: `spool` is another one from now on. */
bool spooling_try_directory(struct spooling *spooling);

/* Says in the log when somebody has removed the directory under way. */
void spooling_watch(struct spooling *spooling);

/* Charged to both spools. */
uint64_t spooling_bytes(const struct spooling *spooling);

/* Of both spools together. Returns how many of the waiting ones do so in memory, and are lost when it ends now. */
uint64_t spooling_read_account(const struct spooling *spooling, const struct push_stats *push, struct account *ret);

#endif
