/* patch: the add-only builder, its escapes, and the application as the API server does it. */
/* sees: webhook */

#include "review_fixtures.h"

#include "common/base/cleanup.h"
#include "webhook/inject/patch.h"
#include "webhook/patch_verify.h"

static void patch_escapes_each_step(void **state)
{
    (void)state;
    static const struct {
        const char *key, *path;
    } cases[] = {
        {"plain", "/a/plain"},
        {"profefe.com/status", "/a/profefe.com~1status"},
        {"~", "/a/~0"},
        {"~1", "/a/~01"},
        {"/~/", "/a/~1~0~1"},
        {"", "/a/"},
        {"a\"b\\", "/a/a\\\"b\\\\"},
        {"é\n", "/a/é\\u000a"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct patch patch;
        char want[128];
        const char *const keys[] = {"a", cases[i].key, NULL};
        patch_init(&patch);
        json_text_string(patch_begin_add(&patch, keys), NULL, "v");
        patch_end_add(&patch);
        assert_int_equal(patch_finish(&patch), 0);
        snprintf(want, sizeof(want), "[{\"op\":\"add\",\"path\":\"%s\",\"value\":\"v\"}]", cases[i].path);
        assert_string_equal(buf_text(&patch.text), want);
        patch_done(&patch);
    }
}

static void patch_without_operations_is_empty(void **state)
{
    (void)state;
    struct patch patch;
    patch_init(&patch);
    assert_int_equal(patch_finish(&patch), 0);
    assert_int_equal(patch.count, 0);
    assert_string_equal(buf_text(&patch.text), "");
    patch_done(&patch);
}

static void patch_is_bounded(void **state)
{
    (void)state;
    struct patch patch;
    const char *const keys[] = {"a", NULL};
    patch_init(&patch);
    for (int i = 0; i < PATCH_MAX / 16; i++) {
        json_text_raw(patch_begin_add(&patch, keys), NULL, "1");
        patch_end_add(&patch);
    }
    assert_int_equal(patch_finish(&patch), -ENOBUFS);
    patch_done(&patch);
}

/* RFC 6902 §4.1 and appendix A, as far as `add` goes; RFC 6901 §4 for the paths. */
static const struct {
    const char *document, *patch, *want; /* want NULL: the API server would refuse it */
} applications[] = {
    {"{'a':1}", "[]", "{'a':1}"},
    {"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux'}]", "{'foo':'bar','baz':'qux'}"},
    {"{'foo':['bar','baz']}", "[{'op':'add','path':'/foo/1','value':'qux'}]", "{'foo':['bar','qux','baz']}"},
    {"{'foo':['bar']}", "[{'op':'add','path':'/foo/0','value':'qux'}]", "{'foo':['qux','bar']}"},
    {"{'foo':['bar']}", "[{'op':'add','path':'/foo/1','value':'qux'}]", "{'foo':['bar','qux']}"},
    {"{'foo':['bar']}", "[{'op':'add','path':'/foo/-','value':['abc']}]", "{'foo':['bar',['abc']]}"},
    {"{'foo':[]}",
     "[{'op':'add','path':'/foo/-','value':1},{'op':'add','path':'/foo/-','value':2},{'op':'add','path':'/foo/"
     "0','value':0}]",
     "{'foo':[0,1,2]}"},
    {"{'foo':[]}", "[{'op':'add','path':'/foo/0','value':1}]", "{'foo':[1]}"},
    {"{'a':{'b':1}}", "[{'op':'add','path':'/a/b','value':2}]", "{'a':{'b':2}}"},
    {"{'a':null}", "[{'op':'add','path':'/a','value':[1]}]", "{'a':[1]}"},
    {"{'a':1,'a':2}", "[{'op':'add','path':'/a','value':3}]", "{'a':3}"},
    {"{}", "[{'op':'add','path':'/a','value':null}]", "{'a':null}"},
    {"{}", "[{'op':'add','path':'/a','value':{}},{'op':'add','path':'/a/b','value':1}]", "{'a':{'b':1}}"},
    {"{'a/b':{}}", "[{'op':'add','path':'/a~1b/m~0n','value':1}]", "{'a/b':{'m~n':1}}"},
    {"{'~1':{}}", "[{'op':'add','path':'/~01/x','value':1}]", "{'~1':{'x':1}}"},
    {"{'':{}}", "[{'op':'add','path':'//x','value':1}]", "{'':{'x':1}}"},
    {"{'a':[{'b':[]}]}", "[{'op':'add','path':'/a/0/b/-','value':1}]", "{'a':[{'b':[1]}]}"},
    {"{'foo':'bar'}", "[{'op':'add','path':'/baz/bat','value':'qux'}]", NULL}, /* no parent */
    {"{'a':null}", "[{'op':'add','path':'/a/-','value':1}]", NULL},
    {"{'a':'text'}", "[{'op':'add','path':'/a/b','value':1}]", NULL},
    {"{'a':[1]}", "[{'op':'add','path':'/a/3','value':1}]", NULL},
    {"{'a':[1]}", "[{'op':'add','path':'/a/01','value':1}]", NULL},
    {"{'a':[1]}", "[{'op':'add','path':'/a/+1','value':1}]", NULL},
    {"{'a':[1]}", "[{'op':'add','path':'/a/','value':1}]", NULL},
    {"{'a':[1]}", "[{'op':'add','path':'/a/x','value':1}]", NULL},
    {"{'a':[{}]}", "[{'op':'add','path':'/a/-/b','value':1}]", NULL},
    {"{'a':{}}", "[{'op':'add','path':'/a/b~2','value':1}]", NULL},
    {"{'a':{}}", "[{'op':'add','path':'/a/b~','value':1}]", NULL},
    {"{'a':1}", "[{'op':'add','path':'','value':1}]", NULL}, /* the whole pod is not ours to replace */
    {"{'a':1}", "[{'op':'add','path':'a','value':1}]", NULL},
    {"{'a':1}", "[{'op':'replace','path':'/a','value':1}]", NULL},
    {"{'a':1}", "[{'op':'remove','path':'/a'}]", NULL},
    {"{'a':1}", "[{'op':'add','path':'/b'}]", NULL},
    {"{'a':1}", "[{'op':'add','value':1}]", NULL},
    {"{'a':1}", "[{'path':'/b','value':1}]", NULL},
    {"{'a':1}", "[7]", NULL},
    {"{'a':1}", "{'op':'add','path':'/b','value':1}", NULL},
};

static void patch_applies_as_the_api_server_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(applications) / sizeof(applications[0]); i++) {
        struct json document, patch, want = {0};
        struct err err = {0};
        read_quoted(&document, applications[i].document);
        read_quoted(&patch, applications[i].patch);
        int rc = patch_apply(&document, document.root, &patch, &err);
        if (applications[i].want == NULL) {
            if (rc != -EINVAL || err.text[0] == '\0')
                fail_msg("%s: expected -EINVAL with a reason, got %d", applications[i].patch, rc);
        } else {
            read_quoted(&want, applications[i].want);
            if (rc != 0 || !cJSON_Compare(document.root, want.root, 1))
                fail_msg("%s on %s: expected %s, got %s %s", applications[i].patch, applications[i].document,
                         applications[i].want, cJSON_PrintUnformatted(document.root), err.text);
        }
        json_done(&want);
        json_done(&patch);
        json_done(&document);
    }
}

/* The safety net itself: it must catch what it is there for. */
static void verify_finds_what_was_lost(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *error; /* error NULL: nothing lost */
    } cases[] = {
        {"{'a':1}", "{'a':1,'b':2}", NULL},
        {"{'a':[1,2]}", "{'a':[1,2,3]}", NULL},
        {"{'a':null}", "{'a':[]}", NULL},
        {"{'a':null}", "{}", NULL},
        {"{'profefe.com/status':'x'}", "{'profefe.com/status':'y'}", NULL},
        {"{'a':1,'a':2}", "{'a':2}", NULL},
        {"{'a':1,'a':null}", "{}", NULL},
        {"{'b':1,'a':2,'c':3}", "{'d':4,'c':3,'b':1,'a':2}", NULL},
        {"{'b':1,'a':2,'c':3}", "{'c':3,'a':2}", "b: lost"},
        {"{'a':1,'a':2}", "{'a':2,'a':1}", "a: changed"},
        {"{'a':1}", "{'b':1}", "a: lost"},
        {"{'a':1}", "{'a':2}", "a: changed"},
        {"{'a':1}", "{'a':'1'}", "a: changed"},
        {"{'a':true}", "{'a':false}", "a: changed"},
        {"{'a':'x'}", "{'a':'y'}", "a: changed"},
        {"{'a':{}}", "{'a':[]}", "a: changed"},
        {"{'a':[1,2]}", "{'a':[1]}", "a: 1: lost"},
        {"{'a':[1,2]}", "{'a':[0,1,2]}", "a: 0: changed"},
        {"{'a':{'b':[{'c':1}]}}", "{'a':{'b':[{}]}}", "a: b: 0: c: lost"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json before, after;
        struct err err = {0};
        read_quoted(&before, cases[i].before);
        read_quoted(&after, cases[i].after);
        int rc = patch_verify_nothing_lost(before.root, after.root, &err);
        assert_int_equal(rc, cases[i].error != NULL ? -EINVAL : 0);
        assert_string_equal(err.text, cases[i].error != NULL ? cases[i].error : "");
        json_done(&before);
        json_done(&after);
    }
}

/* Member by member that was a minute. */
static void many_members_are_compared_in_one_walk(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text;
    CLEANUP(json_done) struct json before = {0}, after = {0};
    struct err err = {0};
    buf_init(&text, 2 * 1024 * 1024);
    for (unsigned i = 0; i < 100 * 1000; i++)
        buf_printf(&text, "%s\"k%u\":0", i == 0 ? "{" : ",", i);
    buf_puts(&text, "}");
    assert_int_equal(buf_error(&text), 0);
    assert_int_equal(json_read(&before, text.data, text.len, &err), 0);
    assert_int_equal(json_read(&after, text.data, text.len, &err), 0);
    assert_int_equal(patch_verify_nothing_lost(before.root, after.root, &err), 0);
}

static void verify_refuses_a_wrong_patch(void **state)
{
    (void)state;
    static const char body[] = "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"profefe.com/enable\":\"true\"}},"
                               "\"spec\":{\"containers\":[{\"name\":\"a\"}],\"volumes\":[{\"name\":\"v\"}]}}";
    static const struct {
        const char *patch, *error;
    } cases[] = {
        {"[{\"op\":\"add\",\"path\":\"/spec/initContainers/-\",\"value\":{}}]", "parent is in the pod"},
        {"[{\"op\":\"add\",\"path\":\"/spec/volumes\",\"value\":[]}]", "volumes: 0: lost"},
        {"[{\"op\":\"add\",\"path\":\"/spec/x\",\"value\":1}]", "deciding about the patched pod again"},
        {"[{", "expected JSON"},
    };
    struct policy policy = {0};
    init_settings(&policy.settings);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        assert_int_equal(patch_verify(&policy, span_of(body), false, span_of(cases[i].patch), &err), -EINVAL);
        if (strstr(err.text, cases[i].error) == NULL)
            fail_msg("%s: expected \"%s\", got \"%s\"", cases[i].patch, cases[i].error, err.text);
    }
    assert_int_equal(patch_verify(&policy, span_of(body), false, (struct span){"", 0}, NULL), 0);
    policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patch_escapes_each_step),
        cmocka_unit_test(patch_without_operations_is_empty),
        cmocka_unit_test(patch_is_bounded),
        cmocka_unit_test(patch_applies_as_the_api_server_does),
        cmocka_unit_test(verify_finds_what_was_lost),
        cmocka_unit_test(many_members_are_compared_in_one_walk),
        cmocka_unit_test(verify_refuses_a_wrong_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
