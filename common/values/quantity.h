/* Kubernetes resource quantities ("5m", "0.01", "16Mi", "16777216", "1e3"), as numbers that can be compared.
 *
 * Grammar: k8s.io/apimachinery pkg/api/resource/quantity.go and suffix.go (read at 1.34):
 *
 *     quantity = [ "+" | "-" ] digits-with-at-most-one-point suffix
 *     suffix   = "" | n u m k M G T P E | Ki Mi Gi Ti Pi Ei | ( "e" | "E" ) [ "+" | "-" ] digits
 *
 * What is accepted here is a subset of what the API server accepts: at least one digit, not negative (no resource
 * of a container may be), below 2^63 (the API server caps there), exponents of at most QUANTITY_EXPONENT_MAX. A
 * quantity that it cannot parse refuses the whole pod (seen), so whatever goes into a patch passes here first.
 * Finer than a nano is rounded up, as the API server does. Pure.
 */
#ifndef PROFEFE_QUANTITY_H
#define PROFEFE_QUANTITY_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    QUANTITY_TEXT_MAX = 64,     /* bytes of one quantity; 2^63 with nine decimals has 29 */
    QUANTITY_EXPONENT_MAX = 40, /* beyond it a number leaves [1n, 2^63] unless it is padded with zeros */
};

struct quantity {
    unsigned __int128 nano; /* the value times 10^9; below 2^63 * 10^9 */
};

/* 0, or -EINVAL (not a quantity) or -ERANGE (negative, 2^63 or more) with "expected a quantity …, got …". */
MUST_CHECK int quantity_parse(struct span text, struct quantity *ret, struct err *err);

/* < 0, 0 or > 0: by value, so that 0.01 equals 10m and 16777216 equals 16Mi. */
int quantity_compare(const struct quantity *a, const struct quantity *b);

/* The value as bytes: 0, or -EINVAL when it has a fraction. */
MUST_CHECK int quantity_to_bytes(const struct quantity *quantity, uint64_t *ret) NONNULL(1);

bool quantity_is_zero(const struct quantity *quantity);

#endif
