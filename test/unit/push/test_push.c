/* push: each answer of a collector has its treatment. The collector is a script on the same loop: it reads one request
 * a connection, notes it, and answers as the test says. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/program.h"
#include "common/http/credentials.h"
#include "common/http/listener.h"
#include "common/os/file.h"
#include "common/os/log.h"
#include "common/push/deliver_dir.h"
#include "common/push/deliver_http.h"
#include "common/push/push.h"
#include "peer.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 20 * 1000, /* only a broken test waits so long */
    REQUESTS_MAX = 64,
    CONNECTIONS_MAX = 8,
    REQUEST_MAX = 512 * 1024,
    RETRY_MIN_MS = 10,
    RETRY_MAX_MS = 20,
};

#define CLOSES "Connection: close\r\n\r\n"
#define STORED "HTTP/1.1 200 OK\r\n" CLOSES "{\"code\":200,\"body\":{\"id\":\"1\"}}\n"
#define REFUSED "HTTP/1.1 400 Bad Request\r\n" CLOSES "{\"code\":400,\"error\":\"profile is empty: no samples\"}\n"
#define FAILED "HTTP/1.1 500 Internal Server Error\r\n" CLOSES "{\"code\":500,\"error\":\"internal server error\"}\n"

/* ---- the collector ---- */

struct request {
    char head[16 * 1024];
    size_t body_len;  /* chunks put together */
    char body[256];   /* its beginning */
    bool is_whole;
};

enum behaviour {
    ANSWER,            /* the text, when the request is whole */
    ANSWER_EARLY,      /* the text after the head, the body unread */
    CLOSE_AT_HEAD,     /* reset after the head, the body unread */
    CLOSE_AT_END,      /* when the request is whole, without a word */
    HANG,              /* reads nothing more */
};

struct answer {
    enum behaviour behaviour;
    const char *text;
};

struct bench;

struct connection {
    struct bench *bench;
    int fd;
    struct loop_watch *watch;
    size_t len;
    char *bytes; /* REQUEST_MAX */
};

static const struct program program = {.name = "profefe-agent", .noun = "agent", .user_agent = "profefe-agent/0"};

struct bench {
    struct loop *loop;
    struct httpc *httpc;
    struct spool *spool;
    struct push *push;
    struct labels labels;
    struct targets targets;
    struct push_options options;
    struct deliver_http_options http;
    const char *output_dir; /* NULL = to the collector */
    char url[64];
    uint16_t port;
    int port_fd; /* bound to it all along: while the collector is down nobody else gets it, and connections are refused
                  */
    struct listener *listener;
    uint64_t pauses;
    struct connection connections[CONNECTIONS_MAX];
    /* the script: by request number, then `otherwise`; or by body */
    struct answer answers[REQUESTS_MAX];
    unsigned answer_count;
    struct answer otherwise;
    const char *bad_body;       /* a body with this in it gets bad_answer */
    struct answer bad_answer;
    const struct answer *(*choose)(struct bench *bench, const struct request *request); /* or by this; NULL = not */
    unsigned request_count;
    struct request *requests;
    unsigned open, most_open;
    /* what was settled, in order */
    unsigned settled_count;
    uint64_t settled_ids[REQUESTS_MAX];
    bool settled_stored[REQUESTS_MAX];
    char dir[64]; /* for what needs files; "" = not made */
    /* waiting */
    struct loop_hook hook;
    struct loop_timer deadline;
    bool (*until)(struct bench *bench);
    bool late;
};

static void close_connection(struct connection *c, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    c->watch = loop_watch_free(c->watch);
    close(c->fd);
    c->fd = -1;
    c->bench->open--;
}

/* The body without its chunk marks; false while more is to come. */
static bool take_body(const struct connection *c, const char *body, struct request *request)
{
    const char *length = strstr(request->head, "\r\nContent-Length: ");
    size_t have = c->len - (size_t)(body - c->bytes);
    request->body_len = 0;
    if (strncmp(request->head, "GET ", 4) == 0) {
        snprintf(request->body, sizeof(request->body), "GET");
        return true;
    }
    if (length != NULL) {
        request->body_len = strtoul(length + 18, NULL, 10);
        memcpy(request->body, body, have < sizeof(request->body) - 1 ? have : sizeof(request->body) - 1);
        return have >= request->body_len;
    }
    for (const char *at = body, *end = body + have; at < end;) {
        const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (line == NULL)
            return false;
        size_t chunk = strtoul(at, NULL, 16);
        if ((size_t)(end - line) < chunk + 4)
            return false;
        if (chunk == 0)
            return true;
        for (size_t i = 0; i < chunk && request->body_len + i < sizeof(request->body) - 1; i++)
            request->body[request->body_len + i] = line[2 + i];
        request->body_len += chunk;
        at = line + 2 + chunk + 2;
    }
    return false;
}

static const struct answer *choose_answer(struct bench *bench, const struct request *request)
{
    if (bench->choose != NULL)
        return bench->choose(bench, request);
    if (bench->bad_body != NULL && strstr(request->body, bench->bad_body) != NULL)
        return &bench->bad_answer;
    return bench->request_count < bench->answer_count ? &bench->answers[bench->request_count] : &bench->otherwise;
}

static void give_answer(struct connection *c, const struct answer *answer)
{
    c->bench->request_count++;
    if (answer->text != NULL && send(c->fd, answer->text, strlen(answer->text), MSG_NOSIGNAL) < 0)
        fail_msg("the script's answer did not go out");
    if (answer->behaviour == HANG)
        assert_int_equal(0, loop_watch_change(c->watch, 0, NULL));
    else
        close_connection(c, answer->behaviour == CLOSE_AT_HEAD);
}

static void handle_bytes(struct connection *c)
{
    struct bench *bench = c->bench;
    const char *end = memmem(c->bytes, c->len, "\r\n\r\n", 4);
    if (end == NULL)
        return;
    if (bench->request_count == REQUESTS_MAX)
        fail_msg("more than %d requests", REQUESTS_MAX);
    struct request *request = &bench->requests[bench->request_count];
    *request = (struct request){0};
    snprintf(request->head, sizeof(request->head), "%.*s", (int)(end + 2 - c->bytes), c->bytes);
    request->is_whole = take_body(c, end + 4, request);
    const struct answer *answer = choose_answer(bench, request);
    if (request->is_whole || answer->behaviour == ANSWER_EARLY || answer->behaviour == CLOSE_AT_HEAD ||
        answer->behaviour == HANG)
        give_answer(c, answer);
}

static void on_bytes(void *ctx, int fd, uint32_t events)
{
    struct connection *c = ctx;
    (void)events;
    alloc_fail_pause();
    ssize_t n = recv(fd, c->bytes + c->len, REQUEST_MAX - c->len, 0);
    if (n > 0) {
        c->len += (size_t)n;
        handle_bytes(c);
    } else if (n == 0 || errno != EAGAIN) {
        close_connection(c, false);
    }
    alloc_fail_resume();
}

static void on_connection(void *ctx, int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    struct bench *bench = ctx;
    (void)addr;
    (void)addr_len;
    alloc_fail_pause();
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &bench->connections[i];
        if (c->fd >= 0)
            continue;
        c->fd = fd;
        c->len = 0;
        bench->open++;
        bench->most_open = bench->open > bench->most_open ? bench->open : bench->most_open;
        if (loop_watch_add(bench->loop, fd, EPOLLIN, on_bytes, c, &c->watch, NULL) < 0)
            fail_msg("cannot watch a connection");
        alloc_fail_resume();
        return;
    }
    fail_msg("more than %d connections", CONNECTIONS_MAX);
}

static bool is_never_full(void *ctx)
{
    (void)ctx;
    return false;
}

static bool has_nothing_to_spare(void *ctx)
{
    (void)ctx;
    return false;
}

static void take_port(struct bench *bench)
{
    bench->port = 0;
    bench->port_fd = peer_bind(&bench->port);
    assert_true(bench->port_fd >= 0);
    snprintf(bench->url, sizeof(bench->url), "http://127.0.0.1:%u", bench->port);
}

static void collector_up(struct bench *bench)
{
    char address[32];
    struct err err;
    snprintf(address, sizeof(address), "127.0.0.1:%u", bench->port);
    const struct listener_calls calls = {on_connection, is_never_full, has_nothing_to_spare};
    if (listener_new(bench->loop, address, &calls, bench, &bench->pauses, &bench->listener, &err) < 0)
        fail_msg("%s", err.text);
}

static void collector_down(struct bench *bench)
{
    bench->listener = listener_free(bench->listener);
}

static void script(struct bench *bench, const struct answer *answers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        bench->answers[i] = answers[i];
    bench->answer_count = count;
}

/* ---- the bench ---- */

static void on_settled(void *ctx, uint64_t id, bool stored)
{
    struct bench *bench = ctx;
    if (bench->settled_count == REQUESTS_MAX)
        fail_msg("more than %d settled", REQUESTS_MAX);
    bench->settled_ids[bench->settled_count] = id;
    bench->settled_stored[bench->settled_count] = stored;
    bench->settled_count++;
}

static struct bench *bench_new(uint64_t budget)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct err err;
    assert_non_null(bench);
    bench->requests = calloc(REQUESTS_MAX + 1, sizeof(*bench->requests));
    assert_non_null(bench->requests);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        bench->connections[i] = (struct connection){.bench = bench, .fd = -1, .bytes = malloc(REQUEST_MAX)};
        assert_non_null(bench->connections[i].bytes);
    }
    const struct httpc_options client = {.user_agent = program.user_agent, .transfers_max = 4};
    if (loop_new(&bench->loop, &err) < 0 || httpc_new(bench->loop, &client, &bench->httpc, &err) < 0 ||
        spool_new_memory(budget, &bench->spool, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(0, labels_add_list(&bench->labels, span_of("team=shop"), "profefe-agent", NULL, NULL));
    assert_int_equal(0, targets_parse(span_of("api=http://127.0.0.1:6060/debug/pprof"), &bench->targets, NULL));
    take_port(bench);
    collector_up(bench);
    bench->otherwise = (struct answer){ANSWER, STORED};
    bench->http = (struct deliver_http_options){.collector = bench->url, .service = "web", .instance_id = "web-1",
                                                .connect_timeout_ms = 2000, .timeout_ms = 5000};
    bench->options = (struct push_options){
        .outgoing = {.labels = &bench->labels, .targets = &bench->targets},
        .retry_min_ms = RETRY_MIN_MS, .retry_max_ms = RETRY_MAX_MS, .settled = on_settled, .settled_ctx = bench};
    return bench;
}

static int make_push(struct bench *bench, struct push **ret, struct err *err)
{
    CLEANUP_DELIVERY struct delivery *delivery = NULL;
    const struct deliver_dir_options dir = {
        .path = bench->output_dir, .sharer = program.noun, .service = "web", .pod = "web-1"};
    int rc = bench->output_dir != NULL ? deliver_dir_new(bench->loop, &dir, &delivery, err)
                                       : deliver_http_new(bench->loop, bench->httpc, &bench->http, &delivery, err);
    if (rc == 0)
        rc = push_new(bench->loop, bench->spool, delivery, &bench->options, ret, err);
    if (rc == 0)
        delivery = NULL; /* taken over */
    return rc;
}

static void bench_start(struct bench *bench)
{
    struct err err = err_untouched;
    expect_success("push_new", make_push(bench, &bench->push, &err), &err);
}

static void bench_free(struct bench *bench)
{
    push_free(bench->push);
    httpc_free(bench->httpc);
    spool_free(bench->spool);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        if (bench->connections[i].fd >= 0)
            close_connection(&bench->connections[i], true);
        free(bench->connections[i].bytes);
    }
    listener_free(bench->listener);
    close(bench->port_fd);
    loop_free(bench->loop);
    free(bench->requests);
    free(bench);
}

static int setup(void **state)
{
    *state = bench_new(SPOOL_BUDGET_DEFAULT);
    bench_start(*state);
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    alloc_fail_disarm();
    if (bench->dir[0] != '\0')
        assert_int_equal(0, unit_delete(bench->dir));
    bench_free(bench);
    return 0;
}

static uint64_t add_bytes(struct bench *bench, const char *type, const char *target, const void *bytes, size_t len)
{
    struct spool_meta meta = {.time_ms = INT64_C(1795366000000)};
    struct err err;
    uint64_t id = 0;
    snprintf(meta.type, sizeof(meta.type), "%s", type);
    snprintf(meta.target, sizeof(meta.target), "%s", target);
    if (spool_begin(bench->spool, &meta, &err) < 0 || spool_write(bench->spool, bytes, len, &err) < 0 ||
        spool_commit(bench->spool, 0, &id, &err) < 0)
        fail_msg("%s", err.text);
    return id;
}

static uint64_t add(struct bench *bench, const char *body)
{
    return add_bytes(bench, "heap", "", body, strlen(body));
}

static size_t add_fixture(struct bench *bench, const char *type, const char *path)
{
    char *bytes = NULL;
    size_t len = 0;
    struct err err;
    if (file_read(path, 8 << 20, &bytes, &len, &err) < 0)
        fail_msg("%s", err.text);
    add_bytes(bench, type, "api", bytes, len);
    free(bytes);
    return len;
}

static void on_turn(void *ctx)
{
    struct bench *bench = ctx;
    if (bench->until(bench))
        loop_stop(bench->loop);
}

static int64_t no_opinion(void *ctx)
{
    (void)ctx;
    return -1;
}

static void on_deadline(void *ctx)
{
    struct bench *bench = ctx;
    bench->late = true;
    loop_stop(bench->loop);
}

static bool never(struct bench *bench)
{
    (void)bench;
    return false;
}

/* Runs the loop until the condition holds; true when it came to that in time. */
static bool run(struct bench *bench, bool (*until)(struct bench *bench), int64_t most_ms)
{
    bench->until = until;
    bench->late = false;
    bench->hook = (struct loop_hook){.wait_ms = no_opinion, .run = on_turn, .ctx = bench};
    loop_hook_add(bench->loop, &bench->hook);
    loop_timer_init(&bench->deadline, bench->loop, on_deadline, bench);
    loop_timer_arm(&bench->deadline, most_ms);
    assert_int_equal(0, loop_run(bench->loop, NULL));
    loop_timer_disarm(&bench->deadline);
    loop_hook_remove(bench->loop, &bench->hook);
    return !bench->late;
}

static bool is_idle(struct bench *bench)
{
    return push_is_idle(bench->push);
}

static void send_all(struct bench *bench)
{
    push_kick(bench->push);
    if (!run(bench, is_idle, PATIENCE_MS))
        fail_msg("not sent after %d s: %s", PATIENCE_MS / 1000, push_get_stats(bench->push)->last_error);
}

static uint64_t result_count(const struct bench *bench, enum delivery_result result)
{
    return push_get_stats(bench->push)->results[result];
}

/* Exactly these results, and no others. */
static void expect_results(const struct bench *bench, const uint64_t expected[static DELIVERY_RESULT_COUNT])
{
    for (unsigned r = 0; r < DELIVERY_RESULT_COUNT; r++)
        expect_number(delivery_result_names[r], (long long)expected[r], (long long)result_count(bench, r));
}

static uint64_t dropped_count(const struct bench *bench)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < PUSH_DROP_COUNT; r++)
        sum += push_get_stats(bench->push)->dropped[r];
    return sum;
}

/* The bodies in the order of the requests, one word each. */
static void expect_bodies(const struct bench *bench, const char *expected)
{
    char got[2048] = "";
    for (unsigned i = 0; i < bench->request_count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i > 0 ? " " : "", bench->requests[i].body);
    expect_text("bodies", expected, got);
}

/* ---- stored ---- */

static void profile_is_posted_with_its_identity_and_leaves_the_spool(void **state)
{
    struct bench *bench = *state;
    uint64_t id = add_bytes(bench, "cpu", "api", "body of it", 10);
    assert_false(push_is_idle(bench->push));
    int64_t before = loop_wall_ms();
    send_all(bench);
    const struct push_stats *stats = push_get_stats(bench->push);
    expect_contains("head", bench->requests[0].head,
                    "POST /api/0/profiles?service=web&type=cpu&labels=team%3Dshop%2Ctarget%3Dapi"
                    "&created_at=2026-11-22T16%3A46%3A40&instance_id=web-1 HTTP/1.1\r\n");
    expect_contains("head", bench->requests[0].head, "\r\nContent-Type: application/octet-stream\r\n");
    expect_contains("head", bench->requests[0].head, "\r\nContent-Length: 10\r\n");
    assert_null(strcasestr(bench->requests[0].head, "\r\nExpect:"));
    expect_bodies(bench, "body of it");
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_STORED] = 1});
    assert_int_equal(10, stats->stored_bytes);
    assert_int_equal(0, stats->failures);
    assert_int_equal(0, stats->failing_since_ms);
    assert_in_range(stats->last_stored_wall_ms, before, loop_wall_ms());
    assert_string_equal("", stats->last_error);
    assert_int_equal(1, bench->settled_count);
    assert_int_equal(id, bench->settled_ids[0]);
    assert_true(bench->settled_stored[0]);
    assert_int_equal(0, spool_get_stats(bench->spool)->items);
    assert_int_equal(0, spool_get_stats(bench->spool)->bytes);
}

static void profiles_go_oldest_first_and_one_at_a_time(void **state)
{
    struct bench *bench = *state;
    add(bench, "one");
    add(bench, "two");
    add(bench, "three");
    send_all(bench);
    add(bench, "four");
    send_all(bench);
    expect_bodies(bench, "one two three four");
    assert_int_equal(1, bench->most_open);
}

static void an_empty_spool_gives_way_to_the_next(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{ANSWER, FAILED}};
    struct spool *first = bench->spool, *next = NULL;
    assert_int_equal(0, spool_new_memory(SPOOL_BUDGET_DEFAULT, &next, NULL));
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    add(bench, "two");
    push_kick(bench->push);
    bench->spool = next;
    add(bench, "three");
    push_go_on_with(bench->push, next);
    assert_false(push_is_idle(bench->push));
    send_all(bench);
    expect_bodies(bench, "one one two three");
    spool_free(first); /* it is done with it */
    add(bench, "four");
    send_all(bench);
    expect_bodies(bench, "one one two three four");
    assert_int_equal(4, result_count(bench, DELIVERY_STORED));
    assert_int_equal(4, bench->settled_count);
}

static void an_empty_spool_gives_way_at_once(void **state)
{
    struct bench *bench = *state;
    struct spool *first = bench->spool;
    assert_int_equal(0, spool_new_memory(SPOOL_BUDGET_DEFAULT, &bench->spool, NULL));
    add(bench, "left there");
    push_go_on_with(bench->push, bench->spool);
    assert_false(push_is_idle(bench->push));
    send_all(bench);
    expect_bodies(bench, "left there");
    spool_free(first);
}

static void nothing_to_send_is_idle(void **state)
{
    struct bench *bench = *state;
    assert_true(push_is_idle(bench->push));
    push_kick(bench->push);
    push_now(bench->push);
    assert_false(run(bench, never, 50));
    assert_int_equal(0, bench->request_count);
    assert_true(push_is_idle(bench->push));
}

static void an_empty_profile_is_posted_like_any(void **state)
{
    struct bench *bench = *state;
    add(bench, "");
    send_all(bench);
    assert_int_equal(1, bench->request_count);
    expect_contains("head", bench->requests[0].head, "\r\nContent-Length: 0\r\n");
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
}

static void a_large_profile_arrives_whole(void **state)
{
    struct bench *bench = *state;
    size_t len = 400 * 1024;
    char *body = malloc(len);
    assert_non_null(body);
    memset(body, 'x', len);
    add_bytes(bench, "heap", "", body, len);
    free(body);
    send_all(bench);
    assert_int_equal(len, bench->requests[0].body_len);
    assert_int_equal(len, push_get_stats(bench->push)->stored_bytes);
}

/* ---- dropped ---- */

static void refused_profile_is_dropped_and_the_next_goes_at_once(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{ANSWER, REFUSED},
                                            {ANSWER, "HTTP/1.1 422 X\r\n" CLOSES "{\"code\":422,\"error\":\"bad\"}"}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "bad");
    add(bench, "worse");
    add(bench, "good");
    send_all(bench);
    expect_bodies(bench, "bad worse good");
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_REFUSED] = 2, [DELIVERY_STORED] = 1});
    assert_int_equal(2, push_get_stats(bench->push)->dropped[PUSH_DROP_REFUSED]);
    assert_int_equal(2, dropped_count(bench));
    assert_int_equal(3, bench->settled_count);
    assert_false(bench->settled_stored[0]);
    assert_true(bench->settled_stored[2]);
}

/* A collector that refuses all it gets loses all of it: only a stored profile makes it healthy again. */
static void refusals_count_as_failures_until_one_is_stored(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{ANSWER, FAILED}, {ANSWER, REFUSED}};
    const struct push_stats *stats = push_get_stats(bench->push);
    script(bench, answers, COUNT_OF(answers));
    add(bench, "bad");
    send_all(bench);
    assert_int_equal(1, result_count(bench, DELIVERY_LATER));
    assert_int_equal(1, result_count(bench, DELIVERY_REFUSED));
    assert_int_equal(2, stats->failures);
    assert_true(stats->failing_since_ms > 0);
    assert_string_equal("answered 400 \"profile is empty: no samples\"", stats->last_error);
    add(bench, "good");
    send_all(bench);
    assert_int_equal(0, stats->failures);
    assert_int_equal(0, stats->failing_since_ms);
    assert_string_equal("", stats->last_error);
}

static void too_large_is_dropped_whoever_says_so(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {ANSWER, "HTTP/1.1 413 Payload Too Large\r\n" CLOSES "<html>nginx"},
        {ANSWER_EARLY, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n" CLOSES}};
    size_t len = 300 * 1024;
    char *body = calloc(1, len);
    assert_non_null(body);
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    add_bytes(bench, "heap", "", body, len);
    free(body);
    add(bench, "good");
    send_all(bench);
    /* the second one may learn of it only by a reset: then it is tried again, and stored by this script */
    uint64_t dropped = push_get_stats(bench->push)->dropped[PUSH_DROP_TOO_LARGE];
    assert_in_range(dropped, 1, 2);
    assert_int_equal(3, dropped + result_count(bench, DELIVERY_STORED));
    assert_int_equal(dropped, dropped_count(bench));
}

/* ---- tried again ---- */

static void failures_are_tried_again_until_it_is_stored(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {ANSWER, FAILED},
        {ANSWER, "HTTP/1.1 503 Service Unavailable\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 429 Too Many Requests\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 408 Request Timeout\r\n" CLOSES},
    };
    const struct push_stats *stats = push_get_stats(bench->push);
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "one one one one one two");
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_LATER] = 4, [DELIVERY_STORED] = 2});
    assert_int_equal(0, dropped_count(bench));
    assert_int_equal(0, stats->failures);
    assert_string_equal("", stats->last_error);
}

static bool has_failed_three_times(struct bench *bench)
{
    return push_get_stats(bench->push)->failures == 3;
}

static void while_it_fails_the_stats_say_since_when_and_why(void **state)
{
    struct bench *bench = *state;
    const struct push_stats *stats = push_get_stats(bench->push);
    bench->otherwise = (struct answer){ANSWER, FAILED};
    add(bench, "one");
    int64_t before = loop_now_ms(bench->loop);
    push_kick(bench->push);
    assert_true(run(bench, has_failed_three_times, PATIENCE_MS));
    assert_in_range(stats->failing_since_ms, before, loop_now_ms(bench->loop) - 2 * RETRY_MIN_MS);
    assert_string_equal("answered 500 \"internal server error\"", stats->last_error);
    assert_int_equal(0, bench->settled_count);
    assert_int_equal(1, spool_get_stats(bench->spool)->items);
    bench->otherwise = (struct answer){ANSWER, STORED};
    send_all(bench);
    assert_int_equal(0, stats->failing_since_ms);
}

/* Whatever is not profefe's word is no reason to lose a profile: a token being rotated, a portal, a wrong URL. */
static void wrong_collector_loses_nothing(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {ANSWER, "HTTP/1.1 401 Unauthorized\r\n" CLOSES "{\"code\":401,\"error\":\"x\"}"},
        {ANSWER, "HTTP/1.1 403 Forbidden\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 404 Not Found\r\n" CLOSES "{\"code\":404,\"error\":\"nothing found\"}"},
        {ANSWER, "HTTP/1.1 405 Method Not Allowed\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 407 Proxy Authentication Required\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 200 OK\r\n" CLOSES "<html>Welcome to the hotel</html>"},
        {ANSWER, "HTTP/1.1 200 OK\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 204 No Content\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 400 Bad Request\r\n" CLOSES "<html>bad request</html>"},
    };
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "one one one one one one one one one one one two");
    expect_results(bench,
                   (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_WRONG] = COUNT_OF(answers), [DELIVERY_STORED] = 2});
    assert_int_equal(0, dropped_count(bench));
}

static bool has_failed_once(struct bench *bench)
{
    return push_get_stats(bench->push)->failures == 1;
}

static void wrong_collector_is_told_in_words(void **state)
{
    struct bench *bench = *state;
    bench->otherwise = (struct answer){ANSWER, "HTTP/1.1 200 OK\r\n" CLOSES "<html>\x1b[31mhotel</html>"};
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    assert_string_equal(
        "answered 200 \"<html>\\x1b[31mhotel</html>\": not what profefe says; is the collector's URL right?",
        push_get_stats(bench->push)->last_error);
}

/* profefe repeats the labels in its reply: with many long ones it is larger than what is kept of it. */
static void a_long_reply_is_an_answer(void **state)
{
    struct bench *bench = *state;
    static const struct {
        const char *beginning;
        size_t len; /* of the body */
        enum delivery_result result;
    } rows[] = {
        {"{\"code\":200,\"body\":{\"id\":\"1\",\"labels\":[", 6000, DELIVERY_STORED},
        {"{\"code\":200,\"body\":{\"id\":\"1\",\"labels\":[", DELIVER_HTTP_REPLY_MAX + 20000, DELIVERY_STORED},
        {"<html>", 6000, DELIVERY_WRONG},
        {"<html>", DELIVER_HTTP_REPLY_MAX + 20000, DELIVERY_WRONG},
    };
    static char text[DELIVER_HTTP_REPLY_MAX + 20200];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t before = result_count(bench, rows[i].result);
        int head = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", rows[i].len);
        memset(text + head, ' ', rows[i].len);
        memcpy(text + head, rows[i].beginning, strlen(rows[i].beginning));
        text[(size_t)head + rows[i].len] = '\0';
        const struct answer answers[] = {{ANSWER, text}};
        bench->request_count = 0;
        script(bench, answers, COUNT_OF(answers));
        add(bench, "one");
        send_all(bench);
        assert_int_equal(before + 1, result_count(bench, rows[i].result));
        assert_int_equal(0, result_count(bench, DELIVERY_UNSURE));
    }
}

static void a_lost_reply_is_unsure_and_sent_again(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{CLOSE_AT_END, NULL},
                                            {CLOSE_AT_END,
                                             "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":200"},
                                            {CLOSE_AT_END, "SSH-2.0-OpenSSH_9.2p1\r\n"}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    send_all(bench);
    expect_bodies(bench, "one one one one");
    expect_results(bench,
                   (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_UNSURE] = COUNT_OF(answers), [DELIVERY_STORED] = 1});
}

static void a_reply_broken_off_after_a_500_is_still_a_500(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {CLOSE_AT_END, "HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{\"code\":500"}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    send_all(bench);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_LATER] = 1, [DELIVERY_STORED] = 1});
}

/* Also where the collector said that it is stored: libcurl goes on sending after a 200, until the connection breaks. */
static void a_cut_body_is_a_network_failure(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{CLOSE_AT_HEAD, NULL}, {ANSWER_EARLY, STORED}};
    size_t len = 4 * 1024 * 1024; /* more than both socket buffers hold */
    char *body = calloc(1, len);
    assert_non_null(body);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        bench->push = push_free(bench->push);
        bench_start(bench);
        bench->request_count = 0;
        script(bench, &answers[i], 1);
        uint64_t id = add_bytes(bench, "heap", "", body, len);
        push_kick(bench->push);
        assert_true(run(bench, has_failed_once, PATIENCE_MS));
        expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_NETWORK] = 1});
        assert_int_equal(0, spool_remove(bench->spool, id));
    }
    free(body);
}

static unsigned count_posts(const struct bench *bench)
{
    unsigned posts = 0;
    for (unsigned i = 0; i < bench->request_count; i++)
        posts += strcmp(bench->requests[i].body, "GET") != 0;
    return posts;
}

/* One profile to a collector that hangs, with a short timeout. It strikes whatever is under way when this machine
 * stalls for so long: a POST that was sent is unsure as well, and where one was not sent yet it is all done again with
 * more time. */
static void send_to_hanging(struct bench *bench, int64_t timeout_ms)
{
    for (unsigned tries = 0; tries < 4; tries++, timeout_ms *= 2) {
        bench->push = push_free(bench->push);
        bench->http.timeout_ms = timeout_ms;
        bench_start(bench);
        bench->request_count = 0;
        add(bench, "one");
        send_all(bench);
        if (result_count(bench, DELIVERY_NETWORK) == 0)
            break;
    }
    assert_true(count_posts(bench) >= 2);
    expect_results(
        bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_UNSURE] = count_posts(bench) - 1, [DELIVERY_STORED] = 1});
}

static void a_collector_that_hangs_times_out(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{HANG, NULL}};
    script(bench, answers, COUNT_OF(answers));
    send_to_hanging(bench, 100);
}

static bool has_failed_five_times(struct bench *bench)
{
    return push_get_stats(bench->push)->failures >= 5;
}

static void collector_down_then_up_loses_nothing(void **state)
{
    struct bench *bench = *state;
    collector_down(bench);
    add(bench, "one");
    add(bench, "two");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_five_times, PATIENCE_MS));
    add(bench, "three");
    assert_int_equal(0, bench->request_count);
    assert_int_equal(result_count(bench, DELIVERY_NETWORK), push_get_stats(bench->push)->failures);
    expect_contains("words", push_get_stats(bench->push)->last_error, "refused: ");
    collector_up(bench);
    send_all(bench);
    expect_bodies(bench, "one two three");
    assert_int_equal(0, dropped_count(bench));
}

static void retry_after_is_kept_to(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{ANSWER, "HTTP/1.1 503 X\r\nRetry-After: 1\r\n" CLOSES}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    int64_t before = loop_wall_ms();
    send_all(bench);
    assert_in_range(loop_wall_ms() - before, 1000, 1000 + PATIENCE_MS / 2);
}

static void push_now_does_not_wait_and_begins_anew_with_short_waits(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{ANSWER, "HTTP/1.1 503 X\r\nRetry-After: 600\r\n" CLOSES},
                                            {ANSWER, FAILED}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    push_kick(bench->push); /* does not cut the wait */
    assert_false(run(bench, is_idle, 100));
    assert_int_equal(1, bench->request_count);
    int64_t before = loop_wall_ms();
    push_now(bench->push);
    assert_true(run(bench, is_idle, PATIENCE_MS));
    assert_in_range(loop_wall_ms() - before, 0, 5000);
    assert_int_equal(3, bench->request_count);
}

/* ---- one profile that the collector fails on ---- */

static void profile_that_fails_while_the_next_passes_is_dropped(void **state)
{
    struct bench *bench = *state;
    bench->bad_body = "bad";
    bench->bad_answer = (struct answer){ANSWER, FAILED};
    uint64_t bad = add(bench, "bad");
    add(bench, "two");
    add(bench, "three");
    send_all(bench);
    expect_bodies(bench, "bad bad bad bad bad two bad three");
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_LATER] = 6, [DELIVERY_STORED] = 2});
    assert_int_equal(1, push_get_stats(bench->push)->dropped[PUSH_DROP_BLOCKED]);
    assert_int_equal(1, dropped_count(bench));
    assert_int_equal(bad, bench->settled_ids[1]);
    assert_false(bench->settled_stored[1]);
}

/* An 8 MB heap may kill the server each time: no reply, the whole body sent. */
static void profile_that_kills_the_server_is_dropped_too(void **state)
{
    struct bench *bench = *state;
    bench->bad_body = "bad";
    bench->bad_answer = (struct answer){CLOSE_AT_END, NULL};
    add(bench, "bad");
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "bad bad bad bad bad two bad");
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_UNSURE] = 6, [DELIVERY_STORED] = 1});
    assert_int_equal(1, push_get_stats(bench->push)->dropped[PUSH_DROP_BLOCKED]);
}

enum { LARGE_BODY = 4 * 1024 * 1024 }; /* more than both socket buffers hold */

static const struct answer *break_off_large_ones(struct bench *bench, const struct request *request)
{
    static const struct answer breaks_off = {CLOSE_AT_HEAD, NULL};
    char length[40];
    snprintf(length, sizeof(length), "Content-Length: %d\r\n", LARGE_BODY);
    return strstr(request->head, length) != NULL ? &breaks_off : &bench->otherwise;
}

/* A proxy that cannot stand its size: the connection breaks before all of the body is sent. */
static void profile_that_breaks_its_upload_is_dropped_too(void **state)
{
    struct bench *bench = *state;
    char *body = calloc(1, LARGE_BODY);
    assert_non_null(body);
    bench->choose = break_off_large_ones;
    add_bytes(bench, "heap", "", body, LARGE_BODY);
    free(body);
    add(bench, "two");
    send_all(bench);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_NETWORK] = 6, [DELIVERY_STORED] = 1});
    assert_int_equal(1, push_get_stats(bench->push)->dropped[PUSH_DROP_BLOCKED]);
}

static void two_bad_profiles_are_both_dropped(void **state)
{
    struct bench *bench = *state;
    bench->bad_body = "bad";
    bench->bad_answer = (struct answer){ANSWER, FAILED};
    add(bench, "bad-1");
    add(bench, "good-1");
    add(bench, "bad-2");
    add(bench, "good-2");
    send_all(bench);
    assert_int_equal(2, push_get_stats(bench->push)->dropped[PUSH_DROP_BLOCKED]);
    assert_int_equal(2, result_count(bench, DELIVERY_STORED));
}

static bool all_dropped_or_stored(struct bench *bench)
{
    return bench->request_count >= 30 || push_is_idle(bench->push);
}

/* Where nothing passes, nothing is to blame. */
static void a_server_that_fails_on_all_loses_nothing(void **state)
{
    struct bench *bench = *state;
    bench->otherwise = (struct answer){ANSWER, FAILED};
    add(bench, "one");
    add(bench, "two");
    add(bench, "three");
    push_kick(bench->push);
    assert_true(run(bench, all_dropped_or_stored, PATIENCE_MS));
    assert_int_equal(3, spool_get_stats(bench->spool)->items);
    assert_int_equal(0, dropped_count(bench));
    bench->otherwise = (struct answer){ANSWER, STORED};
    send_all(bench);
    assert_int_equal(3, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, dropped_count(bench));
}

static void a_lone_profile_is_tried_for_ever(void **state)
{
    struct bench *bench = *state;
    for (unsigned i = 0; i < 20; i++)
        bench->answers[i] = (struct answer){ANSWER, FAILED};
    bench->answer_count = 20;
    add(bench, "one");
    send_all(bench);
    assert_int_equal(21, bench->request_count);
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, dropped_count(bench));
}

/* Five failures by an outage, and the server is back with the sixth try, which is the next one's. */
static void profile_that_only_met_an_outage_gets_its_last_try(void **state)
{
    struct bench *bench = *state;
    for (unsigned i = 0; i < PUSH_BLOCKED_TRIES; i++)
        bench->answers[i] = (struct answer){ANSWER, FAILED};
    bench->answer_count = PUSH_BLOCKED_TRIES;
    add(bench, "one");
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "one one one one one two one");
    assert_int_equal(2, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, dropped_count(bench));
}

/* The way to the server is nobody's fault, however often. */
static void network_failures_blame_no_profile(void **state)
{
    struct bench *bench = *state;
    collector_down(bench);
    add(bench, "one");
    add(bench, "two");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_five_times, PATIENCE_MS));
    assert_false(run(bench, never, 200));
    collector_up(bench);
    send_all(bench);
    expect_bodies(bench, "one two");
}

/* ---- evicted, expired, freed ---- */

static bool has_request(struct bench *bench)
{
    return bench->request_count > 0;
}

static int small_setup(void **state)
{
    *state = bench_new(SPOOL_BUDGET_MIN);
    bench_start(*state);
    return 0;
}

static void profile_evicted_while_it_is_sent_is_given_up(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{HANG, NULL}};
    size_t len = SPOOL_BUDGET_MIN - 16 * 1024; /* more than the socket buffers of 64 KiB hold */
    char *body = malloc(len);
    assert_non_null(body);
    memset(body, 'x', len);
    script(bench, answers, COUNT_OF(answers));
    uint64_t first = add_bytes(bench, "heap", "", body, len);
    push_kick(bench->push);
    assert_true(run(bench, has_request, PATIENCE_MS));
    memcpy(body, "second", 7);
    add_bytes(bench, "heap", "", body, len);
    free(body);
    assert_int_equal(0, spool_get_stats(bench->spool)->dropped[SPOOL_DROP_EVICTED]); /* it may arrive */
    assert_int_equal(1, spool_get_stats(bench->spool)->held_lost);
    /* the peer goes on reading, so that the rest of the body is asked for */
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        if (bench->connections[i].watch != NULL)
            assert_int_equal(0, loop_watch_change(bench->connections[i].watch, EPOLLIN, NULL));
    }
    bench->request_count = 0;
    bench->answer_count = 0;
    send_all(bench);
    assert_int_equal(1, result_count(bench, DELIVERY_GONE));
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
    assert_int_equal(1, spool_get_stats(bench->spool)->dropped[SPOOL_DROP_EVICTED]);
    assert_int_equal(2, bench->settled_count);
    assert_int_equal(first, bench->settled_ids[0]);
    assert_false(bench->settled_stored[0]);
    assert_true(bench->settled_stored[1]);
    assert_int_equal(0, dropped_count(bench));
    assert_int_equal(0, push_get_stats(bench->push)->failures);
}

/* The collector has it all when it is evicted: a stored profile all the same. */
static void profile_evicted_after_its_last_byte_counts_as_stored(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{HANG, NULL}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_request, PATIENCE_MS));
    assert_int_equal(1, spool_expire(bench->spool, INT64_MAX));
    assert_int_equal(1, bench->open);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        if (bench->connections[i].fd < 0)
            continue;
        assert_true(send(bench->connections[i].fd, STORED, strlen(STORED), MSG_NOSIGNAL) > 0);
        close_connection(&bench->connections[i], false);
    }
    assert_true(run(bench, is_idle, PATIENCE_MS));
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, spool_get_stats(bench->spool)->dropped[SPOOL_DROP_OLD]);
    assert_int_equal(1, bench->settled_count);
    assert_true(bench->settled_stored[0]);
}

static void old_profiles_expire_unsent(void **state)
{
    struct bench *bench = *state;
    bench->push = push_free(bench->push);
    bench->options.age_max_ms = 60 * 1000;
    bench_start(bench);
    add(bench, "old"); /* of 2026-11-22T16:46:40Z */
    struct spool_meta meta = {.type = "heap", .time_ms = loop_wall_ms()};
    assert_int_equal(0, spool_begin(bench->spool, &meta, NULL));
    assert_int_equal(0, spool_write(bench->spool, "new", 3, NULL));
    assert_int_equal(0, spool_commit(bench->spool, 0, NULL, NULL));
    send_all(bench);
    expect_bodies(bench, "new");
    assert_int_equal(1, spool_get_stats(bench->spool)->dropped[SPOOL_DROP_OLD]);
}

static void free_cancels_whatever_is_under_way(void **state)
{
    struct bench *bench = *state;
    bench->otherwise = (struct answer){HANG, NULL};
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_request, PATIENCE_MS));
    bench->push = push_free(bench->push); /* a transfer */
    bench->otherwise = (struct answer){ANSWER, FAILED};
    bench_start(bench);
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    bench->push = push_free(bench->push); /* a wait */
    bench->options.outgoing.sample_labels = true;
    bench_start(bench);
    push_kick(bench->push);
    bench->push = push_free(bench->push); /* a start */
    assert_false(run(bench, never, 100));
    assert_int_equal(0, bench->settled_count);
    assert_int_equal(1, spool_get_stats(bench->spool)->items);
    assert_null(push_free(NULL));
}

/* ---- in doubt ---- */

#define LIST(entries) "HTTP/1.1 200 OK\r\n" CLOSES "{\"code\":200,\"body\":[" entries "]}\n"
#define LISTED(pod, second) \
    "{\"id\":\"c1\",\"type\":\"heap\",\"service\":\"web\",\"labels\":[{\"key\":\"pod\",\"value\":\"" pod "\"}," \
    "{\"key\":\"team\",\"value\":\"shop\"}],\"created_at\":\"" second "\"}"
#define OURS LISTED("web-1", "2026-11-22T16:46:40Z")
#define NOTHING_FOUND "HTTP/1.1 404 Not Found\r\n" CLOSES "{\"code\":404,\"error\":\"nothing found\"}\n"

static int pod_setup(void **state)
{
    setup(state);
    struct bench *bench = *state;
    return labels_add(&bench->labels, span_of("pod"), span_of("web-1"), NULL);
}

static void what_may_be_stored_is_asked_for_and_not_sent_twice(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{CLOSE_AT_END, NULL},
                                            {ANSWER, LIST(LISTED("web-2", "2026-11-22T16:46:40Z") "," OURS)}};
    script(bench, answers, COUNT_OF(answers));
    uint64_t id = add(bench, "one");
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "one GET two");
    expect_contains("question", bench->requests[1].head, "GET /api/0/profiles?service=web&type=heap"
                    "&from=2026-11-22T16%3A46%3A40&to=2026-11-22T16%3A46%3A41&limit=1000 HTTP/1.1\r\n");
    expect_results(
        bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_UNSURE] = 1, [DELIVERY_FOUND] = 1, [DELIVERY_STORED] = 1});
    assert_int_equal(2, bench->settled_count);
    assert_int_equal(id, bench->settled_ids[0]);
    assert_true(bench->settled_stored[0]);
    assert_int_equal(6, push_get_stats(bench->push)->stored_bytes);
    assert_int_equal(0, push_get_stats(bench->push)->failures);
}

/* Twice is better than never: whatever does not say that it is there sends it again, at once. */
static void what_is_not_found_is_sent_again(void **state)
{
    struct bench *bench = *state;
    static const struct answer rows[] = {
        {ANSWER, NOTHING_FOUND},
        {ANSWER, "HTTP/1.1 204 No Content\r\n" CLOSES},
        {ANSWER, LIST("")},
        {ANSWER, LIST(LISTED("web-2", "2026-11-22T16:46:40Z"))},
        {ANSWER, LIST(LISTED("web-1", "2026-11-22T16:46:41Z"))},
        {ANSWER, "HTTP/1.1 500 Internal Server Error\r\n" CLOSES "{\"code\":500,\"error\":\"x\"}"},
        {ANSWER, "HTTP/1.1 500 Internal Server Error\r\n" CLOSES "{\"code\":200,\"body\":[" OURS "]}"},
        {ANSWER, "HTTP/1.1 401 Unauthorized\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 405 Method Not Allowed\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n" CLOSES},
        {ANSWER, "HTTP/1.1 200 OK\r\n" CLOSES "<html>hotel</html>"},
        {ANSWER, "HTTP/1.1 200 OK\r\n" CLOSES "[" OURS "]"},
        {ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{\"code\":200,\"body\":[{\"id\":\"c1\",\"type\":"},
        {ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{\"code\":200,\"body\":["}, /* more than is read */
        {CLOSE_AT_END, NULL},
        {CLOSE_AT_HEAD, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct answer answers[] = {{CLOSE_AT_END, NULL}, rows[i]};
        bench->request_count = 0;
        script(bench, answers, COUNT_OF(answers));
        add(bench, "one");
        send_all(bench);
        expect_bodies(bench, "one GET one");
    }
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){
                              [DELIVERY_UNSURE] = COUNT_OF(rows), [DELIVERY_STORED] = COUNT_OF(rows)});
}

static const struct answer *hang_when_asked(struct bench *bench, const struct request *request)
{
    static const struct answer lost = {CLOSE_AT_END, NULL}, hangs = {HANG, NULL};
    if (strncmp(request->head, "GET ", 4) == 0)
        return &hangs;
    return count_posts(bench) == 0 ? &lost : &bench->otherwise;
}

static void without_an_answer_it_is_sent_again(void **state)
{
    struct bench *bench = *state;
    bench->choose = hang_when_asked;
    send_to_hanging(bench, 200);
    assert_in_range(bench->request_count - count_posts(bench), 1, count_posts(bench) - 1);
}

static void a_find_counts_also_in_a_list_that_breaks_off(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {CLOSE_AT_END, NULL},
        {ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{\"code\":200,\"body\":[" OURS ",{"}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    send_all(bench);
    expect_bodies(bench, "one GET");
}

static void it_is_asked_for_once_a_failure(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {CLOSE_AT_END, NULL}, {ANSWER, NOTHING_FOUND}, {ANSWER, FAILED}, {CLOSE_AT_END, NULL}, {ANSWER, NOTHING_FOUND}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    send_all(bench);
    expect_bodies(bench, "one GET one one GET one");
}

/* The server died of it and comes back: only then it can be asked. */
static void a_question_that_did_not_get_through_is_asked_again(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{CLOSE_AT_END, NULL}, {ANSWER, LIST(OURS)}};
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    collector_down(bench);
    assert_true(run(bench, has_failed_three_times, PATIENCE_MS));
    assert_int_equal(1, bench->request_count);
    collector_up(bench);
    send_all(bench);
    expect_bodies(bench, "one GET");
    assert_int_equal(1, result_count(bench, DELIVERY_FOUND));
    assert_int_equal(1, result_count(bench, DELIVERY_UNSURE));
    assert_true(result_count(bench, DELIVERY_NETWORK) >= 2);
}

/* ---- types ---- */

static void each_type_goes_under_profefes_name_for_it(void **state)
{
    struct bench *bench = *state;
    static const struct {
        const char *type, *target, *expected;
    } rows[] = {
        {"cpu", "", "&type=cpu&labels=team%3Dshop&"},
        {"allocs", "", "&type=other&labels=team%3Dshop%2Cprofile_type%3Dallocs&"},
        {"other/wall", "", "&type=other&labels=team%3Dshop%2Cprofile_type%3Dwall&"},
        {"other/a/b", "api", "&type=other&labels=team%3Dshop%2Ctarget%3Dapi%2Cprofile_type%3Da%252Fb&"},
        {"trace", "api", "&type=trace&labels=team%3Dshop%2Ctarget%3Dapi&"},
        {"threadcreate", "", "&type=threadcreate&labels=team%3Dshop&"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        add_bytes(bench, rows[i].type, rows[i].target, "x", 1);
    send_all(bench);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        expect_contains(rows[i].type, bench->requests[i].head, rows[i].expected);
}

/* ---- nothing is lost uncounted ---- */

static void settled_is_called_for_what_is_lost_in_the_queue(void **state)
{
    struct bench *bench = *state;
    size_t len = SPOOL_BUDGET_MIN / 2;
    char *body = calloc(1, len);
    assert_non_null(body);
    collector_down(bench);
    uint64_t first = add(bench, "one");
    uint64_t second = add_bytes(bench, "heap", "", body, len);
    add_bytes(bench, "heap", "", body, len);
    free(body);
    assert_int_equal(2, bench->settled_count);
    assert_int_equal(first, bench->settled_ids[0]);
    assert_int_equal(second, bench->settled_ids[1]);
    assert_int_equal(1, spool_expire(bench->spool, INT64_MAX));
    assert_int_equal(3, bench->settled_count);
    for (unsigned i = 0; i < 3; i++)
        assert_false(bench->settled_stored[i]);
    assert_true(push_is_idle(bench->push));
}

static uint64_t spool_dropped(const struct bench *bench)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < SPOOL_DROP_COUNT; r++)
        sum += spool_get_stats(bench->spool)->dropped[r];
    return sum;
}

static void expect_account(struct bench *bench)
{
    const struct spool_stats *spool = spool_get_stats(bench->spool);
    uint64_t stored = result_count(bench, DELIVERY_STORED) + result_count(bench, DELIVERY_FOUND);
    expect_number("account", (long long)spool->taken,
                  (long long)(stored + dropped_count(bench) + spool_dropped(bench) + spool->items + spool->held_lost));
}

static bool is_idle_and_adds_up(struct bench *bench)
{
    expect_account(bench);
    return push_is_idle(bench->push);
}

enum {
    PROFILES_MAX = 2000,
    A_ROUND_MAX = 9,  /* profiles taken */
    ROUNDS_LEAST = 150,
    TURNS_FEW = 3,    /* of the loop: a transfer is under way */
    TURNS_MANY = 32,  /* several are through */
};

static unsigned turns_left;

static bool is_idle_or_has_turned(struct bench *bench)
{
    return is_idle_and_adds_up(bench) || --turns_left == 0;
}

/* A collector of moods, with a memory: profile n began n seconds after the first. */
static struct moody {
    uint64_t random;
    unsigned posted, asked, found;
    unsigned taken;
    uint8_t stored[PROFILES_MAX];
    uint8_t settled[PROFILES_MAX];
    uint64_t ids[PROFILES_MAX];
    char list[1024];
} moody;

static unsigned mood(unsigned range)
{
    moody.random = moody.random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(moody.random >> 33) % range;
}

static unsigned number_in(const char *head, const char *parameter)
{
    struct tm tm = {0};
    const char *at = strstr(head, parameter);
    assert_non_null(at);
    at += strlen(parameter);
    assert_non_null(strptime(at, "%Y-%m-%dT%H%%3A%M%%3A%S", &tm));
    return (unsigned)(timegm(&tm) - 1795366000);
}

static const struct answer *answer_of_mood(struct bench *bench, const struct request *request)
{
    static const struct answer answers[] = {{ANSWER, STORED},      {ANSWER, STORED},
                                            {ANSWER, STORED},      {CLOSE_AT_END, NULL},
                                            {CLOSE_AT_END, NULL},  {ANSWER, FAILED},
                                            {ANSWER, REFUSED},     {ANSWER, "HTTP/1.1 413 X\r\n" CLOSES},
                                            {CLOSE_AT_HEAD, NULL}, {ANSWER, "HTTP/1.1 401 X\r\n" CLOSES}};
    static struct answer list = {ANSWER, moody.list};
    static unsigned at_end; /* of the request whose end is awaited */
    static const struct answer *chosen;
    bench->request_count = 0;
    if (strncmp(request->head, "GET ", 4) == 0) {
        unsigned n = number_in(request->head, "&from=");
        moody.asked++;
        moody.found += moody.stored[n];
        time_t at = 1795366000 + (time_t)n;
        char second[32];
        strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%SZ", gmtime(&at));
        snprintf(moody.list, sizeof(moody.list), "%s", NOTHING_FOUND);
        if (moody.stored[n])
            snprintf(moody.list, sizeof(moody.list), LIST(LISTED("web-1", "%s")), second);
        return &list;
    }
    unsigned n = number_in(request->head, "&created_at=");
    if (at_end != n + 1) {
        chosen = &answers[mood(COUNT_OF(answers))];
        at_end = n + 1;
    }
    if (chosen->behaviour == CLOSE_AT_HEAD || request->is_whole) {
        /* It is heard once: what hangs up at the end has stored it, every other time. */
        at_end = 0;
        moody.posted++;
        bool stores = chosen->text != NULL && strcmp(chosen->text, STORED) == 0;
        if (chosen->behaviour == CLOSE_AT_END)
            stores = mood(2) == 0;
        moody.stored[n] = (uint8_t)(moody.stored[n] + stores);
    }
    return chosen;
}

static void on_settled_once(void *ctx, uint64_t id, bool stored)
{
    struct bench *bench = ctx;
    expect_account(bench);
    for (unsigned n = 0; n < moody.taken; n++) {
        if (moody.ids[n] != id)
            continue;
        moody.settled[n]++;
        if (stored)
            assert_true(moody.stored[n] > 0);
        return;
    }
    fail_msg("settled: expected a profile that was taken");
}

static void take_one(struct bench *bench)
{
    static char body[120 * 1024];
    size_t len = 255 + (mood(4) == 0 ? mood(sizeof(body) - 255) : mood(2000));
    unsigned n = moody.taken++;
    struct spool_meta meta = {.type = "heap", .time_ms = (INT64_C(1795366000) + n) * 1000};
    memset(body, 'x', sizeof(body));
    assert_int_equal(0, spool_begin(bench->spool, &meta, NULL));
    assert_int_equal(0, spool_write(bench->spool, body, len, NULL));
    assert_int_equal(0, spool_commit(bench->spool, 0, &moody.ids[n], NULL));
    expect_account(bench);
}

/* Each way to end was gone often. */
static bool has_met_all(const struct bench *bench)
{
    return moody.taken > 300 && moody.found > 10 && moody.asked > moody.found && spool_dropped(bench) > 10 &&
        dropped_count(bench) > 10;
}

/* A round is so many turns of the loop, however long they take; there are more of them where some way was not gone
 * yet. */
static void every_profile_ends_in_one_counted_way(void **state)
{
    struct bench *bench = *state;
    moody = (struct moody){.random = 4711};
    bench->choose = answer_of_mood;
    bench->push = push_free(bench->push);
    assert_int_equal(0, labels_add(&bench->labels, span_of("pod"), span_of("web-1"), NULL));
    bench->options.settled = on_settled_once;
    bench->options.retry_min_ms = bench->options.retry_max_ms = 10;
    bench_start(bench);
    for (unsigned round = 0;
         moody.taken <= PROFILES_MAX - A_ROUND_MAX && (round < ROUNDS_LEAST || !has_met_all(bench)); round++) {
        for (unsigned i = mood(A_ROUND_MAX + 1); i > 0; i--)
            take_one(bench);
        if (mood(20) == 0)
            spool_expire(bench->spool, (INT64_C(1795366000) + moody.taken - mood(5)) * 1000);
        push_kick(bench->push);
        turns_left = mood(3) == 0 ? TURNS_FEW : TURNS_MANY;
        assert_true(run(bench, is_idle_or_has_turned, PATIENCE_MS));
    }
    push_now(bench->push);
    assert_true(run(bench, is_idle_and_adds_up, PATIENCE_MS));
    expect_account(bench);
    unsigned at_server = 0;
    for (unsigned n = 0; n < moody.taken; n++) {
        expect_number("settled", 1, moody.settled[n]);
        assert_in_range(moody.stored[n], 0, 1); /* nothing is stored twice */
        at_server += moody.stored[n];
    }
    uint64_t stored = result_count(bench, DELIVERY_STORED) + result_count(bench, DELIVERY_FOUND);
    assert_in_range(at_server, stored,
                    stored + result_count(bench, DELIVERY_UNSURE)); /* some were lost here while in doubt */
    print_message("%u taken, %llu stored, %u found when asked, %llu dropped in the spool, %llu by the collector\n",
                  moody.taken, (unsigned long long)stored, moody.found, (unsigned long long)spool_dropped(bench),
                  (unsigned long long)dropped_count(bench));
    assert_true(has_met_all(bench));
}

/* ---- credentials ---- */

static void make_dir(struct bench *bench)
{
    snprintf(bench->dir, sizeof(bench->dir), "/tmp/test-push-XXXXXX");
    assert_non_null(mkdtemp(bench->dir));
}

static void write_file(const struct bench *bench, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fclose(file));
}

static bool has_two_requests(struct bench *bench)
{
    return bench->request_count >= 2;
}

/* A token that is rotated under way, and a Secret that is broken for a moment: nothing is lost. */
static void credentials_are_looked_at_before_each_try(void **state)
{
    struct bench *bench = *state;
    struct credentials *credentials = NULL;
    make_dir(bench);
    write_file(bench, "token", "old\n");
    assert_int_equal(0, credentials_new(bench->dir, &credentials, NULL));
    bench->push = push_free(bench->push);
    bench->http.credentials = credentials;
    bench_start(bench);
    bench->otherwise = (struct answer){ANSWER, "HTTP/1.1 401 Unauthorized\r\n" CLOSES};
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_two_requests, PATIENCE_MS));
    expect_contains("head", bench->requests[0].head, "\r\nAuthorization: Bearer old\r\n");
    expect_contains("words", push_get_stats(bench->push)->last_error, "answered 401");
    expect_contains("words", push_get_stats(bench->push)->last_error, "are the collector's credentials right?");
    write_file(bench, "token", "two words and therefore no token\n");
    unsigned before = push_get_stats(bench->push)->failures;
    while (strstr(push_get_stats(bench->push)->last_error, "token") == NULL &&
           push_get_stats(bench->push)->failures < before + 50)
        run(bench, never, 20);
    expect_contains("words", push_get_stats(bench->push)->last_error, "token");
    assert_null(strstr(push_get_stats(bench->push)->last_error, "words"));
    assert_int_equal(0, result_count(bench, DELIVERY_NETWORK));
    bench->request_count = 0;
    bench->otherwise = (struct answer){ANSWER, STORED};
    write_file(bench, "token", "fresh");
    send_all(bench);
    expect_contains("head", bench->requests[0].head, "\r\nAuthorization: Bearer fresh\r\n");
    expect_bodies(bench, "one");
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
    bench->push = push_free(bench->push);
    credentials_free(credentials);
}

/* The Secret is broken at the very moment when the question would be asked: it is asked once that is repaired. */
static void a_question_without_credentials_is_asked_later(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {{CLOSE_AT_END, NULL}, {ANSWER, LIST(OURS)}};
    struct credentials *credentials = NULL;
    make_dir(bench);
    write_file(bench, "token", "old\n");
    assert_int_equal(0, credentials_new(bench->dir, &credentials, NULL));
    bench->push = push_free(bench->push);
    bench->http.credentials = credentials;
    bench_start(bench);
    script(bench, answers, COUNT_OF(answers));
    add(bench, "one");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    write_file(bench, "token", "two words and therefore no token\n");
    assert_true(run(bench, has_failed_three_times, PATIENCE_MS));
    assert_true(result_count(bench, DELIVERY_WRONG) >= 2);
    write_file(bench, "token", "fresh");
    send_all(bench);
    expect_bodies(bench, "one GET");
    assert_int_equal(1, result_count(bench, DELIVERY_FOUND));
    bench->push = push_free(bench->push);
    credentials_free(credentials);
}

/* ---- into a directory ---- */

#define OUT_CPU "out/web/cpu/20261122T164640Z-web-1-api.pb.gz"

static int profile_dir_setup(void **state)
{
    static char out[80];
    struct bench *bench = bench_new(SPOOL_BUDGET_DEFAULT);
    make_dir(bench);
    snprintf(out, sizeof(out), "%s/out", bench->dir);
    bench->output_dir = out;
    bench_start(bench);
    *state = bench;
    return 0;
}

static void expect_file(const struct bench *bench, const char *name, const char *expected, size_t len)
{
    char path[256], *bytes = NULL;
    size_t got = 0;
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
    if (file_read(path, 8 << 20, &bytes, &got, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(len, got);
    assert_memory_equal(expected, bytes, len);
    free(bytes);
}

static void profiles_become_files(void **state)
{
    struct bench *bench = *state;
    size_t len = 400 * 1024; /* several pieces */
    char *large = malloc(len);
    assert_non_null(large);
    for (size_t i = 0; i < len; i++)
        large[i] = (char)(i * 7 >> 3);
    add_bytes(bench, "cpu", "api", large, len);
    add_bytes(bench, "trace", "", "a trace", 7);
    add_bytes(bench, "other/wall", "", "wall", 4);
    add_bytes(bench, "other/wall", "", "more", 4);
    add(bench, "");
    send_all(bench);
    expect_file(bench, OUT_CPU, large, len);
    expect_file(bench, "out/web/trace/20261122T164640Z-web-1.trace", "a trace", 7);
    expect_file(bench, "out/web/other-wall/20261122T164640Z-web-1.pb.gz", "wall", 4);
    expect_file(bench, "out/web/other-wall/20261122T164640Z-web-1-2.pb.gz", "more", 4);
    expect_file(bench, "out/web/heap/20261122T164640Z-web-1.pb.gz", "", 0);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_STORED] = 5});
    assert_int_equal(5, bench->settled_count);
    assert_int_equal(0, bench->request_count);
    expect_account(bench);
    /* written, and the agent killed before it could forget it: the same bytes come again */
    add_bytes(bench, "cpu", "api", large, len);
    send_all(bench);
    free(large);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_STORED] = 5, [DELIVERY_FOUND] = 1});
}

static void a_directory_that_cannot_be_written_loses_nothing(void **state)
{
    struct bench *bench = *state;
    write_file(bench, "out", "a file in its place");
    add_bytes(bench, "cpu", "api", "one", 3);
    add_bytes(bench, "cpu", "api", "two", 3);
    push_kick(bench->push);
    assert_true(run(bench, has_failed_five_times, PATIENCE_MS));
    assert_false(run(bench, never, 100));
    expect_contains("words", push_get_stats(bench->push)->last_error, bench->dir);
    expect_contains("words", push_get_stats(bench->push)->last_error, "Not a directory");
    assert_int_equal(result_count(bench, DELIVERY_WRITE), push_get_stats(bench->push)->failures);
    assert_int_equal(2, spool_get_stats(bench->spool)->items);
    expect_account(bench);
    assert_int_equal(0, unlink(bench->output_dir));
    send_all(bench);
    expect_file(bench, OUT_CPU, "one", 3);
    assert_int_equal(0, push_get_stats(bench->push)->failures);
    assert_int_equal(2, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, dropped_count(bench));
}

static void files_are_labelled_too_but_traces_are_not(void **state)
{
    struct bench *bench = *state;
    char *bytes = NULL;
    size_t len = 0;
    bench->push = push_free(bench->push);
    bench->options.outgoing.sample_labels = true;
    bench_start(bench);
    assert_int_equal(0, file_read(FIXTURES "/pprof/ok/go1.24-cpu.pb.gz", 8 << 20, &bytes, &len, NULL));
    add_bytes(bench, "cpu", "api", bytes, len);
    add_bytes(bench, "trace", "", bytes, len);
    send_all(bench);
    expect_file(bench, "out/web/trace/20261122T164640Z-web-1.trace", bytes, len);
    char path[256], *labelled = NULL;
    size_t labelled_len = 0;
    snprintf(path, sizeof(path), "%s/" OUT_CPU, bench->dir);
    assert_int_equal(0, file_read(path, 8 << 20, &labelled, &labelled_len, NULL));
    assert_true(labelled_len != len || memcmp(labelled, bytes, len) != 0);
    assert_int_equal('\x1f', labelled[0]);
    free(labelled);
    free(bytes);
    for (unsigned r = 0; r < RELABEL_RESULT_COUNT; r++)
        assert_int_equal(0, push_get_stats(bench->push)->unlabelled[r]);
}

/* A collector would refuse it: here nobody else looks. */
static void a_profile_with_ids_that_readers_refuse_is_dropped(void **state)
{
    struct bench *bench = *state;
    add_fixture(bench, "cpu", FIXTURES "/pprof/ids/odd-location-missing.pb");
    add_fixture(bench, "heap", FIXTURES "/pprof/ok/odd-ids-far.pb");
    add_fixture(bench, "trace", FIXTURES "/pprof/ids/odd-location-missing.pb");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_once, PATIENCE_MS));
    expect_contains("words", push_get_stats(bench->push)->last_error,
                    "readers refuse it: a sample refers to id 7, which none of the locations has");
    send_all(bench);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_REFUSED] = 1, [DELIVERY_STORED] = 2});
    assert_int_equal(1, push_get_stats(bench->push)->dropped[PUSH_DROP_REFUSED]);
    assert_int_equal(1, push_get_stats(bench->push)->unchecked);
    expect_account(bench);
}

/* It is written all the same, and counted: the check itself, and a page for each of five sets, or what zlib wants. */
static void a_file_that_cannot_be_checked_for_want_of_memory_is_written(void **state)
{
    struct bench *bench = *state;
    bool failed = true;
    for (unsigned n = 0; failed && n < 100; n++) {
        add_fixture(bench, "cpu", FIXTURES "/pprof/ok/odd-no-time.pb");
        alloc_fail_arm(n, /* for_ever= */ false);
        send_all(bench);
        failed = alloc_fail_disarm();
    }
    assert_false(failed);
    assert_int_equal(0, dropped_count(bench));
    assert_in_range(push_get_stats(bench->push)->unchecked, 6, 20);
}

static void a_file_is_given_up_when_its_profile_is_evicted(void **state)
{
    struct bench *bench = *state;
    size_t len = 1024 * 1024;
    char *large = calloc(1, len);
    assert_non_null(large);
    add_bytes(bench, "cpu", "api", large, len);
    free(large);
    push_kick(bench->push);
    while (spool_get_stats(bench->spool)->held_lost == 0) {
        run(bench, never, 0); /* until it is under way */
        spool_expire(bench->spool, INT64_MAX);
    }
    send_all(bench);
    expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_GONE] = 1});
    assert_int_equal(1, bench->settled_count);
    assert_false(bench->settled_stored[0]);
    expect_account(bench);
}

/* ---- labels in samples ---- */

static int labelled_setup(void **state)
{
    struct bench *bench = bench_new(SPOOL_BUDGET_DEFAULT);
    bench->options.outgoing.sample_labels = true;
    bench_start(bench);
    *state = bench;
    return 0;
}

/* Either proxy costs no profile, no wait and one try; from then on bodies have a length. */
static void bodies_have_a_length_where_others_do_not_get_through(void **state)
{
    struct bench *bench = *state;
    static const struct answer answers[] = {
        {ANSWER, "HTTP/1.1 411 Length Required\r\n" CLOSES "<html>length required</html>"},
        {ANSWER, "HTTP/1.1 501 Not Implemented\r\n" CLOSES "unsupported transfer encoding"},
        {ANSWER, "HTTP/1.1 400 Bad Request\r\n" CLOSES "<html>bad request</html>"},
        {ANSWER, "HTTP/1.1 400 Bad Request\r\n" CLOSES
                 "{\"code\":400,\"error\":\"malformed profile (could not parse pprof profile: "
                 "parsing profile: empty input file)\"}\n"},
    };
    for (unsigned i = 0; i < COUNT_OF(answers); i++) {
        bench->push = push_free(bench->push);
        bench->request_count = 0;
        bench_start(bench);
        script(bench, &answers[i], 1);
        add_fixture(bench, "heap", FIXTURES "/pprof/ok/go1.24-heap.pb.gz");
        add_fixture(bench, "cpu", FIXTURES "/pprof/ok/go1.24-cpu.pb.gz");
        send_all(bench);
        expect_results(bench, (uint64_t[DELIVERY_RESULT_COUNT]){[DELIVERY_NO_LENGTH] = 1, [DELIVERY_STORED] = 2});
        assert_int_equal(3, bench->request_count);
        expect_contains("first", bench->requests[0].head, "\r\nTransfer-Encoding: chunked\r\n");
        for (unsigned k = 1; k < 3; k++) {
            expect_contains("next", bench->requests[k].head, "\r\nContent-Length: ");
            assert_null(strcasestr(bench->requests[k].head, "chunked"));
        }
        assert_int_equal(bench->requests[0].body_len, bench->requests[1].body_len);
        assert_int_equal(0, push_get_stats(bench->push)->failures);
        assert_int_equal(0, dropped_count(bench));
    }
}

/* With a length there is no other way to try: kept, and said. */
static void a_body_that_is_lost_on_the_way_in_spite_of_its_length_is_kept(void **state)
{
    struct bench *bench = *state;
    const struct answer answer = {ANSWER, "HTTP/1.1 400 Bad Request\r\n" CLOSES
                                          "{\"code\":400,\"error\":\"empty input file\"}\n"};
    bench->otherwise = answer;
    add_fixture(bench, "heap", FIXTURES "/pprof/ok/go1.24-heap.pb.gz");
    push_kick(bench->push);
    assert_true(run(bench, has_failed_three_times, PATIENCE_MS));
    expect_contains("words", push_get_stats(bench->push)->last_error, "the body was lost on its way to the collector");
    assert_int_equal(3, result_count(bench, DELIVERY_WRONG));
    assert_int_equal(0, dropped_count(bench));
    bench->otherwise = (struct answer){ANSWER, STORED};
    send_all(bench);
}

static void a_time_that_is_far_off_is_replaced_without_labels_too(void **state)
{
    struct bench *bench = *state;
    add_fixture(bench, "cpu", FIXTURES "/pprof/ok/foreign-time-in-us.pb");
    add_fixture(bench, "heap", FIXTURES "/pprof/ok/odd-no-time.pb");
    send_all(bench);
    expect_contains("first", bench->requests[0].head, "\r\nTransfer-Encoding: chunked\r\n");
    expect_contains("second", bench->requests[1].head, "\r\nContent-Length: ");
    assert_int_equal(1, push_get_stats(bench->push)->times_replaced);
    assert_int_equal(2, result_count(bench, DELIVERY_STORED));
}

static void labelled_profile_goes_in_chunks(void **state)
{
    struct bench *bench = *state;
    size_t len = add_fixture(bench, "heap", FIXTURES "/pprof/ok/go1.24-heap.pb.gz");
    send_all(bench);
    expect_contains("head", bench->requests[0].head, "\r\nTransfer-Encoding: chunked\r\n");
    assert_null(strcasestr(bench->requests[0].head, "\r\nExpect:"));
    assert_true(bench->requests[0].body_len > 1000);
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
    assert_int_equal(len, push_get_stats(bench->push)->stored_bytes);
    for (unsigned r = 0; r < RELABEL_RESULT_COUNT; r++)
        assert_int_equal(0, push_get_stats(bench->push)->unlabelled[r]);
}

static void what_cannot_be_labelled_goes_as_it_came(void **state)
{
    struct bench *bench = *state;
    add(bench, "no profile");
    send_all(bench);
    expect_bodies(bench, "no profile");
    assert_int_equal(1, push_get_stats(bench->push)->unlabelled[RELABEL_NOT_A_PROFILE]);
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
}

static void labelled_profile_is_tried_again_whole(void **state)
{
    struct bench *bench = *state;
    char *bytes = NULL;
    size_t len = 0;
    bench->answers[0] = (struct answer){ANSWER, FAILED};
    bench->answers[1] = (struct answer){CLOSE_AT_END, NULL};
    bench->answer_count = 2;
    assert_int_equal(0, file_read(FIXTURES "/pprof/ok/go1.24-cpu.pb.gz", 8 << 20, &bytes, &len, NULL));
    add_bytes(bench, "cpu", "", bytes, len);
    free(bytes);
    send_all(bench);
    assert_int_equal(3, bench->request_count);
    for (unsigned i = 1; i < 3; i++) {
        assert_int_equal(bench->requests[0].body_len, bench->requests[i].body_len);
        assert_memory_equal(bench->requests[0].body, bench->requests[i].body, sizeof(bench->requests[0].body));
    }
}

static void labelled_profile_evicted_before_it_is_read_is_given_up(void **state)
{
    struct bench *bench = *state;
    uint64_t id = add(bench, "one");
    push_kick(bench->push);
    /* sent from the loop: nothing is read yet */
    assert_int_equal(0, spool_remove(bench->spool, id));
    add(bench, "two");
    send_all(bench);
    expect_bodies(bench, "two");
}

/* ---- without memory ---- */

static int new_attempt(void *ctx)
{
    struct bench *bench = ctx;
    struct push *push = NULL;
    struct err err = {0};
    int rc = make_push(bench, &push, &err);
    if (rc < 0) {
        assert_int_equal(-ENOMEM, rc);
        assert_null(push);
        assert_non_null(strstr(err.text, "no memory"));
    }
    push_free(push);
    return rc;
}

/* The first allocation is what looks at its time: it goes with the one that it has, and that is counted. */
static void a_time_that_cannot_be_looked_at_for_want_of_memory_is_counted(void **state)
{
    struct bench *bench = *state;
    size_t len = add_fixture(bench, "cpu", FIXTURES "/pprof/ok/foreign-time-in-us.pb");
    alloc_fail_arm(0, /* for_ever= */ false);
    send_all(bench);
    assert_true(alloc_fail_disarm());
    assert_int_equal(len, bench->requests[0].body_len);
    assert_int_equal(0, push_get_stats(bench->push)->times_replaced);
    assert_int_equal(1, push_get_stats(bench->push)->unlabelled[RELABEL_NO_MEMORY]);
    assert_int_equal(1, result_count(bench, DELIVERY_STORED));
}

/* An allocation of ours that fails while a profile is sent: it is tried again, and arrives. */
static int send_attempt(void *ctx)
{
    struct bench *bench = ctx;
    bench->request_count = 0;
    bench->settled_count = 0;
    uint64_t stored = result_count(bench, DELIVERY_STORED);
    alloc_fail_pause();
    add(bench, "one");
    alloc_fail_resume();
    push_kick(bench->push);
    bool in_time = run(bench, is_idle, PATIENCE_MS);
    alloc_fail_pause();
    if (!in_time)
        fail_msg("not sent: %s", push_get_stats(bench->push)->last_error);
    assert_int_equal(stored + 1, result_count(bench, DELIVERY_STORED));
    assert_int_equal(0, dropped_count(bench));
    assert_int_equal(1, bench->settled_count);
    assert_true(bench->settled_stored[0]);
    alloc_fail_resume();
    return ALLOC_FAIL_SHED;
}

static void without_memory_there_is_no_pusher(void **state)
{
    struct bench *bench = *state;
    alloc_fail_in_turn_exactly(2, "push_new", new_attempt, bench);
}

static void memory_short_for_a_moment_loses_no_profile(void **state)
{
    struct bench *bench = *state;
    unsigned n = 0;
    bool failed = true;
    send_attempt(bench); /* makes what stays */
    for (; failed && n < 2000; n++) {
        alloc_fail_arm(n, /* for_ever= */ false);
        send_attempt(bench);
        failed = alloc_fail_disarm();
    }
    assert_in_range(n, 3, 1999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(profile_is_posted_with_its_identity_and_leaves_the_spool, setup, teardown),
        cmocka_unit_test_setup_teardown(profiles_go_oldest_first_and_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_spool_gives_way_to_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_spool_gives_way_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_send_is_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_profile_is_posted_like_any, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_profile_arrives_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_profile_is_dropped_and_the_next_goes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_count_as_failures_until_one_is_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_is_dropped_whoever_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_tried_again_until_it_is_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(while_it_fails_the_stats_say_since_when_and_why, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_collector_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_collector_is_told_in_words, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_reply_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_reply_is_unsure_and_sent_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reply_broken_off_after_a_500_is_still_a_500, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_body_is_a_network_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_collector_that_hangs_times_out, setup, teardown),
        cmocka_unit_test_setup_teardown(collector_down_then_up_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(retry_after_is_kept_to, setup, teardown),
        cmocka_unit_test_setup_teardown(push_now_does_not_wait_and_begins_anew_with_short_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(profile_that_fails_while_the_next_passes_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(profile_that_kills_the_server_is_dropped_too, setup, teardown),
        cmocka_unit_test_setup_teardown(profile_that_breaks_its_upload_is_dropped_too, setup, teardown),
        cmocka_unit_test_setup_teardown(two_bad_profiles_are_both_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_fails_on_all_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lone_profile_is_tried_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(profile_that_only_met_an_outage_gets_its_last_try, setup, teardown),
        cmocka_unit_test_setup_teardown(network_failures_blame_no_profile, setup, teardown),
        cmocka_unit_test_setup_teardown(profile_evicted_while_it_is_sent_is_given_up, small_setup, teardown),
        cmocka_unit_test_setup_teardown(profile_evicted_after_its_last_byte_counts_as_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(old_profiles_expire_unsent, setup, teardown),
        cmocka_unit_test_setup_teardown(free_cancels_whatever_is_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(what_may_be_stored_is_asked_for_and_not_sent_twice, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_found_is_sent_again, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_answer_it_is_sent_again, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(a_find_counts_also_in_a_list_that_breaks_off, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_asked_for_once_a_failure, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(a_question_that_did_not_get_through_is_asked_again, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(each_type_goes_under_profefes_name_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(settled_is_called_for_what_is_lost_in_the_queue, small_setup, teardown),
        cmocka_unit_test_setup_teardown(every_profile_ends_in_one_counted_way, small_setup, teardown),
        cmocka_unit_test_setup_teardown(credentials_are_looked_at_before_each_try, setup, teardown),
        cmocka_unit_test_setup_teardown(a_question_without_credentials_is_asked_later, pod_setup, teardown),
        cmocka_unit_test_setup_teardown(profiles_become_files, profile_dir_setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_cannot_be_written_loses_nothing, profile_dir_setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_labelled_too_but_traces_are_not, profile_dir_setup, teardown),
        cmocka_unit_test_setup_teardown(a_profile_with_ids_that_readers_refuse_is_dropped, profile_dir_setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_checked_for_want_of_memory_is_written, profile_dir_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_is_given_up_when_its_profile_is_evicted, profile_dir_setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_have_a_length_where_others_do_not_get_through, labelled_setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_is_lost_on_the_way_in_spite_of_its_length_is_kept, labelled_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_time_that_is_far_off_is_replaced_without_labels_too, setup, teardown),
        cmocka_unit_test_setup_teardown(labelled_profile_goes_in_chunks, labelled_setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_labelled_goes_as_it_came, labelled_setup, teardown),
        cmocka_unit_test_setup_teardown(labelled_profile_is_tried_again_whole, labelled_setup, teardown),
        cmocka_unit_test_setup_teardown(labelled_profile_evicted_before_it_is_read_is_given_up, labelled_setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_pusher, setup, teardown),
        cmocka_unit_test_setup_teardown(a_time_that_cannot_be_looked_at_for_want_of_memory_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_short_for_a_moment_loses_no_profile, setup, teardown),
    };
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    /* First, so that libcurl takes its memory past our wraps: 7.88.1 divides by zero when one of its own fails. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
