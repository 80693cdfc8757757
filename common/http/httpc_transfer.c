/* What is tuned to libcurl 7.88.1 and 8.14.1 here:
 *
 * - no option limits a chunked body, nor the headers of interim replies and trailers: their bytes are counted by us;
 * - when a kept connection dies libcurl begins again on a new one, for which it rewinds the source.
 */
#include "common/http/httpc_transfer.h"

#include "common/base/span.h"
#include "common/base/utf8.h"
#include "common/http/httpc_gnutls.h"
#include "common/http/httpc_memory.h"
#include "common/http/httpc_setup.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

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
    if (transfer->verified && !httpc_gnutls_is_server(transfer->easy)) {
        transfer->stop = HTTPC_STOP_PURPOSE;
        return CURL_PREREQFUNC_ABORT;
    }
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

static CURLcode set_callbacks(struct httpc_transfer *transfer)
{
    CURL *easy = transfer->easy;
    HTTPC_SET(easy, CURLOPT_PRIVATE, transfer);
    HTTPC_SET(easy, CURLOPT_ERRORBUFFER, transfer->curl_text);
    HTTPC_SET(easy, CURLOPT_PREREQFUNCTION, on_request);
    HTTPC_SET(easy, CURLOPT_PREREQDATA, transfer);
    HTTPC_SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    HTTPC_SET(easy, CURLOPT_HEADERDATA, transfer);
    HTTPC_SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    HTTPC_SET(easy, CURLOPT_WRITEDATA, transfer);
    HTTPC_SET(easy, CURLOPT_READFUNCTION, on_source);
    HTTPC_SET(easy, CURLOPT_READDATA, transfer);
    HTTPC_SET(easy, CURLOPT_SEEKFUNCTION, on_seek);
    HTTPC_SET(easy, CURLOPT_SEEKDATA, transfer);
    return CURLE_OK;
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
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    int rc = httpc_setup(transfer, request, user_agent, fresh_dns, err);
    if (rc < 0)
        return rc;
    CURLcode code = set_callbacks(transfer);
    if (code != CURLE_OK)
        return httpc_setup_error(code, err);
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
    long os_error = 0, connections = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up_us);
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connections);
    return (struct httpc_end_facts){
        .code = code,
        .stop = transfer->stop,
        .curl_text = transfer->curl_text,
        .gnutls_status = httpc_gnutls_status(transfer->easy),
        .old_text = transfer->old_text,
        .looked_up = looked_up_us > 0,
        .connected = transfer->connected,
        .over_tls = transfer->over_tls,
        .new_connection = connections > 0,
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
