/* A time as RFC 3339 has it, in UTC and to the second, without the "Z": 2026-11-28T10:09:52. */
#ifndef PROFEFE_RFC3339_H
#define PROFEFE_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

enum { RFC3339_SIZE = 32 }; /* bytes, with the NUL */

/* 9999-12-31T23:59:59: later years have more than the four digits that the RFC knows, and are written
 * as the C library does it: musl puts a "+" before them. */
#define RFC3339_SECONDS_MAX INT64_C(253402300799)

/* seconds: Unix time. False, and "": so far off that a year does not fit an int. */
bool rfc3339_write(char out[static RFC3339_SIZE], int64_t seconds);

#endif
