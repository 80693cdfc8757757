#include "common/pod/annotations.h"

#include "common/base/boolean.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/settings/settings_check.h"
#include "common/values/image.h"

#include <string.h>

static void warn_unknown(const char *key, const cJSON *value, struct warnings *warnings)
{
    struct quoted q = {"…"};
    const char *name = key + strlen(SETTINGS_ANNOTATION_PREFIX);
    bool shown = warnings->count < WARNINGS_MAX; /* a review has room for 100,000 keys, each of them slow to compare */
    const char *near = shown ? settings_table_near_miss(span_of(name), SETTING_ANNOTATION) : NULL;
    if (cJSON_IsString(value))
        quote_text(&q, value->valuestring);
    if (near != NULL)
        warnings_add_kind(warnings, WARNING_UNKNOWN_KEY, "%s: unknown annotation (%s), did you mean %s%s?", key, q.text,
                          SETTINGS_ANNOTATION_PREFIX, near);
    else
        warnings_add_kind(warnings, WARNING_UNKNOWN_KEY, "%s: unknown annotation (%s), ignored", key, q.text);
}

static bool is_resource(enum setting_id id)
{
    return id == SETTING_CPU_REQUEST || id == SETTING_CPU_LIMIT || id == SETTING_MEMORY_REQUEST ||
           id == SETTING_MEMORY_LIMIT;
}

/* What a value that cannot count leads to; a strict pod is refused for it. */
static const char *consequence(enum setting_id id, bool strict, bool all)
{
    if (strict || is_resource(id))
        return "";
    if (id != SETTING_ENABLE)
        return "; the default is used";
    return all ? "; the pod is profiled as its whole namespace is" : "; the pod is not profiled";
}

static int check_image(const struct settings *settings, struct span image, struct err *err)
{
    struct quoted q;
    struct span prefixes = span_of(settings_get(settings, SETTING_IMAGE_PREFIXES));
    quote_bytes(&q, image.ptr, image.len);
    if (prefixes.ptr == NULL)
        return err_set(err, EINVAL, "not permitted by the webhook's configuration (no image-prefixes), got %s", q.text);
    if (!image_is_permitted(prefixes, image))
        return err_set(err, EINVAL, "expected an image that begins with one of %s, got %s",
                       settings_get(settings, SETTING_IMAGE_PREFIXES), q.text);
    return 0;
}

static int check_text(enum setting_id id, const cJSON *value, struct span *ret, struct err *err)
{
    if (!cJSON_IsString(value))
        return err_set(err, EINVAL, "expected a string, got %s", json_type_name(value));
    *ret = span_trim(span_of(value->valuestring));
    return settings_check(id, *ret, err);
}

static int check_permitted(const struct annotations *annotations, enum setting_id id, struct span text, struct err *err)
{
    int rc = id == SETTING_IMAGE ? check_image(annotations->settings, text, err) : 0;
    return rc == 0 ? limits_check(annotations->limits, id, text, err) : rc;
}

/* 0 and *ret, or why the value cannot count: *ret_kind says of which kind that is. */
static int read_value(const struct annotations *annotations, enum setting_id id, const cJSON *item, struct span *ret,
                      enum warning_kind *ret_kind, struct err *err)
{
    *ret_kind = WARNING_BAD_VALUE;
    int rc = check_text(id, item, ret, err);
    if (rc < 0)
        return rc;
    *ret_kind = WARNING_NOT_PERMITTED;
    return check_permitted(annotations, id, *ret, err);
}

/* Read before all else. */
static int read_strict(const struct pod *pod, struct annotations *annotations)
{
    struct err err;
    enum warning_kind kind;
    struct span text = span_of(settings_get(annotations->settings, SETTING_STRICT)), own;
    const cJSON *item = json_get(pod->annotations, SETTINGS_ANNOTATION_PREFIX "strict");
    int rc = item != NULL ? read_value(annotations, SETTING_STRICT, item, &own, &kind, &err) : -ENOENT;
    if (rc == 0)
        text = own;
    boolean_parse(text, &annotations->strict, NULL);
    return rc == -ENOMEM ? rc : 0;
}

static int read_one(const cJSON *item, bool all, struct annotations *annotations, struct warnings *warnings)
{
    struct err err = {0};
    struct span name = span_of(item->string + strlen(SETTINGS_ANNOTATION_PREFIX));
    int id = settings_table_find(name, SETTING_ANNOTATION);
    if (id >= 0 && (settings_table[id].where & SETTING_WRITTEN) != 0)
        return 0;
    annotations->count++;
    if (id < 0) {
        warn_unknown(item->string, item, warnings);
        return 0;
    }
    annotations->given[id] = (struct span){NULL, 0}; /* of a key given twice the last counts */
    struct span text;
    enum warning_kind kind;
    int rc = read_value(annotations, (enum setting_id)id, item, &text, &kind, &err);
    if (rc == -ENOMEM)
        return rc;
    if (rc == 0) {
        annotations->given[id] = text;
        return 0;
    }
    warnings_add_kind(warnings, kind, "%s: %s%s", item->string, err.text,
                      consequence((enum setting_id)id, annotations->strict, all));
    annotations->refused[id] = warnings != NULL ? warnings->count : 0;
    return 0;
}

int annotations_read(const struct pod *pod, const struct policy *policy, bool all, struct annotations *ret,
                     struct warnings *warnings)
{
    const cJSON *item;
    *ret = (struct annotations){.settings = &policy->settings, .limits = &policy->limits};
    int rc = read_strict(pod, ret);
    if (rc < 0)
        return rc;
    cJSON_ArrayForEach(item, pod->annotations)
    {
        if (!span_has_prefix(span_of(item->string), SETTINGS_ANNOTATION_PREFIX))
            continue;
        rc = read_one(item, all, ret, warnings);
        if (rc < 0)
            return rc;
    }
    return 0;
}

bool annotations_is_given(const struct annotations *annotations, enum setting_id id)
{
    return annotations->given[id].ptr != NULL;
}

struct span annotations_get(const struct annotations *annotations, enum setting_id id)
{
    if (annotations_is_given(annotations, id))
        return annotations->given[id];
    return span_of(settings_get(annotations->settings, id));
}

struct span annotations_get_changed(const struct annotations *annotations, enum setting_id id)
{
    static const struct span none = {NULL, 0};
    struct span text = annotations_get(annotations, id);
    const char *dflt = settings_table[id].default_text;
    return text.ptr != NULL && dflt != NULL && span_equal(text, dflt) ? none : text;
}

enum annotations_wish annotations_wish(const struct annotations *annotations)
{
    bool enable;
    struct span text = annotations->given[SETTING_ENABLE];
    if (text.ptr == NULL || boolean_parse(text, &enable, NULL) < 0)
        return ANNOTATIONS_SILENT;
    return enable ? ANNOTATIONS_ENABLED : ANNOTATIONS_DISABLED;
}
