/* wrap: curl_version_info malloc calloc realloc strdup */
/* The HTTPS half of the client: who is believed, what is shown, which connections are used again. */
#include "common/httpc.h"

#include "common/credentials.h"
#include "tls_peer.h"
#include "unit.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

enum {
    SHORT_MS = 300, /* of what is meant to run into its timeout */
    LONG_MS = PEER_PATIENCE_S * 1000,
};

static struct loop *loop;
static struct httpc *httpc;
static char dir[64];
static struct tls_peer *server;
static struct peer_pem ca, other_ca, server_pem, client_pem;
static char ca_file[128]; /* in dir, with ca */

/* ---- the machine's CAs, hidden where a test wants it ---- */

static bool without_system_cas;

curl_version_info_data *__real_curl_version_info(CURLversion version);
curl_version_info_data *__wrap_curl_version_info(CURLversion version);

curl_version_info_data *__wrap_curl_version_info(CURLversion version)
{
    static curl_version_info_data copy;
    copy = *__real_curl_version_info(version);
    if (without_system_cas) {
        copy.cainfo = "/nowhere/ca-certificates.crt";
        copy.capath = NULL;
    }
    return &copy;
}

/* ---- files ---- */

static const char *path_of(const char *name)
{
    static char paths[16][256];
    static unsigned next;
    char *path = paths[next++ % COUNT_OF(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static const char *put(const char *name, const char *bytes, size_t len)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* ---- set-up ---- */

static int make_certificates(void **state)
{
    (void)state;
    tls_peer_make(&ca, &(struct tls_peer_cert){.is_ca = true});
    tls_peer_make(&other_ca, &(struct tls_peer_cert){.is_ca = true});
    tls_peer_make(&server_pem, &(struct tls_peer_cert){.issuer = &ca, .dns = "localhost", .loopback = true});
    tls_peer_make(&client_pem, &(struct tls_peer_cert){.issuer = &ca});
    return 0;
}

static int setup(void **state)
{
    (void)state;
    without_system_cas = false;
    snprintf(dir, sizeof(dir), "/tmp/test_httpc_tls.XXXXXX");
    if (mkdtemp(dir) == NULL || loop_new(&loop, NULL) < 0 || httpc_new(loop, &httpc, NULL) < 0)
        return -1;
    snprintf(ca_file, sizeof(ca_file), "%s", put("trusted.crt", ca.cert, ca.cert_len));
    server = calloc(1, sizeof(*server));
    server->pem = &server_pem;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    httpc = httpc_free(httpc);
    loop = loop_free(loop);
    free(server);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- transfers ---- */

struct outcome {
    bool done;
    struct httpc_result result;
};

static void on_done(void *ctx, const struct httpc_result *result)
{
    struct outcome *outcome = ctx;
    outcome->done = true;
    outcome->result = *result;
    loop_stop(loop);
}

static void stop_loop(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

static struct httpc_request request_for(const char *host, const struct httpc_tls *tls)
{
    static char url[128];
    snprintf(url, sizeof(url), "https://%s:%u/x", host, server->port);
    return (struct httpc_request){
        .url = url,
        .method = "GET",
        .tls = tls,
        .connect_timeout_ms = LONG_MS,
        .timeout_ms = LONG_MS,
        .done = on_done,
    };
}

static void wait_for(struct outcome *outcome)
{
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, stop_loop, NULL);
    loop_timer_arm(&timer, LONG_MS + 2000);
    assert_int_equal(loop_run(loop, NULL), 0);
    loop_timer_disarm(&timer);
    assert_true(outcome->done);
}

static struct httpc_result fetch(struct httpc_request *request)
{
    struct outcome outcome = {.done = false};
    struct httpc_transfer *transfer = NULL;
    struct err err = err_untouched;
    request->done_ctx = &outcome;
    expect_success("start", httpc_start(httpc, request, &transfer, &err), &err);
    wait_for(&outcome);
    return outcome.result;
}

static struct httpc_result get(const char *host, const struct httpc_tls *tls)
{
    struct httpc_request request = request_for(host, tls);
    return fetch(&request);
}

static void expect_ok(const char *row, const struct httpc_result *result)
{
    if (result->end != HTTPC_OK || result->status != 200)
        fail_msg("%s: expected ok, got %s, status %u: %s", row, httpc_end_names[result->end], result->status, result->text);
}

static void expect_end(const char *row, enum httpc_end end, const char *words, const struct httpc_result *result)
{
    expect_text(row, httpc_end_names[end], httpc_end_names[result->end]);
    expect_contains(row, result->text, words);
}

static void stop_server(void)
{
    httpc = httpc_free(httpc); /* closes what it has kept */
    tls_peer_stop(server);
    assert_int_equal(httpc_new(loop, &httpc, NULL), 0);
}

/* ---- kept connections ---- */

static void wait_until_open(unsigned connections)
{
    int64_t end_ms = peer_now_ms() + LONG_MS;
    while (server->open != connections && peer_now_ms() < end_ms)
        peer_sleep_ms(2);
    assert_int_equal(server->open, connections);
}

static void kept_connection_is_used_again(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    tls_peer_start(server);
    for (unsigned i = 0; i < 5; i++) {
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("get", &result);
        assert_string_equal(result.reply, "ok");
    }
    stop_server();
    assert_int_equal(server->handshakes, 1);
    assert_int_equal(server->requests, 5);
}

static void other_generation_has_its_own_connection(void **state)
{
    (void)state;
    struct httpc_tls tls = {.ca_file = ca_file};
    tls_peer_start(server);
    for (tls.generation = 1; tls.generation <= 20; tls.generation++) {
        for (unsigned i = 0; i < 3; i++) {
            struct httpc_result result = get("127.0.0.1", &tls);
            expect_ok("get", &result);
        }
    }
    stop_server();
    assert_true(server->handshakes >= 20);
    assert_int_equal(server->requests, 60);
}

static void talk_slowly(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    (void)fd;
    while (tls_peer_read(peer, session)) {
        peer_sleep_ms(SHORT_MS);
        if (gnutls_record_send(session, reply, sizeof(reply) - 1) <= 0)
            return;
    }
}

static void run_until_server_reads(void)
{
    while (server->requests == 0) {
        struct loop_timer timer = {.armed = false};
        loop_timer_init(&timer, loop, stop_loop, NULL);
        loop_timer_arm(&timer, 5);
        assert_int_equal(loop_run(loop, NULL), 0);
    }
}

static void begin(struct outcome *outcome, const struct httpc_tls *tls)
{
    struct httpc_transfer *transfer = NULL;
    struct httpc_request request = request_for("127.0.0.1", tls);
    request.done_ctx = outcome;
    assert_int_equal(httpc_start(httpc, &request, &transfer, NULL), 0);
}

/* It gets its reply, and then its connection goes too. */
static void transfer_under_way_survives_a_new_generation(void **state)
{
    (void)state;
    const struct httpc_tls older = {.ca_file = ca_file, .generation = 1}, newer = {.ca_file = ca_file, .generation = 2};
    struct outcome first = {.done = false}, second = {.done = false};
    server->talk = talk_slowly;
    tls_peer_start(server);
    begin(&first, &older);
    run_until_server_reads();
    begin(&second, &newer);
    wait_for(&first);
    expect_ok("older", &first.result);
    wait_for(&second);
    expect_ok("newer", &second.result);
    wait_until_open(1);
    struct httpc_result result = get("127.0.0.1", &newer);
    expect_ok("newer again", &result);
    stop_server();
    assert_true(server->handshakes >= 2);
}

static void talk_once(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    (void)fd;
    if (tls_peer_read(peer, session))
        gnutls_record_send(session, reply, sizeof(reply) - 1);
}

static void connection_that_the_server_closed_is_opened_anew(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    server->talk = talk_once;
    tls_peer_start(server);
    for (unsigned i = 0; i < 4; i++) {
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("get", &result);
    }
    stop_server();
    assert_int_equal(server->handshakes, 4);
}

/* ---- whom the client believes ---- */

static void server_must_be_who_it_says(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        const struct peer_pem *issuer;
        struct tls_peer_cert cert;
        const char *host;
        enum httpc_end end;
        const char *words;
    } rows[] = {
        {"name", &ca, {.dns = "localhost"}, "localhost", HTTPC_OK, ""},
        {"address", &ca, {.loopback = true}, "127.0.0.1", HTTPC_OK, ""},
        {"other name", &ca, {.dns = "collector.example"}, "localhost", HTTPC_TLS, "does not match"},
        {"name for an address", &ca, {.dns = "localhost"}, "127.0.0.1", HTTPC_TLS, "does not match"},
        {"address for a name", &ca, {.loopback = true}, "localhost", HTTPC_TLS, "does not match"},
        {"nobody", &ca, {.dns = NULL}, "localhost", HTTPC_TLS, "does not match"},
        {"expired", &ca, {.dns = "localhost", .expired = true}, "localhost", HTTPC_TLS, "verification failed"},
        {"unknown CA", &other_ca, {.dns = "localhost"}, "localhost", HTTPC_TLS, "verification failed"},
        {"itself", NULL, {.dns = "localhost"}, "localhost", HTTPC_TLS, "verification failed"},
    };
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        struct peer_pem pem;
        struct tls_peer_cert cert = row->cert;
        cert.issuer = row->issuer;
        tls_peer_make(&pem, &cert);
        server->pem = &pem;
        server->requests = 0;
        tls_peer_start(server);
        struct httpc_result result = get(row->host, &tls);
        stop_server();
        expect_end(row->name, row->end, row->words, &result);
        expect_number(row->name, row->end == HTTPC_OK, server->requests);
    }
}

static void bad_ca_files_are_named(void **state)
{
    (void)state;
    const char *files[] = {path_of("absent"), put("empty", "", 0), put("text", "hello", 5)};
    tls_peer_start(server);
    for (unsigned i = 0; i < COUNT_OF(files); i++) {
        const struct httpc_tls tls = {.ca_file = files[i], .generation = 1};
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_end(files[i], HTTPC_TLS, "CA", &result);
    }
    stop_server();
    assert_int_equal(server->requests, 0);
}

static void without_any_ca_it_says_what_to_do(void **state)
{
    (void)state;
    const struct httpc_tls none = {.generation = 1};
    tls_peer_start(server);
    struct httpc_result result = get("127.0.0.1", &none);
    expect_end("the system's", HTTPC_TLS, "verification failed", &result);
    without_system_cas = true;
    result = get("127.0.0.1", &none);
    expect_end("none", HTTPC_TLS, "https without CA certificates: expected ca.crt in secret-dir, or the system's in "
               "/nowhere/ca-certificates.crt", &result);
    result = get("127.0.0.1", NULL);
    expect_end("nothing said", HTTPC_TLS, "expected ca.crt in secret-dir", &result);
    const struct httpc_tls own = {.ca_file = ca_file, .generation = 2};
    result = get("127.0.0.1", &own);
    expect_ok("own", &result);
    stop_server();
    assert_int_equal(server->requests, 1);
}

static void old_tls_is_refused(void **state)
{
    (void)state;
    static const struct row {
        const char *priorities;
        enum httpc_end end;
    } rows[] = {
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3", HTTPC_OK},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2", HTTPC_OK},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.1", HTTPC_TLS},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.0", HTTPC_TLS},
    };
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        server->priorities = row->priorities;
        tls_peer_start(server);
        struct httpc_result result = get("127.0.0.1", &tls);
        stop_server();
        expect_end(row->priorities, row->end, "", &result);
        assert_int_equal(result.text[0] == '\0', row->end == HTTPC_OK);
    }
}

/* ---- what the client shows ---- */

static void client_certificate_is_shown_and_its_refusal_named(void **state)
{
    (void)state;
    static struct peer_pem expired, unknown;
    static const struct row {
        const char *name;
        const struct peer_pem *pem;
        enum httpc_end end;
        const char *words;
    } rows[] = {
        {"good", &client_pem, HTTPC_OK, ""},
        {"none", NULL, HTTPC_TLS, "ertificate"},
        {"expired", &expired, HTTPC_TLS, "ertificate"},
        {"unknown", &unknown, HTTPC_TLS, "ertificate"},
    };
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    tls_peer_make(&expired, &(struct tls_peer_cert){.issuer = &ca, .expired = true});
    tls_peer_make(&unknown, &(struct tls_peer_cert){.issuer = &other_ca});
    server->clients_ca = &ca;
    for (unsigned i = 0; i < 2 * COUNT_OF(rows); i++) {
        const struct row *row = &rows[i / 2];
        struct httpc_tls tls = {.ca_file = ca_file, .generation = i};
        if (row->pem != NULL) {
            tls.cert_file = put("tls.crt", row->pem->cert, row->pem->cert_len);
            tls.key_file = put("tls.key", row->pem->key, row->pem->key_len);
        }
        server->priorities = versions[i % 2];
        tls_peer_start(server);
        struct httpc_result result = get("127.0.0.1", &tls);
        stop_server();
        expect_end(row->name, row->end, row->words, &result);
    }
}

static void bad_client_files_are_named(void **state)
{
    (void)state;
    const struct httpc_tls tls = {
        .ca_file = ca_file,
        .cert_file = put("tls.crt", client_pem.cert, client_pem.cert_len),
        .key_file = put("tls.key", server_pem.key, server_pem.key_len),
    };
    tls_peer_start(server);
    struct httpc_result result = get("127.0.0.1", &tls);
    expect_end("key of another", HTTPC_TLS, "key", &result);
    put("tls.key", "hello", 5);
    result = get("127.0.0.1", &tls);
    expect_end("not a key", HTTPC_TLS, "", &result);
    stop_server();
    assert_int_equal(server->requests, 0);
}

static void authorization_is_sent_and_never_told(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    char *long_one = calloc(1, HTTPC_AUTHORIZATION_MAX + 2);
    struct httpc_transfer *transfer = NULL;
    struct err err = err_untouched;
    memset(long_one, 't', HTTPC_AUTHORIZATION_MAX);
    tls_peer_start(server);
    struct httpc_request request = request_for("127.0.0.1", &tls);
    struct httpc_result result = fetch(&request);
    expect_ok("none", &result);
    assert_null(strcasestr(server->request, "authorization"));
    request.authorization = "Bearer s3cret";
    result = fetch(&request);
    expect_ok("token", &result);
    assert_non_null(strstr(server->request, "\r\nAuthorization: Bearer s3cret\r\n"));
    request.authorization = "Basic bmV3";
    result = fetch(&request);
    expect_ok("rotated, over the same connection", &result);
    assert_non_null(strstr(server->request, "\r\nAuthorization: Basic bmV3\r\n"));
    request.authorization = long_one;
    result = fetch(&request);
    expect_ok("long", &result);
    assert_non_null(strstr(server->request, long_one));
    stop_server();
    assert_int_equal(server->handshakes, 1);
    long_one[HTTPC_AUTHORIZATION_MAX] = 't';
    expect_failure("longer", -EINVAL, "8192", httpc_start(httpc, &request, &transfer, &err), &err);
    request.authorization = "Bearer s3cret\r\nX-Evil: 1";
    expect_failure("two lines", -EINVAL, "control character", httpc_start(httpc, &request, &transfer, &err), &err);
    assert_null(strstr(err.text, "s3cret"));
    free(long_one);
}

static void talk_redirect(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    char reply[256];
    (void)fd;
    if (!tls_peer_read(peer, session))
        return;
    int len = snprintf(reply, sizeof(reply), "HTTP/1.1 307 Elsewhere\r\nLocation: https://localhost:%u/\r\n"
                       "Content-Length: 0\r\n\r\n", peer->port);
    gnutls_record_send(session, reply, (size_t)len);
    tls_peer_reply(peer, session, fd);
}

static void authorization_follows_no_redirect(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    server->talk = talk_redirect;
    tls_peer_start(server);
    struct httpc_request request = request_for("127.0.0.1", &tls);
    request.authorization = "Bearer s3cret";
    struct httpc_result result = fetch(&request);
    stop_server();
    assert_int_equal(result.status, 307);
    assert_int_equal(server->requests, 1);
}

/* ---- a Secret that is rotated, as the kubelet does ---- */

/* One generation of the mounted files: DIR/..N/, and ..data -> ..N swapped in one step. */
static void mount_secret(unsigned n, const char *token, const struct peer_pem *trusted, const struct peer_pem *client)
{
    char name[64], link[64];
    snprintf(name, sizeof(name), "..%u", n);
    assert_int_equal(mkdir(path_of(name), 0700), 0);
    snprintf(name, sizeof(name), "..%u/token", n);
    put(name, token, strlen(token));
    snprintf(name, sizeof(name), "..%u/ca.crt", n);
    put(name, trusted->cert, trusted->cert_len);
    snprintf(name, sizeof(name), "..%u/tls.crt", n);
    put(name, client->cert, client->cert_len);
    snprintf(name, sizeof(name), "..%u/tls.key", n);
    put(name, client->key, client->key_len);
    snprintf(link, sizeof(link), "..%u", n);
    assert_int_equal(symlink(link, path_of("..data_tmp")), 0);
    assert_int_equal(rename(path_of("..data_tmp"), path_of("..data")), 0);
}

static void link_secret(void)
{
    static const char *const names[] = {"token", "ca.crt", "tls.crt", "tls.key"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        char target[64];
        snprintf(target, sizeof(target), "..data/%s", names[i]);
        assert_int_equal(symlink(target, path_of(names[i])), 0);
    }
}

static struct httpc_result get_with(struct credentials *credentials)
{
    struct err err = err_untouched;
    expect_success("refresh", credentials_refresh(credentials, &err), &err);
    struct httpc_request request = request_for("localhost", credentials_tls(credentials));
    request.authorization = credentials_authorization(credentials);
    return fetch(&request);
}

static void rotated_secret_works_from_the_next_request_on(void **state)
{
    (void)state;
    static struct peer_pem next_ca, next_server, next_client;
    struct credentials *credentials = NULL;
    tls_peer_make(&next_ca, &(struct tls_peer_cert){.is_ca = true});
    tls_peer_make(&next_server, &(struct tls_peer_cert){.issuer = &next_ca, .dns = "localhost"});
    tls_peer_make(&next_client, &(struct tls_peer_cert){.issuer = &next_ca});
    assert_int_equal(credentials_new(dir, &credentials, NULL), 0);
    server->clients_ca = &ca;
    tls_peer_start(server);
    struct httpc_result result = get_with(credentials);
    expect_end("no Secret yet", HTTPC_TLS, "", &result);

    mount_secret(1, "one", &ca, &client_pem);
    link_secret();
    result = get_with(credentials);
    expect_ok("it appears", &result);
    assert_non_null(strstr(server->request, "Bearer one\r\n"));
    result = get_with(credentials);
    expect_ok("kept", &result);
    assert_int_equal(server->handshakes, 1);

    server->pem = &next_server; /* seen by new connections */
    server->clients_ca = &next_ca;
    result = get_with(credentials);
    expect_ok("the kept connection goes on", &result);
    mount_secret(2, "two", &next_ca, &next_client);
    result = get_with(credentials);
    expect_ok("rotated", &result);
    assert_non_null(strstr(server->request, "Bearer two\r\n"));
    assert_int_equal(server->handshakes, 2);

    mount_secret(3, "three", &ca, &next_client);
    result = get_with(credentials);
    expect_end("wrong CA", HTTPC_TLS, "verification failed", &result);
    stop_server();
    credentials_free(credentials);
}

/* ---- servers that misbehave ---- */

static void silent_accept(void *ctx)
{
    struct tls_peer *peer = ctx;
    int fd = accept(peer->listen_fd, NULL, NULL);
    peer_set_patience(fd);
    peer_drain(fd);
    close(fd);
}

static void hanging_handshake_meets_the_connect_timeout(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    server->listen_fd = peer_listen(&server->port);
    peer_start(&server->peer, silent_accept, server);
    struct httpc_request request = request_for("127.0.0.1", &tls);
    request.connect_timeout_ms = SHORT_MS;
    struct httpc_result result = fetch(&request);
    stop_server();
    expect_end("silence", HTTPC_CONNECT_TIMEOUT, "", &result);
    assert_true(result.elapsed_ms < LONG_MS);
}

static void talk_garbage(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    if (tls_peer_read(peer, session))
        peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and in plain text");
}

static void talk_no_bye(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfew";
    if (tls_peer_read(peer, session))
        gnutls_record_send(session, reply, sizeof(reply) - 1);
    shutdown(fd, SHUT_RDWR);
}

static void talk_nothing(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    (void)fd;
    (void)tls_peer_read(peer, session);
}

static void broken_sessions_are_named(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        void (*talk)(struct tls_peer *, gnutls_session_t, int);
        enum httpc_end end;
    } rows[] = {
        {"plain text inside", talk_garbage, HTTPC_RESET},
        {"cut without a word", talk_no_bye, HTTPC_TRUNCATED},
        {"closed without a reply", talk_nothing, HTTPC_EMPTY},
    };
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        server->talk = row->talk;
        tls_peer_start(server);
        struct httpc_result result = get("127.0.0.1", &tls);
        stop_server();
        expect_end(row->name, row->end, "", &result);
        assert_true(result.text[0] != '\0');
    }
}

static void talk_renegotiate(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    (void)fd;
    if (!tls_peer_read(peer, session))
        return;
    (void)gnutls_rehandshake(session); /* TLS 1.2: HelloRequest, and then silence */
    peer_sleep_ms(2 * SHORT_MS);
}

static void renegotiation_ends_within_the_timeout(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file, .generation = 1};
    server->talk = talk_renegotiate;
    server->priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2";
    tls_peer_start(server);
    struct httpc_request request = request_for("127.0.0.1", &tls);
    request.timeout_ms = SHORT_MS;
    struct httpc_result result = fetch(&request);
    stop_server();
    assert_true(result.end != HTTPC_OK);
}

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static long allocations_left = -1; /* -1 = all pass */
static pthread_t failing_thread;

static bool allocation_fails(void)
{
    return allocations_left >= 0 && pthread_equal(pthread_self(), failing_thread) && allocations_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return allocation_fails() ? NULL : __real_strdup(text);
}

/* One request over a kept connection, and one over a new one after a rotation; the n-th allocation fails. */
static bool try_two(long n, const struct httpc_tls *first, const struct httpc_tls *second)
{
    struct outcome outcome = {.done = false};
    struct httpc_transfer *transfer = NULL;
    struct httpc_request request = request_for("127.0.0.1", first);
    struct httpc_result result = fetch(&request);
    expect_ok("before", &result);
    request = request_for("127.0.0.1", second);
    request.authorization = "Bearer s3cret";
    request.done_ctx = &outcome;
    request.timeout_ms = 1000;
    allocations_left = n;
    int rc = httpc_start(httpc, &request, &transfer, NULL);
    if (rc == 0)
        wait_for(&outcome);
    bool met = allocations_left < 0;
    allocations_left = -1;
    if (!met)
        expect_ok("undisturbed", &outcome.result);
    assert_true(rc == 0 || rc == -ENOMEM);
    result = fetch(&request); /* the next one is as if nothing had been; its outcome is local */
    expect_ok("after", &result);
    return met;
}

static void failed_allocation_costs_one_transfer_at_most(void **state)
{
    (void)state;
    const char *cert_file = put("tls.crt", client_pem.cert, client_pem.cert_len);
    const char *key_file = put("tls.key", client_pem.key, client_pem.key_len);
    failing_thread = pthread_self();
    server->clients_ca = &ca;
    tls_peer_start(server);
    struct httpc_tls first = {ca_file, cert_file, key_file, 0};
    struct httpc_tls second = first;
    long n = 0;
    do {
        first.generation = 2 * (uint64_t)n + 1;
        second.generation = first.generation + (uint64_t)(n % 2);
    } while (try_two(n++ / 2, &first, &second) || n % 2 != 0);
    stop_server();
    assert_true(n > 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kept_connection_is_used_again),
        TEST(other_generation_has_its_own_connection),
        TEST(transfer_under_way_survives_a_new_generation),
        TEST(connection_that_the_server_closed_is_opened_anew),
        TEST(server_must_be_who_it_says),
        TEST(bad_ca_files_are_named),
        TEST(without_any_ca_it_says_what_to_do),
        TEST(old_tls_is_refused),
        TEST(client_certificate_is_shown_and_its_refusal_named),
        TEST(bad_client_files_are_named),
        TEST(authorization_is_sent_and_never_told),
        TEST(authorization_follows_no_redirect),
        TEST(rotated_secret_works_from_the_next_request_on),
        TEST(hanging_handshake_meets_the_connect_timeout),
        TEST(broken_sessions_are_named),
        TEST(renegotiation_ends_within_the_timeout),
        TEST(failed_allocation_costs_one_transfer_at_most),
    };
    return cmocka_run_group_tests(tests, make_certificates, NULL);
}
