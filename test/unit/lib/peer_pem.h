/* Certificates made on the spot, for tests that speak TLS. */
#ifndef PROFEFE_TEST_PEER_PEM_H
#define PROFEFE_TEST_PEER_PEM_H

#include <stddef.h>

struct peer_pem {
    char cert[4096];
    size_t cert_len;
    char key[4096];
    size_t key_len;
};

/* A self-signed certificate for "localhost" and 127.0.0.1 with the given serial number. */
void peer_make_pem(struct peer_pem *pem, unsigned char serial);

#endif
