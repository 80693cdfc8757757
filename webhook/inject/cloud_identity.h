/* Webhooks of clouds that give a pod's containers a token, by which annotation each is told to leave one out, and what
 * of a pod shows that its webhook is at work. The agent needs no such token, and must not hold what it does not need.
 */
#ifndef PROFEFE_CLOUD_IDENTITY_H
#define PROFEFE_CLOUD_IDENTITY_H

#include "common/base/span.h"
#include "common/pod/pod.h"

#include <stdbool.h>

enum cloud_identity {
    CLOUD_IDENTITY_EKS,   /* aws/amazon-eks-pod-identity-webhook: IRSA and EKS Pod Identity */
    CLOUD_IDENTITY_AZURE, /* Azure/azure-workload-identity */
    CLOUD_IDENTITY_COUNT,
};

/* The annotation, and what separates the names in it. */
extern const struct cloud_identity_list {
    const char *name; /* in the setting skip-containers */
    const char *key;
    char separator;
    bool trims; /* takes off the space around a name; else the name may not count, so ours is added */
} cloud_identity_lists[CLOUD_IDENTITY_COUNT];

/* `always`: a checked value of skip-containers. */
bool cloud_identity_is_expected(const struct pod *pod, enum cloud_identity cloud, struct span always);

/* Has the container such a token? */
bool cloud_identity_is_given(const cJSON *container, enum cloud_identity cloud);

#endif
