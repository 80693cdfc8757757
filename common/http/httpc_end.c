/* libcurl's codes, as 7.88.1 and 8.14.1 use them:
 *
 * - a header line over libcurl's own limit is "out of memory" (7.88.1) or CURLE_TOO_LARGE (8.6 and later);
 * - bad chunking and a broken connection share CURLE_RECV_ERROR; only the words tell ("… in chunked-encoding" in
 *   7.88.1, also "chunk hex-length …" and "invalid chunk size" in 8.14.1);
 * - a connection that closes inside the headers is CURLE_OK;
 * - an unknown HTTP version in the reply is CURLE_UNSUPPORTED_PROTOCOL, like a scheme in the URL;
 * - a lack of memory has many names.
 */
#include "common/http/httpc_end.h"

#include "common/http/httpc_trust.h"

#include <stdio.h>
#include <string.h>

#if LIBCURL_VERSION_NUM >= 0x080600
#define LINE_TOO_LONG CURLE_TOO_LARGE
#else
#define LINE_TOO_LONG ((CURLcode)100)
#endif

const char *const httpc_end_names[HTTPC_END_COUNT] = {
    [HTTPC_OK] = "ok",
    [HTTPC_BAD_URL] = "bad-url",
    [HTTPC_RESOLVE] = "resolve",
    [HTTPC_REFUSED] = "refused",
    [HTTPC_CONNECT_TIMEOUT] = "connect-timeout",
    [HTTPC_TIMEOUT] = "timeout",
    [HTTPC_TLS] = "tls",
    [HTTPC_EMPTY] = "empty",
    [HTTPC_TRUNCATED] = "truncated",
    [HTTPC_RESET] = "reset",
    [HTTPC_MALFORMED] = "malformed",
    [HTTPC_ENDLESS] = "endless",
    [HTTPC_TOO_BIG] = "too-big",
    [HTTPC_ABORTED] = "aborted",
    [HTTPC_NO_MEMORY] = "no-memory",
    [HTTPC_OTHER] = "other",
};

static enum httpc_end no_memory_or(const struct httpc_end_facts *facts, enum httpc_end end)
{
    return facts->memory_failed ? HTTPC_NO_MEMORY : end;
}

static enum httpc_end end_of_timeout(const struct httpc_end_facts *facts)
{
    if (facts->connected)
        return HTTPC_TIMEOUT;
    return facts->looked_up ? HTTPC_CONNECT_TIMEOUT : HTTPC_RESOLVE;
}

static enum httpc_end end_of_connect(const struct httpc_end_facts *facts)
{
    if (facts->socket_error != 0)
        return HTTPC_OTHER;
    return facts->os_error == ETIMEDOUT ? HTTPC_CONNECT_TIMEOUT : HTTPC_REFUSED;
}

/* With TLS 1.3 a server looks at the client's certificate when the handshake is over for the client, which learns of
 * its refusal where it expects the reply. TLS libraries differ in their words for it ("alert" in most), but it is they
 * that fail, and not the socket. (An address that did not connect leaves its errno behind: then only words tell.) */
static bool is_late_refusal(const struct httpc_end_facts *facts)
{
    if (facts->code != CURLE_RECV_ERROR || !facts->over_tls || facts->in_reply)
        return false;
    return facts->os_error == 0 || strcasestr(facts->curl_text, "alert") != NULL;
}

static enum httpc_end end_of_receive(const struct httpc_end_facts *facts)
{
    if (strstr(facts->curl_text, "chunk") != NULL)
        return no_memory_or(facts, HTTPC_MALFORMED);
    if (is_late_refusal(facts))
        return HTTPC_TLS;
    return facts->in_reply ? HTTPC_TRUNCATED : HTTPC_RESET;
}

static enum httpc_end end_of_code(const struct httpc_end_facts *facts)
{
    switch (facts->code) {
    case CURLE_OK:
        return facts->headers_whole ? HTTPC_OK : facts->in_reply ? HTTPC_TRUNCATED : HTTPC_EMPTY;
    case CURLE_URL_MALFORMAT:
        return HTTPC_BAD_URL;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return facts->connected ? HTTPC_MALFORMED : HTTPC_BAD_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
        return no_memory_or(facts, HTTPC_RESOLVE);
    case CURLE_COULDNT_CONNECT:
        return end_of_connect(facts);
    case CURLE_OPERATION_TIMEDOUT:
        return end_of_timeout(facts);
    case CURLE_GOT_NOTHING:
        return facts->in_reply ? HTTPC_TRUNCATED : HTTPC_EMPTY;
    case CURLE_PARTIAL_FILE:
        return HTTPC_TRUNCATED;
    case CURLE_RECV_ERROR:
        return end_of_receive(facts);
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND: /* a kept connection died, and the source cannot begin again */
        return facts->in_reply ? HTTPC_TRUNCATED : HTTPC_RESET;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case LINE_TOO_LONG:
        return HTTPC_MALFORMED;
    case CURLE_OUT_OF_MEMORY:
        return no_memory_or(facts, HTTPC_MALFORMED);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        return HTTPC_TLS;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTPC_TOO_BIG;
    default:
        return no_memory_or(facts, HTTPC_OTHER);
    }
}

enum httpc_end httpc_end_of(const struct httpc_end_facts *facts)
{
    switch (facts->stop) {
    case HTTPC_STOP_HEADERS:
    case HTTPC_STOP_NOISE:
        return HTTPC_ENDLESS;
    case HTTPC_STOP_BODY:
        return HTTPC_TOO_BIG;
    case HTTPC_STOP_CALLER:
        return HTTPC_ABORTED;
    case HTTPC_STOP_PURPOSE:
        return HTTPC_TLS;
    case HTTPC_STOP_WATCH:
        return facts->watch_error == ENOMEM ? HTTPC_NO_MEMORY : HTTPC_OTHER;
    case HTTPC_STOP_CURL:
        return no_memory_or(facts, HTTPC_OTHER);
    case HTTPC_STOP_NONE:
        break;
    }
    return end_of_code(facts);
}

/* With TLS 1.2 the refusal comes inside the handshake: GnuTLS has a name for each alert, mbedTLS a number for all. A
 * server that closes its socket at once leaves us no alert, only that we cannot send on. */
static bool is_early_refusal(const struct httpc_end_facts *facts)
{
    static const char *const signs[] = {": Handshake failed", ": Certificate ", "(-0x7780)", "Send failure: "};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (facts->code == CURLE_SSL_CONNECT_ERROR && strstr(facts->curl_text, signs[i]) != NULL)
            return true;
    }
    return false;
}

/* The same with TLS 1.3, after the handshake: what is left is a reset, before anything came over a connection that
 * nothing has come over yet. */
static bool is_reset_refusal(const struct httpc_end_facts *facts)
{
    bool is_reset = facts->code == CURLE_RECV_ERROR || facts->code == CURLE_SEND_ERROR;
    return is_reset && facts->over_tls && facts->new_connection && !facts->in_reply;
}

static bool may_be_refusal(const struct httpc_end_facts *facts)
{
    return is_early_refusal(facts) || is_late_refusal(facts) || is_reset_refusal(facts);
}

static const char *words_of_code(const struct httpc_end_facts *facts)
{
    if (facts->curl_text[0] == '\0' || facts->old_text)
        return curl_easy_strerror(facts->code);
    const char *words = facts->over_tls ? httpc_trust_words(facts->curl_text, facts->gnutls_status) : NULL;
    return words != NULL ? words : facts->curl_text;
}

static void describe_code(const struct httpc_end_facts *facts, char text[static ERR_TEXT_MAX])
{
    static const char refusal[] = "TLS ended before the reply, as with a server that wants a client certificate, or "
                                  "another: ";
    CURLcode code = facts->code;
    if (code == CURLE_FILESIZE_EXCEEDED)
        snprintf(text, ERR_TEXT_MAX, "reply body over %llu bytes", (unsigned long long)facts->body_max);
    else if (code == CURLE_COULDNT_CONNECT && facts->socket_error != 0)
        snprintf(text, ERR_TEXT_MAX, "cannot open a socket: %s", strerror(facts->socket_error));
    else if (code == CURLE_OK)
        snprintf(text, ERR_TEXT_MAX, "connection closed inside the reply's headers");
    else if ((code == CURLE_OUT_OF_MEMORY || code == LINE_TOO_LONG) && end_of_code(facts) == HTTPC_MALFORMED)
        snprintf(text, ERR_TEXT_MAX, "a line of the reply's headers is too long");
    else
        snprintf(text, ERR_TEXT_MAX, "%s%s", may_be_refusal(facts) ? refusal : "", words_of_code(facts));
}

void httpc_end_describe(const struct httpc_end_facts *facts, char text[static ERR_TEXT_MAX])
{
    if (httpc_end_of(facts) == HTTPC_OK)
        text[0] = '\0';
    else if (facts->stop == HTTPC_STOP_HEADERS)
        snprintf(text, ERR_TEXT_MAX, "reply headers over %d bytes", HTTPC_HEADERS_MAX);
    else if (facts->stop == HTTPC_STOP_NOISE)
        snprintf(text, ERR_TEXT_MAX, "over %d bytes received that are neither headers nor body", HTTPC_NOISE_MAX);
    else if (facts->stop == HTTPC_STOP_BODY)
        snprintf(text, ERR_TEXT_MAX, "reply body over %llu bytes", (unsigned long long)facts->body_max);
    else if (facts->stop == HTTPC_STOP_CALLER)
        snprintf(text, ERR_TEXT_MAX, "stopped: %s", strerror(-facts->abort_code));
    else if (facts->stop == HTTPC_STOP_PURPOSE)
        snprintf(text, ERR_TEXT_MAX, "%s", httpc_trust_wrong_purpose);
    else if (facts->stop == HTTPC_STOP_CURL)
        snprintf(text, ERR_TEXT_MAX, "libcurl failed");
    else if (facts->stop == HTTPC_STOP_WATCH)
        snprintf(text, ERR_TEXT_MAX, "cannot watch the socket: %s", strerror(facts->watch_error));
    else
        describe_code(facts, text);
}
