/* Fails our own allocations one after the other: the 1st, then the 2nd … until a call gets through, each time once
 * alone ("the machine was short for a moment") and once with all that follow. What must hold after each failure
 * is for the test to say: not only that nothing leaks, but what the object still holds.
 *
 *   1. #include "alloc_fail.h", in one file of the test program; CMake sees that line and links it with
 *      -Wl,--wrap for malloc, calloc, realloc, strdup and strndup. Only our objects are wrapped: shared
 *      libraries (cmocka, curl, gnutls, libc itself) allocate as ever. In a static build they are wrapped too.
 *   2. Write an attempt: a function that makes what it needs, calls what is tested, checks, cleans up, and returns
 *      the call's return code: 0 success, < 0 failure, or ALLOC_FAIL_SHED when it went on without the memory as its
 *      contract allows. What is not under test stands between alloc_fail_pause() and alloc_fail_resume().
 *   3. alloc_fail_in_turn("what it is", attempt, ctx). It fails the test when an attempt succeeds in spite of
 *      a failed allocation, fails without one, or never gets through.
 *
 *      static int add_label(void *ctx)
 *      {
 *          struct labels *labels = ctx;
 *          ...
 *          return rc;
 *      }
 *
 * For other orders of things: alloc_fail_arm(n, for_ever) lets n allocations pass; alloc_fail_disarm() says whether
 * one was failed. Not for several threads at once.
 */
#ifndef PROFEFE_TEST_ALLOC_FAIL_H
#define PROFEFE_TEST_ALLOC_FAIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    ALLOC_FAIL_MAX = 10000, /* allocations of one attempt; more means that it never gets through */
    ALLOC_FAIL_SHED = 1,
};

/* From now on `passing` allocations pass and the next one fails, alone or with all after it. */
void alloc_fail_arm(unsigned passing, bool for_ever);
/* True when an allocation was failed since it was armed. */
bool alloc_fail_disarm(void);
bool alloc_fail_has_failed(void); /* the same, and it stays armed */

void alloc_fail_pause(void);
void alloc_fail_resume(void);

typedef int alloc_fail_attempt(void *ctx);

/* Returns how many allocations an undisturbed attempt makes. */
unsigned alloc_fail_in_turn(const char *what, alloc_fail_attempt *attempt, void *ctx);

/* The same, and they must be just so many of our own. */
void alloc_fail_in_turn_exactly(unsigned own, const char *what, alloc_fail_attempt *attempt, void *ctx);

#endif
