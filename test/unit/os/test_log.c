/* log: one line an event, whatever is in it; repeated failures once a minute. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/os/log.h"
#include "common/os/std_fds.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const int64_t wall_ms = INT64_C(1795366000123); /* 2026-11-22T16:46:40.123Z */

/* What an earlier test lost is told into /dev/null, so that it stands in no later one. */
static int reset(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    assert_true(saved >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    log_error("reset");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(nowhere);
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

/* ---- a stderr that takes nothing, or not all ---- */

/* Until poll() says that it takes no more. */
static void fill(int fd)
{
    static const char bytes[PIPE_BUF];
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    while (poll(&look, 1, 0) == 1)
        assert_true(write(fd, bytes, sizeof(bytes)) > 0);
}

/* Each returns the end for stderr, and in *other what must stay open beside it, or -1. */
static int full_pipe(int *other)
{
    int fds[2];
    assert_int_equal(0, pipe2(fds, O_CLOEXEC));
    fill(fds[1]);
    *other = fds[0];
    return fds[1];
}

static int full_socket(int *other)
{
    int fds[2];
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    fill(fds[1]);
    *other = fds[0];
    return fds[1];
}

static int pipe_without_reader(int *other)
{
    int fds[2];
    assert_int_equal(0, pipe2(fds, O_CLOEXEC));
    close(fds[0]);
    *other = -1;
    return fds[1];
}

static int socket_without_reader(int *other)
{
    int fds[2];
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    close(fds[0]);
    *other = -1;
    return fds[1];
}

static int full_disk(int *other)
{
    *other = -1;
    return open("/dev/full", O_WRONLY | O_CLOEXEC);
}

static int closed(int *other)
{
    *other = -1;
    return open("/", O_PATH | O_CLOEXEC); /* as std_fds_fill fills it */
}

/* Without waiting, and without SIGPIPE, which would end this program. */
static void what_stderr_does_not_take_is_counted_and_told_later(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int (*open_it)(int *other);
    } rows[] = {
        {"a full pipe", full_pipe},
        {"a full socket", full_socket},
        {"a pipe without reader", pipe_without_reader},
        {"a socket without reader", socket_without_reader},
        {"a full disk", full_disk},
        {"closed", closed},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[4096];
        int other;
        uint64_t before = log_lost_lines();
        struct capture capture = capture_start(0);
        int reader = dup(STDERR_FILENO), useless = rows[i].open_it(&other);
        assert_true(useless >= 0 && dup2(useless, STDERR_FILENO) >= 0);
        for (int line = 0; line < 3; line++)
            log_info("lost");
        expect_number(rows[i].name, 3, (long long)(log_lost_lines() - before));
        dup2(reader, STDERR_FILENO);
        log_error("heard");
        log_error("heard again");
        close(reader);
        close(useless);
        if (other >= 0)
            close(other);
        capture_end(&capture, text, sizeof(text));
        expect_number(rows[i].name, 3, count_of(text, "\n"));
        expect_contains(rows[i].name, text, " level=warn msg=\"log lines were lost\" lines=3\nts=");
        expect_contains(rows[i].name, text, " level=error msg=heard\nts=");
        expect_contains(rows[i].name, text, " level=error msg=\"heard again\"\n");
        expect_number(rows[i].name, 3, (long long)(log_lost_lines() - before));
    }
}

static void no_stderr_at_all_is_counted(void **state)
{
    (void)state;
    uint64_t before = log_lost_lines();
    int saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    log_info("into the void");
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(before + 1, log_lost_lines());
}

static uint64_t sum_of_told(const char *text)
{
    uint64_t sum = 0;
    static const char part[] = "msg=\"log lines were lost\" lines=";
    for (; (text = strstr(text, part)) != NULL; text++)
        sum += strtoull(text + strlen(part), NULL, 10);
    return sum;
}

/* It reads a little now and then: what it reads are whole lines, and with those that are told as lost they are all. */
static void slow_reader_gets_whole_lines_and_the_number_of_the_others(void **state)
{
    (void)state;
    enum { LINES = 6000, SIZE = 2 * 1024 * 1024 };
    char *text = malloc(SIZE), filler[200];
    size_t len = 0;
    assert_non_null(text);
    memset(filler, 'f', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    struct capture capture = capture_start(0);
    for (int i = 0; i < LINES; i++) {
        log_info("line", LOG_STR("filler", filler), LOG_I64("last", i));
        if (i % 10 == 9)
            len += (size_t)read(capture.read_fd, text + len, 1000);
    }
    while (poll(&(struct pollfd){.fd = capture.read_fd, .events = POLLIN}, 1, 0) == 1)
        len += (size_t)read(capture.read_fd, text + len, SIZE - len);
    log_info("line", LOG_I64("last", LINES));
    len += capture_end(&capture, text + len, SIZE - len);
    unsigned written = count_of(text, " msg=line ");
    assert_int_equal(written, count_of(text, " last="));
    assert_in_range(written, 100, LINES - 1);
    assert_int_equal(LINES + 1, written + sum_of_told(text));
    assert_int_equal(count_of(text, "\n"), count_of(text, "ts="));
    free(text);
}

/* A disk that is full takes the beginning of a line; the next one that it takes begins on a line of its own. */
static void what_follows_half_a_line_begins_a_line(void **state)
{
    (void)state;
    enum { HALF = 100 };
    char path[] = "/tmp/test_log_XXXXXX", text[1024];
    struct rlimit limit, before;
    int saved = dup(STDERR_FILENO), file = mkstemp(path);
    assert_true(file >= 0 && unlink(path) == 0 && dup2(file, STDERR_FILENO) >= 0);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){.rlim_cur = HALF, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    log_info("a line of some 130 bytes, of which 100 find room", LOG_STR("key", "a value that makes it so long"));
    log_info("a line that finds none");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    log_info("whole");
    log_info("whole again");
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t len = pread(file, text, sizeof(text) - 1, 0);
    close(file);
    assert_true(len > HALF);
    text[len] = '\0';
    assert_int_equal('\n', text[HALF]);
    assert_int_equal(4, count_of(text, "\n"));
    expect_contains("half", text + HALF, "\nts=");
    expect_contains("after half", text + HALF, " lines=2\nts=");
    expect_contains("whole", text + HALF, " msg=whole\nts=");
}

/* poll() may call it writable that has room for half of a line. The shell's own view of it is not changed. */
static void terminal_that_is_stopped_is_not_waited_for(void **state)
{
    (void)state;
    static char text[256 * 1024];
    char filler[LOG_VALUE_MAX];
    struct termios raw = {0};
    int master, slave, lines = 1;
    memset(filler, 'f', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    cfmakeraw(&raw);
    uint64_t before = log_lost_lines();
    assert_int_equal(0, openpty(&master, &slave, NULL, &raw, NULL));
    struct capture capture = capture_start(0);
    dup2(slave, STDERR_FILENO);
    std_fds_fill();
    assert_int_equal(0, fcntl(slave, F_GETFL) & O_NONBLOCK);
    assert_int_not_equal(0, fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK);
    for (; log_lost_lines() < before + 3; lines++)
        log_info("line", LOG_STR("1", filler), LOG_STR("2", filler), LOG_STR("3", filler), LOG_I64("last", 1));
    size_t len = 0;
    while (poll(&(struct pollfd){.fd = master, .events = POLLIN}, 1, 0) == 1)
        len += (size_t)read(master, text + len, sizeof(text) - 1 - len);
    log_info("line", LOG_I64("last", 1));
    len += (size_t)read(master, text + len, sizeof(text) - 1 - len);
    text[len] = '\0';
    assert_int_equal(lines, count_of(text, " last=1\n") + sum_of_told(text));
    assert_int_equal(count_of(text, "ts="), count_of(text, "\nts=") + 1);
    capture_end(&capture, (char[16]){0}, 16);
    close(master);
    close(slave);
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
    expect_failure("level", -EINVAL, "expected debug, info, warn or error, got \"loud\"",
                   log_level_parse("loud", &level, &err), &err);
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
    assert_int_equal(1, count_of(text, " msg=event"));
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
        cmocka_unit_test_setup(what_stderr_does_not_take_is_counted_and_told_later, reset),
        cmocka_unit_test_setup(no_stderr_at_all_is_counted, reset),
        cmocka_unit_test_setup(slow_reader_gets_whole_lines_and_the_number_of_the_others, reset),
        cmocka_unit_test_setup(what_follows_half_a_line_begins_a_line, reset),
        cmocka_unit_test_setup(terminal_that_is_stopped_is_not_waited_for, reset),
        cmocka_unit_test_setup(repeated_failures_are_written_once_a_minute_with_their_number, reset),
        cmocka_unit_test_setup(words_of_level_and_format, reset),
        cmocka_unit_test_setup(without_memory_lines_are_lost_and_counted, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
