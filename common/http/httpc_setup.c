/* What is tuned to libcurl 7.88.1 and 8.14.1 here:
 *
 * - http_proxy of the environment is obeyed even for 127.0.0.1, unless the proxy is "";
 * - MAXFILESIZE stops an announced size at once, but no chunked body: httpc_transfer.c counts the bytes;
 * - without verification the system's CAs, some 140, would still be parsed;
 * - 8.14.1 tries all IPv6 addresses of a host first, whatever their order;
 * - a kept connection is used again where the texts of ca_file and cert_file are the same (lib/vtls/vtls.c): what is in
 *   the files is not compared;
 * - without QUICK_EXIT the end of a transfer waits for its resolver thread;
 * - with 7.88.1 on GnuTLS a server that wants to negotiate anew (TLS 1.2) and falls silent holds up the loop until
 *   timeout_ms; 8.14.1 does not wait there, and no option of 7.88.1 or GnuTLS turns that off.
 */
#include "common/http/httpc_setup.h"

#include "common/base/quote.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum {
    CURL_BUFFER = 16 * 1024, /* libcurl's own, each way, one pair a transfer */
    HEADER_LINE_MAX = 256,   /* headers we send, as one line, but for Authorization */
    RESOLVE_LINE_MAX = 64,
};

/* A libcurl that was built without a thing need not be told to leave it. */
#define LEAVE(easy, option, value)                                                                 \
    do {                                                                                           \
        CURLcode leave_code_ = curl_easy_setopt(easy, option, value);                              \
        if (leave_code_ != CURLE_OK && leave_code_ != CURLE_UNKNOWN_OPTION &&                      \
            leave_code_ != CURLE_NOT_BUILT_IN)                                                     \
            return leave_code_;                                                                    \
    } while (0)

static CURLcode set_rules(CURL *easy)
{
    LEAVE(easy, CURLOPT_PROXY, "");
    LEAVE(easy, CURLOPT_NOPROXY, "*");
    HTTPC_SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    HTTPC_SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    HTTPC_SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    HTTPC_SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    HTTPC_SET(easy, CURLOPT_NOSIGNAL, 1L);
    HTTPC_SET(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    HTTPC_SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
    HTTPC_SET(easy, CURLOPT_MAXAGE_CONN, (long)HTTPC_IDLE_MAX_S);
    HTTPC_SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    LEAVE(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
    HTTPC_SET(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return CURLE_OK;
}

static CURLcode add_line(struct httpc_transfer *transfer, const char *line)
{
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (longer == NULL)
        return CURLE_OUT_OF_MEMORY;
    transfer->headers = longer;
    return CURLE_OK;
}

static CURLcode add_header(struct httpc_transfer *transfer, const char *name, const char *value)
{
    char line[HEADER_LINE_MAX];
    /* "Name:" without a value tells libcurl to leave out a header of its own. */
    int len = snprintf(line, sizeof(line), value != NULL ? "%s: %s" : "%s:", name, value);
    if (len < 0 || (size_t)len >= sizeof(line))
        return CURLE_BAD_FUNCTION_ARGUMENT;
    return add_line(transfer, line);
}

static CURLcode add_authorization(struct httpc_transfer *transfer, const char *value)
{
    char line[sizeof("Authorization: ") + HTTPC_AUTHORIZATION_MAX];
    snprintf(line, sizeof(line), "Authorization: %s", value);
    CURLcode code = add_line(transfer, line);
    explicit_bzero(line, strlen(line));
    return code;
}

static CURLcode set_headers(struct httpc_transfer *transfer, const struct httpc_request *request)
{
    bool chunked = request->source != NULL && request->source_size < 0;
    CURLcode code = add_header(transfer, "Expect", NULL);
    if (code == CURLE_OK && strcmp(request->method, "POST") == 0)
        code = add_header(transfer, "Content-Type", request->content_type);
    if (code == CURLE_OK && request->accept_encoding != NULL)
        code = add_header(transfer, "Accept-Encoding", request->accept_encoding);
    if (code == CURLE_OK && chunked)
        code = add_header(transfer, "Transfer-Encoding", "chunked");
    if (code == CURLE_OK && request->close_after)
        code = add_header(transfer, "Connection", "close");
    if (code == CURLE_OK && request->authorization != NULL)
        code = add_authorization(transfer, request->authorization);
    if (code != CURLE_OK)
        return code;
    HTTPC_SET(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return CURLE_OK;
}

static CURLcode set_method(CURL *easy, const struct httpc_request *request)
{
    if (strcmp(request->method, "GET") == 0) {
        HTTPC_SET(easy, CURLOPT_HTTPGET, 1L);
        return CURLE_OK;
    }
    HTTPC_SET(easy, CURLOPT_POST, 1L);
    if (request->source == NULL)
        HTTPC_SET(easy, CURLOPT_COPYPOSTFIELDS, "");
    HTTPC_SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(request->source != NULL ? request->source_size : 0));
    return CURLE_OK;
}

static CURLcode set_insecure(CURL *easy)
{
    HTTPC_SET(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    HTTPC_SET(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    HTTPC_SET(easy, CURLOPT_CAINFO, NULL);
    LEAVE(easy, CURLOPT_CAPATH, NULL);
    return CURLE_OK;
}

static CURLcode set_tls(CURL *easy, const struct httpc_tls *tls)
{
    if (tls->ca_file != NULL) {
        HTTPC_SET(easy, CURLOPT_CAINFO, tls->ca_file);
        LEAVE(easy, CURLOPT_CAPATH, NULL);
    }
    HTTPC_SET(easy, CURLOPT_SSLCERT, tls->cert_file);
    HTTPC_SET(easy, CURLOPT_SSLKEY, tls->key_file);
    return CURLE_OK;
}

static CURLcode set_request(struct httpc_transfer *transfer, const struct httpc_request *request)
{
    CURL *easy = transfer->easy;
    HTTPC_SET(easy, CURLOPT_URL, request->url);
    HTTPC_SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    HTTPC_SET(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    HTTPC_SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->body_max);
    HTTPC_SET(easy, CURLOPT_FORBID_REUSE, request->close_after ? 1L : 0L);
    HTTPC_SET(easy, CURLOPT_FRESH_CONNECT, request->close_after ? 1L : 0L);
    HTTPC_SET(easy, CURLOPT_TCP_KEEPALIVE, request->close_after ? 0L : 1L); /* else its timeout is enough */
    CURLcode code = request->insecure ? set_insecure(easy) : CURLE_OK;
    if (code == CURLE_OK && request->tls != NULL)
        code = set_tls(easy, request->tls);
    if (code == CURLE_OK)
        code = set_method(easy, request);
    return code == CURLE_OK ? set_headers(transfer, request) : code;
}

static bool is_address(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

/* "localhost" by our own order, whatever libcurl's and the resolver's are: 127.0.0.1 comes as an IPv6 address, and once
 * more for where IPv6 is off. */
static CURLcode set_resolve(struct httpc_transfer *transfer, const char *host, const char *port)
{
    char line[RESOLVE_LINE_MAX];
    if (strcasecmp(host, "localhost") != 0) {
        transfer->has_name = !is_address(host);
        return CURLE_OK;
    }
    snprintf(line, sizeof(line), "localhost:%s:[::ffff:127.0.0.1],[::1],127.0.0.1", port);
    transfer->resolve = curl_slist_append(NULL, line);
    if (transfer->resolve == NULL)
        return CURLE_OUT_OF_MEMORY;
    HTTPC_SET(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
    return CURLE_OK;
}

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void free_part(char **part)
{
    curl_free(*part);
}

static int bad_url(const char *url, const char *reason, struct err *err)
{
    struct quoted quoted;
    return err_set(err, EINVAL, "expected an absolute http or https URL, got %s: %s", quote_text(&quoted, url), reason);
}

static bool is_readable(const char *path)
{
    return path != NULL && access(path, R_OK) == 0;
}

/* Said before a connection is tried: the TLS libraries would only find that they do not know the server's CA. */
static int check_cas(const struct httpc_request *request, struct err *err)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    const char *bundle = curl->cainfo != NULL ? curl->cainfo : curl->capath;
    const char *hint = request->ca_hint;
    const char *expected = hint != NULL || bundle != NULL ? ": expected " : "";
    const char *or = hint != NULL && bundle != NULL ? ", or " : "";
    bool has_own = request->tls != NULL && request->tls->ca_file != NULL;
    if (request->insecure || has_own || is_readable(curl->cainfo) || is_readable(curl->capath))
        return 0;
    return err_set(err, ENOENT, "https without CA certificates%s%s%s%s%s", expected, hint != NULL ? hint : "", or,
                   bundle != NULL ? "the system's in " : "", bundle != NULL ? bundle : "");
}

static int set_up_url(struct httpc_transfer *transfer, const struct httpc_request *request, struct err *err)
{
    const char *text = request->url;
    CLEANUP(free_url) CURLU *url = curl_url();
    CLEANUP(free_part) char *scheme = NULL;
    CLEANUP(free_part) char *host = NULL;
    CLEANUP(free_part) char *port = NULL;
    if (url == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code == CURLUE_OUT_OF_MEMORY)
        return err_errno(err, ENOMEM, "HTTP transfer");
    if (code != CURLUE_OK)
        return bad_url(text, curl_url_strerror(code), err);
    if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
        return bad_url(text, "another scheme", err);
    if (set_resolve(transfer, host, port) != CURLE_OK)
        return err_errno(err, ENOMEM, "HTTP transfer");
    transfer->over_tls = strcasecmp(scheme, "https") == 0;
    transfer->verified = transfer->over_tls && !request->insecure;
    return transfer->over_tls ? check_cas(request, err) : 0;
}

/* A control character could begin another header. The value is a secret. */
static int check_authorization(const char *value, struct err *err)
{
    size_t len = strlen(value);
    if (len > HTTPC_AUTHORIZATION_MAX)
        return err_set(err, EINVAL, "Authorization header: expected at most %d bytes, got %zu",
                       HTTPC_AUTHORIZATION_MAX, len);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return err_set(err, EINVAL, "Authorization header: expected no control character, got one as byte %zu",
                           i + 1);
    }
    return 0;
}

static CURLcode set_all(struct httpc_transfer *transfer, const struct httpc_request *request, const char *user_agent,
                        bool fresh_dns)
{
    CURLcode code = set_rules(transfer->easy);
    if (code == CURLE_OK)
        code = set_request(transfer, request);
    if (code != CURLE_OK)
        return code;
    HTTPC_SET(transfer->easy, CURLOPT_USERAGENT, user_agent);
    HTTPC_SET(transfer->easy, CURLOPT_DNS_CACHE_TIMEOUT, fresh_dns ? 0L : (long)HTTPC_DNS_CACHE_S);
    return CURLE_OK;
}

int httpc_setup(struct httpc_transfer *transfer, const struct httpc_request *request, const char *user_agent,
                bool fresh_dns, struct err *err)
{
    if (request->authorization != NULL && check_authorization(request->authorization, err) < 0)
        return -EINVAL;
    int rc = set_up_url(transfer, request, err);
    if (rc < 0)
        return rc;
    CURLcode code = set_all(transfer, request, user_agent, fresh_dns);
    return code == CURLE_OK ? 0 : httpc_setup_error(code, err);
}

int httpc_setup_error(CURLcode code, struct err *err)
{
    if (code == CURLE_OUT_OF_MEMORY)
        return err_errno(err, ENOMEM, "HTTP transfer");
    return err_set(err, EINVAL, "HTTP transfer: %s", curl_easy_strerror(code));
}
