/* log: one line an event, whatever is in it; repeated failures once a minute. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/os/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static const int64_t wall_ms = INT64_C(1795366000123); /* 2026-11-22T16:46:40.123Z */

static int reset(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    return log_set_identity(LOG_FIELDS());
}

static const char *format(struct buf *out, const char *msg, const struct log_field *fields)
{
    buf_clear(out);
    assert_int_equal(0, log_format_line(out, wall_ms, LOG_LEVEL_WARN, msg, fields));
    return buf_text(out);
}

static void logfmt_quotes_what_could_be_read_as_more(void **state)
{
    (void)state;
    static const struct {
        const char *value, *expected;
    } rows[] = {
        {"bare", "k=bare"},
        {"http://h:1/x?y", "k=http://h:1/x?y"},
        {"", "k=\"\""},
        {"two words", "k=\"two words\""},
        {"a=b", "k=\"a=b\""},
        {"say \"hi\"", "k=\"say \\\"hi\\\"\""},
        {"back\\slash", "k=\"back\\\\slash\""},
        {"line\nbreak level=error", "k=\"line\\x0abreak level=error\""},
        {"\x1b[31m", "k=\"\\x1b[31m\""},
        {"\xc2\x9b" "31m", "k=\"\\xc2\\x9b31m\""},
        {"gr\xc3\xbc\xc3\x9f", "k=\"gr\xc3\xbc\xc3\x9f\""},
        {"\xff", "k=\"\\xff\""},
    };
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char expected[256];
        snprintf(expected, sizeof(expected), "ts=2026-11-22T16:46:40.123Z level=warn msg=\"no profile\" %s n=-7\n",
                 rows[i].expected);
        expect_text(rows[i].value, expected,
                    format(&out, "no profile", LOG_FIELDS(LOG_STR("k", rows[i].value), LOG_I64("n", -7))));
    }
    assert_string_equal("ts=2026-11-22T16:46:40.123Z level=warn msg=one\n", format(&out, "one", LOG_FIELDS()));
    buf_done(&out);
}

/* Every byte, in a real parser's eyes. */
static void json_lines_are_json(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    assert_int_equal(0, log_set_identity(LOG_FIELDS(LOG_STR("pod", "we\"b\n"))));
    for (int c = 0; c < 256; c++) {
        const char bytes[] = {'a', (char)c, 'z'};
        struct span value = {bytes, sizeof(bytes)};
        const char *line = format(&out, "msg \"x\"", LOG_FIELDS(LOG_SPAN("k", value), LOG_I64("n", INT64_MIN)));
        assert_int_equal('\n', line[out.len - 1]);
        assert_ptr_equal(line + out.len - 1, strchr(line, '\n'));
        cJSON *json = cJSON_Parse(line);
        if (json == NULL)
            fail_msg("byte %d: no JSON: %s", c, line);
        assert_string_equal("2026-11-22T16:46:40.123Z", cJSON_GetObjectItem(json, "ts")->valuestring);
        assert_string_equal("warn", cJSON_GetObjectItem(json, "level")->valuestring);
        assert_string_equal("msg \"x\"", cJSON_GetObjectItem(json, "msg")->valuestring);
        assert_string_equal("we\"b\n", cJSON_GetObjectItem(json, "pod")->valuestring);
        const char *got = cJSON_GetObjectItem(json, "k")->valuestring;
        if (c > 0 && c < 128)
            assert_memory_equal(bytes, got, 3);
        else if (c >= 128)
            assert_string_equal("a\xef\xbf\xbdz", got);
        cJSON_Delete(json);
    }
    assert_non_null(strstr(format(&out, "msg", LOG_FIELDS(LOG_STR("k", "\xc2\x9b" "31m"))), "\"k\":\"\\u009b31m\""));
    buf_done(&out);
}

static void identity_stands_on_each_line(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    assert_int_equal(0, log_set_identity(LOG_FIELDS(LOG_STR("namespace", "shop"), LOG_STR("pod", "web-1"))));
    assert_string_equal("ts=2026-11-22T16:46:40.123Z level=warn msg=m namespace=shop pod=web-1 k=v\n",
                        format(&out, "m", LOG_FIELDS(LOG_STR("k", "v"))));
    char large[600];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    assert_int_equal(-ENOBUFS, log_set_identity(LOG_FIELDS(LOG_STR("pod", large))));
    expect_contains("the old identity stays", format(&out, "m", LOG_FIELDS()), "namespace=shop pod=web-1\n");
    buf_done(&out);
}

static void long_values_are_cut_between_characters(void **state)
{
    (void)state;
    struct buf out;
    char text[LOG_VALUE_MAX + 100];
    buf_init(&out, LOG_LINE_MAX);
    memset(text, 'v', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    const char *value = strstr(format(&out, "m", LOG_FIELDS(LOG_STR("k", text))), " k=") + 3;
    assert_int_equal(LOG_VALUE_MAX, strspn(value, "v"));
    memcpy(text + LOG_VALUE_MAX - 1, "\xc3\xa4", 2);
    value = strstr(format(&out, "m", LOG_FIELDS(LOG_STR("k", text))), " k=") + 3;
    assert_int_equal(LOG_VALUE_MAX - 1, strspn(value, "v"));
    assert_int_equal('\n', value[LOG_VALUE_MAX - 1]);
    buf_done(&out);
}

/* However much is logged: one line, never over the limit, marked when something is missing, JSON still JSON. */
static void lines_never_pass_their_limit(void **state)
{
    (void)state;
    static const char *const pieces[] = {"v", "\n", "\"", "\xff", "\xc3\xa4"};
    for (int f = 0; f < 2; f++) {
        log_setup(LOG_LEVEL_INFO, f == 0 ? LOG_FORMAT_LOGFMT : LOG_FORMAT_JSON);
        assert_int_equal(0, log_set_identity(LOG_FIELDS(LOG_STR("pod", "web-1"))));
        for (size_t p = 0; p < COUNT_OF(pieces); p++) {
            for (size_t len = 1; len <= LOG_VALUE_MAX; len += 3) {
                struct buf out;
                char text[2 * LOG_VALUE_MAX + 8] = "";
                buf_init(&out, LOG_LINE_MAX);
                for (size_t i = 0; i < len; i++)
                    memcpy(text + strlen(text), pieces[p], strlen(pieces[p]) + 1);
                const struct log_field field = LOG_STR("key", text);
                const struct log_field fields[] = {field, field, field, field, field, field, {.key = NULL}};
                format(&out, "a message", fields);
                assert_in_range(out.len, 20, LOG_LINE_MAX);
                assert_ptr_equal(out.data + out.len - 1, strchr(out.data, '\n'));
                unsigned keys = 0;
                for (const char *at = out.data; (at = strstr(at, f == 0 ? " key=" : ",\"key\":")) != NULL; at++)
                    keys++;
                bool cut = strstr(out.data, f == 0 ? " cut=true\n" : ",\"cut\":\"true\"}\n") != NULL;
                assert_int_equal(keys < 6, cut);
                cJSON *json = f == 1 ? cJSON_Parse(out.data) : NULL;
                assert_true((json != NULL) == (f == 1));
                cJSON_Delete(json);
                buf_done(&out);
            }
        }
    }
}

/* ---- on stderr ---- */

struct capture {
    int saved, read_fd;
};

static struct capture capture_start(int flags)
{
    struct capture capture;
    int fds[2];
    fflush(stderr);
    assert_int_equal(0, pipe2(fds, O_CLOEXEC | flags));
    capture.saved = dup(STDERR_FILENO);
    capture.read_fd = fds[0];
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    close(fds[1]);
    return capture;
}

static size_t capture_end(struct capture *capture, char *out, size_t size)
{
    size_t len = 0;
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    for (ssize_t n; len < size - 1 && (n = read(capture->read_fd, out + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    close(capture->read_fd);
    out[len] = '\0';
    return len;
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        count++;
    return count;
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    static const struct {
        enum log_level level;
        unsigned expected;
    } rows[] = {{LOG_LEVEL_DEBUG, 4}, {LOG_LEVEL_INFO, 3}, {LOG_LEVEL_WARN, 2}, {LOG_LEVEL_ERROR, 1}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[4096];
        log_setup(rows[i].level, LOG_FORMAT_LOGFMT);
        struct capture capture = capture_start(0);
        log_debug("d");
        log_info("i", LOG_I64("n", 1));
        log_warn("w", LOG_STR("s", "x"));
        const struct err err = {.code = EIO, .text = "why"};
        log_error("e", LOG_ERR(&err));
        capture_end(&capture, text, sizeof(text));
        assert_int_equal(rows[i].expected, count_of(text, "\n"));
        expect_contains("error", text, " level=error msg=e error=why\n");
    }
}

static void time_is_utc_now(void **state)
{
    (void)state;
    char text[256];
    struct tm tm = {0};
    struct timespec before, after; /* time() reads another clock, which may be a tick behind */
    struct capture capture = capture_start(0);
    clock_gettime(CLOCK_REALTIME, &before);
    log_info("now");
    clock_gettime(CLOCK_REALTIME, &after);
    capture_end(&capture, text, sizeof(text));
    assert_non_null(strptime(text, "ts=%Y-%m-%dT%H:%M:%S.", &tm));
    assert_in_range(timegm(&tm), before.tv_sec, after.tv_sec);
}

static void lost_lines_are_counted(void **state)
{
    (void)state;
    char text[256 * 1024];
    uint64_t before = log_lost_lines(), written;
    struct capture capture = capture_start(O_NONBLOCK);
    for (int i = 0; i < 3000; i++)
        log_info("filling the pipe that nobody reads");
    size_t len = capture_end(&capture, text, sizeof(text));
    written = count_of(text, "\n");
    assert_true(len > 0 && written < 3000);
    assert_int_equal(3000, written + log_lost_lines() - before);

    before = log_lost_lines();
    int saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    log_info("into the void");
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(before + 1, log_lost_lines());
}

static void repeated_failures_are_written_once_a_minute_with_their_number(void **state)
{
    (void)state;
    char text[8192];
    struct log_throttle throttle = {0};
    struct capture capture = capture_start(0);
    for (int64_t now = 5000; now < 5000 + 3 * LOG_REPEAT_MS; now += 1000)
        log_throttled(&throttle, now, LOG_LEVEL_WARN, "push failed", LOG_FIELDS(LOG_I64("at", now)));
    log_throttle_reset(&throttle);
    log_throttled(&throttle, 190000, LOG_LEVEL_WARN, "push failed", LOG_FIELDS(LOG_I64("at", 190000)));
    log_throttled(&throttle, 190001, LOG_LEVEL_WARN, "push failed", LOG_FIELDS(LOG_I64("at", 190001)));
    capture_end(&capture, text, sizeof(text));
    assert_int_equal(4, count_of(text, "\n"));
    expect_contains("first", text, "msg=\"push failed\" at=5000\n");
    expect_contains("a minute later", text, "at=65000 repeated=59\n");
    expect_contains("two minutes later", text, "at=125000 repeated=59\n");
    expect_contains("after a success at once", text, "at=190000\n");
}

static void words_of_level_and_format(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_WARN;
    enum log_format form = LOG_FORMAT_LOGFMT;
    struct err err = {0};
    assert_int_equal(0, log_level_parse("error", &level, &err));
    assert_int_equal(LOG_LEVEL_ERROR, level);
    assert_int_equal(0, log_format_parse("json", &form, &err));
    assert_int_equal(LOG_FORMAT_JSON, form);
    expect_failure("level", -EINVAL, "expected debug, info, warn or error, got \"loud\"", log_level_parse("loud", &level, &err), &err);
    expect_failure("format", -EINVAL, "expected logfmt or json, got \"\"", log_format_parse("", &form, &err), &err);
    assert_int_equal(LOG_LEVEL_ERROR, level);
    assert_int_equal(LOG_FORMAT_JSON, form);
}

static int identity_attempt(void *ctx)
{
    struct buf out;
    int rc = log_set_identity(LOG_FIELDS(LOG_STR("pod", "new")));
    alloc_fail_pause();
    buf_init(&out, LOG_LINE_MAX);
    expect_contains("identity", format(&out, "m", LOG_FIELDS()), rc == 0 ? " pod=new" : " pod=old");
    buf_done(&out);
    log_set_identity(LOG_FIELDS(LOG_STR("pod", "old")));
    alloc_fail_resume();
    (void)ctx;
    return rc;
}

/* A line without memory is lost, or lacks fields and says so; nothing worse. */
static int write_attempt(void *ctx)
{
    (void)ctx;
    char text[1024];
    uint64_t before = log_lost_lines();
    struct capture capture = capture_start(0);
    log_info("event", LOG_STR("k", "v"));
    capture_end(&capture, text, sizeof(text));
    if (log_lost_lines() > before) {
        assert_string_equal("", text);
        return -ENOMEM;
    }
    assert_int_equal(1, count_of(text, "\n"));
    if (strstr(text, " k=v\n") != NULL)
        return 0;
    expect_contains("without its field", text, " cut=true\n");
    return ALLOC_FAIL_SHED;
}

static void without_memory_lines_are_lost_and_counted(void **state)
{
    (void)state;
    log_set_identity(LOG_FIELDS(LOG_STR("pod", "old")));
    assert_in_range(alloc_fail_in_turn("log_set_identity", identity_attempt, NULL), 1, 3);
    assert_in_range(alloc_fail_in_turn("log_write", write_attempt, NULL), 2, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(logfmt_quotes_what_could_be_read_as_more, reset),
        cmocka_unit_test_setup(json_lines_are_json, reset),
        cmocka_unit_test_setup(identity_stands_on_each_line, reset),
        cmocka_unit_test_setup(long_values_are_cut_between_characters, reset),
        cmocka_unit_test_setup(lines_never_pass_their_limit, reset),
        cmocka_unit_test_setup(lines_below_the_level_are_not_written, reset),
        cmocka_unit_test_setup(time_is_utc_now, reset),
        cmocka_unit_test_setup(lost_lines_are_counted, reset),
        cmocka_unit_test_setup(repeated_failures_are_written_once_a_minute_with_their_number, reset),
        cmocka_unit_test_setup(words_of_level_and_format, reset),
        cmocka_unit_test_setup(without_memory_lines_are_lost_and_counted, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
