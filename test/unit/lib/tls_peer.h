/* An https server, a thread for each connection, with certificates made on the spot, for tests of the client. */
#ifndef PROFEFE_TEST_TLS_PEER_H
#define PROFEFE_TEST_TLS_PEER_H

#include "peer.h"
#include "peer_pem.h"

#include <gnutls/x509.h>
#include <stdatomic.h>

/* Certificates */

struct tls_peer_cert {
    const struct peer_pem *issuer;  /* NULL = itself */
    bool is_ca;
    const char *dns;                /* subjectAltName; NULL = none */
    bool loopback;                  /* 127.0.0.1 in the subjectAltName */
    bool expired;
    bool early;                     /* valid from tomorrow on */
    const char *purpose, *also;     /* OIDs of the extended key usage; NULL = none */
};

/* Makes a key and its certificate. */
void tls_peer_make(struct peer_pem *pem, const struct tls_peer_cert *how);

/* The server */

struct tls_peer {
    struct peer peer;
    int listen_fd;
    uint16_t port;
    const struct peer_pem *_Atomic pem;        /* what it shows from the next connection on */
    const struct peer_pem *_Atomic clients_ca; /* client certificates must be from here; NULL = none asked for */
    const char *priorities;                    /* NULL = "NORMAL" */
    void (*talk)(struct tls_peer *peer, gnutls_session_t session, int fd); /* NULL = tls_peer_reply */
    atomic_uint open, handshakes, requests;    /* open: connections at the moment */
    pthread_mutex_t lock;                      /* of request */
    char request[PEER_TEXT_MAX];               /* the last one; stable while the client waits for nothing */
};

/* Reads the head of one request into peer->request; false when the client is gone. */
bool tls_peer_read(struct tls_peer *peer, gnutls_session_t session);

/* Answers each request with 200 and "ok" until the client is gone. */
void tls_peer_reply(struct tls_peer *peer, gnutls_session_t session, int fd);

/* Serves on a free port of 127.0.0.1. */
void tls_peer_start(struct tls_peer *peer);
/* The client must have closed its connections, or will. */
void tls_peer_stop(struct tls_peer *peer);

#endif
