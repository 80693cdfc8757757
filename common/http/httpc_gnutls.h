/* What GnuTLS is asked beside libcurl; a static build has mbedTLS, which needs no asking. */
#ifndef PROFEFE_HTTPC_GNUTLS_H
#define PROFEFE_HTTPC_GNUTLS_H

#include <curl/curl.h>
#include <stdbool.h>

#ifdef WITH_GNUTLS

/* Whether the certificate of the connection's server may be a server's, by its extended key usage: libcurl does not
 * ask GnuTLS for that, while mbedTLS and OpenSSL look at it inside the handshake. To be asked before a request goes
 * out. A certificate that cannot be read, or for want of memory, may not. */
bool httpc_gnutls_is_server(CURL *easy);

/* What GnuTLS found wrong with the server's chain of certificates, of gnutls_certificate_status_t; 0 = nothing. */
unsigned httpc_gnutls_status(CURL *easy);

#else

static inline bool httpc_gnutls_is_server(CURL *easy)
{
    (void)easy;
    return true;
}

static inline unsigned httpc_gnutls_status(CURL *easy)
{
    (void)easy;
    return 0;
}

#endif
#endif
