/* The volumes of the injected container, so that it holds no credential and has room for what it spools.
 *
 *   - an empty downwardAPI volume over the ServiceAccount token's path, always. The API server adds the token to every
 *     container that mounts nothing at exactly that path, after us (seen);
 *   - an emptyDir for `spool: SIZE`. Passing its sizeLimit evicts the pod, app included (kubelet documentation), so it
 * gets more than the agent will ever fill: the spool, one more profile and slack;
 *   - the Secret of `collector-secret`, optional: without that a Secret that is absent keeps the app from starting
 * (seen). It is readable by any user, since who the agent runs as may be the pod's choice.
 */
#ifndef PROFEFE_VOLUMES_H
#define PROFEFE_VOLUMES_H

#include "common/base/json_text.h"
#include "common/base/span.h"
#include "common/pod/annotations.h"
#include "common/pod/pod.h"

#define VOLUMES_TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount" /* exact, no slash at the end */
#define VOLUMES_SPOOL_PATH "/var/spool/profefe-agent"
#define VOLUMES_SECRET_PATH "/etc/profefe-agent/collector"

enum volume_kind { VOLUME_TOKEN, VOLUME_SPOOL, VOLUME_SECRET, VOLUME_KIND_COUNT };

struct volume {
    enum volume_kind kind;
    char name[POD_LABEL_MAX + 1]; /* in this pod */
    bool there;                   /* a copied pod has kept it: nothing to add */
};

struct volumes {
    unsigned count;
    struct volume items[VOLUME_KIND_COUNT];
    uint64_t spool_bytes;   /* 0 = in memory */
    uint64_t size_limit_mib; /* of the emptyDir */
    struct span secret;     /* ptr NULL = none; borrowed */
};

/* What the pod asks for, under names that are free in it. */
void volumes_choose(const struct pod *pod, const struct annotations *asked, struct volumes *ret);

/* NULL when there is none of that kind. */
const struct volume *volumes_find(const struct volumes *volumes, enum volume_kind kind);

/* The volume, and under `key` the list of the container's mounts; failure is sticky in the buffer. */
void volumes_write(struct json_text *json, const struct volumes *volumes, const struct volume *volume);
void volumes_write_mounts(struct json_text *json, const char *key, const struct volumes *volumes);

#endif
