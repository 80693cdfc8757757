/* profefe-agent: see README.md. main only wires: command line, options, log, run. */
#include "agent/agent.h"
#include "agent/agent_command.h"
#include "agent/cgroup.h"
#include "common/base/cleanup.h"
#include "common/base/version.h"
#include "common/os/log.h"
#include "common/os/std_fds.h"

#include <curl/curl.h>
#include <limits.h>
#include <microhttpd.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    EXIT_USAGE = 2,
    RETRY_LOOP_S = 5,
};

static int print(int (*write_text)(struct buf *))
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, AGENT_COMMAND_HELP_MAX);
    int rc = write_text(&out);
    return rc < 0 || std_fds_print("profefe-agent", buf_text(&out)) < 0 ? 1 : 0;
}

static int write_version(struct buf *out)
{
    version_write(out, "profefe-agent");
    buf_printf(out, "libmicrohttpd %s\n%s\nzlib %s\n", MHD_get_version(), curl_version(), zlibVersion());
    return buf_error(out);
}

static void print_problems(const struct warnings *problems)
{
    for (unsigned i = 0; i < warnings_shown(problems); i++)
        std_fds_complain("profefe-agent", "%s", warnings_text(problems, i));
}

/* Of a daemon the log tells them. */
static void print_warnings(const struct warnings *warnings)
{
    for (unsigned i = 0; i < warnings_shown(warnings); i++)
        std_fds_complain("profefe-agent", "warning: %s", warnings_text(warnings, i));
}

static void set_up_log(const struct settings *settings)
{
    enum log_level level = LOG_LEVEL_INFO;
    enum log_format format = LOG_FORMAT_LOGFMT;
    const char *pod = settings_get(settings, SETTING_POD_NAME);
    const char *namespace = settings_get(settings, SETTING_POD_NAMESPACE);
    log_level_parse(settings_get(settings, SETTING_LOG_LEVEL), &level, NULL);
    log_format_parse(settings_get(settings, SETTING_LOG_FORMAT), &format, NULL);
    log_setup(level, format);
    if (pod != NULL && namespace != NULL)
        log_set_identity(LOG_FIELDS(LOG_STR("namespace", namespace), LOG_STR("pod", pod)));
}

/* A sidecar that could not even start its loop waits for a better moment: in native mode an exit would take the app
 * down. True: SIGTERM came first. */
static bool sigterm_comes_first(void)
{
    static const struct timespec moment = {.tv_sec = RETRY_LOOP_S};
    sigset_t all, wanted;
    sigfillset(&all);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &all, NULL);
    return sigtimedwait(&wanted, NULL, &moment) == SIGTERM;
}

static int run_daemon(struct agent_command *command, const struct options *options, const struct warnings *warnings)
{
    const struct agent_setup setup = {
        .options = command->problems.count == 0 ? options : NULL,
        .listen = options_listen(&command->settings),
        .problems = &command->problems,
        .warnings = warnings,
        .interval_ms = settings_get_ms(&command->settings, SETTING_INTERVAL),
        .sidecar = command->sidecar,
    };
    struct err err;
    while (agent_run(&setup, &err) < 0) {
        log_error("cannot run", LOG_ERR(&err));
        if (!command->sidecar)
            return 1;
        if (sigterm_comes_first())
            return 0;
    }
    return 0;
}

static int run_once(const struct agent_command *command, const struct options *options)
{
    struct err err;
    int rc = agent_run_once(options, command->timeout_ms, &err);
    if (rc < 0)
        std_fds_complain("profefe-agent", "%s", err.text);
    return rc < 0 ? 1 : rc;
}

static int run(struct agent_command *command)
{
    static struct options options;   /* tens of kilobytes: not for the stack */
    static struct warnings warnings;
    struct err err;
    char host[HOST_NAME_MAX + 1] = "localhost";
    if (command->help)
        return print(agent_command_write_help);
    if (command->version)
        return print(write_version);
    gethostname(host, sizeof(host) - 1);
    set_up_log(&command->settings);
    uint64_t limit = cgroup_memory_limit("/sys/fs/cgroup");
    /* What was refused would only be missed again. */
    if (command->problems.count == 0 && options_resolve(&command->settings, host, limit, &options, &warnings, &err) < 0)
        warnings_add(&command->problems, "%s", err.text);
    if (command->problems.count > 0 && (!command->sidecar || command->check || command->once)) {
        print_problems(&command->problems);
        return EXIT_USAGE;
    }
    if (command->check || command->once)
        print_warnings(&warnings);
    if (command->check)
        return std_fds_print("profefe-agent", "settings are good\n") < 0 ? 1 : 0;
    return command->once ? run_once(command, &options) : run_daemon(command, &options, &warnings);
}

/* Until the loop takes it: process 1 of a container does not hear a signal that it neither blocks nor handles. */
static void keep_sigterm(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    static struct agent_command command;
    std_fds_fill();
    keep_sigterm();
    agent_command_read(&command, argc, argv, environ);
    int rc = run(&command);
    agent_command_done(&command);
    return rc;
}
