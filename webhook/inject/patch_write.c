#include "webhook/inject/patch_write.h"

#include "common/base/number.h"
#include "webhook/inject/pull_secrets.h"

/* To the pod's list one by one, or as the list that it lacks. */
static void write_volumes(const struct injection_plan *plan, struct patch *patch)
{
    bool there = plan->pod.volumes != NULL, open = false;
    const char *const keys[] = {"spec", "volumes", there ? "-" : NULL, NULL};
    for (unsigned i = 0; i < plan->volumes.count; i++) {
        const struct volume *volume = &plan->volumes.items[i];
        if (volume->there)
            continue;
        if (!open)
            patch_begin_add(patch, keys);
        if (!open && !there)
            json_text_open(&patch->json, NULL, '[');
        volumes_write(&patch->json, &plan->volumes, volume);
        if (there)
            patch_end_add(patch);
        open = !there;
    }
    if (open) {
        json_text_close(&patch->json, ']');
        patch_end_add(patch);
    }
}

/* Native sidecars go last among the init containers, plain ones last among the containers: kubectl logs and exec still
 * take the app, and nobody's order changes. */
static void write_container(const struct injection_plan *plan, struct patch *patch)
{
    bool native = plan->container.native, there = !native || plan->pod.init_containers != NULL;
    const char *const keys[] = {"spec", native ? "initContainers" : "containers", there ? "-" : NULL, NULL};
    struct json_text *json = patch_begin_add(patch, keys);
    if (!there)
        json_text_open(json, NULL, '[');
    agent_container_write(json, &plan->container);
    if (!there)
        json_text_close(json, ']');
    patch_end_add(patch);
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
