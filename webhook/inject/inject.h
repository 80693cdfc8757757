/* The decision about one pod, as a plan that patch_write carries out.
 *
 * Pure: the pod's JSON and the configuration in; decision, warnings and what is to be added to the pod out. Whatever
 * the pod's annotations say, the pod is admitted, unless it is strict (annotation `strict`, or the webhook's default
 * for it): then an unknown key, a bad value (a label that is left out included), one that the configuration does not
 * permit, or a port name that the pod lacks refuses it. So also where `enable` itself is the mistake, or the pod would
 * not have been profiled anyway; but not a pod that says `enable: "false"`, and never one that was injected before.
 * What is merely adapted to the pod (SECONDS capped, a limit moved) refuses nothing.
 */
#ifndef PROFEFE_INJECT_H
#define PROFEFE_INJECT_H

#include "common/base/marks.h"
#include "common/base/warnings.h"
#include "common/pod/policy.h"
#include "common/pod/service_name.h"
#include "common/settings/settings.h"
#include "webhook/inject/agent_container.h"
#include "webhook/inject/agent_env.h"
#include "webhook/inject/cloud_identity.h"
#include "webhook/inject/pod_notes.h"

enum inject_decision {
    INJECT_INJECTED,
    INJECT_SKIPPED,
    INJECT_UNCHANGED, /* injected before: the second call of reinvocationPolicy IfNeeded, or a copied pod */
    INJECT_DENIED,    /* strict; the warnings say why */
    INJECT_DECISION_COUNT,
};
extern const char *const inject_decision_names[INJECT_DECISION_COUNT]; /* "injected", "skipped", … */

/* Why not. The names are what users read in the annotation `status`, in metrics and in the README: none is renamed. */
enum inject_reason {
    INJECT_NO_REASON, /* injected; its name is "" */
    INJECT_NOT_ANNOTATED,
    INJECT_DISABLED,
    INJECT_ALREADY_INJECTED,
    INJECT_HOST_NETWORK,
    INJECT_MIRROR_POD,
    INJECT_WINDOWS,
    INJECT_ARCHITECTURE,
    INJECT_NO_SUCH_PORT,
    INJECT_UNSUPPORTED_OBJECT,
    INJECT_REASON_COUNT,
};
extern const char *const inject_reason_names[INJECT_REASON_COUNT]; /* "not-annotated", … */

/* A comma-separated list of volumes that do not keep the cluster autoscaler from removing a node: our spool goes in. */
#define INJECT_EVICTABLE_KEY "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

/* Which container kubectl logs and exec take when none is named. */
#define INJECT_DEFAULT_CONTAINER_KEY "kubectl.kubernetes.io/default-container"

/* Annotations that list names, of which ours is put behind what stands there. */
enum inject_list {
    INJECT_LIST_EVICTABLE,                                             /* INJECT_EVICTABLE_KEY */
    INJECT_LIST_CLOUD,                                                 /* the first of cloud_identity_lists */
    INJECT_LIST_COUNT = INJECT_LIST_CLOUD + (int)CLOUD_IDENTITY_COUNT,
};

/* What separates the names in the annotation `key`; 0 when it is none of these lists. */
char inject_list_separator(const char *key);

/* Borrows from the pod's JSON and the configuration, and from itself: it stays where it was made. */
struct injection_plan {
    enum inject_decision decision;
    enum inject_reason reason;
    struct service_name service; /* empty where it was not read */
    struct warnings warnings;
    struct pod pod;
    struct pod_notes notes;           /* of what is injected or skipped; the others are empty */
    struct volumes volumes;           /* from here on: set when the decision is INJECT_INJECTED */
    struct agent_container container;
    struct span pull_secrets;         /* of the configuration; ptr NULL = none */
    struct agent_env env;             /* texts of the container's variables */
    struct buf status, lists[INJECT_LIST_COUNT]; /* texts of the notes */
    int restore;                      /* of what is unchanged: the init container that gets restartPolicy back, or -1 */
};

/* Decides about `object` (the pod of a CREATE; NULL or no pod: unsupported-object). `all`: the namespace is labelled
 * `all`, so every pod is wanted but those that say no. -ENOMEM and -ENOBUFS only; then `ret` holds nothing of use. It
 * is to be done with in any case. */
MUST_CHECK int inject_decide(const struct policy *policy, const cJSON *object, bool all, struct injection_plan *ret,
                             struct err *err) NONNULL(1);

void inject_plan_done(struct injection_plan *plan); /* usable with CLEANUP after inject_decide */

/* Checks what only shows in several settings together, and once at start: an image is set, no request above its limit.
 * -EINVAL names section and key. Worth telling but no error (limits under what starts well) goes to warnings. */
MUST_CHECK int inject_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
    NONNULL(1);

#endif
