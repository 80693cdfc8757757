/* What an agent scrapes: a list of `[NAME=]URL`, comma-separated (PROFEFE_AGENT_TARGETS, INI `targets`, --target).
 * URL is the pprof base, e.g. http://127.0.0.1:6060/debug/pprof. NAME becomes the label `target`. */
#ifndef PROFEFE_TARGETS_H
#define PROFEFE_TARGETS_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/values/url.h"

enum {
    TARGETS_MAX = 8,      /* ports of one pod worth profiling; each costs a plan of its own */
    TARGET_NAME_MAX = 63, /* a DNS label, as container names are */
    TARGET_URL_MAX = 512,
};

struct target {
    char name[TARGET_NAME_MAX + 1]; /* "" = the only target, without a name */
    char url[TARGET_URL_MAX + 1];   /* without a trailing slash */
    bool is_loopback;               /* url_is_loopback() */
};

struct targets {
    unsigned count;
    struct target items[TARGETS_MAX];
};

/* -EINVAL: bad URL, bad or repeated name, none, too many. */
MUST_CHECK int targets_parse(struct span text, struct targets *ret, struct err *err);

#endif
