#include "common/base/duration.h"

#include "common/base/ascii.h"
#include "common/base/number.h"
#include "common/base/quote.h"

#include <stdio.h>

static const struct unit {
    const char *name;
    int64_t ms;
} duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};

enum { DURATION_UNITS = sizeof(duration_units) / sizeof(duration_units[0]) };

static const struct unit *find_unit(struct span text)
{
    for (size_t i = 0; i < DURATION_UNITS; i++) {
        if (span_equal(text, duration_units[i].name))
            return &duration_units[i];
    }
    return NULL;
}

static int duration_error(struct span text, int code, const char *what, int64_t min_ms, int64_t max_ms,
                          struct err *err)
{
    struct duration_text lo, hi;
    struct quoted q;
    return err_set(err, code, "expected %s from %s to %s, got %s", what,
                   duration_format(&lo, min_ms), duration_format(&hi, max_ms),
                   quote_bytes(&q, text.ptr, text.len));
}

int duration_parse(struct span text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms, struct err *err)
{
    static const char what[] = "a whole number with a unit (ms, s, m, h)";
    uint64_t value = 0;
    size_t used = number_read_digits(text, &value);
    const struct unit *unit = find_unit((struct span){text.ptr + used, text.len - used});
    if (used == 0 || unit == NULL)
        return duration_error(text, EINVAL, what, min_ms, max_ms, err);
    if (value > (uint64_t)(INT64_MAX / unit->ms))
        return duration_error(text, ERANGE, what, min_ms, max_ms, err);
    int64_t ms = (int64_t)value * unit->ms;
    if (ms < min_ms || ms > max_ms)
        return duration_error(text, ERANGE, what, min_ms, max_ms, err);
    *ret_ms = ms;
    return 0;
}

/* Reads ".5", ".25" or ".125" as milliseconds; returns bytes used, 0 when there is none. */
static size_t read_fraction_ms(struct span text, int64_t *ret_ms)
{
    if (text.len < 2 || text.ptr[0] != '.')
        return 0;
    int64_t ms = 0, scale = 100;
    size_t i = 1;
    for (; i < text.len && ascii_is_digit(text.ptr[i]); i++) {
        ms += (text.ptr[i] - '0') * scale;
        scale /= 10;
        if (i > 3)
            return 0;
    }
    *ret_ms = ms;
    return i > 1 ? i : 0;
}

int duration_parse_seconds(struct span text, bool fractions, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                     struct err *err)
{
    const char *what = fractions ? "seconds (fractions allowed)" : "whole seconds";
    uint64_t whole = 0;
    int64_t part_ms = 0;
    size_t used = number_read_digits(text, &whole);
    bool ok = used > 0;
    if (ok && fractions)
        used += read_fraction_ms((struct span){text.ptr + used, text.len - used}, &part_ms);
    if (ok && used < text.len && text.ptr[used] == 's')
        used++;
    if (!ok || used != text.len)
        return duration_error(text, EINVAL, what, min_ms, max_ms, err);
    if (whole > (uint64_t)(INT64_MAX / 1000 - 1))
        return duration_error(text, ERANGE, what, min_ms, max_ms, err);
    int64_t ms = (int64_t)whole * 1000 + part_ms;
    if (ms < min_ms || ms > max_ms)
        return duration_error(text, ERANGE, what, min_ms, max_ms, err);
    *ret_ms = ms;
    return 0;
}

const char *duration_format(struct duration_text *out, int64_t ms)
{
    size_t i = DURATION_UNITS - 1;
    while (i > 0 && (ms == 0 || ms % duration_units[i].ms != 0))
        i--;
    snprintf(out->text, sizeof(out->text), "%lld%s", (long long)(ms / duration_units[i].ms),
             duration_units[i].name);
    return out->text;
}
