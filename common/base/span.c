#include "common/base/span.h"

#include "common/base/ascii.h"

#include <string.h>

struct span span_of(const char *text)
{
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

struct span span_trim(struct span s)
{
    while (s.len > 0 && ascii_is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && ascii_is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool span_equal(struct span s, const char *word)
{
    return strlen(word) == s.len && (s.len == 0 || memcmp(s.ptr, word, s.len) == 0);
}

bool span_equal_nocase(struct span s, const char *word)
{
    if (strlen(word) != s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (ascii_lower(s.ptr[i]) != ascii_lower(word[i]))
            return false;
    }
    return true;
}

bool span_has_prefix(struct span s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && (len == 0 || memcmp(s.ptr, prefix, len) == 0);
}

bool span_next_item(struct span *rest, struct span *ret_item)
{
    if (rest->ptr == NULL)
        return false;
    const char *comma = rest->len > 0 ? memchr(rest->ptr, ',', rest->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
    struct span item = span_trim((struct span){rest->ptr, len});
    if (comma == NULL) {
        *rest = (struct span){NULL, 0};
        *ret_item = item;
        return item.len > 0; /* "" and "a," end here: a trailing comma is no item */
    }
    *rest = (struct span){comma + 1, rest->len - len - 1};
    *ret_item = item;
    return true;
}
