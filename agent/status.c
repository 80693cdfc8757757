#include "agent/status.h"

#include "common/os/log.h"
#include "common/os/metrics.h"
#include "common/base/duration.h"
#include "common/base/version.h"

#include <string.h>
#include <time.h>

static const struct target *target_of(const struct status_view *view, const struct plan_job *job)
{
    return &view->options->gather.targets.items[job->target];
}

static const char *destination_kind(const struct status_view *view)
{
    return view->options->gather.output_dir != NULL ? "output-dir" : "collector";
}

static void count_drop(struct status_drops *drops, const char *reason, uint64_t profiles)
{
    drops->items[drops->count++] = (struct status_drop){reason, profiles};
    drops->sum += profiles;
}

void status_count_drops(struct status_drops *drops, const struct spool_stats *spool, const struct push_stats *push)
{
    *drops = (struct status_drops){0};
    for (unsigned r = 0; r < SPOOL_DROP_COUNT; r++)
        count_drop(drops, spool_drop_names[r], spool->dropped[r]);
    for (unsigned r = 0; r < PUSH_DROP_COUNT; r++)
        count_drop(drops, push_drop_names[r], push->dropped[r]);
}

uint64_t status_count_stored(const struct push_stats *push)
{
    return push->results[PUSH_STORED] + push->results[PUSH_FOUND];
}

/* ---- /healthz ---- */

static bool failing_long(int64_t since_ms, unsigned failures, const struct status_view *view)
{
    return since_ms != 0 && failures >= STATUS_FAILING_RUNS &&
           view->now_ms - since_ms >= STATUS_FAILING_INTERVALS * view->interval_ms;
}

static void put_target_reasons(struct buf *out, const struct status_view *view)
{
    const struct gather_job *state;
    const struct plan_job *job;
    for (unsigned i = 0; (job = gather_job_at(view->gather, i, &state)) != NULL; i++) {
        if (failing_long(state->failing_since_ms, state->failures, view))
            buf_printf(out, "target %s %s: %s for %llds: %s\n", target_of(view, job)->url, job->type->name,
                       scrape_result_names[state->last], (long long)(view->now_ms - state->failing_since_ms) / 1000,
                       state->words);
    }
}

/* A 404 for one type is the app's choice; for all of them the path or the port is wrong. */
static void put_missing_reason(struct buf *out, const struct status_view *view, unsigned t)
{
    const struct gather_job *state;
    const struct plan_job *job;
    unsigned jobs = 0, missing = 0;
    for (unsigned i = 0; (job = gather_job_at(view->gather, i, &state)) != NULL; i++) {
        if (job->target != t)
            continue;
        jobs++;
        missing += state->ran && state->last == SCRAPE_MISSING ? 1 : 0;
    }
    if (jobs > 0 && missing == jobs)
        buf_printf(out, "target %s: answers 404 to every profile type; are port and path right?\n",
                   view->options->gather.targets.items[t].url);
}

static void put_collector_reason(struct buf *out, const struct status_view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    if (failing_long(push->failing_since_ms, push->failures, view))
        buf_printf(out, "%s %s: failing for %llds: %s\n", destination_kind(view), options_destination(view->options),
                   (long long)(view->now_ms - push->failing_since_ms) / 1000, push->last_error);
}

static void put_problems(struct buf *out, const struct status_view *view)
{
    for (unsigned i = 0; i < warnings_shown(view->problems); i++)
        buf_printf(out, "setting: %s\n", warnings_text(view->problems, i));
}

unsigned status_write_healthz(struct buf *out, const struct status_view *view)
{
    put_problems(out, view);
    if (view->gather != NULL) {
        put_target_reasons(out, view);
        for (unsigned t = 0; t < view->options->gather.targets.count; t++)
            put_missing_reason(out, view, t);
        put_collector_reason(out, view);
    }
    if (out->len > 0)
        return 500;
    buf_puts(out, "ok\n");
    return 200;
}

/* ---- /status ---- */

static void put_wall(struct buf *out, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];
    if (wall_ms == 0 || gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        buf_puts(out, "never");
    else
        buf_puts(out, text);
}

static void put_head(struct buf *out, const struct status_view *view)
{
    buf_printf(out, "profefe-agent %s, started ", version_text());
    put_wall(out, view->started_wall_ms);
    buf_putc(out, '\n');
    if (view->problems->count > 0)
        buf_puts(out, "idle: no profile is taken until these settings are right\n");
    put_problems(out, view);
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
        buf_printf(out, "%s%s=%s", i > 0 ? "," : "", options->gather.labels.items[i].key, options->gather.labels.items[i].value);
    buf_putc(out, '\n');
}

static void put_job(struct buf *out, const struct status_view *view, const struct plan_job *job,
                    const struct gather_job *state)
{
    struct duration_text every;
    buf_printf(out, "  %-12s every %s, ", job->type->name, duration_format(&every, job->type->every_ms));
    if (job->seconds_ms > 0)
        buf_printf(out, "%lld ms long, ", (long long)job->seconds_ms);
    buf_puts(out, "last taken ");
    put_wall(out, state->last_ok_wall_ms);
    if (gather_running(view->gather) == job)
        buf_puts(out, ", running now");
    else if (job->due_ms == plan_never_ms)
        buf_puts(out, ", not again");
    else
        buf_printf(out, ", next in %llds", (long long)(job->due_ms > view->now_ms ? job->due_ms - view->now_ms : 0) / 1000);
    if (state->ran && state->last != SCRAPE_OK)
        buf_printf(out, "\n  %-12s last run: %s: %s", "", scrape_result_names[state->last], state->words);
    if (state->without_since_ms != 0 && view->now_ms - state->without_since_ms >= job->type->every_ms)
        buf_printf(out, "\n  %-12s no profile for %llds", "",
                   (long long)(view->now_ms - state->without_since_ms) / 1000);
    buf_putc(out, '\n');
}

static void put_targets(struct buf *out, const struct status_view *view)
{
    const struct gather_job *state;
    const struct plan_job *job;
    const struct target *shown = NULL;
    for (unsigned i = 0; (job = gather_job_at(view->gather, i, &state)) != NULL; i++) {
        const struct target *target = target_of(view, job);
        if (target != shown)
            buf_printf(out, "target %s%s%s\n", target->name, target->name[0] != '\0' ? " " : "", target->url);
        shown = target;
        put_job(out, view, job, state);
    }
}

static void put_sending(struct buf *out, const struct status_view *view)
{
    const struct spool_stats *spool = spool_get_stats(view->spool);
    const struct push_stats *push = push_get_stats(view->push);
    struct status_drops drops;
    status_count_drops(&drops, spool, push);
    buf_printf(out, "spool %llu profiles, %llu of %llu bytes\n", (unsigned long long)spool->items,
               (unsigned long long)spool->bytes, (unsigned long long)spool->budget_bytes);
    buf_printf(out, "%s %s, last stored ", destination_kind(view), options_destination(view->options));
    put_wall(out, push->last_stored_wall_ms);
    buf_printf(out, ", %llu stored in all\n", (unsigned long long)status_count_stored(push));
    if (push->failures > 0)
        buf_printf(out, "  failing, %u in a row\n", push->failures);
    if (push->last_error[0] != '\0')
        buf_printf(out, "  last error: %s\n", push->last_error);
    if (drops.sum == 0)
        return;
    buf_printf(out, "dropped %llu profiles since the start:", (unsigned long long)drops.sum);
    for (unsigned i = 0; i < drops.count; i++) {
        if (drops.items[i].profiles > 0)
            buf_printf(out, " %s %llu", drops.items[i].reason, (unsigned long long)drops.items[i].profiles);
    }
    buf_putc(out, '\n');
}

void status_write_text(struct buf *out, const struct status_view *view)
{
    put_head(out, view);
    if (view->gather == NULL)
        return;
    put_identity(out, view->options);
    put_targets(out, view);
    put_sending(out, view);
}

/* ---- /metrics ---- */

/* Sums over targets: one series for each type and result that occurred, so that a page stays short. */
static uint64_t count_scrapes(const struct status_view *view, const struct profile_type *type, unsigned result)
{
    const struct gather_job *state;
    const struct plan_job *job;
    uint64_t sum = 0;
    for (unsigned i = 0; (job = gather_job_at(view->gather, i, &state)) != NULL; i++) {
        if (job->type == type)
            sum += state->results[result];
    }
    return sum;
}

static void put_scrapes(struct buf *out, const struct status_view *view)
{
    static const char name[] = "profefe_agent_scrapes_total";
    metrics_family(out, name, "counter", "Fetches from the app by profile type and result.");
    for (unsigned t = 0; t < view->options->gather.types.count; t++) {
        const struct profile_type *type = &view->options->gather.types.items[t];
        for (unsigned r = 0; r < SCRAPE_RESULT_COUNT; r++) {
            uint64_t n = count_scrapes(view, type, r);
            if (n > 0 || r == SCRAPE_OK)
                metrics_sample(out, name, n, "type", type->name, "result", scrape_result_names[r], NULL);
        }
    }
}

static void put_last_success(struct buf *out, const struct status_view *view)
{
    static const char name[] = "profefe_agent_last_scrape_timestamp_seconds";
    const struct gather_job *state;
    const struct plan_job *job;
    metrics_family(out, name, "gauge", "Unix time of the last profile taken, by target and type; 0 = never.");
    for (unsigned i = 0; (job = gather_job_at(view->gather, i, &state)) != NULL; i++)
        metrics_sample(out, name, (uint64_t)(state->last_ok_wall_ms / 1000), "target", target_of(view, job)->name, "type",
                       job->type->name, NULL);
}

static void put_pushes(struct buf *out, const struct status_view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    metrics_family(out, "profefe_agent_pushes_total", "counter", "Pushes to profefe by result.");
    for (unsigned r = 0; r < PUSH_RESULT_COUNT; r++)
        metrics_sample(out, "profefe_agent_pushes_total", push->results[r], "result", push_result_names[r], NULL);
    metrics_family(out, "profefe_agent_relabel_skipped_total", "counter", "Profiles pushed without labels in their samples, by reason.");
    for (unsigned r = RELABEL_DONE + 1; r < RELABEL_RESULT_COUNT; r++)
        metrics_sample(out, "profefe_agent_relabel_skipped_total", push->unlabelled[r], "reason", relabel_result_names[r], NULL);
    metrics_family(out, "profefe_agent_pushed_bytes_total", "counter", "Bytes of stored profiles.");
    metrics_sample(out, "profefe_agent_pushed_bytes_total", push->stored_bytes, NULL);
    metrics_family(out, "profefe_agent_last_push_timestamp_seconds", "gauge", "Unix time of the last stored profile; 0 = never.");
    metrics_sample(out, "profefe_agent_last_push_timestamp_seconds", (uint64_t)(push->last_stored_wall_ms / 1000), NULL);
}

static void put_spool(struct buf *out, const struct status_view *view)
{
    const struct spool_stats *spool = spool_get_stats(view->spool);
    struct status_drops drops;
    status_count_drops(&drops, spool, push_get_stats(view->push));
    metrics_family(out, "profefe_agent_taken_profiles_total", "counter",
                   "Profiles that reached the spool, found in it at the start or lost on the way into it included: "
                   "equals pushes with result stored or found, dropped profiles and spool profiles together.");
    metrics_sample(out, "profefe_agent_taken_profiles_total", spool->taken, NULL);
    metrics_family(out, "profefe_agent_spool_bytes", "gauge", "Bytes of profiles that wait, are taken or are sent.");
    metrics_sample(out, "profefe_agent_spool_bytes", spool->bytes, NULL);
    metrics_family(out, "profefe_agent_spool_limit_bytes", "gauge", "The spool's budget.");
    metrics_sample(out, "profefe_agent_spool_limit_bytes", spool->budget_bytes, NULL);
    metrics_family(out, "profefe_agent_spool_profiles", "gauge", "Profiles that wait or are sent.");
    metrics_sample(out, "profefe_agent_spool_profiles", spool->items + spool->held_lost, NULL);
    metrics_family(out, "profefe_agent_dropped_profiles_total", "counter", "Profiles taken and lost, by reason.");
    for (unsigned i = 0; i < drops.count; i++)
        metrics_sample(out, "profefe_agent_dropped_profiles_total", drops.items[i].profiles, "reason",
                       drops.items[i].reason, NULL);
}

void status_write_metrics(struct buf *out, const struct status_view *view)
{
    metrics_build_info(out, "profefe_agent");
    metrics_family(out, "profefe_agent_start_timestamp_seconds", "gauge", "Unix time of the start.");
    metrics_sample(out, "profefe_agent_start_timestamp_seconds", (uint64_t)(view->started_wall_ms / 1000), NULL);
    metrics_family(out, "profefe_agent_idle", "gauge", "1 while a wrong setting keeps the agent from profiling.");
    metrics_sample(out, "profefe_agent_idle", view->problems->count > 0 ? 1 : 0, NULL);
    metrics_family(out, "profefe_agent_setting_problems", "gauge", "Settings that are wrong; /status names them.");
    metrics_sample(out, "profefe_agent_setting_problems", view->problems->count, NULL);
    metrics_family(out, "profefe_agent_log_lines_lost_total", "counter", "Log lines that could not be written.");
    metrics_sample(out, "profefe_agent_log_lines_lost_total", log_lost_lines(), NULL);
    if (view->gather == NULL)
        return;
    put_scrapes(out, view);
    put_last_success(out, view);
    put_pushes(out, view);
    put_spool(out, view);
}
