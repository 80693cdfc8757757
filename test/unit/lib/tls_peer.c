/* sees: os */
#include "tls_peer.h"

struct tls_peer_pair {
    gnutls_x509_crt_t cert;
    gnutls_x509_privkey_t key;
};

static struct tls_peer_pair tls_peer_pair_of(const struct peer_pem *pem)
{
    struct tls_peer_pair pair;
    gnutls_datum_t cert = {(unsigned char *)(uintptr_t)pem->cert, (unsigned)pem->cert_len};
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)pem->key, (unsigned)pem->key_len};
    if (gnutls_x509_crt_init(&pair.cert) < 0 || gnutls_x509_privkey_init(&pair.key) < 0 ||
        gnutls_x509_crt_import(pair.cert, &cert, GNUTLS_X509_FMT_PEM) < 0 ||
        gnutls_x509_privkey_import(pair.key, &key, GNUTLS_X509_FMT_PEM) < 0)
        abort();
    return pair;
}

static void tls_peer_pair_done(struct tls_peer_pair *pair)
{
    gnutls_x509_crt_deinit(pair->cert);
    gnutls_x509_privkey_deinit(pair->key);
}

static void tls_peer_fill(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const struct tls_peer_cert *how)
{
    static atomic_uint serials;
    unsigned char serial[2] = {1, (unsigned char)++serials};
    const unsigned char loopback[4] = {127, 0, 0, 1};
    const char *name = how->is_ca ? "CN=Test CA" : "CN=Test";
    time_t now = time(NULL), begin = how->early ? now + 24 * 3600 : now - 7200;
    bool ok = gnutls_x509_crt_set_version(cert, 3) == 0 && gnutls_x509_crt_set_serial(cert, serial, 2) == 0 &&
              gnutls_x509_crt_set_activation_time(cert, begin) == 0 &&
              gnutls_x509_crt_set_expiration_time(cert, how->expired ? now - 3600 : begin + 10800) == 0 &&
              gnutls_x509_crt_set_dn(cert, name, NULL) == 0 && gnutls_x509_crt_set_key(cert, key) == 0 &&
              gnutls_x509_crt_set_basic_constraints(cert, how->is_ca, -1) == 0;
    if (ok && how->is_ca)
        ok = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_KEY_CERT_SIGN) == 0;
    if (ok && how->dns != NULL)
        ok = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, how->dns, (unsigned)strlen(how->dns),
                                                  GNUTLS_FSAN_APPEND) == 0;
    if (ok && how->loopback)
        ok = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, loopback, 4, GNUTLS_FSAN_APPEND) == 0;
    if (ok && how->purpose != NULL)
        ok = gnutls_x509_crt_set_key_purpose_oid(cert, how->purpose, 0) == 0;
    if (ok && how->also != NULL)
        ok = gnutls_x509_crt_set_key_purpose_oid(cert, how->also, 0) == 0;
    if (!ok)
        abort();
}

void tls_peer_make(struct peer_pem *pem, const struct tls_peer_cert *how)
{
    struct tls_peer_pair own;
    pem->cert_len = sizeof(pem->cert);
    pem->key_len = sizeof(pem->key);
    if (gnutls_x509_crt_init(&own.cert) < 0 || gnutls_x509_privkey_init(&own.key) < 0 ||
        gnutls_x509_privkey_generate(own.key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) < 0)
        abort();
    tls_peer_fill(own.cert, own.key, how);
    struct tls_peer_pair issuer = how->issuer != NULL ? tls_peer_pair_of(how->issuer) : own;
    if (gnutls_x509_crt_sign2(own.cert, issuer.cert, issuer.key, GNUTLS_DIG_SHA256, 0) < 0 ||
        gnutls_x509_crt_export(own.cert, GNUTLS_X509_FMT_PEM, pem->cert, &pem->cert_len) < 0 ||
        gnutls_x509_privkey_export(own.key, GNUTLS_X509_FMT_PEM, pem->key, &pem->key_len) < 0)
        abort();
    if (how->issuer != NULL)
        tls_peer_pair_done(&issuer);
    tls_peer_pair_done(&own);
}

bool tls_peer_read(struct tls_peer *peer, gnutls_session_t session)
{
    size_t len = 0;
    char text[PEER_TEXT_MAX];
    do {
        ssize_t n = gnutls_record_recv(session, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
    } while (strstr(text, "\r\n\r\n") == NULL && len < sizeof(text) - 1);
    pthread_mutex_lock(&peer->lock);
    memcpy(peer->request, text, len + 1);
    pthread_mutex_unlock(&peer->lock);
    peer->requests++;
    return true;
}

void tls_peer_reply(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    (void)fd;
    while (tls_peer_read(peer, session) && gnutls_record_send(session, reply, sizeof(reply) - 1) > 0)
        ;
}

static void tls_peer_set_pem(gnutls_certificate_credentials_t credentials, const struct peer_pem *pem)
{
    gnutls_datum_t cert = {(unsigned char *)(uintptr_t)pem->cert, (unsigned)pem->cert_len};
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)pem->key, (unsigned)pem->key_len};
    if (gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM) < 0)
        abort();
}

static void tls_peer_ask_client(gnutls_session_t session, gnutls_certificate_credentials_t credentials,
                                const struct peer_pem *ca)
{
    gnutls_datum_t pem = {(unsigned char *)(uintptr_t)ca->cert, (unsigned)ca->cert_len};
    if (gnutls_certificate_set_x509_trust_mem(credentials, &pem, GNUTLS_X509_FMT_PEM) < 0)
        abort();
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert(session, NULL, 0);
}

static void tls_peer_converse(struct tls_peer *peer, gnutls_session_t session, int fd)
{
    int rc = 0;
    gnutls_transport_set_int(session, fd);
    do
        rc = gnutls_handshake(session);
    while (rc == GNUTLS_E_INTERRUPTED);
    if (rc < 0) {
        if (rc == GNUTLS_E_NO_CERTIFICATE_FOUND) /* GnuTLS itself would say "decode error" with TLS 1.2 */
            gnutls_alert_send(session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
        else
            gnutls_alert_send_appropriate(session, rc);
        return;
    }
    peer->handshakes++;
    (peer->talk != NULL ? peer->talk : tls_peer_reply)(peer, session, fd);
    gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void tls_peer_serve_one(struct tls_peer *peer, int fd)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0 ||
        gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NO_SIGNAL) < 0 ||
        gnutls_priority_set_direct(session, peer->priorities != NULL ? peer->priorities : "NORMAL", NULL) < 0)
        abort();
    tls_peer_set_pem(credentials, peer->pem);
    if (peer->clients_ca != NULL)
        tls_peer_ask_client(session, credentials, peer->clients_ca);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    tls_peer_converse(peer, session, fd);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
}

struct tls_peer_connection {
    struct tls_peer_connection *next;
    struct tls_peer *peer;
    pthread_t thread;
    int fd;
};

static void *tls_peer_serve_thread(void *arg)
{
    struct tls_peer_connection *connection = arg;
    peer_set_patience(connection->fd);
    tls_peer_serve_one(connection->peer, connection->fd);
    shutdown(connection->fd, SHUT_WR);
    peer_drain(connection->fd); /* a close with bytes unread would be a reset, which can outrun the alert */
    close(connection->fd);
    connection->peer->open--;
    return NULL;
}

static void tls_peer_serve(void *ctx)
{
    struct tls_peer *peer = ctx;
    struct tls_peer_connection *all = NULL, *next = NULL;
    for (int fd = -1; (fd = accept(peer->listen_fd, NULL, NULL)) >= 0;) {
        struct tls_peer_connection *connection = calloc(1, sizeof(*connection));
        if (connection == NULL)
            abort();
        *connection = (struct tls_peer_connection){.next = all, .peer = peer, .fd = fd};
        peer->open++;
        if (pthread_create(&connection->thread, NULL, tls_peer_serve_thread, connection) != 0)
            abort();
        all = connection;
    }
    for (; all != NULL; all = next) {
        next = all->next;
        pthread_join(all->thread, NULL);
        free(all);
    }
}

void tls_peer_start(struct tls_peer *peer)
{
    peer->port = 0;
    peer->listen_fd = peer_listen(&peer->port);
    if (peer->listen_fd < 0)
        abort();
    pthread_mutex_init(&peer->lock, NULL);
    peer_start(&peer->peer, tls_peer_serve, peer);
}

void tls_peer_stop(struct tls_peer *peer)
{
    shutdown(peer->listen_fd, SHUT_RDWR);
    peer_join(&peer->peer);
    close(peer->listen_fd);
    peer->listen_fd = -1;
}
