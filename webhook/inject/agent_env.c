#include "webhook/inject/agent_env.h"

#include "common/base/cleanup.h"
#include "common/base/duration.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/values/labels.h"
#include "common/values/profile_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) SETTINGS_ANNOTATION_PREFIX name

void agent_env_init(struct agent_env *environment)
{
    environment->grace[0] = environment->listen[0] = environment->spool_bytes[0] = '\0';
    buf_init(&environment->targets, SETTINGS_VALUE_MAX);
    buf_init(&environment->labels, SETTINGS_VALUE_MAX);
}

void agent_env_done(struct agent_env *environment)
{
    buf_done(&environment->targets);
    buf_done(&environment->labels);
}

static struct span span_of_buf(const struct buf *buf)
{
    return (struct span){buf_text(buf), buf->len};
}

/* [NAME=]URL,… TARGETS_MAX of them stay below SETTINGS_VALUE_MAX. localhost and no address, since the agent tries
 * 127.0.0.1 and then ::1 for it. */
static void write_targets(const struct agent_env_source *from, struct buf *out)
{
    struct span scheme = annotations_get(from->asked, SETTING_SCHEME);
    struct span path = annotations_get(from->asked, SETTING_PATH);
    char port[NUMBER_TEXT_MAX];
    for (unsigned i = 0; i < from->ports->count; i++) {
        const struct port_target *target = &from->ports->items[i];
        buf_puts(out, i > 0 ? "," : "");
        if (target->name[0] != '\0')
            buf_printf(out, "%s=", target->name);
        buf_append(out, scheme.ptr, scheme.len);
        number_format_u64(target->port, port);
        buf_puts(out, "://localhost:");
        buf_puts(out, port);
        buf_append(out, path.ptr, path.len);
    }
}

/* Hands warnings of common code on under the annotation's full name. */
static void take_warnings(const struct warnings *told, enum warning_kind kind, struct warnings *warnings)
{
    for (unsigned i = 0; i < warnings_shown(told); i++)
        warnings_add_kind(warnings, kind, KEY("%s"), warnings_text(told, i));
}

static const char *find_pod_label(const struct pod *pod, struct span name)
{
    char key[LABEL_KEY_MAX + 1];
    if (name.len == 0 || name.len > LABEL_KEY_MAX)
        return NULL;
    memcpy(key, name.ptr, name.len);
    key[name.len] = '\0';
    return pod_label(pod, key);
}

/* A default list names labels that some pods lack; only the pod's own list is worth a word then. */
static void add_pod_label(const struct agent_env_source *from, struct span name, struct labels *labels,
                          struct warnings *warnings)
{
    struct err err;
    struct quoted q;
    const char *value = find_pod_label(from->pod, name);
    bool given = annotations_is_given(from->asked, SETTING_POD_LABELS);
    enum warning_kind kind = given ? WARNING_BAD_VALUE : WARNING_OTHER;
    if (value == NULL && !given)
        return;
    quote_bytes(&q, name.ptr, name.len);
    if (value == NULL)
        warnings_add_kind(warnings, kind, KEY("pod-labels: expected names of the pod's labels, got %s; left out"),
                          q.text);
    else if (labels_key_is_reserved(name))
        warnings_add_kind(warnings, kind, KEY("pod-labels: %s is set by profefe-agent itself and is left out"), q.text);
    else if (labels_add(labels, name, span_of(value), &err) < 0)
        warnings_add_kind(warnings, kind, KEY("pod-labels: %s; left out"), err.text);
}

/* The agent takes a value of SETTINGS_VALUE_MAX bytes; a label that no longer fits is left out. */
static void write_labels(const struct labels *labels, struct buf *out, struct warnings *warnings)
{
    for (unsigned i = 0; i < labels->count; i++) {
        const struct label *label = &labels->items[i];
        size_t need = strlen(label->key) + strlen(label->value) + sizeof(",=") - 1;
        if (need > out->max - out->len)
            warnings_add(warnings, KEY("labels: %s is left out: expected at most %zu bytes in all"), label->key,
                         out->max);
        else
            buf_printf(out, "%s%s=%s", out->len > 0 ? "," : "", label->key, label->value);
    }
}

/* No more than could ever go with a profile: a review has room for thousands of names and 100,000 labels to look
 * through for each of them. */
static void add_pod_labels(const struct agent_env_source *from, struct span names, struct labels *labels,
                           struct warnings *warnings)
{
    struct span name;
    for (unsigned count = 0; span_next_item(&names, &name); count++) {
        if (count == LABELS_MAX) {
            bool given = annotations_is_given(from->asked, SETTING_POD_LABELS);
            warnings_add_kind(warnings, given ? WARNING_BAD_VALUE : WARNING_OTHER,
                              KEY("pod-labels: expected at most %d names; the others are left out"), LABELS_MAX);
            return;
        }
        add_pod_label(from, name, labels, warnings);
    }
}

/* `labels` and the pod's own labels that `pod-labels` names, in one list. */
static int merge_labels(const struct agent_env_source *from, struct buf *out, struct warnings *warnings)
{
    struct span own = annotations_get(from->asked, SETTING_LABELS);
    struct span names = annotations_get(from->asked, SETTING_POD_LABELS);
    if (own.ptr == NULL && names.ptr == NULL)
        return 0;
    CLEANUP_FREE struct labels *labels = malloc(sizeof(*labels));
    if (labels == NULL)
        return -ENOMEM;
    struct warnings told;
    warnings_clear(&told);
    labels->count = 0;
    if (own.ptr != NULL)
        labels_add_list(labels, own, "profefe-agent", &told, NULL); /* cannot fail: checked when it was read */
    if (annotations_is_given(from->asked, SETTING_LABELS))
        take_warnings(&told, WARNING_BAD_VALUE, warnings); /* each is a label that is left out */
    add_pod_labels(from, names, labels, warnings);
    write_labels(labels, out, warnings);
    return buf_error(out);
}

/* The agent caps SECONDS and leaves out types; the pod's author hears of it here, when the pod spoke of it at all. */
static void warn_about_types(const struct agent_env_source *from, struct warnings *warnings)
{
    const struct annotations *asked = from->asked;
    const struct setting *interval = &settings_table[SETTING_INTERVAL], *seconds = &settings_table[SETTING_CPU_SECONDS];
    bool timed = annotations_is_given(asked, SETTING_TYPES) || annotations_is_given(asked, SETTING_CPU_SECONDS);
    if (!timed && !annotations_is_given(asked, SETTING_INTERVAL))
        return;
    uint64_t cpu_seconds = 0;
    struct profile_types types;
    struct profile_types_defaults defaults = {.grace_ms = timed ? pod_grace_seconds(from->pod) * 1000 : -1};
    struct warnings told;
    warnings_clear(&told);
    /* none of the three can fail: checked when they were read */
    number_parse_u64(annotations_get(asked, SETTING_CPU_SECONDS), (uint64_t)seconds->min, (uint64_t)seconds->max,
                     &cpu_seconds, NULL);
    duration_parse(annotations_get(asked, SETTING_INTERVAL), interval->min, interval->max, &defaults.interval_ms,
                      NULL);
    defaults.cpu_seconds_ms = (int64_t)cpu_seconds * 1000;
    profile_types_parse(annotations_get(asked, SETTING_TYPES), &defaults, &types, &told, NULL);
    take_warnings(&told, WARNING_OTHER, warnings);
}

static void warn_without_collector(const struct agent_env_source *from, struct warnings *warnings)
{
    if (annotations_get(from->asked, SETTING_COLLECTOR).ptr == NULL)
        warnings_add(warnings, KEY("collector: expected the URL of profefe here or in the webhook's configuration, got "
                                   "neither; the agent idles"));
}

/* For a value that is not an annotation's text. */
static void add_value(struct agent_container *container, enum setting_id id, struct span value)
{
    agent_container_add_env(container, settings_table[id].env, value);
}

/* Settings that the agent takes as they were given: a new row of the table that pods and agent share needs nothing
 * here. Service and labels are put together from more than one place. */
static void add_asked(struct agent_container *container, const struct agent_env_source *from)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        unsigned where = settings_table[id].where;
        bool shared = (where & SETTING_AGENT) != 0 && (where & (SETTING_ANNOTATION | SETTING_WEBHOOK)) != 0;
        if (shared && id != SETTING_SERVICE && id != SETTING_LABELS)
            add_value(container, (enum setting_id)id, annotations_get_changed(from->asked, (enum setting_id)id));
    }
}

/* A native agent gets SIGTERM when the app is gone, with nothing left to profile; beside it, it can take last ones. */
static void add_own(struct agent_env *environment, struct agent_container *container)
{
    const struct volumes *volumes = container->volumes;
    add_value(container, SETTING_STOP_PROFILES, span_of(container->native ? NULL : "true"));
    if (volumes_find(volumes, VOLUME_SPOOL) != NULL) {
        number_format_u64(volumes->spool_bytes, environment->spool_bytes);
        add_value(container, SETTING_SPOOL_DIR, span_of(VOLUMES_SPOOL_PATH));
        add_value(container, SETTING_SPOOL_BYTES, span_of(environment->spool_bytes));
    }
    if (volumes_find(volumes, VOLUME_SECRET) != NULL)
        add_value(container, SETTING_SECRET_DIR, span_of(VOLUMES_SECRET_PATH));
}

int agent_env_fill(struct agent_env *environment, const struct agent_env_source *from,
                     struct agent_container *container, struct warnings *warnings)
{
    const struct ports *ports = from->ports;
    number_format_u64((uint64_t)pod_grace_seconds(from->pod), environment->grace);
    if (container->port != PORTS_AGENT)
        snprintf(environment->listen, sizeof(environment->listen), ":%u", container->port);
    write_targets(from, &environment->targets);
    int rc = buf_error(&environment->targets);
    if (rc == 0)
        rc = merge_labels(from, &environment->labels, warnings);
    if (rc < 0)
        return rc;
    add_value(container, SETTING_SIDECAR, span_of("1"));
    add_value(container, SETTING_TARGETS, span_of_buf(&environment->targets));
    add_value(container, SETTING_SERVICE, from->service->text);
    add_value(container, SETTING_CONTAINER, span_of(ports->count == 1 ? ports->items[0].container : NULL));
    add_value(container, SETTING_LABELS, span_of_buf(&environment->labels));
    add_value(container, SETTING_GRACE, span_of(environment->grace));
    add_value(container, SETTING_LISTEN, span_of(environment->listen));
    add_own(environment, container);
    add_asked(container, from);
    warn_about_types(from, warnings);
    warn_without_collector(from, warnings);
    return 0;
}
