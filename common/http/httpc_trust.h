/* Why a TLS handshake failed, in the same words whatever TLS library libcurl has. Pure.
 *
 * libcurl gives what its library gives: numbers with mbedTLS, and with GnuTLS one sentence for all that can be wrong
 * with a chain of certificates, whose reason is in a number beside it.
 */
#ifndef PROFEFE_HTTPC_TRUST_H
#define PROFEFE_HTTPC_TRUST_H

extern const char httpc_trust_wrong_purpose[];

/* curl_text: libcurl's own words. gnutls_status: of gnutls_certificate_status_t, 0 = none known. NULL where nothing
 * better than curl_text is known; else lives as long as the program. */
const char *httpc_trust_words(const char *curl_text, unsigned gnutls_status);

#endif
