#include "webhook/inject/agent_container.h"

#include <string.h>

void agent_container_add_env(struct agent_container *container, const char *name, struct span value)
{
    if (value.ptr == NULL || value.len == 0)
        return;
    if (container->env_count == AGENT_CONTAINER_ENV_MAX)
        container->full = true;
    else
        container->env[container->env_count++] = (struct agent_container_env){name, value};
}

/* Kubernetes reads $(NAME) as a reference and $$ as $ (third_party/forked/golang/expansion, 1.34): with each $ doubled
 * every text comes out as it went in. */
static void write_literal(struct json_text *json, struct span value)
{
    const char *dollar = memchr(value.ptr, '$', value.len);
    if (dollar == NULL) {
        json_text_span(json, "value", value);
        return;
    }
    json_text_open(json, "value", '"');
    for (; dollar != NULL; dollar = memchr(value.ptr, '$', value.len)) {
        size_t len = (size_t)(dollar - value.ptr);
        json_text_part(json, (struct span){value.ptr, len});
        json_text_part(json, span_of("$$"));
        value = (struct span){dollar + 1, value.len - len - 1};
    }
    json_text_part(json, value);
    json_text_close(json, '"');
}

/* What nobody knows before the pod runs. */
static const struct {
    enum setting_id id;
    const char *value_from;
} fields[] = {
    {SETTING_POD_NAME, "{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}"},
    {SETTING_POD_NAMESPACE, "{\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}"},
    {SETTING_POD_UID, "{\"fieldRef\":{\"fieldPath\":\"metadata.uid\"}}"},
    {SETTING_NODE_NAME, "{\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}}"},
    {SETTING_POD_IP, "{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}"},
};

static void write_env(struct json_text *json, const struct agent_container *container)
{
    json_text_open(json, "env", '[');
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_text_open(json, NULL, '{');
        json_text_word(json, "name", settings_table[fields[i].id].env);
        json_text_raw(json, "valueFrom", fields[i].value_from);
        json_text_close(json, '}');
    }
    for (unsigned i = 0; i < container->env_count; i++) {
        json_text_open(json, NULL, '{');
        json_text_word(json, "name", container->env[i].name);
        write_literal(json, container->env[i].value);
        json_text_close(json, '}');
    }
    json_text_close(json, ']');
}

static void write_ports(struct json_text *json, uint16_t port)
{
    json_text_open(json, "ports", '[');
    json_text_open(json, NULL, '{');
    json_text_word(json, "name", AGENT_CONTAINER_PORT_NAME);
    json_text_number(json, "containerPort", port);
    json_text_word(json, "protocol", "TCP");
    json_text_close(json, '}');
    json_text_close(json, ']');
}

/* What Pod Security's level "restricted" asks for, with every default untouched. */
#define RESTRICTED                                                                                                     \
    "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"readOnlyRootFilesystem\":true,"       \
    "\"runAsNonRoot\":true"
#define AS_USER ",\"runAsUser\":" AGENT_CONTAINER_USER ",\"runAsGroup\":" AGENT_CONTAINER_USER
#define APPARMOR ",\"appArmorProfile\":{\"type\":\"RuntimeDefault\"}"
#define SECCOMP ",\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"

/* [set_user][set_apparmor] */
static const char *const security[2][2] = {
    {RESTRICTED SECCOMP, RESTRICTED APPARMOR SECCOMP},
    {RESTRICTED AS_USER SECCOMP, RESTRICTED AS_USER APPARMOR SECCOMP},
};

void agent_container_write(struct json_text *json, const struct agent_container *container)
{
    json_text_open(json, NULL, '{');
    json_text_word(json, "name", POD_AGENT_NAME);
    json_text_span(json, "image", container->image);
    if (container->pull_policy.ptr != NULL)
        json_text_span(json, "imagePullPolicy", container->pull_policy);
    if (container->native)
        json_text_word(json, "restartPolicy", "Always");
    write_env(json, container);
    write_ports(json, container->port);
    resources_write(json, "resources", &container->resources);
    json_text_raw(json, "securityContext", security[container->set_user][container->set_apparmor]);
    volumes_write_mounts(json, "volumeMounts", container->volumes);
    json_text_close(json, '}');
}
