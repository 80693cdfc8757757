/* sees: os */
#include "peer.h"

void peer_set_patience(int fd)
{
    struct timeval patience = {.tv_sec = PEER_PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

int peer_connect(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    peer_set_patience(fd);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int peer_bind(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof(addr);
    int on = 1;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    peer_set_patience(fd);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(addr.sin_port);
    return fd;
}

int peer_listen(uint16_t *port)
{
    int fd = peer_bind(port);
    if (fd >= 0 && listen(fd, 16) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool peer_send_n(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

bool peer_send(int fd, const char *text)
{
    return peer_send_n(fd, text, strlen(text));
}

bool peer_send_fill(int fd, size_t count)
{
    char block[8192];
    memset(block, 'x', sizeof(block));
    while (count > 0) {
        size_t n = count < sizeof(block) ? count : sizeof(block);
        if (!peer_send_n(fd, block, n))
            return false;
        count -= n;
    }
    return true;
}

size_t peer_read_until(int fd, const char *end, char text[static PEER_TEXT_MAX])
{
    size_t len = 0;
    text[0] = '\0';
    while (len < PEER_TEXT_MAX - 1 && (end == NULL || strstr(text, end) == NULL)) {
        ssize_t n = recv(fd, text + len, PEER_TEXT_MAX - 1 - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
    }
    return len;
}

uint64_t peer_drain(int fd)
{
    char block[8192];
    uint64_t sum = 0;
    for (ssize_t n = 0; (n = recv(fd, block, sizeof(block), 0)) > 0;)
        sum += (uint64_t)n;
    return sum;
}

void peer_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

void peer_sleep_ms(long ms)
{
    struct timespec delay = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&delay, NULL);
}

int64_t peer_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t peer_cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *peer_main(void *arg)
{
    struct peer *peer = arg;
    uint64_t one = 1;
    peer->script(peer->ctx);
    if (write(peer->finished_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort();
    return NULL;
}

void peer_start(struct peer *peer, peer_script *script, void *ctx)
{
    *peer = (struct peer){.script = script, .ctx = ctx, .finished_fd = eventfd(0, EFD_CLOEXEC)};
    if (peer->finished_fd < 0 || pthread_create(&peer->thread, NULL, peer_main, peer) != 0)
        abort();
}

void peer_join(struct peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->finished_fd);
}

static void peer_on_finished(void *ctx, int fd, uint32_t events)
{
    struct peer *peer = ctx;
    (void)fd;
    (void)events;
    loop_stop(peer->loop);
}

static void peer_on_late(void *ctx)
{
    struct peer *peer = ctx;
    fprintf(stderr, "the peer did not finish in %d s\n", PEER_PATIENCE_S);
    peer->late = true;
    loop_stop(peer->loop);
}

bool peer_run_loop(struct peer *peer, struct loop *loop)
{
    struct loop_watch *watch = NULL;
    struct loop_timer timer = {.armed = false};
    peer->loop = loop;
    if (loop_watch_add(loop, peer->finished_fd, EPOLLIN, peer_on_finished, peer, &watch, NULL) < 0)
        abort();
    loop_timer_init(&timer, loop, peer_on_late, peer);
    loop_timer_arm(&timer, PEER_PATIENCE_S * 1000);
    bool ok = loop_run(loop, NULL) == 0 && !peer->late;
    loop_timer_disarm(&timer);
    loop_watch_free(watch);
    if (ok)
        peer_join(peer);
    return ok;
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

bool peer_run_loop_for(struct loop *loop, int64_t ms)
{
    struct loop_timer timer = {.armed = false};
    loop_timer_init(&timer, loop, stop_loop, loop);
    loop_timer_arm(&timer, ms);
    bool ok = loop_run(loop, NULL) == 0;
    loop_timer_disarm(&timer);
    return ok;
}

bool peer_play(struct loop *loop, peer_script *script, void *ctx)
{
    struct peer peer;
    peer_start(&peer, script, ctx);
    return peer_run_loop(&peer, loop);
}
