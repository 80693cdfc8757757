#include "common/settings/settings.h"

#include "common/values/address.h"
#include "common/base/cleanup.h"
#include "common/settings/ini_file.h"
#include "common/values/image.h"
#include "common/values/labels.h"
#include "common/base/boolean.h"
#include "common/base/duration.h"
#include "common/base/name.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/base/utf8.h"
#include "common/values/quantity.h"
#include "common/values/spool_size.h"
#include "common/values/targets.h"
#include "common/values/profile_types.h"
#include "common/values/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define POD SETTING_ANNOTATION
#define AGENT SETTING_AGENT
#define HOOK SETTING_WEBHOOK

enum {
    MS = 1,
    SECOND = 1000 * MS,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    FILE_MAX_BYTES = 4095,
    SHORT_NAME_MAX = 4, /* bytes; two slips make another word of such a name */
};

#define LEVELS "debug|info|warn|error"
#define FORMATS "logfmt|json"

/* clang-format off */
const struct setting settings_table[SETTING_COUNT] = {
    [SETTING_ENABLE] = {"enable", SETTING_TYPE_BOOL, POD, NULL, NULL,
        .help = "true: profile this pod; false: do not, also in a namespace labelled profefe.com/inject=all"},
    [SETTING_PORT] = {"port", SETTING_TYPE_PORT, POD | HOOK, "defaults", NULL,
        .help = "port of the pprof server, a number or a container-port name; several: api=6060,worker=7070 "
                "(default: the container port named pprof, else 6060)"},
    [SETTING_PATH] = {"path", SETTING_TYPE_PATH, POD | HOOK, "defaults", NULL, .max = 256,
        .dflt = "/debug/pprof", .help = "path of the pprof server"},
    [SETTING_SCHEME] = {"scheme", SETTING_TYPE_CHOICE, POD | HOOK, "defaults", NULL, .choices = "http|https",
        .dflt = "http", .help = "https is not verified: it never leaves loopback"},
    [SETTING_SERVICE] = {"service", SETTING_TYPE_TEXT, POD | AGENT, NULL, "PROFEFE_AGENT_SERVICE",
        .min = 1, .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "service name in profefe (default in a pod: label app.kubernetes.io/name, else app, else the owner)"},
    [SETTING_TYPES] = {"types", SETTING_TYPE_TYPES, POD | AGENT | HOOK, "defaults", "PROFEFE_AGENT_TYPES",
        .dflt = "cpu,heap,goroutine,block,mutex", .live = true,
        .help = "profile types, each TYPE[:EVERY][=SECONDS], e.g. cpu:60s=10s,heap:5m"},
    [SETTING_INTERVAL] = {"interval", SETTING_TYPE_DURATION, POD | AGENT | HOOK, "defaults",
        "PROFEFE_AGENT_INTERVAL", .min = PROFILE_TYPE_EVERY_MIN_MS, .max = PROFILE_TYPE_EVERY_MAX_MS, .dflt = "60s", .live = true,
        .help = "EVERY of cpu; the other types default to five times as much"},
    [SETTING_CPU_SECONDS] = {"cpu-seconds", SETTING_TYPE_WHOLE, POD | AGENT | HOOK, "defaults",
        "PROFEFE_AGENT_CPU_SECONDS", .min = 1, .max = PROFILE_TYPE_SECONDS_MAX_MS / SECOND, .dflt = "10", .live = true,
        .help = "SECONDS of a CPU profile; at most half of the pod's grace period"},
    [SETTING_SAMPLING] = {"sampling", SETTING_TYPE_PERCENT, POD | AGENT | HOOK, "defaults", "PROFEFE_AGENT_SAMPLING",
        .dflt = "100%", .live = true, .help = "share of the pods that profile in one interval; the chosen ones change"},
    [SETTING_LABELS] = {"labels", SETTING_TYPE_LABELS, POD | AGENT | HOOK, "defaults", "PROFEFE_AGENT_LABELS",
        .help = "labels for every profile: team=shop,tier=web"},
    [SETTING_POD_LABELS] = {"pod-labels", SETTING_TYPE_NAMES, POD | HOOK, "defaults", NULL,
        .help = "names of pod labels that go with every profile, read at admission"},
    [SETTING_SAMPLE_LABELS] = {"sample-labels", SETTING_TYPE_BOOL, POD | AGENT | HOOK, "defaults",
        "PROFEFE_AGENT_SAMPLE_LABELS", .dflt = "true",
        .help = "write the labels into each sample too, so that a merged profile can be split by pod"},
    [SETTING_COLLECTOR] = {"collector", SETTING_TYPE_URL, POD | AGENT | HOOK, "inject", "PROFEFE_AGENT_COLLECTOR",
        .help = "base URL of profefe, e.g. http://profefe.profefe-system.svc.cluster.local.:10100"},
    [SETTING_COLLECTOR_SECRET] = {"collector-secret", SETTING_TYPE_OBJECT, POD | HOOK, "inject", NULL,
        .help = "Secret of the pod's namespace with token, or username and password, ca.crt, tls.crt and tls.key"},
    [SETTING_SPOOL] = {"spool", SETTING_TYPE_SPOOL, POD | HOOK, "defaults", NULL,
        .min = SPOOL_BUDGET_MIN, .max = SPOOL_BUDGET_MAX, .dflt = "memory",
        .help = "where profiles wait: memory, or the size of an emptyDir, such as 64Mi"},
    [SETTING_MODE] = {"mode", SETTING_TYPE_CHOICE, POD | HOOK, "defaults", NULL, .choices = "native|container",
        .dflt = "native", .help = "native: init container with restartPolicy Always; container: a plain one, last"},
    [SETTING_IMAGE] = {"image", SETTING_TYPE_IMAGE, POD | HOOK, "inject", NULL,
        .help = "agent image; a pod may set it only to what image-prefixes permits"},
    [SETTING_IMAGE_PULL_POLICY] = {"image-pull-policy", SETTING_TYPE_CHOICE, POD | HOOK, "inject", NULL,
        .choices = "Always|IfNotPresent|Never", .help = "pull policy of the agent image (default: Kubernetes' own)"},
    [SETTING_CPU_REQUEST] = {"cpu-request", SETTING_TYPE_QUANTITY, POD | HOOK, "inject", NULL, .dflt = "5m",
        .help = "quantity, or none to leave it to a LimitRange"},
    [SETTING_CPU_LIMIT] = {"cpu-limit", SETTING_TYPE_QUANTITY, POD | HOOK, "inject", NULL, .dflt = "none",
        .help = "quantity or none; under 50m the start of the pod gets slow"},
    [SETTING_MEMORY_REQUEST] = {"memory-request", SETTING_TYPE_QUANTITY, POD | HOOK, "inject", NULL, .dflt = "16Mi",
        .help = "quantity or none"},
    [SETTING_MEMORY_LIMIT] = {"memory-limit", SETTING_TYPE_QUANTITY, POD | HOOK, "inject", NULL, .dflt = "16Mi",
        .help = "quantity or none; CRI-O starts nothing under 12Mi"},
    [SETTING_LOG_LEVEL] = {"log-level", SETTING_TYPE_CHOICE, POD | AGENT | HOOK, "inject", "PROFEFE_AGENT_LOG_LEVEL",
        .choices = LEVELS, .dflt = "info", .help = "the agent's log level"},
    [SETTING_LOG_FORMAT] = {"log-format", SETTING_TYPE_CHOICE, POD | AGENT | HOOK, "inject", "PROFEFE_AGENT_LOG_FORMAT",
        .choices = FORMATS, .dflt = "logfmt", .help = "the agent's log format"},
    [SETTING_STRICT] = {"strict", SETTING_TYPE_BOOL, POD | HOOK, "defaults", NULL, .dflt = "false",
        .help = "refuse a pod with an unknown key, a bad value or a missing port name instead of admitting it"},
    [SETTING_STATUS] = {"status", SETTING_TYPE_TEXT, POD | SETTING_WRITTEN, NULL, NULL, .max = 512,
        .help = "written by the webhook: injected VERSION, or skipped: REASON, with the first warning"},

    [SETTING_STOP_DEADLINE] = {"stop-deadline", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_STOP_DEADLINE",
        .min = 0, .max = 5 * MINUTE, .dflt = "5s",
        .help = "time to send what is spooled after SIGTERM; never more than the grace period less 1s"},
    [SETTING_STOP_PROFILES] = {"stop-profiles", SETTING_TYPE_BOOL, AGENT, NULL, "PROFEFE_AGENT_STOP_PROFILES",
        .dflt = "false", .help = "after SIGTERM take a last heap and goroutine profile (set by the webhook in mode container)"},
    [SETTING_TARGETS] = {"targets", SETTING_TYPE_TARGETS, AGENT, NULL, "PROFEFE_AGENT_TARGETS",
        .help = "pprof servers, each [NAME=]URL, e.g. http://127.0.0.1:6060/debug/pprof"},
    [SETTING_LISTEN] = {"listen", SETTING_TYPE_LISTEN, AGENT, NULL, "PROFEFE_AGENT_LISTEN", .dflt = ":10101",
        .help = "address of /healthz, /metrics and /status; none: no server"},
    [SETTING_SIDECAR] = {"sidecar", SETTING_TYPE_BOOL, AGENT, NULL, "PROFEFE_AGENT_SIDECAR", .dflt = "false",
        .help = "never exit before SIGTERM, whatever the settings say (set by the webhook)"},
    [SETTING_GRACE] = {"grace", SETTING_TYPE_WHOLE, AGENT, NULL, "PROFEFE_AGENT_GRACE", .min = 0, .max = INT32_MAX,
        .help = "the pod's terminationGracePeriodSeconds (set by the webhook)"},
    [SETTING_CONTAINER] = {"container", SETTING_TYPE_TEXT, AGENT, NULL, "PROFEFE_AGENT_CONTAINER",
        .min = 1, .max = TARGET_NAME_MAX, .help = "name of the profiled container, a label (set by the webhook)"},
    [SETTING_POD_NAME] = {"pod-name", SETTING_TYPE_TEXT, AGENT, NULL, "POD_NAME", .min = 1, .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "label pod and instance_id (default: the host name)"},
    [SETTING_POD_NAMESPACE] = {"pod-namespace", SETTING_TYPE_TEXT, AGENT, NULL, "POD_NAMESPACE",
        .min = 1, .max = NAME_DNS_SUBDOMAIN_MAX, .help = "label namespace"},
    [SETTING_POD_UID] = {"pod-uid", SETTING_TYPE_TEXT, AGENT, NULL, "POD_UID", .min = 1, .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "spreads a fleet's profiles over the interval (default: the pod name)"},
    [SETTING_NODE_NAME] = {"node-name", SETTING_TYPE_TEXT, AGENT, NULL, "NODE_NAME", .min = 1, .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "label node"},
    [SETTING_POD_IP] = {"pod-ip", SETTING_TYPE_TEXT, AGENT, NULL, "POD_IP", .min = 1, .max = 64,
        .help = "shown in /status"},
    [SETTING_FIRST_WITHIN] = {"first-within", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_FIRST_WITHIN",
        .min = 1 * SECOND, .max = 1 * HOUR, .dflt = "20s",
        .help = "the first CPU profile begins at most so long after start; heap and goroutine within half of it"},
    [SETTING_SCRAPE_TIMEOUT] = {"scrape-timeout", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_SCRAPE_TIMEOUT",
        .min = 100 * MS, .max = 5 * MINUTE, .dflt = "10s", .help = "for one profile, beyond its SECONDS"},
    [SETTING_MISSING_RETRY] = {"missing-retry", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_MISSING_RETRY",
        .min = 1 * SECOND, .max = 24 * HOUR, .dflt = "1h",
        .help = "a type that the app does not serve is asked for again after so long, or EVERY when that is longer"},
    [SETTING_SECRET_DIR] = {"secret-dir", SETTING_TYPE_TEXT, AGENT, NULL, "PROFEFE_AGENT_SECRET_DIR",
        .min = 1, .max = FILE_MAX_BYTES,
        .help = "directory with token, or username and password, ca.crt, tls.crt and tls.key for the collector; read again when they change"},
    [SETTING_OUTPUT_DIR] = {"output-dir", SETTING_TYPE_TEXT, AGENT, NULL, "PROFEFE_AGENT_OUTPUT_DIR",
        .min = 1, .max = FILE_MAX_BYTES, .help = "write profiles to files below this directory instead of to a collector"},
    [SETTING_SPOOL_BYTES] = {"spool-bytes", SETTING_TYPE_WHOLE, AGENT, NULL, "PROFEFE_AGENT_SPOOL_BYTES",
        .min = SPOOL_BUDGET_MIN, .max = SPOOL_BUDGET_MAX, .dflt = "8388608",
        .help = "room for profiles that wait, are taken or are sent; in memory never above half of the memory limit"},
    [SETTING_SPOOL_DIR] = {"spool-dir", SETTING_TYPE_TEXT, AGENT, NULL, "PROFEFE_AGENT_SPOOL_DIR",
        .min = 1, .max = FILE_MAX_BYTES, .help = "directory for them, which outlives the agent (default: memory)"},
    [SETTING_SPOOL_AGE] = {"spool-age", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_SPOOL_AGE",
        .min = 1 * MINUTE, .max = 168 * HOUR, .dflt = "24h", .help = "older profiles are dropped unsent"},
    [SETTING_RETRY_MIN] = {"retry-min", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_RETRY_MIN",
        .min = 10 * MS, .max = 1 * HOUR, .dflt = "1s", .help = "first ceiling of the wait between two tries"},
    [SETTING_RETRY_MAX] = {"retry-max", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_RETRY_MAX",
        .min = 10 * MS, .max = 1 * HOUR, .dflt = "2m", .help = "highest ceiling of the wait between two tries"},
    [SETTING_CONNECT_TIMEOUT] = {"connect-timeout", SETTING_TYPE_DURATION, AGENT, NULL,
        "PROFEFE_AGENT_CONNECT_TIMEOUT", .min = 10 * MS, .max = 5 * MINUTE, .dflt = "5s",
        .help = "to resolve, connect and shake hands"},
    [SETTING_PUSH_TIMEOUT] = {"push-timeout", SETTING_TYPE_DURATION, AGENT, NULL, "PROFEFE_AGENT_PUSH_TIMEOUT",
        .min = 100 * MS, .max = 1 * HOUR, .dflt = "30s", .help = "for one push, plus a second for every 50 KB"},

    [SETTING_SERVER_LISTEN] = {"listen", SETTING_TYPE_LISTEN, HOOK, "server", "PROFEFE_WEBHOOK_LISTEN",
        .dflt = ":8443", .help = "address of /mutate and /mutate/all, with TLS"},
    [SETTING_SERVER_ADMIN_LISTEN] = {"admin-listen", SETTING_TYPE_LISTEN, HOOK, "server",
        "PROFEFE_WEBHOOK_ADMIN_LISTEN", .dflt = ":8080", .help = "address of /healthz, /readyz and /metrics, plain"},
    [SETTING_SERVER_CERT] = {"cert", SETTING_TYPE_TEXT, HOOK, "server", "PROFEFE_WEBHOOK_CERT",
        .min = 1, .max = FILE_MAX_BYTES, .dflt = "/etc/profefe-webhook/tls/tls.crt", .help = "certificate chain, PEM"},
    [SETTING_SERVER_KEY] = {"key", SETTING_TYPE_TEXT, HOOK, "server", "PROFEFE_WEBHOOK_KEY",
        .min = 1, .max = FILE_MAX_BYTES, .dflt = "/etc/profefe-webhook/tls/tls.key", .help = "its private key, PEM"},
    [SETTING_SERVER_CLIENT_CA] = {"client-ca", SETTING_TYPE_TEXT, HOOK, "server", "PROFEFE_WEBHOOK_CLIENT_CA",
        .min = 1, .max = FILE_MAX_BYTES,
        .help = "CA certificates, PEM: only clients with a certificate of theirs are answered on listen (default: all are)"},
    [SETTING_SERVER_DRAIN] = {"drain", SETTING_TYPE_DURATION, HOOK, "server", "PROFEFE_WEBHOOK_DRAIN",
        .min = 0, .max = 5 * MINUTE, .dflt = "5s",
        .help = "after SIGTERM go on answering so long, not ready, until the Service has forgotten this pod"},
    [SETTING_SERVER_RELOAD] = {"reload", SETTING_TYPE_DURATION, HOOK, "server", "PROFEFE_WEBHOOK_RELOAD",
        .min = 10 * MS, .max = 1 * HOUR, .dflt = "5s",
        .help = "how often certificate, client-ca and configuration files are looked at, to read them when they changed"},
    [SETTING_SERVER_LOG_LEVEL] = {"log-level", SETTING_TYPE_CHOICE, HOOK, "server", "PROFEFE_WEBHOOK_LOG_LEVEL",
        .choices = LEVELS, .dflt = "info", .help = "the webhook's log level"},
    [SETTING_SERVER_LOG_FORMAT] = {"log-format", SETTING_TYPE_CHOICE, HOOK, "server", "PROFEFE_WEBHOOK_LOG_FORMAT",
        .choices = FORMATS, .dflt = "logfmt", .help = "the webhook's log format"},

    [SETTING_IMAGE_PREFIXES] = {"image-prefixes", SETTING_TYPE_NAMES, HOOK, "inject", NULL,
        .help = "image names that pods may ask for begin with one of these (default: none may)"},
};
/* clang-format on */

static bool has_name(const struct setting *setting, struct span name, unsigned uses)
{
    return (setting->uses & uses) != 0 && span_equal(name, setting->name);
}

int settings_find(struct span name, unsigned uses)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (has_name(&settings_table[id], name, uses))
            return id;
    }
    return -1;
}

const char *settings_near_miss(struct span name, unsigned uses)
{
    struct name_near near = name_near_begin(name, name.len <= SHORT_NAME_MAX ? 1 : NAME_SLIPS_MAX);
    for (int id = 0; id < SETTING_COUNT; id++) {
        if ((settings_table[id].uses & uses) != 0)
            name_near_offer(&near, settings_table[id].name);
    }
    return near.word;
}

/* ---- checks by type ---- */

typedef int check_fn(const struct setting *setting, struct span text, struct err *err);

static int check_bool(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    bool value;
    return boolean_parse(text, &value, err);
}

static int check_text(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_len(text.ptr + i, text.len - i);
        if (n == 0 || utf8_is_control(text.ptr + i, text.len - i))
            return err_set(err, EINVAL, "expected UTF-8 text without control characters, got %s",
                           quote_bytes(&q, text.ptr, text.len));
        i += n;
    }
    if ((int64_t)text.len < setting->min || (int64_t)text.len > setting->max)
        return err_set(err, EINVAL, "expected %lld to %lld bytes, got %zu", (long long)setting->min,
                       (long long)setting->max, text.len);
    return 0;
}

static int check_whole(const struct setting *setting, struct span text, struct err *err)
{
    uint64_t value;
    return number_parse_u64(text, (uint64_t)setting->min, (uint64_t)setting->max, &value, err);
}

static int check_duration(const struct setting *setting, struct span text, struct err *err)
{
    int64_t value;
    return duration_parse(text, setting->min, setting->max, &value, err);
}

static int check_choice(const struct setting *setting, struct span text, struct err *err)
{
    const char *choice = setting->choices;
    while (*choice != '\0') {
        size_t len = strcspn(choice, "|");
        if (text.len == len && memcmp(choice, text.ptr, len) == 0)
            return 0;
        choice += len + (choice[len] == '|' ? 1 : 0);
    }
    struct quoted q;
    return err_set(err, EINVAL, "expected %s, got %s", setting->choices, quote_bytes(&q, text.ptr, text.len));
}

static bool is_number(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return s.len > 0;
}

static int check_one_port(struct span item, struct err *err)
{
    struct quoted q;
    struct span port = item;
    uint64_t number;
    const char *eq = memchr(item.ptr, '=', item.len);
    if (eq != NULL) {
        struct span name = span_trim((struct span){item.ptr, (size_t)(eq - item.ptr)});
        port = span_trim((struct span){eq + 1, item.len - (size_t)(eq - item.ptr) - 1});
        if (!name_is_dns_label(name))
            return err_set(err, EINVAL, "expected NAME=PORT with NAME of a-z, 0-9 and -, got %s",
                           quote_bytes(&q, item.ptr, item.len));
    }
    bool ok = is_number(port) ? number_parse_u64(port, 1, 65535, &number, NULL) == 0 : name_is_dns_label(port);
    if (!ok)
        return err_set(err, EINVAL, "expected a port from 1 to 65535 or the name of a container port, got %s",
                       quote_bytes(&q, port.ptr, port.len));
    return 0;
}

static int check_port(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    unsigned count = 0, named = 0;
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        int rc = check_one_port(item, err);
        if (rc < 0)
            return rc;
        count++;
        named += memchr(item.ptr, '=', item.len) != NULL ? 1 : 0;
    }
    if (count == 0 || count > TARGETS_MAX)
        return err_set(err, EINVAL, "expected 1 to %d ports, got %u", TARGETS_MAX, count);
    if (count > 1 && named != count)
        return err_set(err, EINVAL, "expected a name for each of several ports, such as api=6060,worker=7070");
    return 0;
}

static int check_path(const struct setting *setting, struct span text, struct err *err)
{
    if ((int64_t)text.len > setting->max)
        return err_set(err, EINVAL, "expected a path of at most %lld bytes, got %zu", (long long)setting->max, text.len);
    return url_check_path(text, err);
}

static int check_url(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct url url;
    return url_parse(text, &url, err);
}

static int check_types(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    const struct profile_types_defaults any = {.interval_ms = MINUTE, .cpu_seconds_ms = SECOND, .grace_ms = -1};
    struct profile_types types;
    return profile_types_parse(text, &any, &types, NULL, err);
}

static int check_labels(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct labels *labels = calloc(1, sizeof(*labels));
    if (labels == NULL)
        return err_set(err, ENOMEM, "no memory");
    int rc = labels_add_list(labels, text, NULL, err);
    free(labels);
    return rc;
}

static int check_names(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quoted q;
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        for (size_t i = 0; i < item.len; i++) {
            if (item.ptr[i] <= ' ' || item.ptr[i] >= 0x7F)
                return err_set(err, EINVAL, "expected words separated by commas, got %s",
                               quote_bytes(&q, item.ptr, item.len));
        }
    }
    return 0;
}

static int check_targets(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct targets *targets = calloc(1, sizeof(*targets));
    if (targets == NULL)
        return err_set(err, ENOMEM, "no memory");
    int rc = targets_parse(text, targets, err);
    free(targets);
    return rc;
}

static int check_listen(const struct setting *setting, struct span text, struct err *err)
{
    struct address address;
    bool optional = (setting->uses & SETTING_AGENT) != 0; /* the agent works without a server of its own */
    return optional && span_equal(text, "none") ? 0 : address_parse(text, &address, err);
}

static int check_quantity(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quantity quantity;
    return span_equal(text, "none") ? 0 : quantity_parse(text, &quantity, err);
}

/* Only what keeps a wrong name from blocking a native pod for ever (seen: "bad image!" passes the API server):
 * the characters of distribution/reference, no empty part, lower-case path. The registry decides the rest. */
static int check_image(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quoted q;
    if (!image_is_reference(text))
        return err_set(err, EINVAL, "expected an image such as registry.example.com/profefe-agent:1.0, got %s",
                       quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static int check_percent(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    unsigned percent;
    return number_parse_percent(text, &percent, err);
}

static int check_object(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quoted q;
    if (!name_is_dns_subdomain(text))
        return err_set(err, EINVAL, "expected the name of an object (a-z, 0-9, - and ., at most %d bytes), got %s",
                       NAME_DNS_SUBDOMAIN_MAX, quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static int check_spool(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    struct quantity quantity;
    uint64_t bytes;
    if (span_equal(text, "memory"))
        return 0;
    if (quantity_parse(text, &quantity, NULL) < 0 || quantity_to_bytes(&quantity, &bytes) < 0 ||
        bytes < (uint64_t)setting->min || bytes > (uint64_t)setting->max)
        return err_set(err, EINVAL, "expected memory or a size from %lldKi to %lldMi, such as 64Mi, got %s",
                       (long long)setting->min / 1024, (long long)setting->max / (1024 * 1024),
                       quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static check_fn *const checks[] = {
    [SETTING_TYPE_BOOL] = check_bool,       [SETTING_TYPE_TEXT] = check_text,
    [SETTING_TYPE_WHOLE] = check_whole,     [SETTING_TYPE_DURATION] = check_duration,
    [SETTING_TYPE_CHOICE] = check_choice,   [SETTING_TYPE_PORT] = check_port,
    [SETTING_TYPE_PATH] = check_path,       [SETTING_TYPE_URL] = check_url,
    [SETTING_TYPE_TYPES] = check_types,     [SETTING_TYPE_LABELS] = check_labels,
    [SETTING_TYPE_NAMES] = check_names,     [SETTING_TYPE_TARGETS] = check_targets,
    [SETTING_TYPE_LISTEN] = check_listen,   [SETTING_TYPE_QUANTITY] = check_quantity,
    [SETTING_TYPE_IMAGE] = check_image,     [SETTING_TYPE_PERCENT] = check_percent,
    [SETTING_TYPE_OBJECT] = check_object,   [SETTING_TYPE_SPOOL] = check_spool,
};

int settings_check(enum setting_id id, struct span text, struct err *err)
{
    struct quoted q;
    const struct setting *setting = &settings_table[id];
    if (text.len > SETTINGS_VALUE_MAX)
        return err_set(err, EINVAL, "expected at most %d bytes, got %zu", SETTINGS_VALUE_MAX, text.len);
    if (memchr(text.ptr, '\0', text.len) != NULL)
        return err_set(err, EINVAL, "expected text, got %s", quote_bytes(&q, text.ptr, text.len));
    return checks[setting->type](setting, text, err);
}

/* ---- values ---- */

void settings_init(struct settings *settings)
{
    *settings = (struct settings){0};
}

void settings_done(struct settings *settings)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        free(settings->values[id].text);
        free(settings->limits[id].text);
    }
    settings_init(settings);
}

int settings_set(struct settings *settings, enum setting_id id, struct span text, enum setting_origin origin,
                 struct err *err)
{
    text = span_trim(text);
    int rc = settings_check(id, text, err);
    if (rc < 0)
        return rc;
    struct settings_value *value = &settings->values[id];
    if (value->text != NULL && value->origin > origin)
        return 0;
    char *copy = malloc(text.len + 1);
    if (copy == NULL)
        return err_set(err, ENOMEM, "no memory for a setting");
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    free(value->text);
    value->text = copy;
    value->origin = origin;
    return 0;
}

static char *copy_text(const char *text, bool *ok)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    *ok = *ok && (text == NULL || copy != NULL);
    return copy;
}

int settings_copy(struct settings *to, const struct settings *from, struct err *err)
{
    bool ok = true;
    *to = *from;
    for (int id = 0; id < SETTING_COUNT; id++) {
        to->values[id].text = copy_text(from->values[id].text, &ok);
        to->limits[id].text = copy_text(from->limits[id].text, &ok);
    }
    return ok ? 0 : err_set(err, ENOMEM, "no memory for settings");
}

const char *settings_get(const struct settings *settings, enum setting_id id)
{
    return settings->values[id].text != NULL ? settings->values[id].text : settings_table[id].dflt;
}

bool settings_is_set(const struct settings *settings, enum setting_id id)
{
    return settings->values[id].text != NULL;
}

static struct span get_span(const struct settings *settings, enum setting_id id)
{
    const char *text = settings_get(settings, id);
    assert(text != NULL);
    return (struct span){text, strlen(text)};
}

/* The values were checked when they were set, and a test checks the defaults: parsing cannot fail here. */

bool settings_get_bool(const struct settings *settings, enum setting_id id)
{
    bool value = false;
    int rc = boolean_parse(get_span(settings, id), &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

int64_t settings_get_ms(const struct settings *settings, enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    int64_t value = 0;
    int rc = duration_parse(get_span(settings, id), setting->min, setting->max, &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

uint64_t settings_get_whole(const struct settings *settings, enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    uint64_t value = 0;
    int rc = number_parse_u64(get_span(settings, id), (uint64_t)setting->min, (uint64_t)setting->max, &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

unsigned settings_get_percent(const struct settings *settings, enum setting_id id)
{
    unsigned percent = 0;
    int rc = number_parse_percent(get_span(settings, id), &percent, NULL);
    assert(rc == 0);
    (void)rc;
    return percent;
}

/* ---- origins ---- */

static const char *env_value(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

unsigned settings_read_env(struct settings *settings, unsigned use, char *const *env, settings_bad *bad, void *ctx)
{
    unsigned count = 0;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        const char *value = setting->env != NULL && (setting->uses & use) != 0 ? env_value(env, setting->env) : NULL;
        struct err err;
        if (value == NULL || value[0] == '\0')
            continue;
        int rc = settings_set(settings, (enum setting_id)id, (struct span){value, strlen(value)}, SETTING_FROM_ENV, &err);
        if (rc == 0)
            continue;
        err_wrap(&err, rc, "%s", setting->env);
        bad(ctx, &err);
        count++;
    }
    return count;
}

struct ini_reading {
    struct settings *settings;
    unsigned use;
    bool seen[SETTING_COUNT];
};

static const char limits_section[] = "limits";

static const char *section_of(const struct setting *setting, unsigned use)
{
    return use == SETTING_AGENT ? "agent" : setting->section;
}

static int find_ini_key(unsigned use, const char *section, const char *key)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        if ((setting->uses & use) != 0 && strcmp(section_of(setting, use), section) == 0 &&
            strcmp(setting->name, key) == 0)
            return id;
    }
    return -1;
}

static int unknown_key(unsigned use, const char *section, const char *key, struct err *err)
{
    struct quoted qs, qk;
    int elsewhere = settings_find((struct span){key, strlen(key)}, use);
    const char *near = settings_near_miss((struct span){key, strlen(key)}, use);
    quote_text(&qs, section);
    quote_text(&qk, key);
    if (elsewhere >= 0)
        return err_set(err, EINVAL, "unknown key %s in section %s, expected it in [%s]", qk.text, qs.text,
                       section_of(&settings_table[elsewhere], use));
    if (near != NULL)
        return err_set(err, EINVAL, "unknown key %s in section %s, did you mean %s?", qk.text, qs.text, near);
    return err_set(err, EINVAL, "unknown key %s in section %s", qk.text, qs.text);
}

static bool is_list(enum setting_type type)
{
    return type == SETTING_TYPE_TYPES || type == SETTING_TYPE_LABELS || type == SETTING_TYPE_NAMES ||
           type == SETTING_TYPE_TARGETS || type == SETTING_TYPE_PORT;
}

static int no_room(const struct buf *buf, struct err *err)
{
    if (buf_error(buf) == -ENOMEM)
        return err_set(err, ENOMEM, "no memory for a setting");
    return err_set(err, EINVAL, "expected at most %d bytes", SETTINGS_VALUE_MAX);
}

/* The lines of a list as one: with a comma where the writer put none. */
static int join_lines(const char *value, struct buf *out, struct err *err)
{
    for (const char *line = value;; line++) {
        size_t len = strcspn(line, "\n");
        if (out->len > 0 && len > 0 && out->data[out->len - 1] != ',')
            buf_putc(out, ',');
        buf_append(out, line, len);
        line += len;
        if (*line == '\0')
            return buf_error(out) != 0 ? no_room(out, err) : 0;
    }
}

static int set_ini_value(struct settings *settings, int id, const char *value, struct err *err)
{
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, SETTINGS_VALUE_MAX);
    if (!is_list(settings_table[id].type) && strchr(value, '\n') != NULL)
        return err_set(err, EINVAL, "expected one line; an indented line goes on with the value above it");
    int rc = join_lines(value, &joined, err);
    if (rc < 0)
        return rc;
    return settings_set(settings, (enum setting_id)id, (struct span){buf_text(&joined), joined.len}, SETTING_FROM_INI, err);
}

bool settings_is_limitable(enum setting_id id)
{
    unsigned uses = settings_table[id].uses;
    return (uses & SETTING_ANNOTATION) != 0 && (uses & SETTING_WRITTEN) == 0 && id != SETTING_ENABLE;
}

static int unknown_limit(struct span name, struct err *err)
{
    struct quoted q;
    const char *near = settings_near_miss(name, SETTING_ANNOTATION);
    quote_bytes(&q, name.ptr, name.len);
    if (near != NULL && !span_equal(name, near))
        return err_set(err, EINVAL, "[limits] unknown key %s, did you mean %s?", q.text, near);
    return err_set(err, EINVAL, "[limits] unknown key %s, expected the name of an annotation that can be limited", q.text);
}

static int take_limit(struct settings *settings, const char *key, const char *value, int line, struct err *err)
{
    struct span name = {key, strlen(key)};
    int id = settings_find(name, SETTING_ANNOTATION);
    if (id < 0 || !settings_is_limitable((enum setting_id)id))
        return unknown_limit(name, err);
    struct settings_limit *limit = &settings->limits[id];
    if (limit->text != NULL)
        return err_set(err, EINVAL, "[limits] %s: given twice", key);
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, SETTINGS_VALUE_MAX);
    int rc = join_lines(value, &joined, err);
    if (rc < 0)
        return err_wrap(err, rc, "[limits] %s", key);
    limit->text = strdup(buf_text(&joined));
    limit->line = line;
    return limit->text != NULL ? 0 : err_set(err, ENOMEM, "no memory for a setting");
}

static int take_ini_key(void *ctx, const char *section, const char *key, const char *value, int line, struct err *err)
{
    struct ini_reading *r = ctx;
    if (r->use == SETTING_WEBHOOK && strcmp(section, limits_section) == 0)
        return take_limit(r->settings, key, value, line, err);
    int id = find_ini_key(r->use, section, key);
    if (id < 0)
        return unknown_key(r->use, section, key, err);
    int rc = r->seen[id] ? err_set(err, EINVAL, "given twice") : set_ini_value(r->settings, id, value, err);
    r->seen[id] = true;
    return rc < 0 ? err_wrap(err, rc, "[%s] %s", section, key) : 0;
}

int settings_read_ini(struct settings *settings, const char *path, unsigned use, struct err *err)
{
    struct ini_reading r = {.settings = settings, .use = use};
    return ini_file_read(path, take_ini_key, &r, err);
}

static bool has_flag(const struct setting *setting, unsigned use)
{
    return (setting->uses & use) != 0 && (use != SETTING_WEBHOOK || strcmp(setting->section, "server") == 0);
}

/* "--target" is the repeatable form of "targets". */
static int find_flag(struct span name, unsigned use)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        bool singular = id == SETTING_TARGETS && span_equal(name, "target");
        if (has_flag(setting, use) && (singular || span_equal(name, setting->name)))
            return id;
    }
    return -1;
}

static int set_flag(struct settings *settings, int id, const char *value, struct err *err)
{
    const struct settings_value *before = &settings->values[id];
    if (id != SETTING_TARGETS || before->text == NULL || before->origin != SETTING_FROM_FLAG)
        return settings_set(settings, (enum setting_id)id, (struct span){value, strlen(value)}, SETTING_FROM_FLAG, err);
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, SETTINGS_VALUE_MAX);
    buf_printf(&joined, "%s,%s", before->text, value);
    if (buf_error(&joined) != 0)
        return no_room(&joined, err);
    return settings_set(settings, (enum setting_id)id, (struct span){buf_text(&joined), joined.len}, SETTING_FROM_FLAG, err);
}

int settings_read_flag(struct settings *settings, unsigned use, int argc, char *const *argv, int *index,
                       struct err *err)
{
    const char *arg = argv[*index];
    if (!span_has_prefix(span_of(arg), "--"))
        return 0;
    size_t len = strcspn(arg + 2, "=");
    int id = find_flag((struct span){arg + 2, len}, use);
    if (id < 0)
        return 0;
    const char *value = arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL;
    if (value == NULL) {
        if (*index + 1 >= argc)
            return err_set(err, EINVAL, "%s: expected a value after it", arg);
        value = argv[++*index];
    }
    int rc = set_flag(settings, id, value, err);
    return rc < 0 ? err_wrap(err, rc, "--%.*s", (int)len, arg + 2) : 1;
}

static void write_description(struct buf *out, const struct setting *setting)
{
    buf_printf(out, "      %s", setting->help);
    if (setting->choices != NULL)
        buf_printf(out, " (%s)", setting->choices);
    if (setting->dflt != NULL)
        buf_printf(out, " (default %s)", setting->dflt);
    buf_putc(out, '\n');
}

static void write_flag(struct buf *out, enum setting_id id, unsigned use)
{
    const struct setting *setting = &settings_table[id];
    buf_printf(out, "  --%s VALUE\n", id == SETTING_TARGETS ? "target" : setting->name);
    write_description(out, setting);
    buf_printf(out, "      env %s, INI [%s] %s\n", setting->env, section_of(setting, use), setting->name);
}

int settings_write_help(struct buf *out, unsigned use)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (has_flag(&settings_table[id], use))
            write_flag(out, (enum setting_id)id, use);
    }
    return buf_error(out);
}

int settings_write_ini_help(struct buf *out, unsigned use, const char *section)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        if ((setting->uses & use) == 0 || strcmp(section_of(setting, use), section) != 0)
            continue;
        buf_printf(out, "  %s = VALUE\n", setting->name);
        write_description(out, setting);
    }
    return buf_error(out);
}
