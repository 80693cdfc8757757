#include "webhook/inject/pull_secrets.h"

#include <string.h>

static bool pod_names(const cJSON *list, struct span name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *its = json_get_text(item, "name");
        if (its != NULL && span_equal(name, its))
            return true;
    }
    return false;
}

/* Is it for the first time, at `name` inside the list `all`? */
static bool comes_first(struct span all, struct span name)
{
    struct span item;
    while (span_next_item(&all, &item) && item.ptr != name.ptr) {
        if (item.len == name.len && memcmp(item.ptr, name.ptr, name.len) == 0)
            return false;
    }
    return true;
}

static void write_reference(struct json_text *json, struct span name)
{
    json_text_open(json, NULL, '{');
    json_text_span(json, "name", name);
    json_text_close(json, '}');
}

void pull_secrets_write(struct patch *patch, const struct pod *pod, struct span wanted)
{
    const cJSON *list = json_get(pod->spec, "imagePullSecrets");
    struct patch_items items = {
        .patch = patch, .list = "imagePullSecrets", .there = list != NULL && list->child != NULL};
    struct span rest = wanted, name;
    if (list != NULL && !cJSON_IsArray(list))
        return; /* the API server refuses it after us */
    while (span_next_item(&rest, &name)) {
        if (name.len > 0 && !pod_names(list, name) && comes_first(wanted, name))
            write_reference(patch_items_next(&items), name);
    }
    patch_items_end(&items);
}
