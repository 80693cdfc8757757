/* References to container images: [REGISTRY/]PATH[:TAG][@DIGEST], by the rules of distribution/reference. Pure. */
#ifndef PROFEFE_IMAGE_H
#define PROFEFE_IMAGE_H

#include "common/base/span.h"

#include <stdbool.h>

enum { IMAGE_MAX = 512 }; /* bytes of a reference: a name of 255, a tag of 128 and a digest of 71 fit */

/* Holds for whatever a registry may know: the right characters, no empty part, a path in lower case. The registry
 * decides the rest. */
bool image_is_reference(struct span text);

/* Does `image` begin with one of the comma-separated prefixes, as prefix.h says? One that is only a host permits no
 * port, one with a tag no digest behind it. */
bool image_is_permitted(struct span prefixes, struct span image);

#endif
