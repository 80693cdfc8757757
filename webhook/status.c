#include "webhook/status.h"

#include "common/settings.h"
#include "common/version.h"

#include <string.h>

#define STATUS_KEY SETTINGS_ANNOTATION_PREFIX "status"

int status_write_injected(struct buf *out, const struct warnings *warnings)
{
    buf_printf(out, "injected %s", version_text());
    if (warnings->count > 0)
        buf_printf(out, "; %s", warnings_text(warnings, 0));
    if (warnings->count > 1)
        buf_printf(out, " (+%u)", warnings->count - 1);
    return buf_error(out);
}

int status_write_skipped(struct buf *out, const char *reason)
{
    return buf_printf(out, "skipped: %s", reason);
}

void status_add(struct patch *patch, const struct pod *pod, const char *text)
{
    const char *before = json_get_text(pod->annotations, STATUS_KEY);
    if (before != NULL && strcmp(before, text) == 0)
        return;
    bool metadata = pod->metadata != NULL, annotations = pod->annotations != NULL;
    const char *const keys[] = {"metadata", metadata ? "annotations" : NULL, annotations ? STATUS_KEY : NULL, NULL};
    struct buf *out = patch_begin_add(patch, keys);
    buf_puts(out, metadata ? "" : "{\"annotations\":");
    buf_puts(out, annotations ? "" : "{\"" STATUS_KEY "\":");
    json_write_text(out, text);
    buf_puts(out, annotations ? "" : "}");
    buf_puts(out, metadata ? "" : "}");
    patch_end_add(patch);
}
