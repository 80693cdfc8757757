/* scrape: every bad answer that an app may give by its name; and a few fetches from a peer that gives them. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/gather/scrape.h"
#include "common/os/file.h"
#include "common/values/targets.h"
#include "peer.h"
#include "pprof_fixtures.h"

/* ---- the URL ---- */

static void url_of_each_type(void **state)
{
    (void)state;
    static const struct {
        enum profile_kind kind;
        const char *name;
        int64_t seconds_ms;
        const char *expected;
    } rows[] = {
        {PROFILE_CPU, "cpu", 10000, "http://h:1/debug/pprof/profile?seconds=10"},
        {PROFILE_CPU, "cpu", 1000, "http://h:1/debug/pprof/profile?seconds=1"},
        {PROFILE_CPU, "cpu", 300000, "http://h:1/debug/pprof/profile?seconds=300"},
        {PROFILE_HEAP, "heap", 0, "http://h:1/debug/pprof/heap"},
        {PROFILE_GOROUTINE, "goroutine", 0, "http://h:1/debug/pprof/goroutine"},
        {PROFILE_BLOCK, "block", 0, "http://h:1/debug/pprof/block"},
        {PROFILE_MUTEX, "mutex", 0, "http://h:1/debug/pprof/mutex"},
        {PROFILE_THREADCREATE, "threadcreate", 0, "http://h:1/debug/pprof/threadcreate"},
        {PROFILE_ALLOCS, "allocs", 0, "http://h:1/debug/pprof/allocs"},
        {PROFILE_TRACE, "trace", 1500, "http://h:1/debug/pprof/trace?seconds=1.5"},
        {PROFILE_TRACE, "trace", 100, "http://h:1/debug/pprof/trace?seconds=0.1"},
        {PROFILE_TRACE, "trace", 12345, "http://h:1/debug/pprof/trace?seconds=12.345"},
        {PROFILE_TRACE, "trace", 1020, "http://h:1/debug/pprof/trace?seconds=1.02"},
        {PROFILE_TRACE, "trace", 2000, "http://h:1/debug/pprof/trace?seconds=2"},
        {PROFILE_OTHER, "other/wall", 0, "http://h:1/debug/pprof/wall"},
        {PROFILE_OTHER, "other/wall", 10000, "http://h:1/debug/pprof/wall?seconds=10"},
        {PROFILE_OTHER, "other/-._~!$&'()*+;@", 0, "http://h:1/debug/pprof/-._~!$&'()*+;@"},
        {PROFILE_OTHER, "other/\xc3\xbc\"<>[]\\^`{|}", 0,
         "http://h:1/debug/pprof/%C3%BC%22%3C%3E%5B%5D%5C%5E%60%7B%7C%7D"},
        {PROFILE_OTHER, "other/a/b.c", 500, "http://h:1/debug/pprof/a/b.c?seconds=0.5"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct profile_type type = {.kind = rows[i].kind};
        struct buf url;
        strcpy(type.name, rows[i].name);
        buf_init(&url, SCRAPE_URL_MAX);
        assert_int_equal(0, scrape_url(&url, "http://h:1/debug/pprof", &type, rows[i].seconds_ms));
        expect_text(rows[i].name, rows[i].expected, buf_text(&url));
        buf_done(&url);
    }
}

static void longest_url_fits_and_a_longer_one_is_an_error(void **state)
{
    (void)state;
    struct profile_type type = {.kind = PROFILE_OTHER};
    char base[TARGET_URL_MAX + 1];
    struct buf url;
    memset(base, 'b', sizeof(base) - 1);
    base[sizeof(base) - 1] = '\0';
    memset(type.name, '\\', PROFILE_TYPE_NAME_MAX);
    memcpy(type.name, "other/", 6);
    buf_init(&url, SCRAPE_URL_MAX);
    assert_int_equal(0, scrape_url(&url, base, &type, 299999));
    buf_done(&url);
    buf_init(&url, 20);
    assert_int_equal(-ENOBUFS, scrape_url(&url, "http://h:1/debug/pprof", &type, 0));
    buf_done(&url);
}

/* ---- the naming ---- */

struct answer {
    const char *what;
    enum profile_kind kind;
    int64_t seconds_ms;
    struct httpc_result http;
    enum pprof_verdict verdict; /* of the body */
    enum scrape_result expected;
    const char *words; /* in report.words */
};

#define GO_PPROF .kept = {[SCRAPE_X_GO_PPROF] = "1"}
#define BODY(text) .reply = text, .reply_len = sizeof(text) - 1

static const struct answer answers[] = {
    {"a profile", PROFILE_HEAP, 0, {.status = 200}, PPROF_OK, SCRAPE_OK, ""},
    {"a CPU profile", PROFILE_CPU, 10000, {.status = 200, .elapsed_ms = 10100}, PPROF_OK, SCRAPE_OK, ""},
    {"no samples", PROFILE_BLOCK, 0, {.status = 200}, PPROF_EMPTY, SCRAPE_EMPTY, "the reason"},

    {"nothing listens", PROFILE_HEAP, 0, {.end = HTTPC_REFUSED, .text = "Connection refused"}, PPROF_TRUNCATED,
     SCRAPE_REFUSED, "nothing listens"},
    {"no such host", PROFILE_HEAP, 0, {.end = HTTPC_RESOLVE}, PPROF_TRUNCATED, SCRAPE_REFUSED, "host name not found"},
    {"no connection in time", PROFILE_HEAP, 0, {.end = HTTPC_CONNECT_TIMEOUT}, PPROF_TRUNCATED, SCRAPE_TIMEOUT,
     "no connection in time"},
    {"no reply in time", PROFILE_CPU, 10000, {.end = HTTPC_TIMEOUT, .elapsed_ms = 20000}, PPROF_TRUNCATED,
     SCRAPE_TIMEOUT, "no reply in time after 20000 ms"},
    {"a byte a second", PROFILE_HEAP, 0, {.end = HTTPC_TIMEOUT, .status = 200, .received_bytes = 10}, PPROF_TRUNCATED,
     SCRAPE_SLOW, "did not end in time"},
    {"chunk noise", PROFILE_HEAP, 0, {.end = HTTPC_TIMEOUT, .status = 200}, PPROF_TRUNCATED, SCRAPE_SLOW,
     "did not end in time"},
    {"slow 500", PROFILE_HEAP, 0, {.end = HTTPC_TIMEOUT, .status = 500, BODY("x")}, PPROF_TRUNCATED, SCRAPE_SLOW,
     "did not end in time"},

    {"busy, as Go says it", PROFILE_CPU, 10000,
     {.status = 500, GO_PPROF, BODY("Could not enable CPU profiling: cpu profiling already in use\n")},
     PPROF_TRUNCATED, SCRAPE_BUSY, "\"Could not enable CPU profiling: cpu profiling already in use\""},
    {"busy tracer", PROFILE_TRACE, 1000,
     {.status = 500, GO_PPROF, BODY("Could not enable tracing: execution tracer already enabled\n")}, PPROF_TRUNCATED,
     SCRAPE_BUSY, "somebody else"},
    {"busy, header stripped", PROFILE_CPU, 10000, {.status = 500, BODY("Could not enable CPU profiling: x")},
     PPROF_TRUNCATED, SCRAPE_BUSY, "somebody else"},
    {"busy, body stripped", PROFILE_CPU, 10000, {.status = 500, GO_PPROF}, PPROF_TRUNCATED, SCRAPE_BUSY,
     "somebody else"},
    {"busy after a second", PROFILE_CPU, 10000, {.status = 500, GO_PPROF, .elapsed_ms = 9999}, PPROF_TRUNCATED,
     SCRAPE_BUSY, "somebody else"},
    {"heap is never busy", PROFILE_HEAP, 0, {.status = 500, GO_PPROF, BODY("Could not enable x")}, PPROF_TRUNCATED,
     SCRAPE_STATUS, "expected 200, got 500 \"Could not enable x\""},
    {"busy by status", PROFILE_CPU, 10000, {.status = 409}, PPROF_TRUNCATED, SCRAPE_BUSY, "somebody else"},
    {"busy by limit", PROFILE_OTHER, 10000, {.status = 429, BODY("slow down")}, PPROF_TRUNCATED, SCRAPE_BUSY,
     "\"slow down\""},
    {"busy, locked", PROFILE_CPU, 10000, {.status = 423}, PPROF_TRUNCATED, SCRAPE_BUSY, "somebody else"},
    {"busy in progress", PROFILE_CPU, 10000, {.status = 500, BODY("Profiling In Progress")}, PPROF_TRUNCATED,
     SCRAPE_BUSY, "Profiling In Progress"},
    {"busy in use", PROFILE_OTHER, 10000, {.status = 503, BODY("profiler in use")}, PPROF_TRUNCATED, SCRAPE_BUSY,
     "profiler in use"},
    {"busy running", PROFILE_CPU, 10000, {.status = 400, BODY("another session is running")}, PPROF_TRUNCATED,
     SCRAPE_BUSY, "another session is running"},
    {"busy in other words", PROFILE_CPU, 10000, {.status = 400, BODY("{\"error\":\"Already profiling\"}")},
     PPROF_TRUNCATED, SCRAPE_BUSY, "Already profiling"},
    {"busy and unavailable", PROFILE_CPU, 10000, {.status = 503, .elapsed_ms = 5000, BODY("profiler already running")},
     PPROF_TRUNCATED, SCRAPE_BUSY, "already running"},
    {"missing already", PROFILE_CPU, 10000, {.status = 404, BODY("already gone")}, PPROF_TRUNCATED, SCRAPE_MISSING,
     "404"},
    {"409 on heap", PROFILE_HEAP, 0, {.status = 409, BODY("already")}, PPROF_TRUNCATED, SCRAPE_STATUS, "got 409"},
    {"another 500", PROFILE_CPU, 10000, {.status = 500, BODY("panic: x\ngoroutine 1")}, PPROF_TRUNCATED, SCRAPE_STATUS,
     "got 500 \"panic: x\""},

    {"the old WriteTimeout", PROFILE_CPU, 10000,
     {.status = 400, GO_PPROF, BODY("profile duration exceeds server's WriteTimeout\n")}, PPROF_TRUNCATED,
     SCRAPE_TOO_LONG, "10000 ms are longer than the app's WriteTimeout or handler limit (400"},
    {"another 400", PROFILE_CPU, 10000, {.status = 400, BODY("bad")}, PPROF_TRUNCATED, SCRAPE_STATUS,
     "got 400 \"bad\""},
    {"that 400 on heap", PROFILE_HEAP, 0, {.status = 400, BODY("profile duration exceeds server's WriteTimeout")},
     PPROF_TRUNCATED, SCRAPE_STATUS, "got 400"},
    {"closed after the full time", PROFILE_CPU, 4000, {.end = HTTPC_EMPTY, .elapsed_ms = 4003}, PPROF_TRUNCATED,
     SCRAPE_TOO_LONG, "4000 ms"},
    {"closed after nine tenths", PROFILE_CPU, 4000, {.end = HTTPC_EMPTY, .elapsed_ms = 3600}, PPROF_TRUNCATED,
     SCRAPE_TOO_LONG, "4000 ms"},
    {"closed before that", PROFILE_CPU, 4000, {.end = HTTPC_EMPTY, .elapsed_ms = 3599}, PPROF_TRUNCATED,
     SCRAPE_TRUNCATED, "without a reply"},
    {"closed on heap", PROFILE_HEAP, 0, {.end = HTTPC_EMPTY, .elapsed_ms = 5000}, PPROF_TRUNCATED, SCRAPE_TRUNCATED,
     "without a reply"},
    {"TimeoutHandler", PROFILE_CPU, 10000, {.status = 503, .elapsed_ms = 5000, BODY("<html>timeout")}, PPROF_TRUNCATED,
     SCRAPE_TOO_LONG, "(503 \"<html>timeout\")"},
    {"a gateway's limit", PROFILE_CPU, 10000, {.status = 504, .elapsed_ms = 9999}, PPROF_TRUNCATED, SCRAPE_TOO_LONG,
     "504"},
    {"limit of a second", PROFILE_CPU, 10000, {.status = 503, .elapsed_ms = 1000}, PPROF_TRUNCATED, SCRAPE_TOO_LONG,
     "503"},
    {"503 at once: not ready", PROFILE_CPU, 10000, {.status = 503, .elapsed_ms = 3}, PPROF_TRUNCATED, SCRAPE_STATUS,
     "got 503"},
    {"503 of a trace", PROFILE_TRACE, 1000, {.status = 503, .elapsed_ms = 100}, PPROF_TRUNCATED, SCRAPE_TOO_LONG,
     "1000 ms"},
    {"503 after SECONDS", PROFILE_CPU, 10000, {.status = 503, .elapsed_ms = 10000}, PPROF_TRUNCATED, SCRAPE_STATUS,
     "got 503"},
    {"503 on heap", PROFILE_HEAP, 0, {.status = 503, .elapsed_ms = 3}, PPROF_TRUNCATED, SCRAPE_STATUS, "got 503"},
    {"502", PROFILE_CPU, 10000, {.status = 502, .elapsed_ms = 5000}, PPROF_TRUNCATED, SCRAPE_STATUS, "got 502"},

    {"missing", PROFILE_MUTEX, 0, {.status = 404, GO_PPROF, BODY("Unknown profile\n")}, PPROF_TRUNCATED, SCRAPE_MISSING,
     "404 \"Unknown profile\": the app does not serve this profile"},
    {"redirect", PROFILE_HEAP, 0, {.status = 302, .kept = {[SCRAPE_LOCATION] = "https://login.example.com/\x1b"}},
     PPROF_TRUNCATED, SCRAPE_REDIRECT, "redirect to \"https://login.example.com/\\x1b\""},
    {"redirect nowhere", PROFILE_HEAP, 0, {.status = 399}, PPROF_TRUNCATED, SCRAPE_REDIRECT, "redirect to \"\""},
    {"forbidden", PROFILE_HEAP, 0, {.status = 403}, PPROF_TRUNCATED, SCRAPE_STATUS, "expected 200, got 403 \"\""},
    {"no content", PROFILE_HEAP, 0, {.status = 204}, PPROF_TRUNCATED, SCRAPE_STATUS, "got 204"},
    {"partial", PROFILE_HEAP, 0, {.status = 206}, PPROF_OK, SCRAPE_STATUS, "got 206"},

    {"text", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -EINVAL, .status = 200}, PPROF_TEXT, SCRAPE_TEXT,
     "the reason"},
    {"short text, whole", PROFILE_HEAP, 0, {.status = 200}, PPROF_TEXT, SCRAPE_TEXT, "the reason"},
    {"malformed body", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -EINVAL, .status = 200}, PPROF_MALFORMED,
     SCRAPE_MALFORMED, "the reason"},
    {"gzip bomb", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -EINVAL, .status = 200}, PPROF_TOO_BIG,
     SCRAPE_TOO_BIG, "the reason"},
    {"no memory to check", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -EINVAL, .status = 200},
     PPROF_NO_MEMORY, SCRAPE_ERROR, "the reason"},
    {"not HTTP", PROFILE_HEAP, 0, {.end = HTTPC_MALFORMED, .text = "Received HTTP/0.9 when not allowed"},
     PPROF_TRUNCATED, SCRAPE_MALFORMED, "not an HTTP reply"},
    {"plain for https", PROFILE_HEAP, 0, {.end = HTTPC_TLS}, PPROF_TRUNCATED, SCRAPE_MALFORMED, "is the scheme right?"},
    {"headers without end", PROFILE_HEAP, 0, {.end = HTTPC_ENDLESS}, PPROF_TRUNCATED, SCRAPE_ENDLESS,
     "headers without end"},

    {"cut inside gzip", PROFILE_HEAP, 0, {.status = 200}, PPROF_TRUNCATED, SCRAPE_TRUNCATED, "the reason"},
    {"shorter than announced", PROFILE_HEAP, 0, {.end = HTTPC_TRUNCATED, .status = 200, .received_bytes = 9},
     PPROF_TRUNCATED, SCRAPE_TRUNCATED, "ended early after 0 ms, 9 bytes"},
    {"shorter, though the profile is whole", PROFILE_HEAP, 0, {.end = HTTPC_TRUNCATED, .status = 200}, PPROF_OK,
     SCRAPE_TRUNCATED, "ended early"},
    {"reset", PROFILE_HEAP, 0, {.end = HTTPC_RESET}, PPROF_TRUNCATED, SCRAPE_TRUNCATED, "reset"},
    {"over the limit", PROFILE_HEAP, 0, {.end = HTTPC_TOO_BIG, .status = 200, .received_bytes = 8 << 20},
     PPROF_TRUNCATED, SCRAPE_TOO_BIG, "larger than the spool can hold"},
    {"over the limit at once", PROFILE_HEAP, 0, {.end = HTTPC_TOO_BIG, .status = 200}, PPROF_TRUNCATED, SCRAPE_TOO_BIG,
     "larger than the spool can hold"},
    {"over the spool's", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -EFBIG, .status = 200}, PPROF_TRUNCATED,
     SCRAPE_TOO_BIG, "larger than the spool can hold"},
    {"the spool failed", PROFILE_HEAP, 0, {.end = HTTPC_ABORTED, .abort_code = -ENOSPC, .status = 200}, PPROF_TRUNCATED,
     SCRAPE_ERROR, "given up"},
    {"no memory", PROFILE_HEAP, 0, {.end = HTTPC_NO_MEMORY}, PPROF_TRUNCATED, SCRAPE_ERROR, "no memory"},
    {"no descriptor", PROFILE_HEAP, 0, {.end = HTTPC_OTHER, .text = "cannot open a socket"}, PPROF_TRUNCATED,
     SCRAPE_ERROR, "\"cannot open a socket\""},
    {"a URL that curl refuses", PROFILE_HEAP, 0, {.end = HTTPC_BAD_URL}, PPROF_TRUNCATED, SCRAPE_ERROR,
     "not a usable URL"},
};

static void each_bad_answer_has_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *row = &answers[i];
        struct pprof_summary summary = {.verdict = row->verdict, .reason = "the reason"};
        char words[ERR_TEXT_MAX] = "old";
        if (row->verdict == PPROF_OK)
            summary.reason[0] = '\0';
        enum scrape_result got = scrape_judge(row->kind, row->seconds_ms, &row->http, &summary, words);
        if (got != row->expected)
            fail_msg("%s: expected %s, got %s (%s)", row->what, scrape_result_names[row->expected],
                     scrape_result_names[got], words);
        if (row->expected == SCRAPE_OK)
            expect_text(row->what, "", words);
        else
            expect_contains(row->what, words, row->words);
    }
}

static void each_result_occurs_in_the_table_and_has_a_name_of_its_own(void **state)
{
    (void)state;
    bool seen[SCRAPE_RESULT_COUNT] = {false};
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        seen[answers[i].expected] = true;
    for (unsigned r = 0; r < SCRAPE_RESULT_COUNT; r++) {
        if (!seen[r])
            fail_msg("no answer leads to %s", scrape_result_names[r]);
        for (unsigned other = 0; other < r; other++)
            assert_string_not_equal(scrape_result_names[r], scrape_result_names[other]);
    }
}

/* Whatever an app sends in its words, headers and body, what we tell of it is printable. */
static void words_are_printable_whatever_the_app_says(void **state)
{
    (void)state;
    static const unsigned statuses[] = {200, 302, 400, 404, 500, 503};
    for (size_t s = 0; s < COUNT_OF(statuses); s++) {
        struct httpc_result http = {.status = statuses[s], .elapsed_ms = 5000};
        struct pprof_summary summary = {.verdict = PPROF_TRUNCATED, .reason = "x"};
        char words[ERR_TEXT_MAX];
        for (unsigned i = 0; i < HTTPC_REPLY_MAX; i++)
            http.reply[i] = (char)(i * 7 % 255 + 1);
        for (unsigned i = 0; i < HTTPC_VALUE_MAX - 1; i++)
            http.kept[SCRAPE_LOCATION][i] = (char)(i + 1);
        http.reply_len = HTTPC_REPLY_MAX;
        scrape_judge(PROFILE_CPU, 10000, &http, &summary, words);
        for (const char *c = words; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        memset(http.reply, 0, sizeof(http.reply)); /* NUL bytes are a body, too */
        scrape_judge(PROFILE_CPU, 10000, &http, &summary, words);
    }
}

static void body_that_nobody_checked_is_truncated(void **state)
{
    (void)state;
    const struct httpc_result http = {.status = 200};
    char words[ERR_TEXT_MAX];
    assert_int_equal(SCRAPE_TRUNCATED, scrape_judge(PROFILE_HEAP, 0, &http, NULL, words));
}

/* ---- fetches ---- */

static const struct profile_type heap = {.kind = PROFILE_HEAP, .name = "heap"};
static const struct profile_type cpu = {.kind = PROFILE_CPU, .name = "cpu", .seconds_ms = 1000};

struct bench {
    struct loop *loop;
    struct httpc *httpc;
    struct spool *spool;
    struct scrape *scrape;
    struct scrape_report report;
    unsigned done;
    int64_t timeout_ms;
    /* the app */
    int listening;
    uint16_t port;
    char base[64];
    const char *head;  /* what it answers: this, then `body` */
    const char *body;
    size_t body_len;
    bool ask_gzip;
    const char *endless; /* again and again, until the client closes; NULL: not */
    char request[PEER_TEXT_MAX];
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct err err;
    assert_non_null(bench);
    *state = bench;
    bench->timeout_ms = 10000;
    bench->listening = peer_listen(&bench->port);
    snprintf(bench->base, sizeof(bench->base), "http://127.0.0.1:%u/debug/pprof", bench->port);
    const struct httpc_options client = {.user_agent = "profefe-agent/0", .transfers_max = 4};
    if (bench->listening < 0 || loop_new(&bench->loop, &err) < 0 ||
        httpc_new(bench->loop, &client, &bench->httpc, &err) < 0 ||
        spool_new_memory(SPOOL_BUDGET_MIN, &bench->spool, &err) < 0)
        return -1;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    scrape_cancel(bench->scrape);
    httpc_free(bench->httpc);
    spool_free(bench->spool);
    loop_free(bench->loop);
    close(bench->listening);
    free(bench);
    return 0;
}

static void on_done(void *ctx, const struct scrape_report *report)
{
    struct bench *bench = ctx;
    bench->scrape = NULL;
    bench->report = *report;
    bench->done++;
    loop_stop(bench->loop);
}

static int start_fetch(struct bench *bench, const struct profile_type *type, struct err *err)
{
    const struct scrape_request request = {.base_url = bench->base,
                                           .target_name = "api",
                                           .type = type,
                                           .seconds_ms = type->seconds_ms,
                                           .connect_timeout_ms = 2000,
                                           .timeout_ms = bench->timeout_ms,
                                           .body_max = SPOOL_BUDGET_MIN,
                                           .ask_gzip = bench->ask_gzip};
    return scrape_start(bench->httpc, bench->spool, &request, on_done, bench, &bench->scrape, err);
}

/* The app's side, on a thread of its own: one connection, one answer. */
static void answer_once(void *ctx)
{
    struct bench *bench = ctx;
    int fd = accept(bench->listening, NULL, NULL);
    if (fd < 0)
        return;
    peer_read_until(fd, "\r\n\r\n", bench->request);
    peer_send(fd, bench->head);
    while (bench->endless != NULL && peer_send(fd, bench->endless))
        ;
    peer_send_n(fd, bench->body, bench->body_len);
    close(fd);
}

static const struct scrape_report *fetch(struct bench *bench, const struct profile_type *type)
{
    struct peer peer;
    struct err err = {0};
    peer_start(&peer, answer_once, bench);
    bench->done = 0;
    if (start_fetch(bench, type, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(0, loop_run(bench->loop, &err));
    peer_join(&peer);
    assert_int_equal(1, bench->done);
    return &bench->report;
}

static void read_fixture(const char *name, char **ret, size_t *ret_len)
{
    char path[1024];
    struct err err;
    snprintf(path, sizeof(path), "%s/pprof/%s", FIXTURES, name);
    if (file_read(path, 8 << 20, ret, ret_len, &err) < 0)
        fail_msg("%s", err.text);
}

#define GOOD_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n"

static void a_profile_is_in_the_spool_with_type_and_target(void **state)
{
    struct bench *bench = *state;
    char *bytes = NULL;
    struct spool_item item;
    read_fixture("ok/go1.24-heap.pb.gz", &bytes, &bench->body_len);
    bench->head = GOOD_HEAD;
    bench->body = bytes;
    const struct scrape_report *report = fetch(bench, &heap);
    expect_text("words", "", report->words);
    assert_int_equal(SCRAPE_OK, report->result);
    assert_int_equal(200, report->status);
    assert_int_equal(bench->body_len, report->bytes);
    assert_int_equal(0, spool_next(bench->spool, 0, &item));
    assert_int_equal(report->item_id, item.id);
    assert_string_equal("heap", item.meta.type);
    assert_string_equal("api", item.meta.target);
    assert_int_equal(bench->body_len, item.size_bytes);
    char *back = malloc(bench->body_len);
    assert_non_null(back);
    assert_int_equal(bench->body_len, spool_read(bench->spool, item.id, 0, back, bench->body_len));
    assert_memory_equal(bytes, back, bench->body_len);
    expect_contains("request", bench->request, "GET /debug/pprof/heap HTTP/1.1\r\n");
    expect_contains("request", bench->request, "\r\nConnection: close\r\n");
    assert_null(strstr(bench->request, "Accept-Encoding")); /* a proxy could gzip what is gzipped */
    assert_false(report->is_raw);
    free(back);
    free(bytes);
}

static void raw_profile_is_asked_for_in_gzip_the_next_time(void **state)
{
    struct bench *bench = *state;
    struct fixture fixture;
    fixture_read(&fixture, "ok", "odd-many-samples.pb.gz");
    size_t raw_len = 0;
    uint8_t *raw = fixture_inflate(fixture.bytes, fixture.len, &raw_len);
    const struct {
        const char *head;
        const uint8_t *body;
        size_t len;
    } answers_in_turn[] = {
        {GOOD_HEAD, raw, raw_len},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n", fixture.bytes, fixture.len},
    };
    for (unsigned i = 0; i < COUNT_OF(answers_in_turn); i++) {
        struct spool_item item;
        bench->ask_gzip = i > 0;
        bench->head = answers_in_turn[i].head;
        bench->body = (const char *)answers_in_turn[i].body;
        bench->body_len = answers_in_turn[i].len;
        const struct scrape_report *report = fetch(bench, &heap);
        expect_text("words", "", report->words);
        assert_int_equal(SCRAPE_OK, report->result);
        assert_int_equal(i == 0, report->is_raw);
        assert_int_equal(bench->body_len, report->bytes);
        assert_int_equal(0, spool_next(bench->spool, report->item_id - 1, &item));
        assert_true(item.size_bytes < raw_len / 2);
        assert_int_equal(i > 0, strstr(bench->request, "\r\nAccept-Encoding: gzip\r\n") != NULL);
    }
    free(raw);
    fixture_done(&fixture);
}

/* The smallest profile: a sample type, a sample, three strings, and a time. Returns its length. */
static size_t write_profile(char *out, int64_t time_nanos)
{
    static const char start[] = "\x0a\x04\x08\x01\x10\x02\x12\x03\x12\x01\x01\x32\x00\x32\x01" "a" "\x32\x01" "b\x48";
    size_t len = sizeof(start) - 1;
    memcpy(out, start, len);
    for (uint64_t left = (uint64_t)time_nanos;; left >>= 7) {
        out[len++] = (char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        if (left <= 0x7f)
            return len;
    }
}

/* A profile counts from when it began; a clock that is off by years would file it where nobody looks. */
static void profiles_own_time_counts_when_it_is_near(void **state)
{
    struct bench *bench = *state;
    enum { HOUR_S = 3600 };
    static const struct {
        int64_t off_s;
        bool own;
    } rows[] = {{0, true},   {-10, true},          {-23 * HOUR_S, true}, {-25 * HOUR_S, false},
                {300, true}, {HOUR_S / 2, false}, {25 * HOUR_S, false}, {INT64_MIN, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char body[64];
        struct spool_item item;
        int64_t before = loop_wall_ms();
        int64_t own_ms = rows[i].off_s == INT64_MIN ? -5 : before + rows[i].off_s * 1000;
        bench->head = GOOD_HEAD;
        bench->body = body;
        bench->body_len = write_profile(body, own_ms * 1000000);
        const struct scrape_report *report = fetch(bench, &heap);
        expect_text("words", "", report->words);
        assert_int_equal(0, spool_next(bench->spool, report->item_id - 1, &item));
        if (rows[i].own)
            expect_number("its own time", own_ms, item.meta.time_ms);
        else
            assert_in_range(item.meta.time_ms, before, loop_wall_ms());
    }
}

static void cpu_asks_for_its_seconds(void **state)
{
    struct bench *bench = *state;
    bench->head = "HTTP/1.1 500 Internal Server Error\r\nX-Go-Pprof: 1\r\nConnection: close\r\n\r\nCould not enable "
                  "CPU profiling: x\n";
    assert_int_equal(SCRAPE_BUSY, fetch(bench, &cpu)->result);
    expect_contains("request", bench->request, "GET /debug/pprof/profile?seconds=1 HTTP/1.1\r\n");
}

/* ---- traces ---- */

static const struct profile_type trace = {.kind = PROFILE_TRACE, .name = "trace", .seconds_ms = 500};
#define TRACE_HEADER "go 1.22 trace\0\0\0"

static void trace_is_kept_as_it_came(void **state)
{
    struct bench *bench = *state;
    static const char body[] = TRACE_HEADER "\1\2\3 whatever a later version writes";
    struct spool_item item;
    char back[sizeof(body)];
    int64_t before = loop_wall_ms();
    bench->head = GOOD_HEAD;
    bench->body = body;
    bench->body_len = sizeof(body) - 1;
    const struct scrape_report *report = fetch(bench, &trace);
    expect_text("words", "", report->words);
    assert_int_equal(SCRAPE_OK, report->result);
    expect_contains("request", bench->request, "GET /debug/pprof/trace?seconds=0.5 HTTP/1.1\r\n");
    assert_int_equal(0, spool_next(bench->spool, 0, &item));
    assert_string_equal("trace", item.meta.type);
    assert_in_range(item.meta.time_ms, before, loop_wall_ms());
    assert_int_equal(sizeof(body) - 1, spool_read(bench->spool, item.id, 0, back, sizeof(back)));
    assert_memory_equal(body, back, sizeof(body) - 1);
}

static void what_is_no_trace_is_named(void **state)
{
    struct bench *bench = *state;
    static const struct {
        const char *head, *body;
        size_t len;
        enum scrape_result expected;
    } rows[] = {
        {GOOD_HEAD, "<html><body>sign in</body></html>", 33, SCRAPE_TEXT},
        {GOOD_HEAD, "\x1f\x8b\x08 a heap profile perhaps", 27, SCRAPE_MALFORMED},
        {GOOD_HEAD, TRACE_HEADER, 16, SCRAPE_TRUNCATED},
        {GOOD_HEAD, "", 0, SCRAPE_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", TRACE_HEADER "x", 17, SCRAPE_TRUNCATED},
        {"HTTP/1.1 500 Internal Server Error\r\nX-Go-Pprof: 1\r\nConnection: close\r\n\r\n",
         "Could not enable tracing: execution tracer already enabled\n", 59, SCRAPE_BUSY},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct spool_item item;
        bench->head = rows[i].head;
        bench->body = rows[i].body;
        bench->body_len = rows[i].len;
        const struct scrape_report *report = fetch(bench, &trace);
        if (report->result != rows[i].expected)
            fail_msg("row %zu: expected %s, got %s (%s)", i, scrape_result_names[rows[i].expected],
                     scrape_result_names[report->result], report->words);
        assert_int_equal(-ENOENT, spool_next(bench->spool, 0, &item));
    }
}

static void trace_is_no_heap_profile(void **state)
{
    struct bench *bench = *state;
    static const char body[] = TRACE_HEADER "\1\2\3";
    bench->head = GOOD_HEAD;
    bench->body = body;
    bench->body_len = sizeof(body) - 1;
    assert_int_equal(SCRAPE_MALFORMED, fetch(bench, &heap)->result);
}

/* An app under load traces a hundred MB: cut at the spool's ceiling, counted there, and nothing is kept. */
static void trace_over_the_ceiling_is_too_big(void **state)
{
    struct bench *bench = *state;
    struct spool_item item;
    size_t len = 2 * SPOOL_BUDGET_MIN;
    char *body = malloc(len);
    assert_non_null(body);
    memset(body, 7, len);
    memcpy(body, TRACE_HEADER, 16);
    bench->head = GOOD_HEAD;
    bench->body = body;
    bench->body_len = len;
    assert_int_equal(SCRAPE_TOO_BIG, fetch(bench, &trace)->result);
    assert_int_equal(-ENOENT, spool_next(bench->spool, 0, &item));
    assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
    free(body);
}

/* ---- time ---- */

static void wait_for_the_client(void *ctx)
{
    struct bench *bench = ctx;
    int fd = accept(bench->listening, NULL, NULL);
    if (fd < 0)
        return;
    peer_drain(fd);
    close(fd);
}

/* SECONDS count on top: a CPU profile sends nothing until it ends. */
static void timeout_is_the_one_asked_for_beyond_seconds(void **state)
{
    struct bench *bench = *state;
    struct peer peer;
    struct err err = {0};
    bench->timeout_ms = 100;
    peer_start(&peer, wait_for_the_client, bench);
    assert_int_equal(0, start_fetch(bench, &cpu, &err));
    assert_int_equal(0, loop_run(bench->loop, &err));
    peer_join(&peer);
    assert_int_equal(SCRAPE_TIMEOUT, bench->report.result);
    assert_true(bench->report.elapsed_ms >= 1100 && bench->report.elapsed_ms < 9000);
}

static void bad_answers_leave_nothing_in_the_spool(void **state)
{
    struct bench *bench = *state;
    static const struct {
        const char *head, *endless;
        enum scrape_result expected;
    } rows[] = {
        {GOOD_HEAD "heap profile: 1: 2 [3: 4] @ heap/1048576\n", NULL, SCRAPE_TEXT},
        {GOOD_HEAD "<html><body>hello</body></html>", NULL, SCRAPE_TEXT},
        {GOOD_HEAD, NULL, SCRAPE_TRUNCATED},
        {GOOD_HEAD "\x1f\x8b\x08", NULL, SCRAPE_TRUNCATED},
        {GOOD_HEAD "\x1f\x8b\x09 no such method of compression", NULL, SCRAPE_MALFORMED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\x1f\x8b\x08", NULL, SCRAPE_TRUNCATED},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", NULL, SCRAPE_REDIRECT},
        {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nUnknown profile\n", NULL, SCRAPE_MISSING},
        {"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n", NULL, SCRAPE_STATUS},
        {"220 smtp.example.com ESMTP\r\n", NULL, SCRAPE_MALFORMED},
        {"", NULL, SCRAPE_TRUNCATED},
        {"HTTP/1.1 200 OK\r\n", "X-Noise: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
         SCRAPE_ENDLESS},
        {"", "HTTP/1.1 100 Continue\r\n\r\n", SCRAPE_ENDLESS},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct spool_item item;
        bench->head = rows[i].head;
        bench->body = "";
        bench->body_len = 0;
        bench->endless = rows[i].endless;
        const struct scrape_report *report = fetch(bench, &heap);
        if (report->result != rows[i].expected)
            fail_msg("%.40s: expected %s, got %s (%s)", rows[i].head, scrape_result_names[rows[i].expected],
                     scrape_result_names[report->result], report->words);
        assert_int_equal(-ENOENT, spool_next(bench->spool, 0, &item));
        assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
    }
}

/* A gzip stream of stored blocks that never ends: cut at the limit, nothing kept, counted. */
static void endless_body_is_too_big(void **state)
{
    struct bench *bench = *state;
    struct spool_item item;
    size_t len = 2 * SPOOL_BUDGET_MIN;
    char *body = malloc(len);
    assert_non_null(body);
    /* its header, and a block with the empty string that a table begins with */
    memcpy(body, "\x1f\x8b\x08\0\0\0\0\0\0\0\x00\x02\x00\xfd\xff\x32\x00", 17);
    for (size_t at = 17; at < len; at++) {
        /* blocks of 1,024 bytes of a string table: field 6, 1,021 bytes */
        size_t in_block = (at - 17) % 1029;
        static const unsigned char start[] = {0x00, 0x00, 0x04, 0xff, 0xfb, 0x32, 0xfd, 0x07};
        body[at] = (char)(in_block < sizeof(start) ? start[in_block] : 'x');
    }
    bench->head = GOOD_HEAD;
    bench->body = body;
    bench->body_len = len;
    const struct scrape_report *report = fetch(bench, &heap);
    if (report->result != SCRAPE_TOO_BIG)
        fail_msg("expected too-big, got %s (%s)", scrape_result_names[report->result], report->words);
    assert_int_equal(-ENOENT, spool_next(bench->spool, 0, &item));
    assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
    free(body);
}

static void nothing_listening_is_refused(void **state)
{
    struct bench *bench = *state;
    struct err err;
    snprintf(bench->base, sizeof(bench->base), "http://127.0.0.1:1");
    assert_int_equal(0, start_fetch(bench, &heap, &err));
    assert_int_equal(0, loop_run(bench->loop, &err));
    assert_int_equal(SCRAPE_REFUSED, bench->report.result);
}

static void second_writer_is_refused_and_the_first_unharmed(void **state)
{
    struct bench *bench = *state;
    struct err err = {0};
    struct spool_meta meta = {.type = "cpu"};
    struct spool_item item;
    assert_int_equal(0, spool_begin(bench->spool, &meta, &err));
    assert_int_equal(0, spool_write(bench->spool, "abc", 3, &err));
    int rc = start_fetch(bench, &heap, &err);
    expect_failure("second writer", -EBUSY, "another profile is being written", rc, &err);
    assert_null(bench->scrape);
    assert_int_equal(0, spool_commit(bench->spool, 1, NULL, &err));
    assert_int_equal(0, spool_next(bench->spool, 0, &item));
    assert_int_equal(3, item.size_bytes);
}

static void cancelled_scrape_calls_nobody_and_frees_the_spool(void **state)
{
    struct bench *bench = *state;
    struct err err = {0};
    struct spool_meta meta = {.type = "cpu"};
    assert_int_equal(0, start_fetch(bench, &heap, &err));
    assert_null(scrape_cancel(bench->scrape));
    bench->scrape = NULL;
    assert_int_equal(0, bench->done);
    assert_int_equal(0, spool_begin(bench->spool, &meta, &err));
    spool_abort(bench->spool);
    assert_null(scrape_cancel(NULL));
}

static int start_attempt(void *ctx)
{
    struct bench *bench = ctx;
    struct err err = {0};
    struct spool_meta meta = {.type = "cpu"};
    int rc = start_fetch(bench, &heap, &err);
    alloc_fail_pause();
    if (rc < 0) {
        assert_null(bench->scrape);
        assert_true(err.text[0] != '\0');
    }
    bench->scrape = scrape_cancel(bench->scrape);
    /* either way the spool is free for the next one */
    assert_int_equal(0, spool_begin(bench->spool, &meta, NULL));
    spool_abort(bench->spool);
    alloc_fail_resume();
    return rc;
}

static void without_memory_it_does_not_start(void **state)
{
    struct bench *bench = *state;
    /* the first one makes what is kept afterwards, by curl and by the spool */
    assert_int_equal(0, start_attempt(bench));
    assert_in_range(alloc_fail_in_turn("scrape_start", start_attempt, bench), 3, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_of_each_type),
        cmocka_unit_test(longest_url_fits_and_a_longer_one_is_an_error),
        cmocka_unit_test(each_bad_answer_has_its_name),
        cmocka_unit_test(each_result_occurs_in_the_table_and_has_a_name_of_its_own),
        cmocka_unit_test(words_are_printable_whatever_the_app_says),
        cmocka_unit_test(body_that_nobody_checked_is_truncated),
        cmocka_unit_test_setup_teardown(a_profile_is_in_the_spool_with_type_and_target, setup, teardown),
        cmocka_unit_test_setup_teardown(raw_profile_is_asked_for_in_gzip_the_next_time, setup, teardown),
        cmocka_unit_test_setup_teardown(profiles_own_time_counts_when_it_is_near, setup, teardown),
        cmocka_unit_test_setup_teardown(cpu_asks_for_its_seconds, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_is_kept_as_it_came, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_trace_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_is_no_heap_profile, setup, teardown),
        cmocka_unit_test_setup_teardown(trace_over_the_ceiling_is_too_big, setup, teardown),
        cmocka_unit_test_setup_teardown(timeout_is_the_one_asked_for_beyond_seconds, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_answers_leave_nothing_in_the_spool, setup, teardown),
        cmocka_unit_test_setup_teardown(endless_body_is_too_big, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_listening_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(second_writer_is_refused_and_the_first_unharmed, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_scrape_calls_nobody_and_frees_the_spool, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_it_does_not_start, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
