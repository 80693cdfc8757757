/* wrap: malloc calloc realloc strndup */
/* admission: from a review's bytes to a reply's, over the folders in fixtures/review (see its README.md). */
#include "review_fixtures.h"

#include "common/base/version.h"
#include "webhook/inject/patch.h"
#include "webhook/patch_verify.h"

#include <fnmatch.h>
#include <glob.h>
#include <unistd.h>

#define ROOT FIXTURES "/review"
#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"

enum {
    FILE_MAX = 1024 * 1024,
    TEXT_MAX = 8192,
    CASES_MIN = 300, /* an empty folder must not pass */
};

/* ---- allocations that fail ---- */

static long fail_at = -1; /* the n-th allocation from now fails; -1: none */
static bool fail_on;      /* ... and all after it */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strndup(const char *text, size_t len);

static bool fails(void)
{
    if (fail_at > 0)
        return --fail_at == 0;
    return fail_at == 0 && fail_on;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails() ? NULL : __real_strndup(text, len);
}

/* ---- one case ---- */

struct fixture {
    const char *name;
    struct policy policy;
    struct buf body, expect_text, options;
    struct json expect;
    bool all, offline;
    char pod_namespace[64]; /* of `options`; "" = none */
};

/* What came out of it. */
struct outcome {
    struct admission_result result;
    struct buf reply;
    struct json reply_json, before, after;
    struct json patch;     /* root NULL when there is none */
    char *patch_text;      /* "" likewise */
    size_t patch_len;
    cJSON *pod;            /* in `after`: the patched pod */
    const cJSON *response; /* in reply_json */
};

#define fail_case(f, ...)                                                                          \
    do {                                                                                           \
        print_error("%s: ", (f)->name);                                                            \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

/* Reads fixtures/review/NAME/file (NAME is GROUP/CASE); false when there is none. @VERSION@ becomes the version. */
static bool read_fixture(const char *name, const char *file, struct buf *out)
{
    char path[512];
    snprintf(path, sizeof(path), ROOT "/%s/%s", name, file);
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return false;
    buf_init(out, FILE_MAX);
    char piece[4096];
    for (size_t got; (got = fread(piece, 1, sizeof(piece), f)) > 0;)
        assert_int_equal(buf_append(out, piece, got), 0);
    fclose(f);
    return true;
}

static void replace_version(struct buf *buf)
{
    static const char mark[] = "@VERSION@";
    struct buf out;
    buf_init(&out, FILE_MAX);
    const char *rest = buf_text(buf);
    for (const char *at; (at = strstr(rest, mark)) != NULL; rest = at + sizeof(mark) - 1) {
        buf_append(&out, rest, (size_t)(at - rest));
        buf_puts(&out, version_text());
    }
    buf_puts(&out, rest);
    assert_int_equal(buf_error(&out), 0);
    buf_done(buf);
    *buf = out;
}

static void read_options(struct fixture *f)
{
    char *saved = NULL;
    if (!read_fixture(f->name, "options", &f->options))
        return;
    for (char *line = strtok_r(f->options.data, "\n", &saved); line != NULL; line = strtok_r(NULL, "\n", &saved)) {
        if (strcmp(line, "path = /mutate/all") == 0)
            f->all = true;
        else if (strcmp(line, "path = --review") == 0)
            f->offline = true;
        else if (sscanf(line, "namespace = %63s", f->pod_namespace) != 1 && strcmp(line, "path = /mutate") != 0)
            fail_case(f, "options: unknown line \"%s\"", line);
    }
}

static void read_config(struct fixture *f)
{
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof(path), ROOT "/%s/webhook.ini", f->name);
    if (access(path, F_OK) != 0)
        snprintf(path, sizeof(path), ROOT "/webhook.ini");
    if (policy_read(&f->policy, path, &err) != 0)
        fail_case(f, "%s", err.text);
    if (inject_check_settings(&f->policy.settings, NULL, &err) != 0)
        fail_case(f, "%s: %s", path, err.text);
}

static void open_fixture(struct fixture *f, const char *name)
{
    struct err err = {0};
    *f = (struct fixture){.name = name};
    buf_init(&f->options, FILE_MAX);
    f->offline = read_fixture(name, "pod.json", &f->body);
    if (!f->offline && !read_fixture(name, "review.json", &f->body) && !read_fixture(name, "body", &f->body))
        fail_case(f, "expected pod.json, review.json or body");
    if (!read_fixture(name, "expect.json", &f->expect_text))
        fail_case(f, "expected expect.json");
    replace_version(&f->expect_text);
    if (json_read(&f->expect, buf_text(&f->expect_text), f->expect_text.len, &err) != 0)
        fail_case(f, "expect.json: %s", err.text);
    read_options(f);
    read_config(f);
}

static void close_fixture(struct fixture *f)
{
    json_done(&f->expect);
    buf_done(&f->body);
    buf_done(&f->expect_text);
    buf_done(&f->options);
    policy_done(&f->policy);
}

static int ask(const struct fixture *f, struct admission_result *result, struct buf *reply, struct err *err)
{
    struct span body = {buf_text(&f->body), f->body.len};
    const char *given = f->pod_namespace[0] != '\0' ? f->pod_namespace : NULL;
    if (!f->offline)
        return admission_answer(&f->policy, body, f->all, result, reply, err);
    return admission_answer_offline(&f->policy, body, f->all, given, result, reply, err);
}

/* ---- comparing ---- */

static void print_json(char out[static TEXT_MAX], const cJSON *item)
{
    char *text = item != NULL ? cJSON_Print(item) : NULL;
    snprintf(out, TEXT_MAX, "%s", text != NULL ? text : "(nothing)");
    free(text);
}

/* Everything in `part` is in `whole`: members by name, null for "not there"; lists and the rest must be equal. */
static bool contains(const cJSON *whole, const cJSON *part)
{
    if (cJSON_IsNull(part))
        return whole == NULL || cJSON_IsNull(whole);
    if (!cJSON_IsObject(part) || !cJSON_IsObject(whole) || part->child == NULL)
        return whole != NULL && cJSON_Compare(whole, part, /* case_sensitive= */ 1);
    const cJSON *member;
    cJSON_ArrayForEach(member, part)
    {
        if (!contains(json_get(whole, member->string), member))
            return false;
    }
    return true;
}

static void expect_part(const struct fixture *f, const char *key, const cJSON *whole)
{
    char want[TEXT_MAX], got[TEXT_MAX];
    const cJSON *part = json_get(f->expect.root, key);
    if (part == NULL || contains(whole, part))
        return;
    print_json(want, part);
    print_json(got, whole);
    fail_case(f, "%s: expected (a part of)\n%s\ngot\n%s", key, want, got);
}

static void expect_text(const struct fixture *f, const char *key, const char *got)
{
    const char *want = json_get_text(f->expect.root, key);
    if (want != NULL && strcmp(want, got) != 0)
        fail_case(f, "%s: expected \"%s\", got \"%s\"", key, want, got);
}

static void expect_warnings(const struct fixture *f, const struct admission_result *result)
{
    const struct warnings *got = &result->warnings;
    const cJSON *want = json_get_array(f->expect.root, "warnings");
    unsigned i = 0;
    const cJSON *pattern;
    cJSON_ArrayForEach(pattern, want)
    {
        if (fnmatch(pattern->valuestring, warnings_text(got, i), FNM_NOESCAPE) != 0)
            fail_case(f, "warning %u: expected \"%s\", got \"%s\"", i, pattern->valuestring, warnings_text(got, i));
        i++;
    }
    if (i != warnings_shown(got))
        fail_case(f, "expected %u warnings, got %u: %s", i, warnings_shown(got), warnings_text(got, i));
}

/* ---- what holds for every reply ---- */

static void expect_well_formed(const struct fixture *f, struct outcome *o)
{
    struct err err = {0};
    if (json_read(&o->reply_json, buf_text(&o->reply), o->reply.len, &err) != 0)
        fail_case(f, "the reply: %s", err.text);
    const cJSON *root = o->reply_json.root, *asked = json_get_object(o->before.root, "request");
    o->response = json_get_object(root, "response");
    assert_string_equal(json_get_text(root, "kind"), "AdmissionReview");
    assert_non_null(o->response);
    assert_int_equal(json_get_true(o->response, "allowed"), o->result.decision != INJECT_DENIED);
    if (asked == NULL)
        return;
    assert_string_equal(json_get_text(root, "apiVersion"), json_get_text(o->before.root, "apiVersion"));
    assert_string_equal(json_get_text(o->response, "uid"), json_get_text(asked, "uid"));
}

/* k8s.io/apiserver admissionreview.go: patch and patchType together or not at all. */
static void take_patch(const struct fixture *f, struct outcome *o)
{
    struct err err = {0};
    const char *patch = json_get_text(o->response, "patch"), *type = json_get_text(o->response, "patchType");
    o->patch_text = calloc(1, 1);
    if (patch == NULL) {
        assert_null(type);
        return;
    }
    assert_string_equal(type, "JSONPatch");
    free(o->patch_text);
    o->patch_text = decode_base64(patch, &o->patch_len);
    if (o->patch_text == NULL)
        fail_case(f, "the patch is not base64: %s", patch);
    if (json_read(&o->patch, o->patch_text, o->patch_len, &err) != 0)
        fail_case(f, "the patch: %s", err.text);
}

static cJSON *find_pod(const struct json *body)
{
    return review_is_review(body->root) ? json_get(json_get(body->root, "request"), "object") : body->root;
}

static void apply(const struct fixture *f, struct outcome *o)
{
    struct err err = {0};
    struct span body = {buf_text(&f->body), f->body.len}, patch = {o->patch_text, o->patch_len};
    o->pod = find_pod(&o->after);
    if (patch_verify(&f->policy, body, f->all, patch, &err) != 0)
        fail_case(f, "%s", err.text);
    if (o->patch.root != NULL && patch_apply(&o->after, o->pod, &o->patch, &err) != 0)
        fail_case(f, "%s", err.text);
}

static const cJSON *find_named(const cJSON *list, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *text = json_get_text(item, "name");
        if (text != NULL && strcmp(text, name) == 0)
            return item;
    }
    return NULL;
}

static const cJSON *agent_in(const cJSON *pod, const char *list)
{
    return find_named(json_get_array(json_get(pod, "spec"), list), "profefe-agent");
}

/* The token's path is covered; what else is mounted is our own, and only the spool can be written to. */
static void expect_mounts(const struct fixture *f, const struct outcome *o, const cJSON *mounts)
{
    const cJSON *volumes = json_get_array(json_get(o->pod, "spec"), "volumes"), *mount;
    assert_string_equal(json_get_text(mounts->child, "mountPath"), TOKEN_PATH);
    expect_text(f, "volume", json_get_text(mounts->child, "name"));
    cJSON_ArrayForEach(mount, mounts)
    {
        const cJSON *volume = find_named(volumes, json_get_text(mount, "name"));
        const cJSON *secret = json_get_object(volume, "secret"), *spool = json_get_object(volume, "emptyDir");
        bool token = json_get_object(volume, "downwardAPI") != NULL;
        if (token + (secret != NULL) + (spool != NULL) != 1 || token != (mount == mounts->child))
            fail_case(f, "%s is none of our volumes", json_get_text(mount, "name"));
        assert_true(json_get_true(mount, "readOnly") == (spool == NULL));
        assert_true(secret == NULL || json_get_true(secret, "optional"));
        assert_true(spool == NULL || json_get_text(spool, "sizeLimit") != NULL);
    }
}

/* What holds of every injected container, whatever the pod: restricted Pod Security, no token, nothing that the app
 * waits for. */
static void expect_promises(const struct fixture *f, const struct outcome *o, const cJSON *container, bool native)
{
    struct json want;
    read_quoted(&want, "{'runAsNonRoot':true,'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']},"
                       "'readOnlyRootFilesystem':true,'seccompProfile':{'type':'RuntimeDefault'}}");
    if (!contains(json_get(container, "securityContext"), want.root))
        fail_case(f, "not fit for restricted Pod Security");
    json_done(&want);
    const char *restart = json_get_text(container, "restartPolicy");
    assert_true(native ? restart != NULL && strcmp(restart, "Always") == 0 : restart == NULL);
    expect_mounts(f, o, json_get_array(container, "volumeMounts"));
    assert_null(json_get(container, "livenessProbe"));
    assert_null(json_get(container, "readinessProbe"));
    assert_null(json_get(container, "startupProbe"));
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* A Service called profefe puts PROFEFE_PORT and the like into every container of its namespace. */
static void expect_env_names(const struct fixture *f, const cJSON *container)
{
    const cJSON *env = json_get_array(container, "env"), *item;
    const cJSON *wanted = json_get_object(f->expect.root, "env");
    cJSON_ArrayForEach(item, env)
    {
        const char *name = json_get_text(item, "name");
        if (ends_with(name, "_PORT") || ends_with(name, "_HOST") || ends_with(name, "_ADDR") ||
            ends_with(name, "_PROTO"))
            fail_case(f, "%s could be a Service's", name);
        if (find_named(env, name) != item)
            fail_case(f, "%s is there twice", name);
    }
    cJSON_ArrayForEach(item, wanted)
    {
        const char *got = json_get_text(find_named(env, item->string), "value");
        const char *want = cJSON_IsString(item) ? item->valuestring : NULL;
        if ((got == NULL) != (want == NULL) || (got != NULL && strcmp(got, want) != 0))
            fail_case(f, "%s: expected %s, got %s", item->string, want != NULL ? want : "(nothing)",
                      got != NULL ? got : "(nothing)");
    }
}

static void expect_container(const struct fixture *f, const struct outcome *o)
{
    const cJSON *init = agent_in(o->pod, "initContainers"), *plain = agent_in(o->pod, "containers");
    if ((init != NULL) == (plain != NULL))
        fail_case(f, "expected the container once");
    const cJSON *container = init != NULL ? init : plain;
    if (container->next != NULL)
        fail_case(f, "the container is not the last in its list");
    expect_text(f, "place", init != NULL ? "initContainers" : "containers");
    expect_promises(f, o, container, init != NULL);
    expect_env_names(f, container);
    expect_part(f, "container", container);
}

static const char *status_of(const cJSON *pod)
{
    return json_get_text(json_get(json_get(pod, "metadata"), "annotations"), "profefe.com/status");
}

static void expect_status(const struct fixture *f, const struct outcome *o)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(f->expect.root, "status");
    const char *got = status_of(o->pod);
    if (got != NULL && strlen(got) > 512)
        fail_case(f, "status: expected at most 512 bytes, got %zu", strlen(got));
    if (want == NULL)
        return;
    if (cJSON_IsNull(want) ? got != NULL : got == NULL || strcmp(got, want->valuestring) != 0)
        fail_case(f, "status: expected %s, got %s", cJSON_IsNull(want) ? "none" : want->valuestring,
                  got != NULL ? got : "none");
}

static void expect_paths(const struct fixture *f, const struct outcome *o)
{
    const cJSON *want = json_get_array(f->expect.root, "paths");
    const cJSON *operation = o->patch.root != NULL ? o->patch.root->child : NULL;
    if (want == NULL)
        return;
    const cJSON *path;
    cJSON_ArrayForEach(path, want)
    {
        const char *got = json_get_text(operation, "path");
        if (got == NULL || strcmp(got, path->valuestring) != 0)
            fail_case(f, "expected an operation at %s, got %s", path->valuestring, got != NULL ? got : "none");
        operation = operation->next;
    }
    if (operation != NULL)
        fail_case(f, "an operation too many at %s", json_get_text(operation, "path"));
}

static void expect_whole_patch(const struct fixture *f, const struct outcome *o)
{
    struct buf text;
    struct json want, got; /* o->patch gave its values to the pod */
    struct err err = {0};
    if (!read_fixture(f->name, "patch.json", &text))
        return;
    replace_version(&text);
    if (json_read(&want, buf_text(&text), text.len, &err) != 0)
        fail_case(f, "patch.json: %s", err.text);
    assert_int_equal(json_read(&got, o->patch_text, o->patch_len, &err), 0);
    if (!cJSON_Compare(want.root, got.root, /* case_sensitive= */ 1)) {
        int rc = patch_verify_nothing_lost(want.root, got.root, &err);
        if (rc == 0)
            rc = patch_verify_nothing_lost(got.root, want.root, &err);
        fail_case(f, "expected the patch of patch.json, got another one (%d): %s", rc, err.text);
    }
    json_done(&got);
    json_done(&want);
    buf_done(&text);
}

static void expect_result(const struct fixture *f, const struct outcome *o)
{
    const struct admission_result *result = &o->result;
    const char *reason = json_get_text(f->expect.root, "reason");
    char owner[2 * ADMISSION_TEXT_MAX + 2];
    snprintf(owner, sizeof(owner), "%s/%s", result->owner_kind, result->owner_name);
    expect_text(f, "decision", inject_decision_names[result->decision]);
    if (strcmp(inject_reason_names[result->reason], reason != NULL ? reason : "") != 0)
        fail_case(f, "reason: expected \"%s\", got \"%s\"", reason != NULL ? reason : "",
                  inject_reason_names[result->reason]);
    expect_text(f, "service", result->service);
    expect_text(f, "namespace", result->pod_namespace);
    expect_text(f, "pod", result->pod);
    expect_text(f, "owner", owner);
    const cJSON *dry_run = json_get(f->expect.root, "dryRun");
    if (dry_run != NULL)
        assert_int_equal(result->dry_run, cJSON_IsTrue(dry_run));
}

/* ---- the run ---- */

static void check_error(const struct fixture *f, const char *pattern)
{
    struct admission_result result = {.pod = "untouched"};
    struct buf reply;
    struct err err = {0};
    buf_init(&reply, REVIEW_REPLY_MAX);
    int rc = ask(f, &result, &reply, &err);
    buf_done(&reply);
    if (rc != -EINVAL || fnmatch(pattern, err.text, FNM_NOESCAPE) != 0)
        fail_case(f, "expected -EINVAL \"%s\", got %d \"%s\"", pattern, rc, err.text);
    assert_string_equal(result.pod, "untouched");
}

static void check_answer(const struct fixture *f)
{
    struct outcome o = {.patch_len = 0};
    struct err err = {0};
    buf_init(&o.reply, REVIEW_REPLY_MAX);
    if (ask(f, &o.result, &o.reply, &err) != 0)
        fail_case(f, "%s", err.text);
    assert_int_equal(json_read(&o.before, buf_text(&f->body), f->body.len, &err), 0);
    assert_int_equal(json_read(&o.after, buf_text(&f->body), f->body.len, &err), 0);
    expect_well_formed(f, &o);
    take_patch(f, &o);
    apply(f, &o);
    expect_result(f, &o);
    expect_warnings(f, &o.result);
    expect_part(f, "response", o.response);
    expect_paths(f, &o);
    expect_whole_patch(f, &o);
    expect_status(f, &o);
    expect_part(f, "annotations", json_get(json_get(o.pod, "metadata"), "annotations"));
    expect_part(f, "volumes", json_get(json_get(o.pod, "spec"), "volumes"));
    if (o.result.decision == INJECT_INJECTED)
        expect_container(f, &o);
    json_done(&o.before);
    json_done(&o.after);
    json_done(&o.patch);
    json_done(&o.reply_json);
    buf_done(&o.reply);
    free(o.patch_text);
}

/* Each allocation fails in turn, until none is left to fail: an error or the right reply, and nothing leaks. */
static void check_without_memory(const struct fixture *f, bool go_on)
{
    struct admission_result result = {.pod = "untouched"};
    struct buf whole, reply;
    struct err err = {0};
    buf_init(&whole, REVIEW_REPLY_MAX);
    buf_init(&reply, REVIEW_REPLY_MAX);
    int want = ask(f, &result, &whole, &err), rc;
    long n = 1;
    do {
        snprintf(result.pod, sizeof(result.pod), "untouched");
        buf_done(&reply);
        fail_on = go_on;
        fail_at = n++;
        rc = ask(f, &result, &reply, &err);
        bool ran_out = fail_at == 0;
        fail_at = -1;
        if (rc == -ENOMEM)
            assert_string_equal(result.pod, "untouched");
        else if (rc != want || (rc == 0 && strcmp(buf_text(&reply), buf_text(&whole)) != 0))
            fail_case(f, "with allocation %ld failing: expected -ENOMEM or the right reply, got %d %s", n - 1, rc,
                      buf_text(&reply));
        if (!ran_out)
            break;
    } while (n < 10000);
    assert_int_equal(rc, want);
    buf_done(&whole);
    buf_done(&reply);
}

static void check_without_memory_from_then_on(const struct fixture *f)
{
    check_without_memory(f, /* go_on= */ true);
}

static void check_without_memory_for_a_moment(const struct fixture *f)
{
    check_without_memory(f, /* go_on= */ false);
}

typedef void check_case(const struct fixture *f);

/* Each ROOT/GROUP/CASE, and nothing but folders there: a case one floor too high would never be looked at. */
static unsigned for_each_case(check_case *check)
{
    static const size_t root_len = sizeof(ROOT "/") - 1;
    glob_t found;
    assert_int_equal(glob(ROOT "/*/*", GLOB_MARK, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct fixture f;
        char *name = found.gl_pathv[i] + root_len, *mark = strrchr(name, '/');
        if (mark[1] != '\0')
            fail_msg("%s: expected the folder of a case", name);
        *mark = '\0';
        open_fixture(&f, name);
        check(&f);
        close_fixture(&f);
    }
    unsigned count = (unsigned)found.gl_pathc; /* musl's globfree() sets it to 0 */
    globfree(&found);
    return count;
}

static void check_case_as_expected(const struct fixture *f)
{
    const char *error = json_get_text(f->expect.root, "error");
    if (error != NULL)
        check_error(f, error);
    else
        check_answer(f);
}

/* ---- what the fixtures cover ---- */

/* Of each annotation: a good value that counts, a bad one, and a name that is nearly its own. */
static struct {
    bool good, bad, near;
} seen[SETTING_COUNT];
static bool seen_decisions[INJECT_DECISION_COUNT], seen_reasons[INJECT_REASON_COUNT];

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static void note_warnings(const struct warnings *warnings, int id)
{
    char key[64], near[64];
    snprintf(key, sizeof(key), "profefe.com/%s: ", settings_table[id].name);
    snprintf(near, sizeof(near), "did you mean profefe.com/%s?", settings_table[id].name);
    for (unsigned i = 0; i < warnings_shown(warnings); i++) {
        seen[id].bad |= warnings->of_kind[WARNING_BAD_VALUE] > 0 && begins_with(warnings_text(warnings, i), key);
        seen[id].near |= ends_with(warnings_text(warnings, i), near);
    }
}

static void note_answer(const struct fixture *f, const struct admission_result *result)
{
    struct json body;
    struct err err = {0};
    assert_int_equal(json_read(&body, buf_text(&f->body), f->body.len, &err), 0);
    const cJSON *annotations = json_get(json_get(find_pod(&body), "metadata"), "annotations");
    bool clean = result->decision == INJECT_INJECTED && result->warnings.count == 0;
    seen_decisions[result->decision] = seen_reasons[result->reason] = true;
    for (int id = 0; id < SETTING_COUNT; id++) {
        char key[64];
        snprintf(key, sizeof(key), "profefe.com/%s", settings_table[id].name);
        if ((settings_table[id].where & SETTING_ANNOTATION) == 0)
            continue;
        seen[id].good |= clean && json_get_text(annotations, key) != NULL;
        note_warnings(&result->warnings, id);
    }
    json_done(&body);
}

static void note_case(const struct fixture *f)
{
    struct admission_result result;
    struct buf reply;
    buf_init(&reply, REVIEW_REPLY_MAX);
    if (ask(f, &result, &reply, NULL) == 0)
        note_answer(f, &result);
    buf_done(&reply);
}

static void fixtures_cover_each_annotation_decision_and_reason(void **state)
{
    (void)state;
    unsigned missing = 0;
    for_each_case(note_case);
    for (int id = 0; id < SETTING_COUNT; id++) {
        bool read = (settings_table[id].where & SETTING_WRITTEN) == 0;
        if ((settings_table[id].where & SETTING_ANNOTATION) == 0)
            continue;
        if ((read && (!seen[id].good || !seen[id].bad)) || !seen[id].near) {
            print_error("%s: good %d, bad %d, near miss %d\n", settings_table[id].name, seen[id].good, seen[id].bad,
                        seen[id].near);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
    for (int i = 0; i < INJECT_DECISION_COUNT; i++)
        assert_true(seen_decisions[i]);
    for (int i = 0; i < INJECT_REASON_COUNT; i++)
        assert_true(seen_reasons[i]);
}

static void admission_answers_each_fixture_as_expected(void **state)
{
    (void)state;
    unsigned count = for_each_case(check_case_as_expected);
    print_message("%u fixtures\n", count);
    assert_true(count >= CASES_MIN);
}

static void admission_survives_each_failed_allocation(void **state)
{
    (void)state;
    assert_true(for_each_case(check_without_memory_from_then_on) >= CASES_MIN);
    assert_true(for_each_case(check_without_memory_for_a_moment) >= CASES_MIN);
}

/* ---- sizes ---- */

static int answer_text(const char *body, size_t len, struct buf *reply, struct err *err)
{
    struct policy policy = {0};
    struct admission_result result;
    init_settings(&policy.settings);
    buf_init(reply, REVIEW_REPLY_MAX);
    int rc = admission_answer(&policy, (struct span){body, len}, false, &result, reply, err);
    policy_done(&policy);
    return rc;
}

/* A list of numbers takes 32 times its size as a tree: a small body must not cost the webhook its memory limit. */
static void admission_refuses_a_body_that_blows_up(void **state)
{
    (void)state;
    enum { ITEMS = 1000 * 1000 };
    struct buf body, reply;
    struct err err = {0};
    buf_init(&body, 4 * ITEMS);
    buf_puts(&body, "{\"kind\":\"AdmissionReview\",\"x\":[0");
    for (int i = 0; i < ITEMS; i++)
        buf_puts(&body, ",0");
    buf_puts(&body, "]}");
    assert_int_equal(buf_error(&body), 0);
    assert_int_equal(answer_text(buf_text(&body), body.len, &reply, &err), -EFBIG);
    assert_non_null(strstr(err.text, "33554432 bytes of memory"));
    buf_done(&body);
    buf_done(&reply);
}

static void admission_refuses_a_huge_body_unread(void **state)
{
    (void)state;
    struct buf reply;
    struct err err = {0};
    assert_int_equal(answer_text("{}", JSON_MEMORY_MAX + 1, &reply, &err), -EFBIG); /* two bytes are there */
    buf_done(&reply);
}

static void admission_takes_an_ordinary_pod_of_a_megabyte(void **state)
{
    (void)state;
    struct buf body, reply;
    struct err err = {0};
    buf_init(&body, 4 * 1024 * 1024);
    buf_puts(
        &body,
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u\",\"operation\":"
        "\"CREATE\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},\"object\":{\"metadata\":{"
        "\"annotations\":"
        "{\"profefe.com/enable\":\"true\"}},\"spec\":{\"containers\":[{\"name\":\"a\",\"env\":[{}");
    for (int i = 0; body.len < 1024 * 1024; i++)
        buf_printf(&body, ",{\"name\":\"VARIABLE_%d\",\"value\":\"the value of variable number %d\"}", i, i);
    buf_puts(&body, "]}]}}}}");
    assert_int_equal(buf_error(&body), 0);
    assert_int_equal(answer_text(buf_text(&body), body.len, &reply, &err), 0);
    assert_non_null(strstr(buf_text(&reply), "\"patch\":\""));
    buf_done(&body);
    buf_done(&reply);
}

/* The largest patch there can be: every value at its limit and made of what JSON and $(…) escape longest. */
static void admission_reply_fits_its_buffer_whatever_the_annotations(void **state)
{
    (void)state;
    struct buf body, reply;
    struct err err = {0};
    buf_init(&body, 1024 * 1024);
    buf_puts(
        &body,
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u\",\"operation\":"
        "\"CREATE\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},\"object\":{\"metadata\":{"
        "\"annotations\":"
        "{\"profefe.com/enable\":\"true\",\"profefe.com/service\":\"");
    for (int i = 0; i < 253; i++)
        buf_puts(&body, i % 2 == 0 ? "$" : "\\\"");
    buf_puts(&body, "\",\"profefe.com/labels\":\"");
    for (int i = 0; i < 15; i++) {
        buf_printf(&body, "%sk%d=", i > 0 ? "," : "", i);
        for (int j = 0; j < 253; j++)
            buf_puts(&body, j % 2 == 0 ? "$" : "\\\"");
    }
    buf_puts(&body, "\",\"profefe.com/path\":\"/");
    for (int i = 0; i < 255; i++)
        buf_putc(&body, '$');
    buf_puts(&body, "\",\"profefe.com/port\":\"");
    for (int i = 1; i <= 8; i++)
        buf_printf(&body, "%sp%062d=%d", i > 1 ? "," : "", i, i);
    buf_puts(&body,
             "\",\"profefe.com/spool\":\"1Gi\",\"profefe.com/mode\":\"container\",\"profefe.com/collector-secret\":\"");
    for (int i = 0; i < 253; i++)
        buf_putc(&body, 's');
    buf_puts(&body, "\",\"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes\":\"");
    for (int i = 0; i < 16000; i++)
        buf_puts(&body, "\\u0001");
    buf_puts(&body, "\"");
    for (int i = 0; i < 40; i++)
        buf_printf(&body, ",\"profefe.com/%0300d\":\"\\u0001\\u0002\\\"\\\\\"", i);
    buf_puts(&body, "}},\"spec\":{\"containers\":[{\"name\":\"a\"}]}}}}");
    assert_int_equal(buf_error(&body), 0);
    assert_int_equal(answer_text(buf_text(&body), body.len, &reply, &err), 0);
    assert_non_null(strstr(buf_text(&reply), "\"patch\":\""));
    assert_true(reply.len > 100 * 1024); /* the list of volumes is in it */
    buf_done(&body);
    buf_done(&reply);
}

static void admission_says_when_the_reply_does_not_fit(void **state)
{
    (void)state;
    static const char body[] =
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u\"}}";
    struct policy policy = {0};
    struct admission_result result = {.pod = "untouched"};
    struct buf reply;
    struct err err = {0};
    init_settings(&policy.settings);
    buf_init(&reply, 20);
    assert_int_equal(admission_answer(&policy, span_of(body), false, &result, &reply, &err), -ENOBUFS);
    assert_string_equal(err.text, "the reply would be too large");
    assert_string_equal(result.pod, "untouched");
    buf_done(&reply);
    policy_done(&policy);
}

/* Cut to what a log line can hold, never inside a character. */
static void admission_cuts_long_names_for_the_log(void **state)
{
    (void)state;
    struct policy policy = {0};
    struct admission_result result;
    struct buf body, reply;
    struct err err = {0};
    init_settings(&policy.settings);
    buf_init(&body, 4096);
    buf_init(&reply, REVIEW_REPLY_MAX);
    buf_puts(
        &body,
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":\"u\",\"name\":\"");
    for (int i = 0; i < 200; i++)
        buf_puts(&body, "ä");
    buf_puts(&body, "\"}}");
    assert_int_equal(admission_answer(&policy, (struct span){buf_text(&body), body.len}, false, &result, &reply, &err),
                     0);
    assert_int_equal(strlen(result.pod), 252);
    buf_done(&body);
    buf_done(&reply);
    policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(admission_answers_each_fixture_as_expected),
        cmocka_unit_test(fixtures_cover_each_annotation_decision_and_reason),
        cmocka_unit_test(admission_survives_each_failed_allocation),
        cmocka_unit_test(admission_refuses_a_body_that_blows_up),
        cmocka_unit_test(admission_refuses_a_huge_body_unread),
        cmocka_unit_test(admission_takes_an_ordinary_pod_of_a_megabyte),
        cmocka_unit_test(admission_reply_fits_its_buffer_whatever_the_annotations),
        cmocka_unit_test(admission_says_when_the_reply_does_not_fit),
        cmocka_unit_test(admission_cuts_long_names_for_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
