/* The TLS of an HTTP server, by GnuTLS.
 *
 * httpd reaches it only through the table that its owner names in httpd_options, so that a program whose server is plain
 * links no TLS library: in a static one this module is simply not there. Only httpd calls what is in the table; its
 * owner's calls are httpd_set_pair() and httpd_set_client_ca().
 */
#ifndef PROFEFE_HTTPD_TLS_H
#define PROFEFE_HTTPD_TLS_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>

struct httpd_tls_pair; /* a certificate chain with its key */
struct httpd_tls_ca;   /* those whose certificates clients must show */

/* What a server's new connections get. NULL = none yet: their handshakes fail. */
struct httpd_tls_keys {
    struct httpd_tls_pair *pair;
    struct httpd_tls_ca *client_ca;
};

enum {
    HTTPD_TLS_HEAD_MIN = 96,  /* a reply's header as a TLS record; an alert has 85 bytes at most */
    HTTPD_TLS_HEAD_MAX = 256, /* ours has some 130 bytes */
};

/* One connection's part. It keeps what it began with, whatever the server's keys become. Must not move. */
struct httpd_tls_session {
    struct httpd_tls_keys keys;
    int fd; /* borrowed */
    bool handshake_done;
    bool *moved; /* set by httpd; true from the moment that bytes came or went, or the connection broke */
    /* Set by httpd when the next thing to send is a reply's header and its body will follow. libmicrohttpd sends them as
     * two records: the first one waits here, so that both leave in one packet and by one system call. Where it cannot make
     * the header, it closes the connection: the alert of that does not wait, since nothing follows. */
    bool head_next;
    size_t head_len;
    char head[HTTPD_TLS_HEAD_MAX];
    /* What was received beyond what GnuTLS has asked for. NULL while there is nothing. */
    char *ahead;
    size_t ahead_at, ahead_len;
};

struct httpd_tls {
    void *certificate_callback; /* for MHD_OPTION_HTTPS_CERT_CALLBACK */
    int (*check_priorities)(const char *priorities, struct err *err);
    /* As httpd_set_pair() and httpd_set_client_ca() in httpd.h. */
    int (*set_pair)(struct httpd_tls_keys *keys, struct span cert_pem, struct span key_pem, struct err *err);
    int (*set_client_ca)(struct httpd_tls_keys *keys, struct span ca_pem, struct err *err);
    void (*keys_done)(struct httpd_tls_keys *keys);
    /* gnutls: the gnutls_session_t, before its handshake; it must not be used after session_done(). */
    void (*session_init)(struct httpd_tls_session *session, int fd, const struct httpd_tls_keys *keys,
                         bool client_certificates, void *gnutls);
    void (*session_done)(struct httpd_tls_session *session); /* all zero is fine */
};

extern const struct httpd_tls httpd_tls_gnutls;

#endif
