#include "alloc_fail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool armed, paused, for_ever;
    unsigned passing; /* allocations that still pass */
    unsigned failed;
} alloc_fail;

void alloc_fail_arm(unsigned passing, bool for_ever)
{
    alloc_fail.armed = true;
    alloc_fail.paused = false;
    alloc_fail.for_ever = for_ever;
    alloc_fail.passing = passing;
    alloc_fail.failed = 0;
}

bool alloc_fail_has_failed(void)
{
    return alloc_fail.failed > 0;
}

bool alloc_fail_disarm(void)
{
    alloc_fail.armed = false;
    return alloc_fail_has_failed();
}

void alloc_fail_pause(void)
{
    alloc_fail.paused = true;
}

void alloc_fail_resume(void)
{
    alloc_fail.paused = false;
}

static bool alloc_fail_once(const char *what, alloc_fail_attempt *attempt, void *ctx, unsigned n, bool for_ever)
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

unsigned alloc_fail_in_turn(const char *what, alloc_fail_attempt *attempt, void *ctx)
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

void alloc_fail_in_turn_exactly(unsigned own, const char *what, alloc_fail_attempt *attempt, void *ctx)
{
    unsigned n = alloc_fail_in_turn(what, attempt, ctx);
#ifdef STATIC_BUILD
    enum { LIBRARIES_MAX = 8 };
    assert_in_range(n, own, own + LIBRARIES_MAX);
#else
    assert_int_equal(n, own);
#endif
}

/* ---- the wraps ---- */

static bool alloc_fail_now(void)
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
