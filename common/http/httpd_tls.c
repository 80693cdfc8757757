#include "common/http/httpd_tls.h"

#include "common/base/cleanup.h"
#include "common/base/quote.h"
#include "common/http/tls_pair.h"

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
    HEAD_MIN = 96,         /* a reply's header as a TLS record; an alert has 85 bytes at most */
    HEAD_MAX = 256,        /* ours has some 130 bytes */
};

/* One connection's part. It keeps the keys that it began with, whatever the server's become: GnuTLS keeps pointers into
 * them until the handshake is over. */
struct httpd_tls_session {
    struct httpd_tls_keys keys;
    int fd; /* borrowed */
    bool handshake_done;
    bool *moved; /* the owner's */
    /* libmicrohttpd sends a reply's header and its body as two records: the first one waits here, so that both leave in
     * one packet and by one system call. Where it cannot make the header, it closes the connection: the alert of that
     * does not wait, since nothing follows. */
    bool head_next;
    size_t head_len;
    char head[HEAD_MAX];
    /* What was received beyond what GnuTLS has asked for. NULL while there is nothing. */
    char *ahead;
    size_t ahead_at, ahead_len;
};

/* Those whose certificates clients must show; shared, as a pair is. */
struct httpd_tls_ca {
    unsigned refs;
    gnutls_x509_trust_list_t list;
};

/* Clients' certificates */

static gnutls_datum_t datum(struct span bytes)
{
    /* GnuTLS does not write to it, though the type allows. */
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)bytes.ptr, .size = (unsigned)bytes.len};
}

static int tls_error(int rc, const char *what, struct err *err)
{
    return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s", what, gnutls_strerror(rc));
}

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
static unsigned import_peers(gnutls_session_t session, gnutls_x509_crt_t chain[static HTTPD_TLS_CHAIN_MAX])
{
    unsigned len = 0, count = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &len);
    if (raw == NULL || len > HTTPD_TLS_CHAIN_MAX)
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
    gnutls_x509_crt_t chain[HTTPD_TLS_CHAIN_MAX];
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

/* GnuTLS asks for the five bytes before each record, then for the record: a system call for each, and clients in Go
 * begin with records of a kilobyte. libmicrohttpd goes on until GnuTLS would have to wait, which is when all is used up
 * here. (Or after a record without data, such as a KeyUpdate: what follows it then waits for the next byte, with or
 * without this.) */
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
    if (is_head && len >= HEAD_MIN && len <= sizeof(own->head) - own->head_len)
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

static struct httpd_tls_session *session_new(int fd, bool *moved)
{
    struct httpd_tls_session *own = calloc(1, sizeof(*own));
    if (own == NULL)
        return NULL;
    own->fd = fd;
    own->moved = moved;
    return own;
}

/* Gives the session the pair of the moment in place of libmicrohttpd's own credentials, whose certificate
 * callbacks know neither the server nor when a pair may be freed. The session's "db" pointer is free for us: it
 * belongs to the session cache, which a server without cache callbacks does not have. */
static void session_begin(struct httpd_tls_session *own, const struct httpd_tls_keys *keys, bool client_certificates,
                          void *gnutls)
{
    gnutls_session_t session = gnutls;
    gnutls_transport_set_ptr(session, own);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_vec_push_function(session, push);
    gnutls_db_set_ptr(session, own);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_handshake_finished);
    if (keys->pair == NULL || (client_certificates && keys->client_ca == NULL))
        return;
    if (client_certificates)
        ask_for_certificate(own, keys->client_ca, session);
    own->keys.pair = tls_pair_hold(keys->pair);
    /* Without memory for it the session has no certificate: its handshake fails. */
    (void)gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls_pair_credentials(own->keys.pair));
}

static void set_pair(struct httpd_tls_keys *keys, struct tls_pair *pair)
{
    tls_pair_free(keys->pair);
    keys->pair = tls_pair_hold(pair);
}

static void keys_done(struct httpd_tls_keys *keys)
{
    keys->pair = tls_pair_free(keys->pair);
    keys->client_ca = client_ca_unref(keys->client_ca);
}

static struct httpd_tls_session *session_free(struct httpd_tls_session *own)
{
    if (own == NULL)
        return NULL;
    keys_done(&own->keys);
    free(own->ahead);
    free(own);
    return NULL;
}

static bool session_is_open(const struct httpd_tls_session *own)
{
    return own->handshake_done;
}

static bool session_has_unread(const struct httpd_tls_session *own)
{
    return own->ahead_len > 0;
}

static void session_hold_head(struct httpd_tls_session *own)
{
    own->head_next = true;
}

/* Where libmicrohttpd sent a short reply's header and body as one record, nothing would come after it; neither 0.9.75
 * nor 1.0.10 does so. What the socket does not take now goes before the next thing that is sent. */
static void session_end_reply(struct httpd_tls_session *own)
{
    own->head_next = false;
    if (own->head_len > 0)
        (void)drop_head(own, send(own->fd, own->head, own->head_len, MSG_NOSIGNAL));
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
    .session_new = session_new,
    .session_begin = session_begin,
    .session_free = session_free,
    .session_is_open = session_is_open,
    .session_has_unread = session_has_unread,
    .session_hold_head = session_hold_head,
    .session_end_reply = session_end_reply,
};
