/* What is tuned to libcurl 7.88.1 to 8.21.0, GnuTLS 3.7.9 and mbedTLS 3.6.6 here: the beginnings of libcurl's texts,
 * and the bits and codes of both libraries, of which each build has the header of one at most. */
#include "common/http/httpc_trust.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    GNUTLS_INVALID = 1 << 1, /* of a chain that is not believed, whatever the reason */
    MBEDTLS_ALERT = 0x7780,
    MBEDTLS_BAD_CERTIFICATE = 0x7a00, /* not made for a server; or of a curve that it does not know */
};

const char httpc_trust_wrong_purpose[] = "the server's certificate is not made for a server";

static const struct reason {
    unsigned gnutls, mbedtls;
    const char *words;
} reasons[] = {
    {1 << 6 | 1 << 7 | 1 << 11, 0x08, "the server's certificate is not from a CA that is trusted here"},
    {1 << 10, 0x01, "the server's certificate has expired"},
    {1 << 9, 0x200, "the server's certificate is not valid yet"},
    {1 << 14, 0x04, "the server's certificate is for another name"},
    {1 << 18, 0x800 | 0x1000 | 0x2000, httpc_trust_wrong_purpose},
    {1 << 8, 0x4000 | 0x8000 | 0x10000, "the server's certificate has a weak signature or key"},
};

/* The number in hexadecimal behind a beginning of the text; 0 = another text. */
static unsigned number_after(const char *text, const char *beginning)
{
    size_t len = strlen(beginning);
    return strncmp(text, beginning, len) == 0 ? (unsigned)strtoul(text + len, NULL, 16) : 0;
}

static const char *words_of_certificate(unsigned gnutls, unsigned mbedtls)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if ((gnutls & reasons[i].gnutls) != 0 || (mbedtls & reasons[i].mbedtls) != 0)
            return reasons[i].words;
    }
    return NULL;
}

static const char *words_of_code(unsigned mbedtls)
{
    if (mbedtls == MBEDTLS_BAD_CERTIFICATE)
        return httpc_trust_wrong_purpose;
    return mbedtls == MBEDTLS_ALERT ? "the server sent an alert" : NULL;
}

const char *httpc_trust_words(const char *curl_text, unsigned gnutls_status)
{
    unsigned gnutls = (gnutls_status & GNUTLS_INVALID) != 0 ? gnutls_status : 0;
    unsigned code = number_after(curl_text, "ssl_handshake returned: (-");
    if (strncmp(curl_text, "SSL: certificate subject name (", 31) == 0) /* GnuTLS' chain is good, then */
        gnutls = 1 << 14;
    if (code == 0)
        code = number_after(curl_text, "ssl_read returned: (-");
    if (code != 0)
        return words_of_code(code);
    return words_of_certificate(gnutls, number_after(curl_text, "mbedTLS: certificate verification error "));
}
