#include "agent/agent_command.h"

#include "common/base/boolean.h"
#include "common/base/span.h"
#include "common/settings/command_line.h"
#include "common/settings/settings_env.h"
#include "common/settings/settings_help.h"
#include "common/settings/settings_ini.h"

enum {
    SECOND_MS = 1000,
    HOUR_MS = 3600 * SECOND_MS,
};

#define TO(member) COMMAND_LINE_TO(struct agent_command, member)

static const struct command_line_option options[] = {
    {"config", TO(config), .argument = "FILE", .help = "INI file with a section [agent]"},
    {"once", TO(once), .help = "take each type once, push, and leave: 0 when all of it was stored or empty, else 1"},
    {"timeout", TO(timeout_ms), .argument = "DURATION", .min = SECOND_MS, .max = HOUR_MS, .default_text = "2m",
     .help = "of --once, in all"},
    {"check", TO(check), .help = "check the settings and leave"},
    {"version", TO(version), .help = "print the version and those of the libraries"},
    {"help", TO(help), .letter = 'h', .help = "print this"},
    {.name = NULL},
};

static const struct command_line line = {.options = options, .where = SETTING_AGENT};

static void add_problem(void *ctx, const struct err *err)
{
    warnings_add(ctx, "%s", err->text);
}

/* A sidecar whose PROFEFE_AGENT_SIDECAR holds garbage, or that has no memory to keep it, is still a sidecar: only a
 * word for false says otherwise. */
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

void agent_command_read(struct agent_command *command, int argc, char *const *argv, char *const *env)
{
    struct settings *settings = &command->settings;
    const struct command_line_target target = {
        .into = command, .settings = settings, .bad = add_problem, .ctx = &command->problems};
    struct err err;
    *command = (struct agent_command){0};
    command_line_read(&line, argc, argv, &target);
    settings_env_read(settings, SETTING_AGENT, env, add_problem, &command->problems);
    if (command->config != NULL && settings_ini_read(settings, command->config, SETTING_AGENT, NULL, &err) < 0)
        add_problem(&command->problems, &err);
    command->sidecar = is_sidecar(settings, env);
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
                  "      --collector http://127.0.0.1:10100 --service web\n\n");
    command_line_write_options(out, &line);
    buf_puts(out, "\nSettings, in the order flag, environment, INI file, default:\n\n");
    return settings_help_write_flags(out, SETTING_AGENT);
}
