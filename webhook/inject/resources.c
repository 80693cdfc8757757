#include "webhook/inject/resources.h"

#include "common/values/quantity.h"
#include "common/pod/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LOGS_MIB = 64,          /* the kubelet keeps five log files of 10 MiB a container by default */
    MIB_TEXT_MAX = 24,      /* bytes of a 64-bit number with its unit */
};

/* Request and limit of cpu or of memory. */
struct pair {
    const char *name;
    enum setting_id request_id, limit_id;
    const char *floor; /* a limit below it slows or breaks the start */
    bool lift;         /* in a Guaranteed pod go up to the floor */
    struct span request, limit;
};

static const struct pair cpu_pair = {
    .name = "cpu",
    .request_id = SETTING_CPU_REQUEST,
    .limit_id = SETTING_CPU_LIMIT,
    .floor = RESOURCES_CPU_MIN,
    .lift = true,
};

static const struct pair memory_pair = {
    .name = "memory",
    .request_id = SETTING_MEMORY_REQUEST,
    .limit_id = SETTING_MEMORY_LIMIT,
    .floor = RESOURCES_MEMORY_MIN,
};

/* `none` leaves the field out. */
static struct span wanted(const struct annotations *annotations, enum setting_id id)
{
    struct span text = annotations_get(annotations, id);
    return text.ptr != NULL && !span_equal(text, "none") ? text : (struct span){NULL, 0};
}

/* To the kubelet a limit of 0 is none, so no request goes down to it. */
static struct span wanted_limit(const struct annotations *annotations, enum setting_id id)
{
    struct quantity limit;
    struct span text = wanted(annotations, id);
    bool zero = text.ptr != NULL && quantity_parse(text, &limit, NULL) == 0 && quantity_is_zero(&limit);
    return zero ? (struct span){NULL, 0} : text;
}

/* How firmly a value was asked for: of a request above its limit the weaker one moves. */
static int rank(const struct annotations *annotations, enum setting_id id)
{
    return annotations_is_given(annotations, id) ? 2 : settings_is_set(annotations->settings, id) ? 1 : 0;
}

/* Both were checked when they were set; what does not parse is never emitted all the same. */
static bool exceeds(struct span a, struct span b)
{
    struct quantity qa, qb;
    return quantity_parse(a, &qa, NULL) == 0 && quantity_parse(b, &qb, NULL) == 0 && quantity_compare(&qa, &qb) > 0;
}

static void keep_request_below_limit(const struct annotations *annotations, struct pair *pair,
                                     struct warnings *warnings)
{
    if (pair->request.ptr == NULL || pair->limit.ptr == NULL || !exceeds(pair->request, pair->limit))
        return;
    int request_rank = rank(annotations, pair->request_id), limit_rank = rank(annotations, pair->limit_id);
    bool lower_request = limit_rank > request_rank ||
                         limits_check(annotations->limits, pair->limit_id, pair->request, NULL) < 0;
    if (request_rank == 2 || limit_rank == 2)
        warnings_add(warnings, "%s%s-request %.*s is above %s-limit %.*s; the %s is changed to match",
                     SETTINGS_ANNOTATION_PREFIX, pair->name, (int)pair->request.len, pair->request.ptr, pair->name,
                     (int)pair->limit.len, pair->limit.ptr, lower_request ? "request" : "limit");
    if (lower_request)
        pair->request = pair->limit;
    else
        pair->limit = pair->request;
}

/* The API server writes strings; a file given to --review may hold bare numbers. */
static bool read_quantity(const cJSON *item, struct quantity *ret)
{
    char number[32];
    if (cJSON_IsString(item))
        return quantity_parse(span_of(item->valuestring), ret, NULL) == 0;
    if (!cJSON_IsNumber(item))
        return false;
    snprintf(number, sizeof(number), "%.15g", item->valuedouble);
    return quantity_parse(span_of(number), ret, NULL) == 0;
}

static bool is_guaranteed(const cJSON *container, const char *name)
{
    struct quantity request, limit;
    const cJSON *resources = json_get(container, "resources");
    const cJSON *request_item = json_get(json_get(resources, "requests"), name);
    if (!read_quantity(json_get(json_get(resources, "limits"), name), &limit) || quantity_is_zero(&limit))
        return false;
    if (request_item == NULL)
        return true;
    return read_quantity(request_item, &request) && quantity_compare(&request, &limit) == 0;
}

bool resources_pod_is_guaranteed(const struct pod *pod)
{
    bool any = false;
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (!is_guaranteed(iter.item, "cpu") || !is_guaranteed(iter.item, "memory"))
            return false;
        any = true;
    }
    return any;
}

/* A limit of the pod's own becomes its request as well, so it must be permitted as such. */
static struct span choose_guaranteed(const struct annotations *annotations, const struct pair *pair,
                                     struct warnings *warnings)
{
    struct err err;
    struct span limit = pair->limit, request = pair->request;
    if (limit.ptr == NULL)
        return request;
    if (request.ptr == NULL || !annotations_is_given(annotations, pair->limit_id) || !exceeds(limit, request) ||
        limits_check(annotations->limits, pair->request_id, limit, &err) == 0)
        return limit;
    warnings_add_kind(warnings, WARNING_NOT_PERMITTED,
                      "%s%s-limit of a Guaranteed pod is its request too: %s; the limit is changed to %.*s",
                      SETTINGS_ANNOTATION_PREFIX, pair->name, err.text, (int)request.len, request.ptr);
    return request;
}

/* Requests = limits, and not zero, which counts as none. A resource left out altogether is a LimitRange's matter. */
static void make_guaranteed(const struct annotations *annotations, struct pair *pair, struct warnings *warnings)
{
    struct span value = choose_guaranteed(annotations, pair, warnings);
    if (value.ptr == NULL) {
        if (annotations_is_given(annotations, pair->request_id) || annotations_is_given(annotations, pair->limit_id))
            warnings_add(warnings, "%s%s-limit none: the pod is Guaranteed only as long as a LimitRange sets it",
                         SETTINGS_ANNOTATION_PREFIX, pair->name);
        return;
    }
    if (!exceeds(value, span_of("0")) || (pair->lift && exceeds(span_of(pair->floor), value)))
        value = span_of(pair->floor);
    pair->request = pair->limit = value;
}

/* Pod-level resources (spec.resources): set when they name a request or a limit. */
static const cJSON *pod_level(const struct pod *pod)
{
    const cJSON *resources = json_get_object(pod->spec, "resources");
    const cJSON *requests = json_get_object(resources, "requests"), *limits = json_get_object(resources, "limits");
    bool set = (requests != NULL && requests->child != NULL) || (limits != NULL && limits->child != NULL);
    return set ? resources : NULL;
}

/* The class and the sum are the pod's own then: ours asks for nothing, and no container may have a higher limit. */
static void fit_into_pod(const cJSON *resources, struct pair *pair)
{
    const cJSON *item = json_get(json_get(resources, "limits"), pair->name);
    struct quantity limit, most;
    if (pair->request.ptr == NULL && pair->limit.ptr == NULL)
        return; /* `none` twice: a LimitRange's matter */
    pair->request = span_of("0");
    if (pair->limit.ptr == NULL || !read_quantity(item, &most) || quantity_parse(pair->limit, &limit, NULL) < 0 ||
        quantity_compare(&limit, &most) <= 0)
        return;
    pair->limit = span_of(cJSON_IsString(item) ? item->valuestring : NULL); /* a bare number has no text to borrow */
}

static void warn_below_floor(const struct annotations *annotations, const struct pair *pair,
                             struct warnings *warnings)
{
    if (!annotations_is_given(annotations, pair->limit_id) || pair->limit.ptr == NULL ||
        !exceeds(span_of(pair->floor), pair->limit))
        return;
    warnings_add(warnings, "%s%s-limit %.*s is below %s: the pod may start slowly or not at all",
                 SETTINGS_ANNOTATION_PREFIX, pair->name, (int)pair->limit.len, pair->limit.ptr, pair->floor);
}

static void fit(const struct pod *pod, const struct annotations *annotations, bool guaranteed, struct pair *pair,
                struct warnings *warnings)
{
    const cJSON *resources = pod_level(pod);
    pair->request = wanted(annotations, pair->request_id);
    pair->limit = wanted_limit(annotations, pair->limit_id);
    keep_request_below_limit(annotations, pair, warnings);
    if (resources != NULL)
        fit_into_pod(resources, pair);
    else if (guaranteed)
        make_guaranteed(annotations, pair, warnings);
    warn_below_floor(annotations, pair, warnings);
}

static bool limits_storage(const struct pod *pod)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (json_get(json_get(json_get(iter.item, "resources"), "limits"), "ephemeral-storage") != NULL)
            return true;
    }
    return false;
}

void resources_resolve(const struct pod *pod, const struct annotations *annotations, uint64_t spool_mib,
                       struct resources *ret, struct warnings *warnings)
{
    struct pair cpu = cpu_pair, memory = memory_pair;
    bool guaranteed = resources_pod_is_guaranteed(pod);
    fit(pod, annotations, guaranteed, &cpu, warnings);
    fit(pod, annotations, guaranteed, &memory, warnings);
    *ret = (struct resources){cpu.request, cpu.limit, memory.request, memory.limit, 0};
    if (spool_mib > 0 && limits_storage(pod))
        ret->storage_limit_mib = spool_mib + LOGS_MIB;
}

static bool read_setting(const struct settings *settings, enum setting_id id, struct quantity *ret)
{
    const char *text = settings_get(settings, id);
    return text != NULL && quantity_parse(span_of(text), ret, NULL) == 0; /* `none` is no quantity */
}

static int check_pair(const struct settings *settings, const struct pair *pair, struct warnings *warnings,
                      struct err *err)
{
    struct quantity request, limit, floor;
    const char *limit_text = settings_get(settings, pair->limit_id);
    if (!read_setting(settings, pair->limit_id, &limit))
        return 0;
    if (settings_is_set(settings, pair->request_id) && settings_is_set(settings, pair->limit_id) &&
        read_setting(settings, pair->request_id, &request) && quantity_compare(&request, &limit) > 0)
        return err_set(err, EINVAL, "[inject] %s-request: expected at most %s-limit, which is %s, got %s", pair->name,
                       pair->name, limit_text, settings_get(settings, pair->request_id));
    if (quantity_parse(span_of(pair->floor), &floor, NULL) == 0 && quantity_compare(&limit, &floor) < 0)
        warnings_add(warnings, "[inject] %s-limit: %s is below %s: pods may start slowly or not at all", pair->name,
                     limit_text, pair->floor);
    return 0;
}

int resources_check_settings(const struct settings *settings, struct warnings *warnings, struct err *err)
{
    int rc = check_pair(settings, &cpu_pair, warnings, err);
    return rc < 0 ? rc : check_pair(settings, &memory_pair, warnings, err);
}

static void write_quantity(struct json_text *json, const char *name, struct span value)
{
    if (value.ptr != NULL)
        json_text_span(json, name, value);
}

/* Each list of quantities is left out when it would be empty. */
static void write_list(struct json_text *json, const char *key, struct span cpu, struct span memory,
                       uint64_t storage_mib)
{
    char storage[MIB_TEXT_MAX];
    if (cpu.ptr == NULL && memory.ptr == NULL && storage_mib == 0)
        return;
    if (storage_mib > 0)
        snprintf(storage, sizeof(storage), "%" PRIu64 "Mi", storage_mib);
    json_text_open(json, key, '{');
    write_quantity(json, "cpu", cpu);
    write_quantity(json, "memory", memory);
    write_quantity(json, "ephemeral-storage", span_of(storage_mib > 0 ? storage : NULL));
    json_text_close(json, '}');
}

void resources_write(struct json_text *json, const char *key, const struct resources *resources)
{
    json_text_open(json, key, '{');
    write_list(json, "requests", resources->cpu_request, resources->memory_request, 0);
    write_list(json, "limits", resources->cpu_limit, resources->memory_limit, resources->storage_limit_mib);
    json_text_close(json, '}');
}
