#include "common/http/httpd_queue.h"

#include "alloc_fail.h"
#include "common/base/cleanup.h"

#include <fcntl.h>

enum { MAX = 3 };

static struct httpd_newcomer newcomer(int64_t since_ms)
{
    return (struct httpd_newcomer){.fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .since_ms = since_ms};
}

static void newcomers_keep_their_order(void **state)
{
    (void)state;
    struct httpd_queue queue;
    assert_int_equal(httpd_queue_init(&queue, MAX, NULL), 0);
    for (int i = 0; i < MAX; i++) {
        struct httpd_newcomer one = newcomer(i);
        assert_true(httpd_queue_add(&queue, &one));
    }
    CLEANUP_CLOSE int over = newcomer(MAX).fd;
    assert_false(httpd_queue_add(&queue, &(struct httpd_newcomer){.fd = over}));
    struct httpd_newcomer taken = httpd_queue_take(&queue, 1);
    assert_int_equal(taken.since_ms, 1);
    assert_int_equal(queue.newcomers[0].since_ms, 0);
    assert_int_equal(queue.newcomers[1].since_ms, 2);
    int last = queue.newcomers[1].fd;
    httpd_queue_done(&queue);
    assert_int_equal(fcntl(last, F_GETFD), -1);
    assert_int_equal(close(taken.fd), 0);
    assert_int_equal(queue.count, 0);
}

static void none_wait_where_none_can(void **state)
{
    (void)state;
    struct httpd_queue queue = {.newcomers = NULL};
    assert_false(httpd_queue_add(&queue, &(struct httpd_newcomer){.fd = 0}));
    httpd_queue_done(&queue);
}

static int make(void *ctx)
{
    struct httpd_queue queue = {.newcomers = NULL};
    (void)ctx;
    int rc = httpd_queue_init(&queue, MAX, NULL);
    assert_int_equal(queue.max, rc == 0 ? MAX : 0);
    httpd_queue_done(&queue);
    return rc;
}

static void memory_may_be_short(void **state)
{
    (void)state;
    alloc_fail_in_turn_exactly(1, "a queue", make, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newcomers_keep_their_order),
        cmocka_unit_test(none_wait_where_none_can),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
