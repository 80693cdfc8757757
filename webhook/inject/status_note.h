/* The annotation profefe.com/status: the decision, written on the pod, for whoever reads `kubectl describe pod`.
 *
 *     injected VERSION
 *     injected VERSION; FIRST WARNING (+N)
 *     skipped: REASON
 */
#ifndef PROFEFE_STATUS_NOTE_H
#define PROFEFE_STATUS_NOTE_H

#include "common/base/buf.h"
#include "common/base/warnings.h"
#include "common/settings/settings.h"

#define STATUS_NOTE_KEY SETTINGS_ANNOTATION_PREFIX "status"

enum {
    STATUS_NOTE_MAX = 512, /* bytes; all annotations of an object share 256 KiB */
};

int status_note_injected(struct buf *out, const struct warnings *warnings);
int status_note_skipped(struct buf *out, const char *reason);

#endif
