/* Fails one allocation of one thread, those of the libraries included, so that a peer in another thread is spared. Beside
 * alloc_fail.h, which is for programs of one thread. Wants in the first line: wrap: malloc calloc realloc strdup */
#ifndef PROFEFE_TEST_ALLOC_FAIL_THREAD_H
#define PROFEFE_TEST_ALLOC_FAIL_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static long allocations_left = -1; /* -1 = all pass */
static pthread_t failing_thread;

static inline bool allocation_fails(void)
{
    return allocations_left >= 0 && pthread_equal(pthread_self(), failing_thread) && allocations_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return allocation_fails() ? NULL : __real_strdup(text);
}

#endif
