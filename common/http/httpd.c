#include "common/http/httpd.h"

#include "common/base/cleanup.h"
#include "common/http/httpd_connection.h"
#include "common/http/httpd_request.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

/* Without it libmicrohttpd 1.0 keeps a connection that it was given for its next run, and we do not know whose it is.
 */
#if MHD_VERSION >= 0x01000000
#define ONE_THREAD MHD_USE_NO_THREAD_SAFETY
#else
#define ONE_THREAD 0U
#endif

enum {
    BODIES_MAX_FACTOR = 4,  /* default of bodies_max, in bodies of the largest size */
    RUNS_MAX = 8,           /* of libmicrohttpd in a turn of the loop, while it asks to be called at once */
    HANDSHAKE_WAIT_MS = 10, /* between runs in which nothing comes of a handshake; what does come wakes us at once */
    ADMISSION_MS = 10,      /* between tries of those that wait for a place: every grace is over within some of them */
    WAITING_MAX = 512,      /* of them; with all connections still less than the 1024 descriptors that are usual */
    STALL_TURNS = 100,      /* of the loop in a row in which libmicrohttpd asks to be called at once and does nothing */
    STALL_MS = 100,         /* a body that has grown within so many is not what it turns for */
};

const char *const httpd_refusal_names[HTTPD_REFUSED_COUNT] = {
    [HTTPD_REFUSED_PATH] = "path",     [HTTPD_REFUSED_METHOD] = "method",
    [HTTPD_REFUSED_TYPE] = "type",     [HTTPD_REFUSED_SIZE] = "size",
    [HTTPD_REFUSED_INCOMPLETE] = "incomplete", [HTTPD_REFUSED_MEMORY] = "memory",
    [HTTPD_REFUSED_LIMIT] = "limit",
};

const char *const httpd_cut_names[HTTPD_CUT_COUNT] = {
    [HTTPD_CUT_IDLE] = "idle",
    [HTTPD_CUT_SLOW] = "slow",
    [HTTPD_CUT_DEADLINE] = "deadline",
};

/* Who is let in */

/* One of those in httpd->guests. */
static void cut_guest(struct httpd *httpd, size_t index, enum httpd_room_answer answer)
{
    httpd->stats.cut[answer == HTTPD_ROOM_CUT_SLOW ? HTTPD_CUT_SLOW : HTTPD_CUT_IDLE]++;
    httpd_connection_cut(httpd_connection_at(httpd, index));
}

static enum httpd_room_answer find_room(struct httpd *httpd, const struct in6_addr *peer, unsigned places, size_t *ret)
{
    const struct httpd_room_limits limits = {.places = places, .peer_max = httpd->options.connections_peer_max};
    size_t count = httpd_connection_list(httpd, peer);
    return httpd_room_find(httpd->guests, count, &limits, ret);
}

static bool is_full(void *ctx)
{
    struct httpd *httpd = ctx;
    size_t index;
    return httpd->stats.connections >= httpd->options.connections_max &&
           find_room(httpd, NULL, httpd->options.connections_max, &index) == HTTPD_ROOM_WAIT;
}

/* The first that can be spared goes. While one is on its way out, its descriptor is waited for. */
static bool spare_descriptor(void *ctx)
{
    struct httpd *httpd = ctx;
    size_t index = 0;
    unsigned open = httpd->stats.connections;
    if (httpd->cut > 0 || open == 0)
        return false;
    enum httpd_room_answer answer = find_room(httpd, NULL, open, &index);
    if (answer == HTTPD_ROOM_WAIT)
        return false;
    cut_guest(httpd, index, answer);
    return true;
}

static bool may_lack_room(const struct httpd *httpd)
{
    unsigned open = httpd->stats.connections;
    unsigned peer_max = httpd->options.connections_peer_max;
    return open >= httpd->options.connections_max || (peer_max > 0 && open >= peer_max);
}

/* False = somebody has to go first, and nobody can be spared now. */
static bool make_room(struct httpd *httpd, const struct in6_addr *peer)
{
    size_t index = 0;
    if (!may_lack_room(httpd))
        return true;
    enum httpd_room_answer answer = find_room(httpd, peer, httpd->options.connections_max, &index);
    if (answer == HTTPD_ROOM_CUT_IDLE || answer == HTTPD_ROOM_CUT_SLOW)
        cut_guest(httpd, index, answer);
    return answer != HTTPD_ROOM_WAIT;
}

static void refuse(struct httpd *httpd, int fd)
{
    httpd->stats.refused[HTTPD_REFUSED_LIMIT]++;
    close(fd);
}

static void let_in(struct httpd *httpd, const struct httpd_newcomer *newcomer)
{
    const struct sockaddr *address = (const struct sockaddr *)&newcomer->address;
    struct httpd_connection *conn = httpd_connection_new(httpd, newcomer->fd, address);
    if (conn == NULL) {
        refuse(httpd, newcomer->fd);
        return;
    }
    httpd->accepting = conn;
    /* Closes the descriptor when it fails. */
    if (MHD_add_connection(httpd->daemon, newcomer->fd, address, newcomer->address_len) != MHD_YES)
        httpd->stats.refused[HTTPD_REFUSED_LIMIT]++;
    if (httpd->accepting != NULL)
        httpd_connection_free(httpd->accepting); /* on_connection() was not reached */
    httpd->accepting = NULL;
    httpd->due = true;
}

static struct in6_addr peer_of(const struct httpd_newcomer *newcomer)
{
    return httpd_connection_peer((const struct sockaddr *)&newcomer->address);
}

static bool is_queued(const struct httpd_queue *queue, const struct in6_addr *peer)
{
    for (size_t i = 0; i < queue->count; i++) {
        struct in6_addr other = peer_of(&queue->newcomers[i]);
        if (IN6_ARE_ADDR_EQUAL(&other, peer))
            return true;
    }
    return false;
}

/* The oldest first; where one has to wait, so do the others of its address. No more in a turn than are accepted in one:
 * those that make room are closed at its end. */
static void let_queue_in(struct httpd *httpd)
{
    struct httpd_queue *queue = &httpd->queue;
    struct in6_addr waiting = IN6ADDR_ANY_INIT; /* which is nobody's */
    int let = 0;
    for (size_t i = 0; i < queue->count && let < LISTENER_BURST;) {
        struct in6_addr peer = peer_of(&queue->newcomers[i]);
        if (IN6_ARE_ADDR_EQUAL(&peer, &waiting) || !make_room(httpd, &peer)) {
            waiting = peer;
            i++;
            continue;
        }
        struct httpd_newcomer newcomer = httpd_queue_take(queue, i);
        let_in(httpd, &newcomer);
        let++;
    }
}

/* Who has waited for as long as a request may take is waited for by nobody any more. */
static void on_admission(void *ctx)
{
    struct httpd *httpd = ctx;
    let_queue_in(httpd);
    struct httpd_queue *queue = &httpd->queue;
    int64_t late_ms = loop_now_ms(httpd->loop) - httpd->options.request_timeout_ms;
    while (queue->count > 0 && queue->newcomers[0].since_ms <= late_ms)
        refuse(httpd, httpd_queue_take(queue, 0).fd);
    if (queue->count > 0)
        loop_timer_arm(&httpd->admission, ADMISSION_MS);
}

static void on_accept(void *ctx, int fd, const struct sockaddr *address, socklen_t address_len)
{
    struct httpd *httpd = ctx;
    struct httpd_newcomer newcomer = {.fd = fd, .address_len = address_len, .since_ms = loop_now_ms(httpd->loop)};
    memcpy(&newcomer.address, address, address_len);
    struct in6_addr peer = peer_of(&newcomer);
    if (!is_queued(&httpd->queue, &peer) && make_room(httpd, &peer)) {
        let_in(httpd, &newcomer);
        return;
    }
    if (!httpd_queue_add(&httpd->queue, &newcomer)) {
        refuse(httpd, fd);
        return;
    }
    if (!httpd->admission.armed)
        loop_timer_arm(&httpd->admission, ADMISSION_MS);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct httpd *httpd = cls;
    httpd->moved = true;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        httpd_connection_count_unused(*context);
        httpd_connection_free(*context);
        return;
    }
    struct httpd_connection *conn = httpd->accepting;
    httpd->accepting = NULL;
    *context = conn;
    if (conn->tls == NULL)
        return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    httpd->options.tls->session_begin(conn->tls, &httpd->keys, httpd->options.client_certificates, info->tls_session);
}

/* On the loop */

/* libmicrohttpd 0.9.75 polls without end when a chunk's size line or extension fills its buffer: it can neither
 * read on nor does it give up. Such a connection shows as a chunked body that has not grown while
 * libmicrohttpd kept asking to be called at once for nothing. Of several the one goes that has not grown for longest:
 * the others may only be slow. */
static void cut_stalled(struct httpd *httpd)
{
    struct httpd_connection *stalled = NULL;
    for (struct httpd_connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (conn->stage == HTTPD_ROOM_BODY && conn->chunked && !conn->cut &&
            (stalled == NULL || conn->active_ms < stalled->active_ms))
            stalled = conn;
    }
    if (stalled != NULL && loop_now_ms(httpd->loop) - stalled->active_ms >= STALL_MS)
        httpd_connection_cut(stalled);
}

/* In turns and not in time, which also passes while the process gets no CPU. */
static void watch_for_stall(struct httpd *httpd, bool busy)
{
    if (!busy)
        httpd->idle_turns = 0;
    else if (!httpd->moved && ++httpd->idle_turns % STALL_TURNS == 0)
        cut_stalled(httpd);
}

static bool in_handshake(const struct httpd *httpd)
{
    if (httpd->options.tls == NULL)
        return false;
    for (const struct httpd_connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (!httpd->options.tls->session_is_open(conn->tls))
            return true;
    }
    return false;
}

/* -1 = as long as you like. From the first byte of a handshake to its end libmicrohttpd 0.9.75 asks to be called at
 * once, though it can only wait for the client: it does not see that GnuTLS found no more. */
static int64_t daemon_wait_ms(struct httpd *httpd)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(httpd->daemon, &wait_ms) != MHD_YES)
        return -1;
    if (wait_ms == 0 && !httpd->moved && in_handshake(httpd))
        return HANDSHAKE_WAIT_MS;
    return wait_ms < LOOP_WAIT_MAX_MS ? (int64_t)wait_ms : LOOP_WAIT_MAX_MS;
}

static int64_t hook_wait_ms(void *ctx)
{
    struct httpd *httpd = ctx;
    int64_t wait_ms = daemon_wait_ms(httpd);
    watch_for_stall(httpd, wait_ms == 0);
    httpd->due_ms = wait_ms < 0 ? INT64_MAX : loop_now_ms(httpd->loop) + wait_ms;
    return wait_ms;
}

static void tell_when_quiesced(struct httpd *httpd)
{
    if (httpd->on_quiesced == NULL || !httpd_is_empty(httpd))
        return;
    httpd_quiesced *done = httpd->on_quiesced;
    httpd->on_quiesced = NULL;
    done(httpd->quiesced_ctx);
}

/* Each run is a system call at least, so none is made for a server where nothing happened; and where libmicrohttpd asks
 * for another one at once (more of a body to take, the end of a request), the loop need not turn for it. */
static void hook_run(void *ctx)
{
    struct httpd *httpd = ctx;
    if (!httpd->due && loop_now_ms(httpd->loop) < httpd->due_ms)
        return;
    httpd->due = false;
    httpd->running = true;
    for (int runs = 0; runs == 0 || (runs < RUNS_MAX && daemon_wait_ms(httpd) == 0); runs++) {
        httpd->moved = false;
        MHD_run(httpd->daemon);
    }
    httpd->running = false;
    tell_when_quiesced(httpd);
}

/* hook_run() comes in the same turn. */
static void on_epoll(void *ctx, int fd, uint32_t events)
{
    struct httpd *httpd = ctx;
    (void)fd;
    (void)events;
    httpd->due = true;
}

static int check_options(struct httpd_options *options, struct err *err)
{
    assert(options->connections_max > 0 && options->idle_timeout_s > 0 && options->request_timeout_ms > 0);
    if (options->bodies_max == 0)
        options->bodies_max = BODIES_MAX_FACTOR * options->body_max;
    return options->tls != NULL ? options->tls->check_priorities(options->tls_priorities, err) : 0;
}

/* Ours and those that are cut, which libmicrohttpd closes at the end of the turn: for those that are accepted in it,
 * and for those that waited. */
static size_t connection_limit(const struct httpd_options *options)
{
    return (size_t)options->connections_max + 2 * LISTENER_BURST + 1;
}

static int start_daemon(struct httpd *httpd, struct err *err)
{
    const struct httpd_options *options = &httpd->options;
    bool tls = options->tls != NULL;
    size_t memory = options->connection_memory;
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, httpd},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)httpd_request_end, httpd},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)httpd_request_begin, httpd},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)httpd_request_keep_escaped, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)options->idle_timeout_s, NULL},
        /* The limit is ours, on_accept(); at its own one 0.9.75 may forget to unlock a mutex. */
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)connection_limit(options), NULL},
        {memory > 0 ? MHD_OPTION_CONNECTION_MEMORY_LIMIT : MHD_OPTION_END, (intptr_t)memory, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem tls_items[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls ? options->tls->certificate_callback : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)options->tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | ONE_THREAD | (tls ? MHD_USE_TLS : 0U);
    errno = 0;
    httpd->daemon = MHD_start_daemon(flags, 0, NULL, NULL, httpd_request_take, httpd, MHD_OPTION_ARRAY, items,
                                     tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls_items, MHD_OPTION_END);
    if (httpd->daemon == NULL)
        return err_errno(err, errno != 0 ? errno : EIO, "HTTP server: libmicrohttpd did not start");
    return 0;
}

static int join_loop(struct httpd *httpd, struct err *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int rc = loop_watch_add(httpd->loop, info->epoll_fd, EPOLLIN, on_epoll, httpd, &httpd->watch, err);
    if (rc < 0)
        return err_wrap(err, rc, "HTTP server");
    httpd->hook = (struct loop_hook){.wait_ms = hook_wait_ms, .run = hook_run, .ctx = httpd};
    loop_hook_add(httpd->loop, &httpd->hook);
    httpd->hooked = true;
    return 0;
}

int httpd_new(struct loop *loop, const struct httpd_options *options, struct httpd **ret, struct err *err)
{
    CLEANUP_HTTPD struct httpd *httpd = calloc(1, sizeof(*httpd));
    if (httpd == NULL)
        return err_errno(err, ENOMEM, "HTTP server");
    httpd->loop = loop;
    httpd->options = *options;
    loop_timer_init(&httpd->sweep, loop, httpd_connection_sweep, httpd);
    loop_timer_init(&httpd->admission, loop, on_admission, httpd);
    httpd->guests_max = connection_limit(options);
    httpd->guests = calloc(httpd->guests_max, sizeof(httpd->guests[0]));
    if (httpd->guests == NULL)
        return err_errno(err, ENOMEM, "HTTP server");
    int rc = httpd_queue_init(&httpd->queue, options->connections_peer_max > 0 ? WAITING_MAX : 0, err);
    if (rc == 0)
        rc = check_options(&httpd->options, err);
    if (rc == 0)
        rc = start_daemon(httpd, err);
    if (rc == 0)
        rc = join_loop(httpd, err);
    if (rc == 0)
        rc = listener_new(loop, options->listen, &(struct listener_calls){on_accept, is_full, spare_descriptor}, httpd,
                          &httpd->stats.accept_pauses, &httpd->listener, err);
    if (rc < 0)
        return rc;
    httpd->port = listener_port(httpd->listener);
    *ret = TAKE_PTR(httpd);
    return 0;
}

void httpd_set_pair(struct httpd *httpd, struct tls_pair *pair)
{
    httpd->options.tls->set_pair(&httpd->keys, pair);
}

int httpd_set_client_ca(struct httpd *httpd, struct span ca_pem, struct err *err)
{
    assert(httpd->options.client_certificates);
    return httpd->options.tls->set_client_ca(&httpd->keys, ca_pem, err);
}

void httpd_drain(struct httpd *httpd)
{
    httpd->draining = true;
}

void httpd_quiesce(struct httpd *httpd, httpd_quiesced *done, void *ctx)
{
    httpd_drain(httpd);
    httpd->quiesced = true;
    httpd->on_quiesced = done;
    httpd->quiesced_ctx = ctx;
    if (httpd->listener != NULL && !httpd->running) { /* libmicrohttpd takes none while it calls a handler */
        listener_take_rest(httpd->listener);
        let_queue_in(httpd);
    }
    httpd->listener = listener_free(httpd->listener);
    loop_timer_disarm(&httpd->admission);
    httpd_queue_done(&httpd->queue);
    for (struct httpd_connection *conn = httpd->connections; conn != NULL; conn = conn->next) {
        if (httpd_connection_is_idle(conn))
            httpd_connection_cut(conn);
    }
    tell_when_quiesced(httpd);
}

bool httpd_is_empty(const struct httpd *httpd)
{
    return httpd->connections == NULL;
}

struct httpd *httpd_free(struct httpd *httpd)
{
    if (httpd == NULL)
        return NULL;
    assert(!httpd->running);
    listener_free(httpd->listener);
    if (httpd->hooked)
        loop_hook_remove(httpd->loop, &httpd->hook);
    loop_watch_free(httpd->watch);
    MHD_stop_daemon(httpd->daemon); /* NULL allowed; ends every connection through on_connection() */
    loop_timer_disarm(&httpd->sweep);
    loop_timer_disarm(&httpd->admission);
    httpd_queue_done(&httpd->queue);
    if (httpd->options.tls != NULL)
        httpd->options.tls->keys_done(&httpd->keys);
    free(httpd->guests);
    free(httpd);
    return NULL;
}

const struct httpd_stats *httpd_get_stats(const struct httpd *httpd)
{
    return &httpd->stats;
}

uint16_t httpd_port(const struct httpd *httpd)
{
    return httpd->port;
}
