/* The TLS of an HTTP server, by GnuTLS.
 *
 * httpd reaches it only through the table that its owner names in httpd_options, so that a program whose server is
 * plain links no TLS library: in a static one this module is simply not there. Only httpd calls what is in the table;
 * its owner's calls are httpd_set_pair() and httpd_set_client_ca().
 */
#ifndef PROFEFE_HTTPD_TLS_H
#define PROFEFE_HTTPD_TLS_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>

struct tls_pair;
struct httpd_tls_ca; /* those whose certificates clients must show */

/* What a server's new connections get. NULL = none yet: their handshakes fail. */
struct httpd_tls_keys {
    struct tls_pair *pair;
    struct httpd_tls_ca *client_ca;
};

enum { HTTPD_TLS_CHAIN_MAX = 8 }; /* certificates from a client's own to the CA's */

struct httpd_tls_session; /* one connection's part */

struct httpd_tls {
    void *certificate_callback; /* for MHD_OPTION_HTTPS_CERT_CALLBACK */
    int (*check_priorities)(const char *priorities, struct err *err);
    /* As httpd_set_pair() and httpd_set_client_ca() in httpd.h. */
    void (*set_pair)(struct httpd_tls_keys *keys, struct tls_pair *pair);
    int (*set_client_ca)(struct httpd_tls_keys *keys, struct span ca_pem, struct err *err);
    void (*keys_done)(struct httpd_tls_keys *keys);
    /* fd is borrowed; *moved is set from the moment that bytes came or went, or the connection broke. NULL = no memory.
     */
    struct httpd_tls_session *(*session_new)(int fd, bool *moved);
    /* gnutls: the gnutls_session_t, before its handshake; it must not be used after session_free(). */
    void (*session_begin)(struct httpd_tls_session *session, const struct httpd_tls_keys *keys,
                          bool client_certificates, void *gnutls);
    struct httpd_tls_session *(*session_free)(struct httpd_tls_session *session); /* NULL allowed; returns NULL */
    bool (*session_is_open)(const struct httpd_tls_session *session);    /* the handshake is over */
    bool (*session_has_unread)(const struct httpd_tls_session *session); /* bytes that GnuTLS has not asked for yet */
    /* The next thing to send is a reply's header, and its body will follow. */
    void (*session_hold_head)(struct httpd_tls_session *session);
    /* The reply is over: nothing of it waits any more, unless the client reads nothing. */
    void (*session_end_reply)(struct httpd_tls_session *session);
};

extern const struct httpd_tls httpd_tls_gnutls;

#endif
