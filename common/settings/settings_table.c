#include "common/settings/settings_table.h"

#include "common/base/name.h"
#include "common/values/profile_types.h"
#include "common/values/spool_size.h"
#include "common/values/targets.h"

#include <stddef.h>

#define IN_POD SETTING_ANNOTATION
#define IN_AGENT SETTING_AGENT
#define IN_WEBHOOK SETTING_WEBHOOK

enum {
    MS = 1,
    SECOND = 1000 * MS,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    FILE_MAX_BYTES = 4095, /* PATH_MAX of Linux, less its NUL */
    SHORT_NAME_MAX = 4,    /* bytes; two slips make another word of such a name */
};

/* A constant as the text that is its value. */
#define TEXT_OF(number) TEXT_AS_IT_STANDS(number)
#define TEXT_AS_IT_STANDS(number) #number

#define LEVELS "debug|info|warn|error"
#define FORMATS "logfmt|json"

/* clang-format off */
const struct setting settings_table[SETTING_COUNT] = {
    [SETTING_ENABLE] = {"enable", SETTING_TYPE_BOOL, IN_POD, NULL, NULL,
        .help = "true: profile this pod; false: do not, also in a namespace labelled profefe.com/inject=all"},
    [SETTING_PORT] = {"port", SETTING_TYPE_PORT, IN_POD | IN_WEBHOOK, "defaults", NULL,
        .help = "port of the pprof server, a number or a container-port name; several: api=6060,worker=7070 "
                "(default: the container port named pprof, else 6060)"},
    [SETTING_PATH] = {"path", SETTING_TYPE_PATH, IN_POD | IN_WEBHOOK, "defaults", NULL, .max = 256,
        .default_text = "/debug/pprof",
        .help = "path of the pprof server"},
    [SETTING_SCHEME] = {"scheme", SETTING_TYPE_CHOICE, IN_POD | IN_WEBHOOK, "defaults", NULL, .choices = "http|https",
        .default_text = "http",
        .help = "https is not verified: it never leaves loopback"},
    [SETTING_SERVICE] = {"service", SETTING_TYPE_TEXT, IN_POD | IN_AGENT, NULL, "PROFEFE_AGENT_SERVICE", .min = 1,
        .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "service name in profefe (default in a pod: label app.kubernetes.io/name, else app, else the owner)"},
    [SETTING_TYPES] = {"types", SETTING_TYPE_TYPES, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults", "PROFEFE_AGENT_TYPES",
        .default_text = "cpu,heap,goroutine,block,mutex",
        .help = "profile types, each TYPE[:EVERY][=SECONDS], e.g. cpu:60s=10s,heap:5m"},
    [SETTING_INTERVAL] = {"interval", SETTING_TYPE_DURATION, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_INTERVAL", .min = PROFILE_TYPE_EVERY_MIN_MS, .max = PROFILE_TYPE_EVERY_MAX_MS,
        .default_text = "60s",
        .help = "EVERY of cpu; the other types default to five times as much"},
    [SETTING_CPU_SECONDS] = {"cpu-seconds", SETTING_TYPE_WHOLE, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_CPU_SECONDS", .min = 1, .max = PROFILE_TYPE_SECONDS_MAX_MS / SECOND, .default_text = "10",
        .help = "SECONDS of a CPU profile; at most half of the pod's grace period"},
    [SETTING_SAMPLING] = {"sampling", SETTING_TYPE_PERCENT, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_SAMPLING", .default_text = "100%",
        .help = "share of the pods that profile in one interval; the chosen ones change"},
    [SETTING_FIRST_WITHIN] = {"first-within", SETTING_TYPE_DURATION, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_FIRST_WITHIN", .min = 1 * SECOND, .max = 1 * HOUR, .default_text = "20s",
        .help = "the first CPU profile begins at most so long after start; heap and goroutine within half of it"},
    [SETTING_SCRAPE_TIMEOUT] = {"scrape-timeout", SETTING_TYPE_DURATION, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_SCRAPE_TIMEOUT", .min = 100 * MS, .max = 5 * MINUTE, .default_text = "10s",
        .help = "for one profile, beyond its SECONDS"},
    [SETTING_MISSING_RETRY] = {"missing-retry", SETTING_TYPE_DURATION, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_MISSING_RETRY", .min = 1 * SECOND, .max = 24 * HOUR, .default_text = "1h",
        .help = "a type that the app does not serve is asked for again after so long, or EVERY when that is longer"},
    [SETTING_LABELS] = {"labels", SETTING_TYPE_LABELS, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_LABELS",
        .help = "labels for every profile: team=shop,tier=web"},
    [SETTING_POD_LABELS] = {"pod-labels", SETTING_TYPE_NAMES, IN_POD | IN_WEBHOOK, "defaults", NULL,
        .help = "names of pod labels that go with every profile, read at admission"},
    [SETTING_SAMPLE_LABELS] = {"sample-labels", SETTING_TYPE_BOOL, IN_POD | IN_AGENT | IN_WEBHOOK, "defaults",
        "PROFEFE_AGENT_SAMPLE_LABELS", .default_text = "true",
        .help = "write the labels into each sample too, so that a merged profile can be split by pod"},
    [SETTING_COLLECTOR] = {"collector", SETTING_TYPE_URL, IN_POD | IN_AGENT | IN_WEBHOOK, "inject",
        "PROFEFE_AGENT_COLLECTOR",
        .help = "base URL of profefe, e.g. http://profefe.profefe-system.svc.cluster.local.:10100"},
    [SETTING_COLLECTOR_SECRET] = {"collector-secret", SETTING_TYPE_OBJECT, IN_POD | IN_WEBHOOK, "inject", NULL,
        .help = "Secret of the pod's namespace with token, or username and password, ca.crt, tls.crt and tls.key"},
    [SETTING_SPOOL] = {"spool", SETTING_TYPE_SPOOL, IN_POD | IN_WEBHOOK, "defaults", NULL, .min = SPOOL_BUDGET_MIN,
        .max = SPOOL_BUDGET_MAX, .default_text = "memory",
        .help = "where profiles wait: memory, or the size of an emptyDir, such as 64Mi"},
    [SETTING_MODE] = {"mode", SETTING_TYPE_CHOICE, IN_POD | IN_WEBHOOK, "defaults", NULL,
        .choices = "native|container", .default_text = "native",
        .help = "native: init container with restartPolicy Always; container: a plain one, last"},
    [SETTING_AGENT_PORT] = {"agent-port", SETTING_TYPE_WHOLE, IN_POD | IN_WEBHOOK, "inject", NULL, .min = 1,
        .max = 65535, .default_text = "10101",
        .help = "the agent's own port, or the next one that nothing in the pod speaks of"},
    [SETTING_IMAGE] = {"image", SETTING_TYPE_IMAGE, IN_POD | IN_WEBHOOK, "inject", NULL,
        .help = "agent image; a pod may set it only to what image-prefixes permits"},
    [SETTING_IMAGE_PULL_POLICY] = {"image-pull-policy", SETTING_TYPE_CHOICE, IN_POD | IN_WEBHOOK, "inject", NULL,
        .choices = "Always|IfNotPresent|Never",
        .help = "pull policy of the agent image (default: Kubernetes' own)"},
    [SETTING_CPU_REQUEST] = {"cpu-request", SETTING_TYPE_QUANTITY, IN_POD | IN_WEBHOOK, "inject", NULL,
        .default_text = "5m",
        .help = "quantity, or none to leave it to a LimitRange"},
    [SETTING_CPU_LIMIT] = {"cpu-limit", SETTING_TYPE_QUANTITY, IN_POD | IN_WEBHOOK, "inject", NULL,
        .default_text = "none",
        .help = "quantity or none; under 50m the start of the pod gets slow; in a Guaranteed pod by default 5 % of "
                "its cpu, from 10m to 50m, as request too"},
    [SETTING_MEMORY_REQUEST] = {"memory-request", SETTING_TYPE_QUANTITY, IN_POD | IN_WEBHOOK, "inject", NULL,
        .default_text = "16Mi",
        .help = "quantity or none"},
    [SETTING_MEMORY_LIMIT] = {"memory-limit", SETTING_TYPE_QUANTITY, IN_POD | IN_WEBHOOK, "inject", NULL,
        .default_text = "16Mi",
        .help = "quantity or none; CRI-O starts nothing under 12Mi"},
    [SETTING_LOG_LEVEL] = {"log-level", SETTING_TYPE_CHOICE, IN_POD | IN_AGENT | IN_WEBHOOK, "inject",
        "PROFEFE_AGENT_LOG_LEVEL", .choices = LEVELS, .default_text = "info",
        .help = "the agent's log level"},
    [SETTING_LOG_FORMAT] = {"log-format", SETTING_TYPE_CHOICE, IN_POD | IN_AGENT | IN_WEBHOOK, "inject",
        "PROFEFE_AGENT_LOG_FORMAT", .choices = FORMATS, .default_text = "logfmt",
        .help = "the agent's log format"},
    [SETTING_STRICT] = {"strict", SETTING_TYPE_BOOL, IN_POD | IN_WEBHOOK, "defaults", NULL, .default_text = "false",
        .help = "refuse a pod with an unknown key, a bad value or a missing port name instead of admitting it"},
    [SETTING_STATUS] = {"status", SETTING_TYPE_TEXT, IN_POD | SETTING_WRITTEN, NULL, NULL, .max = 512,
        .help = "written by the webhook: injected VERSION, or skipped: REASON, with the first warning"},

    [SETTING_STOP_DEADLINE] = {"stop-deadline", SETTING_TYPE_DURATION, IN_AGENT, NULL, "PROFEFE_AGENT_STOP_DEADLINE",
        .min = 0, .max = 5 * MINUTE, .default_text = "5s",
        .help = "time to send what is spooled after SIGTERM; never more than the grace period less 1s"},
    [SETTING_STOP_PROFILES] = {"stop-profiles", SETTING_TYPE_BOOL, IN_AGENT, NULL, "PROFEFE_AGENT_STOP_PROFILES",
        .default_text = "false",
        .help = "after SIGTERM take a last heap and goroutine profile (set by the webhook in mode container)"},
    [SETTING_TARGETS] = {"targets", SETTING_TYPE_TARGETS, IN_AGENT, NULL, "PROFEFE_AGENT_TARGETS", .each = "target",
        .help = "pprof servers, each [NAME=]URL, e.g. http://127.0.0.1:6060/debug/pprof"},
    [SETTING_TARGET_CA] = {"target-ca", SETTING_TYPE_TEXT, IN_AGENT, NULL, "PROFEFE_AGENT_TARGET_CA", .min = 1,
        .max = FILE_MAX_BYTES,
        .help = "file with CA certificates, PEM, for https targets that are not on loopback: those are verified "
                "(default: the system's)"},
    [SETTING_TARGET_INSECURE] = {"target-insecure", SETTING_TYPE_BOOL, IN_AGENT, NULL,
        "PROFEFE_AGENT_TARGET_INSECURE", .default_text = "false",
        .help = "true: do not verify https targets that are not on loopback"},
    [SETTING_LISTEN] = {"listen", SETTING_TYPE_LISTEN, IN_AGENT, NULL, "PROFEFE_AGENT_LISTEN",
        .default_text = ":10101",
        .help = "address of /healthz, /metrics and /status; none: no server"},
    [SETTING_SIDECAR] = {"sidecar", SETTING_TYPE_BOOL, IN_AGENT, NULL, "PROFEFE_AGENT_SIDECAR",
        .default_text = "false",
        .help = "never exit before SIGTERM, whatever the settings say (set by the webhook)"},
    [SETTING_GRACE] = {"grace", SETTING_TYPE_WHOLE, IN_AGENT, NULL, "PROFEFE_AGENT_GRACE", .min = 0, .max = INT32_MAX,
        .help = "the pod's terminationGracePeriodSeconds (set by the webhook)"},
    [SETTING_CONTAINER] = {"container", SETTING_TYPE_TEXT, IN_AGENT, NULL, "PROFEFE_AGENT_CONTAINER", .min = 1,
        .max = TARGET_NAME_MAX,
        .help = "name of the profiled container, a label (set by the webhook)"},
    [SETTING_POD_NAME] = {"pod-name", SETTING_TYPE_TEXT, IN_AGENT, NULL, "POD_NAME", .min = 1,
        .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "label pod and instance_id (default: the host name)"},
    [SETTING_POD_NAMESPACE] = {"pod-namespace", SETTING_TYPE_TEXT, IN_AGENT, NULL, "POD_NAMESPACE", .min = 1,
        .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "label namespace"},
    [SETTING_POD_UID] = {"pod-uid", SETTING_TYPE_TEXT, IN_AGENT, NULL, "POD_UID", .min = 1,
        .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "spreads a fleet's profiles over the interval (default: the pod name)"},
    [SETTING_NODE_NAME] = {"node-name", SETTING_TYPE_TEXT, IN_AGENT, NULL, "NODE_NAME", .min = 1,
        .max = NAME_DNS_SUBDOMAIN_MAX,
        .help = "label node"},
    [SETTING_POD_IP] = {"pod-ip", SETTING_TYPE_TEXT, IN_AGENT, NULL, "POD_IP", .min = 1, .max = 64,
        .help = "shown in /status"},
    [SETTING_SECRET_DIR] = {"secret-dir", SETTING_TYPE_TEXT, IN_AGENT, NULL, "PROFEFE_AGENT_SECRET_DIR", .min = 1,
        .max = FILE_MAX_BYTES,
        .help = "directory with token, or username and password, ca.crt, tls.crt and tls.key for the collector; "
                "read again when they change"},
    [SETTING_OUTPUT_DIR] = {"output-dir", SETTING_TYPE_TEXT, IN_AGENT, NULL, "PROFEFE_AGENT_OUTPUT_DIR", .min = 1,
        .max = FILE_MAX_BYTES,
        .help = "write profiles to files below this directory instead of to a collector"},
    [SETTING_SPOOL_BYTES] = {"spool-bytes", SETTING_TYPE_WHOLE, IN_AGENT, NULL, "PROFEFE_AGENT_SPOOL_BYTES",
        .min = SPOOL_BUDGET_MIN, .max = SPOOL_BUDGET_MAX, .default_text = TEXT_OF(SPOOL_BUDGET_DEFAULT),
        .help = "room for profiles that wait, are taken or are sent; in memory never above half of the memory limit"},
    [SETTING_SPOOL_DIR] = {"spool-dir", SETTING_TYPE_TEXT, IN_AGENT, NULL, "PROFEFE_AGENT_SPOOL_DIR", .min = 1,
        .max = FILE_MAX_BYTES,
        .help = "directory for them, which outlives the agent (default: memory)"},
    [SETTING_SPOOL_AGE] = {"spool-age", SETTING_TYPE_DURATION, IN_AGENT, NULL, "PROFEFE_AGENT_SPOOL_AGE",
        .min = 1 * MINUTE, .max = 168 * HOUR, .default_text = "24h",
        .help = "older profiles are dropped unsent"},
    [SETTING_RETRY_MIN] = {"retry-min", SETTING_TYPE_DURATION, IN_AGENT, NULL, "PROFEFE_AGENT_RETRY_MIN",
        .min = 10 * MS, .max = 1 * HOUR, .default_text = "1s",
        .help = "first ceiling of the wait between two tries"},
    [SETTING_RETRY_MAX] = {"retry-max", SETTING_TYPE_DURATION, IN_AGENT, NULL, "PROFEFE_AGENT_RETRY_MAX",
        .min = 10 * MS, .max = 1 * HOUR, .default_text = "2m",
        .help = "highest ceiling of the wait between two tries"},
    [SETTING_CONNECT_TIMEOUT] = {"connect-timeout", SETTING_TYPE_DURATION, IN_AGENT, NULL,
        "PROFEFE_AGENT_CONNECT_TIMEOUT", .min = 10 * MS, .max = 5 * MINUTE, .default_text = "5s",
        .help = "to resolve, connect and shake hands"},
    [SETTING_PUSH_TIMEOUT] = {"push-timeout", SETTING_TYPE_DURATION, IN_AGENT, NULL, "PROFEFE_AGENT_PUSH_TIMEOUT",
        .min = 100 * MS, .max = 1 * HOUR, .default_text = "30s",
        .help = "for one push, plus a second for every 50 KB"},

    [SETTING_SERVER_LISTEN] = {"listen", SETTING_TYPE_LISTEN, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_LISTEN",
        .default_text = ":8443",
        .help = "address of /mutate and /mutate/all, with TLS"},
    [SETTING_SERVER_ADMIN_LISTEN] = {"admin-listen", SETTING_TYPE_LISTEN, IN_WEBHOOK, "server",
        "PROFEFE_WEBHOOK_ADMIN_LISTEN", .default_text = ":8080",
        .help = "address of /healthz, /readyz and /metrics, plain"},
    [SETTING_SERVER_CERT] = {"cert", SETTING_TYPE_TEXT, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_CERT", .min = 1,
        .max = FILE_MAX_BYTES, .default_text = "/etc/profefe-webhook/tls/tls.crt",
        .help = "certificate chain, PEM"},
    [SETTING_SERVER_KEY] = {"key", SETTING_TYPE_TEXT, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_KEY", .min = 1,
        .max = FILE_MAX_BYTES, .default_text = "/etc/profefe-webhook/tls/tls.key",
        .help = "its private key, PEM"},
    [SETTING_SERVER_CLIENT_CA] = {"client-ca", SETTING_TYPE_TEXT, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_CLIENT_CA",
        .min = 1, .max = FILE_MAX_BYTES,
        .help = "CA certificates, PEM: only clients with a certificate of theirs are answered on listen (default: "
                "all are)"},
    [SETTING_SERVER_DRAIN] = {"drain", SETTING_TYPE_DURATION, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_DRAIN", .min = 0,
        .max = 5 * MINUTE, .default_text = "5s",
        .help = "after SIGTERM go on answering so long, not ready, until the Service has forgotten this pod"},
    [SETTING_SERVER_RELOAD] = {"reload", SETTING_TYPE_DURATION, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_RELOAD",
        .min = 10 * MS, .max = 1 * HOUR, .default_text = "5s",
        .help = "how often certificate, client-ca and configuration files are looked at, to read them when they "
                "changed; SIGHUP looks at once"},
    [SETTING_SERVER_LOG_LEVEL] = {"log-level", SETTING_TYPE_CHOICE, IN_WEBHOOK, "server", "PROFEFE_WEBHOOK_LOG_LEVEL",
        .choices = LEVELS, .default_text = "info",
        .help = "the webhook's log level"},
    [SETTING_SERVER_LOG_FORMAT] = {"log-format", SETTING_TYPE_CHOICE, IN_WEBHOOK, "server",
        "PROFEFE_WEBHOOK_LOG_FORMAT", .choices = FORMATS, .default_text = "logfmt",
        .help = "the webhook's log format"},

    [SETTING_IMAGE_PREFIXES] = {"image-prefixes", SETTING_TYPE_NAMES, IN_WEBHOOK, "inject", NULL,
        .help = "image names that pods may ask for begin with one of these (default: none may)"},
    [SETTING_ARCHITECTURES] = {"architectures", SETTING_TYPE_NAMES, IN_WEBHOOK, "inject", NULL,
        .default_text = "amd64,arm64",
        .help = "what the agent's image runs on; a pod for other nodes alone is skipped"},
    [SETTING_SERVICE_FROM] = {"service-from", SETTING_TYPE_NAMES, IN_WEBHOOK, "inject", NULL,
        .choices = "annotations|labels|owner", .default_text = "annotations,labels,owner",
        .help = "where a service name is looked for in a pod without `service`, in this order; then its own name "
                "counts"},
    [SETTING_SKIP_CONTAINERS] = {"skip-containers", SETTING_TYPE_NAMES, IN_WEBHOOK, "inject", NULL,
        .choices = "eks|azure",
        .help = "clouds whose webhooks are always asked to give the agent no token (default: where the pod shows "
                "theirs)"},
    [SETTING_IMAGE_PULL_SECRETS] = {"image-pull-secrets", SETTING_TYPE_NAMES, IN_WEBHOOK, "inject", NULL,
        .help = "Secrets, in the pod's namespace, for pulling the agent image: added to the pod's own"},
};
/* clang-format on */

static bool has_name(const struct setting *setting, struct span name, unsigned where)
{
    return (setting->where & where) != 0 && span_equal(name, setting->name);
}

int settings_table_find(struct span name, unsigned where)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (has_name(&settings_table[id], name, where))
            return id;
    }
    return -1;
}

const char *settings_table_near_miss(struct span name, unsigned where)
{
    struct name_near near = name_near_begin(name, name.len <= SHORT_NAME_MAX ? 1 : NAME_SLIPS_MAX);
    for (int id = 0; id < SETTING_COUNT; id++) {
        if ((settings_table[id].where & where) != 0)
            name_near_offer(&near, settings_table[id].name);
    }
    return near.word;
}

const char *settings_table_section(const struct setting *setting, unsigned where)
{
    return where == SETTING_AGENT ? "agent" : setting->section;
}
