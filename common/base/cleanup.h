/* Scoped cleanup: `CLEANUP(fn) type name = …` calls fn(&name) when the scope ends.
 *
 * Each type declares its own helper beside its free function; this file holds those of libc's types.
 * Ownership leaves a scope only by a visible take: TAKE_PTR and TAKE_FD return the value and disarm
 * the variable. The "no descriptor" value is -1 everywhere; 0 is a valid descriptor.
 */
#ifndef PROFEFE_CLEANUP_H
#define PROFEFE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(p)                                                                                \
    __extension__({                                                                                \
        __auto_type take_ptr_ = (p);                                                               \
        (p) = NULL;                                                                                \
        take_ptr_;                                                                                 \
    })

#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int take_fd_ = (fd);                                                                       \
        (fd) = -1;                                                                                 \
        take_fd_;                                                                                  \
    })

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)

#endif
