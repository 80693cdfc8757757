/* A server's certificate chain and its private key, read, checked and kept together.
 *
 * A pair is shared: whoever uses it holds it, and the last one to let go frees it. Its key is nowhere but in GnuTLS
 * once it is loaded. Not in a static build, which has no GnuTLS.
 */
#ifndef PROFEFE_TLS_PAIR_H
#define PROFEFE_TLS_PAIR_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/os/secret.h"

#include <gnutls/gnutls.h>
#include <stdint.h>

enum {
    TLS_PAIR_FILE_MAX = 128 * 1024, /* bytes; a chain has a few KB */
    TLS_PAIR_RSA_SLOW_BITS = 4096,  /* from here on a signature takes ten times as long as one of 2048 bits */
};

struct tls_pair;

/* One of the two in PEM, under the name that messages call it by. */
struct tls_pair_pem {
    const char *name;
    struct span pem;
};

/* cert: the own certificate first, then those up to its CA's. now_s: Unix time. *ret is the caller's to
 * tls_pair_free(). -EINVAL: no PEM, not each other's, or expired; -EAGAIN: not valid yet; -ENOMEM. */
MUST_CHECK int tls_pair_parse(struct tls_pair_pem cert, struct tls_pair_pem key, int64_t now_s, struct tls_pair **ret,
                              struct err *err);

/* The same of two files; also what secret_read() says. */
MUST_CHECK int tls_pair_load(const char *cert_path, const char *key_path, enum secret_from from, int64_t now_s,
                             struct tls_pair **ret, struct err *err);

struct tls_pair *tls_pair_hold(struct tls_pair *pair); /* one more holder; NULL allowed; returns pair */
struct tls_pair *tls_pair_free(struct tls_pair *pair); /* one holder less; NULL allowed; returns NULL */

static inline void tls_pair_free_scope(struct tls_pair **pair)
{
    tls_pair_free(*pair);
}

#define CLEANUP_TLS_PAIR CLEANUP(tls_pair_free_scope)

/* Unix time when the certificate expires. */
int64_t tls_pair_expiry_s(const struct tls_pair *pair);

/* Bits of an RSA key whose handshakes are slow, 0 = it is none: 250 a second then leave an honest client no time. */
unsigned tls_pair_slow_rsa_bits(const struct tls_pair *pair);

/* Borrowed, while the pair is held. */
gnutls_certificate_credentials_t tls_pair_credentials(struct tls_pair *pair);

#endif
