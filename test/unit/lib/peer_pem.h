/* Certificates made on the spot, for tests that speak TLS. */
#ifndef PROFEFE_TEST_PEER_PEM_H
#define PROFEFE_TEST_PEER_PEM_H

#include "common/base/err.h"

#include <stddef.h>

struct tls_pair;

struct peer_pem {
    char cert[4096];
    size_t cert_len;
    char key[4096];
    size_t key_len;
};

/* A self-signed certificate for "localhost" and 127.0.0.1 with the given serial number. */
void peer_make_pem(struct peer_pem *pem, unsigned char serial);

/* The server's pair of a certificate and a key, which may belong to another one; as tls_pair_parse(). */
int peer_pair(const struct peer_pem *cert, const struct peer_pem *key, struct tls_pair **ret, struct err *err);

#endif
