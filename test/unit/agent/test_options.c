/* options: what one agent does, from its settings, its host and its memory limit. */
#include "unit.h"

#include "agent/options.h"
#include "common/settings/settings_env.h"
#include "common/spool/spool.h"

enum { MIB = 1024 * 1024 };

static void no_bad(void *ctx, const struct err *err)
{
    fail_msg("%s: %s", (const char *)ctx, err->text);
}

/* Settings from "NAME=VALUE" variables of the agent, NULL-ended. */
static void read_env(struct settings *settings, const char *const *env)
{
    char what[] = "environment of the test";
    settings_init(settings);
    settings_env_read(settings, SETTING_AGENT, words_of(env), no_bad, what);
}

#define TARGET "PROFEFE_AGENT_TARGETS=http://127.0.0.1:6060/debug/pprof"
#define COLLECTOR "PROFEFE_AGENT_COLLECTOR=http://profefe:10100"
#define SERVICE "PROFEFE_AGENT_SERVICE=web"

static void laptop_needs_only_target_collector_and_service(void **state)
{
    (void)state;
    static const char *const env[] = {TARGET, COLLECTOR, SERVICE, NULL};
    static struct options options;
    struct settings settings;
    struct warnings warnings = {0};
    struct err err = err_untouched;
    read_env(&settings, env);
    expect_success("laptop", options_resolve(&settings, "laptop", 0, &options, &warnings, &err), &err);
    assert_int_equal(1, options.gather.targets.count);
    assert_string_equal("http://127.0.0.1:6060/debug/pprof", options.gather.targets.items[0].url);
    assert_string_equal("http://profefe:10100", options.gather.collector);
    assert_string_equal("web", options.gather.service);
    assert_string_equal(":10101", options_listen(&settings));
    assert_string_equal("laptop", options.gather.instance);
    assert_string_equal("laptop", options.gather.seed);
    assert_int_equal(1, options.gather.labels.count);
    assert_string_equal("profefe-agent", labels_get(&options.gather.labels, "from"));
    assert_int_equal(5, options.gather.types.count);
    assert_int_equal(10000, options.gather.types.items[0].seconds_ms);
    assert_int_equal(20000, options.gather.first_within_ms);
    assert_int_equal(5000, options.stop_deadline_ms);
    assert_int_equal(8 * MIB, options.gather.spool_bytes);
    assert_int_equal(1000, options.gather.retry_min_ms);
    assert_int_equal(120000, options.gather.retry_max_ms);
    assert_int_equal(5000, options.gather.connect_timeout_ms);
    assert_int_equal(30000, options.gather.push_timeout_ms);
    assert_int_equal(10000, options.gather.scrape_timeout_ms);
    assert_int_equal(3600000, options.gather.missing_retry_ms);
    assert_int_equal(60000, options.gather.interval_ms);
    assert_int_equal(10000, options.gather.sampling);
    assert_false(options.stop_profiles);
    assert_null(options.gather.output_dir);
    assert_null(options.secret_dir);
    assert_null(options.gather.target_ca);
    assert_false(options.gather.target_insecure);
    assert_string_equal("profefe-agent", options.gather.program->name);
    assert_string_equal("profefe-agent/" PROFEFE_VERSION, options.gather.program->user_agent);
    assert_string_equal("http://profefe:10100", options_destination(&options));
    assert_int_equal(0, warnings.count);
    settings_done(&settings);
}

static void pod_has_identity_labels_before_its_own(void **state)
{
    (void)state;
    static const char *const env[] = {TARGET,
                                      COLLECTOR,
                                      SERVICE,
                                      "POD_NAME=web-1",
                                      "POD_NAMESPACE=shop",
                                      "POD_UID=uid-1",
                                      "NODE_NAME=node1",
                                      "POD_IP=10.0.0.7",
                                      "PROFEFE_AGENT_CONTAINER=main",
                                      "PROFEFE_AGENT_LABELS=team=a,pod=forged",
                                      "PROFEFE_AGENT_LISTEN=none",
                                      NULL};
    static const char *const expected[][2] = {{"namespace", "shop"}, {"pod", "web-1"},          {"node", "node1"},
                                              {"container", "main"}, {"from", "profefe-agent"}, {"team", "a"}};
    static struct options options;
    struct settings settings;
    struct warnings warnings = {0};
    read_env(&settings, env);
    assert_int_equal(0, options_resolve(&settings, "host", 0, &options, &warnings, NULL));
    assert_int_equal(COUNT_OF(expected), options.gather.labels.count);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_string_equal(expected[i][0], options.gather.labels.items[i].key);
        assert_string_equal(expected[i][1], options.gather.labels.items[i].value);
    }
    assert_string_equal("web-1", options.gather.instance);
    assert_string_equal("10.0.0.7", options.pod_ip);
    assert_string_equal("uid-1", options.gather.seed);
    assert_null(options_listen(&settings));
    assert_int_equal(1, warnings.count);
    expect_contains("warning", warnings_text(&warnings, 0), "\"pod\" is set by profefe-agent itself");
    settings_done(&settings);
}

static void seed_is_uid_else_pod_else_host(void **state)
{
    (void)state;
    static const struct {
        const char *env[6];
        const char *seed, *instance;
    } rows[] = {
        {{TARGET, COLLECTOR, SERVICE}, "host", "host"},
        {{TARGET, COLLECTOR, SERVICE, "POD_NAME=web-1"}, "web-1", "web-1"},
        {{TARGET, COLLECTOR, SERVICE, "POD_UID=u"}, "u", "host"},
        {{TARGET, COLLECTOR, SERVICE, "POD_NAME=web-1", "POD_UID=u"}, "u", "web-1"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static struct options options;
        struct settings settings;
        read_env(&settings, rows[i].env);
        assert_int_equal(0, options_resolve(&settings, "host", 0, &options, NULL, NULL));
        expect_text("seed", rows[i].seed, options.gather.seed);
        expect_text("instance", rows[i].instance, options.gather.instance);
        settings_done(&settings);
    }
}

static void expect_refused(const char *const *env, const char *words)
{
    static struct options options;
    struct settings settings;
    struct err err = {0};
    read_env(&settings, env);
    int rc = options_resolve(&settings, "host", 0, &options, NULL, &err);
    expect_failure(words, -EINVAL, words, rc, &err);
    settings_done(&settings);
}

static void what_is_missing_is_named_with_flag_variable_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *env[4];
        const char *words;
    } rows[] = {
        {{COLLECTOR, SERVICE},
         "targets is not set: expected --target http://HOST:PORT/debug/pprof, env PROFEFE_AGENT_TARGETS or INI [agent] "
         "targets"},
        {{TARGET, SERVICE},
         "collector is not set: expected --collector http://HOST:10100, env PROFEFE_AGENT_COLLECTOR or INI [agent] "
         "collector"},
        {{TARGET, COLLECTOR},
         "service is not set: expected --service NAME, env PROFEFE_AGENT_SERVICE or INI [agent] service"},
        {{NULL}, "targets is not set"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_refused(rows[i].env, rows[i].words);
}

static void each_setting_of_the_engine_arrives(void **state)
{
    (void)state;
    static const char *const env[] = {TARGET,
                                      COLLECTOR,
                                      SERVICE,
                                      "PROFEFE_AGENT_SAMPLING=12.5%",
                                      "PROFEFE_AGENT_INTERVAL=90s",
                                      "PROFEFE_AGENT_STOP_PROFILES=true",
                                      "PROFEFE_AGENT_SCRAPE_TIMEOUT=250ms",
                                      "PROFEFE_AGENT_MISSING_RETRY=30s",
                                      "PROFEFE_AGENT_SECRET_DIR=/secret",
                                      "PROFEFE_AGENT_TARGET_CA=/ca.crt",
                                      "PROFEFE_AGENT_TARGET_INSECURE=true",
                                      NULL};
    static struct options options;
    struct settings settings;
    read_env(&settings, env);
    assert_int_equal(0, options_resolve(&settings, "host", 0, &options, NULL, NULL));
    assert_int_equal(1250, options.gather.sampling);
    assert_int_equal(90000, options.gather.interval_ms);
    assert_true(options.stop_profiles);
    assert_int_equal(250, options.gather.scrape_timeout_ms);
    assert_int_equal(30000, options.gather.missing_retry_ms);
    assert_string_equal("/secret", options.secret_dir);
    assert_string_equal("/ca.crt", options.gather.target_ca);
    assert_true(options.gather.target_insecure);
    settings_done(&settings);
}

static void output_directory_takes_the_place_of_the_collector(void **state)
{
    (void)state;
    static const char *const env[] = {TARGET, SERVICE, "PROFEFE_AGENT_OUTPUT_DIR=/profiles", NULL};
    static struct options options;
    struct settings settings;
    struct err err = err_untouched;
    read_env(&settings, env);
    expect_success("output-dir", options_resolve(&settings, "host", 0, &options, NULL, &err), &err);
    assert_null(options.gather.collector);
    assert_string_equal("/profiles", options.gather.output_dir);
    assert_string_equal("/profiles", options_destination(&options));
    settings_done(&settings);
}

static void contradictions_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *env[6];
        const char *words;
    } rows[] = {
        {{TARGET, COLLECTOR, SERVICE, "PROFEFE_AGENT_RETRY_MIN=5m"},
         "retry-min: expected at most retry-max (2m), got 5m"},
        {{TARGET, COLLECTOR, SERVICE, "PROFEFE_AGENT_OUTPUT_DIR=/profiles"},
         "expected either collector or output-dir, got both: http://profefe:10100 and /profiles"},
        {{TARGET, COLLECTOR, SERVICE, "NODE_NAME=a,b"}, "labels: node-name: expected a label value"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_refused(rows[i].env, rows[i].words);
}

/* The flush takes at most min(5 s, grace - 1), and a CPU profile at most half of the grace period. */
static void grace_bounds_the_flush_and_the_cpu_profile(void **state)
{
    (void)state;
    static const struct {
        const char *grace, *deadline;
        int64_t stop_ms, cpu_ms;
    } rows[] = {
        {"PROFEFE_AGENT_GRACE=30", "x=y", 5000, 10000},
        {"PROFEFE_AGENT_GRACE=6", "x=y", 5000, 3000},
        {"PROFEFE_AGENT_GRACE=5", "x=y", 4000, 2000},
        {"PROFEFE_AGENT_GRACE=2", "x=y", 1000, 1000},
        {"PROFEFE_AGENT_GRACE=1", "x=y", 0, 1000},
        {"PROFEFE_AGENT_GRACE=0", "x=y", 0, 1000},
        {"PROFEFE_AGENT_GRACE=2147483647", "x=y", 5000, 10000},
        {"PROFEFE_AGENT_GRACE=30", "PROFEFE_AGENT_STOP_DEADLINE=0ms", 0, 10000},
        {"PROFEFE_AGENT_GRACE=30", "PROFEFE_AGENT_STOP_DEADLINE=5m", 29000, 10000},
        {"x=y", "PROFEFE_AGENT_STOP_DEADLINE=5m", 300000, 10000},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const env[] = {TARGET, COLLECTOR, SERVICE, rows[i].grace, rows[i].deadline, NULL};
        static struct options options;
        struct settings settings;
        read_env(&settings, env);
        assert_int_equal(0, options_resolve(&settings, "host", 0, &options, NULL, NULL));
        expect_number(rows[i].grace, rows[i].stop_ms, options.stop_deadline_ms);
        expect_number(rows[i].grace, rows[i].cpu_ms, options.gather.types.items[0].seconds_ms);
        settings_done(&settings);
    }
}

static void spool_in_memory_takes_at_most_half_of_the_limit(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        uint64_t limit, budget;
    } rows[] = {
        {"x=y", 0, 8 * MIB},
        {"x=y", 64 * MIB, 8 * MIB},
        {"x=y", 16 * MIB, 8 * MIB},
        {"x=y", 12 * MIB, 6 * MIB},
        {"x=y", 1, SPOOL_BUDGET_MIN},
        {"x=y", 2 * SPOOL_BUDGET_MIN, SPOOL_BUDGET_MIN},
        {"PROFEFE_AGENT_SPOOL_BYTES=262144", 0, SPOOL_BUDGET_MIN},
        {"PROFEFE_AGENT_SPOOL_BYTES=1073741824", 0, SPOOL_BUDGET_MAX},
        {"PROFEFE_AGENT_SPOOL_BYTES=1073741824", 32 * MIB, 16 * MIB},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const env[] = {TARGET, COLLECTOR, SERVICE, rows[i].setting, NULL};
        static struct options options;
        struct settings settings;
        read_env(&settings, env);
        assert_int_equal(0, options_resolve(&settings, "host", rows[i].limit, &options, NULL, NULL));
        expect_number(rows[i].setting, (long long)rows[i].budget, (long long)options.gather.spool_bytes);
        assert_null(options.spool_dir);
        settings_done(&settings);
    }
}

static void spool_on_disk_has_its_budget_and_one_profile_half_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        uint64_t limit, budget, profile, stand_in; /* stand_in is in memory, and small */
    } rows[] = {
        {"x=y", 16 * MIB, 8 * MIB, 4 * MIB, 8 * MIB},
        {"x=y", 6 * MIB, 8 * MIB, 4 * MIB, 3 * MIB},
        {"x=y", 0, 8 * MIB, 4 * MIB, 8 * MIB},
        {"PROFEFE_AGENT_SPOOL_BYTES=262144", 16 * MIB, SPOOL_BUDGET_MIN, SPOOL_BUDGET_MIN / 2, SPOOL_BUDGET_MIN},
        {"PROFEFE_AGENT_SPOOL_BYTES=1073741824", 16 * MIB, SPOOL_BUDGET_MAX, SPOOL_PROFILE_MAX, 8 * MIB},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *const env[] = {TARGET, COLLECTOR, SERVICE, rows[i].setting, "PROFEFE_AGENT_SPOOL_DIR=/var/spool/x",
                                   NULL};
        static struct options options;
        struct settings settings;
        read_env(&settings, env);
        assert_int_equal(0, options_resolve(&settings, "host", rows[i].limit, &options, NULL, NULL));
        assert_string_equal("/var/spool/x", options.spool_dir);
        expect_number("stands in", (long long)rows[i].stand_in, (long long)options.stand_in_bytes);
        expect_number("budget", (long long)rows[i].budget, (long long)options.gather.spool_bytes);
        expect_number("profile", (long long)rows[i].profile, (long long)options.gather.profile_max);
        settings_done(&settings);
    }
}

/* What the webhook let pass must not make the agent idle: as many labels as its list takes, beside identity. */
static void many_labels_are_left_out_rather_than_refused(void **state)
{
    (void)state;
    static char labels[1024] = "PROFEFE_AGENT_LABELS=";
    const char *const env[] = {TARGET,
                               COLLECTOR,
                               SERVICE,
                               labels,
                               "POD_NAME=web-1",
                               "POD_NAMESPACE=shop",
                               "NODE_NAME=n",
                               "PROFEFE_AGENT_CONTAINER=c",
                               NULL};
    static struct options options;
    struct settings settings;
    struct warnings warnings = {0};
    struct err err = err_untouched;
    for (int i = 0; i < LABELS_MAX; i++)
        snprintf(labels + strlen(labels), sizeof(labels) - strlen(labels), "k%d=v,", i);
    read_env(&settings, env);
    expect_success("32 labels", options_resolve(&settings, "host", 0, &options, &warnings, &err), &err);
    assert_int_equal(LABELS_MAX, options.gather.labels.count);
    assert_int_equal(5, warnings.count);
    settings_done(&settings);
}

static void a_long_host_name_is_cut_to_fit(void **state)
{
    (void)state;
    static const char *const env[] = {TARGET, COLLECTOR, SERVICE, NULL};
    static struct options options;
    struct settings settings;
    char host[400];
    memset(host, 'h', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    read_env(&settings, env);
    assert_int_equal(0, options_resolve(&settings, host, 0, &options, NULL, NULL));
    assert_int_equal(GATHER_INSTANCE_MAX, strlen(options.gather.instance));
    settings_done(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(laptop_needs_only_target_collector_and_service),
        cmocka_unit_test(pod_has_identity_labels_before_its_own),
        cmocka_unit_test(seed_is_uid_else_pod_else_host),
        cmocka_unit_test(what_is_missing_is_named_with_flag_variable_and_key),
        cmocka_unit_test(each_setting_of_the_engine_arrives),
        cmocka_unit_test(output_directory_takes_the_place_of_the_collector),
        cmocka_unit_test(contradictions_are_errors),
        cmocka_unit_test(grace_bounds_the_flush_and_the_cpu_profile),
        cmocka_unit_test(spool_in_memory_takes_at_most_half_of_the_limit),
        cmocka_unit_test(spool_on_disk_has_its_budget_and_one_profile_half_of_it),
        cmocka_unit_test(many_labels_are_left_out_rather_than_refused),
        cmocka_unit_test(a_long_host_name_is_cut_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
