/* The annotation profefe.com/status: the decision, written on the pod, for whoever reads `kubectl describe pod`.
 *
 *     injected VERSION
 *     injected VERSION; FIRST WARNING (+N)
 *     skipped: REASON
 */
#ifndef PROFEFE_STATUS_H
#define PROFEFE_STATUS_H

#include "common/warnings.h"
#include "webhook/patch.h"
#include "webhook/pod.h"

enum {
    STATUS_MAX = 512, /* bytes; all annotations of an object share 256 KiB */
};

int status_write_injected(struct buf *out, const struct warnings *warnings);
int status_write_skipped(struct buf *out, const char *reason);

/* Adds the annotation, with the parents that are missing; nothing when the pod says exactly this already, as it does
 * when it is reviewed again. */
void status_add(struct patch *patch, const struct pod *pod, const char *text);

#endif
