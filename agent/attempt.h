/* Something that may fail for a moment (a full disk, a lock that the one before still holds, no descriptor) and is
 * tried again until it works. The waits double from retry-min to retry-max: without jitter, since no fleet meets there.
 */
#ifndef PROFEFE_AGENT_ATTEMPT_H
#define PROFEFE_AGENT_ATTEMPT_H

#include "common/base/err.h"
#include "common/gather/gather_options.h"
#include "common/os/log.h"
#include "common/os/loop.h"

#include <stdint.h>

struct attempt {
    struct loop_timer timer;
    int64_t retry_min_ms, retry_max_ms;
    struct log_throttle throttle;
    unsigned failures;        /* in a row; 0 = none, or not begun */
    int64_t failing_since_ms; /* monotonic; 0 = not failing */
    char words[ERR_TEXT_MAX]; /* of the last failure; "" = none */
};

/* `again` is called when it is to be tried again. */
void attempt_init(struct attempt *attempt, struct loop *loop, const struct gather_options *options,
                  loop_timer_cb *again, void *ctx);

/* It failed: that is logged as a warning with these words, seldom, and it is tried again later. */
void attempt_fail(struct attempt *attempt, const char *msg, const struct err *err);

/* It worked: what failed is forgotten. */
void attempt_succeed(struct attempt *attempt);

/* It is not tried any more. Also for one that is all zeros. */
void attempt_give_up(struct attempt *attempt);

#endif
