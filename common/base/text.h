/* Text from outside, made safe to show; and the small helpers on words and lists.
 *
 * Everything here is pure. A "span" is a borrowed view into bytes that somebody else owns.
 */
#ifndef PROFEFE_TEXT_H
#define PROFEFE_TEXT_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct span {
    const char *ptr;
    size_t len;
};

/* The whole text; NULL gives a NULL ptr. */
struct span text_span(const char *text);

enum {
    TEXT_QUOTE_MAX = 80, /* bytes of an outside string worth showing in a message */
};

/* A place for text_quote's result, so that a message needs no allocation: an escaped byte takes four
 * characters at most, plus quotes, an ellipsis and the NUL. */
struct text_quoted {
    char text[4 * TEXT_QUOTE_MAX + 8];
};

/* Writes `bytes` in double quotes into *out and returns out->text. Control characters and bytes that are
 * not valid UTF-8 (RFC 3629) become \xNN, quote and backslash get a backslash; after TEXT_QUOTE_MAX
 * bytes it is cut, never inside a character, and ends in "…". */
const char *text_quote_n(struct text_quoted *out, const char *bytes, size_t len);
const char *text_quote(struct text_quoted *out, const char *text);

/* The same escaping without quotes and without a cut, appended to buf. */
int text_escape(struct buf *buf, const char *bytes, size_t len);

/* Length in bytes of the valid UTF-8 character at bytes (1 to 4), or 0 when there is none. */
size_t text_utf8_len(const char *bytes, size_t len);

/* Does a control character begin here: C0, DEL or, in UTF-8, C1 (U+0080 to U+009F)? Terminals may obey all of them, and
 * the API server drops a warning that holds one (Go's unicode.IsControl). */
bool text_is_control(const char *bytes, size_t len);

/* The largest n <= max such that bytes[0..n) does not end inside a valid UTF-8 character. */
size_t text_utf8_cut(const char *bytes, size_t len, size_t max);

/* len less the unfinished UTF-8 character that bytes end with, if they do: for what somebody else has cut. */
size_t text_utf8_whole(const char *bytes, size_t len);

bool text_is_space(char c);
struct span text_trim(struct span s);
bool text_equal(struct span s, const char *word);
bool text_equal_nocase(struct span s, const char *word);
bool text_has_prefix(const char *text, const char *prefix);

/* Iterates over a comma-separated list: returns false at the end; each *ret_item is trimmed and may be
 * empty (",,"). Start with *rest = the whole text. A text of only spaces has no items. */
bool text_next_item(struct span *rest, struct span *ret_item);

/* Optimal string alignment distance (insert, delete, replace, swap of neighbours) between two words
 * of at most TEXT_DISTANCE_MAX bytes; longer ones count as far apart. */
enum { TEXT_DISTANCE_MAX = 40 };
unsigned text_distance(struct span a, const char *b);

/* A DNS label (RFC 1123), which names of containers and container ports are. */
enum { TEXT_DNS_LABEL_MAX = 63 };
bool text_is_dns_label(struct span text);

#endif
