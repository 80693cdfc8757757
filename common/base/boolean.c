#include "common/base/boolean.h"

#include "common/base/quote.h"

const char *const boolean_true_words[] = {"true", "1", "t", "yes", "y", "on", NULL};
const char *const boolean_false_words[] = {"false", "0", "f", "no", "n", "off", NULL};

static bool is_one_of(struct span text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (span_equal_nocase(text, *words))
            return true;
    }
    return false;
}

int boolean_parse(struct span text, bool *ret, struct err *err)
{
    if (is_one_of(text, boolean_true_words)) {
        *ret = true;
        return 0;
    }
    if (is_one_of(text, boolean_false_words)) {
        *ret = false;
        return 0;
    }
    struct quoted q;
    return err_set(err, EINVAL, "expected true or false, got %s", quote_bytes(&q, text.ptr, text.len));
}
