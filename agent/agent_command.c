#include "agent/agent_command.h"

#include "common/base/boolean.h"
#include "common/base/duration.h"
#include "common/base/name.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/settings/settings_help.h"
#include "common/settings/settings_flag.h"
#include "common/settings/settings_ini.h"
#include "common/settings/settings_env.h"

#include <string.h>

static void add_problem(void *ctx, const struct err *err)
{
    warnings_add(ctx, "%s", err->text);
}

/* A sidecar whose PROFEFE_AGENT_SIDECAR holds garbage, or that has no memory to keep it, is still a sidecar: only a word
 * for false says otherwise. */
static bool is_sidecar(const struct settings *settings, char *const *env)
{
    const struct settings_value *value = &settings->values[SETTING_SIDECAR];
    const char *text = settings_env_value(env, settings_table[SETTING_SIDECAR].env);
    bool by_flag = value->text != NULL && value->origin == SETTING_FROM_FLAG, sidecar = true;
    if (by_flag || text == NULL)
        return settings_get_bool(settings, SETTING_SIDECAR);
    boolean_parse(span_trim(span_of(text)), &sidecar, NULL);
    return sidecar;
}

static void read_timeout(struct agent_command *command, const char *text)
{
    struct err err;
    int rc = duration_parse(span_of(text), 1000, 3600 * 1000, &command->timeout_ms, &err);
    if (rc < 0)
        warnings_add(&command->problems, "--timeout: %s", err.text);
}

/* Switches and the two values that are no settings. Returns false when arg is none of them. */
static bool take_own(struct agent_command *command, int argc, char *const *argv, int *index, const char **config)
{
    const char *arg = argv[*index];
    const struct {
        const char *name;
        bool *flag;
    } switches[] = {
        {"--help", &command->help}, {"-h", &command->help}, {"--version", &command->version},
        {"--check", &command->check}, {"--once", &command->once},
    };
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        if (strcmp(arg, switches[i].name) == 0) {
            *switches[i].flag = true;
            return true;
        }
    }
    bool is_config = span_has_prefix(span_of(arg), "--config"), is_timeout = span_has_prefix(span_of(arg), "--timeout");
    size_t len = is_config ? strlen("--config") : strlen("--timeout");
    if ((!is_config && !is_timeout) || (arg[len] != '\0' && arg[len] != '='))
        return false;
    const char *value = arg[len] == '=' ? arg + len + 1 : *index + 1 < argc ? argv[++*index] : NULL;
    if (value == NULL)
        warnings_add(&command->problems, "%s: expected a value after it", arg);
    else if (is_config)
        *config = value;
    else
        read_timeout(command, value);
    return true;
}

/* The most similar of our own options and the settings; settings win a tie. */
static const char *near_option(struct span name)
{
    static const char *const own[] = {"help", "version", "check", "once", "config", "timeout"};
    const char *near = settings_table_near_miss(name, SETTING_AGENT);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        unsigned distance = name_distance(name, own[i]);
        if (distance <= 2 && (near == NULL || distance < name_distance(name, near)))
            near = own[i];
    }
    return near;
}

static void unknown_option(struct agent_command *command, const char *arg)
{
    struct quoted q;
    const char *name = span_has_prefix(span_of(arg), "--") ? arg + 2 : arg;
    const char *near = near_option((struct span){name, strcspn(name, "=")});
    if (near != NULL && name != arg)
        warnings_add(&command->problems, "unknown option %s, did you mean --%s?", quote_text(&q, arg), near);
    else
        warnings_add(&command->problems, "unknown option %s; --help lists them", quote_text(&q, arg));
}

static const char *read_flags(struct agent_command *command, int argc, char *const *argv)
{
    const char *config = NULL;
    for (int i = 1; i < argc; i++) {
        struct err err;
        if (take_own(command, argc, argv, &i, &config))
            continue;
        int rc = settings_flag_read(&command->settings, SETTING_AGENT, argc, argv, &i, &err);
        if (rc < 0)
            add_problem(&command->problems, &err);
        else if (rc == 0)
            unknown_option(command, argv[i]);
    }
    return config;
}

void agent_command_read(struct agent_command *command, int argc, char *const *argv, char *const *env)
{
    *command = (struct agent_command){.timeout_ms = AGENT_COMMAND_ONCE_TIMEOUT_MS};
    settings_init(&command->settings);
    const char *config = read_flags(command, argc, argv);
    settings_env_read(&command->settings, SETTING_AGENT, env, add_problem, &command->problems);
    struct err err;
    if (config != NULL && settings_ini_read(&command->settings, config, SETTING_AGENT, NULL, &err) < 0)
        add_problem(&command->problems, &err);
    command->sidecar = is_sidecar(&command->settings, env);
}

void agent_command_done(struct agent_command *command)
{
    settings_done(&command->settings);
}

int agent_command_write_help(struct buf *out)
{
    buf_puts(out, "Usage: profefe-agent [OPTION]...\n"
                  "Scrapes Go pprof servers and pushes each profile to profefe.\n\n"
                  "  profefe-agent --once --target http://127.0.0.1:6060/debug/pprof \\\n"
                  "      --collector http://127.0.0.1:10100 --service web\n\n"
                  "  --config FILE\n      INI file with a section [agent]\n"
                  "  --once\n      take each type once, push, and leave: 0 when all of it was stored or empty, else 1\n"
                  "  --timeout DURATION\n      of --once, in all (default 2m)\n"
                  "  --check\n      check the settings and leave\n"
                  "  --version\n      print the version and those of the libraries\n"
                  "  --help\n      print this\n\n"
                  "Settings, in the order flag, environment, INI file, default:\n\n");
    return settings_help_write_flags(out, SETTING_AGENT);
}
