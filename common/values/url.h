/* The part of RFC 3986 that we accept: absolute http and https URLs without userinfo, query or fragment.
 * Pure; views into the caller's text. */
#ifndef PROFEFE_URL_H
#define PROFEFE_URL_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { URL_MAX = 2048 };

struct url {
    bool https;
    struct span host; /* name, IPv4, or IPv6 without its brackets */
    uint16_t port;    /* 80 or 443 when the text has none */
    struct span path; /* from the first "/", without trailing slashes; may be empty */
};

/* -EINVAL: "expected http://HOST[:PORT][/PATH], got …" and what was wrong; a user, password or query is not quoted. */
MUST_CHECK int url_parse(struct span text, struct url *ret, struct err *err);

/* Whether the host is this machine by its spelling alone: localhost, 127.0.0.0/8 in four parts, ::1. */
bool url_is_loopback(const struct url *url);

/* An absolute path of unreserved, sub-delims (less the comma, our list separator), ":" "@" "/" and %XX. */
MUST_CHECK int url_check_path(struct span text, struct err *err);

#endif
