#include "common/base/parse.h"

#include <stdio.h>
#include <string.h>

const char *const parse_true_words[] = {"true", "1", "t", "yes", "y", "on", NULL};
const char *const parse_false_words[] = {"false", "0", "f", "no", "n", "off", NULL};

/* Reads leading digits; returns how many, 0 on none. Saturates at UINT64_MAX. */
static size_t read_digits(struct span text, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *ret = value;
    return i;
}

int parse_u64(struct span text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
    struct text_quoted q;
    uint64_t value = 0;
    size_t used = read_digits(text, &value);
    if (used == 0 || used != text.len)
        return err_set(err, EINVAL, "expected a whole number from %llu to %llu, got %s",
                       (unsigned long long)min, (unsigned long long)max,
                       text_quote_n(&q, text.ptr, text.len));
    if (value < min || value > max)
        return err_set(err, ERANGE, "expected a whole number from %llu to %llu, got %s",
                       (unsigned long long)min, (unsigned long long)max,
                       text_quote_n(&q, text.ptr, text.len));
    *ret = value;
    return 0;
}

static bool is_one_of(struct span text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (text_equal_nocase(text, *words))
            return true;
    }
    return false;
}

int parse_bool(struct span text, bool *ret, struct err *err)
{
    if (is_one_of(text, parse_true_words)) {
        *ret = true;
        return 0;
    }
    if (is_one_of(text, parse_false_words)) {
        *ret = false;
        return 0;
    }
    struct text_quoted q;
    return err_set(err, EINVAL, "expected true or false, got %s", text_quote_n(&q, text.ptr, text.len));
}

static const struct unit {
    const char *name;
    int64_t ms;
} duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};

enum { DURATION_UNITS = sizeof(duration_units) / sizeof(duration_units[0]) };

static const struct unit *find_unit(struct span text)
{
    for (size_t i = 0; i < DURATION_UNITS; i++) {
        if (text_equal(text, duration_units[i].name))
            return &duration_units[i];
    }
    return NULL;
}

static int duration_error(struct span text, int code, const char *what, int64_t min_ms, int64_t max_ms,
                          struct err *err)
{
    struct parse_duration_text lo, hi;
    struct text_quoted q;
    return err_set(err, code, "expected %s from %s to %s, got %s", what,
                   parse_format_duration(&lo, min_ms), parse_format_duration(&hi, max_ms),
                   text_quote_n(&q, text.ptr, text.len));
}

int parse_duration_ms(struct span text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms, struct err *err)
{
    static const char what[] = "a whole number with a unit (ms, s, m, h)";
    uint64_t value = 0;
    size_t used = read_digits(text, &value);
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
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        ms += (text.ptr[i] - '0') * scale;
        scale /= 10;
        if (i > 3)
            return 0;
    }
    *ret_ms = ms;
    return i > 1 ? i : 0;
}

int parse_seconds_ms(struct span text, bool fractions, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                     struct err *err)
{
    const char *what = fractions ? "seconds (fractions allowed)" : "whole seconds";
    uint64_t whole = 0;
    int64_t part_ms = 0;
    size_t used = read_digits(text, &whole);
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

const char *parse_format_duration(struct parse_duration_text *out, int64_t ms)
{
    size_t i = DURATION_UNITS - 1;
    while (i > 0 && (ms == 0 || ms % duration_units[i].ms != 0))
        i--;
    snprintf(out->text, sizeof(out->text), "%lld%s", (long long)(ms / duration_units[i].ms),
             duration_units[i].name);
    return out->text;
}

int parse_percent(struct span text, unsigned *ret, struct err *err)
{
    struct text_quoted q;
    uint64_t whole = 0;
    unsigned part = 0;
    size_t used = read_digits(text, &whole);
    bool ok = used > 0;
    if (ok && used < text.len && text.ptr[used] == '.') {
        unsigned scale = 10;
        for (used++; used < text.len && scale > 0 && text.ptr[used] >= '0' && text.ptr[used] <= '9'; used++) {
            part += (unsigned)(text.ptr[used] - '0') * scale;
            scale /= 10;
        }
        ok = scale < 10;
    }
    ok = ok && used + 1 == text.len && text.ptr[used] == '%' && whole <= 100;
    uint64_t value = whole * 100 + part;
    if (!ok || value == 0 || value > PARSE_PERCENT_ALL)
        return err_set(err, EINVAL, "expected a share above 0%% and at most 100%% with up to two decimals, such as 25%%, got %s",
                       text_quote_n(&q, text.ptr, text.len));
    *ret = (unsigned)value;
    return 0;
}
