/* The files of test/fixtures/pprof, for the tests of gz, pprof and relabel. */
#ifndef PROFEFE_TEST_PPROF_FIXTURES_H
#define PROFEFE_TEST_PPROF_FIXTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    char path[PATH_MAX];
    const char *name; /* in path */
    uint8_t *bytes;
    size_t len;
};

/* Reads test/fixtures/pprof/FOLDER/NAME, or fails the test. fixture_done() it. */
void fixture_read(struct fixture *fixture, const char *folder, const char *name);
void fixture_done(struct fixture *fixture);

/* Calls fn for each file of a folder; none at all is a failure. */
void fixture_each(const char *folder, void (*fn)(const struct fixture *fixture, void *ctx), void *ctx);

/* The fixture inflated, or as it is when it is not gzip; free() it. */
uint8_t *fixture_inflate(const uint8_t *bytes, size_t len, size_t *ret_len);

/* bytes as one gzip member; free() it. */
uint8_t *fixture_compress(const uint8_t *bytes, size_t len, size_t *ret_len);

#endif
