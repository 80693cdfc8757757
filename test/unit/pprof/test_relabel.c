#include "pprof_fixtures.h"
#include "unit.h"

#include "common/pprof/pprof.h"
#include "common/pprof/proto.h"
#include "common/pprof/relabel.h"

#include <errno.h>
#include <time.h>

enum {
    WHOLE = 1 << 30,
    READ_STEP = 16 * 1024,
};

static const char heap_url[] = "http://127.0.0.1:6060/debug/pprof/heap";

/* A stored body; gives pieces of at most `step` bytes. */
struct stored {
    const uint8_t *bytes;
    size_t len;
    size_t step;
    unsigned calls;
    unsigned fail_at; /* the call that fails with -ESTALE, 0 = none */
    unsigned readings;
    const uint8_t *second; /* what the second reading finds instead, NULL = the same */
    size_t second_len;
};

static int64_t read_stored(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    struct stored *stored = ctx;
    stored->calls++;
    if (stored->calls == stored->fail_at)
        return -ESTALE;
    stored->readings += offset == 0 ? 1 : 0;
    bool second = stored->second != NULL && stored->readings > 1;
    const uint8_t *body = second ? stored->second : stored->bytes;
    size_t body_len = second ? stored->second_len : stored->len;
    if (offset >= body_len)
        return 0;
    size_t n = body_len - (size_t)offset;
    n = n < len ? n : len;
    n = n < stored->step ? n : stored->step;
    memcpy(bytes, body + offset, n);
    return (int64_t)n;
}

struct outcome {
    int64_t rc; /* 0, or what relabel_read failed with */
    enum relabel_result result;
    uint8_t *bytes;
    size_t len;
};

static void outcome_done(struct outcome *outcome)
{
    free(outcome->bytes);
    outcome->bytes = NULL;
}

static struct outcome read_all(struct relabel *relabel, size_t read_step)
{
    struct outcome outcome = {.rc = 1};
    size_t room = 0;
    while (outcome.rc > 0) {
        if (room - outcome.len < read_step) {
            room = 2 * room + read_step;
            outcome.bytes = realloc(outcome.bytes, room);
            assert_non_null(outcome.bytes);
        }
        outcome.rc = relabel_read(relabel, (char *)outcome.bytes + outcome.len, read_step);
        assert_true(outcome.rc <= (int64_t)read_step);
        outcome.len += outcome.rc > 0 ? (size_t)outcome.rc : 0;
    }
    if (outcome.rc == 0) {
        outcome.result = relabel_get_result(relabel);
        assert_int_equal(relabel_read(relabel, (char *)outcome.bytes, 1), 0);
    }
    return outcome;
}

static struct outcome rewrite(struct stored *stored, const struct labels *labels, const char *type, const char *url,
                              size_t read_step)
{
    struct relabel_request request = {.source = read_stored, .source_ctx = stored, .labels = labels, .type = type,
                                      .url = url, .raw_max = PPROF_RAW_MAX};
    struct relabel *relabel = NULL;
    assert_int_equal(relabel_new(&request, &relabel), 0);
    struct outcome outcome = read_all(relabel, read_step);
    relabel_free(relabel);
    return outcome;
}

static struct relabel *new_relabel(struct stored *stored, const struct labels *labels, uint64_t raw_max)
{
    struct relabel_request request = {.source = read_stored, .source_ctx = stored, .labels = labels,
                                      .raw_max = raw_max};
    struct relabel *relabel = NULL;
    assert_int_equal(relabel_new(&request, &relabel), 0);
    return relabel;
}

static struct stored stored_fixture(const struct fixture *fixture)
{
    return (struct stored){.bytes = fixture->bytes, .len = fixture->len, .step = WHOLE};
}

static void add_label(struct labels *labels, const char *key, const char *value)
{
    struct err err;
    int rc = labels_add(labels, (struct span){key, strlen(key)}, (struct span){value, strlen(value)}, &err);
    if (rc < 0)
        fail_msg("%s=%s: %s", key, value, err.text);
}

/* As in odd.py. */
static struct labels golden_labels(void)
{
    struct labels labels = {.count = 0};
    add_label(&labels, "namespace", "shop");
    add_label(&labels, "pod", "web-0");
    add_label(&labels, "team", "café");
    return labels;
}

/* --- a reader of profiles of its own, to compare by --- */

static const char *subject = ""; /* what is being compared, for the messages */

static void must(bool holds, const char *what)
{
    if (!holds)
        fail_msg("%s: %s", subject, what);
}

struct view {
    const uint8_t *ptr;
    size_t len;
};

struct field {
    uint64_t number;
    unsigned type;
    uint64_t value;   /* wire type 0 */
    struct view body; /* wire type 2 */
    struct view all;  /* with its tag */
};

static bool next_field(struct view *rest, struct field *ret)
{
    if (rest->len == 0)
        return false;
    const uint8_t *at = rest->ptr, *end = rest->ptr + rest->len;
    uint64_t tag = 0, value = 0;
    *ret = (struct field){.number = 0};
    int n = proto_read_varint(at, rest->len, &tag);
    must(n > 0, "expected a tag");
    at += n;
    ret->number = tag >> 3;
    ret->type = (unsigned)(tag & 7);
    if (ret->type == PROTO_VARINT || ret->type == PROTO_BYTES) {
        n = proto_read_varint(at, (size_t)(end - at), &value);
        must(n > 0, "expected a number or a length");
        at += n;
        ret->value = value;
    }
    size_t fixed = ret->type == PROTO_FIXED64 ? 8 : ret->type == PROTO_FIXED32 ? 4 : 0;
    size_t len = ret->type == PROTO_BYTES ? (size_t)value : fixed;
    must(len <= (size_t)(end - at), "expected a field within its message");
    ret->body = (struct view){at, len};
    ret->all = (struct view){rest->ptr, (size_t)(at - rest->ptr) + len};
    *rest = (struct view){rest->ptr + ret->all.len, rest->len - ret->all.len};
    return true;
}

static bool same_view(struct view a, struct view b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Entry `index` of the string table. */
static struct view find_string(struct view profile, uint64_t index)
{
    struct field field;
    while (next_field(&profile, &field)) {
        if (field.number == 6 && index-- == 0)
            return field.body;
    }
    must(false, "expected an index within the string table");
    return profile;
}

static bool string_is(struct view profile, uint64_t index, const char *text)
{
    return same_view(find_string(profile, index), (struct view){(const uint8_t *)text, strlen(text)});
}

struct label_ids {
    uint64_t key, str, num, unit;
};

static struct label_ids read_label(struct view body)
{
    struct label_ids ids = {0};
    struct field field;
    while (next_field(&body, &field)) {
        uint64_t *const slots[] = {NULL, &ids.key, &ids.str, &ids.num, &ids.unit};
        if (field.number >= 1 && field.number <= 4)
            *slots[field.number] = field.value;
    }
    return ids;
}

static bool sample_has_key(struct view profile, struct view sample, const char *key)
{
    struct field field;
    while (next_field(&sample, &field)) {
        struct label_ids ids = field.number == 3 ? read_label(field.body) : (struct label_ids){0};
        if ((ids.str != 0 || ids.num != 0 || ids.unit != 0) && string_is(profile, ids.key, key))
            return true;
    }
    return false;
}

static unsigned renamed_samples; /* compared so far */

static bool is_key(struct view after, uint64_t index, const char *key, bool is_renamed)
{
    char text[sizeof("profefe_") + LABEL_KEY_MAX];
    snprintf(text, sizeof(text), "%s%s", is_renamed ? "profefe_" : "", key);
    return string_is(after, index, text);
}

/* The sample as it was, then each label in order, under another name where the sample has its key. */
static void compare_sample(struct view before, struct view old, struct view after, struct view new,
                           const struct labels *labels)
{
    must(new.len >= old.len && memcmp(new.ptr, old.ptr, old.len) == 0, "expected each sample to begin as it was");
    struct view rest = {new.ptr + old.len, new.len - old.len};
    for (unsigned i = 0; i < labels->count; i++) {
        const char *key = labels->items[i].key;
        bool is_renamed = sample_has_key(before, old, key);
        renamed_samples += is_renamed ? 1 : 0;
        struct field field;
        must(next_field(&rest, &field) && field.number == 3, "expected each label");
        struct label_ids ids = read_label(field.body);
        must(is_key(after, ids.key, key, is_renamed), "expected the keys in order");
        must(string_is(after, ids.str, labels->items[i].value), "expected the value of its key");
        must(ids.num == 0 && ids.unit == 0, "expected labels of text only");
    }
    must(rest.len == 0, "expected nothing after the labels");
}

/* Field by field what it was, samples with their labels; then new strings; then the comments. */
static void compare_profiles(struct view before, struct view after, const struct labels *labels,
                             const char *const *comments)
{
    struct view old_rest = before, new_rest = after;
    struct field old, new;
    while (next_field(&old_rest, &old)) {
        must(next_field(&new_rest, &new) && new.number == old.number, "expected the fields in their order");
        if (old.number == 2 && old.type == PROTO_BYTES)
            compare_sample(before, old.body, after, new.body, labels);
        else
            must(same_view(old.all, new.all), "expected all but the samples as it was");
    }
    bool more = next_field(&new_rest, &new);
    for (; more && new.number == 6; more = next_field(&new_rest, &new)) {
    }
    for (; *comments != NULL; comments++) {
        must(more && new.number == 13, "expected a comment");
        must(string_is(after, new.value, *comments), "expected the comments in order");
        more = next_field(&new_rest, &new);
    }
    must(!more, "expected nothing after the comments");
}

static struct pprof_summary summary_of(const uint8_t *bytes, size_t len)
{
    struct pprof_check *check = NULL;
    struct pprof_summary summary;
    assert_int_equal(pprof_check_new(PPROF_RAW_MAX, &check), 0);
    pprof_check_feed(check, bytes, len);
    pprof_check_finish(check, &summary);
    pprof_check_free(check);
    return summary;
}

/* --- tests --- */

static enum relabel_result expected_result(const char *name)
{
    if (strcmp(name, "odd-sample-of-16385-bytes.pb.gz") == 0)
        return RELABEL_SAMPLE_TOO_BIG;
    return strcmp(name, "odd-key-in-table-9-times.pb") == 0 ? RELABEL_TOO_MANY_KEYS : RELABEL_DONE;
}

static void expect_rewritten(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    subject = fixture->name;
    struct labels labels = golden_labels();
    struct stored stored = stored_fixture(fixture);
    struct outcome outcome = rewrite(&stored, &labels, "heap", heap_url, READ_STEP);
    must(outcome.rc == 0, "expected it to be rewritten");
    assert_string_equal(relabel_result_names[outcome.result], relabel_result_names[expected_result(fixture->name)]);
    if (outcome.result != RELABEL_DONE) {
        assert_int_equal(outcome.len, fixture->len);
        assert_memory_equal(outcome.bytes, fixture->bytes, fixture->len);
    } else {
        static const char *const comments[] = {"type=heap", "url=http://127.0.0.1:6060/debug/pprof/heap", NULL};
        struct view before, after;
        uint8_t *raw = fixture_inflate(fixture->bytes, fixture->len, &before.len);
        uint8_t *rewritten = fixture_inflate(outcome.bytes, outcome.len, &after.len);
        before.ptr = raw;
        after.ptr = rewritten;
        renamed_samples = 0;
        compare_profiles(before, after, &labels, comments);
        struct pprof_summary was = summary_of(fixture->bytes, fixture->len);
        struct pprof_summary is = summary_of(outcome.bytes, outcome.len);
        assert_string_equal(is.reason, "");
        assert_int_equal(is.samples, was.samples);
        assert_int_equal(is.strings, was.strings + 2 * labels.count + 2 + (renamed_samples > 0 ? 1 : 0)); /* pod */
        assert_int_equal(is.time_nanos, was.time_nanos);
        free(raw);
        free(rewritten);
    }
    outcome_done(&outcome);
}

static void each_good_profile_is_as_it_was_but_for_labels_and_comments(void **state)
{
    (void)state;
    fixture_each("ok", expect_rewritten, NULL);
}

static void expect_passed(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    subject = fixture->path;
    struct labels labels = golden_labels();
    struct stored stored = stored_fixture(fixture);
    struct outcome outcome = rewrite(&stored, &labels, "heap", heap_url, 100);
    must(outcome.rc == 0 && outcome.result == RELABEL_NOT_A_PROFILE, "expected not-a-profile");
    bool same = outcome.len == fixture->len && memcmp(outcome.bytes, fixture->bytes, outcome.len) == 0;
    must(same, "expected it as it came");
    outcome_done(&outcome);
}

static void what_cannot_be_labelled_is_given_as_it_came(void **state)
{
    (void)state;
    static const char *const folders[] = {"empty", "text", "malformed", "truncated"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        fixture_each(folders[i], expect_passed, NULL);
}

static void expect_golden(const struct fixture *golden, void *ctx)
{
    (void)ctx;
    struct fixture fixture;
    fixture_read(&fixture, "ok", golden->name);
    struct labels labels = golden_labels();
    struct stored stored = stored_fixture(&fixture);
    struct outcome outcome = rewrite(&stored, &labels, "heap", heap_url, READ_STEP);
    assert_int_equal(outcome.rc, 0);
    size_t expected_len = 0, len = 0;
    uint8_t *expected = fixture_inflate(golden->bytes, golden->len, &expected_len);
    uint8_t *raw = fixture_inflate(outcome.bytes, outcome.len, &len);
    if (len != expected_len || memcmp(raw, expected, len) != 0)
        fail_msg("%s: other bytes than in golden/", golden->name);
    free(expected);
    free(raw);
    outcome_done(&outcome);
    fixture_done(&fixture);
}

static void golden_profiles_come_out_byte_for_byte(void **state)
{
    (void)state;
    fixture_each("golden", expect_golden, NULL);
}

static void output_does_not_depend_on_how_it_is_read(void **state)
{
    (void)state;
    static const char *const files[] = {"go1.26-cpu.pb.gz", "odd-many-samples.pb.gz", "odd-long-string.pb.gz",
                                        "odd-three-members.pb.gz", "odd-sample-of-16384-bytes-with-pod.pb.gz"};
    static const size_t steps[] = {1, 2, 100, 8191, 65536};
    struct labels labels = golden_labels();
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct fixture fixture;
        fixture_read(&fixture, "ok", files[i]);
        struct stored stored = stored_fixture(&fixture);
        struct outcome whole = rewrite(&stored, &labels, "cpu", heap_url, READ_STEP);
        assert_int_equal(whole.result, RELABEL_DONE);
        for (size_t k = 0; k < 25; k++) {
            stored.step = steps[k / 5];
            struct outcome cut = rewrite(&stored, &labels, "cpu", heap_url, steps[k % 5]);
            assert_int_equal(cut.rc, 0);
            assert_int_equal(cut.len, whole.len);
            assert_memory_equal(cut.bytes, whole.bytes, whole.len);
            outcome_done(&cut);
        }
        outcome_done(&whole);
        fixture_done(&fixture);
    }
}

static void most_and_longest_labels_fit(void **state)
{
    (void)state;
    struct labels labels = {.count = 0};
    for (unsigned i = 0; i < LABELS_MAX; i++) {
        char key[LABEL_KEY_MAX + 1], value[LABEL_VALUE_MAX + 1], number[8];
        memset(key, 'k', LABEL_KEY_MAX);
        memset(value, 'v', LABEL_VALUE_MAX);
        snprintf(number, sizeof(number), "%02u", i);
        memcpy(key, number, 2);
        memcpy(value, number, 2);
        key[LABEL_KEY_MAX] = value[LABEL_VALUE_MAX] = '\0';
        add_label(&labels, key, value);
    }
    char url[RELABEL_COMMENT_MAX + 100];
    memset(url, 'u', sizeof(url) - 1);
    url[sizeof(url) - 1] = '\0';
    char cut_url[4 + RELABEL_COMMENT_MAX + 1] = "url=";
    memcpy(cut_url + 4, url, RELABEL_COMMENT_MAX);
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-many-samples.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    struct outcome outcome = rewrite(&stored, &labels, NULL, url, READ_STEP);
    assert_int_equal(outcome.result, RELABEL_DONE);
    struct pprof_summary is = summary_of(outcome.bytes, outcome.len);
    assert_int_equal(is.verdict, PPROF_OK);
    assert_int_equal(is.samples, 3400);
    assert_int_equal(is.strings, 10 + 2 * LABELS_MAX + 1);
    struct view before, after;
    uint8_t *raw = fixture_inflate(fixture.bytes, fixture.len, &before.len);
    uint8_t *rewritten = fixture_inflate(outcome.bytes, outcome.len, &after.len);
    before.ptr = raw;
    after.ptr = rewritten;
    assert_true(string_is(after, is.strings - 1, cut_url));
    /* Each label is looked up from the table's beginning: a hundred samples say it, 3,400 would take long. */
    struct view old_rest = before, new_rest = after;
    struct field old, new;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(next_field(&old_rest, &old) && next_field(&new_rest, &new));
        if (old.number == 2)
            compare_sample(before, old.body, after, new.body, &labels);
    }
    free(raw);
    free(rewritten);
    outcome_done(&outcome);
    fixture_done(&fixture);
}

static void without_labels_the_comments_are_added_all_the_same(void **state)
{
    (void)state;
    static const char *const comments[] = {"type=heap", NULL};
    struct labels none = {.count = 0};
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-comments.pb");
    struct stored stored = stored_fixture(&fixture);
    struct outcome outcome = rewrite(&stored, &none, "heap", NULL, READ_STEP);
    assert_int_equal(outcome.result, RELABEL_DONE);
    struct view after;
    uint8_t *rewritten = fixture_inflate(outcome.bytes, outcome.len, &after.len);
    after.ptr = rewritten;
    compare_profiles((struct view){fixture.bytes, fixture.len}, after, &none, comments);
    free(rewritten);
    outcome_done(&outcome);
    fixture_done(&fixture);
}

/* A profile labelled by another agent keeps what that one said; ours adds what is missing. */
static void labelling_twice_gives_the_second_another_name(void **state)
{
    (void)state;
    struct labels labels = golden_labels();
    struct fixture fixture;
    fixture_read(&fixture, "ok", "go1.26-heap.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    struct outcome once = rewrite(&stored, &labels, NULL, NULL, READ_STEP);
    struct labels more = golden_labels();
    memcpy(more.items[1].value, "web-1", 6);
    add_label(&more, "tier", "front");
    struct stored labelled = {.bytes = once.bytes, .len = once.len, .step = WHOLE};
    struct outcome twice = rewrite(&labelled, &more, NULL, NULL, READ_STEP);
    assert_int_equal(twice.result, RELABEL_DONE);
    static const char *const none[] = {NULL};
    struct view before, after;
    uint8_t *raw = fixture_inflate(once.bytes, once.len, &before.len);
    uint8_t *rewritten = fixture_inflate(twice.bytes, twice.len, &after.len);
    before.ptr = raw;
    after.ptr = rewritten;
    compare_profiles(before, after, &more, none);
    struct view rest = after;
    struct field field;
    unsigned samples = 0;
    while (next_field(&rest, &field)) {
        unsigned pods = 0;
        struct field label;
        struct view body = field.body;
        while (field.number == 2 && next_field(&body, &label))
            pods += label.number == 3 && string_is(after, read_label(label.body).key, "pod") ? 1 : 0;
        if (field.number == 2)
            assert_int_equal(pods, 1);
        samples += field.number == 2 ? 1 : 0;
    }
    assert_int_equal(samples, summary_of(fixture.bytes, fixture.len).samples);
    free(raw);
    free(rewritten);
    outcome_done(&once);
    outcome_done(&twice);
    fixture_done(&fixture);
}

static void scan_goes_in_pieces_and_then_knows_the_result(void **state)
{
    (void)state;
    struct labels labels = golden_labels();
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-long-string.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    stored.step = 10;
    struct relabel *relabel = new_relabel(&stored, &labels, PPROF_RAW_MAX);
    unsigned rounds = 0;
    int rc = 1;
    while ((rc = relabel_scan(relabel, 50)) > 0)
        rounds++;
    assert_int_equal(rc, 0);
    assert_in_range(rounds, fixture.len / 50 - 1, fixture.len / 50 + 1);
    assert_int_equal(relabel_get_result(relabel), RELABEL_DONE);
    assert_int_equal(relabel_scan(relabel, 50), 0);
    struct outcome outcome = read_all(relabel, READ_STEP);
    assert_int_equal(outcome.rc, 0);
    assert_int_equal(summary_of(outcome.bytes, outcome.len).verdict, PPROF_OK);
    outcome_done(&outcome);
    relabel_free(relabel);
    fixture_done(&fixture);
}

enum { TAKEN_MS = 1000000 }; /* a time that no fixture has */

static struct relabel *new_retimed(struct stored *stored, const struct labels *labels, int64_t time_ms)
{
    struct relabel_request request = {.source = read_stored, .source_ctx = stored, .labels = labels,
                                      .raw_max = PPROF_RAW_MAX, .time_ms = time_ms};
    struct relabel *relabel = NULL;
    assert_int_equal(relabel_new(&request, &relabel), 0);
    return relabel;
}

/* All but the time is as it was; a time that is 0 is none, and stays. */
static void expect_time_replaced(const struct fixture *fixture, void *ctx)
{
    (void)ctx;
    subject = fixture->name;
    struct labels none = {.count = 0};
    struct stored stored = stored_fixture(fixture);
    struct relabel *relabel = new_retimed(&stored, &none, TAKEN_MS);
    struct outcome outcome = read_all(relabel, READ_STEP);
    struct pprof_summary was = summary_of(fixture->bytes, fixture->len), is = summary_of(outcome.bytes, outcome.len);
    must(relabel_replaces_time(relabel) == (was.time_nanos != 0), "expected each time that there is to be replaced");
    assert_string_equal(is.reason, "");
    assert_true(is.time_nanos == (was.time_nanos != 0 ? TAKEN_MS * INT64_C(1000000) : 0));
    assert_int_equal(is.samples, was.samples);
    assert_int_equal(is.strings, was.strings);
    relabel_free(relabel);
    outcome_done(&outcome);
}

static void a_foreign_time_is_replaced_whatever_else_is_not(void **state)
{
    (void)state;
    fixture_each("ok", expect_time_replaced, NULL);
}

static void its_own_time_is_left_alone(void **state)
{
    (void)state;
    static const int64_t times[] = {0, 1700000000000, INT64_MAX, INT64_MAX / 1000000 + 1};
    struct labels none = {.count = 0};
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-plain.pb.gz");
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct stored stored = stored_fixture(&fixture);
        struct relabel *relabel = new_retimed(&stored, &none, times[i]);
        struct outcome outcome = read_all(relabel, READ_STEP);
        assert_false(relabel_is_rewriting(relabel));
        assert_false(relabel_replaces_time(relabel));
        assert_int_equal(outcome.len, fixture.len);
        assert_memory_equal(outcome.bytes, fixture.bytes, fixture.len);
        relabel_free(relabel);
        outcome_done(&outcome);
    }
    fixture_done(&fixture);
}

static bool has_a_key(const uint8_t *raw, size_t len, const struct labels *labels)
{
    struct view rest = {raw, len};
    struct field field;
    bool found = false;
    while (next_field(&rest, &field)) {
        for (unsigned i = 0; field.number == 6 && i < labels->count; i++) {
            const char *key = labels->items[i].key;
            found = found || same_view(field.body, (struct view){(const uint8_t *)key, strlen(key)});
        }
    }
    return found;
}

/* Where a check has counted, one reading gives the same as two. */
static void expect_the_same_in_one_reading(const struct fixture *fixture, void *ctx)
{
    subject = fixture->name;
    struct labels labels = golden_labels();
    struct view raw;
    uint8_t *bytes = fixture_inflate(fixture->bytes, fixture->len, &raw.len);
    struct pprof_summary summary = summary_of(fixture->bytes, fixture->len);
    bool takes_labels = summary.sample_bytes_max <= RELABEL_SAMPLE_MAX && !has_a_key(bytes, raw.len, &labels);
    free(bytes);
    if (!takes_labels)
        return;
    struct stored stored = stored_fixture(fixture), again = stored_fixture(fixture);
    struct outcome two = rewrite(&stored, &labels, "heap", heap_url, READ_STEP);
    struct relabel_request request = {.source = read_stored, .source_ctx = &again, .labels = &labels, .type = "heap",
                                      .url = heap_url, .raw_max = PPROF_RAW_MAX, .known_strings = summary.strings};
    struct relabel *relabel = NULL;
    assert_int_equal(relabel_new(&request, &relabel), 0);
    assert_int_equal(relabel_scan(relabel, 1), 0);
    struct outcome one = read_all(relabel, READ_STEP);
    relabel_free(relabel);
    must(one.rc == 0 && one.result == RELABEL_DONE, "expected it to be rewritten");
    assert_int_equal(again.readings, 1);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.bytes, two.bytes, two.len);
    outcome_done(&one);
    outcome_done(&two);
    ++*(unsigned *)ctx;
}

static void what_a_check_has_counted_saves_a_reading(void **state)
{
    (void)state;
    unsigned compared = 0;
    fixture_each("ok", expect_the_same_in_one_reading, &compared);
    assert_in_range(compared, 10, 1000);
}

static void a_count_that_is_wrong_is_found_in_the_one_reading(void **state)
{
    (void)state;
    struct labels labels = golden_labels();
    struct fixture fixture;
    fixture_read(&fixture, "ok", "go1.24-heap.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    struct relabel_request request = {
        .source = read_stored, .source_ctx = &stored, .labels = &labels, .raw_max = PPROF_RAW_MAX,
        .known_strings = summary_of(fixture.bytes, fixture.len).strings + 1};
    struct relabel *relabel = NULL;
    assert_int_equal(relabel_new(&request, &relabel), 0);
    struct outcome outcome = read_all(relabel, READ_STEP);
    assert_int_equal(outcome.rc, -EIO);
    relabel_free(relabel);
    outcome_done(&outcome);
    fixture_done(&fixture);
}

static void read_again_it_gives_the_same_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"go1.24-heap.pb.gz", "odd-sample-of-16385-bytes.pb.gz"};
    struct labels labels = golden_labels();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct fixture fixture;
        fixture_read(&fixture, "ok", names[i]);
        struct stored stored = stored_fixture(&fixture);
        struct relabel *relabel = new_relabel(&stored, &labels, PPROF_RAW_MAX);
        struct outcome first = read_all(relabel, READ_STEP);
        assert_int_equal(relabel_rewind(relabel), 0);
        struct outcome second = read_all(relabel, READ_STEP);
        assert_int_equal(first.len, second.len);
        assert_memory_equal(first.bytes, second.bytes, first.len);
        relabel_free(relabel);
        outcome_done(&first);
        outcome_done(&second);
        fixture_done(&fixture);
    }
}

static void ceiling_of_inflated_bytes_holds(void **state)
{
    (void)state;
    struct labels labels = golden_labels();
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-long-string.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    struct relabel *relabel = new_relabel(&stored, &labels, 100 * 1000);
    struct outcome outcome = read_all(relabel, READ_STEP);
    assert_int_equal(outcome.result, RELABEL_NOT_A_PROFILE);
    assert_int_equal(outcome.len, fixture.len);
    outcome_done(&outcome);
    relabel_free(relabel);
    fixture_done(&fixture);
}

static void an_error_of_the_source_is_told_at_each_place(void **state)
{
    (void)state;
    struct labels labels = golden_labels();
    struct fixture fixture;
    fixture_read(&fixture, "ok", "go1.26-cpu.pb.gz");
    struct stored stored = stored_fixture(&fixture);
    stored.step = 100;
    struct outcome outcome = rewrite(&stored, &labels, "cpu", NULL, READ_STEP);
    unsigned calls = stored.calls;
    assert_in_range(calls, 2 * (fixture.len / 100), 2 * (fixture.len / 100 + 2));
    outcome_done(&outcome);
    for (unsigned fail_at = 1; fail_at <= calls; fail_at++) {
        stored.calls = 0;
        stored.fail_at = fail_at;
        struct relabel *relabel = new_relabel(&stored, &labels, PPROF_RAW_MAX);
        outcome = read_all(relabel, 64);
        assert_int_equal(outcome.rc, -ESTALE);
        char byte;
        assert_int_equal(relabel_read(relabel, &byte, 1), -ESTALE);
        outcome_done(&outcome);
        relabel_free(relabel);
    }
    fixture_done(&fixture);
}

static void read_another_body(const struct fixture *other, void *ctx)
{
    const struct fixture *first = ctx;
    struct labels labels = golden_labels();
    struct stored stored = stored_fixture(first);
    stored.second = other->bytes;
    stored.second_len = other->len;
    struct outcome outcome = rewrite(&stored, &labels, "heap", NULL, READ_STEP);
    bool well_formed = strstr(other->path, "/ok/") != NULL;
    struct pprof_summary a = summary_of(first->bytes, first->len), b = summary_of(other->bytes, other->len);
    if (well_formed && (a.samples != b.samples || a.strings != b.strings))
        assert_int_equal(outcome.rc, -EIO);
    else if (!well_formed && strstr(other->path, "/malformed/") == NULL)
        assert_int_equal(outcome.rc, -EIO);
    else /* as many samples and strings, as far as anybody looks */
        assert_true(outcome.rc == 0 || outcome.rc == -EIO);
    outcome_done(&outcome);
}

static void another_body_at_the_second_reading_is_an_error(void **state)
{
    (void)state;
    static const char *const firsts[] = {"go1.26-heap.pb.gz", "odd-label-pod.pb", "odd-raw.pb"};
    static const char *const folders[] = {"ok", "empty", "malformed", "truncated", "text"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture first;
        fixture_read(&first, "ok", firsts[i]);
        for (size_t k = 0; k < 5; k++)
            fixture_each(folders[k], read_another_body, &first);
        fixture_done(&first);
    }
}

/* --- run by hand and by test/go/pprofcheck --- */

static struct labels labels_from_arguments(char **arguments)
{
    struct labels labels = {.count = 0};
    struct err err;
    for (; *arguments != NULL; arguments++) {
        const char *equals = strchr(*arguments, '=');
        struct span key = {*arguments, equals != NULL ? (size_t)(equals - *arguments) : strlen(*arguments)};
        struct span value = {equals != NULL ? equals + 1 : "", equals != NULL ? strlen(equals + 1) : 0};
        if (labels_add(&labels, key, value, &err) < 0) {
            fprintf(stderr, "%s: %s\n", *arguments, err.text);
            exit(2);
        }
    }
    return labels;
}

static int64_t read_file(void *ctx, uint64_t offset, void *bytes, size_t len)
{
    FILE *file = ctx;
    if (fseek(file, (long)offset, SEEK_SET) != 0)
        return -EIO;
    return (int64_t)fread(bytes, 1, len, file);
}

static int64_t pump(const struct relabel_request *request, FILE *to, enum relabel_result *ret)
{
    static char out[READ_STEP];
    struct relabel *relabel = NULL;
    int64_t n = relabel_new(request, &relabel);
    while (n >= 0 && (n = relabel_read(relabel, out, sizeof(out))) > 0) {
        if (to != NULL && fwrite(out, 1, (size_t)n, to) != (size_t)n)
            n = -EIO;
    }
    if (n == 0)
        *ret = relabel_get_result(relabel);
    relabel_free(relabel);
    return n;
}

/* --rewrite IN OUT TYPE URL [KEY=VALUE]...   writes OUT and prints what became of it */
static int rewrite_main(char **arguments)
{
    struct labels labels = labels_from_arguments(arguments + 4);
    FILE *in = fopen(arguments[0], "rbe"), *out = fopen(arguments[1], "wbe");
    enum relabel_result result = RELABEL_DONE;
    struct relabel_request request = {.source = read_file, .source_ctx = in, .labels = &labels, .type = arguments[2],
                                      .url = arguments[3], .raw_max = PPROF_RAW_MAX};
    int64_t rc = in != NULL && out != NULL ? pump(&request, out, &result) : -EIO;
    if (in != NULL)
        fclose(in);
    if (out != NULL && fclose(out) != 0)
        rc = -EIO;
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", arguments[0], strerror((int)-rc));
        return 1;
    }
    puts(relabel_result_names[result]);
    return 0;
}

/* --bench IN TIMES [KEY=VALUE]...   prints the CPU microseconds of one check, and of one relabelling */
static int bench_main(char **arguments)
{
    struct labels labels = labels_from_arguments(arguments + 2);
    FILE *in = fopen(arguments[0], "rbe");
    long times = strtol(arguments[1], NULL, 10);
    enum relabel_result result = RELABEL_DONE;
    struct relabel_request request = {.source = read_file, .source_ctx = in, .labels = &labels, .type = "heap",
                                      .url = heap_url, .raw_max = PPROF_RAW_MAX};
    clock_t before = clock();
    for (long i = 0; in != NULL && i < times; i++) {
        if (pump(&request, NULL, &result) < 0 || result != RELABEL_DONE)
            return 1;
    }
    clock_t after = clock();
    for (long i = 0; in != NULL && i < times; i++) {
        struct relabel *relabel = NULL;
        if (relabel_new(&request, &relabel) < 0 || relabel_scan(relabel, SIZE_MAX) < 0)
            return 1;
        relabel_free(relabel);
    }
    double us = 1e6 / CLOCKS_PER_SEC / (double)times;
    printf("%.1f %.1f\n", (double)(clock() - after) * us, (double)(after - before) * us);
    return in != NULL && fclose(in) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "--rewrite") == 0)
        return rewrite_main(argv + 2);
    if (argc >= 4 && strcmp(argv[1], "--bench") == 0)
        return bench_main(argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_good_profile_is_as_it_was_but_for_labels_and_comments),
        cmocka_unit_test(what_cannot_be_labelled_is_given_as_it_came),
        cmocka_unit_test(golden_profiles_come_out_byte_for_byte),
        cmocka_unit_test(output_does_not_depend_on_how_it_is_read),
        cmocka_unit_test(most_and_longest_labels_fit),
        cmocka_unit_test(without_labels_the_comments_are_added_all_the_same),
        cmocka_unit_test(labelling_twice_gives_the_second_another_name),
        cmocka_unit_test(scan_goes_in_pieces_and_then_knows_the_result),
        cmocka_unit_test(a_foreign_time_is_replaced_whatever_else_is_not),
        cmocka_unit_test(its_own_time_is_left_alone),
        cmocka_unit_test(what_a_check_has_counted_saves_a_reading),
        cmocka_unit_test(a_count_that_is_wrong_is_found_in_the_one_reading),
        cmocka_unit_test(read_again_it_gives_the_same_bytes),
        cmocka_unit_test(ceiling_of_inflated_bytes_holds),
        cmocka_unit_test(an_error_of_the_source_is_told_at_each_place),
        cmocka_unit_test(another_body_at_the_second_reading_is_an_error),
    };
    return cmocka_run_group_tests_name("relabel", tests, NULL, NULL);
}
