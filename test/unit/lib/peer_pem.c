/* sees: http */
#include "peer_pem.h"

#include "common/http/tls_pair.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <time.h>

void peer_make_pem(struct peer_pem *pem, unsigned char serial)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    const unsigned char loopback[4] = {127, 0, 0, 1};
    time_t now = time(NULL);
    pem->cert_len = sizeof(pem->cert);
    pem->key_len = sizeof(pem->key);
    if (gnutls_x509_privkey_init(&key) < 0 || gnutls_x509_crt_init(&cert) < 0 ||
        gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) < 0 ||
        gnutls_x509_crt_set_version(cert, 3) < 0 || gnutls_x509_crt_set_serial(cert, &serial, 1) < 0 ||
        gnutls_x509_crt_set_activation_time(cert, now - 3600) < 0 ||
        gnutls_x509_crt_set_expiration_time(cert, now + 3600) < 0 ||
        gnutls_x509_crt_set_dn(cert, "CN=localhost", NULL) < 0 ||
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET) < 0 ||
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, loopback, 4, GNUTLS_FSAN_APPEND) < 0 ||
        gnutls_x509_crt_set_key(cert, key) < 0 || gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0) < 0 ||
        gnutls_x509_crt_export(cert, GNUTLS_X509_FMT_PEM, pem->cert, &pem->cert_len) < 0 ||
        gnutls_x509_privkey_export(key, GNUTLS_X509_FMT_PEM, pem->key, &pem->key_len) < 0)
        abort();
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

int peer_pair(const struct peer_pem *cert, const struct peer_pem *key, struct tls_pair **ret, struct err *err)
{
    const struct tls_pair_pem cert_pem = {"cert", {cert->cert, cert->cert_len}};
    const struct tls_pair_pem key_pem = {"key", {key->key, key->key_len}};
    return tls_pair_parse(cert_pem, key_pem, time(NULL), ret, err);
}
