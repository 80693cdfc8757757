#include "common/values/prefix.h"

#include "common/base/ascii.h"

#include <string.h>

bool prefix_permits(struct span prefix, struct span text, size_t owner_len, const char *separators)
{
    if (prefix.len == 0 || prefix.len < owner_len || prefix.len > text.len ||
        memcmp(prefix.ptr, text.ptr, prefix.len) != 0)
        return false;
    if (prefix.len == text.len || memchr(separators, text.ptr[prefix.len], strlen(separators)) != NULL)
        return true;
    return prefix.len > owner_len && !ascii_is_word(prefix.ptr[prefix.len - 1]);
}
