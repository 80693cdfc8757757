#include "webhook/inject.h"

#include "common/cleanup.h"
#include "webhook/annotations.h"
#include "webhook/container.h"
#include "webhook/environment.h"
#include "webhook/ports.h"
#include "webhook/resources.h"
#include "webhook/status.h"

#include <stdio.h>
#include <string.h>

#define KEY(name) SETTINGS_ANNOTATION_PREFIX name

const char *const inject_decision_names[INJECT_DECISION_COUNT] = {
    [INJECT_INJECTED] = "injected",
    [INJECT_SKIPPED] = "skipped",
    [INJECT_UNCHANGED] = "unchanged",
    [INJECT_DENIED] = "denied",
};

const char *const inject_reason_names[INJECT_REASON_COUNT] = {
    [INJECT_NO_REASON] = "",
    [INJECT_NOT_ANNOTATED] = "not-annotated",
    [INJECT_DISABLED] = "disabled",
    [INJECT_ALREADY_INJECTED] = "already-injected",
    [INJECT_HOST_NETWORK] = "host-network",
    [INJECT_MIRROR_POD] = "mirror-pod",
    [INJECT_WINDOWS] = "windows",
    [INJECT_NO_SUCH_PORT] = "no-such-port",
    [INJECT_UNSUPPORTED_OBJECT] = "unsupported-object",
};

enum {
    VOLUME_TRIES = 64, /* a pod may have volumes of our name already; nobody has so many */
};

/* One pod on its way: what the steps below hand on. */
struct work {
    const struct settings *settings;
    bool all;
    struct pod pod;
    struct annotations asked;
    struct ports ports;
    struct injection *result;
    struct warnings *warnings; /* of result */
};

/* ---- shall it be injected? ---- */

static bool has_agent(const struct pod *pod)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        const char *name = json_get_text(iter.item, "name");
        if (name != NULL && strcmp(name, POD_AGENT_NAME) == 0)
            return true;
    }
    return false;
}

/* A pod without a word is wanted where the namespace says all. */
static enum inject_reason check_wish(const struct work *work)
{
    enum annotations_wish wish = annotations_wish(&work->asked);
    if (wish == ANNOTATIONS_DISABLED)
        return INJECT_DISABLED;
    if (wish == ANNOTATIONS_ENABLED || work->all)
        return INJECT_NO_REASON;
    if (work->asked.count > 0 && work->warnings->count == 0)
        warnings_add(work->warnings, KEY("enable: expected \"true\" for the other annotations to count, got none; the "
                                         "pod is not profiled"));
    return INJECT_NOT_ANNOTATED;
}

/* The port is looked for in the pod, so a name that nobody has shows here. */
static enum inject_reason check_ports(struct work *work)
{
    struct err err;
    struct span port = annotations_get(&work->asked, SETTING_PORT);
    if (ports_resolve(&work->pod, port, &work->ports, work->warnings, &err) == 0)
        return INJECT_NO_REASON;
    warnings_add(work->warnings, KEY("port: %s; the pod is not profiled"), err.text);
    return INJECT_NO_SUCH_PORT;
}

static enum inject_reason check_pod(struct work *work)
{
    const struct pod *pod = &work->pod;
    enum inject_reason reason = check_wish(work);
    if (reason != INJECT_NO_REASON)
        return reason;
    if (has_agent(pod))
        return INJECT_ALREADY_INJECTED;
    reason = pod_uses_host_network(pod) ? INJECT_HOST_NETWORK : pod_is_windows(pod) ? INJECT_WINDOWS : INJECT_NO_REASON;
    if (reason == INJECT_NO_REASON)
        return check_ports(work);
    if (annotations_is_given(&work->asked, SETTING_ENABLE))
        warnings_add(work->warnings, KEY("enable: the pod is not profiled: %s"), inject_reason_names[reason]);
    return reason;
}

/* ---- the container ---- */

/* A plain container would keep the pod of a Job running for ever. */
static bool choose_native(const struct work *work)
{
    bool native = !text_equal(annotations_get(&work->asked, SETTING_MODE), "container");
    if (native || pod_restarts_always(&work->pod))
        return native;
    if (annotations_is_given(&work->asked, SETTING_MODE))
        warnings_add(work->warnings, KEY("mode: container would keep a pod whose restartPolicy is not Always running; "
                                         "native is used"));
    return true;
}

static const cJSON *find_volume(const struct pod *pod, const char *name)
{
    const cJSON *volume;
    cJSON_ArrayForEach(volume, pod->volumes)
    {
        const char *text = json_get_text(volume, "name");
        if (text != NULL && strcmp(text, name) == 0)
            return volume;
    }
    return NULL;
}

/* A free name, or a volume of ours that a copied pod has kept; two volumes of one name would refuse the pod. Returns
 * whether the volume is there already. */
static bool choose_volume(const struct pod *pod, char name[static POD_LABEL_MAX + 1])
{
    const cJSON *found = NULL;
    for (int i = 1; i <= VOLUME_TRIES; i++) {
        if (i == 1)
            snprintf(name, POD_LABEL_MAX + 1, CONTAINER_VOLUME_NAME);
        else
            snprintf(name, POD_LABEL_MAX + 1, CONTAINER_VOLUME_NAME "-%d", i);
        found = find_volume(pod, name);
        if (found == NULL || json_get_object(found, "downwardAPI") != NULL)
            break;
    }
    return found != NULL;
}

static void add_volume(struct patch *patch, const struct pod *pod, const char *name)
{
    bool there = pod->volumes != NULL;
    const char *const keys[] = {"spec", "volumes", there ? "-" : NULL, NULL};
    struct buf *out = patch_begin_add(patch, keys);
    buf_puts(out, there ? "" : "[");
    container_write_volume(out, name);
    buf_puts(out, there ? "" : "]");
    patch_end_add(patch);
}

/* Native sidecars go last among the init containers, plain ones last among the containers: kubectl logs and exec still
 * take the app, and nobody's order changes. */
static void add_container(struct patch *patch, const struct pod *pod, const struct container *container)
{
    bool there = !container->native || pod->init_containers != NULL;
    const char *const keys[] = {"spec", container->native ? "initContainers" : "containers", there ? "-" : NULL, NULL};
    struct buf *out = patch_begin_add(patch, keys);
    buf_puts(out, there ? "" : "[");
    container_write(out, container);
    buf_puts(out, there ? "" : "]");
    patch_end_add(patch);
}

static int add_agent(const struct work *work, struct patch *patch)
{
    char volume[POD_LABEL_MAX + 1];
    const struct environment_source from = {&work->pod, &work->asked, &work->ports, &work->result->identity};
    CLEANUP(environment_done) struct environment environment;
    environment_init(&environment);
    struct container container = {
        .image = annotations_get(&work->asked, SETTING_IMAGE),
        .pull_policy = annotations_get(&work->asked, SETTING_IMAGE_PULL_POLICY),
        .native = choose_native(work),
        .set_user = pod_runs_as_root(&work->pod),
        .port = ports_choose_agent(&work->pod, &work->ports),
        .volume = volume,
    };
    int rc = environment_fill(&environment, &from, &container, work->warnings);
    if (rc < 0)
        return rc;
    resources_resolve(&work->pod, &work->asked, &container.resources, work->warnings);
    if (!choose_volume(&work->pod, volume))
        add_volume(patch, &work->pod, volume);
    add_container(patch, &work->pod, &container);
    return buf_error(&patch->text);
}

/* ---- all of it ---- */

static int inject(const struct work *work, struct patch *patch)
{
    CLEANUP(buf_done) struct buf status;
    buf_init(&status, STATUS_MAX); /* the first warning has at most WARNING_MAX bytes: it always fits */
    int rc = add_agent(work, patch);
    if (rc == 0)
        rc = status_write_injected(&status, work->warnings);
    if (rc == 0)
        status_add(patch, &work->pod, buf_text(&status));
    return rc < 0 ? rc : buf_error(&patch->text);
}

/* Pods that nobody asked for, and those that must stay as they are, carry no word of ours. */
static int skip(const struct work *work, enum inject_reason reason, struct patch *patch)
{
    if (reason != INJECT_HOST_NETWORK && reason != INJECT_WINDOWS && reason != INJECT_NO_SUCH_PORT)
        return 0;
    CLEANUP(buf_done) struct buf status;
    buf_init(&status, STATUS_MAX);
    int rc = status_write_skipped(&status, inject_reason_names[reason]);
    if (rc == 0)
        status_add(patch, &work->pod, buf_text(&status));
    return rc < 0 ? rc : buf_error(&patch->text);
}

static int carry_out(struct work *work, enum inject_reason reason, struct patch *patch)
{
    struct injection *result = work->result;
    result->reason = reason;
    if (reason == INJECT_NO_REASON) {
        result->decision = INJECT_INJECTED;
        return inject(work, patch);
    }
    if (reason == INJECT_ALREADY_INJECTED) {
        result->decision = INJECT_UNCHANGED;
        warnings_clear(work->warnings); /* they were told the first time */
        return 0;
    }
    result->decision = INJECT_SKIPPED;
    return skip(work, reason, patch);
}

static int decide(struct work *work, struct patch *patch)
{
    const struct pod *pod = &work->pod;
    if (pod_is_mirror(pod)) {
        work->result->reason = INJECT_MIRROR_POD;
        return 0;
    }
    int rc = annotations_read(pod, work->settings, &work->asked, work->warnings);
    if (rc < 0)
        return rc;
    identity_read(pod, annotations_get(&work->asked, SETTING_SERVICE), &work->result->identity);
    return carry_out(work, check_pod(work), patch);
}

int inject_decide(const struct settings *settings, const cJSON *object, bool all, struct injection *ret,
                  struct patch *patch, struct err *err)
{
    struct work work = {.settings = settings, .all = all, .result = ret, .warnings = &ret->warnings};
    ret->decision = INJECT_SKIPPED;
    ret->reason = INJECT_UNSUPPORTED_OBJECT;
    ret->identity = (struct identity){.owner_kind = "", .owner_name = ""};
    warnings_clear(&ret->warnings);
    if (!pod_read(object, &work.pod))
        return 0;
    int rc = decide(&work, patch);
    return rc < 0 ? err_set(err, -rc, rc == -ENOMEM ? "no memory for a patch" : "the patch would be too large") : 0;
}

int inject_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
{
    if (settings_get(settings, SETTING_IMAGE) == NULL)
        return err_set(err, EINVAL, "[inject] image: expected the image of profefe-agent, got none");
    int rc = resources_check_settings(settings, warnings, err);
    if (rc == 0 && settings_get(settings, SETTING_COLLECTOR) == NULL)
        warnings_add(warnings, "[inject] collector: not set, so agents of pods that name none idle");
    return rc;
}
