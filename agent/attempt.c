#include "agent/attempt.h"

#include <stdio.h>

void attempt_init(struct attempt *attempt, struct loop *loop, const struct gather_options *options,
                  loop_timer_cb *again, void *ctx)
{
    *attempt = (struct attempt){.retry_min_ms = options->retry_min_ms, .retry_max_ms = options->retry_max_ms};
    loop_timer_init(&attempt->timer, loop, again, ctx);
}

static int64_t wait_ms(const struct attempt *attempt)
{
    int64_t wait = attempt->retry_min_ms;
    for (unsigned i = 1; i < attempt->failures && wait < attempt->retry_max_ms; i++)
        wait *= 2;
    return wait < attempt->retry_max_ms ? wait : attempt->retry_max_ms;
}

void attempt_fail(struct attempt *attempt, const char *msg, const struct err *err)
{
    int64_t now_ms = loop_now_ms(attempt->timer.loop);
    if (attempt->failures == 0)
        attempt->failing_since_ms = now_ms;
    if (attempt->failures < UINT32_MAX)
        attempt->failures++;
    snprintf(attempt->words, sizeof(attempt->words), "%s", err->text);
    loop_timer_arm(&attempt->timer, wait_ms(attempt));
    log_throttled(&attempt->throttle, now_ms, LOG_LEVEL_WARN, msg,
                  LOG_FIELDS(LOG_ERR(err), LOG_I64("retry_ms", wait_ms(attempt))));
}

void attempt_succeed(struct attempt *attempt)
{
    attempt_give_up(attempt);
    attempt->failures = 0;
    attempt->failing_since_ms = 0;
    attempt->words[0] = '\0';
    log_throttle_reset(&attempt->throttle);
}

void attempt_give_up(struct attempt *attempt)
{
    if (attempt->timer.loop != NULL)
        loop_timer_disarm(&attempt->timer);
}
