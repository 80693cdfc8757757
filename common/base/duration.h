/* Durations: checked parsing and writing. Pure. Errors as in number.h. */
#ifndef PROFEFE_DURATION_H
#define PROFEFE_DURATION_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* An integer with a unit ms, s, m or h ("90s", "5m"), within [min_ms, max_ms]. */
int duration_parse(struct span text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms, struct err *err);

/* Seconds as the setting `types` has them: "10" or "10s"; with fractions also "0.5", "0.5s" (up to three decimals). The
 * result is in milliseconds, within [min_ms, max_ms]. */
MUST_CHECK int duration_parse_seconds(struct span text, bool fractions, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                                      struct err *err);

/* Writes a duration in the largest unit that divides it ("90s", "5m", "250ms"). */
struct duration_text {
    char text[24];
};
const char *duration_format(struct duration_text *out, int64_t ms);

#endif
