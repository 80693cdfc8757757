/* UTF-8 (RFC 3629), as far as showing and cutting text from outside needs it. Pure. */
#ifndef PROFEFE_UTF8_H
#define PROFEFE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes of the valid UTF-8 character at bytes (1 to 4), or 0 when there is none. */
size_t utf8_len(const char *bytes, size_t len);

/* Does a control character begin here: C0, DEL or, in UTF-8, C1 (U+0080 to U+009F)? Terminals may obey all of them, and
 * the API server drops a warning that holds one (Go's unicode.IsControl). */
bool utf8_is_control(const char *bytes, size_t len);

/* The largest n <= max such that bytes[0..n) does not end inside a valid UTF-8 character. */
size_t utf8_cut(const char *bytes, size_t len, size_t max);

/* len less the unfinished UTF-8 character that bytes end with, if they do: for what somebody else has cut. */
size_t utf8_whole(const char *bytes, size_t len);

#endif
