#include "webhook/annotations.h"

#include "common/parse.h"

#include <string.h>

static struct span span_of(const char *text)
{
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

static void warn_unknown(const char *key, const cJSON *value, struct warnings *warnings)
{
    struct text_quoted q = {"…"};
    const char *name = key + strlen(SETTINGS_ANNOTATION_PREFIX);
    const char *near = settings_near_miss(span_of(name), SETTING_ANNOTATION);
    if (cJSON_IsString(value))
        text_quote(&q, value->valuestring);
    if (near != NULL)
        warnings_add(warnings, "%s: unknown annotation (%s), did you mean %s%s?", key, q.text,
                     SETTINGS_ANNOTATION_PREFIX, near);
    else
        warnings_add(warnings, "%s: unknown annotation (%s), ignored", key, q.text);
}

static int warn_bad(const char *key, const struct err *err, struct warnings *warnings)
{
    if (err->code == ENOMEM)
        return -ENOMEM;
    warnings_add(warnings, "%s: %s; the default is used", key, err->text);
    return 0;
}

/* All letters and digits would be open at the end: "team" also begins "team-evil". */
static bool ends_at_boundary(struct span prefix, struct span image)
{
    char last = prefix.ptr[prefix.len - 1];
    bool closed = strchr("./:@-_", last) != NULL;
    return closed || image.len == prefix.len || strchr("/:@", image.ptr[prefix.len]) != NULL;
}

bool annotations_permit_image(struct span prefixes, struct span image)
{
    struct span rest = prefixes, prefix;
    while (text_next_item(&rest, &prefix)) {
        if (prefix.len > 0 && prefix.len <= image.len && memcmp(prefix.ptr, image.ptr, prefix.len) == 0 &&
            ends_at_boundary(prefix, image))
            return true;
    }
    return false;
}

static int check_image(const struct settings *settings, struct span image, struct err *err)
{
    struct text_quoted q;
    struct span prefixes = span_of(settings_get(settings, SETTING_IMAGE_PREFIXES));
    text_quote_n(&q, image.ptr, image.len);
    if (prefixes.ptr == NULL)
        return err_set(err, EINVAL, "not permitted by the webhook's configuration (no image-prefixes), got %s", q.text);
    if (!annotations_permit_image(prefixes, image))
        return err_set(err, EINVAL, "expected an image that begins with one of %s, got %s",
                       settings_get(settings, SETTING_IMAGE_PREFIXES), q.text);
    return 0;
}

static int check_value(const struct settings *settings, enum setting_id id, const cJSON *value, struct err *err)
{
    if (!cJSON_IsString(value))
        return err_set(err, EINVAL, "expected a string, got %s", json_type_name(value));
    struct span text = text_trim(span_of(value->valuestring));
    int rc = settings_check(id, text, err);
    if (rc == 0 && id == SETTING_IMAGE)
        rc = check_image(settings, text, err);
    return rc;
}

static int read_one(const cJSON *item, struct annotations *annotations, struct warnings *warnings)
{
    struct err err = {0};
    struct span name = span_of(item->string + strlen(SETTINGS_ANNOTATION_PREFIX));
    int id = settings_find(name, SETTING_ANNOTATION);
    if (id >= 0 && (settings_table[id].uses & SETTING_WRITTEN) != 0)
        return 0;
    annotations->count++;
    if (id < 0) {
        warn_unknown(item->string, item, warnings);
        return 0;
    }
    annotations->given[id] = (struct span){NULL, 0}; /* of a key given twice the last counts */
    if (check_value(annotations->settings, (enum setting_id)id, item, &err) < 0)
        return warn_bad(item->string, &err, warnings);
    annotations->given[id] = text_trim(span_of(item->valuestring));
    return 0;
}

int annotations_read(const struct pod *pod, const struct settings *settings, struct annotations *ret,
                     struct warnings *warnings)
{
    const cJSON *item;
    *ret = (struct annotations){.settings = settings};
    cJSON_ArrayForEach(item, pod->annotations)
    {
        if (!text_has_prefix(item->string, SETTINGS_ANNOTATION_PREFIX))
            continue;
        int rc = read_one(item, ret, warnings);
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
    const char *dflt = settings_table[id].dflt;
    return text.ptr != NULL && dflt != NULL && text_equal(text, dflt) ? none : text;
}

enum annotations_wish annotations_wish(const struct annotations *annotations)
{
    bool enable;
    struct span text = annotations->given[SETTING_ENABLE];
    if (text.ptr == NULL || parse_bool(text, &enable, NULL) < 0)
        return ANNOTATIONS_SILENT;
    return enable ? ANNOTATIONS_ENABLED : ANNOTATIONS_DISABLED;
}
