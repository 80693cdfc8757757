/* Prometheus text exposition format 0.0.4. Stateless but for histograms: each module keeps its own plain counters
 * and writes them into a buffer when asked.
 *
 *     metrics_family(out, "profefe_agent_pushes_total", "counter", "Pushes to profefe by result.");
 *     metrics_sample(out, "profefe_agent_pushes_total", n, "result", "stored", NULL);
 */
#ifndef PROFEFE_METRICS_H
#define PROFEFE_METRICS_H

#include "common/base/buf.h"

#include <stdint.h>

enum {
    METRICS_BUCKETS_MAX = 16,
};

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* # HELP and # TYPE; type is counter, gauge or histogram. */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);

/* One sample with label pairs (name, value, …, NULL). Values are escaped. */
void metrics_sample(struct buf *out, const char *name, uint64_t value, ...) NULL_ENDED;

/* A histogram of durations. `bounds_us` is ascending, in microseconds; a last +Inf bucket is implied. */
struct metrics_histogram {
    const uint64_t *bounds_us;
    unsigned bounds_count; /* at most METRICS_BUCKETS_MAX */
    uint64_t buckets[METRICS_BUCKETS_MAX + 1];
    uint64_t sum_us;
    uint64_t count;
};
void metrics_observe_us(struct metrics_histogram *histogram, uint64_t us);
/* Family and samples; `name` without suffix, in seconds. */
void metrics_histogram_write(struct buf *out, const char *name, const char *help,
                             const struct metrics_histogram *histogram);

/* NAME_build_info{version="…"} 1 */
void metrics_build_info(struct buf *out, const char *name);

#endif
