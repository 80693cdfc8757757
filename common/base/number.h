/* Checked parsing of whole numbers and shares, and whole numbers as text. Pure; no locale; the whole text must match.
 *
 * Each returns 0 or -EINVAL / -ERANGE with a message of the form `expected …, got "…"`; the caller wraps it with the
 * name of the thing (annotation, key, flag). Outputs are untouched on failure.
 */
#ifndef PROFEFE_NUMBER_H
#define PROFEFE_NUMBER_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <stdint.h>

/* Decimal digits only, no sign, within [min, max]. */
int number_parse_u64(struct span text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);

/* A share such as "25%" or "0.5%": above 0 and at most 100, up to two decimals. The result is in hundredths of a
 * percent, 1 to NUMBER_PERCENT_ALL. */
enum { NUMBER_PERCENT_ALL = 100 * 100 };
MUST_CHECK int number_parse_percent(struct span text, unsigned *ret, struct err *err);

/* Reads the digits that text begins with, for parsers of more than a number; returns how many, 0 on none. Saturates at
 * UINT64_MAX. */
MUST_CHECK size_t number_read_digits(struct span text, uint64_t *ret);

enum { NUMBER_TEXT_MAX = sizeof("18446744073709551615") };

/* Writes the decimal digits and a NUL; returns how many digits. A review writes a dozen numbers, and printf takes a
 * thousand instructions for each. */
size_t number_format_u64(uint64_t number, char out[static NUMBER_TEXT_MAX]);

#endif
