#include "common/http/retry.h"

#include "common/base/number.h"
#include "common/base/span.h"

#include <string.h>
#include <time.h>

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

int64_t retry_next_ms(struct retry *retry, int64_t retry_after_ms, uint64_t random)
{
    int64_t ceiling = clamp(retry->min_ms, RETRY_FLOOR_MS, retry->max_ms);
    for (unsigned i = 0; i < retry->failures && ceiling < retry->max_ms; i++)
        ceiling = ceiling > retry->max_ms / 2 ? retry->max_ms : ceiling * 2;
    if (retry->failures < UINT32_MAX)
        retry->failures++;
    int64_t span = ceiling > RETRY_FLOOR_MS ? ceiling - RETRY_FLOOR_MS + 1 : 1;
    int64_t wait = RETRY_FLOOR_MS + (int64_t)(random % (uint64_t)span);
    return wait > retry_after_ms ? wait : retry_after_ms;
}

void retry_reset(struct retry *retry)
{
    retry->failures = 0;
}

int64_t retry_parse_after(const char *text, int64_t wall_ms)
{
    uint64_t seconds;
    struct tm tm = {0};
    struct span span = span_trim((struct span){text, strlen(text)});
    if (number_parse_u64(span, 0, UINT64_MAX, &seconds, NULL) == 0)
        return seconds > RETRY_AFTER_MAX_MS / 1000 ? RETRY_AFTER_MAX_MS : (int64_t)seconds * 1000;
    /* RFC 9110 §5.6.7: senders must write IMF-fixdate. */
    const char *end = strptime(span.ptr, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || span_trim((struct span){end, strlen(end)}).len > 0)
        return -1;
    int64_t at_ms = (int64_t)timegm(&tm) * 1000;
    return clamp(at_ms - wall_ms, 0, RETRY_AFTER_MAX_MS);
}
