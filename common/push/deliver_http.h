/* Profiles to a profefe over HTTP: posts one, or asks whether one is stored. One request at a time, on the loop.
 *
 * Each answer becomes a delivery_result (rule: profefe_judge). The question reads the list of the profile's second as
 * it streams by (profefe_list.h); a reply of more than DELIVER_HTTP_LIST_MAX is given up: the profile is then sent once
 * more, which readers can tell (same service, type, pod, target and second), while one that is not sent is lost.
 *
 * A profile that is rewritten goes without a length, in chunks, since it is compressed as it is sent. Where a proxy on
 * the way empties such a body, or wants a length (411), it is kept, and from then on each one is compressed twice: once
 * to count its bytes, once to send them.
 */
#ifndef PROFEFE_DELIVER_HTTP_H
#define PROFEFE_DELIVER_HTTP_H

#include "common/base/err.h"
#include "common/http/httpc.h"
#include "common/os/loop.h"
#include "common/push/delivery.h"

#include <stdint.h>

struct credentials;

enum {
    DELIVER_HTTP_REPLY_MAX = 64 * 1024,  /* bytes: profefe repeats all labels, of which a byte may become \u00XX */
    DELIVER_HTTP_LIST_MAX = 1024 * 1024, /* bytes: PROFEFE_LIST_MAX profiles of 1 KB */
    DELIVER_HTTP_BYTES_PER_SECOND = 50 * 1024, /* a slow collector took 6.5 s for 8 MB; ten times slower is allowed */
};

/* All borrowed. */
struct deliver_http_options {
    const char *collector; /* base URL */
    struct credentials *credentials; /* refreshed before each try; NULL = none */
    const char *ca_hint;   /* where a person puts the collector's CA certificates, for a text; NULL = no hint */
    const char *service;
    const char *instance_id;
    int64_t connect_timeout_ms;
    int64_t timeout_ms; /* one try, plus a second for every DELIVER_HTTP_BYTES_PER_SECOND */
};

int deliver_http_new(struct loop *loop, struct httpc *httpc, const struct deliver_http_options *options,
                     struct delivery **ret, struct err *err);

#endif
