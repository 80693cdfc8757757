#include "webhook/webhook_command.h"

#include "common/pod/limits.h"
#include "common/base/quote.h"
#include "common/settings/settings_help.h"
#include "common/settings/settings_flag.h"
#include "common/settings/settings_env.h"

#include <string.h>

/* The options that are no settings; exactly one of flag and value is set. */
struct option {
    const char *name;
    bool *flag;
    const char **value;
};

static const struct option *find_option(const struct option *options, const char *arg)
{
    for (; options->name != NULL; options++) {
        size_t len = strlen(options->name);
        if (strncmp(arg, options->name, len) != 0)
            continue;
        bool with_value = options->value != NULL && arg[len] == '=';
        if (arg[len] == '\0' || with_value)
            return options;
    }
    return NULL;
}

static int take_option(const struct option *option, int argc, char *const *argv, int *index, struct err *err)
{
    const char *inline_value = strchr(argv[*index], '=');
    if (option->flag != NULL) {
        *option->flag = true;
        return 0;
    }
    if (inline_value == NULL && *index + 1 >= argc)
        return err_set(err, EINVAL, "%s: expected a value after it", option->name);
    *option->value = inline_value != NULL ? inline_value + 1 : argv[++*index];
    return 0;
}

static int unknown_option(const char *arg, struct err *err)
{
    struct quoted q;
    return err_set(err, EINVAL, "unknown option %s; --help lists them", quote_text(&q, arg));
}

static int read_flags(struct webhook_command *command, int argc, char *const *argv, struct err *err)
{
    const struct option options[] = {
        {"--help", &command->help, NULL},       {"-h", &command->help, NULL},
        {"--version", &command->version, NULL}, {"--check", &command->check, NULL},
        {"--all", &command->all, NULL},         {"--review", NULL, &command->review},
        {"--config", NULL, &command->config},   {"--namespace", NULL, &command->namespace_name},
        {NULL, NULL, NULL},
    };
    for (int i = 1; i < argc; i++) {
        const struct option *option = find_option(options, argv[i]);
        int rc = option != NULL ? take_option(option, argc, argv, &i, err)
                                : settings_flag_read(&command->base, SETTING_WEBHOOK, argc, argv, &i, err);
        if (rc < 0)
            return rc;
        if (option == NULL && rc == 0)
            return unknown_option(argv[i], err);
    }
    return 0;
}

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

int webhook_command_read(struct webhook_command *command, int argc, char *const *argv, char *const *env, struct err *err)
{
    *command = (struct webhook_command){.namespace_name = "default"};
    settings_init(&command->base);
    int rc = read_flags(command, argc, argv, err);
    if (rc < 0)
        return rc;
    struct first_error first = {.err = err};
    if (settings_env_read(&command->base, SETTING_WEBHOOK, env, keep_first, &first) > 0)
        return -err->code;
    return 0;
}

void webhook_command_done(struct webhook_command *command)
{
    settings_done(&command->base);
}

int webhook_command_write_help(struct buf *out)
{
    buf_puts(out, "Usage: profefe-webhook --config FILE [OPTION]...\n"
                  "       profefe-webhook --review FILE|- [--all] [--namespace NS] [--config FILE]\n"
                  "Answers AdmissionReviews: adds the profefe-agent sidecar to annotated pods.\n\n"
                  "  --config FILE\n      INI file with sections [server], [inject], [defaults] and [limits], read again\n"
                  "      when it changes\n"
                  "  --check\n      check the configuration and the certificate, and leave: 0 when all is good\n"
                  "  --review FILE\n      answer one AdmissionReview, or a bare Pod as JSON, on stdout and leave;\n"
                  "      \"-\" reads stdin; exit 0 also when skipped, 1 denied, 2 unreadable\n"
                  "  --all\n      with --review: answer as /mutate/all does\n"
                  "  --namespace NS\n      with --review: namespace of a bare Pod that names none (default default)\n"
                  "  --version\n      print the version and those of the libraries\n"
                  "  --help\n      print this\n\n"
                  "Settings of the server, in the order flag, environment, INI file, default:\n\n");
    settings_help_write_flags(out, SETTING_WEBHOOK);
    buf_puts(out, "\nWhat is injected, in section [inject] of the INI file:\n\n");
    settings_help_write_section(out, SETTING_WEBHOOK, "inject");
    buf_puts(out, "\nDefaults for what pods may say by annotation, in section [defaults]:\n\n");
    settings_help_write_section(out, SETTING_WEBHOOK, "defaults");
    buf_puts(out, "\nWhat pods may set them to, in section [limits]; LOW or HIGH may be empty, fixed = not at all:\n\n");
    return limits_write_help(out);
}
