/* What is tuned to libcurl 7.88.1 and 8.14.1 here:
 *
 * - when an address has had its share of the time, 7.88.1 closes its socket and goes to sleep until the whole time is
 *   over: it means to open the next one when it is called again, which only polling programs do (nudge_silent);
 * - it closes a socket that did not connect without a word and tells us at the end of its turn. When the next try gets
 *   the same number, it takes it for the same socket, waiting for the same events, and tells us nothing, while epoll
 *   has forgotten the old one: the transfer would hang (give_new_number);
 * - when it finds no memory to note who uses a socket, it leaves a hash table without slots behind, and divides by
 *   their number as soon as another transfer has a socket of the same number (renew_multi);
 * - chunk extensions reach no callback of ours: only the socket knows of a flood of them (limit_noise);
 * - a socket callback that returns -1 makes the multi handle fail all its transfers;
 * - 8.16 and later keep the answer "no such name" as well (learn_about_dns);
 * - connections in use count against MAXCONNECTS: with fewer than transfers none would be kept beside them;
 * - a connection that is over HTTPC_IDLE_MAX_S is closed with the next transfer, not by itself;
 * - 8.14.1 holds a closed TLS connection until the server says goodbye or 2 s are over. Such ones take places among the
 *   watched sockets until a transfer finds none, and only MAX_TOTAL_CONNECTIONS bounds their number. It counts kept
 *   ones as well, and a transfer over it would wait, hence twice as many as transfers (set_up_multi).
 */
#include "common/http/httpc.h"

#include "common/http/httpc_memory.h"
#include "common/http/httpc_transfer.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SOCKET_BUFFER = 64 * 1024, /* each way; autotuning would take megabytes, charged to the container */
    NOISE_SHARE = 64,          /* of a chunk or TLS record of one byte, what frames it stays below that */
    TRANSFER_SOCKETS_MAX = 4,  /* watched at once for one: a try each for IPv4 and IPv6, and the resolver's pair */
};

struct watched {
    int fd;
    struct loop_watch *watch;              /* NULL = free place */
    const struct httpc_transfer *transfer; /* only to be compared */
};

struct httpc {
    struct loop *loop;
    struct httpc_options options;
    CURLM *multi;
    struct loop_timer timer;
    struct httpc_transfer *transfers;
    unsigned count;
    bool tainted;      /* libcurl ran out of memory: see renew_multi() */
    bool in_curl;      /* inside curl_multi_socket_action */
    bool in_done;
    bool distrust_dns; /* connecting to a looked-up address failed: the next transfer asks anew */
    unsigned places;
    struct watched sockets[];
};

/* ---- the end of a transfer ---- */

/* Takes it out of libcurl and of our list. */
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
    if (!transfer->has_name)
        return;
    if (transfer->connected)
        transfer->httpc->distrust_dns = false;
    else if (transfer->result.end == HTTPC_REFUSED || transfer->result.end == HTTPC_CONNECT_TIMEOUT ||
             transfer->result.end == HTTPC_RESOLVE)
        transfer->httpc->distrust_dns = true;
}

static void finish(struct httpc_transfer *transfer, CURLcode code)
{
    struct httpc *httpc = transfer->httpc;
    httpc_transfer_finish(transfer, code, loop_now_ms(httpc->loop));
    learn_about_dns(transfer);
    detach(transfer);
    transfer->state = HTTPC_DONE;
    httpc->in_done = true;
    transfer->done(transfer->done_ctx, &transfer->result);
    httpc->in_done = false;
    httpc_transfer_free(transfer);
}

struct httpc_transfer *httpc_cancel(struct httpc_transfer *transfer)
{
    if (transfer == NULL || transfer->state == HTTPC_DONE)
        return NULL;
    transfer->state = HTTPC_CANCELLED;
    if (!transfer->httpc->in_curl) { /* libcurl refuses to be changed from its own callbacks */
        detach(transfer);
        httpc_transfer_free(transfer);
    }
    return NULL;
}

static void reap_cancelled(struct httpc *httpc)
{
    struct httpc_transfer *next = NULL;
    for (struct httpc_transfer *transfer = httpc->transfers; transfer != NULL; transfer = next) {
        next = transfer->next;
        if (transfer->state == HTTPC_CANCELLED) {
            detach(transfer);
            httpc_transfer_free(transfer);
        }
    }
}

/* Transfers that would only end by their timeout, or never: those without events, and all of them after curl
 * has failed (for want of memory), which it reports for no transfer in particular. */
static void mark_stranded(struct httpc *httpc, CURLMcode code)
{
    for (struct httpc_transfer *transfer = httpc->transfers; transfer != NULL; transfer = transfer->next) {
        if (transfer->watch_error != 0)
            transfer->stranded = HTTPC_STOP_WATCH;
        else if (code != CURLM_OK)
            transfer->stranded = HTTPC_STOP_CURL;
    }
}

/* Each finish() may change the list, and add transfers that are fine. */
static void reap_stranded(struct httpc *httpc)
{
    struct httpc_transfer *transfer = httpc->transfers;
    while (transfer != NULL) {
        if (transfer->stranded != HTTPC_STOP_NONE) {
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
            finish(httpc_transfer_of(msg->easy_handle), msg->data.result);
    }
}

static bool has_socket(const struct httpc_transfer *transfer)
{
    const struct httpc *httpc = transfer->httpc;
    for (const struct watched *at = httpc->sockets; at < httpc->sockets + httpc->places; at++) {
        if (at->watch != NULL && at->transfer == transfer)
            return true;
    }
    return false;
}

/* Pausing and going on makes libcurl look at a transfer at once. */
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
        code = curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)httpc->options.transfers_max);
    if (code == CURLM_OK)
        code = curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 2L * (long)httpc->options.transfers_max);
    return code;
}

/* After a lack of memory libcurl begins again. */
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

/* ---- sockets and time ---- */

static struct watched *find_watched(struct httpc *httpc, int fd)
{
    for (struct watched *at = httpc->sockets; at < httpc->sockets + httpc->places; at++) {
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
    transfer->stranded = HTTPC_STOP_NOISE;
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
    for (struct watched *at = httpc->sockets; at < httpc->sockets + httpc->places; at++) {
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

/* Always returns 0: what went wrong is one transfer's affair. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct httpc *httpc = ctx;
    (void)socket_ctx;
    if (what == CURL_POLL_REMOVE) {
        unwatch_socket(httpc, fd);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);
    struct httpc_transfer *transfer = httpc_transfer_of(easy); /* NULL: a kept connection being closed */
    int rc = watch_socket(httpc, fd, events, transfer);
    if (rc < 0 && transfer != NULL)
        transfer->watch_error = -rc;
    return 0;
}

/* No number comes twice while the old one is watched. */
static int give_new_number(struct httpc *httpc, int fd)
{
    int highest = fd;
    for (const struct watched *at = httpc->sockets; at < httpc->sockets + httpc->places; at++) {
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

/* ---- starting ---- */

static CURLcode set_open_socket(struct httpc_transfer *transfer)
{
    CURLcode code = curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    return code == CURLE_OK ? curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer) : code;
}

int httpc_start(struct httpc *httpc, const struct httpc_request *request, struct httpc_transfer **ret,
                struct err *err)
{
    if (httpc->in_curl)
        return err_set(err, EBUSY, "HTTP transfer: not to be started from the sink or source of another");
    if (httpc->tainted && (httpc->count > 0 || renew_multi(httpc) < 0))
        return err_set(err, ENOMEM, "HTTP transfer: libcurl has run out of memory");
    if (httpc->count >= httpc->options.transfers_max)
        return err_set(err, EBUSY, "HTTP transfer: %u run already", httpc->options.transfers_max);
    CLEANUP_HTTPC_TRANSFER struct httpc_transfer *transfer = NULL;
    int rc = httpc_transfer_new(request, httpc->options.user_agent, httpc->distrust_dns, loop_now_ms(httpc->loop),
                                &transfer, err);
    if (rc < 0)
        return rc;
    transfer->httpc = httpc;
    if (set_open_socket(transfer) != CURLE_OK)
        return err_errno(err, ENOMEM, "HTTP transfer");
    CURLMcode code = curl_multi_add_handle(httpc->multi, transfer->easy);
    if (code != CURLM_OK)
        return err_set(err, code == CURLM_OUT_OF_MEMORY ? ENOMEM : EIO, "HTTP transfer: %s", curl_multi_strerror(code));
    transfer->next = httpc->transfers;
    httpc->transfers = transfer;
    httpc->count++;
    *ret = TAKE_PTR(transfer);
    return 0;
}

/* ---- the client ---- */

int httpc_new(struct loop *loop, const struct httpc_options *options, struct httpc **ret, struct err *err)
{
    assert(options->transfers_max >= 1 && options->transfers_max <= HTTPC_TRANSFERS_MAX);
    unsigned places = TRANSFER_SOCKETS_MAX * options->transfers_max;
    CLEANUP_HTTPC struct httpc *httpc = NULL;
    int rc = httpc_memory_ref(err);
    if (rc < 0)
        return rc;
    httpc = calloc(1, sizeof(*httpc) + places * sizeof(httpc->sockets[0]));
    if (httpc == NULL) {
        httpc_memory_unref();
        return err_errno(err, ENOMEM, "HTTP client");
    }
    httpc->loop = loop;
    httpc->options = *options;
    httpc->places = places;
    loop_timer_init(&httpc->timer, loop, on_time, httpc);
    httpc->multi = curl_multi_init();
    if (httpc->multi == NULL || set_up_multi(httpc, httpc->multi) != CURLM_OK)
        return err_errno(err, ENOMEM, "HTTP client");
    *ret = TAKE_PTR(httpc);
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
    httpc_memory_unref();
    free(httpc);
    return NULL;
}
