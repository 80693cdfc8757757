/* Reads JSON with cJSON, within a budget of memory.
 *
 * One document is one arena: cJSON's allocations for it come from a few chunks, which are freed at once.
 * That is faster than a malloc a node, and it bounds what a small body can cost (`[0,0,0,…]` takes 32 times its
 * size). cJSON keeps its allocator in a global, so only one thread may read at a time; ours are single-threaded.
 *
 * Where JSON leaves a choice, the API server's (Go's encoding/json with sigs.k8s.io/json) is taken, since it wrote
 * the review and will apply the patch:
 *   - keys are compared exactly, and of keys given twice the last counts;
 *   - \u0000 inside a string would end a C string early, so it is read as U+FFFD and fails the checks of its place;
 *   - a key with the value null is the same as no key.
 * Stricter than Go, since the API server never writes it: lone surrogates (\ud800) and numbers of more than 63
 * characters are an error. Laxer, being cJSON: control characters in strings, invalid UTF-8, numbers like 01. Nothing
 * of that is copied into a reply but as json_text writes it: always valid JSON. Numbers are doubles here; a patch only
 * adds, so those beyond 2^53 stay what they are in the pod.
 */
#ifndef PROFEFE_JSON_H
#define PROFEFE_JSON_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Most memory for one document. A pod can have 3 MiB at most (the API server's limit for a request), as
     * ordinary text it takes six to ten times its size. */
    JSON_MEMORY_MAX = 32 * 1024 * 1024,
};

struct json_chunk;

struct json {
    cJSON *root;
    struct json_chunk *chunks; /* owns everything under root */
};

/* Reads exactly one value; spaces may surround it. -EINVAL: not JSON, or more than 1000 levels deep; -EFBIG: takes
 * more than JSON_MEMORY_MAX; -ENOMEM. Nothing is left to free after a failure. */
MUST_CHECK int json_read(struct json *json, const char *bytes, size_t len, struct err *err) NONNULL(1);

/* Usable with CLEANUP, also on a zeroed struct. Never cJSON_Delete what json_read made. */
void json_done(struct json *json);

/* The member of an object, or NULL when there is none, it is null, or `object` is NULL or no object. */
cJSON *json_get(const cJSON *object, const char *key);

/* The same for a member of one type only, NULL for all others. */
cJSON *json_get_object(const cJSON *object, const char *key);
cJSON *json_get_array(const cJSON *object, const char *key);
const char *json_get_text(const cJSON *object, const char *key);

/* True only for the literal `true`. */
bool json_get_true(const cJSON *object, const char *key);

/* A whole number within [min, max]; false and *ret untouched otherwise. */
bool json_get_whole(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *ret);

/* "a string", "a number" … for messages. */
const char *json_type_name(const cJSON *item);

/* A copy of text that lives as long as the document (for a tree that is changed in place), or NULL. */
char *json_keep(struct json *json, struct span text);

#endif
