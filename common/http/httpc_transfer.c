/* What is tuned to libcurl 7.88.1 and 8.14.1 here:
 *
 * - http_proxy of the environment is obeyed even for 127.0.0.1, unless the proxy is "";
 * - MAXFILESIZE stops an announced size at once, but no chunked body: bytes are counted by us;
 * - the headers of interim replies and trailers have no limit of libcurl's: they are counted by us;
 * - without verification the system's CAs, some 140, would still be parsed;
 * - 8.14.1 tries all IPv6 addresses of a host first, whatever their order;
 * - a kept connection is used again where the texts of ca_file and cert_file are the same (lib/vtls/vtls.c): what is in
 *   the files is not compared;
 * - without QUICK_EXIT the end of a transfer waits for its resolver thread;
 * - with 7.88.1 on GnuTLS a server that wants to negotiate anew (TLS 1.2) and falls silent holds up the loop until
 *   timeout_ms; 8.14.1 does not wait there, and no option of 7.88.1 or GnuTLS turns that off.
 */
#include "common/http/httpc_transfer.h"

#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/base/utf8.h"
#include "common/http/httpc_memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

enum {
    CURL_BUFFER = 16 * 1024, /* libcurl's own, each way, one pair a transfer */
    HEADER_LINE_MAX = 256,   /* headers we send, as one line, but for Authorization */
    RESOLVE_LINE_MAX = 64,
};

struct httpc_transfer *httpc_transfer_of(CURL *easy)
{
    char *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct httpc_transfer *)(void *)transfer;
}

static unsigned reply_status(const struct httpc_transfer *transfer)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 || status == 101 ? (unsigned)status : 0;
}

static int on_request(void *ctx, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct httpc_transfer *transfer = ctx;
    (void)peer_ip;
    (void)local_ip;
    (void)peer_port;
    (void)local_port;
    transfer->connected = true;
    return CURL_PREREQFUNC_OK;
}

/* ---- headers and bodies ---- */

static void forget_headers(struct httpc_transfer *transfer)
{
    for (unsigned i = 0; i < transfer->keep_count; i++)
        transfer->result.kept[i][0] = '\0';
}

static void keep_header(struct httpc_transfer *transfer, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return;
    struct span name = {line, (size_t)(colon - line)};
    struct span value = span_trim((struct span){colon + 1, len - name.len - 1});
    for (unsigned i = 0; i < transfer->keep_count; i++) {
        if (!span_equal_nocase(name, transfer->keep[i]))
            continue;
        char *kept = transfer->result.kept[i];
        size_t kept_len = utf8_cut(value.ptr, value.len, HTTPC_VALUE_MAX - 1);
        memcpy(kept, value.ptr, kept_len);
        kept[kept_len] = '\0';
        return;
    }
}

const char *httpc_kept(const struct httpc_transfer *transfer, unsigned i)
{
    return transfer->result.kept[i];
}

/* One line of headers, of an interim reply, of the final one, or of its trailers. */
static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct httpc_transfer *transfer = ctx;
    size_t len = size * n;
    if (transfer->state != HTTPC_RUNNING)
        return 0;
    transfer->header_bytes += len;
    if (transfer->header_bytes > HTTPC_HEADERS_MAX) {
        transfer->stop = HTTPC_STOP_HEADERS;
        return 0;
    }
    if (transfer->headers_whole)
        return len;
    if (span_trim((struct span){line, len}).len > 0) {
        keep_header(transfer, line, len);
        return len;
    }
    transfer->headers_whole = reply_status(transfer) != 0;
    if (!transfer->headers_whole)
        forget_headers(transfer);
    return len;
}

/* The caller's own decision to stop, or its cancelling the transfer while we called it. */
static bool caller_stops(struct httpc_transfer *transfer, int64_t rc)
{
    if (transfer->state != HTTPC_RUNNING)
        return true;
    if (rc >= 0)
        return false;
    transfer->stop = HTTPC_STOP_CALLER;
    transfer->result.abort_code = rc < INT_MIN ? -EIO : (int)rc;
    return true;
}

static void keep_reply(struct httpc_result *result, const char *bytes, size_t len)
{
    size_t room = HTTPC_REPLY_MAX - result->reply_len;
    size_t kept = len < room ? len : room;
    memcpy(result->reply + result->reply_len, bytes, kept);
    result->reply_len += kept;
    result->reply[result->reply_len] = '\0';
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct httpc_transfer *transfer = ctx;
    struct httpc_result *result = &transfer->result;
    size_t len = size * n;
    if (transfer->state != HTTPC_RUNNING)
        return 0;
    if (len > transfer->body_max - result->received_bytes) {
        transfer->stop = HTTPC_STOP_BODY;
        return 0;
    }
    result->received_bytes += len;
    if (len == 0)
        return 0;
    if (transfer->sink == NULL || reply_status(transfer) / 100 != 2) {
        keep_reply(result, bytes, len);
        return len;
    }
    int rc = transfer->sink(transfer->body_ctx, bytes, len);
    return caller_stops(transfer, rc) ? 0 : len;
}

static size_t end_source(struct httpc_transfer *transfer)
{
    if (transfer->source_size >= 0 && transfer->result.sent_bytes < (uint64_t)transfer->source_size) {
        caller_stops(transfer, -EIO);
        return CURL_READFUNC_ABORT;
    }
    transfer->result.body_sent = true;
    return 0;
}

static size_t on_source(char *bytes, size_t size, size_t n, void *ctx)
{
    struct httpc_transfer *transfer = ctx;
    struct httpc_result *result = &transfer->result;
    size_t len = size * n;
    if (transfer->state != HTTPC_RUNNING)
        return CURL_READFUNC_ABORT;
    if (transfer->source_size >= 0 && len > (uint64_t)transfer->source_size - result->sent_bytes)
        len = (size_t)((uint64_t)transfer->source_size - result->sent_bytes);
    int64_t got = len > 0 ? transfer->source(transfer->body_ctx, bytes, len) : 0;
    if (caller_stops(transfer, got))
        return CURL_READFUNC_ABORT;
    assert((uint64_t)got <= len);
    if (got == 0)
        return end_source(transfer);
    result->sent_bytes += (uint64_t)got;
    result->body_sent = transfer->source_size >= 0 && result->sent_bytes == (uint64_t)transfer->source_size;
    return (size_t)got;
}

/* libcurl wants to begin again on a new connection after a kept one died: only possible before the first byte. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    const struct httpc_transfer *transfer = ctx;
    bool at_start = origin == SEEK_SET && offset == 0 && transfer->result.sent_bytes == 0;
    return at_start ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* ---- setting up ---- */

#define SET(easy, option, value)                                                                   \
    do {                                                                                           \
        CURLcode set_code_ = curl_easy_setopt(easy, option, value);                                \
        if (set_code_ != CURLE_OK)                                                                 \
            return set_code_;                                                                      \
    } while (0)

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
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
    SET(easy, CURLOPT_MAXAGE_CONN, (long)HTTPC_IDLE_MAX_S);
    SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    LEAVE(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return CURLE_OK;
}

static CURLcode set_callbacks(struct httpc_transfer *transfer)
{
    CURL *easy = transfer->easy;
    SET(easy, CURLOPT_PRIVATE, transfer);
    SET(easy, CURLOPT_ERRORBUFFER, transfer->curl_text);
    SET(easy, CURLOPT_PREREQFUNCTION, on_request);
    SET(easy, CURLOPT_PREREQDATA, transfer);
    SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    SET(easy, CURLOPT_HEADERDATA, transfer);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, transfer);
    SET(easy, CURLOPT_READFUNCTION, on_source);
    SET(easy, CURLOPT_READDATA, transfer);
    SET(easy, CURLOPT_SEEKFUNCTION, on_seek);
    SET(easy, CURLOPT_SEEKDATA, transfer);
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
    SET(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return CURLE_OK;
}

static CURLcode set_method(CURL *easy, const struct httpc_request *request)
{
    if (strcmp(request->method, "GET") == 0) {
        SET(easy, CURLOPT_HTTPGET, 1L);
        return CURLE_OK;
    }
    SET(easy, CURLOPT_POST, 1L);
    if (request->source == NULL)
        SET(easy, CURLOPT_COPYPOSTFIELDS, "");
    SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(request->source != NULL ? request->source_size : 0));
    return CURLE_OK;
}

static CURLcode set_insecure(CURL *easy)
{
    SET(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    SET(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    SET(easy, CURLOPT_CAINFO, NULL);
    LEAVE(easy, CURLOPT_CAPATH, NULL);
    return CURLE_OK;
}

static CURLcode set_tls(CURL *easy, const struct httpc_tls *tls)
{
    if (tls->ca_file != NULL) {
        SET(easy, CURLOPT_CAINFO, tls->ca_file);
        LEAVE(easy, CURLOPT_CAPATH, NULL);
    }
    SET(easy, CURLOPT_SSLCERT, tls->cert_file);
    SET(easy, CURLOPT_SSLKEY, tls->key_file);
    return CURLE_OK;
}

static CURLcode set_request(struct httpc_transfer *transfer, const struct httpc_request *request)
{
    CURL *easy = transfer->easy;
    SET(easy, CURLOPT_URL, request->url);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    SET(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->body_max);
    SET(easy, CURLOPT_FORBID_REUSE, request->close_after ? 1L : 0L);
    SET(easy, CURLOPT_FRESH_CONNECT, request->close_after ? 1L : 0L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, request->close_after ? 0L : 1L); /* else its timeout is enough */
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
    SET(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
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
        code = set_callbacks(transfer);
    if (code == CURLE_OK)
        code = set_request(transfer, request);
    if (code != CURLE_OK)
        return code;
    SET(transfer->easy, CURLOPT_USERAGENT, user_agent);
    SET(transfer->easy, CURLOPT_DNS_CACHE_TIMEOUT, fresh_dns ? 0L : (long)HTTPC_DNS_CACHE_S);
    return CURLE_OK;
}

static int set_up(struct httpc_transfer *transfer, const struct httpc_request *request, const char *user_agent,
                  bool fresh_dns, struct err *err)
{
    if (request->authorization != NULL && check_authorization(request->authorization, err) < 0)
        return -EINVAL;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    int rc = set_up_url(transfer, request, err);
    if (rc < 0)
        return rc;
    CURLcode code = set_all(transfer, request, user_agent, fresh_dns);
    if (code == CURLE_OUT_OF_MEMORY)
        return err_errno(err, ENOMEM, "HTTP transfer");
    if (code != CURLE_OK)
        return err_set(err, EINVAL, "HTTP transfer: %s", curl_easy_strerror(code));
    return 0;
}

/* ---- life ---- */

static void check_request(const struct httpc_request *request)
{
    assert(request->done != NULL);
    assert(strcmp(request->method, "POST") == 0 || (strcmp(request->method, "GET") == 0 && request->source == NULL));
    assert(request->keep_count <= HTTPC_KEEP_MAX);
    /* 0 would mean "no timeout" to libcurl. */
    assert(request->timeout_ms > 0 && request->timeout_ms <= INT_MAX);
    assert(request->connect_timeout_ms > 0 && request->connect_timeout_ms <= INT_MAX);
    (void)request;
}

int httpc_transfer_new(const struct httpc_request *request, const char *user_agent, bool fresh_dns, int64_t now_ms,
                       struct httpc_transfer **ret, struct err *err)
{
    check_request(request);
    CLEANUP_HTTPC_TRANSFER struct httpc_transfer *transfer = calloc(1, sizeof(*transfer));
    if (transfer == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    transfer->wire_fd = -1;
    transfer->started_ms = now_ms;
    transfer->memory_failures = httpc_memory_failures();
    transfer->body_max = request->body_max > 0 ? request->body_max : HTTPC_REPLY_MAX;
    transfer->keep = request->keep;
    transfer->keep_count = request->keep_count;
    transfer->source_size = request->source_size < 0 ? -1 : request->source_size;
    transfer->source = request->source;
    transfer->sink = request->sink;
    transfer->body_ctx = request->body_ctx;
    transfer->done = request->done;
    transfer->done_ctx = request->done_ctx;
    int rc = set_up(transfer, request, user_agent, fresh_dns, err);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(transfer);
    return 0;
}

struct httpc_transfer *httpc_transfer_free(struct httpc_transfer *transfer)
{
    if (transfer == NULL)
        return NULL;
    curl_easy_cleanup(transfer->easy);
    for (struct curl_slist *header = transfer->headers; header != NULL; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* one of them may be a secret */
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->resolve);
    free(transfer);
    return NULL;
}

static struct httpc_end_facts facts_of(const struct httpc_transfer *transfer, CURLcode code)
{
    curl_off_t looked_up_us = 0;
    long os_error = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up_us);
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
    return (struct httpc_end_facts){
        .code = code,
        .stop = transfer->stop,
        .curl_text = transfer->curl_text,
        .old_text = transfer->old_text,
        .looked_up = looked_up_us > 0,
        .connected = transfer->connected,
        .over_tls = transfer->over_tls,
        .in_reply = transfer->header_bytes > 0,
        .headers_whole = transfer->headers_whole,
        .memory_failed = httpc_memory_failures() != transfer->memory_failures,
        .os_error = os_error,
        .socket_error = transfer->socket_error,
        .watch_error = transfer->watch_error,
        .abort_code = transfer->result.abort_code,
        .body_max = transfer->body_max,
    };
}

void httpc_transfer_finish(struct httpc_transfer *transfer, CURLcode code, int64_t now_ms)
{
    const struct httpc_end_facts facts = facts_of(transfer, code);
    struct httpc_result *result = &transfer->result;
    result->end = httpc_end_of(&facts);
    result->status = reply_status(transfer);
    httpc_end_describe(&facts, result->text);
    if (transfer->source == NULL || transfer->source_size == 0)
        result->body_sent = transfer->connected;
    result->elapsed_ms = now_ms - transfer->started_ms;
}
