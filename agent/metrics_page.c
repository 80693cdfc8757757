#include "agent/metrics_page.h"

#include "common/gather/account.h"
#include "common/os/log.h"
#include "common/os/metrics.h"

/* Sums over targets: one series for each type and result that occurred, so that a page stays short. */
static uint64_t count_scrapes(const struct view *view, const struct profile_type *type, unsigned result)
{
    const struct taker_job *state;
    const struct plan_job *job;
    uint64_t sum = 0;
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++) {
        if (job->type == type)
            sum += state->results[result];
    }
    return sum;
}

static void put_scrapes(struct buf *out, const struct view *view)
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

static void put_last_success(struct buf *out, const struct view *view)
{
    static const char name[] = "profefe_agent_last_scrape_timestamp_seconds";
    const struct taker_job *state;
    const struct plan_job *job;
    metrics_family(out, name, "gauge", "Unix time of the last profile taken, by target and type; 0 = never.");
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++)
        metrics_sample(out, name, (uint64_t)(state->last_ok_wall_ms / 1000), "target", view_target(view, job)->name,
                       "type", job->type->name, NULL);
}

static void put_pushes(struct buf *out, const struct view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    metrics_family(out, "profefe_agent_pushes_total", "counter", "Pushes to profefe by result.");
    for (unsigned r = 0; r < DELIVERY_RESULT_COUNT; r++)
        metrics_sample(out, "profefe_agent_pushes_total", push->results[r], "result", delivery_result_names[r], NULL);
    metrics_family(out, "profefe_agent_relabel_skipped_total", "counter",
                   "Profiles pushed without labels in their samples, or with a time that nobody looked at, by reason.");
    for (unsigned r = RELABEL_DONE + 1; r < RELABEL_RESULT_COUNT; r++)
        metrics_sample(out, "profefe_agent_relabel_skipped_total", push->unlabelled[r], "reason",
                       relabel_result_names[r], NULL);
    metrics_family(out, "profefe_agent_renamed_labels_total", "counter",
                   "Profiles stored with a label as profefe_KEY, since samples had the key KEY already.");
    metrics_sample(out, "profefe_agent_renamed_labels_total", push->labels_renamed, NULL);
    metrics_family(out, "profefe_agent_replaced_times_total", "counter",
                   "Profiles stored under the time when they were taken in place of their own, which was far from it.");
    metrics_sample(out, "profefe_agent_replaced_times_total", push->times_replaced, NULL);
    metrics_family(out, "profefe_agent_unchecked_files_total", "counter",
                   "Files written though the profile's ids were too large, or memory too short, to check them.");
    metrics_sample(out, "profefe_agent_unchecked_files_total", push->unchecked, NULL);
    metrics_family(out, "profefe_agent_pushed_bytes_total", "counter", "Bytes of stored profiles.");
    metrics_sample(out, "profefe_agent_pushed_bytes_total", push->stored_bytes, NULL);
    metrics_family(out, "profefe_agent_last_push_timestamp_seconds", "gauge",
                   "Unix time of the last stored profile; 0 = never.");
    metrics_sample(out, "profefe_agent_last_push_timestamp_seconds", (uint64_t)(push->last_stored_wall_ms / 1000),
                   NULL);
}

static void put_spool(struct buf *out, const struct view *view)
{
    const struct spool_stats *spool = spool_get_stats(view->spooling->spool);
    struct account account;
    spooling_read_account(view->spooling, push_get_stats(view->push), &account);
    metrics_family(out, "profefe_agent_taken_profiles_total", "counter",
                   "Profiles that reached the spool, found in it at the start or lost on the way into it included: "
                   "equals pushes with result stored or found, dropped profiles and spool profiles together.");
    metrics_sample(out, "profefe_agent_taken_profiles_total", account.taken, NULL);
    metrics_family(out, "profefe_agent_spool_bytes", "gauge", "Bytes of profiles that wait, are taken or are sent.");
    metrics_sample(out, "profefe_agent_spool_bytes", spooling_bytes(view->spooling), NULL);
    metrics_family(out, "profefe_agent_spool_limit_bytes", "gauge", "The spool's budget.");
    metrics_sample(out, "profefe_agent_spool_limit_bytes", spool->budget_bytes, NULL);
    metrics_family(out, "profefe_agent_spool_directory_closed", "gauge",
                   "1 while the spool directory cannot be opened and profiles wait in memory.");
    metrics_sample(out, "profefe_agent_spool_directory_closed", view->spooling->directory.failures > 0 ? 1 : 0, NULL);
    metrics_family(out, "profefe_agent_spool_profiles", "gauge", "Profiles that wait or are sent.");
    metrics_sample(out, "profefe_agent_spool_profiles", account.waiting, NULL);
    metrics_family(out, "profefe_agent_dropped_profiles_total", "counter", "Profiles taken and lost, by reason.");
    for (unsigned i = 0; i < account.drop_count; i++)
        metrics_sample(out, "profefe_agent_dropped_profiles_total", account.drops[i].profiles, "reason",
                       account.drops[i].reason, NULL);
}

void metrics_page_write(struct buf *out, const struct view *view)
{
    metrics_build_info(out, "profefe_agent");
    metrics_family(out, "profefe_agent_start_timestamp_seconds", "gauge", "Unix time of the start.");
    metrics_sample(out, "profefe_agent_start_timestamp_seconds", (uint64_t)(view->started_wall_ms / 1000), NULL);
    metrics_family(out, "profefe_agent_idle", "gauge", "1 while a wrong setting keeps the agent from profiling.");
    metrics_sample(out, "profefe_agent_idle", view->problems->count > 0 ? 1 : 0, NULL);
    metrics_family(out, "profefe_agent_start_failing", "gauge",
                   "1 while something that may pass keeps the agent from profiling; it is tried again.");
    metrics_sample(out, "profefe_agent_start_failing", view->start->failures > 0 ? 1 : 0, NULL);
    metrics_family(out, "profefe_agent_setting_problems", "gauge", "Settings that are wrong; /status names them.");
    metrics_sample(out, "profefe_agent_setting_problems", view->problems->count, NULL);
    metrics_family(out, "profefe_agent_log_lines_lost_total", "counter", "Log lines that could not be written.");
    metrics_sample(out, "profefe_agent_log_lines_lost_total", log_lost_lines(), NULL);
    if (view->taker == NULL)
        return;
    put_scrapes(out, view);
    put_last_success(out, view);
    put_pushes(out, view);
    put_spool(out, view);
}
