#include "webhook/inject/resources.h"

#include "common/pod/limits.h"
#include "common/values/quantity.h"
#include "webhook/inject/pod_resources.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LOGS_MIB = 64,              /* the kubelet keeps five log files of 10 MiB a container by default */
    MIB_TEXT_MAX = 24,          /* bytes of a 64-bit number with its unit */
    NANOS_OF_A_MILLI = 1000000, /* a quantity is counted in billionths, cpu in thousandths */
};

/* How firmly a value was asked for. */
enum rank { BY_DEFAULT, BY_CONFIG, BY_POD };

/* A request or a limit on its way. */
struct amount {
    enum setting_id id;
    enum rank rank;
    struct span low, high; /* of [limits]; ptr NULL = open */
    struct span asked;     /* what was wanted; ptr NULL = none */
    struct span used;      /* what it becomes; likewise */
};

/* Request and limit of cpu or of memory. */
struct pair {
    const char *name;
    const char *floor; /* a limit below it slows or breaks the start */
    bool shares;       /* the default in a Guaranteed pod is a share of the pod's own */
    char *text;        /* where a value is written that stands nowhere as text: RESOURCES_TEXT_MAX bytes */
    struct amount request, limit;
};

static const struct pair cpu_pair = {
    .name = "cpu",
    .floor = RESOURCES_CPU_MIN,
    .shares = true,
    .request = {.id = SETTING_CPU_REQUEST},
    .limit = {.id = SETTING_CPU_LIMIT},
};

static const struct pair memory_pair = {
    .name = "memory",
    .floor = RESOURCES_MEMORY_MIN,
    .request = {.id = SETTING_MEMORY_REQUEST},
    .limit = {.id = SETTING_MEMORY_LIMIT},
};

/* One pod, and what is found out about it on the way. */
struct fit {
    const struct pod *pod;
    const struct annotations *annotations;
    struct warnings *warnings;
    const cJSON *of_pod; /* spec.resources; NULL = not set */
    bool guaranteed;     /* all of its containers are */
};

static const struct span none = {NULL, 0};

/* Both were checked when they were set; what does not parse is never emitted all the same. */
static bool exceeds(struct span a, struct span b)
{
    struct quantity qa, qb;
    return a.ptr != NULL && b.ptr != NULL && quantity_parse(a, &qa, NULL) == 0 && quantity_parse(b, &qb, NULL) == 0 &&
           quantity_compare(&qa, &qb) > 0;
}

static bool is_zero(struct span text)
{
    struct quantity quantity;
    return text.ptr != NULL && quantity_parse(text, &quantity, NULL) == 0 && quantity_is_zero(&quantity);
}

/* No text, which is an open bound, exceeds nothing. */
static struct span at_least(struct span value, struct span low)
{
    return exceeds(low, value) ? low : value;
}

static struct span within(struct span value, const struct amount *bounds)
{
    return at_least(exceeds(value, bounds->high) ? bounds->high : value, bounds->low);
}

static bool is_within(struct span value, const struct amount *bounds)
{
    return !exceeds(value, bounds->high) && !exceeds(bounds->low, value);
}

/* ---- what was asked for ---- */

static enum rank read_rank(const struct annotations *annotations, enum setting_id id)
{
    if (annotations_is_given(annotations, id))
        return BY_POD;
    return settings_is_set(annotations->settings, id) ? BY_CONFIG : BY_DEFAULT;
}

static void read_amount(const struct annotations *annotations, struct amount *amount)
{
    struct span text = annotations_get(annotations, amount->id);
    amount->rank = read_rank(annotations, amount->id);
    limits_get_range(annotations->limits, amount->id, &amount->low, &amount->high);
    amount->asked = amount->used = text.ptr != NULL && !span_equal(text, "none") ? text : none;
}

/* To the kubelet a limit of 0 is none, so no request goes down to it. */
static void read_pair(const struct annotations *annotations, struct pair *pair)
{
    read_amount(annotations, &pair->request);
    read_amount(annotations, &pair->limit);
    if (is_zero(pair->limit.asked))
        pair->limit.asked = pair->limit.used = none;
}

/* ---- telling ---- */

static bool is_moved(const struct amount *amount)
{
    if (amount->asked.ptr == NULL || amount->used.ptr == NULL)
        return amount->asked.ptr != amount->used.ptr;
    return exceeds(amount->asked, amount->used) || exceeds(amount->used, amount->asked);
}

static const char *prefix_of(const struct amount *amount)
{
    return amount->rank == BY_POD ? SETTINGS_ANNOTATION_PREFIX : "[inject] ";
}

static void tell_moved(const struct fit *fit, const struct amount *amount, const char *why)
{
    struct span asked = amount->asked.ptr != NULL ? amount->asked : span_of("none");
    struct span used = amount->used.ptr != NULL ? amount->used : span_of("none");
    if (is_moved(amount))
        warnings_add(fit->warnings, "%s%s %.*s: %s; %.*s is used", prefix_of(amount), settings_table[amount->id].name,
                     (int)asked.len, asked.ptr, why, (int)used.len, used.ptr);
}

static void tell_moved_of_pod(const struct fit *fit, const struct pair *pair, const char *why)
{
    if (pair->request.rank == BY_POD)
        tell_moved(fit, &pair->request, why);
    if (pair->limit.rank == BY_POD)
        tell_moved(fit, &pair->limit, why);
}

static void tell_below_floor(const struct fit *fit, const struct pair *pair)
{
    struct span limit = pair->limit.used;
    bool given = pair->limit.rank == BY_POD || (fit->guaranteed && pair->request.rank == BY_POD);
    if (given && exceeds(span_of(pair->floor), limit) && !is_zero(limit))
        warnings_add(fit->warnings, "%s%s-limit %.*s is below %s: the pod may start slowly or not at all",
                     SETTINGS_ANNOTATION_PREFIX, pair->name, (int)limit.len, limit.ptr, pair->floor);
}

/* The annotation's own warning goes on with the number that stands in for its value. */
static void tell_in_place_of_refused(const struct fit *fit, const struct amount *amount)
{
    struct span used = amount->used.ptr != NULL ? amount->used : span_of("none");
    if (!fit->annotations->strict)
        warnings_continue(fit->warnings, fit->annotations->refused[amount->id], "; %.*s is used", (int)used.len,
                          used.ptr);
}

/* ---- any pod ---- */

static void tell_changed(const struct fit *fit, const struct pair *pair)
{
    const struct amount *request = &pair->request, *limit = &pair->limit;
    const char *what = !is_moved(limit) ? "the request is" : !is_moved(request) ? "the limit is" : "both are";
    if (request->rank == BY_POD || limit->rank == BY_POD || (limit->rank == BY_CONFIG && is_moved(limit)))
        warnings_add(fit->warnings, "%s%s-request %.*s is above %s-limit %.*s; %s changed to %.*s",
                     SETTINGS_ANNOTATION_PREFIX, pair->name, (int)request->asked.len, request->asked.ptr, pair->name,
                     (int)limit->asked.len, limit->asked.ptr, what, (int)limit->used.len, limit->used.ptr);
}

/* Of a request above its limit the weaker one moves, and the limit as well where the lowest request is above it. */
static void keep_request_below_limit(const struct fit *fit, struct pair *pair)
{
    struct amount *request = &pair->request, *limit = &pair->limit;
    if (!exceeds(request->asked, limit->asked))
        return;
    bool lower = limit->rank > request->rank ||
                 limits_check(fit->annotations->limits, limit->id, request->asked, NULL) < 0;
    request->used = limit->used = lower ? at_least(limit->asked, request->low) : request->asked;
    tell_changed(fit, pair);
}

/* ---- a Guaranteed pod ---- */

/* For cpu a share of the pod's own. */
static struct span choose_default(const struct fit *fit, const struct pair *pair)
{
    if (!pair->shares)
        return span_of(pair->floor);
    unsigned __int128 milli = pod_resources_cpu(fit->pod).nano / RESOURCES_CPU_SHARE / NANOS_OF_A_MILLI;
    unsigned least = RESOURCES_CPU_LEAST_M, most = RESOURCES_CPU_MOST_M;
    snprintf(pair->text, RESOURCES_TEXT_MAX, "%um",
             milli < least ? least : milli > most ? most : (unsigned)milli);
    return span_of(pair->text);
}

/* The one that was asked for more firmly says what both become; its asked.ptr is NULL when both are `none`. */
static const struct amount *choose_leading(const struct pair *pair)
{
    const struct amount *request = &pair->request, *limit = &pair->limit;
    bool by_limit = limit->asked.ptr != NULL && (request->asked.ptr == NULL || limit->rank >= request->rank);
    return by_limit ? limit : request;
}

/* What the webhook's own request asks for was not meant as a limit. */
static struct span choose_own(const struct fit *fit, const struct pair *pair, const struct amount *leading)
{
    bool request = leading == &pair->request;
    if (leading->asked.ptr == NULL || is_zero(leading->asked) || (leading->rank == BY_DEFAULT && pair->shares))
        return choose_default(fit, pair);
    return pair->shares && request ? at_least(leading->asked, span_of(RESOURCES_CPU_LEAST)) : leading->asked;
}

static const struct amount *other_of(const struct pair *pair, const struct amount *amount)
{
    return amount == &pair->limit ? &pair->request : &pair->limit;
}

/* A limit of the pod's own becomes its request as well, or a request its limit, so it must be permitted as such. */
static bool is_permitted(const struct fit *fit, const struct pair *pair, const struct amount *leading, struct err *err)
{
    return leading->rank != BY_POD || is_zero(leading->asked) ||
           limits_check(fit->annotations->limits, other_of(pair, leading)->id, leading->asked, err) == 0;
}

static struct span choose_guaranteed(const struct fit *fit, const struct pair *pair, const struct amount *leading)
{
    const struct amount *other = other_of(pair, leading);
    if (leading->rank != BY_POD || is_zero(leading->asked))
        return choose_own(fit, pair, leading);
    struct span value = within(leading->asked, other);
    bool fixed = limits_check(fit->annotations->limits, other->id, value, NULL) < 0;
    return fixed ? choose_own(fit, pair, other) : value;
}

static void tell_not_permitted(const struct fit *fit, const struct amount *leading, bool limit, const struct err *err)
{
    struct span used = leading->used.ptr != NULL ? leading->used : span_of("none");
    warnings_add_kind(fit->warnings, WARNING_NOT_PERMITTED,
                      "%s%s of a Guaranteed pod is its %s too: %s; the %s is changed to %.*s",
                      SETTINGS_ANNOTATION_PREFIX, settings_table[leading->id].name, limit ? "request" : "limit",
                      err->text, limit ? "limit" : "request", (int)used.len, used.ptr);
}

/* A resource left out altogether is a LimitRange's matter. */
static void tell_left_out(const struct fit *fit, const struct pair *pair)
{
    bool given = pair->request.rank == BY_POD || pair->limit.rank == BY_POD;
    warnings_add(fit->warnings, "%s%s-limit none: the pod is Guaranteed only as long as a LimitRange sets it",
                 given ? SETTINGS_ANNOTATION_PREFIX : "[inject] ", pair->name);
}

/* Each within its own bounds, where none is within those of both. */
static void give_up(const struct fit *fit, struct pair *pair, struct span value)
{
    pair->request.used = within(value, &pair->request);
    pair->limit.used = within(value, &pair->limit);
    if (is_zero(pair->limit.used))
        pair->limit.used = none;
    warnings_add(fit->warnings, "[limits] permit no %s-request that is the %s-limit too: the pod is not Guaranteed any "
                                "more", pair->name, pair->name);
}

static void use_guaranteed(const struct fit *fit, struct pair *pair, struct span value)
{
    struct span bounded = within(within(value, &pair->request), &pair->limit);
    if (is_within(bounded, &pair->request) && !is_zero(bounded))
        pair->request.used = pair->limit.used = bounded;
    else
        give_up(fit, pair, value);
}

static void tell_guaranteed(const struct fit *fit, const struct pair *pair, const struct amount *leading)
{
    static const char why[] = "the requests of a Guaranteed pod are its limits";
    const struct amount *other = other_of(pair, leading);
    if (other->rank == BY_POD)
        tell_moved(fit, other, why);
    if (leading->rank == BY_CONFIG || (leading->rank == BY_POD && is_zero(leading->asked)))
        tell_moved(fit, leading, why);
}

/* Requests = limits, and not zero, which counts as none. */
static void make_guaranteed(const struct fit *fit, struct pair *pair)
{
    struct err err;
    const struct amount *leading = choose_leading(pair);
    if (leading->asked.ptr == NULL) {
        tell_left_out(fit, pair);
        return;
    }
    bool permitted = is_permitted(fit, pair, leading, &err);
    use_guaranteed(fit, pair, choose_guaranteed(fit, pair, leading));
    if (!permitted)
        tell_not_permitted(fit, leading, leading == &pair->limit, &err);
    tell_guaranteed(fit, pair, leading);
}

/* ---- a pod with spec.resources ---- */

static const cJSON *find_of_pod(const struct fit *fit, const char *list, const char *name)
{
    return json_get(json_get(fit->of_pod, list), name);
}

/* A limit that adds nothing to the sum which the pod's own becomes; but not where an upper bound forbids it. */
static void leave_sum_alone(const struct fit *fit, struct pair *pair)
{
    if (find_of_pod(fit, "limits", pair->name) != NULL || !pod_resources_all_limit(fit->pod, pair->name))
        return;
    if (pair->limit.high.ptr == NULL) {
        pair->limit.used = span_of("0");
        if (is_zero(annotations_get(fit->annotations, pair->limit.id)))
            pair->limit.asked = pair->limit.used; /* so nothing is changed */
    } else {
        warnings_add(fit->warnings,
                     "[limits] permit no %s-limit of 0: that of the pod, the sum of its containers', may grow by it",
                     pair->name);
    }
}

static const char *number_text(const cJSON *number, char text[static RESOURCES_TEXT_MAX])
{
    snprintf(text, RESOURCES_TEXT_MAX, "%.15g", number->valuedouble);
    return text;
}

/* No container may have a higher limit than the pod. */
static void keep_below_limit_of_pod(const struct fit *fit, struct pair *pair)
{
    const cJSON *item = find_of_pod(fit, "limits", pair->name);
    struct quantity limit, most;
    if (pair->limit.used.ptr == NULL || !pod_resources_read(item, &most) ||
        quantity_parse(pair->limit.used, &limit, NULL) < 0 || quantity_compare(&limit, &most) <= 0)
        return;
    pair->limit.used = span_of(cJSON_IsString(item) ? item->valuestring : number_text(item, pair->text));
}

/* Both `none`: a LimitRange's matter. */
static void fit_into_pod(const struct fit *fit, struct pair *pair)
{
    if (pair->request.asked.ptr == NULL && pair->limit.asked.ptr == NULL)
        return;
    pair->request.used = span_of("0");
    keep_below_limit_of_pod(fit, pair);
    leave_sum_alone(fit, pair);
    tell_moved_of_pod(fit, pair, "spec.resources of the pod counts");
}

/* What the API server would set without us, or NULL. */
static const cJSON *find_missing_request(const struct fit *fit, const struct pair *pair)
{
    bool missing = pair->request.used.ptr != NULL && find_of_pod(fit, "requests", pair->name) == NULL &&
                   !pod_resources_any_requests(fit->pod, pair->name);
    return missing ? find_of_pod(fit, "limits", pair->name) : NULL;
}

/* ---- all of it ---- */

static void fit_pair(const struct fit *fit, struct pair *pair)
{
    read_pair(fit->annotations, pair);
    if (fit->of_pod == NULL && fit->guaranteed) {
        make_guaranteed(fit, pair);
    } else {
        keep_request_below_limit(fit, pair);
        if (fit->of_pod != NULL)
            fit_into_pod(fit, pair);
    }
    tell_below_floor(fit, pair);
    tell_in_place_of_refused(fit, &pair->request);
    tell_in_place_of_refused(fit, &pair->limit);
}

void resources_resolve(const struct pod *pod, const struct annotations *annotations, uint64_t spool_mib,
                       struct resources *ret, struct warnings *warnings)
{
    struct pair cpu = cpu_pair, memory = memory_pair;
    cpu.text = ret->cpu_text;
    memory.text = ret->memory_text;
    const struct fit fit = {
        .pod = pod,
        .annotations = annotations,
        .warnings = warnings,
        .of_pod = pod_resources_of_pod(pod),
        .guaranteed = pod_resources_are_guaranteed(pod),
    };
    fit_pair(&fit, &cpu);
    fit_pair(&fit, &memory);
    ret->cpu_request = cpu.request.used;
    ret->cpu_limit = cpu.limit.used;
    ret->memory_request = memory.request.used;
    ret->memory_limit = memory.limit.used;
    ret->storage_limit_mib = spool_mib > 0 && pod_resources_limit_storage(pod) ? spool_mib + LOGS_MIB : 0;
    ret->pod_cpu_request = find_missing_request(&fit, &cpu);
    ret->pod_memory_request = find_missing_request(&fit, &memory);
}

static bool read_setting(const struct settings *settings, enum setting_id id, struct quantity *ret)
{
    const char *text = settings_get(settings, id);
    return text != NULL && quantity_parse(span_of(text), ret, NULL) == 0; /* `none` is no quantity */
}

static int check_pair(const struct settings *settings, const struct pair *pair, struct warnings *warnings,
                      struct err *err)
{
    enum setting_id request_id = pair->request.id, limit_id = pair->limit.id;
    struct quantity request, limit, floor;
    const char *limit_text = settings_get(settings, limit_id);
    if (!read_setting(settings, limit_id, &limit))
        return 0;
    if (settings_is_set(settings, request_id) && settings_is_set(settings, limit_id) &&
        read_setting(settings, request_id, &request) && quantity_compare(&request, &limit) > 0)
        return err_set(err, EINVAL, "[inject] %s-request: expected at most %s-limit, which is %s, got %s", pair->name,
                       pair->name, limit_text, settings_get(settings, request_id));
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

/* A quantity as it was written, also a bare number. */
static void write_item(struct json_text *json, const char *key, const cJSON *item)
{
    char number[RESOURCES_TEXT_MAX];
    if (cJSON_IsString(item)) {
        json_text_string(json, key, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        json_text_raw(json, key, number_text(item, number));
    }
}

static void add_request_of_pod(struct patch *patch, const char *name, const cJSON *item)
{
    const char *const keys[] = {"spec", "resources", "requests", name, NULL};
    if (item == NULL)
        return;
    write_item(patch_begin_add(patch, keys), NULL, item);
    patch_end_add(patch);
}

static void add_requests_of_pod(struct patch *patch, const struct resources *resources)
{
    static const char *const keys[] = {"spec", "resources", "requests", NULL};
    struct json_text *json = patch_begin_add(patch, keys);
    json_text_open(json, NULL, '{');
    write_item(json, "cpu", resources->pod_cpu_request);
    write_item(json, "memory", resources->pod_memory_request);
    json_text_close(json, '}');
    patch_end_add(patch);
}

void resources_write_of_pod(struct patch *patch, const struct pod *pod, const struct resources *resources)
{
    const cJSON *requests = json_get_object(json_get(pod->spec, "resources"), "requests");
    if (resources->pod_cpu_request == NULL && resources->pod_memory_request == NULL)
        return;
    if (requests == NULL || requests->child == NULL) {
        add_requests_of_pod(patch, resources);
        return;
    }
    add_request_of_pod(patch, "cpu", resources->pod_cpu_request);
    add_request_of_pod(patch, "memory", resources->pod_memory_request);
}
