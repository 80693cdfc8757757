#include "webhook/inject/volumes.h"

#include "common/values/quantity.h"
#include "common/values/spool_size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_TRIES = 64,           /* a pod may have volumes of our names already; nobody has so many */
    MIB = 1024 * 1024,
    SPOOL_SLACK = 4 * MIB,     /* the directory itself and what is being deleted */
    SECRET_MODE = 0444,
    MIB_TEXT_MAX = 24,         /* bytes of a 64-bit number with its unit */
};

static const struct {
    const char *name, *path;
    bool read_only;
} kinds[VOLUME_KIND_COUNT] = {
    [VOLUME_TOKEN] = {"profefe-agent", VOLUMES_TOKEN_PATH, true},
    [VOLUME_SPOOL] = {"profefe-spool", VOLUMES_SPOOL_PATH, false},
    [VOLUME_SECRET] = {"profefe-collector", VOLUMES_SECRET_PATH, true},
};

/* ---- names ---- */

static const cJSON *find_named(const cJSON *list, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *text = json_get_text(item, "name");
        if (text != NULL && strcmp(text, name) == 0)
            return item;
    }
    return NULL;
}

static bool is_mounted(const struct pod *pod, const char *name)
{
    struct pod_iter iter = {.pod = pod};
    while (pod_iter_next(&iter)) {
        if (find_named(json_get_array(iter.item, "volumeMounts"), name) != NULL)
            return true;
    }
    return false;
}

/* A smaller limit of another time would evict the pod. */
static bool is_spool(const cJSON *volume, uint64_t size_limit_mib)
{
    struct quantity limit;
    uint64_t bytes;
    const cJSON *dir = json_get_object(volume, "emptyDir");
    const char *medium = json_get_text(dir, "medium"), *text = json_get_text(dir, "sizeLimit");
    return (medium == NULL || medium[0] == '\0') && text != NULL &&
           quantity_parse((struct span){text, strlen(text)}, &limit, NULL) == 0 &&
           quantity_to_bytes(&limit, &bytes) == 0 && bytes == size_limit_mib * MIB;
}

static bool is_secret(const cJSON *volume, struct span name)
{
    int64_t mode;
    const cJSON *secret = json_get_object(volume, "secret");
    const char *text = json_get_text(secret, "secretName");
    return text != NULL && span_equal(name, text) && json_get_true(secret, "optional") &&
           json_get(secret, "items") == NULL &&
           json_get_whole(secret, "defaultMode", SECRET_MODE, SECRET_MODE, &mode);
}

/* Is it what we would add, kept by a pod that was copied? */
static bool is_ours(const struct volumes *volumes, enum volume_kind kind, const cJSON *volume)
{
    switch (kind) {
    case VOLUME_SPOOL:
        return is_spool(volume, volumes->size_limit_mib);
    case VOLUME_SECRET:
        return is_secret(volume, volumes->secret);
    default:
        volume = json_get_object(volume, "downwardAPI");
        return volume != NULL && json_get(volume, "items") == NULL;
    }
}

static void name_volume(struct volume *volume, int number)
{
    const char *name = kinds[volume->kind].name;
    if (number == 1)
        memcpy(volume->name, name, strlen(name) + 1);
    else
        snprintf(volume->name, sizeof(volume->name), "%s-%d", name, number);
}

/* Two volumes of one name would refuse the pod; one that somebody mounts is not ours to write to. */
static void add(const struct pod *pod, enum volume_kind kind, struct volumes *volumes)
{
    struct volume *volume = &volumes->items[volumes->count++];
    *volume = (struct volume){.kind = kind};
    for (int i = 1; i <= NAME_TRIES; i++) {
        name_volume(volume, i);
        const cJSON *found = find_named(pod->volumes, volume->name);
        volume->there = found != NULL && is_ours(volumes, kind, found) && !is_mounted(pod, volume->name);
        if (found == NULL || volume->there)
            break;
    }
}

/* ---- what is asked for ---- */

static void read_spool(struct span text, struct volumes *volumes)
{
    struct quantity quantity;
    uint64_t bytes;
    if (quantity_parse(text, &quantity, NULL) < 0 || quantity_to_bytes(&quantity, &bytes) < 0)
        return; /* `memory`: all else was refused when it was read */
    volumes->spool_bytes = bytes;
    volumes->size_limit_mib = (bytes + spool_profile_max(bytes) + SPOOL_SLACK + MIB - 1) / MIB;
}

void volumes_choose(const struct pod *pod, const struct annotations *asked, struct volumes *ret)
{
    *ret = (struct volumes){.secret = annotations_get(asked, SETTING_COLLECTOR_SECRET)};
    read_spool(annotations_get(asked, SETTING_SPOOL), ret);
    add(pod, VOLUME_TOKEN, ret);
    if (ret->spool_bytes > 0)
        add(pod, VOLUME_SPOOL, ret);
    if (ret->secret.ptr != NULL)
        add(pod, VOLUME_SECRET, ret);
}

const struct volume *volumes_find(const struct volumes *volumes, enum volume_kind kind)
{
    for (unsigned i = 0; i < volumes->count; i++) {
        if (volumes->items[i].kind == kind)
            return &volumes->items[i];
    }
    return NULL;
}

/* ---- JSON ---- */

static void write_spool(struct json_text *json, uint64_t size_limit_mib)
{
    char size[MIB_TEXT_MAX];
    snprintf(size, sizeof(size), "%" PRIu64 "Mi", size_limit_mib);
    json_text_open(json, "emptyDir", '{');
    json_text_word(json, "sizeLimit", size);
    json_text_close(json, '}');
}

static void write_secret(struct json_text *json, struct span name)
{
    json_text_open(json, "secret", '{');
    json_text_span(json, "secretName", name);
    json_text_number(json, "defaultMode", SECRET_MODE);
    json_text_bool(json, "optional", true);
    json_text_close(json, '}');
}

void volumes_write(struct json_text *json, const struct volumes *volumes, const struct volume *volume)
{
    json_text_open(json, NULL, '{');
    json_text_word(json, "name", volume->name);
    if (volume->kind == VOLUME_TOKEN)
        json_text_raw(json, "downwardAPI", "{}");
    else if (volume->kind == VOLUME_SPOOL)
        write_spool(json, volumes->size_limit_mib);
    else
        write_secret(json, volumes->secret);
    json_text_close(json, '}');
}

void volumes_write_mounts(struct json_text *json, const char *key, const struct volumes *volumes)
{
    json_text_open(json, key, '[');
    for (unsigned i = 0; i < volumes->count; i++) {
        const struct volume *volume = &volumes->items[i];
        json_text_open(json, NULL, '{');
        json_text_word(json, "name", volume->name);
        json_text_word(json, "mountPath", kinds[volume->kind].path);
        if (kinds[volume->kind].read_only)
            json_text_bool(json, "readOnly", true);
        json_text_close(json, '}');
    }
    json_text_close(json, ']');
}
