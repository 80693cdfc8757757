/* sees: webhook */
/* resources: random pods under random configurations never leave the bounds. What each rule gives show the fixtures. */
#include "review_fixtures.h"

#include "common/base/cleanup.h"
#include "common/pod/annotations.h"
#include "common/pod/limits.h"
#include "common/values/quantity.h"
#include "ini_file.h"
#include "webhook/inject/pod_resources.h"
#include "webhook/inject/resources.h"

enum {
    PODS = 3000,
    PODS_OF_A_POLICY = 10,
    TEXT_SIZE = 4096,
    SEED = 20260829,
    GUARANTEED_MIN = 300, /* of the pods; a check that never applies must not pass */
    POD_LEVEL_MIN = 300,
};

static const enum setting_id ids[] = {SETTING_CPU_REQUEST, SETTING_CPU_LIMIT, SETTING_MEMORY_REQUEST,
                                      SETTING_MEMORY_LIMIT};
enum { IDS = sizeof(ids) / sizeof(ids[0]) };

static const char *const values[2][9] = {
    {"none", "0", "1m", "5m", "0.01", "20m", "50m", "100m", "1"},
    {"none", "0", "4Mi", "8Mi", "12Mi", "16Mi", "20971520", "64Mi", "1Gi"},
};
enum { VALUES = 9 };

static uint64_t seed = SEED;

/* xorshift64 */
static unsigned up_to(unsigned end)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % end);
}

static const char *pick(int i, unsigned first)
{
    return values[i / 2][first + up_to(VALUES - first)];
}

static void put(char text[static TEXT_SIZE], const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(char text[static TEXT_SIZE], const char *fmt, ...)
{
    va_list args;
    size_t len = strlen(text);
    va_start(args, fmt);
    vsnprintf(text + len, TEXT_SIZE - len, fmt, args);
    va_end(args);
}

/* ---- a configuration ---- */

static void put_limit(char text[static TEXT_SIZE], int i)
{
    unsigned kind = up_to(6);
    unsigned low = 2 + up_to(VALUES - 2), high = low + up_to(VALUES - low);
    const char *name = settings_table[ids[i]].name;
    if (kind == 0)
        put(text, "%s = fixed\n", name);
    else if (kind == 1)
        put(text, "%s = %s..\n", name, values[i / 2][low]);
    else if (kind == 2)
        put(text, "%s = ..%s\n", name, values[i / 2][high]);
    else if (kind == 3)
        put(text, "%s = %s..%s\n", name, values[i / 2][low], values[i / 2][high]);
}

/* Until one is taken: most combinations contradict themselves, and are refused as a file. */
static void make_policy(struct policy *policy)
{
    struct err err;
    for (;;) {
        char text[TEXT_SIZE] = "[inject]\nimage = i\ncollector = http://p\n";
        for (int i = 0; i < IDS; i++) {
            if (up_to(2) == 0)
                put(text, "%s = %s\n", settings_table[ids[i]].name, pick(i, 0));
        }
        put(text, "[limits]\n");
        for (int i = 0; i < IDS; i++)
            put_limit(text, i);
        write_ini(text);
        if (policy_read(policy, ini_path, &err) == 0 && resources_check_settings(&policy->settings, NULL, &err) == 0)
            return;
        policy_done(policy);
    }
}

/* ---- a pod ---- */

static void put_list(char text[static TEXT_SIZE], const char *key, const char *cpu, const char *memory)
{
    put(text, "'%s':{", key);
    if (cpu != NULL)
        put(text, "'cpu':'%s'%s", cpu, memory != NULL ? "," : "");
    if (memory != NULL)
        put(text, "'memory':'%s'", memory);
    put(text, "}");
}

static const char *perhaps(int i)
{
    return up_to(3) > 0 ? pick(i, 1) : NULL;
}

static void put_resources(char text[static TEXT_SIZE], bool guaranteed)
{
    put(text, "'resources':{");
    if (guaranteed) {
        put_list(text, "limits", pick(1, 2), pick(3, 2));
    } else {
        put_list(text, "requests", perhaps(0), perhaps(2));
        put(text, ",");
        put_list(text, "limits", perhaps(1), perhaps(3));
    }
    put(text, "}");
}

static void put_annotations(char text[static TEXT_SIZE])
{
    put(text, "'annotations':{'profefe.com/enable':'true'");
    for (int i = 0; i < IDS; i++) {
        if (up_to(3) == 0)
            put(text, ",'profefe.com/%s':'%s'", settings_table[ids[i]].name, pick(i, 0));
    }
    put(text, "}");
}

static void make_pod(struct json *json)
{
    char text[TEXT_SIZE] = "{'kind':'Pod','apiVersion':'v1','metadata':{";
    bool guaranteed = up_to(2) == 0;
    put_annotations(text);
    put(text, "},'spec':{'containers':[");
    for (unsigned i = 0, count = 1 + up_to(3); i < count; i++) {
        put(text, "%s{'name':'c%u',", i > 0 ? "," : "", i);
        put_resources(text, guaranteed);
        put(text, "}");
    }
    put(text, "]");
    if (up_to(3) == 0) {
        put(text, ",");
        put_resources(text, up_to(2) == 0);
    }
    put(text, "}}");
    read_quoted(json, text);
}

/* ---- what must hold ---- */

struct outcome {
    struct annotations asked;
    struct pod pod;
    struct resources resources;
    struct warnings warnings;
    struct span used[IDS];
    bool of_pod; /* spec.resources is set */
};

#define fail_pod(n, o, ...)                                                                        \
    do {                                                                                           \
        char *pod_text = cJSON_PrintUnformatted((o)->pod.object);                                  \
        print_error("pod %d: %s\n", n, pod_text);                                                  \
        for (int i_ = 0; i_ < IDS; i_++)                                                           \
            print_error("%s %.*s [limits] %s\n", settings_table[ids[i_]].name, (int)(o)->used[i_].len, \
                        (o)->used[i_].ptr, (o)->asked.limits->of[ids[i_]].text);                   \
        free(pod_text);                                                                            \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static bool read_used(const struct outcome *o, int i, struct quantity *ret)
{
    return o->used[i].ptr != NULL && quantity_parse(o->used[i], ret, NULL) == 0;
}

static void expect_order(int n, const struct outcome *o)
{
    struct quantity request, limit;
    for (int i = 0; i < IDS; i++) {
        if (o->used[i].ptr != NULL && !read_used(o, i, &request))
            fail_pod(n, o, "%.*s does not parse", (int)o->used[i].len, o->used[i].ptr);
    }
    for (int i = 0; i < IDS; i += 2) {
        if (read_used(o, i, &request) && read_used(o, i + 1, &limit) && quantity_compare(&request, &limit) > 0)
            fail_pod(n, o, "%s is above its limit", settings_table[ids[i]].name);
    }
}

/* A request that is left out becomes the limit. */
static void expect_bounds(int n, const struct outcome *o)
{
    for (int i = 0; i < IDS; i++) {
        struct err err = {0};
        const char *limit = o->asked.limits->of[ids[i]].text;
        struct span used = i % 2 == 0 && o->used[i].ptr == NULL ? o->used[i + 1] : o->used[i];
        if (limit == NULL || strcmp(limit, "fixed") == 0)
            continue;
        used = used.ptr != NULL ? used : span_of("none");
        if (limits_check(o->asked.limits, ids[i], used, &err) < 0)
            fail_pod(n, o, "%s: %s", settings_table[ids[i]].name, err.text);
    }
}

/* Where the pod has resources of its own, only what would be too much for the cluster is a bound. */
static void expect_upper_bounds(int n, const struct outcome *o)
{
    for (int i = 0; i < IDS; i++) {
        struct span low, high;
        struct quantity used, most;
        limits_get_range(o->asked.limits, ids[i], &low, &high);
        if (quantity_parse(high, &most, NULL) == 0 && read_used(o, i, &used) && quantity_compare(&used, &most) > 0)
            fail_pod(n, o, "%s is above the bound", settings_table[ids[i]].name);
    }
}

static bool is_told(const struct outcome *o, const char *part)
{
    for (unsigned i = 0; i < warnings_shown(&o->warnings); i++) {
        if (strstr(warnings_text(&o->warnings, i), part) != NULL)
            return true;
    }
    return false;
}

static void expect_class(int n, const struct outcome *o)
{
    for (int i = 0; i < IDS; i += 2) {
        struct quantity request, limit;
        bool kept = read_used(o, i, &request) && read_used(o, i + 1, &limit) && !quantity_is_zero(&limit) &&
                    quantity_compare(&request, &limit) == 0;
        if (!kept && !is_told(o, "Guaranteed"))
            fail_pod(n, o, "not Guaranteed any more, without a word");
    }
}

static void expect_told(int n, const struct outcome *o)
{
    for (int i = 0; i < IDS; i++) {
        char part[64];
        struct quantity asked, used;
        struct span given = o->asked.given[ids[i]];
        bool limit = i % 2 == 1;
        bool none = given.ptr == NULL || quantity_parse(given, &asked, NULL) < 0 || (limit && quantity_is_zero(&asked));
        bool same = none ? o->used[i].ptr == NULL || (limit && read_used(o, i, &used) && quantity_is_zero(&used))
                         : read_used(o, i, &used) && quantity_compare(&asked, &used) == 0;
        if (given.ptr == NULL || same)
            continue;
        snprintf(part, sizeof(part), " %.*s", o->used[i].ptr != NULL ? (int)o->used[i].len : 4,
                 o->used[i].ptr != NULL ? o->used[i].ptr : "none");
        if (!is_told(o, part))
            fail_pod(n, o, "%s: asked for %.*s, got%s without a word", settings_table[ids[i]].name, (int)given.len,
                     given.ptr, part);
    }
}

static void decide(const struct policy *policy, const struct json *json, struct outcome *o)
{
    warnings_clear(&o->warnings);
    assert_true(pod_read(json->root, &o->pod));
    assert_int_equal(annotations_read(&o->pod, policy, false, &o->asked, NULL), 0);
    resources_resolve(&o->pod, &o->asked, 0, &o->resources, &o->warnings);
    const struct span used[IDS] = {o->resources.cpu_request, o->resources.cpu_limit, o->resources.memory_request,
                                   o->resources.memory_limit};
    memcpy(o->used, used, sizeof(used));
    o->of_pod = pod_resources_of_pod(&o->pod) != NULL;
}

struct seen {
    int guaranteed, of_pod;
};

static void expect_all(int n, const struct policy *policy, struct seen *seen)
{
    CLEANUP(json_done) struct json json = {0};
    struct outcome o;
    make_pod(&json);
    decide(policy, &json, &o);
    expect_order(n, &o);
    expect_told(n, &o);
    seen->of_pod += o.of_pod;
    if (o.of_pod) {
        expect_upper_bounds(n, &o);
        return;
    }
    expect_bounds(n, &o);
    if (pod_resources_are_guaranteed(&o.pod)) {
        expect_class(n, &o);
        seen->guaranteed++;
    }
}

static void resources_stay_within_the_bounds(void **state)
{
    (void)state;
    struct seen seen = {0};
    for (int n = 0; n < PODS;) {
        CLEANUP(policy_done) struct policy policy = {0};
        make_policy(&policy);
        for (int i = 0; i < PODS_OF_A_POLICY; i++, n++)
            expect_all(n, &policy, &seen);
    }
    assert_true(seen.guaranteed >= GUARANTEED_MIN);
    assert_true(seen.of_pod >= POD_LEVEL_MIN);
}

/* Sums of what stays, in thousandths; the share is the 20th part, from 10m to 50m. */
static void resources_share_is_five_percent(void **state)
{
    (void)state;
    static const struct {
        const char *cpu, *want;
    } rows[] = {{"1m", "10m"},  {"199m", "10m"}, {"200m", "10m"}, {"219m", "10m"}, {"220m", "11m"},
                {"0.5", "25m"}, {"999m", "49m"}, {"1", "50m"},    {"64", "50m"},   {"9223372036854775807", "50m"}};
    struct policy policy = {0};
    init_settings(&policy.settings);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256];
        struct json json;
        struct outcome o;
        snprintf(text, sizeof(text), "{'spec':{'containers':[{'resources':{'limits':{'cpu':'%s','memory':'1Gi'}}}]}}",
                 rows[i].cpu);
        read_quoted(&json, text);
        decide(&policy, &json, &o);
        assert_int_equal(o.used[0].len, strlen(rows[i].want));
        assert_memory_equal(o.used[0].ptr, rows[i].want, o.used[0].len);
        assert_int_equal(o.warnings.count, 0);
        json_done(&json);
    }
    policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_stay_within_the_bounds),
        cmocka_unit_test(resources_share_is_five_percent),
    };
    return cmocka_run_group_tests(tests, make_ini, remove_ini);
}
