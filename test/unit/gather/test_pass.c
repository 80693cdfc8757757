/* pass: a dozen of them side by side on one loop and one client, each with a fate of its own and an account that is
 * true. The app and the collector are one server in a process of its own, so that what fails here does not fail
 * there. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/gather/pass.h"
#include "common/http/httpd.h"
#include "common/os/log.h"
#include "peer.h"
#include "pprof_fixtures.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

enum {
    PASSES = 12,
    OUTCOMES_MAX = 8,
    PATIENCE_MS = 30 * 1000,  /* only a broken test waits so long */
    LONG_MS = 20 * 1000,      /* a deadline that is not reached */
    SHORT_MS = 3000,          /* one that is; past the first wait for a busy profiler */
    BODY_MAX = 1024 * 1024,
    LARGE_BYTES = 100 * 1024, /* two fit into the smallest spool, three do not */
    HUGE_BYTES = 300 * 1024,  /* no smallest spool holds one */
};

/* ---- the app and the collector, in the child ---- */

struct world {
    struct fixture heap, cpu, block, raw;
    unsigned busy_calls;
};

static void reply_bytes(struct httpd_response *response, const struct fixture *fixture)
{
    response->content_type = "application/octet-stream";
    buf_append(&response->body, (const char *)fixture->bytes, fixture->len);
}

/* As gzip of stored blocks: as long in the spool as here, and short once it is labelled and sent. */
static void store_in_gzip(struct buf *body)
{
    z_stream zlib = {0};
    size_t raw_len = body->len;
    assert_int_equal(deflateInit2(&zlib, Z_NO_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&zlib, raw_len);
    Bytef *bytes = malloc(room);
    assert_non_null(bytes);
    zlib.next_in = (Bytef *)body->data;
    zlib.avail_in = (uInt)raw_len;
    zlib.next_out = bytes;
    zlib.avail_out = (uInt)room;
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    buf_clear(body);
    buf_append(body, (const char *)bytes, zlib.total_out);
    deflateEnd(&zlib);
    free(bytes);
}

/* profile.proto field 6, string_table: one string more. */
static void reply_long(struct httpd_response *response, const struct fixture *fixture, size_t len)
{
    reply_bytes(response, fixture);
    buf_putc(&response->body, (6 << 3) | 2);
    for (size_t rest = len; rest > 0; rest >>= 7)
        buf_putc(&response->body, (char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0)));
    for (size_t i = 0; i < len; i++)
        buf_putc(&response->body, 'x');
    store_in_gzip(&response->body);
}

static void serve_heap(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    reply_bytes(response, &((struct world *)ctx)->heap);
}

static void serve_cpu(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    reply_bytes(response, &((struct world *)ctx)->cpu);
}

static void serve_empty(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    reply_bytes(response, &((struct world *)ctx)->block);
}

static void serve_large(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    reply_long(response, &((struct world *)ctx)->raw, LARGE_BYTES);
}

static void serve_huge(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)request;
    reply_long(response, &((struct world *)ctx)->raw, HUGE_BYTES);
}

static void serve_busy(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    (void)request;
    response->status = 500;
    buf_puts(&response->body, "Could not enable CPU profiling: cpu profiling already in use\n");
}

static void serve_busy_once(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    struct world *world = ctx;
    if (world->busy_calls++ == 0)
        serve_busy(ctx, request, response);
    else
        serve_cpu(ctx, request, response);
}

static void answer(struct httpd_response *response, unsigned code, const char *error)
{
    response->status = code;
    buf_printf(&response->body, "{\"code\":%u,\"error\":\"%s\"}\n", code, error);
}

static void serve_any(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    (void)request;
    buf_puts(&response->body, "{\"code\":200,\"body\":{\"id\":\"1\"}}\n");
}

/* Stores what carries the label that stands in its path: nobody's profile goes under another one's name. */
static void serve_one(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    const char *pod = strstr(request->path, "pod-");
    char label[16] = "";
    size_t len = 0;
    snprintf(label, sizeof(label), "%.*s", (int)strcspn(pod, "/"), pod);
    uint8_t *raw = fixture_inflate((const uint8_t *)request->body, request->body_len, &len);
    if (memmem(raw, len, label, strlen(label)) != NULL)
        serve_any(ctx, request, response);
    else
        answer(response, 400, "of another pod");
    free(raw);
}

static void serve_refusal(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    (void)request;
    answer(response, 400, "profile is empty: no samples");
}

static void serve_later(void *ctx, const struct httpd_request *request, struct httpd_response *response)
{
    (void)ctx;
    (void)request;
    answer(response, 503, "try later");
}

static const struct httpd_route routes[] = {
    {"GET", "/good/heap", NULL, serve_heap},
    {"GET", "/good/goroutine", NULL, serve_heap},
    {"GET", "/good/profile", NULL, serve_cpu},
    {"GET", "/good/block", NULL, serve_empty},
    {"GET", "/large/heap", NULL, serve_large},
    {"GET", "/large/goroutine", NULL, serve_large},
    {"GET", "/large/block", NULL, serve_large},
    {"GET", "/large/mutex", NULL, serve_large},
    {"GET", "/large/threadcreate", NULL, serve_large},
    {"GET", "/huge/heap", NULL, serve_huge},
    {"GET", "/busy/profile", NULL, serve_busy},
    {"GET", "/busy-once/profile", NULL, serve_busy_once},
    {"GET", "/busy-once/heap", NULL, serve_heap},
    {"POST", "/of/pod-0/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-1/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-2/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-3/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-4/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-8/api/0/profiles", NULL, serve_one},
    {"POST", "/of/pod-9/api/0/profiles", NULL, serve_one},
    {"POST", "/any/api/0/profiles", NULL, serve_any},
    {"POST", "/refusing/api/0/profiles", NULL, serve_refusal},
    {"POST", "/later/api/0/profiles", NULL, serve_later},
    {NULL, NULL, NULL, NULL},
};

static _Noreturn void serve(uint16_t port, int ready)
{
    static struct world world;
    struct loop *loop;
    struct httpd *httpd;
    struct err err;
    char listen[32];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    fixture_read(&world.heap, "ok", "go1.26-heap.pb.gz");
    fixture_read(&world.cpu, "ok", "go1.26-cpu.pb.gz");
    fixture_read(&world.block, "empty", "go1.26-block-rate-unset.pb.gz");
    fixture_read(&world.raw, "ok", "odd-raw.pb");
    const struct httpd_options options = {.listen = listen, .routes = routes, .ctx = &world, .body_max = BODY_MAX,
                                          .response_max = BODY_MAX, .connections_max = 64, .idle_timeout_s = 60,
                                          .request_timeout_ms = PATIENCE_MS};
    if (loop_new(&loop, &err) == 0 && httpd_new(loop, &options, &httpd, &err) == 0 && write(ready, "", 1) == 1)
        _exit(loop_run(loop, NULL) < 0 ? 2 : 1);
    _exit(1);
}

/* ---- the passes ---- */

static const struct program program = {.name = "test", .noun = "test", .user_agent = "test/0"};

struct bench;

struct trial {
    struct bench *bench;
    struct gather_options options;
    struct pass *pass;
    unsigned outcome_count;
    struct seen {
        enum pass_fate fate;
        enum scrape_result result;
        char type[PROFILE_TYPE_NAME_MAX + 1], target[TARGET_NAME_MAX + 1], reason[32], words[ERR_TEXT_MAX];
        uint64_t bytes;
    } outcomes[OUTCOMES_MAX];
    unsigned ended;
    bool stop_at_first; /* once an outcome is told */
    struct pass_account account;
};

struct bench {
    int bound, silent; /* nobody listens there; nobody answers there */
    uint16_t port, bound_port, silent_port;
    pid_t server;
    struct loop *loop;
    struct httpc *httpc;
    struct loop_timer patience;
    char dir[32], text[PASSES][6][256];
    struct trial trials[PASSES];
    unsigned running;
    bool late;
};

static void on_late(void *ctx)
{
    struct bench *bench = ctx;
    bench->late = true;
    loop_stop(bench->loop);
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    const struct httpc_options client = {.user_agent = program.user_agent,
                                         .transfers_max = PASSES * PIPELINE_TRANSFERS_MAX};
    int ready[2];
    char byte;
    assert_non_null(bench);
    *state = bench;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    int port_holder = peer_bind(&bench->port);
    bench->bound = peer_bind(&bench->bound_port);
    bench->silent = peer_listen(&bench->silent_port);
    strcpy(bench->dir, "/tmp/test_pass.XXXXXX");
    if (port_holder < 0 || bench->bound < 0 || bench->silent < 0 || mkdtemp(bench->dir) == NULL || pipe(ready) < 0)
        return -1;
    bench->server = fork();
    if (bench->server == 0)
        serve(bench->port, ready[1]);
    close(ready[1]);
    if (bench->server < 0 || read(ready[0], &byte, 1) != 1 || loop_new(&bench->loop, NULL) < 0 ||
        httpc_new(bench->loop, &client, &bench->httpc, NULL) < 0)
        return -1;
    close(ready[0]);
    close(port_holder);
    loop_timer_init(&bench->patience, bench->loop, on_late, bench);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    kill(bench->server, SIGKILL);
    waitpid(bench->server, NULL, 0);
    loop_timer_disarm(&bench->patience);
    for (unsigned i = 0; i < PASSES; i++)
        pass_free(bench->trials[i].pass);
    httpc_free(bench->httpc);
    loop_free(bench->loop);
    unit_delete(bench->dir);
    close(bench->bound);
    close(bench->silent);
    free(bench);
    return 0;
}

static void on_outcome(void *ctx, const struct pass_outcome *outcome)
{
    struct trial *trial = ctx;
    if (trial->outcome_count == OUTCOMES_MAX || trial->ended > 0)
        fail_msg("an outcome too many");
    struct seen *seen = &trial->outcomes[trial->outcome_count++];
    *seen = (struct seen){.fate = outcome->fate, .result = outcome->result, .bytes = outcome->bytes};
    snprintf(seen->type, sizeof(seen->type), "%s", outcome->type->name);
    snprintf(seen->target, sizeof(seen->target), "%s", outcome->target->name);
    snprintf(seen->reason, sizeof(seen->reason), "%s", outcome->reason != NULL ? outcome->reason : "");
    snprintf(seen->words, sizeof(seen->words), "%s", outcome->words);
    if (trial->stop_at_first)
        pass_stop(trial->pass, trial->outcome_count == 1 ? LONG_MS : 0);
}

static void on_ended(void *ctx, const struct pass_account *account)
{
    struct trial *trial = ctx;
    trial->ended++;
    trial->account = *account;
    trial->pass = pass_free(trial->pass); /* it may */
    if (--trial->bench->running == 0)
        loop_stop(trial->bench->loop);
}

/* What to take, of whom, and to whom it goes; %A, %B and %S in the texts are the ports of app and collector, of
 * nobody, and of somebody who is silent. */
struct order {
    const char *targets, *types, *collector; /* collector NULL = the directory */
    struct pass_options how;
    int64_t scrape_timeout_ms;
};

static const char *fill_in(const struct bench *bench, const char *pattern, char *out, size_t room)
{
    size_t len = 0;
    for (; *pattern != '\0' && len + 8 < room; pattern++) {
        uint16_t port = pattern[1] == 'A'   ? bench->port
                        : pattern[1] == 'B' ? bench->bound_port
                                            : bench->silent_port;
        if (*pattern == '%')
            len += (size_t)snprintf(out + len, room - len, "127.0.0.1:%u", port);
        else
            out[len++] = *pattern;
        pattern += *pattern == '%' ? 1 : 0;
    }
    out[len] = '\0';
    return out;
}

static int begin(struct bench *bench, unsigned i, const struct order *order)
{
    const struct profile_types_defaults defaults = {.interval_ms = 60000, .cpu_seconds_ms = 1000, .grace_ms = -1};
    struct trial *trial = &bench->trials[i];
    struct gather_options *options = &trial->options;
    bool stop_at_first = trial->stop_at_first;
    *trial = (struct trial){.bench = bench, .stop_at_first = stop_at_first};
    fill_in(bench, order->targets, bench->text[i][0], sizeof(bench->text[i][0]));
    assert_int_equal(0, targets_parse(span_of(bench->text[i][0]), &options->targets, NULL));
    assert_int_equal(0, profile_types_parse(span_of(order->types), &defaults, &options->types, NULL, NULL));
    snprintf(bench->text[i][1], sizeof(bench->text[i][1]), "pod-%u", i);
    assert_int_equal(0, labels_add(&options->labels, span_of("pod"), span_of(bench->text[i][1]), NULL));
    snprintf(options->instance, sizeof(options->instance), "pod-%u", i);
    snprintf(bench->text[i][2], sizeof(bench->text[i][2]), "service-%u", i);
    options->service = bench->text[i][2];
    options->sample_labels = true;
    options->output_dir = order->collector == NULL ? bench->dir : NULL;
    options->collector = order->collector != NULL
                             ? fill_in(bench, order->collector, bench->text[i][3], sizeof(bench->text[i][3]))
                             : NULL;
    options->program = &program;
    options->seed = "uid";
    options->interval_ms = options->first_within_ms = options->missing_retry_ms = 60000;
    options->sampling = 1; /* as good as never: no matter for a pass */
    options->spool_bytes = SPOOL_BUDGET_MIN;
    options->profile_max = 2 * SPOOL_BUDGET_MIN; /* the spool says no first */
    options->retry_min_ms = options->retry_max_ms = LONG_MS;
    options->connect_timeout_ms = options->push_timeout_ms = LONG_MS;
    options->scrape_timeout_ms = order->scrape_timeout_ms > 0 ? order->scrape_timeout_ms : LONG_MS;

    const struct pipeline_base base = {.loop = bench->loop, .httpc = bench->httpc};
    const struct pass_callbacks callbacks = {.outcome = on_outcome, .ended = on_ended, .ctx = trial};
    struct pass_options how = order->how;
    struct err err = err_untouched;
    how.gather = options;
    how.deadline_ms = how.deadline_ms > 0 ? how.deadline_ms : LONG_MS;
    how.quiet = true;
    int rc = pass_new(&base, &how, &callbacks, &trial->pass, &err);
    bench->running += rc == 0 ? 1 : 0;
    if (rc < 0)
        assert_null(trial->pass);
    return rc;
}

static void run(struct bench *bench)
{
    loop_timer_arm(&bench->patience, PATIENCE_MS);
    assert_int_equal(0, loop_run(bench->loop, NULL));
    loop_timer_disarm(&bench->patience);
    if (bench->late)
        fail_msg("%u passes did not end in %d ms", bench->running, PATIENCE_MS);
}

/* ---- what must hold for each ---- */

static uint64_t drops_for(const struct account *account, const char *reason)
{
    for (unsigned i = 0; i < account->drop_count; i++) {
        if (strcmp(account->drops[i].reason, reason) == 0)
            return account->drops[i].profiles;
    }
    fail_msg("no such reason: %s", reason);
    return 0;
}

/* Each job has one outcome, and the account adds up. */
static void expect_true_account(const struct trial *trial)
{
    const struct pass_account *account = &trial->account;
    char row[32];
    unsigned jobs = 0, fates[PASS_FATE_COUNT] = {0};
    snprintf(row, sizeof(row), "%s", trial->options.service);
    expect_number(row, 1, trial->ended);
    for (unsigned i = 0; i < trial->outcome_count; i++) {
        const struct seen *a = &trial->outcomes[i];
        fates[a->fate]++;
        for (unsigned k = 0; k < i; k++) {
            const struct seen *b = &trial->outcomes[k];
            assert_false(strcmp(a->type, b->type) == 0 && strcmp(a->target, b->target) == 0);
        }
    }
    for (unsigned f = 0; f < PASS_FATE_COUNT; f++) {
        expect_number(row, fates[f], account->jobs[f]);
        jobs += account->jobs[f];
    }
    expect_number(row, trial->options.targets.count * trial->options.types.count, jobs);
    expect_number(row, (long long)account->profiles.taken,
                  (long long)(account->profiles.stored + account->profiles.dropped));
    expect_number(row, 0, (long long)account->profiles.waiting);
    expect_number(row, account->jobs[PASS_STORED], (long long)account->profiles.stored);
    expect_number(row, account->jobs[PASS_UNSENT], (long long)drops_for(&account->profiles, "unsent"));
}

struct expected {
    enum pass_end end;
    unsigned jobs[PASS_FATE_COUNT];
};

static void expect_end(const struct trial *trial, const struct expected *expected)
{
    expect_true_account(trial);
    expect_number(trial->options.service, expected->end, trial->account.end);
    for (unsigned f = 0; f < PASS_FATE_COUNT; f++) {
        if (expected->jobs[f] != trial->account.jobs[f])
            fail_msg("%s: fate %u: expected %u, got %u", trial->options.service, f, expected->jobs[f],
                     trial->account.jobs[f]);
    }
}

/* The outcome of a target's only type. */
static struct seen outcome_of(const struct trial *trial, const char *target)
{
    struct seen found = {.fate = PASS_FATE_COUNT};
    for (unsigned i = 0; i < trial->outcome_count; i++) {
        if (strcmp(trial->outcomes[i].target, target) == 0)
            found = trial->outcomes[i];
    }
    return found;
}

static void expect_files(const struct bench *bench, const char *type)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof(path), "%s/service-10/%s", bench->dir, type);
    assert_int_equal(0, stat(path, &status));
}

static void twelve_side_by_side_each_end_with_their_own_account(void **state)
{
    struct bench *bench = *state;
    static const struct {
        struct order order;
        struct expected expected;
    } rows[PASSES] = {
        {{"http://%A/good", "cpu,heap,goroutine,block", "http://%A/of/pod-0", {0}, 0},
         {PASS_COMPLETE, {[PASS_STORED] = 3, [PASS_EMPTY] = 1}}},
        {{"http://%A/good", "cpu,heap", "http://%A/of/pod-1", {.cpu_first = true}, 0},
         {PASS_COMPLETE, {[PASS_STORED] = 2}}},
        {{"a=http://%B/good,b=http://%A/good", "heap", "http://%A/of/pod-2", {0}, 0},
         {PASS_COMPLETE, {[PASS_STORED] = 1, [PASS_FAILED] = 1}}},
        {{"a=http://%S/x,b=http://%A/good", "heap", "http://%A/of/pod-3", {0}, 300},
         {PASS_COMPLETE, {[PASS_STORED] = 1, [PASS_FAILED] = 1}}},
        {{"a=http://%A/good,b=http://%S/x", "heap", "http://%A/of/pod-4", {0}, 0},
         {PASS_HALTED, {[PASS_STORED] = 1, [PASS_UNTAKEN] = 1}}},
        {{"a=http://%A/good,b=http://%S/x", "heap", "http://%S/x", {.deadline_ms = SHORT_MS}, 0},
         {PASS_OUT_OF_TIME, {[PASS_UNSENT] = 1, [PASS_UNTAKEN] = 1}}},
        {{"http://%A/large", "heap,goroutine,block,mutex,threadcreate", "http://%S/x", {.deadline_ms = SHORT_MS}, 0},
         {PASS_OUT_OF_TIME, {[PASS_DROPPED] = 2, [PASS_UNSENT] = 3}}},
        {{"http://%A/good", "heap,goroutine", "http://%A/refusing", {0}, 0}, {PASS_COMPLETE, {[PASS_DROPPED] = 2}}},
        {{"http://%A/busy-once", "heap,cpu", "http://%A/of/pod-8", {.wait_for_busy = true, .cpu_first = true}, 0},
         {PASS_COMPLETE, {[PASS_STORED] = 2}}},
        {{"http://%A/busy", "cpu", "http://%A/of/pod-9", {.wait_for_busy = true, .deadline_ms = SHORT_MS}, 0},
         {PASS_OUT_OF_TIME, {[PASS_FAILED] = 1}}},
        {{"http://%A/good", "heap,goroutine", NULL, {0}, 0}, {PASS_COMPLETE, {[PASS_STORED] = 2}}},
        {{"http://%A/huge", "heap", "http://%A/of/pod-0", {0}, 0}, {PASS_COMPLETE, {[PASS_FAILED] = 1}}},
    };
    bench->trials[4].stop_at_first = true;
    for (unsigned i = 0; i < PASSES; i++)
        assert_int_equal(0, begin(bench, i, &rows[i].order));
    run(bench);
    for (unsigned i = 0; i < PASSES; i++)
        expect_end(&bench->trials[i], &rows[i].expected);

    const struct trial *trials = bench->trials;
    assert_string_equal("cpu", trials[1].outcomes[0].type);
    assert_string_equal("heap", trials[8].outcomes[0].type);
    assert_int_equal(SCRAPE_REFUSED, outcome_of(&trials[2], "a").result);
    assert_int_equal(SCRAPE_TIMEOUT, outcome_of(&trials[3], "a").result);
    assert_int_equal(PASS_UNTAKEN, outcome_of(&trials[4], "b").fate);
    assert_int_equal(PASS_UNSENT, outcome_of(&trials[5], "a").fate);
    assert_true(trials[5].account.elapsed_ms >= SHORT_MS);
    assert_int_equal(2, drops_for(&trials[6].account.profiles, "spool-full"));
    assert_string_equal("spool-full", trials[6].outcomes[0].reason);
    expect_contains("evicted", trials[6].outcomes[0].words, "no room for all of them");
    assert_string_equal("refused", trials[7].outcomes[0].reason);
    expect_contains("refused", trials[7].outcomes[0].words, "profile is empty");
    assert_int_equal(SCRAPE_BUSY, trials[9].outcomes[0].result);
    expect_contains("busy", trials[9].outcomes[0].words, "already in use");
    assert_int_equal(SCRAPE_TOO_BIG, trials[11].outcomes[0].result);
    assert_int_equal(1, drops_for(&trials[11].account.profiles, "too-big"));
    assert_true(trials[0].account.stored_bytes > 1000);
    expect_files(bench, "heap");
    expect_files(bench, "goroutine");
}

/* ---- its end from outside ---- */

/* When the first outcome is told, that of the empty profile, the heap profile before it waits for a collector that says
 * "later", and the second target is still to come. */
static const struct order waiting = {"a=http://%A/good,b=http://%S/x", "heap,block", "http://%A/later", {0}, 0};

static void stopped_twice_it_ends_once(void **state)
{
    struct bench *bench = *state;
    bench->trials[0].stop_at_first = true; /* and at each after it */
    assert_int_equal(0, begin(bench, 0, &waiting));
    run(bench);
    expect_end(&bench->trials[0],
               &(struct expected){PASS_HALTED, {[PASS_EMPTY] = 1, [PASS_UNSENT] = 1, [PASS_UNTAKEN] = 2}});
}

static void stopped_before_it_began_nothing_is_taken(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(0, begin(bench, 0, &waiting));
    pass_stop(bench->trials[0].pass, LONG_MS);
    assert_int_equal(0, bench->trials[0].ended); /* never from inside */
    run(bench);
    expect_end(&bench->trials[0], &(struct expected){PASS_HALTED, {[PASS_UNTAKEN] = 4}});
}

static void freed_half_way_it_says_nothing(void **state)
{
    struct bench *bench = *state;
    const struct order quick = {"http://%A/good", "heap", "http://%A/of/pod-1", {0}, 0};
    assert_int_equal(0, begin(bench, 0, &waiting));
    assert_int_equal(0, begin(bench, 1, &quick));
    bench->running--;
    run(bench);
    bench->trials[0].pass = pass_free(bench->trials[0].pass);
    assert_int_equal(0, bench->trials[0].ended);
    assert_int_equal(1, bench->trials[1].ended);
    assert_null(pass_free(NULL));
}

/* ---- memory that is not there ---- */

struct shortage {
    struct bench *bench;
    struct loop_timer look;
};

/* Once an allocation has failed there is nothing to wait for: what can still be done is done by now, or never. */
static void stop_if_short(void *ctx)
{
    struct shortage *shortage = ctx;
    loop_timer_arm(&shortage->look, 5);
    for (unsigned i = 0; i < 2 && alloc_fail_has_failed(); i++) {
        if (shortage->bench->trials[i].pass != NULL)
            pass_stop(shortage->bench->trials[i].pass, 0);
    }
}

/* Two side by side, of which one may not even begin. True when an allocation failed. */
static bool run_short(struct bench *bench, unsigned n, bool for_ever)
{
    static const struct order orders[2] = {{"http://%A/good", "heap,block", "http://%A/any", {0}, 0},
                                           {"http://%A/good", "goroutine", "http://%A/any", {0}, 0}};
    struct shortage shortage = {.bench = bench};
    int rc[2];
    loop_timer_init(&shortage.look, bench->loop, stop_if_short, &shortage);
    loop_timer_arm(&shortage.look, 0);
    alloc_fail_arm(n, for_ever);
    for (unsigned i = 0; i < 2; i++)
        rc[i] = begin(bench, i, &orders[i]);
    if (bench->running > 0)
        run(bench);
    bool failed = alloc_fail_disarm();
    loop_timer_disarm(&shortage.look);
    for (unsigned i = 0; i < 2; i++) {
        if (rc[i] == 0)
            expect_true_account(&bench->trials[i]);
        assert_true(failed || (rc[i] == 0 && bench->trials[i].account.end == PASS_COMPLETE));
    }
    return failed;
}

static void each_allocation_that_fails_is_accounted_for(void **state)
{
    struct bench *bench = *state;
    unsigned n = 0;
    bool failed = true;
    for (; failed && n < ALLOC_FAIL_MAX; n++) {
        failed = run_short(bench, n, /* for_ever= */ false);
        run_short(bench, n, /* for_ever= */ true);
    }
    assert_in_range(n, 10, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(twelve_side_by_side_each_end_with_their_own_account, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_twice_it_ends_once, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_before_it_began_nothing_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_half_way_it_says_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(each_allocation_that_fails_is_accounted_for, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
