/* How long to wait before the next try: exponential with full jitter, capped; Retry-After honoured and clamped. Pure:
 * the random number is passed in. */
#ifndef PROFEFE_RETRY_H
#define PROFEFE_RETRY_H

#include <stdint.h>

enum {
    RETRY_AFTER_MAX_MS = 10 * 60 * 1000, /* a server may say a century */
    RETRY_FLOOR_MS = 10,                 /* full jitter may draw 0; never spin */
};

struct retry {
    int64_t min_ms; /* ceiling of the first wait */
    int64_t max_ms; /* ceiling of all waits */
    unsigned failures;
};

/* Counts a failure and returns the wait: uniform in [RETRY_FLOOR_MS, min(max, min * 2^(failures - 1))], and not less
 * than retry_after_ms (-1 = none). */
int64_t retry_next_ms(struct retry *retry, int64_t retry_after_ms, uint64_t random);

void retry_reset(struct retry *retry);

/* Retry-After (RFC 9110 §10.2.3): seconds, or an HTTP date against wall_ms. Milliseconds clamped to
 * [0, RETRY_AFTER_MAX_MS], or -1 when the text is neither. */
int64_t retry_parse_after(const char *text, int64_t wall_ms);

#endif
