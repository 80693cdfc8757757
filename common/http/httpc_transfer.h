/* One transfer of the client: libcurl's handle for it, what goes out, and what has come in.
 *
 * It knows neither the multi handle nor its sockets: who runs it (httpc.c) keeps its own notes in the second part.
 */
#ifndef PROFEFE_HTTPC_TRANSFER_H
#define PROFEFE_HTTPC_TRANSFER_H

#include "common/base/marks.h"
#include "common/http/httpc_end.h"

enum httpc_state {
    HTTPC_RUNNING,
    HTTPC_CANCELLED, /* from inside libcurl: taken out as soon as that returns */
    HTTPC_DONE,      /* `done` is being called */
};

struct httpc_transfer {
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *resolve;
    char curl_text[CURL_ERROR_SIZE]; /* of the first failure only, as libcurl does it */
    enum httpc_state state;
    enum httpc_stop stop;
    bool connected;     /* the request is about to go out, or went */
    bool headers_whole; /* of the final reply */
    bool has_name;      /* the host is a name that DNS answers for */
    bool over_tls;
    bool verified;      /* the server must show who it is */
    size_t header_bytes;
    int64_t started_ms;
    unsigned long memory_failures; /* of the process, when we began */
    uint64_t body_max;
    const char *const *keep;
    unsigned keep_count;
    int64_t source_size;
    httpc_source *source;
    httpc_sink *sink;
    void *body_ctx;
    httpc_done *done;
    void *done_ctx;
    struct httpc_result result;

    /* httpc.c's */
    struct httpc_transfer *next;
    struct httpc *httpc;
    enum httpc_stop stranded; /* not HTTPC_STOP_NONE: to be ended by us for that reason, since libcurl will not */
    uint64_t wire_bytes;      /* received by the socket before it was ours, once wire_fd is it */
    int wire_fd;              /* -1 = nothing was received yet */
    unsigned opened;          /* sockets, one an address tried */
    unsigned nudged;          /* value of `opened` when libcurl was last reminded of this transfer */
    bool old_text;            /* curl_text was there when the last socket was opened */
    int socket_error;         /* errno: socket(2) found no room */
    int watch_error;          /* errno: the loop could not watch the socket */
};

/* Ready to be run. fresh_dns: kept answers of the resolver are not to be used. Errors as of httpc_start. */
MUST_CHECK int httpc_transfer_new(const struct httpc_request *request, const char *user_agent, bool fresh_dns,
                                  int64_t now_ms, struct httpc_transfer **ret, struct err *err) NONNULL(1);
struct httpc_transfer *httpc_transfer_free(struct httpc_transfer *transfer); /* NULL allowed; returns NULL */

static inline void cleanup_httpc_transfer(struct httpc_transfer **transfer)
{
    httpc_transfer_free(*transfer);
}

#define CLEANUP_HTTPC_TRANSFER CLEANUP(cleanup_httpc_transfer)

/* NULL for a handle of libcurl's own, as when it closes a kept connection. */
struct httpc_transfer *httpc_transfer_of(CURL *easy);

/* Completes transfer->result. */
void httpc_transfer_finish(struct httpc_transfer *transfer, CURLcode code, int64_t now_ms);

#endif
