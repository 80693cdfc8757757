#include "agent/health.h"

static bool failing_long(int64_t since_ms, unsigned failures, const struct view *view)
{
    return since_ms != 0 && failures >= HEALTH_FAILING_RUNS &&
           view->now_ms - since_ms >= HEALTH_FAILING_INTERVALS * view->interval_ms;
}

static void put_target_reasons(struct buf *out, const struct view *view)
{
    const struct taker_job *state;
    const struct plan_job *job;
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++) {
        if (failing_long(state->failing_since_ms, state->failures, view))
            buf_printf(out, "target %s %s: %s for %llds: %s\n", view_target(view, job)->url, job->type->name,
                       scrape_result_names[state->last], view_seconds_since(view, state->failing_since_ms),
                       state->words);
    }
}

/* A 404 for one type is the app's choice; for all of them the path or the port is wrong. */
static void put_missing_reason(struct buf *out, const struct view *view, unsigned t)
{
    const struct taker_job *state;
    const struct plan_job *job;
    unsigned jobs = 0, missing = 0;
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++) {
        if (job->target != t)
            continue;
        jobs++;
        missing += state->ran && state->last == SCRAPE_MISSING ? 1 : 0;
    }
    if (jobs > 0 && missing == jobs)
        buf_printf(out, "target %s: answers 404 to every profile type; are port and path right?\n",
                   view->options->gather.targets.items[t].url);
}

static void put_collector_reason(struct buf *out, const struct view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    if (failing_long(push->failing_since_ms, push->failures, view))
        buf_printf(out, "%s %s: failing for %llds: %s\n", view_destination_kind(view),
                   options_destination(view->options), view_seconds_since(view, push->failing_since_ms),
                   push->last_error);
}

static void put_start_reason(struct buf *out, const struct view *view)
{
    if (failing_long(view->start->failing_since_ms, view->start->failures, view))
        buf_printf(out, "cannot work for %llds: %s\n", view_seconds_since(view, view->start->failing_since_ms),
                   view->start->words);
}

static void put_spool_reason(struct buf *out, const struct view *view)
{
    const struct attempt *directory = &view->spooling->directory;
    if (failing_long(directory->failing_since_ms, directory->failures, view))
        buf_printf(out, "profiles wait in memory for %llds: %s\n",
                   view_seconds_since(view, directory->failing_since_ms), directory->words);
}

unsigned health_write(struct buf *out, const struct view *view)
{
    view_write_problems(out, view);
    put_start_reason(out, view);
    if (view->taker != NULL) {
        put_target_reasons(out, view);
        for (unsigned t = 0; t < view->options->gather.targets.count; t++)
            put_missing_reason(out, view, t);
        put_collector_reason(out, view);
        put_spool_reason(out, view);
    }
    if (out->len > 0)
        return 500;
    buf_puts(out, "ok\n");
    return 200;
}
