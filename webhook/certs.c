#include "webhook/certs.h"

#include "common/cleanup.h"
#include "common/file.h"
#include "common/log.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>

/* What tells a file from its successor. */
struct stamp {
    dev_t device;
    ino_t inode;
    struct timespec modified;
    off_t size;
    int error; /* errno of stat, 0 = there */
};

struct certs {
    struct httpd *httpd;
    char *cert_path, *key_path;
    struct loop_timer poll;
    struct stamp cert_stamp, key_stamp;
    int64_t expiry_s;          /* of the pair in use; 0 = none yet */
    char reason[ERR_TEXT_MAX]; /* why there is no pair in use, or why the newest files were not taken */
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
    return err_set(err, EINVAL, "%s: %s: %s", path, what, gnutls_strerror(rc));
}

static gnutls_datum_t datum(char *bytes, size_t len)
{
    return (gnutls_datum_t){(unsigned char *)bytes, (unsigned)len};
}

static void cleanup_crt(gnutls_x509_crt_t *crt)
{
    if (*crt != NULL)
        gnutls_x509_crt_deinit(*crt);
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

static int check_dates(gnutls_x509_crt_t leaf, const char *cert_path, int64_t now_s, int64_t *ret_expiry_s, struct err *err)
{
    int64_t expiry_s = gnutls_x509_crt_get_expiration_time(leaf);
    if (expiry_s <= now_s)
        return err_set(err, EINVAL, "%s expired %lld s ago", cert_path, (long long)(now_s - expiry_s));
    *ret_expiry_s = expiry_s;
    return 0;
}

static int check_pair(struct pair *pair, const char *cert_path, const char *key_path, int64_t now_s, struct err *err)
{
    CLEANUP(cleanup_crt) gnutls_x509_crt_t leaf = NULL;
    CLEANUP(cleanup_privkey) gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t cert_pem = datum(pair->cert, pair->cert_len), key_pem = datum(pair->key, pair->key_len);
    if (gnutls_x509_crt_init(&leaf) < 0 || gnutls_x509_privkey_init(&key) < 0)
        return err_set(err, ENOMEM, "no memory for a certificate");
    int rc = gnutls_x509_crt_import(leaf, &cert_pem, GNUTLS_X509_FMT_PEM); /* the first of the chain */
    if (rc < 0)
        return tls_error(err, cert_path, "expected PEM certificates", rc);
    rc = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0)
        return tls_error(err, key_path, "expected a PEM private key", rc);
    rc = check_key_belongs(leaf, key, cert_path, key_path, err);
    if (rc == 0)
        rc = check_dates(leaf, cert_path, now_s, &pair->expiry_s, err);
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

int certs_check(const char *cert_path, const char *key_path, int64_t now_s, struct err *err)
{
    CLEANUP(pair_done) struct pair pair = {0};
    return load_pair(cert_path, key_path, now_s, &pair, err);
}

/* ---- looking at the files ---- */

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct stamp){.error = errno};
    return (struct stamp){.device = st.st_dev, .inode = st.st_ino, .modified = st.st_mtim, .size = st.st_size};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->size == b->size && a->error == b->error;
}

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

static void reload(struct certs *certs)
{
    struct err err;
    if (take_pair(certs, &err) == 0) {
        certs->reason[0] = '\0';
        certs->stats.reloads++;
        log_info("certificate loaded", LOG_STR("file", certs->cert_path), LOG_I64("expires", certs->expiry_s));
        return;
    }
    certs->stats.failures++;
    memcpy(certs->reason, err.text, sizeof(certs->reason));
    if (certs->expiry_s != 0)
        log_error("new certificate not taken, the old one stays in use", LOG_ERR(&err));
    else
        log_error("no usable certificate, not ready", LOG_ERR(&err));
}

/* Both stamps are taken before the files are read: a swap in between is seen at the next look. */
static void look(void *ctx)
{
    struct certs *certs = ctx;
    struct stamp cert = stamp_of(certs->cert_path), key = stamp_of(certs->key_path);
    if (!same_stamp(&cert, &certs->cert_stamp) || !same_stamp(&key, &certs->key_stamp)) {
        certs->cert_stamp = cert;
        certs->key_stamp = key;
        reload(certs);
    }
    loop_timer_arm(&certs->poll, CERTS_POLL_MS);
}

/* ---- from outside ---- */

int certs_new(struct loop *loop, struct httpd *httpd, const char *cert_path, const char *key_path, struct certs **ret,
              struct err *err)
{
    struct certs *certs = calloc(1, sizeof(*certs));
    if (certs == NULL)
        return err_set(err, ENOMEM, "no memory for certificates");
    certs->httpd = httpd;
    certs->cert_path = strdup(cert_path);
    certs->key_path = strdup(key_path);
    certs->cert_stamp.error = certs->key_stamp.error = -1; /* like no file's: the first look loads */
    loop_timer_init(&certs->poll, loop, look, certs);
    if (certs->cert_path == NULL || certs->key_path == NULL) {
        certs_free(certs);
        return err_set(err, ENOMEM, "no memory for certificates");
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
    free(certs);
    return NULL;
}

bool certs_usable(const struct certs *certs, int64_t now_s, const char **ret_reason)
{
    if (certs->expiry_s == 0) {
        *ret_reason = certs->reason;
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
