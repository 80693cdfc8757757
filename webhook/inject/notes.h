/* The annotations that the webhook writes on a pod, put into the patch together: a parent that is missing is added once.
 *
 * Keys and texts are borrowed until notes_write.
 */
#ifndef PROFEFE_NOTES_H
#define PROFEFE_NOTES_H

#include "common/base/warnings.h"
#include "common/base/span.h"
#include "webhook/inject/patch.h"
#include "common/pod/pod.h"

enum {
    NOTES_MAX = 3, /* status, default-container, safe-to-evict-local-volumes */
    /* Bytes of all keys and values of a pod; one more refuses it (k8s.io/apimachinery pkg/api/validation,
     * TotalAnnotationSizeLimitB). */
    NOTES_TOTAL_MAX = 256 * 1024,
};

struct notes {
    const struct pod *pod;
    size_t total; /* bytes of the pod's annotations, with the notes */
    unsigned count;
    struct note {
        const char *key;
        struct span text;
    } items[NOTES_MAX];
};

void notes_init(struct notes *notes, const struct pod *pod);

/* Nothing when the pod says exactly this already, as it does when it is reviewed again. One that would pass
 * NOTES_TOTAL_MAX is left out, with a warning. */
void notes_add(struct notes *notes, const char *key, struct span text, struct warnings *warnings);

/* Adds the operations; failure is sticky in the patch. An annotation that is there is replaced (RFC 6902 §4.1). */
void notes_write(const struct notes *notes, struct patch *patch);

#endif
