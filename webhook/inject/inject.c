#include "webhook/inject/inject.h"

#include "common/base/number.h"
#include "common/base/utf8.h"
#include "common/pod/annotations.h"
#include "common/pod/pod_nodes.h"
#include "common/pod/ports.h"
#include "webhook/inject/agent_container.h"
#include "webhook/inject/agent_env.h"
#include "webhook/inject/pod_notes.h"
#include "webhook/inject/resources.h"
#include "webhook/inject/status_note.h"
#include "webhook/inject/volumes.h"

#include <string.h>

#define KEY(name) SETTINGS_ANNOTATION_PREFIX name
#define APPARMOR_KEY "container.apparmor.security.beta.kubernetes.io/" POD_AGENT_NAME

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
    [INJECT_ARCHITECTURE] = "architecture",
    [INJECT_NO_SUCH_PORT] = "no-such-port",
    [INJECT_UNSUPPORTED_OBJECT] = "unsupported-object",
};

enum {
    LIST_MAX = 16 * 1024, /* bytes of a list of names: a pod with 250 of the longest */
};

/* One pod on its way: what the steps below hand on. */
struct work {
    const struct policy *policy;
    bool all;
    struct annotations asked;
    struct ports ports;
    struct injection_plan *plan;
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

/* Written by us: a container of our name that somebody made by hand has no such variable. */
static bool is_ours(const cJSON *container)
{
    const cJSON *variable;
    const char *name = json_get_text(container, "name");
    if (name == NULL || strcmp(name, POD_AGENT_NAME) != 0)
        return false;
    cJSON_ArrayForEach(variable, json_get_array(container, "env"))
    {
        name = json_get_text(variable, "name");
        if (name != NULL && strcmp(name, settings_table[SETTING_SIDECAR].env) == 0)
            return true;
    }
    return false;
}

/* A webhook that knows an older type of container writes the list of init containers without `restartPolicy`. Then
 * the kubelet waits for the agent to end, and the app never starts. */
static void restore_restart_policy(struct injection_plan *plan)
{
    int i = 0;
    const cJSON *container, *list = plan->pod.init_containers;
    for (container = list != NULL ? list->child : NULL; container != NULL; container = container->next, i++) {
        if (!is_ours(container) || json_get(container, "restartPolicy") != NULL)
            continue;
        plan->restore = i;
        warnings_add(&plan->warnings,
                     "initContainers: " POD_AGENT_NAME " had lost restartPolicy Always, which another webhook dropped "
                     "after it was injected, and has it again: without it the pod would wait in Init for ever");
        return;
    }
}

/* A patch only adds, so a token that a later webhook gave the agent stays. The next pod can do without. */
static void tell_tokens(struct injection_plan *plan)
{
    struct pod_iter iter = {.pod = &plan->pod};
    while (pod_iter_next(&iter)) {
        for (int cloud = 0; is_ours(iter.item) && cloud < CLOUD_IDENTITY_COUNT; cloud++) {
            if (cloud_identity_is_given(iter.item, (enum cloud_identity)cloud))
                warnings_add(&plan->warnings,
                             POD_AGENT_NAME ": expected no credential, got a token from a webhook that came after this "
                             "one; [inject] skip-containers = %s keeps it out", cloud_identity_lists[cloud].name);
        }
    }
}

/* A pod without a word is wanted where the namespace says all. */
static enum inject_reason judge_wish(const struct work *work)
{
    enum annotations_wish wish = annotations_wish(&work->asked);
    if (wish == ANNOTATIONS_DISABLED)
        return INJECT_DISABLED;
    if (wish == ANNOTATIONS_ENABLED || work->all)
        return INJECT_NO_REASON;
    if (work->asked.count > 0 && work->plan->warnings.count == 0)
        warnings_add_kind(&work->plan->warnings, WARNING_NOT_INJECTED,
                          KEY("enable: expected \"true\" for the other annotations to count, got none; the pod is not "
                              "profiled"));
    return INJECT_NOT_ANNOTATED;
}

/* The port is looked for in the pod, so a name that nobody has shows here. */
static enum inject_reason choose_ports(struct work *work)
{
    struct err err;
    struct span port = annotations_get(&work->asked, SETTING_PORT);
    if (ports_resolve(&work->plan->pod, port, &work->ports, &work->plan->warnings, &err) == 0)
        return INJECT_NO_REASON;
    warnings_add_kind(&work->plan->warnings, WARNING_NOT_INJECTED, KEY("port: %s%s"), err.text,
                      work->asked.strict ? "" : "; the pod is not profiled");
    return INJECT_NO_SUCH_PORT;
}

/* Where the agent cannot run. */
static enum inject_reason judge_place(const struct work *work)
{
    const struct pod *pod = &work->plan->pod;
    if (pod_uses_host_network(pod))
        return INJECT_HOST_NETWORK;
    switch (pod_nodes_judge(pod, annotations_get(&work->asked, SETTING_ARCHITECTURES))) {
    case POD_NODES_WINDOWS:
        return INJECT_WINDOWS;
    case POD_NODES_ARCHITECTURE:
        return INJECT_ARCHITECTURE;
    default:
        return INJECT_NO_REASON;
    }
}

static enum inject_reason judge_pod(struct work *work)
{
    const struct pod *pod = &work->plan->pod;
    enum inject_reason reason = judge_wish(work);
    if (reason == INJECT_DISABLED)
        return reason;
    if (has_agent(pod)) /* also where somebody between two calls has taken the annotations away */
        return INJECT_ALREADY_INJECTED;
    if (reason != INJECT_NO_REASON)
        return reason;
    reason = judge_place(work);
    if (reason == INJECT_NO_REASON)
        return choose_ports(work);
    if (annotations_is_given(&work->asked, SETTING_ENABLE))
        warnings_add_kind(&work->plan->warnings, WARNING_NOT_INJECTED, KEY("enable: the pod is not profiled: %s"),
                          inject_reason_names[reason]);
    return reason;
}

/* ---- the container ---- */

/* A plain container would keep the pod of a Job running for ever. */
static bool choose_native(const struct work *work)
{
    bool native = !span_equal(annotations_get(&work->asked, SETTING_MODE), "container");
    if (native || pod_restarts_always(&work->plan->pod))
        return native;
    if (annotations_is_given(&work->asked, SETTING_MODE))
        warnings_add(&work->plan->warnings,
                     KEY("mode: container would keep a pod whose restartPolicy is not Always running; native is used"));
    return true;
}

static uint16_t choose_agent_port(const struct work *work)
{
    struct injection_plan *plan = work->plan;
    uint64_t first = PORTS_AGENT;
    const struct setting *setting = &settings_table[SETTING_AGENT_PORT];
    number_parse_u64(annotations_get(&work->asked, SETTING_AGENT_PORT), (uint64_t)setting->min, (uint64_t)setting->max,
                     &first, NULL); /* cannot fail: checked when it was read */
    uint16_t port = ports_choose_agent(&plan->pod, &work->ports, (uint16_t)first);
    if (port != first && annotations_is_given(&work->asked, SETTING_AGENT_PORT))
        warnings_add(&plan->warnings, KEY("agent-port: %u is taken in this pod; %u is used"), (unsigned)first, port);
    return port;
}

/* Not beside the older annotation for the agent itself: where the two differ the pod is refused (core/validation). */
static bool needs_apparmor(const struct pod *pod)
{
    return pod_has_own_apparmor(pod) && json_get(pod->annotations, APPARMOR_KEY) == NULL;
}

static void choose_container(struct work *work)
{
    struct injection_plan *plan = work->plan;
    volumes_choose(&plan->pod, &work->asked, &plan->volumes);
    plan->pull_secrets = span_of(settings_get(&work->policy->settings, SETTING_IMAGE_PULL_SECRETS));
    plan->container = (struct agent_container){
        .image = annotations_get(&work->asked, SETTING_IMAGE),
        .pull_policy = annotations_get(&work->asked, SETTING_IMAGE_PULL_POLICY),
        .native = choose_native(work),
        .set_user = pod_runs_as_root(&plan->pod),
        .set_apparmor = needs_apparmor(&plan->pod),
        .port = choose_agent_port(work),
        .volumes = &plan->volumes,
    };
}

static int choose_env(struct work *work)
{
    struct injection_plan *plan = work->plan;
    const struct agent_env_source from = {&plan->pod, &work->asked, &work->ports, &plan->service};
    return agent_env_fill(&plan->env, &from, &plan->container, &plan->warnings);
}

static void choose_resources(struct work *work)
{
    struct injection_plan *plan = work->plan;
    resources_resolve(&plan->pod, &work->asked, plan->volumes.size_limit_mib, &plan->container.resources,
                      &plan->warnings);
}

/* ---- annotations of the pod ---- */

/* kubectl takes the first container anyway; with the annotation it does not say so each time. A native sidecar is an
 * init container, of which kubectl says nothing. */
static void note_default_container(struct injection_plan *plan)
{
    const char *name = pod_container_name(plan->pod.containers->child);
    if (!plan->container.native && name != NULL &&
        json_get(plan->pod.annotations, INJECT_DEFAULT_CONTAINER_KEY) == NULL)
        pod_notes_add(&plan->notes, INJECT_DEFAULT_CONTAINER_KEY, span_of(name), &plan->warnings);
}

/* As its reader sees it: the autoscaler splits at commas and trims nothing. */
static bool list_has(const char *list, char separator, bool trims, const char *name)
{
    const char separators[] = {separator, '\0'};
    for (;;) {
        size_t len = strcspn(list, separators);
        const struct span item = {list, len};
        if (span_equal(trims ? span_trim(item) : item, name))
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

static const char *list_key(enum inject_list list)
{
    return list == INJECT_LIST_EVICTABLE ? INJECT_EVICTABLE_KEY : cloud_identity_lists[list - INJECT_LIST_CLOUD].key;
}

char inject_list_separator(const char *key)
{
    for (int list = 0; list < INJECT_LIST_COUNT; list++) {
        if (strcmp(key, list_key((enum inject_list)list)) == 0)
            return list == INJECT_LIST_EVICTABLE ? ',' : cloud_identity_lists[list - INJECT_LIST_CLOUD].separator;
    }
    return '\0';
}

/* Puts `name` behind what the pod's list holds; `otherwise` is what becomes of it where that cannot be. */
static int note_in_list(struct injection_plan *plan, enum inject_list which, const char *name, const char *otherwise)
{
    const char *key = list_key(which);
    struct buf *text = &plan->lists[which];
    char separator = inject_list_separator(key);
    bool trims = which != INJECT_LIST_EVICTABLE && cloud_identity_lists[which - INJECT_LIST_CLOUD].trims;
    const cJSON *item = json_get(plan->pod.annotations, key);
    const char *list = cJSON_IsString(item) ? item->valuestring : "";
    if ((item != NULL && !cJSON_IsString(item)) || list_has(list, separator, trims, name))
        return 0;
    if (strlen(list) + POD_LABEL_MAX + 2 > LIST_MAX || !is_utf8(list)) {
        warnings_add(&plan->warnings, "%s: expected UTF-8 text of at most %d bytes; %s is not added, so %s", key,
                     LIST_MAX, name, otherwise);
        return 0;
    }
    buf_puts(text, list);
    if (list[0] != '\0')
        buf_putc(text, separator);
    buf_puts(text, name);
    pod_notes_add(&plan->notes, key, (struct span){buf_text(text), text->len}, &plan->warnings);
    return buf_error(text);
}

/* An emptyDir keeps the autoscaler from removing the node, unless the pod says that this one may go. */
static int note_evictable(struct injection_plan *plan)
{
    const struct volume *spool = volumes_find(&plan->volumes, VOLUME_SPOOL);
    return spool != NULL ? note_in_list(plan, INJECT_LIST_EVICTABLE, spool->name, "the node may not be removed") : 0;
}

static int note_clouds(const struct work *work)
{
    struct injection_plan *plan = work->plan;
    struct span always = annotations_get(&work->asked, SETTING_SKIP_CONTAINERS);
    int rc = 0;
    for (int cloud = 0; rc == 0 && cloud < CLOUD_IDENTITY_COUNT; cloud++) {
        if (cloud_identity_is_expected(&plan->pod, (enum cloud_identity)cloud, always))
            rc = note_in_list(plan, (enum inject_list)(INJECT_LIST_CLOUD + cloud), POD_AGENT_NAME,
                              "the agent may get the pod's token");
    }
    return rc;
}

/* Last of all, since it tells the first warning. */
static int note_status(struct injection_plan *plan)
{
    int rc = plan->decision == INJECT_INJECTED ? status_note_injected(&plan->status, &plan->warnings)
                                               : status_note_skipped(&plan->status, inject_reason_names[plan->reason]);
    if (rc == 0)
        pod_notes_add(&plan->notes, STATUS_NOTE_KEY, (struct span){buf_text(&plan->status), plan->status.len},
                      &plan->warnings);
    return rc;
}

/* ---- all of it ---- */

static int choose(struct work *work)
{
    struct injection_plan *plan = work->plan;
    choose_container(work);
    int rc = choose_env(work);
    if (rc < 0)
        return rc;
    choose_resources(work);
    note_default_container(plan);
    rc = note_evictable(plan);
    if (rc == 0)
        rc = note_clouds(work);
    return rc == 0 ? note_status(plan) : rc;
}

/* Pods that nobody asked for, and those that must stay as they are, carry no word of ours. */
static bool is_told_of_skipping(enum inject_reason reason)
{
    return reason == INJECT_HOST_NETWORK || reason == INJECT_WINDOWS || reason == INJECT_ARCHITECTURE ||
           reason == INJECT_NO_SUCH_PORT;
}

static bool must_refuse(const struct work *work)
{
    const unsigned *of_kind = work->plan->warnings.of_kind;
    enum inject_reason reason = work->plan->reason;
    if (!work->asked.strict || reason == INJECT_DISABLED || reason == INJECT_ALREADY_INJECTED)
        return false;
    return reason == INJECT_NO_SUCH_PORT ||
           of_kind[WARNING_UNKNOWN_KEY] + of_kind[WARNING_BAD_VALUE] + of_kind[WARNING_NOT_PERMITTED] > 0;
}

static void refuse_if_strict(const struct work *work)
{
    struct injection_plan *plan = work->plan;
    if (!must_refuse(work))
        return;
    plan->decision = INJECT_DENIED;
    if (plan->reason != INJECT_NO_SUCH_PORT)
        plan->reason = INJECT_NO_REASON;
}

static int apply_verdict(struct work *work)
{
    struct injection_plan *plan = work->plan;
    if (plan->reason == INJECT_NO_REASON) {
        plan->decision = INJECT_INJECTED;
        return choose(work);
    }
    if (plan->reason == INJECT_ALREADY_INJECTED) {
        plan->decision = INJECT_UNCHANGED;
        warnings_clear(&plan->warnings); /* they were told the first time */
        restore_restart_policy(plan);
        tell_tokens(plan);
    }
    return is_told_of_skipping(plan->reason) ? note_status(plan) : 0;
}

static int read_wishes(struct work *work)
{
    struct injection_plan *plan = work->plan;
    int rc = annotations_read(&plan->pod, work->policy, work->all, &work->asked, &plan->warnings);
    if (rc == 0)
        service_name_read(&plan->pod, annotations_get(&work->asked, SETTING_SERVICE),
                          annotations_get(&work->asked, SETTING_SERVICE_FROM), &plan->service);
    return rc;
}

static int decide_pod(struct work *work)
{
    struct injection_plan *plan = work->plan;
    if (pod_is_mirror(&plan->pod)) {
        plan->reason = INJECT_MIRROR_POD;
        return 0;
    }
    pod_notes_init(&plan->notes, &plan->pod);
    int rc = read_wishes(work);
    if (rc < 0)
        return rc;
    plan->reason = judge_pod(work);
    rc = apply_verdict(work);
    if (rc == 0)
        refuse_if_strict(work);
    return rc;
}

static void init_plan(struct injection_plan *plan)
{
    plan->decision = INJECT_SKIPPED;
    plan->reason = INJECT_UNSUPPORTED_OBJECT;
    plan->service = (struct service_name){.owner_kind = "", .owner_name = ""};
    plan->notes = (struct pod_notes){.pod = &plan->pod};
    plan->container.full = false;
    warnings_clear(&plan->warnings);
    agent_env_init(&plan->env);
    buf_init(&plan->status, STATUS_NOTE_MAX); /* the first warning has at most WARNING_MAX bytes: it always fits */
    for (int list = 0; list < INJECT_LIST_COUNT; list++)
        buf_init(&plan->lists[list], LIST_MAX);
    plan->restore = -1;
}

void inject_plan_done(struct injection_plan *plan)
{
    agent_env_done(&plan->env);
    buf_done(&plan->status);
    for (int list = 0; list < INJECT_LIST_COUNT; list++)
        buf_done(&plan->lists[list]);
}

int inject_decide(const struct policy *policy, const cJSON *object, bool all, struct injection_plan *ret,
                  struct err *err)
{
    struct work work = {.policy = policy, .all = all, .plan = ret};
    init_plan(ret);
    if (!pod_read(object, &ret->pod))
        return 0;
    int rc = decide_pod(&work);
    if (rc < 0)
        return err_set(err, -rc, rc == -ENOMEM ? "no memory for a patch" : "the patch would be too large");
    if (ret->container.full || ret->notes.full)
        return err_set(err, ENOBUFS, "expected at most %d variables of the agent and %d notes on the pod",
                       AGENT_CONTAINER_ENV_MAX, POD_NOTES_MAX);
    return 0;
}

static int check_architectures(const struct settings *settings, struct err *err)
{
    unsigned count = 0;
    struct span rest = span_of(settings_get(settings, SETTING_ARCHITECTURES)), item;
    while (span_next_item(&rest, &item))
        count++;
    if (count > POD_NODES_ARCHITECTURES_MAX)
        return err_set(err, EINVAL, "[inject] architectures: expected at most %d, got %u", POD_NODES_ARCHITECTURES_MAX,
                       count);
    return 0;
}

int inject_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
{
    if (settings_get(settings, SETTING_IMAGE) == NULL)
        return err_set(err, EINVAL, "[inject] image: expected the image of profefe-agent, got none");
    int rc = check_architectures(settings, err);
    if (rc == 0)
        rc = resources_check_settings(settings, warnings, err);
    if (rc == 0 && settings_get(settings, SETTING_COLLECTOR) == NULL)
        warnings_add(warnings, "[inject] collector: not set, so agents of pods that name none idle");
    return rc;
}
