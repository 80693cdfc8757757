/* The annotations that the webhook writes on a pod, put into the patch together: a parent that is missing is added
 * once.
 *
 * Keys and texts are borrowed until pod_notes_write.
 */
#ifndef PROFEFE_POD_NOTES_H
#define PROFEFE_POD_NOTES_H

#include "common/base/span.h"
#include "common/base/warnings.h"
#include "common/pod/pod.h"
#include "webhook/inject/patch.h"

enum {
    POD_NOTES_MAX = 5, /* status, default-container, safe-to-evict-local-volumes, skip-containers of two clouds */
    /* Bytes of all keys and values of a pod; one more refuses it (k8s.io/apimachinery pkg/api/validation,
     * TotalAnnotationSizeLimitB). */
    POD_NOTES_TOTAL_MAX = 256 * 1024,
};

struct pod_notes {
    const struct pod *pod;
    size_t total; /* bytes of the pod's annotations, with the notes */
    bool full;    /* one found no room: our bug, the notes must not be used */
    unsigned count;
    struct pod_note {
        const char *key;
        struct span text;
    } items[POD_NOTES_MAX];
};

void pod_notes_init(struct pod_notes *notes, const struct pod *pod);

/* Nothing when the pod says exactly this already, as it does when it is reviewed again. One that would pass
 * POD_NOTES_TOTAL_MAX is left out, with a warning. */
void pod_notes_add(struct pod_notes *notes, const char *key, struct span text, struct warnings *warnings);

/* Adds the operations; failure is sticky in the patch. An annotation that is there is replaced (RFC 6902 §4.1). */
void pod_notes_write(const struct pod_notes *notes, struct patch *patch);

#endif
