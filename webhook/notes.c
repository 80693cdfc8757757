#include "webhook/notes.h"

#include <assert.h>

void notes_add(struct notes *notes, const struct pod *pod, const char *key, struct span text)
{
    const char *before = json_get_text(pod->annotations, key);
    if (before != NULL && text_equal(text, before))
        return;
    assert(notes->count < NOTES_MAX);
    notes->items[notes->count++] = (struct note){key, text};
}

static void write_one_by_one(const struct notes *notes, struct patch *patch)
{
    for (unsigned i = 0; i < notes->count; i++) {
        const char *const keys[] = {"metadata", "annotations", notes->items[i].key, NULL};
        json_write_span(patch_begin_add(patch, keys), notes->items[i].text);
        patch_end_add(patch);
    }
}

/* The pod has no annotations, maybe not even metadata. */
static void write_parents(const struct notes *notes, const struct pod *pod, struct patch *patch)
{
    bool metadata = pod->metadata != NULL;
    const char *const keys[] = {"metadata", metadata ? "annotations" : NULL, NULL};
    struct buf *out = patch_begin_add(patch, keys);
    buf_puts(out, metadata ? "{" : "{\"annotations\":{");
    for (unsigned i = 0; i < notes->count; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_write_text(out, notes->items[i].key);
        buf_putc(out, ':');
        json_write_span(out, notes->items[i].text);
    }
    buf_puts(out, metadata ? "}" : "}}");
    patch_end_add(patch);
}

void notes_write(const struct notes *notes, const struct pod *pod, struct patch *patch)
{
    if (notes->count == 0)
        return;
    if (pod->annotations != NULL)
        write_one_by_one(notes, patch);
    else
        write_parents(notes, pod, patch);
}
