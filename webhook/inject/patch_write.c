#include "webhook/inject/patch_write.h"

#include "common/base/number.h"
#include "webhook/inject/pull_secrets.h"

static void write_volumes(const struct injection_plan *plan, struct patch *patch)
{
    struct patch_items items = {.patch = patch, .list = "volumes", .there = plan->pod.volumes != NULL};
    for (unsigned i = 0; i < plan->volumes.count; i++) {
        if (!plan->volumes.items[i].there)
            volumes_write(patch_items_next(&items), &plan->volumes, &plan->volumes.items[i]);
    }
    patch_items_end(&items);
}

/* Native sidecars go last among the init containers, plain ones last among the containers: kubectl logs and exec still
 * take the app, and nobody's order changes. */
static void write_container(const struct injection_plan *plan, struct patch *patch)
{
    bool native = plan->container.native;
    struct patch_items items = {.patch = patch,
                                .list = native ? "initContainers" : "containers",
                                .there = !native || plan->pod.init_containers != NULL};
    agent_container_write(patch_items_next(&items), &plan->container);
    patch_items_end(&items);
}

static void write_restart_policy(int init_container, struct patch *patch)
{
    char index[NUMBER_TEXT_MAX];
    const char *const keys[] = {"spec", "initContainers", index, "restartPolicy", NULL};
    number_format_u64((uint64_t)init_container, index);
    json_text_word(patch_begin_add(patch, keys), NULL, "Always");
    patch_end_add(patch);
}

int patch_write(const struct injection_plan *plan, struct patch *patch)
{
    if (plan->decision == INJECT_INJECTED) {
        write_volumes(plan, patch);
        write_container(plan, patch);
        pull_secrets_write(patch, &plan->pod, plan->pull_secrets);
        resources_write_of_pod(patch, &plan->pod, &plan->container.resources);
    }
    if (plan->restore >= 0)
        write_restart_policy(plan->restore, patch);
    if (plan->decision != INJECT_DENIED)
        pod_notes_write(&plan->notes, patch);
    return patch_finish(patch);
}
