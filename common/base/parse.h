/* Checked parsing of numbers, booleans and durations. Pure; no locale; the whole text must match.
 *
 * Each returns 0 or -EINVAL / -ERANGE with a message of the form `expected …, got "…"`; the caller wraps
 * it with the name of the thing (annotation, key, flag). Outputs are untouched on failure.
 */
#ifndef PROFEFE_PARSE_H
#define PROFEFE_PARSE_H

#include "common/base/err.h"
#include "common/base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only, no sign, within [min, max]. */
int parse_u64(struct span text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);

/* The words of Contract 1 in any case: true 1 t yes y on / false 0 f no n off. */
int parse_bool(struct span text, bool *ret, struct err *err);

/* The same words as lists ending in NULL, so that tests can compare them with the CEL of the manifests. */
extern const char *const parse_true_words[];
extern const char *const parse_false_words[];

/* An integer with a unit ms, s, m or h ("90s", "5m"), within [min_ms, max_ms]. */
int parse_duration_ms(struct span text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms, struct err *err);

/* Seconds as profefe's `types` setting has them: "10" or "10s"; with fractions also "0.5", "0.5s" (up to
 * three decimals). The result is in milliseconds, within [min_ms, max_ms]. */
int parse_seconds_ms(struct span text, bool fractions, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                     struct err *err);

/* A share such as "25%" or "0.5%": above 0 and at most 100, up to two decimals. The result is in hundredths of a percent,
 * 1 to PARSE_PERCENT_ALL. */
enum { PARSE_PERCENT_ALL = 100 * 100 };
int parse_percent(struct span text, unsigned *ret, struct err *err);

/* Writes a duration in the largest unit that divides it ("90s", "5m", "250ms"). */
struct parse_duration_text {
    char text[24];
};
const char *parse_format_duration(struct parse_duration_text *out, int64_t ms);

#endif
