#include "common/values/quantity.h"

#include "common/base/ascii.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* 2^63 in nanos: the first value that is too large. 93 bits. */
#define NANO_END (((unsigned __int128)1 << 63) * 1000000000u)

enum {
    /* Digits that are kept exactly. 19 digits times 2^60 (Ei) are 124 bits; more digits than that before the
     * point are beyond 2^63, more after it are below a nano or a rounding of it. */
    DIGITS_KEPT = 19,
    NANO_DECIMALS = 9,
};

/* The number before the suffix: digits * 10^exponent, plus something below one unit of that when `more`. */
struct number {
    uint64_t digits;
    int exponent;
    bool more;
};

static int bad_quantity(struct span text, int code, const char *what, struct err *err)
{
    struct quoted q;
    return err_set(err, code, "expected %s, got %s", what, quote_bytes(&q, text.ptr, text.len));
}

/* Reads digits with at most one point. Returns bytes used, 0 when there is no digit. */
static size_t read_number(struct span text, struct number *ret)
{
    struct number number = {0};
    int kept = 0;
    bool any = false, point = false;
    size_t i = 0;
    for (; i < text.len && (ascii_is_digit(text.ptr[i]) || (text.ptr[i] == '.' && !point)); i++) {
        if (text.ptr[i] == '.') {
            point = true;
            continue;
        }
        unsigned digit = (unsigned)(text.ptr[i] - '0');
        any = true;
        if (kept < DIGITS_KEPT) {
            number.digits = number.digits * 10 + digit;
            kept += number.digits != 0 ? 1 : 0;
            number.exponent -= point ? 1 : 0;
        } else {
            number.more |= digit != 0;
            number.exponent += point ? 0 : 1;
        }
    }
    *ret = number;
    return any ? i : 0;
}

static const struct suffix {
    const char *name;
    int decimal; /* power of ten */
    int binary;  /* power of two */
} suffixes[] = {
    {"", 0, 0},   {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},
    {"M", 6, 0},  {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},
    {"Ki", 0, 10}, {"Mi", 0, 20}, {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
};

/* "e3", "E-6": -1 when it is none. */
static int read_exponent(struct span text, int *ret)
{
    if (text.len < 2 || (text.ptr[0] != 'e' && text.ptr[0] != 'E'))
        return -1;
    bool negative = text.ptr[1] == '-';
    size_t skip = negative || text.ptr[1] == '+' ? 2 : 1;
    uint64_t value;
    if (number_parse_u64((struct span){text.ptr + skip, text.len - skip}, 0, QUANTITY_EXPONENT_MAX, &value, NULL) < 0)
        return -1;
    *ret = negative ? -(int)value : (int)value;
    return 0;
}

static int read_suffix(struct span text, struct suffix *ret)
{
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (span_equal(text, suffixes[i].name)) {
            *ret = suffixes[i];
            return 0;
        }
    }
    *ret = (struct suffix){.name = "e"};
    return read_exponent(text, &ret->decimal);
}

/* Rounds up; false when the value is 2^63 or more. */
static bool to_nano(struct number number, struct suffix suffix, unsigned __int128 *ret)
{
    unsigned __int128 value = (unsigned __int128)number.digits << suffix.binary;
    int exponent = number.exponent + suffix.decimal + NANO_DECIMALS;
    bool more = number.more;
    for (; exponent < 0 && value > 0; exponent++) {
        more |= value % 10 != 0;
        value /= 10;
    }
    for (; exponent > 0 && value > 0; exponent--) {
        if (value >= NANO_END)
            return false;
        value *= 10; /* cannot overflow: NANO_END has 93 bits */
    }
    value += more ? 1 : 0;
    *ret = value;
    return value < NANO_END;
}

int quantity_parse(struct span text, struct quantity *ret, struct err *err)
{
    static const char what[] = "a quantity such as 50m, 0.5, 16Mi or 1G";
    struct span rest = text;
    bool negative = rest.len > 0 && rest.ptr[0] == '-';
    if (rest.len > 0 && (negative || rest.ptr[0] == '+'))
        rest = (struct span){rest.ptr + 1, rest.len - 1};
    struct number number;
    struct suffix suffix;
    size_t used = text.len <= QUANTITY_TEXT_MAX ? read_number(rest, &number) : 0;
    if (used == 0 || read_suffix((struct span){rest.ptr + used, rest.len - used}, &suffix) < 0)
        return bad_quantity(text, EINVAL, what, err);
    unsigned __int128 nano;
    if (!to_nano(number, suffix, &nano))
        return bad_quantity(text, ERANGE, "a quantity below 8Ei", err);
    if (negative && nano != 0)
        return bad_quantity(text, ERANGE, "a quantity that is not negative", err);
    ret->nano = nano;
    return 0;
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
    return a->nano < b->nano ? -1 : a->nano > b->nano ? 1 : 0;
}

bool quantity_is_zero(const struct quantity *quantity)
{
    return quantity->nano == 0;
}

int quantity_to_bytes(const struct quantity *quantity, uint64_t *ret)
{
    static const unsigned nanos = 1000000000;
    if (quantity->nano % nanos != 0)
        return -EINVAL;
    *ret = (uint64_t)(quantity->nano / nanos);
    return 0;
}
