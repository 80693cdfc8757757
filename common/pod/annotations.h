/* What a pod asks for: its profefe.com/ annotations over the webhook's defaults over the built-in ones.
 *
 * An unknown key, a value that is no string, a bad value, one that the configuration does not permit: a warning each,
 * with key, value and what was expected, and the default counts. The kind of the warning says which it was. What is
 * used in place of a request or a limit depends on the pod, so that those warnings are left for resources to end.
 */
#ifndef PROFEFE_ANNOTATIONS_H
#define PROFEFE_ANNOTATIONS_H

#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/base/warnings.h"
#include "common/pod/limits.h"
#include "common/pod/pod.h"
#include "common/pod/policy.h"
#include "common/settings/settings.h"

struct annotations {
    const struct settings *settings;   /* borrowed: what counts where the pod says nothing */
    const struct limits *limits;       /* borrowed: what it may say; NULL = anything */
    struct span given[SETTING_COUNT];  /* borrowed from the pod, trimmed and checked; ptr NULL = not given */
    unsigned refused[SETTING_COUNT];   /* the number of the last warning about its value; 0 = none */
    unsigned count;                    /* keys with our prefix, good or bad, but for `status` */
    bool strict;                       /* the value of `strict` that counts; the warnings tell no consequence then */
};

/* `all`: the namespace is labelled `all`, so a pod whose `enable` is bad is profiled; the warning says which. -ENOMEM
 * only. */
MUST_CHECK int annotations_read(const struct pod *pod, const struct policy *policy, bool all, struct annotations *ret,
                                struct warnings *warnings) NONNULL(1);

/* The pod gave a good value. */
bool annotations_is_given(const struct annotations *annotations, enum setting_id id);

/* The pod's value, else the configuration's, else the built-in default, else ptr NULL. */
struct span annotations_get(const struct annotations *annotations, enum setting_id id);

/* The same where the table's own default counts as none: what the agent would do anyway. */
struct span annotations_get_changed(const struct annotations *annotations, enum setting_id id);

enum annotations_wish { ANNOTATIONS_SILENT, ANNOTATIONS_ENABLED, ANNOTATIONS_DISABLED };
enum annotations_wish annotations_wish(const struct annotations *annotations);

#endif
