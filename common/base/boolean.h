/* True and false, as annotations, environment and INI files spell them. Pure. */
#ifndef PROFEFE_BOOLEAN_H
#define PROFEFE_BOOLEAN_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>

/* In any case: true 1 t yes y on / false 0 f no n off. -EINVAL with `expected true or false, got "…"`; *ret is
 * untouched then. */
int boolean_parse(struct span text, bool *ret, struct err *err);

/* The same words as lists ending in NULL, so that tests can compare them with the CEL of the manifests. */
extern const char *const boolean_true_words[];
extern const char *const boolean_false_words[];

#endif
