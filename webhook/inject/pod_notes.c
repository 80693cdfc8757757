#include "webhook/inject/pod_notes.h"

#include <string.h>

static size_t size_of(const char *key, const char *text)
{
    return strlen(key) + (text != NULL ? strlen(text) : 0);
}

void pod_notes_init(struct pod_notes *notes, const struct pod *pod)
{
    const cJSON *item;
    *notes = (struct pod_notes){.pod = pod};
    cJSON_ArrayForEach(item, pod->annotations)
        notes->total += size_of(item->string, item->valuestring);
}

void pod_notes_add(struct pod_notes *notes, const char *key, struct span text, struct warnings *warnings)
{
    const cJSON *item = json_get(notes->pod->annotations, key);
    const char *before = cJSON_IsString(item) ? item->valuestring : NULL;
    if (before != NULL && span_equal(text, before))
        return;
    size_t total = notes->total - (item != NULL ? size_of(key, before) : 0) + strlen(key) + text.len;
    if (total > POD_NOTES_TOTAL_MAX) {
        warnings_add(warnings, "%s: left out: expected annotations of at most %d bytes in all, got %zu", key,
                     POD_NOTES_TOTAL_MAX, total);
        return;
    }
    if (notes->count == POD_NOTES_MAX) {
        notes->full = true;
        return;
    }
    notes->items[notes->count++] = (struct pod_note){key, text};
    notes->total = total;
}

static void write_one_by_one(const struct pod_notes *notes, struct patch *patch)
{
    for (unsigned i = 0; i < notes->count; i++) {
        const char *const keys[] = {"metadata", "annotations", notes->items[i].key, NULL};
        json_text_span(patch_begin_add(patch, keys), NULL, notes->items[i].text);
        patch_end_add(patch);
    }
}

/* The pod has no annotations, maybe not even metadata. */
static void write_parents(const struct pod_notes *notes, struct patch *patch)
{
    bool metadata = notes->pod->metadata != NULL;
    const char *const keys[] = {"metadata", metadata ? "annotations" : NULL, NULL};
    struct json_text *json = patch_begin_add(patch, keys);
    if (!metadata)
        json_text_open(json, NULL, '{');
    json_text_open(json, metadata ? NULL : "annotations", '{');
    for (unsigned i = 0; i < notes->count; i++)
        json_text_span(json, notes->items[i].key, notes->items[i].text);
    json_text_close(json, '}');
    if (!metadata)
        json_text_close(json, '}');
    patch_end_add(patch);
}

void pod_notes_write(const struct pod_notes *notes, struct patch *patch)
{
    if (notes->count == 0)
        return;
    if (notes->pod->annotations != NULL)
        write_one_by_one(notes, patch);
    else
        write_parents(notes, patch);
}
