#include "common/http/httpc.h"

#include "common/base/cleanup.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/base/utf8.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SOCKET_BUFFER = 64 * 1024,      /* each way; autotuning would take megabytes, charged to the container */
    CURL_BUFFER = 16 * 1024,        /* curl's own, each way, one pair a transfer */
    POOLED_CONNECTIONS_MAX = 4,     /* kept open while unused: one a collector and some to spare */
    HEADER_LINE_MAX = 256,          /* headers we send, as one line, but for Authorization */
    RESOLVE_LINE_MAX = 64,
    NOISE_SHARE = 64,               /* of a chunk or TLS record of one byte, what frames it stays below that */
    SOCKETS_MAX = 4 * HTTPC_TRANSFERS_MAX, /* watched at once: a try each for IPv4 and IPv6, and the resolver's pair */
};

/* What curl says of a header line over its own limit; 7.88.1 calls it "out of memory". */
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
    [HTTPC_TOO_BIG] = "too-big",
    [HTTPC_ABORTED] = "aborted",
    [HTTPC_NO_MEMORY] = "no-memory",
    [HTTPC_OTHER] = "other",
};

enum state {
    STATE_RUNNING,
    STATE_CANCELLED, /* from inside curl: taken out as soon as curl returns */
    STATE_DONE,      /* `done` is being called */
};

/* Why we made curl stop; it only knows that a callback did not like something. */
enum stop {
    STOP_NONE,
    STOP_HEADERS,
    STOP_NOISE,
    STOP_BODY,
    STOP_CALLER,
    STOP_WATCH,
    STOP_CURL, /* curl itself failed and may have lost sight of the transfer */
};

struct httpc_transfer {
    struct httpc_transfer *next;
    struct httpc *httpc;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *resolve;
    char curl_text[CURL_ERROR_SIZE]; /* of the first failure only, as curl does it */
    bool old_text;                   /* it is of a kept connection that had died, before another one was opened */
    enum state state;
    enum stop stop;
    bool connected;       /* the request is about to go out, or went */
    bool headers_whole;   /* of the final reply */
    bool looked_up;       /* the host is a name that DNS answers for */
    bool over_tls;
    enum stop stranded;   /* not STOP_NONE: to be ended by us for that reason, since curl will not */
    size_t header_bytes;
    uint64_t wire_bytes;  /* received by the socket before it was ours, once wire_fd is it */
    int wire_fd;          /* -1 = nothing was received yet */
    unsigned opened;      /* sockets, one an address tried */
    unsigned nudged;      /* value of `opened` when curl was last reminded of this transfer */
    int socket_error;     /* errno: socket(2) found no room */
    int watch_error;      /* errno: the loop could not watch the socket */
    int64_t started_ms;
    unsigned long failed_allocations; /* of the process, when we began */
    uint64_t body_max;
    int64_t source_size;
    httpc_source *source;
    httpc_sink *sink;
    void *body_ctx;
    httpc_done *done;
    void *done_ctx;
    struct httpc_result result;
};

struct watched {
    int fd;
    struct loop_watch *watch;              /* NULL = free place */
    const struct httpc_transfer *transfer; /* only to be compared */
};

struct httpc {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    struct watched sockets[SOCKETS_MAX];
    struct httpc_transfer *transfers;
    unsigned count;
    bool tainted;      /* curl ran out of memory: see renew_multi() */
    bool in_curl;      /* inside curl_multi_socket_action */
    bool in_done;
    bool distrust_dns; /* connecting to a looked-up address failed: the next transfer asks anew */
};

/* libcurl's memory. A header line over its own limit is reported as "out of memory" (7.88.1); only counting tells
 * it from the real thing. Atomic: its resolver threads allocate as well. */

static atomic_ulong failed_allocations;

static void *counted(void *memory)
{
    if (memory == NULL)
        atomic_fetch_add(&failed_allocations, 1);
    return memory;
}

static void *curl_malloc(size_t size)
{
    return counted(malloc(size));
}

static void *curl_calloc(size_t n, size_t size)
{
    return counted(calloc(n, size));
}

static void *curl_realloc(void *old, size_t size)
{
    return counted(realloc(old, size));
}

static char *curl_strdup(const char *text)
{
    return counted(strdup(text));
}

static unsigned curl_users; /* clients alive: curl_global_init and _cleanup come in pairs */

static int curl_ref(struct err *err)
{
    if (curl_users == 0 &&
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc, curl_strdup, curl_calloc) !=
            CURLE_OK)
        return err_set(err, ENOMEM, "HTTP client: libcurl did not start");
    curl_users++;
    return 0;
}

static void curl_unref(void)
{
    if (--curl_users == 0)
        curl_global_cleanup();
}

static struct httpc_transfer *transfer_of(CURL *easy)
{
    char *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct httpc_transfer *)(void *)transfer;
}

/* Results */

static bool in_reply(const struct httpc_transfer *transfer)
{
    return transfer->header_bytes > 0;
}

static bool memory_failed(const struct httpc_transfer *transfer)
{
    return atomic_load(&failed_allocations) != transfer->failed_allocations;
}

static enum httpc_end end_of_timeout(const struct httpc_transfer *transfer)
{
    curl_off_t looked_up_us = 0;
    if (transfer->connected)
        return HTTPC_TIMEOUT;
    curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up_us);
    return looked_up_us > 0 ? HTTPC_CONNECT_TIMEOUT : HTTPC_RESOLVE;
}

static enum httpc_end end_of_connect(const struct httpc_transfer *transfer)
{
    long code = 0;
    if (transfer->socket_error != 0)
        return HTTPC_OTHER;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &code);
    return code == ETIMEDOUT ? HTTPC_CONNECT_TIMEOUT : HTTPC_REFUSED;
}

/* With TLS 1.3 a server looks at the client's certificate when the handshake is over for the client, which learns of
 * its refusal where it expects the reply. TLS libraries differ in their words for it ("alert" in most), but it is they
 * that fail, and not the socket. (An address that did not connect leaves its errno behind: then only words tell.) */
static bool is_late_refusal(const struct httpc_transfer *transfer, CURLcode code)
{
    long socket_error = 0;
    if (code != CURLE_RECV_ERROR || !transfer->over_tls || in_reply(transfer))
        return false;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &socket_error);
    return socket_error == 0 || strcasestr(transfer->curl_text, "alert") != NULL;
}

/* Bad chunking and a broken connection have the same code; curl's text tells them apart ("… in chunked-encoding" in
 * 7.88.1, also "chunk hex-length …" and "invalid chunk size" in 8.14.1). */
static enum httpc_end end_of_receive(const struct httpc_transfer *transfer)
{
    if (strstr(transfer->curl_text, "chunk") != NULL)
        return memory_failed(transfer) ? HTTPC_NO_MEMORY : HTTPC_MALFORMED;
    if (is_late_refusal(transfer, CURLE_RECV_ERROR))
        return HTTPC_TLS;
    return in_reply(transfer) ? HTTPC_TRUNCATED : HTTPC_RESET;
}

static enum httpc_end end_of_code(const struct httpc_transfer *transfer, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        /* curl is content with a connection that closes inside the headers. */
        return transfer->headers_whole ? HTTPC_OK : in_reply(transfer) ? HTTPC_TRUNCATED : HTTPC_EMPTY;
    case CURLE_URL_MALFORMAT:
        return HTTPC_BAD_URL;
    case CURLE_UNSUPPORTED_PROTOCOL: /* of the URL, or an HTTP version in the reply */
        return transfer->connected ? HTTPC_MALFORMED : HTTPC_BAD_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
        return memory_failed(transfer) ? HTTPC_NO_MEMORY : HTTPC_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return end_of_connect(transfer);
    case CURLE_OPERATION_TIMEDOUT:
        return end_of_timeout(transfer);
    case CURLE_GOT_NOTHING:
        return in_reply(transfer) ? HTTPC_TRUNCATED : HTTPC_EMPTY;
    case CURLE_PARTIAL_FILE:
        return HTTPC_TRUNCATED;
    case CURLE_RECV_ERROR:
        return end_of_receive(transfer);
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND: /* a kept connection died, and the source cannot begin again */
        return in_reply(transfer) ? HTTPC_TRUNCATED : HTTPC_RESET;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case LINE_TOO_LONG:
        return HTTPC_MALFORMED;
    case CURLE_OUT_OF_MEMORY:
        return memory_failed(transfer) ? HTTPC_NO_MEMORY : HTTPC_MALFORMED;
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
    default: /* curl has many names for a lack of memory */
        return memory_failed(transfer) ? HTTPC_NO_MEMORY : HTTPC_OTHER;
    }
}

static enum httpc_end end_of(const struct httpc_transfer *transfer, CURLcode code)
{
    switch (transfer->stop) {
    case STOP_HEADERS:
    case STOP_NOISE:
        return HTTPC_MALFORMED;
    case STOP_BODY:
        return HTTPC_TOO_BIG;
    case STOP_CALLER:
        return HTTPC_ABORTED;
    case STOP_WATCH:
        return transfer->watch_error == ENOMEM ? HTTPC_NO_MEMORY : HTTPC_OTHER;
    case STOP_CURL:
        return memory_failed(transfer) ? HTTPC_NO_MEMORY : HTTPC_OTHER;
    case STOP_NONE:
        break;
    }
    return end_of_code(transfer, code);
}

static void describe(struct httpc_transfer *transfer, CURLcode code)
{
    static const char refusal[] = "TLS ended before the reply, as with a server that wants a client certificate, or "
                                  "another: ";
    bool has_text = transfer->curl_text[0] != '\0' && !transfer->old_text;
    char *text = transfer->result.text;
    if (transfer->result.end == HTTPC_OK)
        text[0] = '\0';
    else if (transfer->stop == STOP_HEADERS)
        snprintf(text, ERR_TEXT_MAX, "reply headers over %d bytes", HTTPC_HEADERS_MAX);
    else if (transfer->stop == STOP_NOISE)
        snprintf(text, ERR_TEXT_MAX, "over %d bytes received that are neither headers nor body", HTTPC_NOISE_MAX);
    else if (transfer->stop == STOP_BODY || code == CURLE_FILESIZE_EXCEEDED)
        snprintf(text, ERR_TEXT_MAX, "reply body over %llu bytes", (unsigned long long)transfer->body_max);
    else if (transfer->stop == STOP_CALLER)
        snprintf(text, ERR_TEXT_MAX, "stopped: %s", strerror(-transfer->result.abort_code));
    else if (transfer->stop == STOP_CURL)
        snprintf(text, ERR_TEXT_MAX, "libcurl failed");
    else if (transfer->stop == STOP_WATCH)
        snprintf(text, ERR_TEXT_MAX, "cannot watch the socket: %s", strerror(transfer->watch_error));
    else if (code == CURLE_COULDNT_CONNECT && transfer->socket_error != 0)
        snprintf(text, ERR_TEXT_MAX, "cannot open a socket: %s", strerror(transfer->socket_error));
    else if (code == CURLE_OK)
        snprintf(text, ERR_TEXT_MAX, "connection closed inside the reply's headers");
    else if ((code == CURLE_OUT_OF_MEMORY || code == LINE_TOO_LONG) && transfer->result.end == HTTPC_MALFORMED)
        snprintf(text, ERR_TEXT_MAX, "a line of the reply's headers is too long");
    else
        snprintf(text, ERR_TEXT_MAX, "%s%s", is_late_refusal(transfer, code) ? refusal : "",
                 has_text ? transfer->curl_text : curl_easy_strerror(code));
}

static unsigned reply_status(const struct httpc_transfer *transfer)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 || status == 101 ? (unsigned)status : 0;
}

static void fill_result(struct httpc_transfer *transfer, CURLcode code)
{
    struct httpc_result *result = &transfer->result;
    result->end = end_of(transfer, code);
    result->status = reply_status(transfer);
    result->header_bytes = transfer->header_bytes;
    describe(transfer, code);
    if (transfer->source == NULL || transfer->source_size == 0)
        result->body_sent = transfer->connected;
    result->elapsed_ms = loop_now_ms(transfer->httpc->loop) - transfer->started_ms;
}

/* The life of a transfer */

static void free_transfer(struct httpc_transfer *transfer)
{
    if (transfer->easy != NULL)
        curl_easy_cleanup(transfer->easy);
    for (struct curl_slist *header = transfer->headers; header != NULL; header = header->next)
        explicit_bzero(header->data, strlen(header->data)); /* one of them may be a secret */
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->resolve);
    free(transfer);
}

static void free_transfer_scope(struct httpc_transfer **transfer)
{
    if (*transfer != NULL)
        free_transfer(*transfer);
}

/* Takes it out of curl and of our list. */
static void detach(struct httpc_transfer *transfer)
{
    struct httpc *httpc = transfer->httpc;
    for (struct httpc_transfer **at = &httpc->transfers; *at != NULL; at = &(*at)->next) {
        if (*at == transfer) {
            *at = transfer->next;
            httpc->count--;
            break;
        }
    }
    curl_multi_remove_handle(httpc->multi, transfer->easy);
}

static void learn_about_dns(struct httpc_transfer *transfer)
{
    if (!transfer->looked_up)
        return;
    if (transfer->connected)
        transfer->httpc->distrust_dns = false;
    else if (transfer->result.end == HTTPC_REFUSED || transfer->result.end == HTTPC_CONNECT_TIMEOUT ||
             transfer->result.end == HTTPC_RESOLVE) /* libcurl 8.16 and later keeps that as well */
        transfer->httpc->distrust_dns = true;
}

static void finish(struct httpc_transfer *transfer, CURLcode code)
{
    struct httpc *httpc = transfer->httpc;
    fill_result(transfer, code);
    learn_about_dns(transfer);
    detach(transfer);
    transfer->state = STATE_DONE;
    httpc->in_done = true;
    transfer->done(transfer->done_ctx, &transfer->result);
    httpc->in_done = false;
    free_transfer(transfer);
}

struct httpc_transfer *httpc_cancel(struct httpc_transfer *transfer)
{
    if (transfer == NULL || transfer->state == STATE_DONE)
        return NULL;
    transfer->state = STATE_CANCELLED;
    if (!transfer->httpc->in_curl) { /* curl refuses to be changed from its own callbacks */
        detach(transfer);
        free_transfer(transfer);
    }
    return NULL;
}

static void reap_cancelled(struct httpc *httpc)
{
    struct httpc_transfer *next = NULL;
    for (struct httpc_transfer *transfer = httpc->transfers; transfer != NULL; transfer = next) {
        next = transfer->next;
        if (transfer->state == STATE_CANCELLED) {
            detach(transfer);
            free_transfer(transfer);
        }
    }
}

/* Transfers that would only end by their timeout, or never: those without events, and all of them after curl
 * has failed (for want of memory), which it reports for no transfer in particular. */
static void mark_stranded(struct httpc *httpc, CURLMcode code)
{
    for (struct httpc_transfer *transfer = httpc->transfers; transfer != NULL; transfer = transfer->next) {
        if (transfer->watch_error != 0)
            transfer->stranded = STOP_WATCH;
        else if (code != CURLM_OK)
            transfer->stranded = STOP_CURL;
    }
}

/* Each finish() may change the list, and add transfers that are fine. */
static void reap_stranded(struct httpc *httpc)
{
    struct httpc_transfer *transfer = httpc->transfers;
    while (transfer != NULL) {
        if (transfer->stranded != STOP_NONE) {
            transfer->stop = transfer->stranded;
            finish(transfer, CURLE_ABORTED_BY_CALLBACK);
            transfer = httpc->transfers;
        } else {
            transfer = transfer->next;
        }
    }
}

static void reap_finished(struct httpc *httpc)
{
    int left = 0;
    for (CURLMsg *msg = NULL; (msg = curl_multi_info_read(httpc->multi, &left)) != NULL;) {
        if (msg->msg == CURLMSG_DONE)
            finish(transfer_of(msg->easy_handle), msg->data.result);
    }
}

static bool has_socket(const struct httpc_transfer *transfer)
{
    const struct watched *sockets = transfer->httpc->sockets;
    for (const struct watched *at = sockets; at < sockets + SOCKETS_MAX; at++) {
        if (at->watch != NULL && at->transfer == transfer)
            return true;
    }
    return false;
}

/* When an address has had its share of the time, curl 7.88.1 closes its socket and goes to sleep until the whole
 * time is over: it means to open the next one when it is called again, which only polling programs do. Pausing
 * and going on makes it look at the transfer at once. */
static void nudge_silent(struct httpc *httpc)
{
    for (struct httpc_transfer *transfer = httpc->transfers; transfer != NULL; transfer = transfer->next) {
        if (transfer->connected || transfer->opened == transfer->nudged || has_socket(transfer))
            continue;
        transfer->nudged = transfer->opened;
        curl_easy_pause(transfer->easy, CURLPAUSE_SEND);
        curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx);
static int on_curl_timer(CURLM *multi, long timeout_ms, void *ctx);

static CURLMcode set_up_multi(struct httpc *httpc, CURLM *multi)
{
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    if (code == CURLM_OK)
        code = curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, httpc);
    if (code == CURLM_OK)
        code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    if (code == CURLM_OK)
        code = curl_multi_setopt(multi, CURLMOPT_TIMERDATA, httpc);
    if (code == CURLM_OK)
        code = curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)POOLED_CONNECTIONS_MAX);
    return code;
}

/* When curl 7.88.1 finds no memory to note who uses a socket, it leaves a hash table without slots behind, and divides
 * by their number as soon as another transfer has a socket of the same number. So it begins again. */
static int renew_multi(struct httpc *httpc)
{
    CURLM *multi = curl_multi_init();
    if (multi == NULL || set_up_multi(httpc, multi) != CURLM_OK) {
        curl_multi_cleanup(multi);
        return -ENOMEM;
    }
    curl_multi_cleanup(httpc->multi); /* closes what it has kept */
    loop_timer_disarm(&httpc->timer);
    httpc->multi = multi;
    httpc->tainted = false;
    return 0;
}

static void run_curl(struct httpc *httpc, curl_socket_t fd, int events)
{
    int running = 0;
    httpc->in_curl = true;
    CURLMcode code = curl_multi_socket_action(httpc->multi, fd, events, &running);
    httpc->in_curl = false;
    reap_cancelled(httpc);
    httpc->tainted |= code != CURLM_OK;
    mark_stranded(httpc, code);
    reap_finished(httpc);
    reap_stranded(httpc);
    if (httpc->tainted && httpc->count == 0)
        (void)renew_multi(httpc); /* else with the next transfer */
    nudge_silent(httpc);
}

/* curl's callbacks: sockets and time */

static struct watched *find_watched(struct httpc *httpc, int fd)
{
    for (struct watched *at = httpc->sockets; at < httpc->sockets + SOCKETS_MAX; at++) {
        if (at->watch != NULL && at->fd == fd)
            return at;
    }
    return NULL;
}

/* The running transfer that a socket works for, or NULL. */
static struct httpc_transfer *transfer_at(struct httpc *httpc, int fd)
{
    const struct watched *at = find_watched(httpc, fd);
    struct httpc_transfer *transfer = at != NULL ? httpc->transfers : NULL;
    while (transfer != NULL && transfer != at->transfer)
        transfer = transfer->next;
    return transfer;
}

static bool wire_bytes(int fd, uint64_t *ret)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return false;
    *ret = info.tcpi_bytes_received;
    return true;
}

/* Chunk extensions reach no callback of ours, so only the socket knows of a flood of them. */
static void limit_noise(struct httpc *httpc, int fd)
{
    uint64_t wire;
    struct httpc_transfer *transfer = transfer_at(httpc, fd);
    if (transfer == NULL || !transfer->connected || !wire_bytes(fd, &wire))
        return;
    if (transfer->wire_fd != fd) {
        transfer->wire_fd = fd;
        transfer->wire_bytes = wire;
        return;
    }
    uint64_t seen = transfer->header_bytes + transfer->result.received_bytes;
    if (wire - transfer->wire_bytes <= HTTPC_NOISE_MAX + seen * NOISE_SHARE)
        return;
    transfer->header_bytes += wire - transfer->wire_bytes - seen;
    transfer->stranded = STOP_NOISE;
    reap_stranded(httpc);
}

static void on_socket_ready(void *ctx, int fd, uint32_t events)
{
    int mask = 0;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    run_curl(ctx, fd, mask);
    limit_noise(ctx, fd);
}

static void on_time(void *ctx)
{
    run_curl(ctx, CURL_SOCKET_TIMEOUT, 0);
}

/* timeout_ms 0 = as soon as possible, but never from in here: that is what loop_timer_arm(0) does. */
static int on_curl_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct httpc *httpc = ctx;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_disarm(&httpc->timer);
    else
        loop_timer_arm(&httpc->timer, timeout_ms);
    return 0;
}

static int watch_socket(struct httpc *httpc, int fd, uint32_t events, const struct httpc_transfer *transfer)
{
    struct watched *known = find_watched(httpc, fd);
    if (known != NULL) {
        known->transfer = transfer;
        return loop_watch_change(known->watch, events, NULL);
    }
    for (struct watched *at = httpc->sockets; at < httpc->sockets + SOCKETS_MAX; at++) {
        if (at->watch == NULL) {
            at->fd = fd;
            at->transfer = transfer;
            return loop_watch_add(httpc->loop, fd, events, on_socket_ready, httpc, &at->watch, NULL);
        }
    }
    return -ENOSPC;
}

static void unwatch_socket(struct httpc *httpc, int fd)
{
    struct watched *known = find_watched(httpc, fd);
    if (known != NULL)
        known->watch = loop_watch_free(known->watch);
}

/* Always returns 0: -1 would make the multi handle fail all its transfers. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct httpc *httpc = ctx;
    (void)socket_ctx;
    if (what == CURL_POLL_REMOVE) {
        unwatch_socket(httpc, fd);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);
    struct httpc_transfer *transfer = transfer_of(easy); /* NULL: a kept connection being closed */
    int rc = watch_socket(httpc, fd, events, transfer);
    if (rc < 0 && transfer != NULL)
        transfer->watch_error = -rc;
    return 0;
}

/* curl 7.88.1 closes a socket that did not connect without a word and tells us at the end of its turn. When the
 * next try gets the same number, it takes it for the same socket, waiting for the same events, and tells us
 * nothing, while epoll has forgotten the old one: the transfer would hang. So no number comes twice. */
static int give_new_number(struct httpc *httpc, int fd)
{
    int highest = fd;
    for (const struct watched *at = httpc->sockets; at < httpc->sockets + SOCKETS_MAX; at++) {
        if (at->watch != NULL && at->fd > highest)
            highest = at->fd;
    }
    if (find_watched(httpc, fd) == NULL)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, highest + 1);
    close(fd);
    return moved;
}

static bool is_exhaustion(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct httpc_transfer *transfer = ctx;
    int size = SOCKET_BUFFER;
    (void)purpose;
    transfer->opened++;
    transfer->old_text = transfer->curl_text[0] != '\0';
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd >= 0)
        fd = give_new_number(transfer->httpc, fd);
    if (fd < 0) {
        if (is_exhaustion(errno)) /* others (IPv6 is off) only rule out this address */
            transfer->socket_error = errno;
        return CURL_SOCKET_BAD;
    }
    /* Smaller buffers than asked for would be no reason to give up. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return fd;
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

/* curl's callbacks: headers and bodies */

static const struct kept_header {
    const char *name;
    size_t offset; /* in struct httpc_result */
} kept_headers[] = {
    {"content-type", offsetof(struct httpc_result, content_type)},
    {"content-encoding", offsetof(struct httpc_result, content_encoding)},
    {"retry-after", offsetof(struct httpc_result, retry_after)},
    {"x-go-pprof", offsetof(struct httpc_result, go_pprof)},
    {"location", offsetof(struct httpc_result, location)},
};

enum { KEPT_HEADERS = sizeof(kept_headers) / sizeof(kept_headers[0]) };

static char *kept_value(struct httpc_result *result, const struct kept_header *header)
{
    return (char *)result + header->offset;
}

static void forget_headers(struct httpc_result *result)
{
    for (size_t i = 0; i < KEPT_HEADERS; i++)
        kept_value(result, &kept_headers[i])[0] = '\0';
}

static void keep_header(struct httpc_result *result, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return;
    struct span name = {line, (size_t)(colon - line)};
    struct span value = span_trim((struct span){colon + 1, len - name.len - 1});
    for (size_t i = 0; i < KEPT_HEADERS; i++) {
        if (!span_equal_nocase(name, kept_headers[i].name))
            continue;
        char *kept = kept_value(result, &kept_headers[i]);
        size_t kept_len = utf8_cut(value.ptr, value.len, HTTPC_VALUE_MAX - 1);
        memcpy(kept, value.ptr, kept_len);
        kept[kept_len] = '\0';
        return;
    }
}

/* One line of headers, of an interim reply, of the final one, or of its trailers. */
static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct httpc_transfer *transfer = ctx;
    size_t len = size * n;
    if (transfer->state != STATE_RUNNING)
        return 0;
    transfer->header_bytes += len;
    if (transfer->header_bytes > HTTPC_HEADERS_MAX) {
        transfer->stop = STOP_HEADERS;
        return 0;
    }
    if (transfer->headers_whole)
        return len;
    if (span_trim((struct span){line, len}).len > 0) {
        keep_header(&transfer->result, line, len);
        return len;
    }
    transfer->headers_whole = reply_status(transfer) != 0;
    if (!transfer->headers_whole)
        forget_headers(&transfer->result);
    return len;
}

/* The caller's own decision to stop, or its cancelling the transfer while we called it. */
static bool caller_stops(struct httpc_transfer *transfer, int64_t rc)
{
    if (transfer->state != STATE_RUNNING)
        return true;
    if (rc >= 0)
        return false;
    transfer->stop = STOP_CALLER;
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
    if (transfer->state != STATE_RUNNING)
        return 0;
    if (len > transfer->body_max - result->received_bytes) {
        transfer->stop = STOP_BODY;
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
    if (transfer->state != STATE_RUNNING)
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

/* curl wants to begin again on a new connection after a kept one died: only possible before the first byte. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    const struct httpc_transfer *transfer = ctx;
    bool at_start = origin == SEEK_SET && offset == 0 && transfer->result.sent_bytes == 0;
    return at_start ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* Setting up a transfer */

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
    LEAVE(easy, CURLOPT_PROXY, ""); /* http_proxy was obeyed even for 127.0.0.1 */
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
    SET(easy, CURLOPT_QUICK_EXIT, 1L); /* else the end of a transfer waits for its resolver thread */
#endif
    return CURLE_OK;
}

static CURLcode set_callbacks(struct httpc_transfer *transfer)
{
    CURL *easy = transfer->easy;
    SET(easy, CURLOPT_PRIVATE, transfer);
    SET(easy, CURLOPT_ERRORBUFFER, transfer->curl_text);
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(easy, CURLOPT_OPENSOCKETDATA, transfer);
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
    /* "Name:" without a value tells curl to leave out a header of its own. */
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
    SET(easy, CURLOPT_CAINFO, NULL); /* else the system's CAs are parsed for nothing, 140 of them */
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
    SET(easy, CURLOPT_USERAGENT, request->user_agent);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    SET(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->body_max); /* an announced size is refused at once */
    SET(easy, CURLOPT_FORBID_REUSE, request->close_after ? 1L : 0L);
    SET(easy, CURLOPT_FRESH_CONNECT, request->close_after ? 1L : 0L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, request->close_after ? 0L : 1L); /* else its timeout is enough */
    SET(easy, CURLOPT_DNS_CACHE_TIMEOUT, transfer->httpc->distrust_dns ? 0L : (long)HTTPC_DNS_CACHE_S);
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

/* "localhost" by our own order, whatever curl's and the resolver's are: 8.14.1 tries all of IPv6 first, so 127.0.0.1
 * comes as such an address too, and once more for where IPv6 is off. */
static CURLcode set_resolve(struct httpc_transfer *transfer, const char *host, const char *port)
{
    char line[RESOLVE_LINE_MAX];
    if (strcasecmp(host, "localhost") != 0) {
        transfer->looked_up = !is_address(host);
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
    bool has_own = request->tls != NULL && request->tls->ca_file != NULL;
    if (request->insecure || has_own || is_readable(curl->cainfo) || is_readable(curl->capath))
        return 0;
    return err_set(err, ENOENT, "https without CA certificates: expected ca.crt in secret-dir%s%s",
                   bundle != NULL ? ", or the system's in " : "", bundle != NULL ? bundle : "");
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

static int set_up(struct httpc_transfer *transfer, const struct httpc_request *request, struct err *err)
{
    if (request->authorization != NULL && check_authorization(request->authorization, err) < 0)
        return -EINVAL;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    int rc = set_up_url(transfer, request, err);
    if (rc < 0)
        return rc;
    CURLcode code = set_rules(transfer->easy);
    if (code == CURLE_OK)
        code = set_callbacks(transfer);
    if (code == CURLE_OK)
        code = set_request(transfer, request);
    if (code == CURLE_OUT_OF_MEMORY)
        return err_errno(err, ENOMEM, "HTTP transfer");
    if (code != CURLE_OK)
        return err_set(err, EINVAL, "HTTP transfer: %s", curl_easy_strerror(code));
    return 0;
}

static struct httpc_transfer *new_transfer(struct httpc *httpc, const struct httpc_request *request)
{
    struct httpc_transfer *transfer = calloc(1, sizeof(*transfer));
    if (transfer == NULL)
        return NULL;
    transfer->httpc = httpc;
    transfer->wire_fd = -1;
    transfer->started_ms = loop_now_ms(httpc->loop);
    transfer->failed_allocations = atomic_load(&failed_allocations);
    transfer->body_max = request->body_max > 0 ? request->body_max : HTTPC_REPLY_MAX;
    transfer->source_size = request->source_size < 0 ? -1 : request->source_size;
    transfer->source = request->source;
    transfer->sink = request->sink;
    transfer->body_ctx = request->body_ctx;
    transfer->done = request->done;
    transfer->done_ctx = request->done_ctx;
    return transfer;
}

static void check_request(const struct httpc_request *request)
{
    assert(request->done != NULL);
    assert(strcmp(request->method, "POST") == 0 || (strcmp(request->method, "GET") == 0 && request->source == NULL));
    /* 0 would mean "no timeout" to curl. */
    assert(request->timeout_ms > 0 && request->timeout_ms <= INT_MAX);
    assert(request->connect_timeout_ms > 0 && request->connect_timeout_ms <= INT_MAX);
    (void)request;
}

int httpc_start(struct httpc *httpc, const struct httpc_request *request, struct httpc_transfer **ret,
                struct err *err)
{
    check_request(request);
    if (httpc->in_curl)
        return err_set(err, EBUSY, "HTTP transfer: not to be started from the sink or source of another");
    if (httpc->tainted && (httpc->count > 0 || renew_multi(httpc) < 0))
        return err_set(err, ENOMEM, "HTTP transfer: libcurl has run out of memory");
    if (httpc->count >= HTTPC_TRANSFERS_MAX)
        return err_set(err, EBUSY, "HTTP transfer: %d run already", HTTPC_TRANSFERS_MAX);
    CLEANUP(free_transfer_scope) struct httpc_transfer *transfer = new_transfer(httpc, request);
    if (transfer == NULL)
        return err_errno(err, ENOMEM, "HTTP transfer");
    int rc = set_up(transfer, request, err);
    if (rc < 0)
        return rc;
    CURLMcode code = curl_multi_add_handle(httpc->multi, transfer->easy);
    if (code != CURLM_OK)
        return err_set(err, code == CURLM_OUT_OF_MEMORY ? ENOMEM : EIO, "HTTP transfer: %s", curl_multi_strerror(code));
    transfer->next = httpc->transfers;
    httpc->transfers = transfer;
    httpc->count++;
    *ret = TAKE_PTR(transfer);
    return 0;
}

/* The client */

int httpc_new(struct loop *loop, struct httpc **ret, struct err *err)
{
    struct httpc *httpc = calloc(1, sizeof(*httpc));
    if (httpc == NULL)
        return err_errno(err, ENOMEM, "HTTP client");
    int rc = curl_ref(err);
    if (rc < 0) {
        free(httpc);
        return rc;
    }
    httpc->loop = loop;
    loop_timer_init(&httpc->timer, loop, on_time, httpc);
    httpc->multi = curl_multi_init();
    if (httpc->multi == NULL || set_up_multi(httpc, httpc->multi) != CURLM_OK) {
        httpc_free(httpc);
        return err_errno(err, ENOMEM, "HTTP client");
    }
    *ret = httpc;
    return 0;
}

struct httpc *httpc_free(struct httpc *httpc)
{
    if (httpc == NULL)
        return NULL;
    assert(!httpc->in_curl && !httpc->in_done);
    while (httpc->transfers != NULL)
        httpc_cancel(httpc->transfers);
    curl_multi_cleanup(httpc->multi);
    loop_timer_disarm(&httpc->timer);
    curl_unref();
    free(httpc);
    return NULL;
}
