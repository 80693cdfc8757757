#include "agent/status_page.h"

#include "common/base/duration.h"
#include "common/base/rfc3339.h"
#include "common/base/version.h"
#include "common/gather/account.h"

static void put_wall(struct buf *out, int64_t wall_ms)
{
    char text[RFC3339_SIZE];
    if (wall_ms == 0 || !rfc3339_write(text, wall_ms / 1000))
        buf_puts(out, "never");
    else
        buf_printf(out, "%sZ", text);
}

static void put_head(struct buf *out, const struct view *view)
{
    buf_printf(out, "profefe-agent %s, started ", version_text());
    put_wall(out, view->started_wall_ms);
    buf_putc(out, '\n');
    if (view->problems->count > 0)
        buf_puts(out, "idle: no profile is taken until these settings are right\n");
    view_write_problems(out, view);
    if (view->start->failures > 0)
        buf_printf(out, "cannot work for %llds, trying again: %s\n",
                   view_seconds_since(view, view->start->failing_since_ms), view->start->words);
    for (unsigned i = 0; i < warnings_shown(view->warnings); i++)
        buf_printf(out, "warning: %s\n", warnings_text(view->warnings, i));
}

static void put_identity(struct buf *out, const struct options *options)
{
    buf_printf(out, "service %s, instance %s", options->gather.service, options->gather.instance);
    if (options->pod_ip != NULL)
        buf_printf(out, ", pod IP %s", options->pod_ip);
    buf_puts(out, "\nlabels ");
    for (unsigned i = 0; i < options->gather.labels.count; i++)
        buf_printf(out, "%s%s=%s", i > 0 ? "," : "", options->gather.labels.items[i].key,
                   options->gather.labels.items[i].value);
    buf_putc(out, '\n');
}

static void put_job(struct buf *out, const struct view *view, const struct plan_job *job,
                    const struct taker_job *state)
{
    struct duration_text every;
    buf_printf(out, "  %-12s every %s, ", job->type->name, duration_format(&every, job->type->every_ms));
    if (job->seconds_ms > 0)
        buf_printf(out, "%lld ms long, ", (long long)job->seconds_ms);
    buf_puts(out, "last taken ");
    put_wall(out, state->last_ok_wall_ms);
    if (taker_running(view->taker) == job)
        buf_puts(out, ", running now");
    else if (job->due_ms == plan_never_ms)
        buf_puts(out, ", not again");
    else
        buf_printf(out, ", next in %llds",
                   (long long)(job->due_ms > view->now_ms ? job->due_ms - view->now_ms : 0) / 1000);
    if (state->ran && state->last != SCRAPE_OK)
        buf_printf(out, "\n  %-12s last run: %s: %s", "", scrape_result_names[state->last], state->words);
    if (state->without_since_ms != 0 && view->now_ms - state->without_since_ms >= job->type->every_ms)
        buf_printf(out, "\n  %-12s no profile for %llds", "",
                   view_seconds_since(view, state->without_since_ms));
    buf_putc(out, '\n');
}

static void put_targets(struct buf *out, const struct view *view)
{
    const struct taker_job *state;
    const struct plan_job *job;
    const struct target *shown = NULL;
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++) {
        const struct target *target = view_target(view, job);
        if (target != shown)
            buf_printf(out, "target %s%s%s\n", target->name, target->name[0] != '\0' ? " " : "", target->url);
        shown = target;
        put_job(out, view, job, state);
    }
}

static void put_spool(struct buf *out, const struct spooling *spooling, const struct view *view)
{
    const struct spool_stats *spool = spool_get_stats(spooling->spool);
    const struct attempt *directory = &spooling->directory;
    buf_printf(out, "spool %llu profiles, %llu of %llu bytes\n", (unsigned long long)spool->items,
               (unsigned long long)spool->bytes, (unsigned long long)spool->budget_bytes);
    if (directory->failures > 0)
        buf_printf(out, "  in memory for %llds, trying again: %s\n",
                   view_seconds_since(view, directory->failing_since_ms), directory->words);
    if (spooling->stand_in != NULL && spool_get_stats(spooling->stand_in)->items > 0)
        buf_printf(out, "  and before them %llu profiles in memory\n",
                   (unsigned long long)spool_get_stats(spooling->stand_in)->items);
}

static void put_sending(struct buf *out, const struct view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    struct account account;
    spooling_read_account(view->spooling, push, &account);
    put_spool(out, view->spooling, view);
    buf_printf(out, "%s %s, last stored ", view_destination_kind(view), options_destination(view->options));
    put_wall(out, push->last_stored_wall_ms);
    buf_printf(out, ", %llu stored in all\n", (unsigned long long)account.stored);
    if (push->failures > 0)
        buf_printf(out, "  failing, %u in a row\n", push->failures);
    if (push->last_error[0] != '\0')
        buf_printf(out, "  last error: %s\n", push->last_error);
    if (account.dropped == 0)
        return;
    buf_printf(out, "dropped %llu profiles since the start:", (unsigned long long)account.dropped);
    for (unsigned i = 0; i < account.drop_count; i++) {
        if (account.drops[i].profiles > 0)
            buf_printf(out, " %s %llu", account.drops[i].reason, (unsigned long long)account.drops[i].profiles);
    }
    buf_putc(out, '\n');
}

void status_page_write(struct buf *out, const struct view *view)
{
    put_head(out, view);
    if (view->taker == NULL)
        return;
    put_identity(out, view->options);
    put_targets(out, view);
    put_sending(out, view);
}
