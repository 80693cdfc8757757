/* The list of profiles: one of them is found only when it is the same in all that was sent. */
#include "unit.h"

#include "common/profefe/profefe_list.h"

#define NOON_MS INT64_C(1795366000500) /* 2026-11-22T16:46:40.5Z */
#define HEAD "{\"code\":200,\"body\":["
#define TAIL "]}\n"
#define LABELS                                                                                                         \
    "[{\"key\":\"pod\",\"value\":\"web-1\"},{\"key\":\"team\",\"value\":\"shop\"},{\"key\":\"target\",\"value\":"      \
    "\"api\"}]"
#define ENTRY                                                                                                          \
    "{\"id\":\"c1\",\"type\":\"cpu\",\"service\":\"web\",\"labels\":" LABELS ",\"created_at\":\"2026-11-22T16:46:"     \
                                                                             "40Z\"}"
#define OTHER                                                                                                          \
    "{\"id\":\"c2\",\"type\":\"cpu\",\"service\":\"web\",\"labels\":[{\"key\":\"pod\",\"value\":\"web-2\"}],"          \
    "\"created_at\":\"2026-11-22T16:46:40Z\"}"

static struct labels labels;
static const struct label target = {.key = "target", .value = "api"};
static const struct profefe_wanted wanted = {
    .service = "web", .type = "cpu", .created_at_ms = NOON_MS, .labels = &labels, .extra = &target, .extra_count = 1};

static int setup(void **state)
{
    (void)state;
    labels.count = 0;
    assert_int_equal(0, labels_add(&labels, span_of("pod"), span_of("web-1"), NULL));
    return labels_add(&labels, span_of("team"), span_of("shop"), NULL);
}

static enum profefe_list_verdict read_in(const struct profefe_wanted *what, const char *text, size_t len, size_t piece)
{
    struct profefe_list list;
    profefe_list_init(&list, what);
    for (size_t at = 0; at < len; at += piece)
        profefe_list_feed(&list, text + at, len - at < piece ? len - at : piece);
    return list.verdict;
}

struct row {
    const char *text;
    enum profefe_list_verdict expected;
};

static void expect_rows(const struct profefe_wanted *what, const struct row *rows, size_t count)
{
    static const size_t pieces[] = {1, 2, 3, 7, 100000};
    for (size_t i = 0; i < count; i++) {
        for (size_t p = 0; p < COUNT_OF(pieces); p++)
            expect_number(rows[i].text, rows[i].expected, read_in(what, rows[i].text, strlen(rows[i].text), pieces[p]));
    }
}

static void found_wherever_it_stands(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {HEAD ENTRY TAIL, PROFEFE_LIST_FOUND},
        {HEAD OTHER "," ENTRY TAIL, PROFEFE_LIST_FOUND},
        {HEAD ENTRY "," OTHER TAIL, PROFEFE_LIST_FOUND},
        {HEAD ENTRY ",{{{", PROFEFE_LIST_FOUND}, /* what comes after it cannot take it back */
        {" {\n \"code\" : 200 , \"body\" : [ " ENTRY " ] } ", PROFEFE_LIST_FOUND},
        {"{\"version\":[{\"a\":[1,2,{}]},null,-1.5e+3],\"code\":200,\"body\":[" ENTRY TAIL, PROFEFE_LIST_FOUND},
        /* members in any order, unknown ones, and labels in any order */
        {HEAD "{\"created_at\":\"2026-11-22T16:46:40Z\",\"labels\":[{\"value\":\"api\",\"key\":\"target\"},"
              "{\"key\":\"team\",\"x\":{\"key\":\"no\"},\"value\":\"shop\"},{\"key\":\"pod\",\"value\":\"web-1\"}],"
              "\"external_id\":\"e\",\"service\":\"web\",\"type\":\"cpu\"}" TAIL,
         PROFEFE_LIST_FOUND},
        {HEAD "{\"type\":\"c\\u0070u\",\"service\":\"\\u0077eb\",\"labels\":" LABELS
              ",\"created_at\":\"2026-11-22T16:46:40Z\"}" TAIL,
         PROFEFE_LIST_FOUND},
    };
    expect_rows(&wanted, rows, COUNT_OF(rows));
}

#define WITH(type_, service_, labels_, time_) \
    HEAD "{\"type\":" type_ ",\"service\":" service_ ",\"labels\":" labels_ ",\"created_at\":" time_ "}" TAIL
#define TIME "\"2026-11-22T16:46:40Z\""

static void a_profile_that_differs_in_anything_is_not_it(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {HEAD TAIL, PROFEFE_LIST_ABSENT},
        {HEAD OTHER TAIL, PROFEFE_LIST_ABSENT},
        {"{\"code\":200}", PROFEFE_LIST_ABSENT},
        {"{\"code\":200,\"body\":null}", PROFEFE_LIST_ABSENT},
        {WITH("\"heap\"", "\"web\"", LABELS, TIME), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web2\"", LABELS, TIME), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", LABELS, "\"2026-11-22T16:46:41Z\""), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", LABELS, "\"2026-11-22T16:46:40\""), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", LABELS, "\"2026-11-22T16:46:40+01:00\""), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", LABELS, "1795366000"), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", LABELS, "\"2026-11-22T16:46:40Z\",\"created_at\":\"2026-11-22T16:46:41Z\""),
         PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", "null", TIME), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", "[]", TIME), PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"", "[[{\"key\":\"pod\",\"value\":\"web-1\"}]]", TIME), PROFEFE_LIST_ABSENT},
        /* a label less, one more, another value, a value that is no string */
        {WITH("\"cpu\"", "\"web\"", "[{\"key\":\"pod\",\"value\":\"web-1\"},{\"key\":\"team\",\"value\":\"shop\"}]",
              TIME),
         PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"",
              "[{\"key\":\"x\",\"value\":\"y\"},{\"key\":\"pod\",\"value\":\"web-1\"},{\"key\":\"team\",\"value\":"
              "\"shop\"},"
              "{\"key\":\"target\",\"value\":\"api\"}]",
              TIME),
         PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"",
              "[{\"key\":\"pod\",\"value\":\"web-2\"},{\"key\":\"team\",\"value\":\"shop\"},"
              "{\"key\":\"target\",\"value\":\"api\"}]",
              TIME),
         PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"",
              "[{\"key\":\"pod\",\"value\":1},{\"key\":\"team\",\"value\":\"shop\"},"
              "{\"key\":\"target\",\"value\":\"api\"}]",
              TIME),
         PROFEFE_LIST_ABSENT},
        {WITH("\"cpu\"", "\"web\"",
              "[{\"key\":\"pod\",\"value\":\"web-1\\u0000\"},{\"key\":\"team\",\"value\":\"shop\"},"
              "{\"key\":\"target\",\"value\":\"api\"}]",
              TIME),
         PROFEFE_LIST_ABSENT},
        /* the halves of it in two profiles */
        {HEAD "{\"type\":\"cpu\",\"service\":\"web\",\"labels\":" LABELS "},{\"created_at\":" TIME "}" TAIL,
         PROFEFE_LIST_ABSENT},
        /* not in the list */
        {"{\"code\":200,\"other\":[" ENTRY "]}", PROFEFE_LIST_ABSENT},
        {"{\"code\":200,\"body\":[[" ENTRY "]]}", PROFEFE_LIST_ABSENT},
        {"{\"code\":200,\"body\":" ENTRY "}", PROFEFE_LIST_ABSENT},
        {"[" ENTRY "]", PROFEFE_LIST_ABSENT},
        /* not with profefe's own 200 before it */
        {"{\"code\":500,\"body\":[" ENTRY "]}", PROFEFE_LIST_ABSENT},
        {"{\"code\":\"200\",\"body\":[" ENTRY "]}", PROFEFE_LIST_ABSENT},
        {"{\"body\":[" ENTRY "],\"code\":200}", PROFEFE_LIST_ABSENT},
        {"{\"body\":[" ENTRY "]}", PROFEFE_LIST_ABSENT},
    };
    expect_rows(&wanted, rows, COUNT_OF(rows));
}

static void what_is_not_json_finds_nothing(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", PROFEFE_LIST_READING},
        {"  \n", PROFEFE_LIST_READING},
        {HEAD, PROFEFE_LIST_READING},
        {"<html>", PROFEFE_LIST_BAD},
        {"200", PROFEFE_LIST_READING}, /* a number ends with what comes after it */
        {"200\n", PROFEFE_LIST_ABSENT},
        {"\"x\"", PROFEFE_LIST_ABSENT},
        {"{\"code\":200,\"body\":[" ENTRY "]}}", PROFEFE_LIST_FOUND},
        {"{}{", PROFEFE_LIST_BAD},
        {"{]", PROFEFE_LIST_BAD},
        {"[}", PROFEFE_LIST_BAD},
        {"}", PROFEFE_LIST_BAD},
        {"{\"a\" 1}", PROFEFE_LIST_BAD},
        {"{\"a\":,}", PROFEFE_LIST_BAD},
        {"{\"a\":1,}", PROFEFE_LIST_BAD},
        {"{a:1}", PROFEFE_LIST_BAD},
        {"{\"a\":1 2}", PROFEFE_LIST_BAD},
        {"[1,]", PROFEFE_LIST_BAD},
        {"[1 2]", PROFEFE_LIST_BAD},
        {"[\"a\nb\"]", PROFEFE_LIST_BAD},
        {"[\"\\x41\"]", PROFEFE_LIST_BAD},
        {"[\"\\u00g0\"]", PROFEFE_LIST_BAD},
        {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", PROFEFE_LIST_ABSENT},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", PROFEFE_LIST_BAD},
    };
    expect_rows(&wanted, rows, COUNT_OF(rows));
}

/* Go escapes < > & and control characters; whoever else answers may escape more. */
static void values_are_compared_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
        enum profefe_list_verdict expected;
    } rows[] = {
        {"a<b>&\"\\/", "a\\u003cb\\u003E\\u0026\\\"\\\\\\/", PROFEFE_LIST_FOUND},
        {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", PROFEFE_LIST_FOUND},
        {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\\u00e4\\u20AC\\ud83d\\ude00", PROFEFE_LIST_FOUND},
        {"\xEF\xBF\xBD" "a", "\\ud83da", PROFEFE_LIST_FOUND},
        {"\xEF\xBF\xBD\xEF\xBF\xBD", "\\ud83d\\ud83d", PROFEFE_LIST_FOUND},
        {"\xEF\xBF\xBD", "\\ude00", PROFEFE_LIST_FOUND},
        {"\xEF\xBF\xBD/", "\\ud83d\\/", PROFEFE_LIST_FOUND},
        {"a", "A", PROFEFE_LIST_ABSENT},
        {"a", "a ", PROFEFE_LIST_ABSENT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct labels one = {.count = 1, .items = {{.key = "pod"}}};
        struct profefe_wanted what = {.service = "s", .type = "cpu", .created_at_ms = NOON_MS, .labels = &one};
        char text[512];
        snprintf(one.items[0].value, sizeof(one.items[0].value), "%s", rows[i].value);
        snprintf(text, sizeof(text), WITH("\"cpu\"", "\"s\"", "[{\"key\":\"pod\",\"value\":\"%s\"}]", TIME),
                 rows[i].written);
        for (size_t piece = 1; piece < 8; piece++)
            expect_number(rows[i].written, rows[i].expected, read_in(&what, text, strlen(text), piece));
    }
}

static void long_strings_equal_nothing(void **state)
{
    (void)state;
    struct labels one = {.count = 1, .items = {{.key = "pod"}}};
    struct profefe_wanted what = {.service = "s", .type = "cpu", .created_at_ms = NOON_MS, .labels = &one};
    char value[PROFEFE_LIST_TEXT_MAX + 2], text[1024];
    memset(one.items[0].value, 'p', LABEL_VALUE_MAX);
    for (unsigned len = LABEL_VALUE_MAX - 1; len <= PROFEFE_LIST_TEXT_MAX + 1; len++) {
        memset(value, 'p', len);
        value[len] = '\0';
        snprintf(text, sizeof(text), WITH("\"cpu\"", "\"s\"", "[{\"key\":\"pod\",\"value\":\"%s\"}]", TIME), value);
        expect_number("length", len == LABEL_VALUE_MAX ? PROFEFE_LIST_FOUND : PROFEFE_LIST_ABSENT,
                      read_in(&what, text, strlen(text), 1000));
    }
}

static void all_the_labels_there_can_be(void **state)
{
    (void)state;
    struct labels many = {0};
    struct label extra[2] = {{.key = "target", .value = "t"}, {.key = "profile_type", .value = "allocs"}};
    struct profefe_wanted what = {
        .service = "s", .type = "other", .created_at_ms = NOON_MS, .labels = &many, .extra = extra, .extra_count = 2};
    char list[8192] = "[", text[10000];
    for (unsigned i = 0; i < LABELS_MAX; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(0, labels_add(&many, span_of(key), span_of("v"), NULL));
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "{\"key\":\"%s\",\"value\":\"v\"},", key);
    }
    snprintf(list + strlen(list), sizeof(list) - strlen(list),
             "{\"key\":\"target\",\"value\":\"t\"},{\"key\":\"profile_type\",\"value\":\"allocs\"}]");
    snprintf(text, sizeof(text), WITH("\"other\"", "\"s\"", "%s", TIME), list);
    assert_int_equal(PROFEFE_LIST_FOUND, read_in(&what, text, strlen(text), 1000));
    snprintf(extra[1].value, sizeof(extra[1].value), "wall");
    assert_int_equal(PROFEFE_LIST_ABSENT, read_in(&what, text, strlen(text), 1000));
}

static void every_cut_is_not_found(void **state)
{
    (void)state;
    static const char text[] = HEAD OTHER "," ENTRY TAIL;
    size_t whole = strlen(HEAD OTHER "," ENTRY);
    for (size_t len = 0; len <= strlen(text); len++)
        expect_number("length", len < whole ? PROFEFE_LIST_READING : PROFEFE_LIST_FOUND,
                      read_in(&wanted, text, len, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(found_wherever_it_stands, setup),
        cmocka_unit_test_setup(a_profile_that_differs_in_anything_is_not_it, setup),
        cmocka_unit_test_setup(what_is_not_json_finds_nothing, setup),
        cmocka_unit_test(values_are_compared_unescaped),
        cmocka_unit_test(long_strings_equal_nothing),
        cmocka_unit_test(all_the_labels_there_can_be),
        cmocka_unit_test_setup(every_cut_is_not_found, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
