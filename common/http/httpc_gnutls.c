#include "common/http/httpc_gnutls.h"

#include "common/base/cleanup.h"

#include <gnutls/x509.h>
#include <string.h>

static void free_certificate(gnutls_x509_crt_t *certificate)
{
    if (*certificate != NULL)
        gnutls_x509_crt_deinit(*certificate);
}

static bool is_for_servers(const gnutls_datum_t *der)
{
    CLEANUP(free_certificate) gnutls_x509_crt_t certificate = NULL;
    return gnutls_x509_crt_init(&certificate) == GNUTLS_E_SUCCESS &&
           gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS &&
           gnutls_x509_crt_check_key_purpose(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0) != 0;
}

bool httpc_gnutls_is_server(CURL *easy)
{
    struct curl_tlssessioninfo *tls = NULL;
    unsigned count = 0;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL)
        return false;
    if (tls->backend != CURLSSLBACKEND_GNUTLS)
        return true;
    const gnutls_datum_t *chain = tls->internals != NULL ? gnutls_certificate_get_peers(tls->internals, &count) : NULL;
    return chain != NULL && count > 0 && is_for_servers(&chain[0]);
}

unsigned httpc_gnutls_status(CURL *easy)
{
    const char *library = curl_version_info(CURLVERSION_NOW)->ssl_version;
    long status = 0;
    if (library == NULL || strncmp(library, "GnuTLS/", 7) != 0)
        return 0;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &status);
    return status > 0 ? (unsigned)status : 0;
}
