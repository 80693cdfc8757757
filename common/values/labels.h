/* The labels that go with every profile: `team=shop,tier=web`, plus identity.
 *
 * Our own keys are not the user's to set: namespace, pod, node, container, target, from, profile_type, trigger,
 * capture. profefe keeps a key that is sent twice as two labels, so a key is never added twice here.
 */
#ifndef PROFEFE_LABELS_H
#define PROFEFE_LABELS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/warnings.h"

#include <stdbool.h>

enum {
    LABELS_MAX = 32,        /* identity and the user's; each is an index row in profefe */
    LABEL_KEY_MAX = 63,
    LABEL_VALUE_MAX = 253,  /* the longest Kubernetes name */
};

struct label {
    char key[LABEL_KEY_MAX + 1];
    char value[LABEL_VALUE_MAX + 1];
};

struct labels {
    unsigned count;
    struct label items[LABELS_MAX];
};

/* Is it one of our own? */
bool labels_key_is_reserved(struct span key);

/* Adds one. An empty value is not added: profile.proto cannot tell it from none. -EINVAL for a bad key or value,
 * -EEXIST when the key is there already, -ENOSPC over LABELS_MAX. */
int labels_add(struct labels *labels, struct span key, struct span value, struct err *err);

/* Adds a user's list. -EINVAL on a malformed item (labels is then unchanged): whether a text is an error does not
 * depend on what labels holds. A reserved or repeated key, and what passes LABELS_MAX, is left out, with a warning; for
 * the former it says that `owner` ("profefe-agent") sets it. */
int labels_add_list(struct labels *labels, struct span text, const char *owner, struct warnings *warnings,
                    struct err *err);

/* The value of a key, borrowed; NULL when there is none. */
const char *labels_get(const struct labels *labels, const char *key);

#endif
