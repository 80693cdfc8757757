/* A check of one Go execution trace as it streams by: that it is one at all, since an error page of a proxy would else
 * be kept as a trace that no tool opens. Only the header is looked at; what follows changes with each Go version.
 *
 *     0                    16
 *     ├ go 1.NN trace ␀␀␀ ─┼─ generations of events …        (golang/go src/internal/trace, version.ReadHeader)
 *
 * A trace is streamed while it runs, so a transfer that breaks off is told by HTTP, not here. Memory is fixed.
 */
#ifndef PROFEFE_GOTRACE_H
#define PROFEFE_GOTRACE_H

#include "common/pprof/pprof.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GOTRACE_HEADER_BYTES = 16 };

struct gotrace_check {
    uint64_t bytes;
    size_t head_len;
    char head[PPROF_HEAD_MAX];
};

void gotrace_check_init(struct gotrace_check *check);

/* 0, or -EINVAL as soon as it is clear that this is no trace: the transfer may be cut. Feeding on after that is
 * allowed and changes nothing. */
int gotrace_check_feed(struct gotrace_check *check, const void *bytes, size_t len);

/* The end of the body: PPROF_OK, PPROF_TEXT, PPROF_MALFORMED or PPROF_TRUNCATED, with its reason; raw_bytes is set. */
void gotrace_check_finish(const struct gotrace_check *check, struct pprof_summary *ret);

#endif
