/* Names: how far one is from another, which of many a mistyped one was meant to be, and those that Kubernetes takes.
 * Pure. */
#ifndef PROFEFE_NAME_H
#define PROFEFE_NAME_H

#include "common/base/span.h"

#include <stdbool.h>

enum {
    NAME_DISTANCE_MAX = 40,       /* bytes of a word that is compared */
    NAME_SLIPS_MAX = 2,           /* so far is a mistyped name from the one that was meant; further is another */
    NAME_DNS_LABEL_MAX = 63,      /* bytes (RFC 1123) */
    NAME_DNS_SUBDOMAIN_MAX = 253, /* bytes (RFC 1123): the longest name of a Kubernetes object */
};

/* Optimal string alignment distance (insert, delete, replace, swap of neighbours) between two words of at most
 * NAME_DISTANCE_MAX bytes; longer ones count as far apart. */
unsigned name_distance(struct span a, const char *b);

/* The search for the name that was meant: begin with the mistyped one, offer each that there is, and `word` is the
 * nearest (of two the one offered first), or NULL. */
struct name_near {
    struct span mistyped;
    unsigned below;   /* only a word less far than this is nearer than what was found */
    const char *word; /* borrowed */
};

/* `slips`: how far a word may be at most, NAME_SLIPS_MAX where nothing speaks against it. */
struct name_near name_near_begin(struct span mistyped, unsigned slips);
void name_near_offer(struct name_near *near, const char *word);

/* A DNS label (RFC 1123), which names of containers and container ports are. */
bool name_is_dns_label(struct span text);

/* Parts such as labels, but as long as they like, separated by dots (RFC 1123): what names of Kubernetes objects
 * are. */
bool name_is_dns_subdomain(struct span text);

#endif
