/* wrap: settings_table_near_miss agent_env_fill */
/* inject and its parts, beyond what the fixtures show: the configuration, image prefixes, what annotations may say
 * once the table lets them, and the words that other parts of the project rely on. */
/* sees: webhook */

#include "review_fixtures.h"

#include "common/pod/annotations.h"
#include "common/values/quantity.h"
#include "webhook/inject/agent_container.h"
#include "webhook/inject/inject.h"
#include "webhook/inject/patch_write.h"
#include "webhook/inject/pod_notes.h"
#include "webhook/inject/resources.h"
#include "webhook/inject/status_note.h"

static void inject_names_its_decisions_and_reasons(void **state)
{
    (void)state;
    static const char *const decisions[] = {"injected", "skipped", "unchanged", "denied"};
    static const char *const reasons[] = {
        "",           "not-annotated", "disabled",     "already-injected", "host-network",
        "mirror-pod", "windows",       "architecture", "no-such-port",     "unsupported-object"};
    assert_int_equal(INJECT_DECISION_COUNT, sizeof(decisions) / sizeof(decisions[0]));
    assert_int_equal(INJECT_REASON_COUNT, sizeof(reasons) / sizeof(reasons[0]));
    for (int i = 0; i < INJECT_DECISION_COUNT; i++)
        assert_string_equal(inject_decision_names[i], decisions[i]);
    for (int i = 0; i < INJECT_REASON_COUNT; i++)
        assert_string_equal(inject_reason_names[i], reasons[i]);
}

static void inject_checks_the_configuration(void **state)
{
    (void)state;
    static const struct {
        const char *cpu_request, *cpu_limit, *memory_request, *memory_limit; /* NULL = not set */
        const char *error, *warning;                                         /* "" = none */
    } cases[] = {
        {NULL, NULL, NULL, NULL, "", ""},
        {"none", "none", "none", "none", "", ""},
        {"100m", "0.1", "16Mi", "16777216", "", ""},
        {"100m", "50m", NULL, NULL, "[inject] cpu-request: expected at most cpu-limit, which is 50m, got 100m", ""},
        {NULL, NULL, "64Mi", "63Mi", "[inject] memory-request: expected at most memory-limit, which is 63Mi, got 64Mi",
         ""},
        {NULL, NULL, "64Mi", NULL, "", ""}, /* the default limit follows */
        {NULL, NULL, NULL, "16Mi", "", ""}, /* the default request follows */
        {NULL, "20m", NULL, NULL, "", "[inject] cpu-limit: 20m is below 50m: pods may start slowly or not at all"},
        {NULL, NULL, NULL, "8Mi", "", "[inject] memory-limit: 8Mi is below 12Mi: pods may start slowly or not at all"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *values[] = {cases[i].cpu_request, cases[i].cpu_limit, cases[i].memory_request,
                                cases[i].memory_limit};
        const enum setting_id ids[] = {SETTING_CPU_REQUEST, SETTING_CPU_LIMIT, SETTING_MEMORY_REQUEST,
                                       SETTING_MEMORY_LIMIT};
        struct settings settings;
        struct warnings warnings;
        struct err err = {0};
        init_settings(&settings);
        warnings_clear(&warnings);
        for (int k = 0; k < 4; k++) {
            if (values[k] != NULL)
                set_setting(&settings, ids[k], values[k]);
        }
        assert_int_equal(inject_check_settings(&settings, &warnings, &err), cases[i].error[0] != '\0' ? -EINVAL : 0);
        assert_string_equal(err.text, cases[i].error);
        assert_string_equal(warnings_text(&warnings, 0), cases[i].warning);
        settings_done(&settings);
    }
}

static void inject_bounds_the_list_of_architectures(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error; /* error "" = none */
    } cases[] = {
        {"", ""},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", ""},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "[inject] architectures: expected at most 16, got 17"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct settings settings;
        struct err err = {0};
        init_settings(&settings);
        set_setting(&settings, SETTING_ARCHITECTURES, cases[i].text);
        assert_int_equal(inject_check_settings(&settings, NULL, &err), cases[i].error[0] != '\0' ? -EINVAL : 0);
        assert_string_equal(err.text, cases[i].error);
        settings_done(&settings);
    }
}

static void inject_wants_an_image_and_misses_a_collector(void **state)
{
    (void)state;
    struct settings settings;
    struct warnings warnings;
    struct err err = {0};
    settings_init(&settings);
    warnings_clear(&warnings);
    assert_int_equal(inject_check_settings(&settings, &warnings, &err), -EINVAL);
    assert_string_equal(err.text, "[inject] image: expected the image of profefe-agent, got none");
    set_setting(&settings, SETTING_IMAGE, "i");
    assert_int_equal(inject_check_settings(&settings, &warnings, &err), 0);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings_text(&warnings, 0), "[inject] collector"));
    assert_int_equal(inject_check_settings(&settings, NULL, NULL), 0);
    settings_done(&settings);
}

static void resources_weaker_value_follows_the_stronger(void **state)
{
    (void)state;
    static const struct {
        enum setting_id id;
        const char *annotated, *request, *limit, *warning;
    } cases[] = {
        {SETTING_MEMORY_REQUEST, "64Mi", "64Mi", "64Mi",
         "profefe.com/memory-request 64Mi is above memory-limit 16Mi; the limit is changed to 64Mi"},
        {SETTING_MEMORY_LIMIT, "12Mi", "12Mi", "12Mi",
         "profefe.com/memory-request 16Mi is above memory-limit 12Mi; the request is changed to 12Mi"},
        {SETTING_MEMORY_LIMIT, "8Mi", "8Mi", "8Mi",
         "profefe.com/memory-request 16Mi is above memory-limit 8Mi; the request is changed to 8Mi"},
        {SETTING_MEMORY_LIMIT, "none", "16Mi", NULL, ""},
        {SETTING_MEMORY_LIMIT, "0", "16Mi", NULL, ""},
        {SETTING_MEMORY_REQUEST, "none", NULL, "16Mi", ""},
        {SETTING_MEMORY_LIMIT, "64Mi", "16Mi", "64Mi", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct settings settings;
        struct json json;
        struct pod pod;
        struct warnings warnings;
        struct resources got;
        init_settings(&settings);
        warnings_clear(&warnings);
        read_quoted(&json, "{'spec':{'containers':[{'name':'a'}]}}");
        assert_true(pod_read(json.root, &pod));
        struct annotations asked = {.settings = &settings};
        asked.given[cases[i].id] = span_of(cases[i].annotated);
        resources_resolve(&pod, &asked, 0, &got, &warnings);
        assert_true(cases[i].request == NULL ? got.memory_request.ptr == NULL
                                             : span_equal(got.memory_request, cases[i].request));
        assert_true(cases[i].limit == NULL ? got.memory_limit.ptr == NULL
                                           : span_equal(got.memory_limit, cases[i].limit));
        assert_string_equal(warnings_text(&warnings, 0), cases[i].warning);
        json_done(&json);
        settings_done(&settings);
    }
}

static void resources_warn_of_a_limit_that_starts_badly(void **state)
{
    (void)state;
    struct settings settings;
    struct json json;
    struct pod pod;
    struct warnings warnings;
    struct resources got;
    init_settings(&settings);
    warnings_clear(&warnings);
    read_quoted(&json, "{'spec':{'containers':[{'name':'a'}]}}");
    assert_true(pod_read(json.root, &pod));
    struct annotations asked = {.settings = &settings};
    asked.given[SETTING_CPU_LIMIT] = span_of("20m");
    asked.given[SETTING_MEMORY_REQUEST] = asked.given[SETTING_MEMORY_LIMIT] = span_of("6Mi");
    resources_resolve(&pod, &asked, 0, &got, &warnings);
    assert_int_equal(warnings.count, 2);
    assert_string_equal(warnings_text(&warnings, 0),
                        "profefe.com/cpu-limit 20m is below 50m: the pod may start slowly or not at all");
    assert_string_equal(warnings_text(&warnings, 1),
                        "profefe.com/memory-limit 6Mi is below 12Mi: the pod may start slowly or not at all");
    json_done(&json);
    settings_done(&settings);
}

/* ---- no combination of the four annotations makes a pod invalid ---- */

enum { CPU, MEMORY, RESOURCES };
static const char *const resource_names[RESOURCES] = {"cpu", "memory"};

enum qos { BEST_EFFORT, BURSTABLE, GUARANTEED };

/* Of one container or of the pod; absent = -1. In millis of a core and in bytes. */
struct amounts {
    double request[RESOURCES], limit[RESOURCES];
};

static double read_amount(const cJSON *list, int resource)
{
    struct quantity quantity;
    const char *text = json_get_text(list, resource_names[resource]);
    if (text == NULL)
        return -1;
    if (quantity_parse(span_of(text), &quantity, NULL) != 0)
        fail_msg("the API server could not read %s", text);
    return (double)quantity.nano / 1e9;
}

/* As the API server defaults it: a limit alone is the request as well. */
static struct amounts read_amounts(const cJSON *resources)
{
    struct amounts amounts;
    for (int r = 0; r < RESOURCES; r++) {
        amounts.limit[r] = read_amount(json_get(resources, "limits"), r);
        amounts.request[r] = read_amount(json_get(resources, "requests"), r);
        if (amounts.request[r] < 0)
            amounts.request[r] = amounts.limit[r];
    }
    return amounts;
}

/* k8s.io/component-helpers, ComputePodQOS (1.34): zero counts as not set. */
static enum qos class_of(const struct amounts *containers, int count)
{
    bool any = false, guaranteed = true;
    for (int i = 0; i < count; i++) {
        for (int r = 0; r < RESOURCES; r++) {
            double request = containers[i].request[r], limit = containers[i].limit[r];
            any |= request > 0 || limit > 0;
            guaranteed &= limit > 0 && request >= limit && request <= limit;
        }
    }
    return !any ? BEST_EFFORT : guaranteed ? GUARANTEED : BURSTABLE;
}

/* pkg/apis/core/validation: a container's request within its limit, all requests within the pod's, each limit within
 * the pod's. NULL when the pod is valid. */
static const char *find_fault(const struct amounts *app, const struct amounts *ours, const struct amounts *pod)
{
    for (int r = 0; r < RESOURCES; r++) {
        double sum = (app->request[r] > 0 ? app->request[r] : 0) + (ours->request[r] > 0 ? ours->request[r] : 0);
        if (ours->limit[r] >= 0 && ours->request[r] > ours->limit[r])
            return "a request above the limit";
        if (pod->request[r] >= 0 && sum > pod->request[r])
            return "requests above the pod's";
        if (pod->limit[r] >= 0 && ours->limit[r] > pod->limit[r])
            return "a limit above the pod's";
    }
    return NULL;
}

struct combination {
    const char *values[4]; /* cpu-request, cpu-limit, memory-request, memory-limit; NULL = not given */
    const char *text;      /* of the pod */
};

static const enum setting_id ids[] = {SETTING_CPU_REQUEST, SETTING_CPU_LIMIT, SETTING_MEMORY_REQUEST,
                                      SETTING_MEMORY_LIMIT};

static bool is_none(const struct settings *settings, const struct combination *c, int i)
{
    const char *value = c->values[i] != NULL ? c->values[i] : settings_get(settings, ids[i]);
    bool limit = ids[i] == SETTING_CPU_LIMIT || ids[i] == SETTING_MEMORY_LIMIT;
    return strcmp(value, "none") == 0 || (limit && strcmp(value, "0") == 0);
}

/* Only who asks for neither request nor limit, as a LimitRange wants it, leaves the class to that. */
static bool leaves_class_alone(const struct settings *settings, const struct combination *c)
{
    return (is_none(settings, c, 0) && is_none(settings, c, 1)) || (is_none(settings, c, 2) && is_none(settings, c, 3));
}

static void check_combination(const struct settings *settings, const struct combination *c, const struct pod *pod)
{
    struct annotations asked = {.settings = settings};
    struct resources resources;
    struct json_text writer;
    struct buf text;
    struct json json;
    for (int i = 0; i < 4; i++)
        asked.given[ids[i]] = span_of(c->values[i]);
    buf_init(&text, 1024);
    resources_resolve(pod, &asked, 0, &resources, NULL);
    json_text_begin(&writer, &text, JSON_TEXT_REQUIRED);
    resources_write(&writer, NULL, &resources);
    assert_int_equal(json_read(&json, buf_text(&text), text.len, NULL), 0);
    const struct amounts both[] = {read_amounts(json_get(pod->containers->child, "resources")),
                                   read_amounts(json.root)};
    const struct amounts whole = read_amounts(json_get(pod->spec, "resources"));
    bool pod_level = json_get(pod->spec, "resources") != NULL;
    const char *fault = find_fault(&both[0], &both[1], &whole);
    enum qos before = class_of(both, 1), after = class_of(both, 2);
    if (fault == NULL && !pod_level && before == GUARANTEED && after != GUARANTEED && !leaves_class_alone(settings, c))
        fault = "no longer Guaranteed";
    if (fault == NULL && !pod_level && before == BURSTABLE && after != BURSTABLE)
        fault = "no longer Burstable";
    if (fault != NULL)
        fail_msg("%s: %s with %s %s %s %s in %s", fault, buf_text(&text), c->values[0], c->values[1], c->values[2],
                 c->values[3], c->text);
    json_done(&json);
    buf_done(&text);
}

static void check_pod_with_all_values(const struct settings *settings, const char *text)
{
    static const char *const values[RESOURCES][8] = {
        {NULL, "none", "0", "10m", "0.1", "100m", "1e0", "2"},
        {NULL, "none", "0", "8Mi", "33554432", "32Mi", "0.5Gi", "3G"},
    };
    struct json json;
    struct pod pod;
    read_quoted(&json, text);
    assert_true(pod_read(json.root, &pod));
    for (unsigned i = 0; i < 8 * 8 * 8 * 8; i++) {
        const struct combination c = {
            .values = {values[CPU][i % 8], values[CPU][i / 8 % 8], values[MEMORY][i / 64 % 8], values[MEMORY][i / 512]},
            .text = text,
        };
        check_combination(settings, &c, &pod);
    }
    json_done(&json);
}

static void resources_never_make_a_pod_invalid(void **state)
{
    (void)state;
    static const char *const pods[] = {
        "{'spec':{'containers':[{'name':'a'}]}}",
        "{'spec':{'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}}]}}",
        "{'spec':{'containers':[{'name':'a','resources':{'limits':{'memory':'1Gi'}}}]}}",
        "{'spec':{'containers':[{'name':'a','resources':{'limits':{'cpu':'1','memory':'1Gi'}}}]}}",
        "{'spec':{'containers':[{'name':'a','resources':{'requests':{'cpu':'1','memory':'1Gi'},"
        "'limits':{'cpu':'1000m','memory':'1073741824'}}}]}}",
        "{'spec':{'resources':{'requests':{'cpu':'1','memory':'1Gi'}},'containers':[{'name':'a','resources':"
        "{'requests':{'cpu':'1','memory':'1Gi'}}}]}}",
        "{'spec':{'resources':{'limits':{'cpu':'1','memory':'24Mi'}},'containers':[{'name':'a'}]}}",
        "{'spec':{'resources':{'requests':{'cpu':'1','memory':'1Gi'},'limits':{'cpu':'1','memory':'1Gi'}},"
        "'containers':[{'name':'a','resources':{'requests':{'cpu':'1','memory':'1Gi'},'limits':{'cpu':'1','memory':'"
        "1Gi'}}}]}}",
        "{'spec':{'resources':{'limits':{'memory':'20Mi'}},'containers':[{'name':'a'}]}}",
    };
    struct settings settings;
    init_settings(&settings);
    for (size_t i = 0; i < sizeof(pods) / sizeof(pods[0]); i++)
        check_pod_with_all_values(&settings, pods[i]);
    set_setting(&settings, SETTING_CPU_LIMIT, "200m");
    set_setting(&settings, SETTING_MEMORY_REQUEST, "none");
    set_setting(&settings, SETTING_MEMORY_LIMIT, "64Mi");
    for (size_t i = 0; i < sizeof(pods) / sizeof(pods[0]); i++)
        check_pod_with_all_values(&settings, pods[i]);
    settings_done(&settings);
}

/* ---- pods that are too large ---- */

static unsigned near_misses;
const char *__real_settings_table_near_miss(struct span name, unsigned uses);
const char *__wrap_settings_table_near_miss(struct span name, unsigned uses);

const char *__wrap_settings_table_near_miss(struct span name, unsigned uses)
{
    near_misses++;
    return __real_settings_table_near_miss(name, uses);
}

static int extra_variables; /* of a table of settings that has grown */
int __real_agent_env_fill(struct agent_env *env, const struct agent_env_source *from, struct agent_container *container,
                          struct warnings *warnings);
int __wrap_agent_env_fill(struct agent_env *env, const struct agent_env_source *from, struct agent_container *container,
                          struct warnings *warnings);

int __wrap_agent_env_fill(struct agent_env *env, const struct agent_env_source *from, struct agent_container *container,
                          struct warnings *warnings)
{
    for (int i = 0; i < extra_variables; i++)
        agent_container_add_env(container, "EXTRA", span_of("x"));
    return __real_agent_env_fill(env, from, container, warnings);
}

static unsigned warned_of_kind[WARNING_KIND_COUNT];

/* Injects into `json` and applies the patch to it, which then borrows from *ret_operations. Returns the number of
 * warnings. */
static unsigned decide_and_apply(struct json *json, struct json *ret_operations)
{
    struct policy policy = {0};
    struct injection_plan plan;
    struct patch patch;
    struct err err = {0};
    init_settings(&policy.settings);
    patch_init(&patch);
    assert_int_equal(inject_decide(&policy, json->root, false, &plan, &err), 0);
    assert_int_equal(plan.decision, INJECT_INJECTED);
    assert_int_equal(patch_write(&plan, &patch), 0);
    assert_int_equal(json_read(ret_operations, buf_text(&patch.text), patch.text.len, &err), 0);
    assert_int_equal(patch_apply(json, json->root, ret_operations, &err), 0);
    memcpy(warned_of_kind, plan.warnings.of_kind, sizeof(warned_of_kind));
    unsigned count = plan.warnings.count;
    inject_plan_done(&plan);
    patch_done(&patch);
    policy_done(&policy);
    return count;
}

/* Each comparison with all the names is slow, and a review has room for 100,000 keys. */
static void many_unknown_keys_are_cheap(void **state)
{
    (void)state;
    struct json json, operations;
    struct buf text;
    buf_init(&text, 1024 * 1024);
    buf_puts(&text, "{'metadata':{'annotations':{'profefe.com/enable':'true'");
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, ",'profefe.com/key-%d':''", i);
    buf_puts(&text, "}},'spec':{'containers':[{'name':'a'}]}}");
    read_quoted(&json, buf_text(&text));
    near_misses = 0;
    decide_and_apply(&json, &operations);
    assert_int_equal(warned_of_kind[WARNING_UNKNOWN_KEY], 1000);
    assert_int_equal(near_misses, WARNINGS_MAX);
    json_done(&operations);
    json_done(&json);
    buf_done(&text);
}

static size_t size_of_annotations(const cJSON *pod)
{
    size_t size = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get(json_get(pod, "metadata"), "annotations"))
        size += strlen(item->string) + strlen(item->valuestring);
    return size;
}

/* A pod of 256 KiB of annotations is good, and one byte more of ours would refuse it. */
static void annotations_never_pass_their_limit(void **state)
{
    (void)state;
    static const int rooms[] = {-1, 0, 1, 30, 31, 32, 33, 60, 61, 62, 63, 80, 200};
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        static const size_t before = sizeof("profefe.com/enable" "true" "profefe.com/mode" "container" "x") - 1;
        size_t pad = (size_t)(256 * 1024 - rooms[i]) - before;
        struct json json, operations;
        struct buf text;
        buf_init(&text, 1024 * 1024);
        buf_puts(&text, "{'metadata':{'annotations':{'profefe.com/enable':'true','profefe.com/mode':'container','x':'");
        while (pad-- > 0)
            buf_putc(&text, 'x');
        buf_puts(&text, "'}},'spec':{'containers':[{'name':'a'}]}}");
        read_quoted(&json, buf_text(&text));
        size_t size = size_of_annotations(json.root);
        unsigned warned = decide_and_apply(&json, &operations);
        assert_true(size_of_annotations(json.root) <= 256 * 1024 || size_of_annotations(json.root) == size);
        assert_int_equal(warned == 0, rooms[i] >= 80); /* both notes take less */
        json_done(&operations);
        json_done(&json);
        buf_done(&text);
    }
}

/* Warnings are bounded, so the status is, whatever they say. */
static void status_stays_within_its_limit(void **state)
{
    (void)state;
    struct warnings warnings;
    struct buf out;
    warnings_clear(&warnings);
    buf_init(&out, STATUS_NOTE_MAX);
    for (int i = 0; i < 5000; i++)
        warnings_add(&warnings, "%0900d", i);
    assert_int_equal(status_note_injected(&out, &warnings), 0);
    assert_true(out.len <= STATUS_NOTE_MAX);
    assert_non_null(strstr(buf_text(&out), "(+4999)"));
    buf_done(&out);
}

/* Kubernetes' own expansion (third_party/forked/golang/expansion), to see that it gives back what went in. */
static void expand(const char *text, struct buf *out)
{
    while (*text != '\0') {
        const char *close = text[0] == '$' && text[1] == '(' ? strchr(text, ')') : NULL;
        if (text[0] == '$' && text[1] == '$') {
            buf_putc(out, '$');
            text += 2;
        } else if (close != NULL) {
            buf_puts(out, "EXPANDED");
            text = close + 1;
        } else {
            buf_putc(out, *text++);
        }
    }
}

static void container_values_survive_expansion(void **state)
{
    (void)state;
    static const char *const values[] = {"plain", "$",  "$$", "$$$", "$(POD_NAME)", "$$(POD_NAME)", "$$$(X)",
                                         "a$b",   "$(", "x$", "$)(", "\"$(A)\\",    "$(A)$(B)",     "é$(é)"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf text, expanded;
        struct json json;
        struct json_text writer;
        static const struct volumes volumes;
        struct agent_container container = {.image = span_of("i"), .volumes = &volumes, .port = 1};
        buf_init(&text, 4096);
        buf_init(&expanded, 4096);
        agent_container_add_env(&container, "A", span_of(values[i]));
        json_text_begin(&writer, &text, JSON_TEXT_REQUIRED);
        agent_container_write(&writer, &container);
        assert_int_equal(json_read(&json, buf_text(&text), text.len, NULL), 0);
        const cJSON *last = json_get_array(json.root, "env")->child->prev;
        expand(json_get_text(last, "value"), &expanded);
        assert_string_equal(buf_text(&expanded), values[i]);
        json_done(&json);
        buf_done(&text);
        buf_done(&expanded);
    }
}

static void container_leaves_out_empty_values(void **state)
{
    (void)state;
    struct agent_container container = {.port = 1};
    agent_container_add_env(&container, "A", span_of(""));
    agent_container_add_env(&container, "B", (struct span){NULL, 0});
    assert_int_equal(container.env_count, 0);
}

/* A new row of the settings' table takes a place by itself, so this must not end in memory of somebody else's. */
static void container_tells_when_a_variable_finds_no_room(void **state)
{
    (void)state;
    struct agent_container container = {.port = 1};
    for (int i = 0; i < AGENT_CONTAINER_ENV_MAX; i++)
        agent_container_add_env(&container, "A", span_of("x"));
    assert_false(container.full);
    agent_container_add_env(&container, "B", span_of(""));
    assert_false(container.full);
    agent_container_add_env(&container, "B", span_of("x"));
    assert_true(container.full);
    assert_int_equal(container.env_count, AGENT_CONTAINER_ENV_MAX);
    assert_string_equal(container.env[AGENT_CONTAINER_ENV_MAX - 1].name, "A");
}

static void notes_tell_when_one_finds_no_room(void **state)
{
    (void)state;
    static const char *const keys[POD_NOTES_MAX + 1] = {"a", "b", "c", "d", "e", "f"};
    static const struct pod pod;
    struct pod_notes notes;
    pod_notes_init(&notes, &pod);
    for (int i = 0; i < POD_NOTES_MAX; i++)
        pod_notes_add(&notes, keys[i], span_of("x"), NULL);
    assert_false(notes.full);
    pod_notes_add(&notes, keys[POD_NOTES_MAX], span_of("x"), NULL);
    assert_true(notes.full);
    assert_int_equal(notes.count, POD_NOTES_MAX);
}

/* A bug of ours refuses the injection, in words, and the pod starts as it is. */
static void injection_without_room_is_refused(void **state)
{
    (void)state;
    struct policy policy = {0};
    struct injection_plan plan;
    struct err err = {0};
    struct json json;
    init_settings(&policy.settings);
    read_quoted(&json,
                "{'metadata':{'annotations':{'profefe.com/enable':'true'}},'spec':{'containers':[{'name':'a'}]}}");
    extra_variables = AGENT_CONTAINER_ENV_MAX;
    assert_int_equal(inject_decide(&policy, json.root, false, &plan, &err), -ENOBUFS);
    extra_variables = 0;
    assert_string_equal(err.text, "expected at most 32 variables of the agent and 5 notes on the pod");
    inject_plan_done(&plan);
    json_done(&json);
    policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inject_names_its_decisions_and_reasons),
        cmocka_unit_test(inject_checks_the_configuration),
        cmocka_unit_test(inject_bounds_the_list_of_architectures),
        cmocka_unit_test(inject_wants_an_image_and_misses_a_collector),
        cmocka_unit_test(resources_weaker_value_follows_the_stronger),
        cmocka_unit_test(resources_never_make_a_pod_invalid),
        cmocka_unit_test(resources_warn_of_a_limit_that_starts_badly),
        cmocka_unit_test(container_tells_when_a_variable_finds_no_room),
        cmocka_unit_test(notes_tell_when_one_finds_no_room),
        cmocka_unit_test(injection_without_room_is_refused),
        cmocka_unit_test(many_unknown_keys_are_cheap),
        cmocka_unit_test(annotations_never_pass_their_limit),
        cmocka_unit_test(status_stays_within_its_limit),
        cmocka_unit_test(container_values_survive_expansion),
        cmocka_unit_test(container_leaves_out_empty_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
