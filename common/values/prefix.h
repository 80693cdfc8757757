/* What a beginning of a URL or of an image permits: the one rule for prefixes in configurations. Pure. */
#ifndef PROFEFE_PREFIX_H
#define PROFEFE_PREFIX_H

#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Does `text` begin with the prefix, in whole names? The first `owner_len` bytes of the text, its host, say whose it
 * is, and the prefix holds all of them: neither http://profefe nor http://profefe. permits
 * http://profefe.evil.example. What comes behind the prefix is nothing or begins with one of `separators`, so that
 * http://profefe/team does not permit http://profefe/teams; a prefix that ends in a mark and not in a letter or
 * digit is open there, such as registry.example.com/team- for each image whose name begins so. An empty prefix
 * permits nothing. */
bool prefix_permits(struct span prefix, struct span text, size_t owner_len, const char *separators);

#endif
