/* The decision about one pod and the patch that carries it out: Contracts 1 and 2.
 *
 * Pure: the pod's JSON and the configuration in, decision, warnings and patch out. Whatever the pod's annotations say,
 * the pod is admitted.
 */
#ifndef PROFEFE_INJECT_H
#define PROFEFE_INJECT_H

#include "common/settings.h"
#include "common/warnings.h"
#include "webhook/identity.h"
#include "webhook/patch.h"

enum inject_decision {
    INJECT_INJECTED,
    INJECT_SKIPPED,
    INJECT_UNCHANGED, /* injected before: the second call of reinvocationPolicy IfNeeded, or a copied pod */
    INJECT_DENIED,    /* for `strict`; nothing denies without it */
    INJECT_DECISION_COUNT,
};
extern const char *const inject_decision_names[INJECT_DECISION_COUNT]; /* "injected", "skipped", … */

/* Why not: the enumerated list of Contract 1. */
enum inject_reason {
    INJECT_NO_REASON, /* injected; its name is "" */
    INJECT_NOT_ANNOTATED,
    INJECT_DISABLED,
    INJECT_ALREADY_INJECTED,
    INJECT_HOST_NETWORK,
    INJECT_MIRROR_POD,
    INJECT_WINDOWS,
    INJECT_NO_SUCH_PORT,
    INJECT_UNSUPPORTED_OBJECT,
    INJECT_REASON_COUNT,
};
extern const char *const inject_reason_names[INJECT_REASON_COUNT]; /* "not-annotated", … */

struct injection {
    enum inject_decision decision;
    enum inject_reason reason;
    struct identity identity; /* borrowed from the pod; empty where it was not read */
    struct warnings warnings;
};

/* Decides about `object` (the pod of a CREATE; NULL or no pod: unsupported-object) and adds the operations to `patch`,
 * which is empty before and not finished after. `all`: the namespace is labelled `all`, so every pod is wanted but those
 * that say no. -ENOMEM and -ENOBUFS only; then `ret` and `patch` hold nothing of use. */
int inject_decide(const struct settings *settings, const cJSON *object, bool all, struct injection *ret,
                  struct patch *patch, struct err *err);

/* Checks what only shows in several settings together, and once at start: an image is set, no request above its limit.
 * -EINVAL names section and key. Worth telling but no error (limits under what starts well) goes to warnings. */
int inject_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err);

#endif
