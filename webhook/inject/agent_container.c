#include "webhook/inject/agent_container.h"

#include <assert.h>
#include <string.h>

void agent_container_add_env(struct agent_container *container, const char *name, struct span value)
{
    if (value.ptr == NULL || value.len == 0)
        return;
    assert(container->env_count < AGENT_CONTAINER_ENV_MAX);
    container->env[container->env_count++] = (struct agent_container_env){name, value};
}

static void write_member(struct buf *out, const char *name, struct span value)
{
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
    json_write_span(out, value);
}

/* Kubernetes reads $(NAME) as a reference and $$ as $ (third_party/forked/golang/expansion, 1.34): with each $ doubled
 * every text comes out as it went in. */
static void write_literal(struct buf *out, struct span value)
{
    buf_putc(out, '"');
    while (value.len > 0) {
        const char *dollar = memchr(value.ptr, '$', value.len);
        size_t len = dollar != NULL ? (size_t)(dollar - value.ptr) : value.len;
        json_write_chars(out, (struct span){value.ptr, len});
        if (dollar == NULL)
            break;
        buf_puts(out, "$$");
        value = (struct span){dollar + 1, value.len - len - 1};
    }
    buf_putc(out, '"');
}

static void write_env(struct buf *out, const struct agent_container *container)
{
    static const struct {
        enum setting_id id;
        const char *path;
    } fields[] = {
        {SETTING_POD_NAME, "metadata.name"},   {SETTING_POD_NAMESPACE, "metadata.namespace"},
        {SETTING_POD_UID, "metadata.uid"},     {SETTING_NODE_NAME, "spec.nodeName"},
        {SETTING_POD_IP, "status.podIP"},
    };
    buf_puts(out, ",\"env\":[");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        buf_puts(out, i > 0 ? ",{\"name\":\"" : "{\"name\":\"");
        buf_puts(out, settings_table[fields[i].id].env);
        buf_puts(out, "\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"");
        buf_puts(out, fields[i].path);
        buf_puts(out, "\"}}}");
    }
    for (unsigned i = 0; i < container->env_count; i++) {
        buf_puts(out, ",{\"name\":\"");
        buf_puts(out, container->env[i].name);
        buf_puts(out, "\",\"value\":");
        write_literal(out, container->env[i].value);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void write_security(struct buf *out, bool set_user)
{
    buf_puts(out, ",\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"
                  "\"readOnlyRootFilesystem\":true,\"runAsNonRoot\":true");
    if (set_user)
        buf_printf(out, ",\"runAsUser\":%d,\"runAsGroup\":%d", AGENT_CONTAINER_USER, AGENT_CONTAINER_USER);
    buf_puts(out, ",\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}");
}

void agent_container_write(struct buf *out, const struct agent_container *container)
{
    buf_puts(out, "{\"name\":\"" POD_AGENT_NAME "\"");
    write_member(out, "image", container->image);
    if (container->pull_policy.ptr != NULL)
        write_member(out, "imagePullPolicy", container->pull_policy);
    if (container->native)
        buf_puts(out, ",\"restartPolicy\":\"Always\"");
    write_env(out, container);
    buf_printf(out, ",\"ports\":[{\"name\":\"" AGENT_CONTAINER_PORT_NAME "\",\"containerPort\":%u,\"protocol\":\"TCP\"}]",
               container->port);
    buf_puts(out, ",\"resources\":");
    resources_write(out, &container->resources);
    write_security(out, container->set_user);
    buf_puts(out, ",\"volumeMounts\":");
    volumes_write_mounts(out, container->volumes);
    buf_putc(out, '}');
}
