#include "webhook/certs.h"

#include "common/base/cleanup.h"
#include "common/os/file.h"
#include "common/os/log.h"
#include "common/os/file_stamp.h"

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
    int64_t expiry_s; /* of the pair in use; 0 = none yet */
    struct certs_stats stats;
};

/* The two files, read and found to be a pair. */
struct pair {
    char *cert, *key; /* PEM */
    size_t cert_len, key_len;
    int64_t expiry_s;
};

/* ---- one pair ---- */

static void pair_done(struct pair *pair)
{
    free(pair->cert);
    if (pair->key != NULL)
        explicit_bzero(pair->key, pair->key_len);
    free(pair->key);
}

static int tls_error(struct err *err, const char *path, const char *what, int rc)
{
    return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s: %s", path, what, gnutls_strerror(rc));
}

static gnutls_datum_t datum(char *bytes, size_t len)
{
    return (gnutls_datum_t){(unsigned char *)bytes, (unsigned)len};
}

struct chain {
    gnutls_x509_crt_t *certs;
    unsigned count;
};

static void chain_done(struct chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++)
        gnutls_x509_crt_deinit(chain->certs[i]);
    gnutls_free(chain->certs);
}

static int read_chain(const char *path, gnutls_datum_t pem, unsigned flags, struct chain *ret, struct err *err)
{
    int rc = gnutls_x509_crt_list_import2(&ret->certs, &ret->count, &pem, GNUTLS_X509_FMT_PEM, flags);
    return rc < 0 ? tls_error(err, path, "expected PEM certificates", rc) : 0;
}

static void cleanup_privkey(gnutls_x509_privkey_t *key)
{
    if (*key != NULL)
        gnutls_x509_privkey_deinit(*key);
}

static int check_key_belongs(gnutls_x509_crt_t leaf, gnutls_x509_privkey_t key, const char *cert_path,
                             const char *key_path, struct err *err)
{
    unsigned char of_cert[64], of_key[64];
    size_t cert_len = sizeof(of_cert), key_len = sizeof(of_key);
    int rc = gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len);
    if (rc == 0)
        rc = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len);
    if (rc < 0)
        return tls_error(err, key_path, "cannot compare it with the certificate", rc);
    if (cert_len != key_len || memcmp(of_cert, of_key, key_len) != 0)
        return err_set(err, EINVAL, "%s does not belong to the certificate in %s", key_path, cert_path);
    return 0;
}

/* -EAGAIN: not yet. */
static int check_dates(gnutls_x509_crt_t leaf, const char *cert_path, int64_t now_s, int64_t *ret_expiry_s, struct err *err)
{
    int64_t begin_s = gnutls_x509_crt_get_activation_time(leaf);
    int64_t expiry_s = gnutls_x509_crt_get_expiration_time(leaf);
    if (expiry_s <= now_s)
        return err_set(err, EINVAL, "%s expired %lld s ago", cert_path, (long long)(now_s - expiry_s));
    if (begin_s > now_s)
        return err_set(err, EAGAIN, "%s is not valid before %lld s from now", cert_path, (long long)(begin_s - now_s));
    *ret_expiry_s = expiry_s;
    return 0;
}

static int check_pair(struct pair *pair, const char *cert_path, const char *key_path, int64_t now_s, struct err *err)
{
    CLEANUP(chain_done) struct chain chain = {.count = 0};
    CLEANUP(cleanup_privkey) gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t key_pem = datum(pair->key, pair->key_len);
    int rc = read_chain(cert_path, datum(pair->cert, pair->cert_len), GNUTLS_X509_CRT_LIST_SORT, &chain, err);
    if (rc < 0)
        return rc;
    if (gnutls_x509_privkey_init(&key) < 0)
        return err_set(err, ENOMEM, "no memory for a private key");
    rc = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0)
        return tls_error(err, key_path, "expected a PEM private key", rc);
    rc = check_key_belongs(chain.certs[0], key, cert_path, key_path, err);
    if (rc == 0)
        rc = check_dates(chain.certs[0], cert_path, now_s, &pair->expiry_s, err);
    return rc;
}

static int load_pair(const char *cert_path, const char *key_path, int64_t now_s, struct pair *pair, struct err *err)
{
    int rc = file_read(cert_path, CERTS_FILE_MAX, &pair->cert, &pair->cert_len, err);
    if (rc == 0)
        rc = file_read(key_path, CERTS_FILE_MAX, &pair->key, &pair->key_len, err);
    if (rc == 0)
        rc = check_pair(pair, cert_path, key_path, now_s, err);
    return rc;
}

/* ---- the CA of clients ---- */

static int check_ca(const char *path, char *bytes, size_t len, struct err *err)
{
    CLEANUP(chain_done) struct chain chain = {.count = 0};
    return read_chain(path, datum(bytes, len), 0, &chain, err);
}

static int load_ca(const char *path, char **ret, size_t *ret_len, struct err *err)
{
    int rc = file_read(path, CERTS_FILE_MAX, ret, ret_len, err);
    return rc == 0 ? check_ca(path, *ret, *ret_len, err) : rc;
}

int certs_check(const struct certs_files *files, int64_t now_s, struct err *err)
{
    CLEANUP(pair_done) struct pair pair = {0};
    CLEANUP_FREE char *ca = NULL;
    size_t ca_len = 0;
    int rc = load_pair(files->cert, files->key, now_s, &pair, err);
    return rc == 0 && files->client_ca != NULL ? load_ca(files->client_ca, &ca, &ca_len, err) : rc;
}

/* ---- looking at the files ---- */

static int take_pair(struct certs *certs, struct err *err)
{
    CLEANUP(pair_done) struct pair pair = {0};
    int rc = load_pair(certs->cert_path, certs->key_path, loop_wall_ms() / 1000, &pair, err);
    if (rc == 0)
        rc = httpd_set_pair(certs->httpd, (struct span){pair.cert, pair.cert_len}, (struct span){pair.key, pair.key_len}, err);
    if (rc == 0)
        certs->expiry_s = pair.expiry_s;
    return rc;
}

static int take_ca(struct certs *certs, struct err *err)
{
    CLEANUP_FREE char *bytes = NULL;
    size_t len = 0;
    int rc = load_ca(certs->client_ca_path, &bytes, &len, err);
    return rc == 0 ? httpd_set_client_ca(certs->httpd, (struct span){bytes, len}, err) : rc;
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

static bool changed(const char *path, struct file_stamp *stamp)
{
    struct file_stamp now = file_stamp_of(path);
    if (file_stamp_equal(&now, stamp))
        return false;
    *stamp = now;
    return true;
}

/* Both stamps of a pair are taken before the files are read: a swap in between is seen at the next look. */
static void look(void *ctx)
{
    struct certs *certs = ctx;
    bool cert_changed = changed(certs->cert_path, &certs->cert_stamp);
    bool key_changed = changed(certs->key_path, &certs->key_stamp);
    if (cert_changed || key_changed)
        reload_pair(certs);
    if (certs->client_ca_path != NULL && changed(certs->client_ca_path, &certs->client_ca_stamp))
        reload_ca(certs);
    loop_timer_arm(&certs->poll, certs->poll_ms);
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

int certs_new(struct loop *loop, struct httpd *httpd, const struct certs_files *files, int64_t poll_ms, struct certs **ret,
              struct err *err)
{
    struct certs *certs = calloc(1, sizeof(*certs));
    if (certs == NULL)
        return err_set(err, ENOMEM, "no memory for certificates");
    *certs = (struct certs){.loop = loop, .httpd = httpd, .poll_ms = poll_ms, .cert_stamp = FILE_STAMP_NONE,
                            .key_stamp = FILE_STAMP_NONE, .client_ca_stamp = FILE_STAMP_NONE};
    certs->pair.loads = &certs->stats.pair;
    certs->client_ca.loads = &certs->stats.client_ca;
    loop_timer_init(&certs->poll, loop, look, certs);
    int rc = copy_paths(certs, files, err);
    if (rc < 0) {
        certs_free(certs);
        return rc;
    }
    look(certs);
    *ret = certs;
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
