#include "common/http/httpd_tls.h"

#include "common/base/cleanup.h"
#include "common/base/quote.h"
#include "common/http/httpd.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    PEM_MAX = 1024 * 1024, /* a chain has a few KB */
    AHEAD_MAX = 8 * 1024,  /* bytes of one receive: most reviews, whole */
    PIECES_MAX = 16,       /* of what GnuTLS sends at a time; the rest at the next one */
    KEY_ID_MAX = 32,       /* SHA-256 */
};

/* A certificate chain with its key, shared by the connections that began their handshake with it: GnuTLS keeps
 * pointers into it until the handshake is over. */
struct httpd_tls_pair {
    unsigned refs;
    gnutls_certificate_credentials_t credentials;
};

/* Those whose certificates clients must show, shared likewise. */
struct httpd_tls_ca {
    unsigned refs;
    gnutls_x509_trust_list_t list;
};

/* Certificates */

static struct httpd_tls_pair *pair_unref(struct httpd_tls_pair *pair)
{
    if (pair != NULL && --pair->refs == 0) {
        if (pair->credentials != NULL)
            gnutls_certificate_free_credentials(pair->credentials);
        free(pair);
    }
    return NULL;
}

static void pair_unref_scope(struct httpd_tls_pair **pair)
{
    pair_unref(*pair);
}

static gnutls_datum_t datum(struct span bytes)
{
    /* GnuTLS does not write to it, though the type allows. */
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)bytes.ptr, .size = (unsigned)bytes.len};
}

/* A chain and a key on their way into credentials, which copy them. */
struct parsed_pair {
    gnutls_x509_crt_t *chain;
    unsigned chain_len;
    gnutls_x509_privkey_t key;
};

static void parsed_pair_done(struct parsed_pair *parsed)
{
    for (unsigned i = 0; i < parsed->chain_len; i++)
        gnutls_x509_crt_deinit(parsed->chain[i]);
    gnutls_free(parsed->chain);
    if (parsed->key != NULL)
        gnutls_x509_privkey_deinit(parsed->key);
}

static int tls_error(int rc, const char *what, struct err *err)
{
    return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s", what, gnutls_strerror(rc));
}

/* GnuTLS compares them as well, in gnutls_certificate_set_x509_key(), but 3.7.9 loses memory when they differ. */
static bool key_fits(const struct parsed_pair *parsed)
{
    unsigned char of_cert[KEY_ID_MAX];
    unsigned char of_key[KEY_ID_MAX];
    size_t cert_len = sizeof(of_cert);
    size_t key_len = sizeof(of_key);
    return gnutls_x509_crt_get_key_id(parsed->chain[0], GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len) == 0 &&
           gnutls_x509_privkey_get_key_id(parsed->key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) == 0 &&
           cert_len == key_len && memcmp(of_cert, of_key, key_len) == 0;
}

static int parse_pair(struct span cert_pem, struct span key_pem, struct parsed_pair *ret, struct err *err)
{
    gnutls_datum_t cert = datum(cert_pem);
    gnutls_datum_t key = datum(key_pem);
    if (cert_pem.len > PEM_MAX || key_pem.len > PEM_MAX)
        return err_set(err, EINVAL, "certificate or key larger than %d bytes", PEM_MAX);
    int rc = gnutls_x509_crt_list_import2(&ret->chain, &ret->chain_len, &cert, GNUTLS_X509_FMT_PEM,
                                          GNUTLS_X509_CRT_LIST_SORT);
    if (rc < 0)
        return tls_error(rc, "certificate", err);
    rc = gnutls_x509_privkey_init(&ret->key);
    if (rc == GNUTLS_E_SUCCESS)
        rc = gnutls_x509_privkey_import2(ret->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0)
        return tls_error(rc, "private key", err);
    if (!key_fits(ret))
        return err_set(err, EINVAL, "the private key is not that of the (first) certificate");
    return 0;
}

static int set_pair(struct httpd_tls_keys *keys, struct span cert_pem, struct span key_pem, struct err *err)
{
    CLEANUP(parsed_pair_done) struct parsed_pair parsed = {.chain = NULL};
    int rc = parse_pair(cert_pem, key_pem, &parsed, err);
    if (rc < 0)
        return rc;
    CLEANUP(pair_unref_scope) struct httpd_tls_pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL)
        return err_errno(err, ENOMEM, "certificate and key");
    pair->refs = 1;
    rc = gnutls_certificate_allocate_credentials(&pair->credentials);
    if (rc == GNUTLS_E_SUCCESS)
        rc = gnutls_certificate_set_x509_key(pair->credentials, parsed.chain, (int)parsed.chain_len, parsed.key);
    if (rc < 0)
        return tls_error(rc, "certificate and key", err);
    pair_unref(keys->pair);
    keys->pair = TAKE_PTR(pair);
    return 0;
}

/* Clients' certificates */

static struct httpd_tls_ca *client_ca_unref(struct httpd_tls_ca *ca)
{
    if (ca != NULL && --ca->refs == 0) {
        if (ca->list != NULL)
            gnutls_x509_trust_list_deinit(ca->list, 1);
        free(ca);
    }
    return NULL;
}

static void client_ca_unref_scope(struct httpd_tls_ca **ca)
{
    client_ca_unref(*ca);
}

static int set_client_ca(struct httpd_tls_keys *keys, struct span ca_pem, struct err *err)
{
    if (ca_pem.len > PEM_MAX)
        return err_set(err, EINVAL, "CA certificates larger than %d bytes", PEM_MAX);
    CLEANUP(client_ca_unref_scope) struct httpd_tls_ca *ca = calloc(1, sizeof(*ca));
    if (ca == NULL)
        return err_errno(err, ENOMEM, "CA certificates");
    ca->refs = 1;
    gnutls_datum_t pem = datum(ca_pem);
    int rc = gnutls_x509_trust_list_init(&ca->list, 0);
    if (rc == GNUTLS_E_SUCCESS)
        rc = gnutls_x509_trust_list_add_trust_mem(ca->list, &pem, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    if (rc < 0)
        return tls_error(rc, "CA certificates", err);
    if (rc == 0)
        return err_set(err, EINVAL, "expected CA certificates, got none");
    client_ca_unref(keys->client_ca);
    keys->client_ca = TAKE_PTR(ca);
    return 0;
}

/* The client's chain as objects; returns how many. */
static unsigned import_peers(gnutls_session_t session, gnutls_x509_crt_t chain[static HTTPD_CLIENT_CHAIN_MAX])
{
    unsigned len = 0, count = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &len);
    if (raw == NULL || len > HTTPD_CLIENT_CHAIN_MAX)
        return 0;
    for (; count < len; count++) {
        if (gnutls_x509_crt_init(&chain[count]) < 0)
            break;
        if (gnutls_x509_crt_import(chain[count], &raw[count], GNUTLS_X509_FMT_DER) < 0) {
            gnutls_x509_crt_deinit(chain[count]);
            break;
        }
    }
    return count;
}

/* Inside the handshake; anything but 0 ends it. */
static int verify_client(gnutls_session_t session)
{
    const struct httpd_tls_session *own = gnutls_db_get_ptr(session);
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    gnutls_x509_crt_t chain[HTTPD_CLIENT_CHAIN_MAX];
    unsigned status = GNUTLS_CERT_INVALID;
    unsigned count = import_peers(session, chain);
    int rc = count > 0 ? gnutls_x509_trust_list_verify_crt2(own->keys.client_ca->list, chain, count, &purpose, 1, 0,
                                                            &status, NULL)
                       : GNUTLS_E_CERTIFICATE_ERROR;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    return rc == GNUTLS_E_SUCCESS && status == 0 ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

static void ask_for_certificate(struct httpd_tls_session *own, struct httpd_tls_ca *ca, gnutls_session_t session)
{
    own->keys.client_ca = ca;
    ca->refs++;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(session, verify_client);
}

/* What a handshake gets while there is no pair. */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
                          unsigned *chain_len, gnutls_privkey_t *key)
{
    (void)session;
    (void)ca_names;
    (void)ca_count;
    (void)algorithms;
    (void)algorithm_count;
    (void)chain;
    (void)chain_len;
    (void)key;
    return -1;
}

/* Bytes between GnuTLS and the socket */

static ssize_t take_ahead(struct httpd_tls_session *own, void *to, size_t len)
{
    if (len > own->ahead_len)
        len = own->ahead_len;
    memcpy(to, own->ahead + own->ahead_at, len);
    own->ahead_at += len;
    own->ahead_len -= len;
    if (own->ahead_len == 0) {
        free(own->ahead);
        own->ahead = NULL;
    }
    return (ssize_t)len;
}

/* GnuTLS asks for the five bytes before each record, then for the record: a system call for each, and clients in Go begin
 * with records of a kilobyte. libmicrohttpd goes on until GnuTLS would have to wait, which is when all is used up here. (Or
 * after a record without data, such as a KeyUpdate: what follows it then waits for the next byte, with or without this.) */
static ssize_t receive(struct httpd_tls_session *own, void *to, size_t len)
{
    if (own->ahead_len > 0)
        return take_ahead(own, to, len);
    char *ahead = len < AHEAD_MAX ? malloc(AHEAD_MAX) : NULL;
    if (ahead == NULL)
        return recv(own->fd, to, len, 0);
    ssize_t got = recv(own->fd, ahead, AHEAD_MAX, 0);
    if (got <= 0) {
        int code = errno;
        free(ahead);
        errno = code;
        return got;
    }
    own->ahead = ahead;
    own->ahead_at = 0;
    own->ahead_len = (size_t)got;
    return take_ahead(own, to, len);
}

static ssize_t note_move(struct httpd_tls_session *own, ssize_t len)
{
    if (len >= 0 || errno != EAGAIN)
        *own->moved = true;
    return len;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *to, size_t len)
{
    struct httpd_tls_session *own = ptr;
    return note_move(own, receive(own, to, len));
}

static ssize_t hold_head(struct httpd_tls_session *own, const giovec_t *pieces, int count, size_t len)
{
    for (int i = 0; i < count; i++) {
        memcpy(own->head + own->head_len, pieces[i].iov_base, pieces[i].iov_len);
        own->head_len += pieces[i].iov_len;
    }
    return (ssize_t)len;
}

/* How much of GnuTLS's own bytes went out when `sent` did, the held ones before them. */
static ssize_t drop_head(struct httpd_tls_session *own, ssize_t sent)
{
    if (sent < 0)
        return sent;
    size_t gone = (size_t)sent < own->head_len ? (size_t)sent : own->head_len;
    own->head_len -= gone;
    memmove(own->head, own->head + gone, own->head_len);
    if ((size_t)sent > gone)
        return sent - (ssize_t)gone;
    errno = EAGAIN; /* GnuTLS comes again with all of it once the socket takes more */
    return -1;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *pieces, int count)
{
    struct httpd_tls_session *own = ptr;
    struct iovec all[PIECES_MAX + 1] = {{.iov_base = own->head, .iov_len = own->head_len}};
    bool held = own->head_len > 0, is_head = own->head_next;
    size_t len = 0;
    own->head_next = false;
    if (count > PIECES_MAX)
        count = PIECES_MAX;
    for (int i = 0; i < count; i++) {
        all[i + 1] = (struct iovec){.iov_base = pieces[i].iov_base, .iov_len = pieces[i].iov_len};
        len += pieces[i].iov_len;
    }
    if (is_head && len >= HTTPD_TLS_HEAD_MIN && len <= sizeof(own->head) - own->head_len)
        return note_move(own, hold_head(own, pieces, count, len));
    struct msghdr message = {.msg_iov = held ? all : all + 1, .msg_iovlen = (size_t)count + (held ? 1 : 0)};
    return note_move(own, drop_head(own, sendmsg(own->fd, &message, MSG_NOSIGNAL)));
}

static int on_handshake_finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                                 const gnutls_datum_t *message)
{
    struct httpd_tls_session *own = gnutls_db_get_ptr(session);
    (void)type;
    (void)when;
    (void)message;
    if (incoming != 0)
        own->handshake_done = true;
    return 0;
}

/* Gives the session the pair of the moment in place of libmicrohttpd's own credentials, whose certificate
 * callbacks know neither the server nor when a pair may be freed. The session's "db" pointer is free for us: it
 * belongs to the session cache, which a server without cache callbacks does not have. */
static void session_init(struct httpd_tls_session *own, int fd, const struct httpd_tls_keys *keys,
                         bool client_certificates, void *gnutls)
{
    gnutls_session_t session = gnutls;
    own->fd = fd;
    gnutls_transport_set_ptr(session, own);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_vec_push_function(session, push);
    gnutls_db_set_ptr(session, own);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_handshake_finished);
    if (keys->pair == NULL || (client_certificates && keys->client_ca == NULL))
        return;
    if (client_certificates)
        ask_for_certificate(own, keys->client_ca, session);
    own->keys.pair = keys->pair;
    own->keys.pair->refs++;
    /* Without memory for it the session has no certificate: its handshake fails. */
    (void)gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, own->keys.pair->credentials);
}

static void keys_done(struct httpd_tls_keys *keys)
{
    keys->pair = pair_unref(keys->pair);
    keys->client_ca = client_ca_unref(keys->client_ca);
}

static void session_done(struct httpd_tls_session *own)
{
    keys_done(&own->keys);
    free(own->ahead);
    own->ahead = NULL;
}

static int check_priorities(const char *priorities, struct err *err)
{
    gnutls_priority_t cache = NULL;
    const char *at = NULL;
    int rc = gnutls_priority_init(&cache, priorities, &at);
    if (rc < 0) {
        struct quoted quoted;
        return err_set(err, EINVAL, "TLS priorities: %s at %s", gnutls_strerror(rc),
                       quote_text(&quoted, at != NULL ? at : priorities));
    }
    gnutls_priority_deinit(cache);
    return 0;
}

const struct httpd_tls httpd_tls_gnutls = {
    .certificate_callback = (void *)no_certificate,
    .check_priorities = check_priorities,
    .set_pair = set_pair,
    .set_client_ca = set_client_ca,
    .keys_done = keys_done,
    .session_init = session_init,
    .session_done = session_done,
};
