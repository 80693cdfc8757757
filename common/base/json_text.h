/* Writes JSON (RFC 8259) piece by piece into a buffer: objects, arrays and scalars, the commas between them set here.
 * What comes from outside is made valid: control characters are escaped, bytes that are not UTF-8 become U+FFFD.
 * Failures are the buffer's (buf_error).
 *
 *     json_text_begin(&json, &out, JSON_TEXT_DELETE);
 *     json_text_open(&json, NULL, '{');
 *     json_text_string(&json, "name", "web");         key NULL: in an array, or the one value at the top
 *     json_text_key(&json, word);                     a key from outside, and its value
 *     json_text_number(&json, NULL, 7);
 *     json_text_open(&json, "words", '"');            a string that is put together from parts
 *     json_text_part(&json, part);
 *     json_text_close(&json, '"');
 *     json_text_close(&json, '}');
 */
#ifndef PROFEFE_JSON_TEXT_H
#define PROFEFE_JSON_TEXT_H

#include "common/base/buf.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* What of a string is written as \u00NN. The JSON means the same each time; who may see its text differs. */
enum json_text_escapes {
    JSON_TEXT_REQUIRED, /* what RFC 8259 §7 asks for and no more: for programs */
    JSON_TEXT_DELETE,   /* DEL as well: a page that people look at */
    JSON_TEXT_CONTROLS, /* and C1, and U+FFFD in place of what is not UTF-8: a terminal, whatever it takes for text */
};

struct json_text {
    struct buf *out;
    enum json_text_escapes escapes;
    bool first; /* no comma before the next value */
};

void json_text_begin(struct json_text *json, struct buf *out, enum json_text_escapes escapes);
void json_text_open(struct json_text *json, const char *key, char bracket);
void json_text_close(struct json_text *json, char bracket);

/* Any text as a key: exactly one value with the key NULL comes after it. The keys of all others are constants of ours,
 * in which there is nothing to escape. */
void json_text_key(struct json_text *json, const char *key);

void json_text_string(struct json_text *json, const char *key, const char *text); /* text NULL: null */
void json_text_span(struct json_text *json, const char *key, struct span text);
void json_text_number(struct json_text *json, const char *key, uint64_t number);
void json_text_bool(struct json_text *json, const char *key, bool value);

/* A constant of ours, in which there is nothing to escape: the same bytes as a string, for less. */
void json_text_word(struct json_text *json, const char *key, const char *word);

/* A value that is JSON already. */
void json_text_raw(struct json_text *json, const char *key, const char *value);

/* A part of the string that was opened last. */
void json_text_part(struct json_text *json, struct span part);

/* Milliseconds as seconds, with as many of three decimals as needed. */
void json_text_seconds(struct json_text *json, const char *key, int64_t ms);

/* Unix time in ms as RFC 3339 in UTC, to the second; null for 0 and what has no such form. */
void json_text_time(struct json_text *json, const char *key, int64_t wall_ms);

/* One string with its quotes, for whoever writes the rest by hand. */
void json_text_quote(struct buf *out, struct span text, enum json_text_escapes escapes);

#endif
