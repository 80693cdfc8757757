#include "common/pod/ports.h"

#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/settings/settings.h"

#include <string.h>

#define PORT_KEY SETTINGS_ANNOTATION_PREFIX "port"

enum { PORT_MAX = 65535 };

/* A declared port that can be scraped: TCP, with a number in range. */
static bool read_port(const cJSON *port, uint16_t *ret)
{
    int64_t number;
    const char *protocol = json_get_text(port, "protocol");
    if (protocol != NULL && strcmp(protocol, "TCP") != 0)
        return false;
    if (!json_get_whole(port, "containerPort", 1, PORT_MAX, &number))
        return false;
    *ret = (uint16_t)number;
    return true;
}

/* The container's port of that name, 0 when it has none. */
static uint16_t find_named(const cJSON *container, struct span name)
{
    const cJSON *port;
    cJSON_ArrayForEach(port, json_get_array(container, "ports"))
    {
        uint16_t number;
        const char *text = json_get_text(port, "name");
        if (text != NULL && span_equal(name, text) && read_port(port, &number))
            return number;
    }
    return 0;
}

static bool declares(const cJSON *container, uint16_t wanted)
{
    const cJSON *port;
    cJSON_ArrayForEach(port, json_get_array(container, "ports"))
    {
        uint16_t number;
        if (read_port(port, &number) && number == wanted)
            return true;
    }
    return false;
}

/* The only container that declares the port; else, when none does, the only container of the pod. */
static const char *container_of(const struct pod *pod, uint16_t port)
{
    const cJSON *declaring = NULL, *any = NULL;
    unsigned declared = 0, all = 0;
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (!pod_iter_stays(&iter))
            continue;
        all++;
        any = iter.item;
        if (declares(iter.item, port)) {
            declared++;
            declaring = iter.item;
        }
    }
    if (declared == 1)
        return pod_container_name(declaring);
    return all == 1 ? pod_container_name(any) : NULL;
}

static bool has_name(const struct ports *ports, struct span name)
{
    for (unsigned i = 0; i < ports->count; i++) {
        if (span_equal(name, ports->items[i].name))
            return true;
    }
    return false;
}

/* Target names are labels in profefe and keys of a list, so each counts once. */
static void add(struct ports *ports, struct span name, uint16_t port, const char *container,
                struct warnings *warnings)
{
    struct quoted q;
    quote_bytes(&q, name.ptr, name.len);
    if (has_name(ports, name)) {
        warnings_add(warnings, PORT_KEY ": %s is there already; the first one counts", q.text);
        return;
    }
    if (ports->count == TARGETS_MAX) {
        warnings_add(warnings, PORT_KEY ": %s is left out: a pod can have %d targets", q.text, TARGETS_MAX);
        return;
    }
    struct port_target *target = &ports->items[ports->count++];
    *target = (struct port_target){.port = port, .container = container};
    memcpy(target->name, name.ptr, name.len); /* settings_check or name_is_dns_label: at most TARGET_NAME_MAX */
}

/* Whose ports are looked at for a name. */
enum whose { OF_APPS, OF_APPS_AND_SIDECARS };

static uint16_t find_named_of(const struct pod_iter *iter, enum whose whose, struct span port_name)
{
    bool counts = whose == OF_APPS ? !iter->init : pod_iter_stays(iter);
    return counts ? find_named(iter->item, port_name) : 0;
}

static unsigned count_named(const struct pod *pod, enum whose whose, struct span port_name)
{
    unsigned count = 0;
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter))
        count += find_named_of(&iter, whose, port_name) != 0 ? 1 : 0;
    return count;
}

/* One target for the only container with such a port, under `name`; several are named after their containers. */
static unsigned add_named(const struct pod *pod, enum whose whose, struct span name, struct span port_name,
                          struct ports *ports, struct warnings *warnings)
{
    unsigned count = count_named(pod, whose, port_name);
    struct quoted q;
    if (count > 1 && name.len > 0)
        warnings_add(warnings, PORT_KEY ": %u containers have a port named %s, so the targets are named after them",
                     count, quote_bytes(&q, port_name.ptr, port_name.len));
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        uint16_t port = find_named_of(&iter, whose, port_name);
        const char *container = pod_container_name(iter.item);
        if (port == 0)
            continue;
        if (count == 1)
            add(ports, name, port, container, warnings);
        else if (container != NULL)
            add(ports, (struct span){container, strlen(container)}, port, container, warnings);
    }
    return count;
}

static int add_item(const struct pod *pod, struct span item, struct ports *ports, struct warnings *warnings,
                    struct err *err)
{
    struct span name = {"", 0}, port = item;
    const char *eq = memchr(item.ptr, '=', item.len);
    if (eq != NULL) {
        name = span_trim((struct span){item.ptr, (size_t)(eq - item.ptr)});
        port = span_trim((struct span){eq + 1, item.len - (size_t)(eq - item.ptr) - 1});
    }
    uint64_t number;
    if (number_parse_u64(port, 1, PORT_MAX, &number, NULL) == 0) {
        add(ports, name, (uint16_t)number, container_of(pod, (uint16_t)number), warnings);
        return 0;
    }
    if (add_named(pod, OF_APPS_AND_SIDECARS, name, port, ports, warnings) > 0)
        return 0;
    struct quoted q;
    return err_set(err, ENOENT, "expected a number or the name of a TCP port of a container of this pod, got %s",
                   quote_bytes(&q, port.ptr, port.len));
}

static void resolve_default(const struct pod *pod, struct ports *ports, struct warnings *warnings)
{
    static const struct span none = {"", 0};
    static const struct span pprof = {PORTS_DEFAULT_NAME, sizeof(PORTS_DEFAULT_NAME) - 1};
    add_named(pod, OF_APPS, none, pprof, ports, warnings);
    if (ports->count == 0)
        add(ports, none, PORTS_DEFAULT, container_of(pod, PORTS_DEFAULT), warnings);
}

int ports_resolve(const struct pod *pod, struct span wanted, struct ports *ret, struct warnings *warnings,
                  struct err *err)
{
    struct ports ports = {.count = 0};
    struct span rest = wanted, item;
    if (wanted.ptr == NULL)
        resolve_default(pod, &ports, warnings);
    while (wanted.ptr != NULL && span_next_item(&rest, &item)) {
        int rc = add_item(pod, item, &ports, warnings, err);
        if (rc < 0)
            return rc;
    }
    if (ports.count == 0) /* several unnamed containers share the name: such a pod is refused after us */
        resolve_default(pod, &ports, warnings);
    *ret = ports;
    return 0;
}

/* The ports from `first` on. */
struct window {
    uint16_t first;
    uint64_t taken[PORTS_AGENT_WINDOW / 64];
};

static void take(struct window *window, int64_t port)
{
    int64_t i = port - window->first;
    if (i >= 0 && i < PORTS_AGENT_WINDOW)
        window->taken[i / 64] |= UINT64_C(1) << (i % 64);
}

static void take_member(struct window *window, const cJSON *object, const char *key)
{
    int64_t number;
    if (json_get_whole(object, key, 1, PORT_MAX, &number))
        take(window, number);
}

/* Any protocol: not worth a second thought for a port number. */
static void take_declared(struct window *window, const cJSON *container)
{
    const cJSON *port;
    cJSON_ArrayForEach(port, json_get_array(container, "ports"))
    {
        take_member(window, port, "containerPort");
        take_member(window, port, "hostPort");
    }
}

/* Of a probe or a hook; a port by its name is among the declared ones. */
static void take_handler(struct window *window, const cJSON *handler)
{
    take_member(window, json_get(handler, "httpGet"), "port");
    take_member(window, json_get(handler, "tcpSocket"), "port");
    take_member(window, json_get(handler, "grpc"), "port");
}

static void take_asked(struct window *window, const cJSON *container)
{
    const cJSON *hooks = json_get(container, "lifecycle");
    take_handler(window, json_get(container, "startupProbe"));
    take_handler(window, json_get(container, "livenessProbe"));
    take_handler(window, json_get(container, "readinessProbe"));
    take_handler(window, json_get(hooks, "postStart"));
    take_handler(window, json_get(hooks, "preStop"));
}

static void take_prometheus(struct window *window, const struct pod *pod)
{
    uint64_t number;
    struct span text = span_of(json_get_text(pod->annotations, "prometheus.io/port"));
    if (text.ptr != NULL && number_parse_u64(text, 1, PORT_MAX, &number, NULL) == 0)
        take(window, (int64_t)number);
}

uint16_t ports_choose_agent(const struct pod *pod, const struct ports *ports, uint16_t first)
{
    struct window window = {.first = first};
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        take_declared(&window, iter.item);
        take_asked(&window, iter.item);
    }
    take_prometheus(&window, pod);
    for (unsigned i = 0; i < ports->count; i++)
        take(&window, ports->items[i].port);
    for (unsigned i = 0; i < PORTS_AGENT_WINDOW && first + i <= PORT_MAX; i++) {
        if ((window.taken[i / 64] >> (i % 64) & 1) == 0)
            return (uint16_t)(first + i);
    }
    return first;
}
