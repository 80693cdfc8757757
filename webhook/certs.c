#include "webhook/certs.h"

#include "common/base/cleanup.h"
#include "common/http/tls_pair.h"
#include "common/os/file.h"
#include "common/os/file_stamp.h"
#include "common/os/log.h"
#include "common/os/secret.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

/* One thing that is loaded: a pair or a CA. */
struct source {
    bool loaded;
    char reason[ERR_TEXT_MAX]; /* why there is none, or why the newest was not taken */
    struct certs_loads *loads;
    struct log_throttle refusing;
};

struct certs {
    struct loop *loop;
    struct httpd *httpd;
    char *cert_path, *key_path, *client_ca_path; /* the last may be NULL */
    int64_t poll_ms;
    struct loop_timer poll;
    struct file_stamp cert_stamp, key_stamp, client_ca_stamp;
    struct source pair, client_ca;
    enum secret_from from; /* what may be read now: at the start also a pipe */
    int64_t expiry_s; /* of the pair in use; 0 = none yet */
    unsigned slow_rsa_bits;
    struct certs_stats stats;
};

/* ---- the CA of clients ---- */

static int check_ca(const char *path, struct span pem, struct err *err)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0;
    gnutls_datum_t bytes = {(unsigned char *)(uintptr_t)pem.ptr, (unsigned)pem.len};
    int rc = gnutls_x509_crt_list_import2(&chain, &count, &bytes, GNUTLS_X509_FMT_PEM, 0);
    if (rc < 0)
        return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: expected PEM certificates: %s", path,
                       gnutls_strerror(rc));
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    return 0;
}

/* By the reader of secrets, though it is none, since that one waits for no pipe unless it is told to. */
static int load_ca(const char *path, enum secret_from from, struct secret *ret, struct err *err)
{
    int rc = secret_read(path, from, TLS_PAIR_FILE_MAX, ret, err);
    return rc == 0 ? check_ca(path, (struct span){ret->bytes, ret->len}, err) : rc;
}

int certs_check(const struct certs_files *files, int64_t now_s, unsigned *ret_slow_rsa_bits, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    CLEANUP(secret_done) struct secret ca = {0};
    int rc = tls_pair_load(files->cert, files->key, SECRET_FROM_ANY, now_s, &pair, err);
    if (rc == 0 && files->client_ca != NULL)
        rc = load_ca(files->client_ca, SECRET_FROM_ANY, &ca, err);
    if (rc == 0)
        *ret_slow_rsa_bits = tls_pair_slow_rsa_bits(pair);
    return rc;
}

/* ---- looking at the files ---- */

static int take_pair(struct certs *certs, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    int rc = tls_pair_load(certs->cert_path, certs->key_path, certs->from, loop_wall_ms() / 1000, &pair, err);
    if (rc < 0)
        return rc;
    httpd_set_pair(certs->httpd, pair);
    certs->expiry_s = tls_pair_expiry_s(pair);
    certs->slow_rsa_bits = tls_pair_slow_rsa_bits(pair);
    return 0;
}

static int take_ca(struct certs *certs, struct err *err)
{
    CLEANUP(secret_done) struct secret ca = {0};
    int rc = load_ca(certs->client_ca_path, certs->from, &ca, err);
    return rc == 0 ? httpd_set_client_ca(certs->httpd, (struct span){ca.bytes, ca.len}, err) : rc;
}

static void note_taken(struct source *source)
{
    source->loaded = true;
    source->reason[0] = '\0';
    source->loads->taken++;
    source->loads->last_taken = true;
    log_throttle_reset(&source->refusing);
}

static void note_refused(struct certs *certs, struct source *source, const char *msg, const struct err *err)
{
    source->loads->refused++;
    source->loads->last_taken = false;
    memcpy(source->reason, err->text, sizeof(source->reason));
    log_throttled(&source->refusing, loop_now_ms(certs->loop), LOG_LEVEL_ERROR, msg, LOG_FIELDS(LOG_ERR(err)));
}

/* Nothing is wrong with the files, but time (not valid yet), memory and the like: they are tried again. */
static bool may_pass(int rc)
{
    return rc == -EAGAIN || file_failure_may_pass(rc);
}

static void reload_pair(struct certs *certs)
{
    struct err err;
    int rc = take_pair(certs, &err);
    if (rc == 0) {
        note_taken(&certs->pair);
        log_info("certificate loaded", LOG_STR("file", certs->cert_path), LOG_I64("expires", certs->expiry_s));
        if (certs->slow_rsa_bits > 0)
            log_warn("a large RSA key makes handshakes slow under load, an ECDSA key would not",
                     LOG_STR("file", certs->key_path), LOG_I64("bits", certs->slow_rsa_bits));
        return;
    }
    note_refused(certs, &certs->pair, certs->pair.loaded ? "new certificate not taken, the old one stays in use"
                                                         : "no usable certificate, not ready", &err);
    if (may_pass(rc))
        certs->cert_stamp = FILE_STAMP_NONE;
}

static void reload_ca(struct certs *certs)
{
    struct err err;
    int rc = take_ca(certs, &err);
    if (rc == 0) {
        note_taken(&certs->client_ca);
        log_info("client CA loaded", LOG_STR("file", certs->client_ca_path));
        return;
    }
    note_refused(certs, &certs->client_ca, certs->client_ca.loaded ? "new client CA not taken, the old one stays in use"
                                                                   : "no usable client CA, not ready", &err);
    if (may_pass(rc))
        certs->client_ca_stamp = FILE_STAMP_NONE;
}

static bool has_changed(const char *path, struct file_stamp *stamp)
{
    struct file_stamp now = file_stamp_of(path);
    if (file_stamp_equal(&now, stamp))
        return false;
    *stamp = now;
    return true;
}

/* Both stamps of a pair are taken before the files are read: a swap in between is seen at the next look. */
void certs_look(struct certs *certs)
{
    bool cert_changed = has_changed(certs->cert_path, &certs->cert_stamp);
    bool key_changed = has_changed(certs->key_path, &certs->key_stamp);
    if (cert_changed || key_changed)
        reload_pair(certs);
    if (certs->client_ca_path != NULL && has_changed(certs->client_ca_path, &certs->client_ca_stamp))
        reload_ca(certs);
    loop_timer_arm(&certs->poll, certs->poll_ms);
}

static void on_poll(void *ctx)
{
    certs_look(ctx);
}

/* ---- from outside ---- */

static int copy_paths(struct certs *certs, const struct certs_files *files, struct err *err)
{
    certs->cert_path = strdup(files->cert);
    certs->key_path = strdup(files->key);
    certs->client_ca_path = files->client_ca != NULL ? strdup(files->client_ca) : NULL;
    bool ok = certs->cert_path != NULL && certs->key_path != NULL &&
              (files->client_ca == NULL || certs->client_ca_path != NULL);
    return ok ? 0 : err_set(err, ENOMEM, "no memory for certificates");
}

int certs_new(struct loop *loop, struct httpd *httpd, const struct certs_files *files, int64_t poll_ms,
              struct certs **ret, struct err *err)
{
    CLEANUP_CERTS struct certs *certs = calloc(1, sizeof(*certs));
    if (certs == NULL)
        return err_set(err, ENOMEM, "no memory for certificates");
    *certs = (struct certs){.loop = loop, .httpd = httpd, .poll_ms = poll_ms, .cert_stamp = FILE_STAMP_NONE,
                            .key_stamp = FILE_STAMP_NONE, .client_ca_stamp = FILE_STAMP_NONE, .from = SECRET_FROM_ANY};
    certs->pair.loads = &certs->stats.pair;
    certs->client_ca.loads = &certs->stats.client_ca;
    loop_timer_init(&certs->poll, loop, on_poll, certs);
    int rc = copy_paths(certs, files, err);
    if (rc < 0)
        return rc;
    certs_look(certs);
    certs->from = SECRET_FROM_FILE;
    *ret = TAKE_PTR(certs);
    return 0;
}

struct certs *certs_free(struct certs *certs)
{
    if (certs == NULL)
        return NULL;
    loop_timer_disarm(&certs->poll);
    free(certs->cert_path);
    free(certs->key_path);
    free(certs->client_ca_path);
    free(certs);
    return NULL;
}

bool certs_usable(const struct certs *certs, int64_t now_s, const char **ret_reason)
{
    if (!certs->pair.loaded) {
        *ret_reason = certs->pair.reason;
        return false;
    }
    if (certs->client_ca_path != NULL && !certs->client_ca.loaded) {
        *ret_reason = certs->client_ca.reason;
        return false;
    }
    if (certs->expiry_s <= now_s) {
        *ret_reason = "the certificate has expired";
        return false;
    }
    return true;
}

int64_t certs_expiry_s(const struct certs *certs)
{
    return certs->expiry_s;
}

const struct certs_stats *certs_get_stats(const struct certs *certs)
{
    return &certs->stats;
}
