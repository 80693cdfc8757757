#include "agent/status_json.h"

#include "common/base/json_text.h"
#include "common/base/version.h"
#include "common/gather/account.h"

/* A monotonic time of the view as Unix time; 0 stays "never". */
static int64_t to_wall(const struct view *view, int64_t monotonic_ms)
{
    return monotonic_ms != 0 ? view->wall_ms - (view->now_ms - monotonic_ms) : 0;
}

static const char *or_null(const char *words)
{
    return words[0] != '\0' ? words : NULL;
}

static void put_list(struct json_text *json, const char *key, const struct warnings *list)
{
    json_text_open(json, key, '[');
    for (unsigned i = 0; i < warnings_shown(list); i++)
        json_text_string(json, NULL, warnings_text(list, i));
    json_text_close(json, ']');
}

static void put_attempt(struct json_text *json, const char *since, const char *words, const struct view *view,
                        const struct attempt *attempt)
{
    json_text_time(json, since, to_wall(view, attempt->failing_since_ms));
    json_text_string(json, words, or_null(attempt->words));
}

static void put_head(struct json_text *json, const struct view *view)
{
    json_text_string(json, "version", version_text());
    json_text_time(json, "started", view->started_wall_ms);
    json_text_bool(json, "idle", view->problems->count > 0);
    put_list(json, "problems", view->problems);
    put_list(json, "warnings", view->warnings);
    put_attempt(json, "start_failing_since", "start_error", view, view->start);
}

static void put_identity(struct json_text *json, const struct options *options)
{
    json_text_string(json, "service", options->gather.service);
    json_text_string(json, "instance", options->gather.instance);
    json_text_string(json, "pod_ip", options->pod_ip);
    json_text_open(json, "labels", '{');
    for (unsigned i = 0; i < options->gather.labels.count; i++) {
        json_text_key(json, options->gather.labels.items[i].key);
        json_text_string(json, NULL, options->gather.labels.items[i].value);
    }
    json_text_close(json, '}');
    if (options->gather.output_dir != NULL)
        json_text_string(json, "output_dir", options->gather.output_dir);
    else
        json_text_string(json, "collector", options->gather.collector);
}

static void put_counts(struct json_text *json, const char *key, const uint64_t *counts, const char *const *names,
                       unsigned count)
{
    json_text_open(json, key, '{');
    for (unsigned r = 0; r < count; r++) {
        if (counts[r] > 0)
            json_text_number(json, names[r], counts[r]);
    }
    json_text_close(json, '}');
}

static void put_job(struct json_text *json, const struct view *view, const struct plan_job *job,
                    const struct taker_job *state)
{
    json_text_open(json, NULL, '{');
    json_text_string(json, "type", job->type->name);
    json_text_seconds(json, "every_seconds", job->type->every_ms);
    if (job->seconds_ms > 0)
        json_text_seconds(json, "seconds", job->seconds_ms);
    json_text_time(json, "last_success", state->last_ok_wall_ms);
    json_text_string(json, "last_result", state->ran ? scrape_result_names[state->last] : NULL);
    json_text_string(json, "last_error", or_null(state->words));
    json_text_time(json, "none_since", to_wall(view, state->without_since_ms));
    json_text_number(json, "failures", state->failures);
    put_counts(json, "results", state->results, scrape_result_names, SCRAPE_RESULT_COUNT);
    json_text_bool(json, "running", taker_running(view->taker) == job);
    if (job->due_ms != plan_never_ms)
        json_text_seconds(json, "next_seconds", job->due_ms > view->now_ms ? job->due_ms - view->now_ms : 0);
    json_text_close(json, '}');
}

static void put_target(struct json_text *json, const struct view *view, unsigned t)
{
    const struct taker_job *state;
    const struct plan_job *job;
    json_text_open(json, NULL, '{');
    json_text_string(json, "name", view->options->gather.targets.items[t].name);
    json_text_string(json, "url", view->options->gather.targets.items[t].url);
    json_text_open(json, "types", '[');
    for (unsigned i = 0; (job = taker_job_at(view->taker, i, &state)) != NULL; i++) {
        if (job->target == t)
            put_job(json, view, job, state);
    }
    json_text_close(json, ']');
    json_text_close(json, '}');
}

static void put_spool(struct json_text *json, const struct view *view)
{
    const struct spool_stats *spool = spool_get_stats(view->spooling->spool);
    const struct attempt *directory = &view->spooling->directory;
    struct account account;
    spooling_read_account(view->spooling, push_get_stats(view->push), &account);
    json_text_open(json, "spool", '{');
    json_text_string(json, "directory", view->options->spool_dir);
    json_text_number(json, "profiles", account.waiting);
    json_text_number(json, "bytes", spooling_bytes(view->spooling));
    json_text_number(json, "limit_bytes", spool->budget_bytes);
    json_text_number(json, "taken", account.taken);
    put_attempt(json, "in_memory_since", "directory_error", view, directory);
    json_text_open(json, "dropped", '{');
    for (unsigned i = 0; i < account.drop_count; i++)
        json_text_number(json, account.drops[i].reason, account.drops[i].profiles);
    json_text_close(json, '}');
    json_text_close(json, '}');
}

static void put_push(struct json_text *json, const struct view *view)
{
    const struct push_stats *push = push_get_stats(view->push);
    json_text_open(json, "push", '{');
    put_counts(json, "results", push->results, delivery_result_names, DELIVERY_RESULT_COUNT);
    json_text_number(json, "stored_bytes", push->stored_bytes);
    json_text_time(json, "last_stored", push->last_stored_wall_ms);
    json_text_number(json, "failures", push->failures);
    json_text_time(json, "failing_since", to_wall(view, push->failing_since_ms));
    json_text_string(json, "last_error", or_null(push->last_error));
    json_text_close(json, '}');
}

void status_json_write(struct buf *out, const struct view *view)
{
    struct json_text json;
    json_text_begin(&json, out, JSON_TEXT_DELETE);
    json_text_open(&json, NULL, '{');
    put_head(&json, view);
    if (view->taker != NULL) {
        put_identity(&json, view->options);
        json_text_open(&json, "targets", '[');
        for (unsigned t = 0; t < view->options->gather.targets.count; t++)
            put_target(&json, view, t);
        json_text_close(&json, ']');
        put_spool(&json, view);
        put_push(&json, view);
    }
    json_text_close(&json, '}');
    buf_putc(out, '\n');
}
