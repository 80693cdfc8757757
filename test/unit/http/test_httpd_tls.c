/* wrap: sendmsg */
#include "common/http/httpd_tls.h"

#include "common/http/tls_pair.h"
#include "peer.h"
#include "peer_pem.h"
#include "served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* What the server has sent over TLS since a request came to a handler. */
static struct {
    unsigned calls;
    unsigned calls_of_last; /* answer: until the next request */
    size_t max; /* bytes taken at a time from then on; 0 = all */
} sends;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

/* A socket that has room for little is written to again when it has room for more: so soon that the wait for it is
 * there. */
static ssize_t send_little(int fd, const struct msghdr *message, int flags)
{
    const int size = 64 * 1024;
    struct iovec some[16];
    struct msghdr cut = {.msg_iov = some};
    for (size_t left = sends.max; left > 0 && cut.msg_iovlen < message->msg_iovlen; cut.msg_iovlen++) {
        some[cut.msg_iovlen] = message->msg_iov[cut.msg_iovlen];
        if (some[cut.msg_iovlen].iov_len > left)
            some[cut.msg_iovlen].iov_len = left;
        left -= some[cut.msg_iovlen].iov_len;
    }
    ssize_t sent = __real_sendmsg(fd, &cut, flags);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* makes epoll say that there is room */
    return sent;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends.calls++;
    bool little = served_seen.calls > 0 && sends.max > 0;
    return little ? send_little(fd, message, flags) : __real_sendmsg(fd, message, flags);
}

static struct peer_pem pem_one;
static struct peer_pem pem_two;

static const char tls_priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static int set_pair(const struct peer_pem *cert, const struct peer_pem *key, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    int rc = peer_pair(cert, key, &pair, err);
    if (rc == 0)
        httpd_set_pair(served_httpd, pair);
    return rc;
}

static void note_request(void)
{
    sends.calls_of_last = sends.calls;
    sends.calls = 0;
}

static void start_tls(unsigned request_timeout_ms)
{
    struct httpd_options options = served_default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = tls_priorities;
    options.request_timeout_ms = request_timeout_ms;
    served_start_with(&options);
    memset(&sends, 0, sizeof(sends));
    served_on_request = note_request;
}

struct tls_client {
    const char *priorities;
    const struct peer_pem *own; /* certificate to show; NULL = none */
    const char *requests[3];   /* one after the other over one connection; NULL ends */
    const char *until;         /* the end of each answer; NULL = that of /hello */
    bool together;             /* all requests before the first answer, in one packet */
    enum { HOLD_NOTHING, HOLD_HELLO, HOLD_ANSWER } hold; /* where to wait in the handshake until `go` */
    volatile bool waiting;
    volatile bool go;
    int handshake;             /* GnuTLS's code */
    unsigned char serial;      /* of the server's certificate */
    unsigned answered;
    int bye;                   /* code of the last receive */
};

static struct tls_client *holding_client;

static void hold_until_told(int place)
{
    struct tls_client *c = holding_client;
    if ((int)c->hold != place)
        return;
    c->waiting = true;
    while (!c->go)
        peer_sleep_ms(2);
}

static ssize_t push_when_told(gnutls_transport_ptr_t transport, const void *bytes, size_t len)
{
    hold_until_told(HOLD_HELLO);
    return send((int)(intptr_t)transport, bytes, len, MSG_NOSIGNAL);
}

static ssize_t pull_when_told(gnutls_transport_ptr_t transport, void *bytes, size_t len)
{
    hold_until_told(HOLD_ANSWER);
    return recv((int)(intptr_t)transport, bytes, len, 0);
}

static void read_serial(gnutls_session_t session, unsigned char *ret)
{
    unsigned count = 0;
    size_t len = 1;
    gnutls_x509_crt_t cert;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (chain == NULL || gnutls_x509_crt_init(&cert) < 0)
        return;
    if (gnutls_x509_crt_import(cert, chain, GNUTLS_X509_FMT_DER) == 0)
        gnutls_x509_crt_get_serial(cert, ret, &len);
    gnutls_x509_crt_deinit(cert);
}

static bool tls_exchange(struct tls_client *c, gnutls_session_t session, const char *request)
{
    char text[4096];
    size_t len = 0;
    ssize_t n = gnutls_record_send(session, request, strlen(request));
    while (n > 0 && len < sizeof(text) - 1) {
        n = gnutls_record_recv(session, text + len, sizeof(text) - 1 - len);
        c->bye = (int)n;
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        if (strstr(text, c->until != NULL ? c->until : "hello from ctx\n") != NULL)
            return true;
    }
    return false;
}

/* A record each, and how many answers come. */
static unsigned tls_exchange_together(struct tls_client *c, gnutls_session_t session, int fd)
{
    static const char end[] = "hello from ctx\n";
    const int on = 1, off = 0;
    char text[4096] = "";
    size_t len = 0, asked = 0;
    unsigned answers = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    for (; asked < 3 && c->requests[asked] != NULL; asked++)
        gnutls_record_send(session, c->requests[asked], strlen(c->requests[asked]));
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
    while (answers < asked && len < sizeof(text) - 1) {
        ssize_t n = gnutls_record_recv(session, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
        answers = 0;
        for (const char *at = strstr(text, end); at != NULL; at = strstr(at + 1, end))
            answers++;
    }
    return answers;
}

static void show_certificate(gnutls_certificate_credentials_t credentials, const struct peer_pem *own)
{
    gnutls_datum_t cert = {(unsigned char *)(uintptr_t)own->cert, (unsigned)own->cert_len};
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)own->key, (unsigned)own->key_len};
    gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
}

static void play_tls(void *ctx)
{
    struct tls_client *c = ctx;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd = peer_connect(httpd_port(served_httpd));
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&credentials);
    if (c->own != NULL)
        show_certificate(credentials, c->own);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_priority_set_direct(session, c->priorities != NULL ? c->priorities : "NORMAL", NULL);
    gnutls_transport_set_int(session, fd);
    if (c->hold != HOLD_NOTHING) {
        holding_client = c;
        gnutls_transport_set_push_function(session, push_when_told);
        gnutls_transport_set_pull_function(session, pull_when_told);
    }
    do
        c->handshake = gnutls_handshake(session);
    while (c->handshake < 0 && !gnutls_error_is_fatal(c->handshake));
    if (c->handshake == 0) {
        read_serial(session, &c->serial);
        if (c->together)
            c->answered = tls_exchange_together(c, session, fd);
        for (int i = 0; !c->together && i < 3 && c->requests[i] != NULL; i++)
            c->answered += tls_exchange(c, session, c->requests[i]);
        gnutls_bye(session, GNUTLS_SHUT_WR);
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
}

#define TLS_GET "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

static void tls_connection_serves_several_requests(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:+ECDHE-ECDSA"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct tls_client c = {.priorities = versions[i], .requests = {TLS_GET, TLS_GET, TLS_GET}};
        assert_true(peer_play(served_loop, play_tls, &c));
        assert_int_equal(c.handshake, 0);
        assert_int_equal(c.answered, 3);
        assert_int_equal(c.serial, 1);
    }
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 0);
    assert_int_equal(httpd_get_stats(served_httpd)->requests, 9);
}

static void tls_answer_leaves_at_once(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {TLS_GET, TLS_GET, TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_int_equal(c.answered, 3);
    assert_int_equal(sends.calls_of_last, 1); /* header and body */
}

static void tls_answer_without_body_leaves_too(void **state)
{
    (void)state;
    static const char *const requests[] = {"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {requests[0], requests[1], requests[2]}, .until = "\r\n\r\n"};
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_int_equal(c.answered, 3);
}

static void tls_answer_cut_anywhere_arrives_whole(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t max = 1; max < 250; max = max < 20 ? max * 3 : max + 7) {
        served_seen.calls = 0;
        sends.max = max;
        struct tls_client c = {.requests = {TLS_GET, TLS_GET, TLS_GET}};
        assert_true(peer_play(served_loop, play_tls, &c));
        assert_int_equal(c.answered, 3);
        assert_true(sends.calls_of_last > 1 || max > 150);
    }
}

static void tls_requests_may_be_pipelined(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct tls_client c = {.priorities = versions[i], .requests = {TLS_GET, TLS_GET, TLS_GET}, .together = true};
        assert_true(peer_play(served_loop, play_tls, &c));
        assert_int_equal(c.answered, 3);
    }
    served_run_until_empty();
}

static void tls_server_freed_with_open_connections_closes_them(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.requests = {TLS_GET, "GET /hello HTTP/1.1\r\n"}};
    struct peer peer;
    peer_start(&peer, play_tls, &c);
    while (httpd_get_stats(served_httpd)->requests < 1 || httpd_get_stats(served_httpd)->in_flight == 0)
        served_run_for(2);
    served_httpd = httpd_free(served_httpd);
    assert_true(peer_run_loop(&peer, served_loop));
    assert_int_equal(c.handshake, 0);
    assert_true(c.bye <= 0);
}

static void tls_1_1_is_refused_and_counted(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client c = {.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT"};
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_true(c.handshake < 0);
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
}

static void without_a_pair_handshakes_fail(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    struct tls_client c = {.requests = {TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_true(c.handshake < 0);
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    memset(&c, 0, sizeof(c));
    c.requests[0] = TLS_GET;
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_int_equal(c.answered, 1);
}

static void new_pair_is_used_by_the_next_connection(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct tls_client first = {.requests = {TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &first));
    assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
    struct tls_client second = {.requests = {TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &second));
    assert_int_equal(first.serial, 1);
    assert_int_equal(second.serial, 2);
}

/* While the client holds back its hello, or does not read the server's answer, the pair is replaced twice: the
 * first one is then only alive if the connection keeps it. */
static void connection_under_way_ends_with_the_pair_it_began_with(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    for (int i = 0; i < 4; i++) {
        start_tls(PEER_PATIENCE_S * 1000);
        assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
        struct tls_client c = {
            .priorities = versions[i / 2], .requests = {TLS_GET}, .hold = i % 2 == 0 ? HOLD_HELLO : HOLD_ANSWER};
        struct peer peer;
        peer_start(&peer, play_tls, &c);
        while (!c.waiting || httpd_get_stats(served_httpd)->connections == 0)
            served_run_for(2);
        served_run_for(20); /* time to answer the hello, if it came */
        assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
        assert_int_equal(set_pair(&pem_two, &pem_two, NULL), 0);
        c.go = true;
        assert_true(peer_run_loop(&peer, served_loop));
        assert_int_equal(c.handshake, 0);
        assert_int_equal(c.serial, 1);
        assert_int_equal(c.answered, 1);
        served_httpd = httpd_free(served_httpd);
    }
}

static void bad_pair_leaves_the_old_one_in_use(void **state)
{
    (void)state;
    struct err err = {0};
    struct peer_pem garbage = {.cert = "no PEM", .cert_len = 6, .key = "nor here", .key_len = 8};
    struct peer_pem cut = pem_two;
    cut.cert_len /= 2;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    assert_int_equal(set_pair(&pem_two, &pem_one, &err), -EINVAL); /* not its key */
    served_assert_contains(err.text, "key does not belong to the certificate in cert");
    assert_int_equal(set_pair(&garbage, &pem_two, &err), -EINVAL);
    served_assert_contains(err.text, "cert: expected PEM certificates: ");
    assert_int_equal(set_pair(&pem_two, &garbage, &err), -EINVAL);
    served_assert_contains(err.text, "key: expected a PEM private key: ");
    assert_int_equal(set_pair(&cut, &pem_two, &err), -EINVAL);
    garbage.cert_len = 0;
    assert_int_equal(set_pair(&garbage, &pem_two, &err), -EINVAL);
    struct tls_client c = {.requests = {TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &c));
    assert_int_equal(c.serial, 1);
    assert_int_equal(c.answered, 1);
}

static unsigned answered_with(const struct peer_pem *own, const char *priorities)
{
    struct tls_client c = {.own = own, .priorities = priorities, .requests = {TLS_GET}};
    assert_true(peer_play(served_loop, play_tls, &c));
    served_run_until_empty();
    return c.answered;
}

static void clients_need_a_certificate_of_the_ca(void **state)
{
    (void)state;
    struct err err = {0};
    struct httpd_options options = served_default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = tls_priorities;
    options.client_certificates = true;
    served_start_with(&options);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    assert_int_equal(answered_with(&pem_one, NULL), 0); /* no CA yet: nobody */
    assert_int_equal(httpd_set_client_ca(served_httpd, (struct span){pem_one.cert, pem_one.cert_len}, &err), 0);
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    for (size_t i = 0; i < 2; i++) {
        uint64_t failures = httpd_get_stats(served_httpd)->tls_failures;
        assert_int_equal(answered_with(&pem_one, versions[i]), 1);
        assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, failures);
        assert_int_equal(answered_with(NULL, versions[i]), 0);
        assert_int_equal(answered_with(&pem_two, versions[i]), 0);
        assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, failures + 2);
    }
    assert_int_equal(httpd_set_client_ca(served_httpd, (struct span){"no PEM", 6}, &err), -EINVAL);
    served_assert_contains(err.text, "CA certificates");
    assert_int_equal(httpd_set_client_ca(served_httpd, (struct span){"", 0}, &err), -EINVAL);
    assert_int_equal(answered_with(&pem_one, NULL), 1); /* the one before stays */
    assert_int_equal(httpd_set_client_ca(served_httpd, (struct span){pem_two.cert, pem_two.cert_len}, &err), 0);
    assert_int_equal(answered_with(&pem_one, NULL), 0);
    assert_int_equal(answered_with(&pem_two, NULL), 1);
}

static void what_is_no_tls_is_counted_but_a_probe_is_not(void **state)
{
    (void)state;
    start_tls(PEER_PATIENCE_S * 1000);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    served_ask("GET /hello HTTP/1.1\r\n" SERVED_HEAD_CLOSE "\r\n");
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
    assert_true(peer_play(served_loop, served_play_leaver, (void *)""));
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
    struct tls_client unused = {.requests = {NULL}}; /* a connection kept for later, never used */
    assert_true(peer_play(served_loop, play_tls, &unused));
    assert_int_equal(unused.handshake, 0);
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
    assert_int_equal(served_refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

static void slow_handshake_is_cut_and_counted(void **state)
{
    (void)state;
    start_tls(SERVED_CUT_MS);
    assert_int_equal(set_pair(&pem_one, &pem_one, NULL), 0);
    struct served_trickle half_hello = {"\x16\x03\x01\x10", true, 0};
    assert_true(peer_play(served_loop, served_play_trickle, &half_hello));
    served_run_until_empty();
    assert_int_equal(httpd_get_stats(served_httpd)->tls_failures, 1);
    assert_int_equal(served_refused(HTTPD_REFUSED_INCOMPLETE), 0);
}

static void bad_tls_priorities_are_named(void **state)
{
    (void)state;
    struct err err = {0};
    struct httpd_options options = served_default_options();
    options.tls = &httpd_tls_gnutls;
    options.tls_priorities = "NORMAL:+NO-SUCH-THING";
    assert_int_equal(httpd_new(served_loop, &options, &served_httpd, &err), -EINVAL);
    served_assert_contains(err.text, "TLS priorities");
    served_assert_contains(err.text, "NO-SUCH-THING");
}

static int make_pems(void **state)
{
    (void)state;
    peer_make_pem(&pem_one, 1);
    peer_make_pem(&pem_two, 2);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, served_setup, served_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tls_connection_serves_several_requests),
        TEST(tls_answer_leaves_at_once),
        TEST(tls_answer_without_body_leaves_too),
        TEST(tls_answer_cut_anywhere_arrives_whole),
        TEST(tls_requests_may_be_pipelined),
        TEST(tls_server_freed_with_open_connections_closes_them),
        TEST(tls_1_1_is_refused_and_counted),
        TEST(without_a_pair_handshakes_fail),
        TEST(new_pair_is_used_by_the_next_connection),
        TEST(connection_under_way_ends_with_the_pair_it_began_with),
        TEST(bad_pair_leaves_the_old_one_in_use),
        TEST(clients_need_a_certificate_of_the_ca),
        TEST(what_is_no_tls_is_counted_but_a_probe_is_not),
        TEST(slow_handshake_is_cut_and_counted),
        TEST(bad_tls_priorities_are_named),
    };
    return cmocka_run_group_tests(tests, make_pems, NULL);
}
