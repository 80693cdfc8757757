#include "common/base/number.h"

#include "common/base/ascii.h"
#include "common/base/quote.h"

size_t number_read_digits(struct span text, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text.len && ascii_is_digit(text.ptr[i]); i++) {
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *ret = value;
    return i;
}

int number_parse_u64(struct span text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
    struct quoted q;
    uint64_t value = 0;
    size_t used = number_read_digits(text, &value);
    if (used == 0 || used != text.len)
        return err_set(err, EINVAL, "expected a whole number from %llu to %llu, got %s",
                       (unsigned long long)min, (unsigned long long)max,
                       quote_bytes(&q, text.ptr, text.len));
    if (value < min || value > max)
        return err_set(err, ERANGE, "expected a whole number from %llu to %llu, got %s",
                       (unsigned long long)min, (unsigned long long)max,
                       quote_bytes(&q, text.ptr, text.len));
    *ret = value;
    return 0;
}

int number_parse_percent(struct span text, unsigned *ret, struct err *err)
{
    struct quoted q;
    uint64_t whole = 0;
    unsigned part = 0;
    size_t used = number_read_digits(text, &whole);
    bool ok = used > 0;
    if (ok && used < text.len && text.ptr[used] == '.') {
        unsigned scale = 10;
        for (used++; used < text.len && scale > 0 && ascii_is_digit(text.ptr[used]); used++) {
            part += (unsigned)(text.ptr[used] - '0') * scale;
            scale /= 10;
        }
        ok = scale < 10;
    }
    ok = ok && used + 1 == text.len && text.ptr[used] == '%' && whole <= 100;
    uint64_t value = whole * 100 + part;
    if (!ok || value == 0 || value > NUMBER_PERCENT_ALL)
        return err_set(err, EINVAL,
                       "expected a share above 0%% and at most 100%% with up to two decimals, such as 25%%, got %s",
                       quote_bytes(&q, text.ptr, text.len));
    *ret = (unsigned)value;
    return 0;
}

size_t number_format_u64(uint64_t number, char out[static NUMBER_TEXT_MAX])
{
    size_t len = 1;
    for (uint64_t rest = number / 10; rest > 0; rest /= 10)
        len++;
    out[len] = '\0';
    for (size_t i = len; i > 0; number /= 10)
        out[--i] = (char)('0' + number % 10);
    return len;
}
