/* Writes JSON (RFC 8259) piece by piece into a buffer, for pages of our own making: objects, arrays and scalars, the
 * commas between them set here. What comes from outside is made valid: control characters are escaped, bytes that are
 * not UTF-8 become U+FFFD. Failures are the buffer's (buf_error).
 *
 *     json_text_begin(&json, &out);
 *     json_text_open(&json, NULL, '{');
 *     json_text_string(&json, "name", "web");         key NULL: in an array, or the one value at the top
 *     json_text_close(&json, '}');
 */
#ifndef PROFEFE_JSON_TEXT_H
#define PROFEFE_JSON_TEXT_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct json_text {
    struct buf *out;
    bool first; /* no comma before the next value */
};

void json_text_begin(struct json_text *json, struct buf *out);
void json_text_open(struct json_text *json, const char *key, char bracket);
void json_text_close(struct json_text *json, char bracket);

void json_text_string(struct json_text *json, const char *key, const char *text); /* text NULL: null */
void json_text_number(struct json_text *json, const char *key, uint64_t number);
void json_text_bool(struct json_text *json, const char *key, bool value);

/* Milliseconds as seconds, with as many of three decimals as needed. */
void json_text_seconds(struct json_text *json, const char *key, int64_t ms);

/* Unix time in ms as RFC 3339 in UTC, to the second; null for 0 and what has no such form. */
void json_text_time(struct json_text *json, const char *key, int64_t wall_ms);

#endif
