/* What the fuzz targets of texts share: input without a byte to spare behind it, so that a sanitizer sees one read too
 * far, and checks that say what was expected.
 */
#ifndef PROFEFE_TEST_FUZZ_H
#define PROFEFE_TEST_FUZZ_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_SIZE_MAX = 16 * 1024 }; /* larger inputs show nothing new */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* A copy on the heap, exactly as long; free() it. */
static inline struct span fuzz_copy(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    must(copy != NULL, "expected memory");
    if (size > 0)
        memcpy(copy, data, size);
    return (struct span){copy, size};
}

/* The same with a NUL behind it. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    must(copy != NULL, "expected memory");
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

static inline void must_be_printable(const char *text)
{
    for (size_t i = 0, len = strlen(text); i < len;) {
        size_t n = utf8_len(text + i, len - i);
        must(n > 0 && (unsigned char)text[i] >= 0x20 && text[i] != 0x7F, "expected printable UTF-8");
        i += n;
    }
}

/* 0 and err untouched, or -Exxx with the same code and words for people in err. */
static inline void must_be_told(int rc, const struct err *err)
{
    if (rc == 0) {
        must(err->code == 0 && err->text[0] == '\0', "expected a success to leave err alone");
        return;
    }
    must(rc < 0 && err->code == -rc, "expected the code of the failure in err");
    must(err->text[0] != '\0', "expected words for a failure");
    must_be_printable(err->text);
}

#endif
