/* wrap: curl_version_info curl_easy_setopt malloc calloc realloc strdup */
/* The HTTPS half of the client: who is believed, what is shown, which connections are used again. */
#include "common/http/httpc.h"

#include "alloc_fail_thread.h"
#include "common/http/credentials.h"
#include "tls_peer.h"
#include "unit.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>

enum {
    SHORT_MS = 300, /* of what is meant to run into its timeout */
    SLOW_MS = 100,  /* that a server thinks before it replies */
    LONG_MS = PEER_PATIENCE_S * 1000,
};

static const struct httpc_options client_options = {.transfers_max = 4};
static struct loop *loop;
static struct httpc *httpc;
static char dir[64];
static struct tls_peer *server;
static struct peer_pem ca, other_ca, server_pem, client_pem;
static char ca_file[128]; /* in dir, with ca */

/* ---- the machine's CAs, hidden where a test wants it ---- */

static bool without_system_cas;
static const char *system_bundle, *system_dir; /* in place of the machine's */

curl_version_info_data *__real_curl_version_info(CURLversion version);
curl_version_info_data *__wrap_curl_version_info(CURLversion version);

curl_version_info_data *__wrap_curl_version_info(CURLversion version)
{
    static curl_version_info_data copy;
    copy = *__real_curl_version_info(version);
    if (without_system_cas) {
        copy.cainfo = system_bundle;
        copy.capath = system_dir;
    }
    return &copy;
}

/* ---- a libcurl that was built without this and that ---- */

static CURLcode missing_options; /* CURLE_OK = none, else what it answers */

CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);

/* Longs, offsets and pointers are passed alike on the 64-bit machines that this runs on. */
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    va_list args;
    va_start(args, option);
    void *value = va_arg(args, void *);
    va_end(args);
    bool missing = option == CURLOPT_PROXY || option == CURLOPT_NOPROXY || option == CURLOPT_CAPATH;
    return missing && missing_options != CURLE_OK ? missing_options : __real_curl_easy_setopt(easy, option, value);
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

/* trusted.crt by its n-th name: another one for libcurl. */
static const char *spelled(unsigned n)
{
    char name[128] = "";
    for (unsigned i = 0; i < n; i++)
        memcpy(name + 2 * i, "./", 3);
    snprintf(name + strlen(name), sizeof(name) - strlen(name), "trusted.crt");
    return path_of(name);
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
    missing_options = CURLE_OK;
    snprintf(dir, sizeof(dir), "/tmp/test_httpc_tls.XXXXXX");
    if (mkdtemp(dir) == NULL || loop_new(&loop, NULL) < 0 || httpc_new(loop, &client_options, &httpc, NULL) < 0)
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
    if (server->listen_fd > 0) /* the test has failed before it stopped it */
        tls_peer_stop(server);
    free(server);
    return unit_delete(dir);
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
    while (!outcome->done && timer.armed) /* others end as well */
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
        fail_msg("%s: expected ok, got %s, status %u: %s", row, httpc_end_names[result->end], result->status,
                 result->text);
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
    assert_int_equal(httpc_new(loop, &client_options, &httpc, NULL), 0);
}

/* ---- kept connections ---- */

/* libcurl from 8.10 on waits for the server's goodbye before it closes a connection, and may come to look for it only
 * with the next transfer. */
static unsigned open_max(void)
{
    bool waits = __real_curl_version_info(CURLVERSION_NOW)->version_num >= 0x080a00;
    return waits ? 2 * client_options.transfers_max : client_options.transfers_max;
}

static void wait_until_open_at_most(unsigned connections)
{
    int64_t end_ms = peer_now_ms() + LONG_MS;
    while (server->open > connections && peer_now_ms() < end_ms)
        peer_sleep_ms(2);
    assert_true(server->open <= connections);
}

static void kept_connection_is_used_again(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file};
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

static void other_spelling_of_the_files_has_its_own_connection(void **state)
{
    (void)state;
    enum { KEPT = 4 };
    struct httpc_tls tls = {.ca_file = NULL};
    tls_peer_start(server);
    for (unsigned n = 0; n < 20; n++) {
        tls.ca_file = spelled(n);
        for (unsigned i = 0; i < 3; i++) {
            struct httpc_result result = get("127.0.0.1", &tls);
            expect_ok("get", &result);
        }
    }
    wait_until_open_at_most(open_max());
    for (unsigned n = 20 - KEPT; n < 20; n++) { /* the last ones are still there */
        tls.ca_file = spelled(n);
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("again", &result);
    }
    stop_server();
    assert_int_equal(server->handshakes, 20);
    assert_int_equal(server->requests, 60 + KEPT);
}

static void talk_slowly(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    (void)fd;
    while (tls_peer_read(peer, session)) {
        peer_sleep_ms(SLOW_MS);
        if (gnutls_record_send(session, reply, sizeof(reply) - 1) <= 0)
            return;
    }
}

static void run_until_server_reads(void)
{
    for (unsigned i = 0; server->requests == 0; i++) {
        assert_true(i < LONG_MS / 5);
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

static void transfer_under_way_goes_on_beside_one_with_other_files(void **state)
{
    (void)state;
    const struct httpc_tls older = {.ca_file = ca_file}, newer = {.ca_file = spelled(1)};
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
    struct httpc_result result = get("127.0.0.1", &newer);
    expect_ok("newer again", &result);
    stop_server();
    assert_int_equal(server->handshakes, 2);
    assert_int_equal(server->requests, 3);
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
    const struct httpc_tls tls = {.ca_file = ca_file};
    server->talk = talk_once;
    tls_peer_start(server);
    for (unsigned i = 0; i < 4; i++) {
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("get", &result);
    }
    stop_server();
    assert_int_equal(server->handshakes, 4);
}

/* Ends the reply, not the connection: it waits for the client's end of it, and never says goodbye. */
static void talk_and_linger(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    if (tls_peer_read(peer, session) && gnutls_record_send(session, reply, sizeof(reply) - 1) > 0)
        peer_drain(fd);
}

static void servers_without_goodbye_take_no_room(void **state)
{
    (void)state;
    enum { TRANSFERS = 40 };
    const struct httpc_tls tls = {.ca_file = ca_file};
    server->talk = talk_and_linger;
    tls_peer_start(server);
    for (unsigned i = 0; i < TRANSFERS; i++) {
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("get", &result);
    }
    wait_until_open_at_most(open_max());
    stop_server();
    assert_int_equal(server->handshakes, TRANSFERS);
}

/* ---- whom the client believes ---- */

static void server_must_be_who_it_says(void **state)
{
    static const char server_oid[] = GNUTLS_KP_TLS_WWW_SERVER, client_oid[] = GNUTLS_KP_TLS_WWW_CLIENT;
    static const char any_oid[] = GNUTLS_KP_ANY;
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
        {"other name", &ca, {.dns = "collector.example"}, "localhost", HTTPC_TLS, "is for another name"},
        {"name for an address", &ca, {.dns = "localhost"}, "127.0.0.1", HTTPC_TLS, "is for another name"},
        {"address for a name", &ca, {.loopback = true}, "localhost", HTTPC_TLS, "is for another name"},
        {"nobody", &ca, {.dns = NULL}, "localhost", HTTPC_TLS, "is for another name"},
        {"expired", &ca, {.dns = "localhost", .expired = true}, "localhost", HTTPC_TLS, "has expired"},
        {"early", &ca, {.dns = "localhost", .early = true}, "localhost", HTTPC_TLS, "is not valid yet"},
        {"unknown CA", &other_ca, {.dns = "localhost"}, "localhost", HTTPC_TLS, "not from a CA that is trusted"},
        {"itself", NULL, {.dns = "localhost"}, "localhost", HTTPC_TLS, "not from a CA that is trusted"},
        {"for servers", &ca, {.dns = "localhost", .purpose = server_oid}, "localhost", HTTPC_OK, ""},
        {"for all", &ca, {.dns = "localhost", .purpose = any_oid}, "localhost", HTTPC_OK, ""},
        {"for both", &ca, {.dns = "localhost", .purpose = client_oid, .also = server_oid}, "localhost", HTTPC_OK, ""},
        {"for clients", &ca, {.dns = "localhost", .purpose = client_oid}, "localhost", HTTPC_TLS,
         "not made for a server"},
    };
    const struct httpc_tls tls = {.ca_file = ca_file};
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

/* A server for whom nothing is verified is not asked for its purpose either. */
static void without_verification_any_certificate_is_good(void **state)
{
    (void)state;
    struct peer_pem pem;
    tls_peer_make(&pem, &(struct tls_peer_cert){.purpose = GNUTLS_KP_TLS_WWW_CLIENT});
    server->pem = &pem;
    tls_peer_start(server);
    struct httpc_request request = request_for("127.0.0.1", NULL);
    request.insecure = true;
    struct httpc_result result = fetch(&request);
    stop_server();
    expect_ok("for clients", &result);
}

static void bad_ca_files_are_named(void **state)
{
    (void)state;
    const char *files[] = {path_of("absent"), put("empty", "", 0), put("text", "hello", 5)};
    tls_peer_start(server);
    for (unsigned i = 0; i < COUNT_OF(files); i++) {
        const struct httpc_tls tls = {.ca_file = files[i]};
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_end(files[i], HTTPC_TLS, "", &result);
        if (strstr(result.text, "CA") == NULL && strstr(result.text, "ca cert") == NULL)
            fail_msg("%s: expected the CA to be named, got %s", files[i], result.text);
    }
    stop_server();
    assert_int_equal(server->requests, 0);
}

static void the_systems_cas_do_not_know_the_test_server(void **state)
{
    (void)state;
    const struct httpc_tls none = {.ca_file = NULL};
    const curl_version_info_data *curl = __real_curl_version_info(CURLVERSION_NOW);
    if (access(curl->cainfo != NULL ? curl->cainfo : curl->capath != NULL ? curl->capath : "/nowhere", R_OK) != 0)
        return; /* a machine without any: the next test is about those */
    tls_peer_start(server);
    struct httpc_result result = get("127.0.0.1", &none);
    stop_server();
    expect_end("the system's", HTTPC_TLS, "certificate", &result);
    assert_int_equal(server->requests, 0);
}

static void without_any_ca_it_says_what_to_do(void **state)
{
    (void)state;
    const struct httpc_tls none = {.cert_file = path_of("tls.crt"), .key_file = path_of("tls.key")};
    const struct httpc_tls own = {.ca_file = ca_file};
    static const struct row {
        const char *bundle, *dir, *hint, *words;
    } rows[] = {
        {NULL, NULL, "ca.crt in x", "https without CA certificates: expected ca.crt in x"},
        {"/nowhere/ca.crt", NULL, "ca.crt in x", "expected ca.crt in x, or the system's in /nowhere/ca.crt"},
        {NULL, "/nowhere/certs", "ca.crt in x", "expected ca.crt in x, or the system's in /nowhere/certs"},
        {"/nowhere/ca.crt", "/nowhere/certs", "ca.crt in x", "or the system's in /nowhere/ca.crt"},
        {"/nowhere/ca.crt", NULL, NULL, "https without CA certificates: expected the system's in /nowhere/ca.crt"},
        {NULL, NULL, NULL, "https without CA certificates"},
    };
    struct httpc_transfer *transfer = NULL;
    without_system_cas = true;
    tls_peer_start(server);
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        system_bundle = row->bundle;
        system_dir = row->dir;
        struct err err = err_untouched;
        struct httpc_request request = request_for("127.0.0.1", NULL);
        request.ca_hint = row->hint;
        expect_failure(row->words, -ENOENT, row->words, httpc_start(httpc, &request, &transfer, &err), &err);
        request.tls = &none;
        expect_failure(row->words, -ENOENT, row->words, httpc_start(httpc, &request, &transfer, &err), &err);
        struct httpc_result result = get("127.0.0.1", &own);
        expect_ok("own", &result);
        request.tls = NULL;
        request.insecure = true;
        result = fetch(&request);
        expect_ok("insecure", &result);
    }
    stop_server();
    assert_null(transfer);
    assert_int_equal(server->handshakes, 2); /* nothing was tried without CAs */
}

static void libcurl_without_proxies_is_as_good(void **state)
{
    (void)state;
    static const CURLcode answers[] = {CURLE_UNKNOWN_OPTION, CURLE_NOT_BUILT_IN};
    const struct httpc_tls tls = {.ca_file = ca_file};
    struct httpc_transfer *transfer = NULL;
    struct err err = err_untouched;
    tls_peer_start(server);
    for (unsigned i = 0; i < COUNT_OF(answers); i++) {
        missing_options = answers[i];
        struct httpc_result result = get("127.0.0.1", &tls);
        expect_ok("own CA", &result);
        struct httpc_request request = request_for("127.0.0.1", NULL);
        request.insecure = true;
        result = fetch(&request);
        expect_ok("insecure", &result);
    }
    missing_options = CURLE_OUT_OF_MEMORY;
    struct httpc_request request = request_for("127.0.0.1", &tls);
    expect_failure("another answer", -ENOMEM, "", httpc_start(httpc, &request, &transfer, &err), &err);
    stop_server();
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
    const struct httpc_tls tls = {.ca_file = ca_file};
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

static int64_t give_bytes(void *ctx, char *bytes, size_t len)
{
    (void)ctx;
    memset(bytes, 'x', len);
    return (int64_t)len;
}

/* With TLS 1.2 inside the handshake, with TLS 1.3 after it, where the request is on its way already. */
static void expect_verdict(const char *row, const struct httpc_tls *tls, bool upload, enum httpc_end end)
{
    tls_peer_start(server);
    struct httpc_request request = request_for("127.0.0.1", tls);
    if (upload) {
        request.method = "POST";
        request.source = give_bytes;
        request.source_size = 64 * 1024;
    }
    struct httpc_result result = fetch(&request);
    stop_server();
    expect_end(row, end, "", &result);
    if (end != HTTPC_OK && strstr(result.text, "ertificate") == NULL && strstr(result.text, "alert") == NULL)
        fail_msg("%s: expected words about a certificate, got %s", row, result.text);
}

static void client_certificate_is_shown_and_its_refusal_named(void **state)
{
    (void)state;
    static struct peer_pem expired, unknown;
    static const struct row {
        const char *name;
        const struct peer_pem *pem;
        enum httpc_end end;
    } rows[] = {
        {"good", &client_pem, HTTPC_OK},
        {"none", NULL, HTTPC_TLS},
        {"expired", &expired, HTTPC_TLS},
        {"unknown", &unknown, HTTPC_TLS},
    };
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    tls_peer_make(&expired, &(struct tls_peer_cert){.issuer = &ca, .expired = true});
    tls_peer_make(&unknown, &(struct tls_peer_cert){.issuer = &other_ca});
    server->clients_ca = &ca;
    for (unsigned i = 0; i < 4 * COUNT_OF(rows); i++) {
        const struct row *row = &rows[i / 4];
        struct httpc_tls tls = {.ca_file = ca_file};
        if (row->pem != NULL) {
            tls.cert_file = put("tls.crt", row->pem->cert, row->pem->cert_len);
            tls.key_file = put("tls.key", row->pem->key, row->pem->key_len);
        }
        server->priorities = versions[i % 2];
        expect_verdict(row->name, &tls, i % 4 >= 2, row->end);
    }
}

static void bad_client_files_are_refused(void **state)
{
    (void)state;
    const struct httpc_tls tls = {
        .ca_file = ca_file,
        .cert_file = put("tls.crt", client_pem.cert, client_pem.cert_len),
        .key_file = put("tls.key", server_pem.key, server_pem.key_len),
    };
    server->clients_ca = &ca; /* some TLS libraries look at the key only when it is needed */
    tls_peer_start(server);
    struct httpc_result result = get("127.0.0.1", &tls);
    expect_end("key of another", HTTPC_TLS, "", &result);
    assert_true(result.text[0] != '\0');
    put("tls.key", "hello", 5);
    result = get("127.0.0.1", &tls);
    expect_end("not a key", HTTPC_TLS, "", &result);
    assert_true(result.text[0] != '\0');
    stop_server();
    assert_int_equal(server->requests, 0);
}

static void authorization_is_sent_and_never_told(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file};
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
    const struct httpc_tls tls = {.ca_file = ca_file};
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

static struct httpc_request request_with(struct credentials *credentials)
{
    struct err err = err_untouched;
    expect_success("refresh", credentials_refresh(credentials, &err), &err);
    struct httpc_request request = request_for("localhost", credentials_tls(credentials));
    request.authorization = credentials_authorization(credentials);
    return request;
}

static struct httpc_result get_with(struct credentials *credentials)
{
    struct httpc_request request = request_with(credentials);
    return fetch(&request);
}

/* Three requests with the token, after which there were so many connections in all. */
static void expect_served(const char *row, struct credentials *credentials, const char *token, unsigned connections)
{
    for (unsigned i = 0; i < 3; i++) {
        char line[64];
        struct httpc_result result = get_with(credentials);
        expect_ok(row, &result);
        snprintf(line, sizeof(line), "Authorization: Bearer %s\r\n", token);
        expect_contains(row, server->request, line);
        expect_number(row, connections, server->handshakes);
    }
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
    put("ca.crt", ca.cert, ca.cert_len);
    struct httpc_result result = get_with(credentials);
    expect_end("no certificate yet", HTTPC_TLS, "ertificate", &result);
    assert_int_equal(remove(path_of("ca.crt")), 0);

    mount_secret(1, "one", &ca, &client_pem);
    link_secret();
    expect_served("it appears", credentials, "one", 1);
    server->pem = &next_server; /* seen by new connections */
    server->clients_ca = &next_ca;
    expect_served("the kept connection goes on", credentials, "one", 1);
    mount_secret(2, "two", &next_ca, &next_client);
    expect_served("all is new", credentials, "two", 2);
    put("token", "three", 5);
    expect_served("a token, written in place", credentials, "three", 2);
    mount_secret(3, "four", &next_ca, &client_pem);
    result = get_with(credentials);
    expect_end("refused certificate", HTTPC_TLS, "ertificate", &result);
    put("tls.crt", next_client.cert, next_client.cert_len);
    put("tls.key", next_client.key, next_client.key_len);
    expect_served("certificate and key, written in place", credentials, "four", 3);
    char both[sizeof(ca.cert) + sizeof(next_ca.cert)];
    memcpy(both, ca.cert, ca.cert_len);
    memcpy(both + ca.cert_len, next_ca.cert, next_ca.cert_len);
    put("ca.crt", both, ca.cert_len + next_ca.cert_len);
    expect_served("one CA more, written in place", credentials, "four", 4);
    put("ca.crt", ca.cert, ca.cert_len);
    result = get_with(credentials);
    expect_end("wrong CA, written in place", HTTPC_TLS, "not from a CA that is trusted", &result);
    stop_server();
    credentials_free(credentials);
}

/* Swapped after they were looked at and before they are read, and again while the server thinks. */
static void files_that_change_under_way_spare_the_transfer(void **state)
{
    (void)state;
    struct credentials *credentials = NULL;
    struct outcome first = {.done = false}, second = {.done = false};
    struct httpc_transfer *transfer = NULL;
    assert_int_equal(credentials_new(dir, &credentials, NULL), 0);
    server->clients_ca = &ca;
    server->talk = talk_slowly;
    tls_peer_start(server);
    mount_secret(1, "one", &ca, &client_pem);
    link_secret();
    struct httpc_request request = request_with(credentials);
    request.done_ctx = &first;
    assert_int_equal(httpc_start(httpc, &request, &transfer, NULL), 0);
    mount_secret(2, "two", &ca, &client_pem);
    run_until_server_reads();
    mount_secret(3, "three", &ca, &client_pem);
    request = request_with(credentials);
    request.done_ctx = &second;
    assert_int_equal(httpc_start(httpc, &request, &transfer, NULL), 0);
    wait_for(&first);
    expect_ok("first", &first.result);
    wait_for(&second);
    expect_ok("second", &second.result);
    stop_server();
    assert_int_equal(server->handshakes, 2);
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
    const struct httpc_tls tls = {.ca_file = ca_file};
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

static void talk_reset(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (!tls_peer_read(peer, session))
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC}; /* ends the connection by a reset */
    (void)connect(fd, &nobody, sizeof(nobody));
}

static void broken_sessions_are_named(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        void (*talk)(struct tls_peer *, gnutls_session_t, int);
        enum httpc_end end;
    } rows[] = {
        {"plain text inside", talk_garbage, HTTPC_TLS},
        {"reset", talk_reset, HTTPC_RESET},
        {"cut without a word", talk_no_bye, HTTPC_TRUNCATED},
        {"closed without a reply", talk_nothing, HTTPC_EMPTY},
    };
    const struct httpc_tls tls = {.ca_file = ca_file};
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        server->talk = row->talk;
        tls_peer_start(server);
        struct httpc_result result = get("127.0.0.1", &tls);
        stop_server();
        expect_end(row->name, row->end, "", &result);
        assert_true(result.text[0] != '\0');
    }
}

static const char *flood_first, *flood_again;

static void talk_flood(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    (void)fd;
    if (!tls_peer_read(peer, session))
        return;
    gnutls_record_send(session, flood_first, strlen(flood_first));
    while (gnutls_record_send(session, flood_again, strlen(flood_again)) > 0)
        ;
}

/* The ceilings are those of plain connections: test_httpc.c has the long list. */
static void floods_are_cut(void **state)
{
    (void)state;
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const struct row {
        const char *first, *again;
        enum httpc_end end;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n", HTTPC_ENDLESS},
        {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", HTTPC_ENDLESS},
        {CHUNKED "0\r\n", "X-Trailer: and more and more\r\n", HTTPC_ENDLESS},
        {CHUNKED, "20\r\n0123456789abcdef0123456789abcdef\r\n", HTTPC_TOO_BIG},
        {CHUNKED "1;", "and more and more and more and more", HTTPC_ENDLESS},
    };
    const struct httpc_tls tls = {.ca_file = ca_file};
    server->talk = talk_flood;
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        flood_first = row->first;
        flood_again = row->again;
        tls_peer_start(server);
        struct httpc_request request = request_for("127.0.0.1", &tls);
        struct httpc_result result = fetch(&request);
        stop_server();
        expect_end(row->first, row->end, "", &result);
        assert_true(result.received_bytes <= HTTPC_REPLY_MAX);
    }
}

static void talk_renegotiate(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    if (!tls_peer_read(peer, session))
        return;
    (void)gnutls_rehandshake(session); /* TLS 1.2: HelloRequest, and then silence */
    peer_drain(fd);
}

static void renegotiation_ends_within_the_timeout(void **state)
{
    (void)state;
    const struct httpc_tls tls = {.ca_file = ca_file};
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
    char cert_file[128], key_file[128];
    snprintf(cert_file, sizeof(cert_file), "%s", put("tls.crt", client_pem.cert, client_pem.cert_len));
    snprintf(key_file, sizeof(key_file), "%s", put("tls.key", client_pem.key, client_pem.key_len));
    failing_thread = pthread_self();
    server->clients_ca = &ca;
    tls_peer_start(server);
    struct httpc_tls first = {ca_file, cert_file, key_file};
    struct httpc_tls second = first;
    long n = 0;
    do {
        first.ca_file = spelled((unsigned)n % 20); /* not of those that are kept */
        second.ca_file = spelled((unsigned)(n + n % 2) % 20);
    } while (try_two(n++ / 2, &first, &second) || n % 2 != 0);
    stop_server();
    assert_true(n > 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kept_connection_is_used_again),
        TEST(other_spelling_of_the_files_has_its_own_connection),
        TEST(transfer_under_way_goes_on_beside_one_with_other_files),
        TEST(connection_that_the_server_closed_is_opened_anew),
        TEST(servers_without_goodbye_take_no_room),
        TEST(server_must_be_who_it_says),
        TEST(without_verification_any_certificate_is_good),
        TEST(bad_ca_files_are_named),
        TEST(the_systems_cas_do_not_know_the_test_server),
        TEST(without_any_ca_it_says_what_to_do),
        TEST(libcurl_without_proxies_is_as_good),
        TEST(old_tls_is_refused),
        TEST(client_certificate_is_shown_and_its_refusal_named),
        TEST(bad_client_files_are_refused),
        TEST(authorization_is_sent_and_never_told),
        TEST(authorization_follows_no_redirect),
        TEST(rotated_secret_works_from_the_next_request_on),
        TEST(files_that_change_under_way_spare_the_transfer),
        TEST(hanging_handshake_meets_the_connect_timeout),
        TEST(broken_sessions_are_named),
        TEST(floods_are_cut),
        TEST(renegotiation_ends_within_the_timeout),
        TEST(failed_allocation_costs_one_transfer_at_most),
    };
    return cmocka_run_group_tests(tests, make_certificates, NULL);
}
