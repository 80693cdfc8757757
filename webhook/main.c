/* profefe-webhook: see README.md. main only wires: command line, log, then serve, check or review. */
#include "common/base/cleanup.h"
#include "common/base/version.h"
#include "common/os/file.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/std_fds.h"
#include "webhook/certs.h"
#include "webhook/config.h"
#include "webhook/offline.h"
#include "webhook/service.h"
#include "webhook/webhook_command.h"

#include <cjson/cJSON.h>
#include <gnutls/gnutls.h>
#include <malloc.h>
#include <microhttpd.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* --review: 0 = answered (also when skipped), 1 = one was denied, 2 = unreadable; bad settings are 2 as well. */
enum {
    EXIT_DENIED = 1,
    EXIT_USAGE = 2,
};

enum {
    HEAP_KEPT_MAX = 512 * 1024,  /* bytes free at the top of the heap: what a review of 17 KB takes, three times */
    HEAP_BLOCK_MAX = 256 * 1024, /* bytes of a block; larger ones are mapped by themselves, JSON's first chunk is not */
};

static int complain(const struct err *err)
{
    std_fds_complain("profefe-webhook", "%s", err->text);
    return EXIT_USAGE;
}

static int print(int (*write_text)(struct buf *))
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, WEBHOOK_COMMAND_HELP_MAX);
    int rc = write_text(&out);
    return rc < 0 || std_fds_print("profefe-webhook", buf_text(&out)) < 0 ? 1 : 0;
}

static int write_version(struct buf *out)
{
    version_write(out, "profefe-webhook");
    buf_printf(out, "libmicrohttpd %s\ncJSON %s\nGnuTLS %s\n", MHD_get_version(), cJSON_Version(),
               gnutls_check_version(NULL));
    return buf_error(out);
}

static void print_warnings(const struct warnings *warnings)
{
    for (unsigned i = 0; i < warnings_shown(warnings); i++)
        std_fds_complain("profefe-webhook", "warning: %s", warnings_text(warnings, i));
}

/* ---- --review ---- */

/* A look at what would be injected needs no configuration: without one a name stands in for the image. */
static int stand_in_for_image(struct settings *settings, struct err *err)
{
    static const char name[] = "profefe-agent";
    if (settings_is_set(settings, SETTING_IMAGE))
        return 0;
    std_fds_complain("profefe-webhook", "no [inject] image is configured, showing %s", name);
    return settings_set(settings, SETTING_IMAGE, (struct span){name, sizeof(name) - 1}, SETTING_FROM_DEFAULT, err);
}

static int print_reply(void *ctx, const struct admission_result *result, const struct buf *reply)
{
    int *code = ctx;
    if (std_fds_print("profefe-webhook", buf_text(reply)) < 0 || std_fds_print("profefe-webhook", "\n") < 0)
        return -EIO; /* it was said */
    if (result->decision == INJECT_DENIED)
        *code = EXIT_DENIED;
    return 0;
}

static int review(const struct webhook_command *command, struct policy *policy)
{
    CLEANUP_FREE char *bytes = NULL;
    struct err err;
    size_t len = 0;
    int code = 0;
    const char *path = strcmp(command->review, "-") == 0 ? "/dev/stdin" : command->review;
    int rc = stand_in_for_image(&policy->settings, &err);
    if (rc == 0)
        rc = file_read(path, SERVICE_BODY_MAX, &bytes, &len, &err);
    if (rc < 0)
        return complain(&err);
    const struct offline_question question = {{bytes, len}, command->all, command->namespace_name};
    rc = offline_answer(policy, &question, print_reply, &code, &err);
    if (rc < 0 && rc != -EIO)
        return complain(&err);
    return rc < 0 ? EXIT_USAGE : code;
}

/* ---- --check and serving ---- */

static int check_files(const struct settings *settings, struct err *err)
{
    const struct certs_files files = {
        .cert = settings_get(settings, SETTING_SERVER_CERT),
        .key = settings_get(settings, SETTING_SERVER_KEY),
        .client_ca = settings_get(settings, SETTING_SERVER_CLIENT_CA),
    };
    unsigned slow_rsa_bits = 0;
    int rc = certs_check(&files, loop_wall_ms() / 1000, &slow_rsa_bits, err);
    if (rc == 0 && slow_rsa_bits > 0)
        std_fds_complain("profefe-webhook",
                         "warning: %s: an RSA key of %u bits makes handshakes slow under load, an ECDSA key would not",
                         files.key, slow_rsa_bits);
    return rc;
}

static int check(const struct webhook_command *command, const struct settings *settings)
{
    struct warnings warnings = {0};
    struct err err;
    int rc = inject_check_settings(settings, &warnings, &err);
    if (rc == 0 && command->check)
        rc = check_files(settings, &err);
    if (rc < 0)
        return complain(&err);
    print_warnings(&warnings);
    if (!command->check)
        return 0;
    return std_fds_print("profefe-webhook", "configuration and certificate are good\n") < 0 ? 1 : 0;
}

/* glibc gives the top of the heap back whenever 128 KiB of it are free, which a review of 17 KB takes and frees: two
 * system calls each, and a page fault for every page. To set one of these ends that glibc moves both with the blocks it
 * sees freed: JSON's first chunk would then be mapped anew each time, so the other is set as well. */
static void set_up_heap(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
}

static int serve(const struct webhook_command *command, const struct settings *settings)
{
    struct err err;
    set_up_heap();
    if (service_run(&command->base, command->config, settings, &err) == 0)
        return 0;
    log_error("cannot serve", LOG_ERR(&err));
    return 1;
}

/* Until the loop takes it: it asks for what the start does anyway, and must not end it. */
static void keep_sighup(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static int run(const struct webhook_command *command)
{
    CLEANUP(policy_done) struct policy policy = {0};
    struct err err;
    if (command->help)
        return print(webhook_command_write_help);
    if (command->version)
        return print(write_version);
    if (!command->check && command->review == NULL)
        keep_sighup();
    if (config_load(&command->base, command->config, &policy, &err) < 0)
        return complain(&err);
    config_set_up_log(&policy.settings);
    if (command->review != NULL)
        return review(command, &policy);
    int rc = check(command, &policy.settings);
    if (rc != 0 || command->check)
        return rc;
    return serve(command, &policy.settings);
}

int main(int argc, char **argv)
{
    static struct webhook_command command;
    struct err err;
    std_fds_fill();
    int rc = webhook_command_read(&command, argc, argv, environ, &err);
    rc = rc < 0 ? complain(&err) : run(&command);
    webhook_command_done(&command);
    return rc;
}
