#include "webhook/inject/inject.h"

#include "common/base/cleanup.h"
#include "common/base/utf8.h"
#include "common/pod/annotations.h"
#include "webhook/inject/agent_container.h"
#include "webhook/inject/agent_env.h"
#include "webhook/inject/pod_notes.h"
#include "common/pod/ports.h"
#include "webhook/inject/resources.h"
#include "webhook/inject/status_note.h"
#include "webhook/inject/volumes.h"

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
    EVICTABLE_MAX = 16 * 1024, /* bytes of a list of volumes: a pod with 250 of the longest names */
};

/* One pod on its way: what the steps below hand on. */
struct work {
    const struct policy *policy;
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
        warnings_add_kind(work->warnings, WARNING_NOT_INJECTED,
                          KEY("enable: expected \"true\" for the other annotations to count, got none; the pod is not "
                              "profiled"));
    return INJECT_NOT_ANNOTATED;
}

/* The port is looked for in the pod, so a name that nobody has shows here. */
static enum inject_reason check_ports(struct work *work)
{
    struct err err;
    struct span port = annotations_get(&work->asked, SETTING_PORT);
    if (ports_resolve(&work->pod, port, &work->ports, work->warnings, &err) == 0)
        return INJECT_NO_REASON;
    warnings_add_kind(work->warnings, WARNING_NOT_INJECTED, KEY("port: %s%s"), err.text,
                      work->asked.strict ? "" : "; the pod is not profiled");
    return INJECT_NO_SUCH_PORT;
}

static enum inject_reason check_pod(struct work *work)
{
    const struct pod *pod = &work->pod;
    enum inject_reason reason = check_wish(work);
    if (reason == INJECT_DISABLED)
        return reason;
    if (has_agent(pod)) /* also where somebody between two calls has taken the annotations away */
        return INJECT_ALREADY_INJECTED;
    if (reason != INJECT_NO_REASON)
        return reason;
    reason = pod_uses_host_network(pod) ? INJECT_HOST_NETWORK : pod_is_windows(pod) ? INJECT_WINDOWS : INJECT_NO_REASON;
    if (reason == INJECT_NO_REASON)
        return check_ports(work);
    if (annotations_is_given(&work->asked, SETTING_ENABLE))
        warnings_add_kind(work->warnings, WARNING_NOT_INJECTED, KEY("enable: the pod is not profiled: %s"),
                          inject_reason_names[reason]);
    return reason;
}

/* ---- the container ---- */

/* A plain container would keep the pod of a Job running for ever. */
static bool choose_native(const struct work *work)
{
    bool native = !span_equal(annotations_get(&work->asked, SETTING_MODE), "container");
    if (native || pod_restarts_always(&work->pod))
        return native;
    if (annotations_is_given(&work->asked, SETTING_MODE))
        warnings_add(work->warnings, KEY("mode: container would keep a pod whose restartPolicy is not Always running; "
                                         "native is used"));
    return true;
}

/* To the pod's list one by one, or as the list that it lacks. */
static void add_volumes(struct patch *patch, const struct pod *pod, const struct volumes *volumes)
{
    bool there = pod->volumes != NULL, open = false;
    const char *const keys[] = {"spec", "volumes", there ? "-" : NULL, NULL};
    struct buf *out = &patch->text;
    for (unsigned i = 0; i < volumes->count; i++) {
        if (volumes->items[i].there)
            continue;
        if (!open)
            patch_begin_add(patch, keys);
        buf_puts(out, there ? "" : open ? "," : "[");
        volumes_write(out, volumes, &volumes->items[i]);
        if (there)
            patch_end_add(patch);
        open = !there;
    }
    if (open) {
        buf_putc(out, ']');
        patch_end_add(patch);
    }
}

/* Native sidecars go last among the init containers, plain ones last among the containers: kubectl logs and exec still
 * take the app, and nobody's order changes. */
static void add_container(struct patch *patch, const struct pod *pod, const struct agent_container *container)
{
    bool there = !container->native || pod->init_containers != NULL;
    const char *const keys[] = {"spec", container->native ? "initContainers" : "containers", there ? "-" : NULL, NULL};
    struct buf *out = patch_begin_add(patch, keys);
    buf_puts(out, there ? "" : "[");
    agent_container_write(out, container);
    buf_puts(out, there ? "" : "]");
    patch_end_add(patch);
}

static int add_agent(const struct work *work, const struct volumes *volumes, bool native, struct patch *patch)
{
    const struct agent_env_source from = {&work->pod, &work->asked, &work->ports, &work->result->service};
    CLEANUP(agent_env_done) struct agent_env environment;
    agent_env_init(&environment);
    struct agent_container container = {
        .image = annotations_get(&work->asked, SETTING_IMAGE),
        .pull_policy = annotations_get(&work->asked, SETTING_IMAGE_PULL_POLICY),
        .native = native,
        .set_user = pod_runs_as_root(&work->pod),
        .port = ports_choose_agent(&work->pod, &work->ports),
        .volumes = volumes,
    };
    int rc = agent_env_fill(&environment, &from, &container, work->warnings);
    if (rc < 0)
        return rc;
    resources_resolve(&work->pod, &work->asked, volumes->size_limit_mib, &container.resources, work->warnings);
    add_volumes(patch, &work->pod, volumes);
    add_container(patch, &work->pod, &container);
    return buf_error(&patch->text);
}

/* ---- annotations of the pod ---- */

/* kubectl takes the first container anyway; with the annotation it does not say so each time. A native sidecar is an
 * init container, of which kubectl says nothing. */
static void note_default_container(const struct work *work, bool native, struct pod_notes *notes)
{
    const char *name = pod_container_name(work->pod.containers->child);
    if (!native && name != NULL &&
        json_get(work->pod.annotations, INJECT_DEFAULT_CONTAINER_KEY) == NULL)
        pod_notes_add(notes, INJECT_DEFAULT_CONTAINER_KEY, (struct span){name, strlen(name)}, work->warnings);
}

/* The autoscaler splits at commas and trims nothing. */
static bool list_has(const char *list, const char *name)
{
    for (;;) {
        size_t len = strcspn(list, ",");
        if (span_equal((struct span){list, len}, name))
            return true;
        if (list[len] == '\0')
            return false;
        list += len + 1;
    }
}

/* Only such text comes out of the patch as it went in. */
static bool is_utf8(const char *text)
{
    size_t len = strlen(text), n;
    for (size_t i = 0; i < len; i += n) {
        n = utf8_len(text + i, len - i);
        if (n == 0)
            return false;
    }
    return true;
}

/* An emptyDir keeps the autoscaler from removing the node, unless the pod says that this one may go. */
static int note_evictable(const struct work *work, const struct volumes *volumes, struct buf *text, struct pod_notes *notes)
{
    const struct volume *spool = volumes_find(volumes, VOLUME_SPOOL);
    const cJSON *item = json_get(work->pod.annotations, INJECT_EVICTABLE_KEY);
    const char *list = cJSON_IsString(item) ? item->valuestring : "";
    if (spool == NULL || (item != NULL && !cJSON_IsString(item)) || list_has(list, spool->name))
        return 0;
    if (strlen(list) + sizeof(spool->name) + 1 > EVICTABLE_MAX || !is_utf8(list)) {
        warnings_add(work->warnings, INJECT_EVICTABLE_KEY ": expected UTF-8 text of at most %d bytes; %s is not added, so "
                                                          "the node may not be removed", EVICTABLE_MAX, spool->name);
        return 0;
    }
    buf_printf(text, "%s%s%s", list, list[0] != '\0' ? "," : "", spool->name);
    pod_notes_add(notes, INJECT_EVICTABLE_KEY, (struct span){buf_text(text), text->len}, work->warnings);
    return buf_error(text);
}

static void note_status(const struct work *work, const struct buf *status, struct pod_notes *notes)
{
    pod_notes_add(notes, STATUS_NOTE_KEY, (struct span){buf_text(status), status->len}, work->warnings);
}

/* ---- all of it ---- */

static int inject(const struct work *work, struct patch *patch)
{
    CLEANUP(buf_done) struct buf status;
    CLEANUP(buf_done) struct buf evictable;
    struct pod_notes notes;
    struct volumes volumes;
    bool native = choose_native(work);
    pod_notes_init(&notes, &work->pod);
    buf_init(&status, STATUS_NOTE_MAX); /* the first warning has at most WARNING_MAX bytes: it always fits */
    buf_init(&evictable, EVICTABLE_MAX);
    volumes_choose(&work->pod, &work->asked, &volumes);
    int rc = add_agent(work, &volumes, native, patch);
    note_default_container(work, native, &notes);
    if (rc == 0)
        rc = note_evictable(work, &volumes, &evictable, &notes);
    if (rc == 0)
        rc = status_note_injected(&status, work->warnings);
    if (rc < 0)
        return rc;
    note_status(work, &status, &notes);
    pod_notes_write(&notes, patch);
    return buf_error(&patch->text);
}

/* Pods that nobody asked for, and those that must stay as they are, carry no word of ours. */
static int skip(const struct work *work, enum inject_reason reason, struct patch *patch)
{
    if (reason != INJECT_HOST_NETWORK && reason != INJECT_WINDOWS && reason != INJECT_NO_SUCH_PORT)
        return 0;
    CLEANUP(buf_done) struct buf status;
    struct pod_notes notes;
    buf_init(&status, STATUS_NOTE_MAX);
    pod_notes_init(&notes, &work->pod);
    int rc = status_note_skipped(&status, inject_reason_names[reason]);
    if (rc < 0)
        return rc;
    note_status(work, &status, &notes);
    pod_notes_write(&notes, patch);
    return buf_error(&patch->text);
}

static bool must_refuse(const struct work *work)
{
    const unsigned *of_kind = work->warnings->of_kind;
    enum inject_reason reason = work->result->reason;
    if (!work->asked.strict || reason == INJECT_DISABLED || reason == INJECT_ALREADY_INJECTED)
        return false;
    return reason == INJECT_NO_SUCH_PORT ||
           of_kind[WARNING_UNKNOWN_KEY] + of_kind[WARNING_BAD_VALUE] + of_kind[WARNING_NOT_PERMITTED] > 0;
}

static void refuse(struct injection *result, struct patch *patch)
{
    result->decision = INJECT_DENIED;
    if (result->reason != INJECT_NO_SUCH_PORT)
        result->reason = INJECT_NO_REASON;
    patch_clear(patch);
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
    int rc = annotations_read(pod, work->policy, work->all, &work->asked, work->warnings);
    if (rc < 0)
        return rc;
    service_name_read(pod, annotations_get(&work->asked, SETTING_SERVICE), &work->result->service);
    rc = carry_out(work, check_pod(work), patch);
    if (rc == 0 && must_refuse(work))
        refuse(work->result, patch);
    return rc;
}

int inject_decide(const struct policy *policy, const cJSON *object, bool all, struct injection *ret,
                  struct patch *patch, struct err *err)
{
    struct work work = {.policy = policy, .all = all, .result = ret, .warnings = &ret->warnings};
    ret->decision = INJECT_SKIPPED;
    ret->reason = INJECT_UNSUPPORTED_OBJECT;
    ret->service = (struct service_name){.owner_kind = "", .owner_name = ""};
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
