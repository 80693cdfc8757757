/* "[HOST]:PORT", where a server listens: an IPv4 address, an IPv6 address in brackets, "localhost" (127.0.0.1) or
 * nothing as host: all addresses, IPv6 and IPv4. No names: a server that waits for DNS is a server that does not
 * start. */
#ifndef PROFEFE_ADDRESS_H
#define PROFEFE_ADDRESS_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
    bool any; /* no host was given: IPv6's, which takes IPv4 as well */
};

/* Port 0 means a free one. -EINVAL. */
MUST_CHECK int address_parse(struct span text, struct address *ret, struct err *err);

/* The same port of all IPv4 addresses, where IPv6 is off. */
struct address address_any_ipv4(const struct address *any);

#endif
