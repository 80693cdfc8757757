/* metrics: Prometheus text format 0.0.4. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"
#include "common/os/metrics.h"

enum { PAGE_MAX = 64 * 1024 };

static void family_and_samples(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, PAGE_MAX);
    metrics_family(&out, "a_total", "counter", "What it is.");
    metrics_sample(&out, "a_total", 0, NULL);
    metrics_sample(&out, "a_total", UINT64_MAX, "type", "cpu", "result", "ok", NULL);
    metrics_sample(&out, "b", 1, "x", "", NULL);
    assert_string_equal("# HELP a_total What it is.\n"
                        "# TYPE a_total counter\n"
                        "a_total 0\n"
                        "a_total{type=\"cpu\",result=\"ok\"} 18446744073709551615\n"
                        "b{x=\"\"} 1\n",
                        buf_text(&out));
    buf_done(&out);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, PAGE_MAX);
    metrics_sample(&out, "m", 1, "k", "a\"b\\c\nd}\xc3\xa4", NULL);
    assert_string_equal("m{k=\"a\\\"b\\\\c\\nd}\xc3\xa4\"} 1\n", buf_text(&out));
    buf_done(&out);
}

static void histogram_buckets_are_cumulative_and_inclusive(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {50, 100, 2500000};
    struct metrics_histogram histogram = {.bounds_us = bounds, .bounds_count = COUNT_OF(bounds)};
    static const uint64_t values[] = {0, 50, 51, 100, 101, 2500000, 2500001};
    struct buf out;
    for (size_t i = 0; i < COUNT_OF(values); i++)
        metrics_observe_us(&histogram, values[i]);
    buf_init(&out, PAGE_MAX);
    metrics_histogram_write(&out, "h_seconds", "How long.", &histogram);
    assert_string_equal("# HELP h_seconds How long.\n"
                        "# TYPE h_seconds histogram\n"
                        "h_seconds_bucket{le=\"5e-05\"} 2\n"
                        "h_seconds_bucket{le=\"0.0001\"} 4\n"
                        "h_seconds_bucket{le=\"2.5\"} 6\n"
                        "h_seconds_bucket{le=\"+Inf\"} 7\n"
                        "h_seconds_sum 5.000303\n"
                        "h_seconds_count 7\n",
                        buf_text(&out));
    buf_done(&out);
}

static void histogram_without_bounds_and_with_the_most(void **state)
{
    (void)state;
    uint64_t bounds[METRICS_BUCKETS_MAX];
    struct metrics_histogram histogram = {.bounds_us = bounds, .bounds_count = 0};
    struct buf out;
    metrics_observe_us(&histogram, 5);
    buf_init(&out, PAGE_MAX);
    metrics_histogram_write(&out, "h", "x", &histogram);
    expect_contains("no bounds", buf_text(&out), "\nh_bucket{le=\"+Inf\"} 1\n");
    for (unsigned i = 0; i < METRICS_BUCKETS_MAX; i++)
        bounds[i] = i + 1;
    histogram = (struct metrics_histogram){.bounds_us = bounds, .bounds_count = METRICS_BUCKETS_MAX};
    metrics_observe_us(&histogram, METRICS_BUCKETS_MAX);
    metrics_observe_us(&histogram, UINT64_MAX / 2);
    buf_clear(&out);
    metrics_histogram_write(&out, "h", "x", &histogram);
    expect_contains("last bound", buf_text(&out), "\nh_bucket{le=\"1.6e-05\"} 1\nh_bucket{le=\"+Inf\"} 2\n");
    buf_done(&out);
}

static void build_info_names_the_version(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, PAGE_MAX);
    metrics_build_info(&out, "profefe_agent");
    expect_contains("info", buf_text(&out),
                    "# TYPE profefe_agent_build_info gauge\nprofefe_agent_build_info{version=\"");
    expect_contains("info", buf_text(&out), "\"} 1\n");
    buf_done(&out);
}

static int page_attempt(void *ctx)
{
    (void)ctx;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, PAGE_MAX);
    metrics_family(&out, "a_total", "counter", "What it is.");
    metrics_sample(&out, "a_total", 1, "type", "cpu", "result", "ok", NULL);
    return buf_error(&out);
}

static void without_memory_the_page_is_an_error(void **state)
{
    (void)state;
    assert_in_range(alloc_fail_in_turn("metrics", page_attempt, NULL), 1, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family_and_samples),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(histogram_buckets_are_cumulative_and_inclusive),
        cmocka_unit_test(histogram_without_bounds_and_with_the_most),
        cmocka_unit_test(build_info_names_the_version),
        cmocka_unit_test(without_memory_the_page_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
