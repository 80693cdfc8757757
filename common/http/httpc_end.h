/* What the end of a transfer means, from libcurl's code and from what was seen on the way. Pure. */
#ifndef PROFEFE_HTTPC_END_H
#define PROFEFE_HTTPC_END_H

#include "common/http/httpc.h"

#include <curl/curl.h>

/* Why we made libcurl stop, which itself only knows that a callback did not like something. */
enum httpc_stop {
    HTTPC_STOP_NONE,
    HTTPC_STOP_HEADERS, /* over HTTPC_HEADERS_MAX */
    HTTPC_STOP_NOISE,   /* over HTTPC_NOISE_MAX */
    HTTPC_STOP_BODY,    /* over body_max */
    HTTPC_STOP_CALLER,  /* the sink or source said so */
    HTTPC_STOP_PURPOSE, /* the server's certificate is none of a server's */
    HTTPC_STOP_WATCH,   /* the loop could not watch its socket */
    HTTPC_STOP_CURL,    /* libcurl itself failed and may have lost sight of the transfer */
};

struct httpc_end_facts {
    CURLcode code;         /* counts with HTTPC_STOP_NONE only */
    enum httpc_stop stop;
    const char *curl_text; /* libcurl's words for the first thing that failed; "" = none */
    unsigned gnutls_status; /* what GnuTLS found wrong with the server's certificates; 0 = nothing */
    bool old_text;         /* they are of a kept connection that had died, before another one was opened */
    bool looked_up;        /* the host has an address */
    bool connected;        /* the request was about to go out, or went */
    bool over_tls;
    bool new_connection;   /* opened for this transfer */
    bool in_reply;         /* a byte of a reply came */
    bool headers_whole;    /* of the final reply */
    bool memory_failed;    /* libcurl got none, for this transfer or another one */
    long os_error;         /* errno of the socket, as far as libcurl kept it */
    int socket_error;      /* errno: socket(2) found no room */
    int watch_error;       /* errno: the loop could not watch the socket */
    int abort_code;        /* of the sink or source */
    uint64_t body_max;
};

enum httpc_end httpc_end_of(const struct httpc_end_facts *facts);

/* In words; "" for HTTPC_OK. */
void httpc_end_describe(const struct httpc_end_facts *facts, char text[static ERR_TEXT_MAX]);

#endif
