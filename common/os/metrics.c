#include "common/os/metrics.h"

#include "common/base/version.h"

#include <assert.h>
#include <stdarg.h>

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Exposition format: in label values \, " and newline are escaped. */
static void put_value(struct buf *out, const char *value)
{
    buf_putc(out, '"');
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            buf_puts(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buf_printf(out, "\\%c", *value);
        else
            buf_putc(out, *value);
    }
    buf_putc(out, '"');
}

static void put_labels(struct buf *out, va_list ap)
{
    const char *separator = "{";
    for (const char *key; (key = va_arg(ap, const char *)) != NULL; separator = ",") {
        buf_printf(out, "%s%s=", separator, key);
        put_value(out, va_arg(ap, const char *));
    }
    if (separator[0] == ',')
        buf_putc(out, '}');
}

void metrics_sample(struct buf *out, const char *name, uint64_t value, ...)
{
    va_list ap;
    va_start(ap, value);
    buf_puts(out, name);
    put_labels(out, ap);
    buf_printf(out, " %llu\n", (unsigned long long)value);
    va_end(ap);
}

void metrics_observe_us(struct metrics_histogram *histogram, uint64_t us)
{
    assert(histogram->bounds_count <= METRICS_BUCKETS_MAX);
    unsigned i = 0;
    while (i < histogram->bounds_count && us > histogram->bounds_us[i])
        i++;
    histogram->buckets[i]++;
    histogram->sum_us += us;
    histogram->count++;
}

void metrics_histogram_write(struct buf *out, const char *name, const char *help,
                             const struct metrics_histogram *histogram)
{
    metrics_family(out, name, "histogram", help);
    uint64_t below = 0;
    for (unsigned i = 0; i < histogram->bounds_count; i++) {
        below += histogram->buckets[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)histogram->bounds_us[i] / 1e6,
                   (unsigned long long)below);
    }
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)histogram->count);
    buf_printf(out, "%s_sum %.6f\n", name, (double)histogram->sum_us / 1e6);
    buf_printf(out, "%s_count %llu\n", name, (unsigned long long)histogram->count);
}

void metrics_build_info(struct buf *out, const char *name)
{
    buf_printf(out, "# HELP %s_build_info Version of this binary.\n# TYPE %s_build_info gauge\n", name, name);
    buf_printf(out, "%s_build_info{version=", name);
    put_value(out, version_text());
    buf_puts(out, "} 1\n");
}
