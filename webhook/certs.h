/* The serving certificate and the CA of clients: loaded from PEM files, checked, and loaded again when the files
 * change.
 *
 * A new pair is taken only when it parses, the key belongs to the certificate and it is valid now; else the old
 * pair stays in use, the reason is logged once and counted. One that is not valid yet is tried again until it is: an
 * API server would refuse it as much as one that has expired. The client CA is a file of its own with the same rules,
 * so that a bad one does not keep a good pair out; connections that are open when it changes stay. A pipe in a file's
 * place is read at the start alone, since its writer may let us wait.
 */
#ifndef PROFEFE_CERTS_H
#define PROFEFE_CERTS_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/http/httpd.h"
#include "common/os/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* SECURE128 leaves out what is weak; 1.2 is the oldest version an API server may be told to use. */
#define CERTS_PRIORITIES                                                                                               \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA"                                                      \
    ":-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305"

struct certs;

struct certs_files {
    const char *cert, *key; /* paths */
    const char *client_ca;  /* NULL = clients need no certificate */
};

/* Loads the files into httpd; a missing or bad one is no failure here: certs_usable() says so, and they are looked
 * at every poll_ms. httpd must live as long, and was made with client_certificates where there is a client_ca; the
 * paths are copied. */
MUST_CHECK int certs_new(struct loop *loop, struct httpd *httpd, const struct certs_files *files, int64_t poll_ms,
                         struct certs **ret, struct err *err) NONNULL(1);
struct certs *certs_free(struct certs *certs); /* NULL allowed; returns NULL */

static inline void certs_free_scope(struct certs **certs)
{
    certs_free(*certs);
}

#define CLEANUP_CERTS CLEANUP(certs_free_scope)

/* Looks at the files now, and not only when it is time. */
void certs_look(struct certs *certs);

/* Checks the files as certs_new would use them, for --check. -EINVAL, -ENOENT … with the reason. *ret_slow_rsa_bits: as
 * tls_pair_slow_rsa_bits(). */
MUST_CHECK int certs_check(const struct certs_files *files, int64_t now_s, unsigned *ret_slow_rsa_bits, struct err *err)
    NONNULL(1);

/* All that is needed is loaded, and the certificate not expired at now_s; else why not. */
MUST_CHECK bool certs_usable(const struct certs *certs, int64_t now_s, const char **ret_reason) NONNULL(1);

/* Unix time, 0 = no pair. */
int64_t certs_expiry_s(const struct certs *certs);

struct certs_stats {
    struct certs_loads {
        uint64_t taken, refused; /* the first loading included */
        bool last_taken;         /* the newest files are those in use */
    } pair, client_ca;
};
const struct certs_stats *certs_get_stats(const struct certs *certs);

#endif
