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

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    ALLOC_FAIL_MAX = 10000, /* allocations of one attempt; more means that it never gets through */
    ALLOC_FAIL_SHED = 1,
};

static struct {
    bool armed, paused, for_ever;
    unsigned passing; /* allocations that still pass */
    unsigned failed;
} alloc_fail;

static inline void alloc_fail_arm(unsigned passing, bool for_ever)
{
    alloc_fail.armed = true;
    alloc_fail.paused = false;
    alloc_fail.for_ever = for_ever;
    alloc_fail.passing = passing;
    alloc_fail.failed = 0;
}

/* True when an allocation was failed since it was armed. */
static inline bool alloc_fail_disarm(void)
{
    alloc_fail.armed = false;
    return alloc_fail.failed > 0;
}

static inline void alloc_fail_pause(void)
{
    alloc_fail.paused = true;
}

static inline void alloc_fail_resume(void)
{
    alloc_fail.paused = false;
}

typedef int alloc_fail_attempt(void *ctx);

static inline bool alloc_fail_once(const char *what, alloc_fail_attempt *attempt, void *ctx, unsigned n, bool for_ever)
{
    alloc_fail_arm(n, for_ever);
    int rc = attempt(ctx);
    bool failed = alloc_fail_disarm();
    if (failed && rc == 0)
        fail_msg("%s: allocation %u failed and it claims success", what, n);
    if (!failed && rc != 0)
        fail_msg("%s: no allocation failed and it returned %d", what, rc);
    return failed;
}

/* Returns how many allocations an undisturbed attempt makes. */
static inline unsigned alloc_fail_in_turn(const char *what, alloc_fail_attempt *attempt, void *ctx)
{
    unsigned n = 0;
    for (; n < ALLOC_FAIL_MAX; n++) {
        bool failed = alloc_fail_once(what, attempt, ctx, n, /* for_ever= */ false);
        if (alloc_fail_once(what, attempt, ctx, n, /* for_ever= */ true) != failed)
            fail_msg("%s: attempt %u makes now more, now fewer allocations", what, n);
        if (!failed)
            return n;
    }
    fail_msg("%s: it does not get through %u allocations", what, n);
    return n;
}

/* The same, and they must be just so many of our own. */
static inline void alloc_fail_in_turn_exactly(unsigned own, const char *what, alloc_fail_attempt *attempt, void *ctx)
{
    unsigned n = alloc_fail_in_turn(what, attempt, ctx);
#ifdef STATIC_BUILD
    enum { LIBRARIES_MAX = 5 };
    assert_in_range(n, own, own + LIBRARIES_MAX);
#else
    assert_int_equal(n, own);
#endif
}

/* ---- the wraps ---- */

static inline bool alloc_fail_now(void)
{
    if (!alloc_fail.armed || alloc_fail.paused)
        return false;
    if (alloc_fail.passing > 0) {
        alloc_fail.passing--;
        return false;
    }
    if (alloc_fail.failed > 0 && !alloc_fail.for_ever)
        return false;
    alloc_fail.failed++;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return alloc_fail_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return alloc_fail_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    return alloc_fail_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return alloc_fail_now() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len)
{
    return alloc_fail_now() ? NULL : __real_strndup(text, len);
}

#endif
