#include "webhook/inject/pod_resources.h"

#include "common/base/span.h"

#include <stdio.h>

bool pod_resources_read(const cJSON *item, struct quantity *ret)
{
    char number[32];
    if (cJSON_IsString(item))
        return quantity_parse(span_of(item->valuestring), ret, NULL) == 0;
    if (!cJSON_IsNumber(item))
        return false;
    snprintf(number, sizeof(number), "%.15g", item->valuedouble);
    return quantity_parse(span_of(number), ret, NULL) == 0;
}

static const cJSON *find_item(const cJSON *container, const char *list, const char *name)
{
    return json_get(json_get(json_get(container, "resources"), list), name);
}

static bool is_guaranteed(const cJSON *container, const char *name)
{
    struct quantity request, limit;
    const cJSON *request_item = find_item(container, "requests", name);
    if (!pod_resources_read(find_item(container, "limits", name), &limit) || quantity_is_zero(&limit))
        return false;
    if (request_item == NULL)
        return true;
    return pod_resources_read(request_item, &request) && quantity_compare(&request, &limit) == 0;
}

bool pod_resources_are_guaranteed(const struct pod *pod)
{
    bool any = false;
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (!is_guaranteed(iter.item, "cpu") || !is_guaranteed(iter.item, "memory"))
            return false;
        any = true;
    }
    return any;
}

struct quantity pod_resources_cpu(const struct pod *pod)
{
    struct quantity sum = {0}, one; /* 93 bits each, so no pod has enough containers to pass 128 */
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (pod_iter_stays(&iter) && pod_resources_read(find_item(iter.item, "limits", "cpu"), &one))
            sum.nano += one.nano;
    }
    return sum;
}

bool pod_resources_limit_storage(const struct pod *pod)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (find_item(iter.item, "limits", "ephemeral-storage") != NULL)
            return true;
    }
    return false;
}

bool pod_resources_any_requests(const struct pod *pod, const char *name)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (find_item(iter.item, "requests", name) != NULL || find_item(iter.item, "limits", name) != NULL)
            return true;
    }
    return false;
}

bool pod_resources_all_limit(const struct pod *pod, const char *name)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (find_item(iter.item, "limits", name) == NULL)
            return false;
    }
    return true;
}

const cJSON *pod_resources_of_pod(const struct pod *pod)
{
    const cJSON *resources = json_get_object(pod->spec, "resources");
    const cJSON *requests = json_get_object(resources, "requests"), *limits = json_get_object(resources, "limits");
    bool set = (requests != NULL && requests->child != NULL) || (limits != NULL && limits->child != NULL);
    return set ? resources : NULL;
}
