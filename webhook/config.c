#include "webhook/config.h"

#include "common/base/cleanup.h"
#include "common/os/file.h"
#include "common/os/file_stamp.h"
#include "common/os/log.h"
#include "webhook/inject/inject.h"

#include <string.h>

struct config {
    struct loop *loop;
    const struct settings *base;
    const char *path;
    int64_t poll_ms;
    struct loop_timer poll;
    struct file_stamp stamp;
    struct policy policy; /* in use */
    struct settings running; /* as they were at the start: of [server] these stay */
    struct log_throttle refusing;
    struct config_stats stats;
};

int config_load(const struct settings *base, const char *path, struct policy *ret, struct err *err)
{
    int rc = settings_copy(&ret->settings, base, err);
    return rc == 0 && path != NULL ? policy_read(ret, path, err) : rc;
}

static int load(const struct config *config, struct policy *ret, struct warnings *warnings, struct err *err)
{
    int rc = config_load(config->base, config->path, ret, err);
    return rc == 0 ? inject_check_settings(&ret->settings, warnings, err) : rc;
}

void config_set_up_log(const struct settings *settings)
{
    enum log_level level = LOG_LEVEL_INFO;
    enum log_format format = LOG_FORMAT_LOGFMT;
    log_level_parse(settings_get(settings, SETTING_SERVER_LOG_LEVEL), &level, NULL);
    log_format_parse(settings_get(settings, SETTING_SERVER_LOG_FORMAT), &format, NULL);
    log_setup(level, format);
}

/* ---- taking a new one ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_fixed_at_start(enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    bool server = (setting->where & SETTING_WEBHOOK) != 0 && strcmp(setting->section, "server") == 0;
    return server && id != SETTING_SERVER_LOG_LEVEL && id != SETTING_SERVER_LOG_FORMAT;
}

/* Whoever has been told of a difference hears of it again when there is another one. */
static bool needs_a_restart(const struct config *config, const struct settings *after, enum setting_id id)
{
    const char *value = settings_get(after, id);
    return is_fixed_at_start(id) && !same_text(settings_get(&config->running, id), value) &&
           !same_text(settings_get(&config->policy.settings, id), value);
}

static void tell_what_needs_a_restart(const struct config *config, const struct settings *after)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (needs_a_restart(config, after, (enum setting_id)id))
            log_warn("a changed setting of [server] needs a restart to take effect",
                     LOG_STR("setting", settings_table[id].name));
    }
}

/* *policy is empty afterwards. */
static void take(struct config *config, struct policy *policy, const struct warnings *warnings)
{
    config_set_up_log(&policy->settings);
    tell_what_needs_a_restart(config, &policy->settings);
    policy_done(&config->policy);
    config->policy = *policy;
    *policy = (struct policy){0};
    config->stats.taken++;
    config->stats.last_taken = true;
    log_throttle_reset(&config->refusing);
    log_info("configuration taken", LOG_STR("file", config->path));
    for (unsigned i = 0; i < warnings_shown(warnings); i++)
        log_warn("configuration", LOG_STR("warning", warnings_text(warnings, i)));
}

/* What is wrong with the moment is met at each look. */
static void note_refused(struct config *config, int rc, const struct err *err)
{
    static const char msg[] = "new configuration not taken, the old one stays in use";
    if (file_failure_may_pass(rc))
        log_throttled(&config->refusing, loop_now_ms(config->loop), LOG_LEVEL_ERROR, msg, LOG_FIELDS(LOG_ERR(err)));
    else
        log_error(msg, LOG_ERR(err));
}

static void reload(struct config *config)
{
    CLEANUP(policy_done) struct policy policy = {0};
    struct warnings warnings = {0};
    struct err err;
    int rc = file_expect_regular(config->path, &err);
    if (rc == 0)
        rc = load(config, &policy, &warnings, &err);
    if (rc == 0) {
        take(config, &policy, &warnings);
        return;
    }
    config->stats.refused++;
    config->stats.last_taken = false;
    note_refused(config, rc, &err);
    if (file_failure_may_pass(rc))
        config->stamp = FILE_STAMP_NONE;
}

static bool has_changed(struct config *config)
{
    struct file_stamp now = file_stamp_of(config->path);
    bool changed = !file_stamp_equal(&now, &config->stamp);
    config->stamp = now;
    return changed;
}

void config_look(struct config *config)
{
    if (config->path == NULL)
        return;
    if (has_changed(config))
        reload(config);
    loop_timer_arm(&config->poll, config->poll_ms);
}

static void on_poll(void *ctx)
{
    config_look(ctx);
}

/* ---- from outside ---- */

int config_new(struct loop *loop, const struct settings *base, const char *path, int64_t poll_ms, struct config **ret,
               struct err *err)
{
    struct warnings told_at_start = {0};
    CLEANUP_CONFIG struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return err_set(err, ENOMEM, "no memory for the configuration");
    *config =
        (struct config){.loop = loop, .base = base, .path = path, .poll_ms = poll_ms, .stats = {.last_taken = true}};
    loop_timer_init(&config->poll, loop, on_poll, config);
    if (path != NULL)
        config->stamp = file_stamp_of(path);
    int rc = load(config, &config->policy, &told_at_start, err);
    if (rc == 0)
        rc = settings_copy(&config->running, &config->policy.settings, err);
    if (rc < 0)
        return rc;
    if (path != NULL)
        loop_timer_arm(&config->poll, poll_ms);
    *ret = TAKE_PTR(config);
    return 0;
}

struct config *config_free(struct config *config)
{
    if (config == NULL)
        return NULL;
    loop_timer_disarm(&config->poll);
    policy_done(&config->policy);
    settings_done(&config->running);
    free(config);
    return NULL;
}

const struct policy *config_policy(const struct config *config)
{
    return &config->policy;
}

const struct config_stats *config_get_stats(const struct config *config)
{
    return &config->stats;
}
