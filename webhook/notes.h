/* The annotations that the webhook writes on a pod, put into the patch together: a parent that is missing is added once.
 *
 * Keys and texts are borrowed until notes_write.
 */
#ifndef PROFEFE_NOTES_H
#define PROFEFE_NOTES_H

#include "webhook/patch.h"
#include "webhook/pod.h"

enum {
    NOTES_MAX = 3, /* status, default-container, safe-to-evict-local-volumes */
};

struct notes {
    unsigned count;
    struct note {
        const char *key;
        struct span text;
    } items[NOTES_MAX];
};

/* Nothing when the pod says exactly this already, as it does when it is reviewed again. */
void notes_add(struct notes *notes, const struct pod *pod, const char *key, struct span text);

/* Adds the operations; failure is sticky in the patch. An annotation that is there is replaced (RFC 6902 §4.1). */
void notes_write(const struct notes *notes, const struct pod *pod, struct patch *patch);

#endif
