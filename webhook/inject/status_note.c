#include "webhook/inject/status_note.h"

#include "common/base/version.h"

int status_note_injected(struct buf *out, const struct warnings *warnings)
{
    buf_puts(out, "injected ");
    buf_puts(out, version_text());
    if (warnings->count > 0)
        buf_printf(out, "; %s", warnings_text(warnings, 0));
    if (warnings->count > 1)
        buf_printf(out, " (+%u)", warnings->count - 1);
    return buf_error(out);
}

int status_note_skipped(struct buf *out, const char *reason)
{
    return buf_printf(out, "skipped: %s", reason);
}
