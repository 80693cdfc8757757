/* Names: how far one is from another, for near misses, and those that Kubernetes takes. Pure. */
#ifndef PROFEFE_NAME_H
#define PROFEFE_NAME_H

#include "common/base/span.h"

#include <stdbool.h>

enum {
    NAME_DISTANCE_MAX = 40,  /* bytes of a word that is compared */
    NAME_DNS_LABEL_MAX = 63, /* bytes (RFC 1123) */
};

/* Optimal string alignment distance (insert, delete, replace, swap of neighbours) between two words of at most
 * NAME_DISTANCE_MAX bytes; longer ones count as far apart. */
unsigned name_distance(struct span a, const char *b);

/* A DNS label (RFC 1123), which names of containers and container ports are. */
bool name_is_dns_label(struct span text);

#endif
