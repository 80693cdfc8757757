/* The serving certificate: loaded from two PEM files, checked, and loaded again when the files change.
 *
 * A new pair is taken only when it parses, the key belongs to the certificate and it is not expired; else the old
 * pair stays in use, the reason is logged once and counted. The kubelet swaps a mounted Secret by a symlink, so the files
 * are looked at by stat(2) every CERTS_POLL_MS, which also works for plain files and needs no watch to survive the swap.
 */
#ifndef PROFEFE_CERTS_H
#define PROFEFE_CERTS_H

#include "common/err.h"
#include "common/httpd.h"
#include "common/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CERTS_FILE_MAX = 128 * 1024,
    CERTS_POLL_MS = 5 * 1000,    /* the kubelet itself delivers a changed Secret within a minute or so */
};

/* SECURE128 leaves out what is weak; 1.2 is the oldest version an API server may be told to use. */
#define CERTS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305"

struct certs;

/* Loads the pair into httpd; a missing or bad one is no failure here: certs_usable() says so, and the files are looked
 * at again. httpd must live as long. */
int certs_new(struct loop *loop, struct httpd *httpd, const char *cert_path, const char *key_path, struct certs **ret,
              struct err *err);
struct certs *certs_free(struct certs *certs); /* NULL allowed; returns NULL */

/* Checks two files as certs_new would use them, for --check. -EINVAL, -ENOENT … with the reason. */
int certs_check(const char *cert_path, const char *key_path, int64_t now_s, struct err *err);

/* A pair is loaded and not expired at now_s; else why not. */
bool certs_usable(const struct certs *certs, int64_t now_s, const char **ret_reason);

/* Unix time, 0 = no pair. */
int64_t certs_expiry_s(const struct certs *certs);

struct certs_stats {
    uint64_t reloads;
    uint64_t failures;
};
const struct certs_stats *certs_get_stats(const struct certs *certs);

#endif
