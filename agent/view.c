#include "agent/view.h"

const struct target *view_target(const struct view *view, const struct plan_job *job)
{
    return &view->options->gather.targets.items[job->target];
}

const char *view_destination_kind(const struct view *view)
{
    return view->options->gather.output_dir != NULL ? "output-dir" : "collector";
}

long long view_seconds_since(const struct view *view, int64_t since_ms)
{
    return (long long)(view->now_ms - since_ms) / 1000;
}

void view_write_problems(struct buf *out, const struct view *view)
{
    for (unsigned i = 0; i < warnings_shown(view->problems); i++)
        buf_printf(out, "setting: %s\n", warnings_text(view->problems, i));
}
