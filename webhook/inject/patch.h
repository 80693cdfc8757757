/* A JSON Patch (RFC 6902) that only adds, and its application.
 *
 * Only `add`, so that fields of the pod which we do not know survive untouched: injectors that decode, change and
 * diff a typed pod lose them. Two traps of `add`, both of which refuse the pod: the parent must exist, and `~` and
 * `/` in a key are escaped (RFC 6901 §3). Whoever calls creates parents; the builder escapes.
 */
#ifndef PROFEFE_PATCH_H
#define PROFEFE_PATCH_H

#include "common/base/json_text.h"
#include "common/base/marks.h"
#include "common/pod/json.h"

#include <stdbool.h>

enum {
    /* Most bytes of a patch: a dozen env values of SETTINGS_VALUE_MAX, each escaped to six times its size at worst. */
    PATCH_MAX = 512 * 1024,
    PATCH_USUAL = 2 * 1024, /* bytes: most injections, without growing */
};

struct patch {
    struct buf text;       /* the JSON array, without its last bracket until patch_finish */
    struct json_text json; /* writes to it: a patch stays where it was initialised */
    unsigned count;        /* operations */
};

/* Allocates nothing. */
void patch_init(struct patch *patch);
void patch_done(struct patch *patch); /* usable with CLEANUP */

/* Begins one operation: `keys` are the unescaped steps of the path, NULL-ended, "-" for the end of an array. Exactly
 * one JSON value, without a key, must be written to the result before patch_end_add. Failure is sticky in it. */
struct json_text *patch_begin_add(struct patch *patch, const char *const *keys);
void patch_end_add(struct patch *patch);

/* Adds items to the end of a list of `spec`: each by an operation of its own, or, where the list is not there, all of
 * them together as one. */
struct patch_items {
    struct patch *patch; /* borrowed */
    const char *list;    /* a key of `spec` */
    bool there;          /* the pod has it; false also for an empty one, in whose place a new one goes */
    bool open;           /* an operation is; false at first */
};

/* Exactly one JSON value, without a key, must be written to the result. No other operation may come in between. */
struct json_text *patch_items_next(struct patch_items *items);
void patch_items_end(struct patch_items *items); /* also after no item at all */

/* Closes the array. 0, -ENOMEM or -ENOBUFS. A patch without operations stays the empty text. */
int patch_finish(struct patch *patch);

/* Changes `root`, a tree of the document `json`, as the API server will: -EINVAL names the operation that does not
 * apply (then some before it may have been). The tree holds parts of `patch` afterwards: keep both documents.
 * For debug builds, tests and the fuzzer. */
MUST_CHECK int patch_apply(struct json *json, cJSON *root, const struct json *patch, struct err *err) NONNULL(1);

#endif
