/* Fails one allocation of one thread, so that a peer in another thread is spared. Beside alloc_fail.h, which is for
 * programs of one thread. The test says in its first line: wrap: malloc calloc realloc strdup */
#ifndef PROFEFE_TEST_ALLOC_FAIL_THREAD_H
#define PROFEFE_TEST_ALLOC_FAIL_THREAD_H

#include <pthread.h>

extern long allocations_left; /* that still pass before one fails; -1: all pass, as after that one */
extern pthread_t failing_thread;

#endif
