#include "common/http/tls_pair.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_ID_MAX = 64 }; /* bytes; SHA-256 has 32 */

struct tls_pair {
    unsigned holders;
    gnutls_certificate_credentials_t credentials;
    int64_t expiry_s;
    unsigned slow_rsa_bits;
};

/* A chain and a key on their way into credentials, which copy them. */
struct parsed {
    gnutls_x509_crt_t *chain;
    unsigned chain_len;
    gnutls_x509_privkey_t key;
};

static void parsed_done(struct parsed *parsed)
{
    for (unsigned i = 0; i < parsed->chain_len; i++)
        gnutls_x509_crt_deinit(parsed->chain[i]);
    gnutls_free(parsed->chain);
    if (parsed->key != NULL)
        gnutls_x509_privkey_deinit(parsed->key);
}

static gnutls_datum_t datum(struct span bytes)
{
    /* GnuTLS does not write to it, though the type allows. */
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)bytes.ptr, .size = (unsigned)bytes.len};
}

static int tls_error(struct err *err, const char *name, const char *what, int rc)
{
    return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s: %s", name, what, gnutls_strerror(rc));
}

static int parse_chain(struct tls_pair_pem cert, struct parsed *ret, struct err *err)
{
    gnutls_datum_t pem = datum(cert.pem);
    int rc = gnutls_x509_crt_list_import2(&ret->chain, &ret->chain_len, &pem, GNUTLS_X509_FMT_PEM,
                                          GNUTLS_X509_CRT_LIST_SORT);
    return rc < 0 ? tls_error(err, cert.name, "expected PEM certificates", rc) : 0;
}

static int parse_key(struct tls_pair_pem key, struct parsed *ret, struct err *err)
{
    gnutls_datum_t pem = datum(key.pem);
    if (gnutls_x509_privkey_init(&ret->key) < 0)
        return err_set(err, ENOMEM, "no memory for a private key");
    int rc = gnutls_x509_privkey_import2(ret->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    return rc < 0 ? tls_error(err, key.name, "expected a PEM private key", rc) : 0;
}

/* GnuTLS compares them as well, in gnutls_certificate_set_x509_key(), but 3.7.9 loses memory when they differ. */
static int check_key_belongs(const struct parsed *parsed, const char *cert_name, const char *key_name, struct err *err)
{
    unsigned char of_cert[KEY_ID_MAX], of_key[KEY_ID_MAX];
    size_t cert_len = sizeof(of_cert), key_len = sizeof(of_key);
    int rc = gnutls_x509_crt_get_key_id(parsed->chain[0], GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len);
    if (rc == 0)
        rc = gnutls_x509_privkey_get_key_id(parsed->key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len);
    if (rc < 0)
        return tls_error(err, key_name, "cannot compare it with the certificate", rc);
    if (cert_len != key_len || memcmp(of_cert, of_key, key_len) != 0)
        return err_set(err, EINVAL, "%s does not belong to the certificate in %s", key_name, cert_name);
    return 0;
}

static int check_dates(gnutls_x509_crt_t leaf, const char *cert_name, int64_t now_s, struct err *err)
{
    int64_t begin_s = gnutls_x509_crt_get_activation_time(leaf);
    int64_t expiry_s = gnutls_x509_crt_get_expiration_time(leaf);
    if (expiry_s <= now_s)
        return err_set(err, EINVAL, "%s expired %lld s ago", cert_name, (long long)(now_s - expiry_s));
    if (begin_s > now_s)
        return err_set(err, EAGAIN, "%s is not valid before %lld s from now", cert_name, (long long)(begin_s - now_s));
    return 0;
}

static unsigned slow_rsa_bits(gnutls_x509_privkey_t key)
{
    unsigned bits = 0;
    int algorithm = gnutls_x509_privkey_get_pk_algorithm2(key, &bits);
    bool rsa = algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_RSA_PSS;
    return rsa && bits >= TLS_PAIR_RSA_SLOW_BITS ? bits : 0;
}

static int make(const struct parsed *parsed, struct tls_pair **ret, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL)
        return err_set(err, ENOMEM, "no memory for a certificate and its key");
    pair->holders = 1;
    pair->expiry_s = gnutls_x509_crt_get_expiration_time(parsed->chain[0]);
    pair->slow_rsa_bits = slow_rsa_bits(parsed->key);
    int rc = gnutls_certificate_allocate_credentials(&pair->credentials);
    if (rc == GNUTLS_E_SUCCESS)
        rc = gnutls_certificate_set_x509_key(pair->credentials, parsed->chain, (int)parsed->chain_len, parsed->key);
    if (rc < 0)
        return tls_error(err, "certificate and key", "not taken", rc);
    *ret = TAKE_PTR(pair);
    return 0;
}

int tls_pair_parse(struct tls_pair_pem cert, struct tls_pair_pem key, int64_t now_s, struct tls_pair **ret,
                   struct err *err)
{
    CLEANUP(parsed_done) struct parsed parsed = {.chain = NULL};
    int rc = parse_chain(cert, &parsed, err);
    if (rc == 0)
        rc = parse_key(key, &parsed, err);
    if (rc == 0)
        rc = check_key_belongs(&parsed, cert.name, key.name, err);
    if (rc == 0)
        rc = check_dates(parsed.chain[0], cert.name, now_s, err);
    return rc == 0 ? make(&parsed, ret, err) : rc;
}

int tls_pair_load(const char *cert_path, const char *key_path, enum secret_from from, int64_t now_s,
                  struct tls_pair **ret, struct err *err)
{
    CLEANUP(secret_done) struct secret cert = {0};
    CLEANUP(secret_done) struct secret key = {0};
    int rc = secret_read(cert_path, from, TLS_PAIR_FILE_MAX, &cert, err);
    if (rc == 0)
        rc = secret_read(key_path, from, TLS_PAIR_FILE_MAX, &key, err);
    if (rc < 0)
        return rc;
    return tls_pair_parse((struct tls_pair_pem){cert_path, {cert.bytes, cert.len}},
                          (struct tls_pair_pem){key_path, {key.bytes, key.len}}, now_s, ret, err);
}

struct tls_pair *tls_pair_hold(struct tls_pair *pair)
{
    if (pair != NULL)
        pair->holders++;
    return pair;
}

struct tls_pair *tls_pair_free(struct tls_pair *pair)
{
    if (pair == NULL || --pair->holders > 0)
        return NULL;
    if (pair->credentials != NULL)
        gnutls_certificate_free_credentials(pair->credentials);
    free(pair);
    return NULL;
}

int64_t tls_pair_expiry_s(const struct tls_pair *pair)
{
    return pair->expiry_s;
}

unsigned tls_pair_slow_rsa_bits(const struct tls_pair *pair)
{
    return pair->slow_rsa_bits;
}

gnutls_certificate_credentials_t tls_pair_credentials(struct tls_pair *pair)
{
    return pair->credentials;
}
