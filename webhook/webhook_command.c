#include "webhook/webhook_command.h"

#include "common/pod/limits.h"
#include "common/settings/command_line.h"
#include "common/settings/settings_env.h"
#include "common/settings/settings_help.h"

#define TO(member) COMMAND_LINE_TO(struct webhook_command, member)

static const struct command_line_option options[] = {
    {"config", TO(config), .argument = "FILE",
     .help = "INI file with sections [server], [inject], [defaults] and [limits], read again\nwhen it changes"},
    {"check", TO(check), .help = "check the configuration and the certificate, and leave: 0 when all is good"},
    {"review", TO(review), .argument = "FILE",
     .help = "answer an AdmissionReview, a Pod, a workload (Deployment, ReplicaSet, StatefulSet,\n"
             "DaemonSet, Job, CronJob: for its pods) or a List of them, as JSON, on stdout, one\n"
             "reply a line, and leave; \"-\" reads stdin; exit 0 also when skipped, 1 denied,\n"
             "2 unreadable"},
    {"all", TO(all), .help = "with --review: answer as /mutate/all does"},
    {"namespace", TO(namespace_name), .argument = "NS", .default_text = "default",
     .help = "with --review: namespace of what names none"},
    {"version", TO(version), .help = "print the version and those of the libraries"},
    {"help", TO(help), .letter = 'h', .help = "print this"},
    {.name = NULL},
};

static const struct command_line line = {.options = options, .where = SETTING_WEBHOOK};

struct first_error {
    struct err *err;
    bool set;
};

static void keep_first(void *ctx, const struct err *err)
{
    struct first_error *first = ctx;
    if (!first->set)
        *first->err = *err;
    first->set = true;
}

int webhook_command_read(struct webhook_command *command, int argc, char *const *argv, char *const *env,
                         struct err *err)
{
    struct first_error first = {.err = err};
    const struct command_line_target target = {
        .into = command, .settings = &command->base, .bad = keep_first, .ctx = &first};
    *command = (struct webhook_command){0};
    command_line_read(&line, argc, argv, &target);
    settings_env_read(&command->base, SETTING_WEBHOOK, env, keep_first, &first);
    return first.set ? -err->code : 0;
}

void webhook_command_done(struct webhook_command *command)
{
    settings_done(&command->base);
}

int webhook_command_write_help(struct buf *out)
{
    buf_puts(out, "Usage: profefe-webhook --config FILE [OPTION]...\n"
                  "       profefe-webhook --review FILE|- [--all] [--namespace NS] [--config FILE]\n"
                  "Answers AdmissionReviews: adds the profefe-agent sidecar to annotated pods.\n\n");
    command_line_write_options(out, &line);
    buf_puts(out, "\nSettings of the server, in the order flag, environment, INI file, default:\n\n");
    settings_help_write_flags(out, SETTING_WEBHOOK);
    buf_puts(out, "\nWhat is injected, in section [inject] of the INI file:\n\n");
    settings_help_write_section(out, SETTING_WEBHOOK, "inject");
    buf_puts(out, "\nDefaults for what pods may say by annotation, in section [defaults]:\n\n");
    settings_help_write_section(out, SETTING_WEBHOOK, "defaults");
    buf_puts(out, "\nWhat pods may set them to, in section [limits]; LOW or HIGH may be empty, a PREFIX counts\n"
                  "in whole names, fixed = not at all:\n\n");
    return limits_write_help(out);
}
