#include "common/pod/pod.h"

#include "common/base/name.h"

#include <string.h>

/* Finds a member that may be absent; false when it is there with another type. */
static bool optional(const cJSON *parent, const char *key, int type, const cJSON **ret)
{
    const cJSON *item = json_get(parent, key);
    *ret = item;
    return item == NULL || (item->type & 0xFF) == type;
}

/* Go leaves empty lists and maps out when it writes a pod (omitempty). Adding a list with its first element works
 * whether an empty one is there or not; adding to it does not. */
static const cJSON *without_empty(const cJSON *item)
{
    return item != NULL && item->child == NULL ? NULL : item;
}

bool pod_read(const cJSON *object, struct pod *ret)
{
    struct pod pod = {.object = object};
    bool ok = optional(object, "metadata", cJSON_Object, &pod.metadata) &&
              optional(object, "spec", cJSON_Object, &pod.spec) && pod.spec != NULL &&
              optional(pod.metadata, "annotations", cJSON_Object, &pod.annotations) &&
              optional(pod.metadata, "labels", cJSON_Object, &pod.labels) &&
              optional(pod.spec, "initContainers", cJSON_Array, &pod.init_containers) &&
              optional(pod.spec, "volumes", cJSON_Array, &pod.volumes) &&
              optional(pod.spec, "containers", cJSON_Array, &pod.containers);
    if (!ok || pod.containers == NULL || pod.containers->child == NULL)
        return false;
    pod.annotations = without_empty(pod.annotations);
    pod.init_containers = without_empty(pod.init_containers);
    pod.volumes = without_empty(pod.volumes);
    *ret = pod;
    return true;
}

bool pod_is_mirror(const struct pod *pod)
{
    return json_get(pod->annotations, "kubernetes.io/config.mirror") != NULL;
}

static bool text_is(const cJSON *object, const char *key, const char *word)
{
    const char *text = json_get_text(object, key);
    return text != NULL && strcmp(text, word) == 0;
}

bool pod_uses_host_network(const struct pod *pod)
{
    return json_get_true(pod->spec, "hostNetwork");
}

bool pod_restarts_always(const struct pod *pod)
{
    const char *policy = json_get_text(pod->spec, "restartPolicy");
    return policy == NULL || strcmp(policy, "Always") == 0;
}

bool pod_runs_as_root(const struct pod *pod)
{
    int64_t user;
    return json_get_whole(json_get(pod->spec, "securityContext"), "runAsUser", 0, 0, &user);
}

bool pod_has_own_apparmor(const struct pod *pod)
{
    return text_is(json_get(json_get(pod->spec, "securityContext"), "appArmorProfile"), "type", "Localhost");
}

int64_t pod_grace_seconds(const struct pod *pod)
{
    int64_t seconds = POD_GRACE_DEFAULT_S;
    json_get_whole(pod->spec, "terminationGracePeriodSeconds", 0, INT32_MAX, &seconds);
    return seconds;
}

const char *pod_label(const struct pod *pod, const char *key)
{
    return json_get_text(pod->labels, key);
}

bool pod_iter_next(struct pod_iter *iter)
{
    const cJSON *item = iter->started ? iter->item->next : iter->pod->containers->child;
    iter->started = true;
    for (;; item = item->next) {
        if (item == NULL && !iter->init && iter->pod->init_containers != NULL) {
            item = iter->pod->init_containers->child;
            iter->init = true;
        }
        if (item == NULL)
            return false;
        if (cJSON_IsObject(item))
            break;
    }
    iter->item = item;
    return true;
}

bool pod_iter_stays(const struct pod_iter *iter)
{
    return !iter->init || text_is(iter->item, "restartPolicy", "Always");
}

const char *pod_container_name(const cJSON *container)
{
    const char *name = json_get_text(container, "name");
    return name != NULL && name_is_dns_label((struct span){name, strlen(name)}) ? name : NULL;
}
