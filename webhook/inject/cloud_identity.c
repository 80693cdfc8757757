#include "webhook/inject/cloud_identity.h"

#include <string.h>

const struct cloud_identity_list cloud_identity_lists[CLOUD_IDENTITY_COUNT] = {
    [CLOUD_IDENTITY_EKS] = {"eks", "eks.amazonaws.com/skip-containers", ',', false},
    [CLOUD_IDENTITY_AZURE] = {"azure", "azure.workload.identity/skip-containers", ';', true},
};

/* The volumes that they add together with variables and mounts. */
static const struct {
    const char *name;
    enum cloud_identity cloud;
} volumes[] = {
    {"aws-iam-token", CLOUD_IDENTITY_EKS},
    {"eks-pod-identity-token", CLOUD_IDENTITY_EKS},
    {"azure-identity-token", CLOUD_IDENTITY_AZURE},
};

static bool is_volume_of(const char *name, enum cloud_identity cloud)
{
    for (size_t i = 0; name != NULL && i < sizeof(volumes) / sizeof(volumes[0]); i++) {
        if (volumes[i].cloud == cloud && strcmp(volumes[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool has_volume_of(const struct pod *pod, enum cloud_identity cloud)
{
    const cJSON *volume;
    cJSON_ArrayForEach(volume, pod->volumes)
    {
        if (is_volume_of(json_get_text(volume, "name"), cloud))
            return true;
    }
    return false;
}

/* The label is the pod's own word for it; EKS goes by the ServiceAccount, which no pod shows. */
static bool has_label_of(const struct pod *pod, enum cloud_identity cloud)
{
    const char *use = cloud == CLOUD_IDENTITY_AZURE ? pod_label(pod, "azure.workload.identity/use") : NULL;
    return use != NULL && strcmp(use, "true") == 0;
}

bool cloud_identity_is_expected(const struct pod *pod, enum cloud_identity cloud, struct span always)
{
    struct span name;
    while (span_next_item(&always, &name)) {
        if (span_equal(name, cloud_identity_lists[cloud].name))
            return true;
    }
    return has_label_of(pod, cloud) || has_volume_of(pod, cloud);
}

bool cloud_identity_is_given(const cJSON *container, enum cloud_identity cloud)
{
    const cJSON *mount;
    cJSON_ArrayForEach(mount, json_get_array(container, "volumeMounts"))
    {
        if (is_volume_of(json_get_text(mount, "name"), cloud))
            return true;
    }
    return false;
}
