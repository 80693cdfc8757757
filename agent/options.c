#include "agent/options.h"

#include "common/base/duration.h"
#include "common/base/span.h"
#include "common/values/spool_size.h"

#include <stdio.h>
#include <string.h>

static const struct program program = {
    .name = "profefe-agent", .noun = "agent", .user_agent = "profefe-agent/" PROFEFE_VERSION};

/* A setting without which there is nothing to do. */
static int require(const struct settings *settings, enum setting_id id, const char *flag, struct err *err)
{
    if (settings_is_set(settings, id))
        return 0;
    return err_set(err, EINVAL, "%s is not set: expected %s, env %s or INI [agent] %s", settings_table[id].name, flag,
                   settings_table[id].env, settings_table[id].name);
}

static int resolve_targets(const struct settings *settings, struct options *options, struct err *err)
{
    int rc = require(settings, SETTING_TARGETS, "--target http://HOST:PORT/debug/pprof", err);
    if (rc < 0)
        return rc;
    return targets_parse(span_of(settings_get(settings, SETTING_TARGETS)), &options->gather.targets, err);
}

static int64_t grace_ms(const struct settings *settings)
{
    return settings_is_set(settings, SETTING_GRACE) ? (int64_t)settings_get_whole(settings, SETTING_GRACE) * 1000 : -1;
}

static int resolve_types(const struct settings *settings, struct options *options, struct warnings *warnings,
                         struct err *err)
{
    const struct profile_types_defaults defaults = {
        .interval_ms = settings_get_ms(settings, SETTING_INTERVAL),
        .cpu_seconds_ms = (int64_t)settings_get_whole(settings, SETTING_CPU_SECONDS) * 1000,
        .grace_ms = grace_ms(settings),
    };
    int rc = profile_types_parse(span_of(settings_get(settings, SETTING_TYPES)), &defaults, &options->gather.types,
                                 warnings, err);
    return rc < 0 ? err_wrap(err, rc, "types") : 0;
}

static int add_identity(const struct settings *settings, struct labels *labels, struct err *err)
{
    static const struct {
        const char *key;
        enum setting_id id;
    } identity[] = {
        {"namespace", SETTING_POD_NAMESPACE},
        {"pod", SETTING_POD_NAME},
        {"node", SETTING_NODE_NAME},
        {"container", SETTING_CONTAINER},
    };
    for (size_t i = 0; i < sizeof(identity) / sizeof(identity[0]); i++) {
        const char *value = settings_get(settings, identity[i].id);
        int rc = value != NULL ? labels_add(labels, span_of(identity[i].key), span_of(value), err) : 0;
        if (rc < 0)
            return err_wrap(err, rc, "%s", settings_table[identity[i].id].name);
    }
    return labels_add(labels, span_of("from"), span_of(program.name), err);
}

static int resolve_labels(const struct settings *settings, struct options *options, struct warnings *warnings,
                          struct err *err)
{
    int rc = add_identity(settings, &options->gather.labels, err);
    const char *user = settings_get(settings, SETTING_LABELS);
    if (rc == 0 && user != NULL)
        rc = labels_add_list(&options->gather.labels, span_of(user), program.name, warnings, err);
    return rc < 0 ? err_wrap(err, rc, "labels") : 0;
}

static int64_t stop_deadline(const struct settings *settings)
{
    int64_t deadline = settings_get_ms(settings, SETTING_STOP_DEADLINE);
    int64_t grace = grace_ms(settings);
    if (grace < 0 || deadline <= grace - OPTIONS_STOP_MARGIN_MS)
        return deadline;
    return grace > OPTIONS_STOP_MARGIN_MS ? grace - OPTIONS_STOP_MARGIN_MS : 0;
}

/* Pages of the memory spool count against the container, and past its limit comes SIGKILL. */
static uint64_t memory_budget(uint64_t wanted, uint64_t memory_limit)
{
    if (memory_limit == 0 || wanted <= memory_limit / 2)
        return wanted;
    return memory_limit / 2 > SPOOL_BUDGET_MIN ? memory_limit / 2 : SPOOL_BUDGET_MIN;
}

/* A directory has the budget it was given, of which one profile may take half. */
static void resolve_spool(const struct settings *settings, uint64_t memory_limit, struct options *options)
{
    uint64_t budget = settings_get_whole(settings, SETTING_SPOOL_BYTES);
    uint64_t small = budget < SPOOL_BUDGET_DEFAULT ? budget : SPOOL_BUDGET_DEFAULT;
    options->spool_dir = settings_get(settings, SETTING_SPOOL_DIR);
    options->stand_in_bytes = memory_budget(small, memory_limit);
    options->gather.spool_age_ms = settings_get_ms(settings, SETTING_SPOOL_AGE);
    options->gather.spool_bytes = options->spool_dir == NULL ? memory_budget(budget, memory_limit) : budget;
    options->gather.profile_max = options->spool_dir == NULL ? options->gather.spool_bytes : spool_profile_max(budget);
}

static void resolve_plain(const struct settings *settings, const char *host, struct options *options)
{
    const char *pod = settings_get(settings, SETTING_POD_NAME);
    const char *uid = settings_get(settings, SETTING_POD_UID);
    snprintf(options->gather.instance, sizeof(options->gather.instance), "%s", pod != NULL ? pod : host);
    options->gather.target_insecure = settings_get_bool(settings, SETTING_TARGET_INSECURE);
    options->gather.target_ca = settings_get(settings, SETTING_TARGET_CA);
    options->gather.collector = settings_get(settings, SETTING_COLLECTOR);
    options->gather.output_dir = settings_get(settings, SETTING_OUTPUT_DIR);
    options->secret_dir = settings_get(settings, SETTING_SECRET_DIR);
    options->pod_ip = settings_get(settings, SETTING_POD_IP);
    options->gather.service = settings_get(settings, SETTING_SERVICE);
    options->gather.seed = uid != NULL ? uid : pod != NULL ? pod : host;
    options->gather.sample_labels = settings_get_bool(settings, SETTING_SAMPLE_LABELS);
    options->gather.interval_ms = settings_get_ms(settings, SETTING_INTERVAL);
    options->gather.sampling = settings_get_percent(settings, SETTING_SAMPLING);
    options->gather.first_within_ms = settings_get_ms(settings, SETTING_FIRST_WITHIN);
    options->gather.missing_retry_ms = settings_get_ms(settings, SETTING_MISSING_RETRY);
    options->stop_deadline_ms = stop_deadline(settings);
    options->stop_profiles = settings_get_bool(settings, SETTING_STOP_PROFILES);
    options->gather.retry_min_ms = settings_get_ms(settings, SETTING_RETRY_MIN);
    options->gather.retry_max_ms = settings_get_ms(settings, SETTING_RETRY_MAX);
    options->gather.scrape_timeout_ms = settings_get_ms(settings, SETTING_SCRAPE_TIMEOUT);
    options->gather.connect_timeout_ms = settings_get_ms(settings, SETTING_CONNECT_TIMEOUT);
    options->gather.push_timeout_ms = settings_get_ms(settings, SETTING_PUSH_TIMEOUT);
}

static int check_destination(const struct settings *settings, struct err *err)
{
    if (!settings_is_set(settings, SETTING_OUTPUT_DIR))
        return require(settings, SETTING_COLLECTOR, "--collector http://HOST:10100", err);
    if (!settings_is_set(settings, SETTING_COLLECTOR))
        return 0;
    return err_set(err, EINVAL, "expected either collector or output-dir, got both: %s and %s",
                   settings_get(settings, SETTING_COLLECTOR), settings_get(settings, SETTING_OUTPUT_DIR));
}

static int check_retry(const struct options *options, struct err *err)
{
    struct duration_text min, max;
    if (options->gather.retry_min_ms <= options->gather.retry_max_ms)
        return 0;
    return err_set(err, EINVAL, "retry-min: expected at most retry-max (%s), got %s",
                   duration_format(&max, options->gather.retry_max_ms),
                   duration_format(&min, options->gather.retry_min_ms));
}

int options_resolve(const struct settings *settings, const char *host, uint64_t memory_limit, struct options *ret,
                    struct warnings *warnings, struct err *err)
{
    *ret = (struct options){.gather.program = &program};
    resolve_plain(settings, host, ret);
    resolve_spool(settings, memory_limit, ret);
    int rc = resolve_targets(settings, ret, err);
    if (rc == 0)
        rc = check_destination(settings, err);
    if (rc == 0)
        rc = require(settings, SETTING_SERVICE, "--service NAME", err);
    if (rc == 0)
        rc = resolve_types(settings, ret, warnings, err);
    if (rc == 0)
        rc = resolve_labels(settings, ret, warnings, err);
    if (rc == 0)
        rc = check_retry(ret, err);
    return rc;
}

const char *options_listen(const struct settings *settings)
{
    const char *listen = settings_get(settings, SETTING_LISTEN);
    return strcmp(listen, "none") != 0 ? listen : NULL;
}

const char *options_destination(const struct options *options)
{
    return options->gather.output_dir != NULL ? options->gather.output_dir : options->gather.collector;
}
