#include "common/http/httpd_room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    GUESTS_MAX = 4,
    NOBODY = 99,
    SILENT_MS = HTTPD_ROOM_SILENT_MS,
    SLOW_MS = HTTPD_ROOM_SLOW_MS,
    SMALL = HTTPD_ROOM_SMALL_BODY,
    MIB = 1024 * 1024,
};

#define SILENT(ms) {.age_ms = (ms)}
#define IDLE(ms) {.used = true, .age_ms = (ms)}
#define BEGUN(ms) {.used = true, .unread = true, .age_ms = (ms)}
#define SENDING(ms) {.used = true, .stage = HTTPD_ROOM_BODY, .age_ms = (ms)}
#define READING(ms) {.used = true, .stage = HTTPD_ROOM_REPLY, .age_ms = (ms)}
#define GOOD_IDLE(ms) {.used = true, .good = true, .age_ms = (ms)}
#define GOOD_SENDING(ms) {.used = true, .good = true, .stage = HTTPD_ROOM_HEADERS, .age_ms = (ms)}
#define LEAVING {.used = true, .leaving = true, .age_ms = 9000}
#define OWN_IDLE(ms) {.used = true, .same_peer = true, .age_ms = (ms)}
#define OWN_GOOD_IDLE(ms) {.used = true, .good = true, .same_peer = true, .age_ms = (ms)}
#define OWN_LEAVING {.used = true, .leaving = true, .same_peer = true, .age_ms = 9000}
#define OWN_SENDING(ms) {.used = true, .same_peer = true, .stage = HTTPD_ROOM_BODY, .age_ms = (ms)}

static const struct row {
    const char *what;
    struct httpd_room_guest guests[GUESTS_MAX];
    size_t count;
    struct httpd_room_limits limits;
    enum httpd_room_answer answer;
    size_t who;
} rows[] = {
    {"nobody is there", {{0}}, 0, {1, 0}, HTTPD_ROOM_FREE, NOBODY},
    {"one place is left", {IDLE(9), IDLE(9)}, 2, {3, 0}, HTTPD_ROOM_FREE, NOBODY},
    {"who leaves holds no place", {IDLE(9), LEAVING}, 2, {2, 0}, HTTPD_ROOM_FREE, NOBODY},
    {"nor does he make room twice", {SENDING(0), LEAVING}, 2, {1, 0}, HTTPD_ROOM_WAIT, NOBODY},

    {"silent in its grace", {SILENT(SILENT_MS - 1)}, 1, {1, 0}, HTTPD_ROOM_WAIT, NOBODY},
    {"silent after it", {SILENT(SILENT_MS)}, 1, {1, 0}, HTTPD_ROOM_CUT_IDLE, 0},
    {"idle stranger at once", {IDLE(0)}, 1, {1, 0}, HTTPD_ROOM_CUT_IDLE, 0},
    {"not when its next request began", {BEGUN(SLOW_MS - 1)}, 1, {1, 0}, HTTPD_ROOM_WAIT, NOBODY},
    {"but when nothing comes of it", {BEGUN(SLOW_MS)}, 1, {1, 0}, HTTPD_ROOM_CUT_SLOW, 0},
    {"sending in its grace", {SENDING(SLOW_MS - 1)}, 1, {1, 0}, HTTPD_ROOM_WAIT, NOBODY},
    {"sending after it", {SENDING(SLOW_MS)}, 1, {1, 0}, HTTPD_ROOM_CUT_SLOW, 0},
    {"reading its reply for too long", {READING(SLOW_MS)}, 1, {1, 0}, HTTPD_ROOM_CUT_SLOW, 0},
    {"good ones when all are good", {GOOD_IDLE(5), GOOD_IDLE(7)}, 2, {2, 0}, HTTPD_ROOM_CUT_IDLE, 1},

    {"silent before idle", {IDLE(9000), SILENT(SILENT_MS)}, 2, {2, 0}, HTTPD_ROOM_CUT_IDLE, 1},
    {"idle before sending", {SENDING(9000), IDLE(0)}, 2, {2, 0}, HTTPD_ROOM_CUT_IDLE, 1},
    {"sending before good ones that are idle", {GOOD_IDLE(9000), SENDING(SLOW_MS)}, 2, {2, 0}, HTTPD_ROOM_CUT_SLOW, 1},
    {"good ones that are slow before good ones that are idle", {GOOD_IDLE(9000), GOOD_SENDING(SLOW_MS)}, 2, {2, 0},
     HTTPD_ROOM_CUT_SLOW, 1},
    {"no good one while a stranger is in its grace", {GOOD_IDLE(9000), SENDING(1), GOOD_SENDING(9000)}, 3, {3, 0},
     HTTPD_ROOM_WAIT, NOBODY},
    {"the longest of equals", {SENDING(300), SENDING(500), SENDING(400)}, 3, {3, 0}, HTTPD_ROOM_CUT_SLOW, 1},

    {"a peer under its share", {OWN_IDLE(5), IDLE(9)}, 2, {4, 2}, HTTPD_ROOM_FREE, NOBODY},
    {"a peer at its share gives up its own", {IDLE(9000), OWN_IDLE(5), OWN_IDLE(7)}, 3, {4, 2}, HTTPD_ROOM_CUT_IDLE, 2},
    {"and waits where none of them can go", {OWN_SENDING(0), OWN_SENDING(0)}, 2, {4, 2}, HTTPD_ROOM_WAIT, NOBODY},
    {"also where another could go", {IDLE(1), OWN_SENDING(0), OWN_SENDING(0)}, 3, {3, 2}, HTTPD_ROOM_WAIT, NOBODY},
    {"its own that leave are none", {OWN_SENDING(0), OWN_LEAVING}, 2, {4, 2}, HTTPD_ROOM_FREE, NOBODY},
    {"at its share the same order holds", {OWN_GOOD_IDLE(9000), OWN_SENDING(SLOW_MS), SILENT(9000)}, 3, {4, 2},
     HTTPD_ROOM_CUT_SLOW, 1},
};

static void somebody_makes_room_in_order(void **state)
{
    (void)state;
    for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
        size_t who = NOBODY;
        enum httpd_room_answer answer = httpd_room_find(row->guests, row->count, &row->limits, &who);
        if (answer != row->answer || who != row->who)
            fail_msg("%s: expected %d and guest %zu, got %d and %zu", row->what, (int)row->answer, row->who,
                     (int)answer, who);
    }
}

static void large_bodies_leave_a_quarter_to_small_ones(void **state)
{
    (void)state;
    struct httpd_room_bodies bodies = {0};
    httpd_room_count_body(&bodies, 0, SMALL);
    assert_int_equal(bodies.large, 0);
    httpd_room_count_body(&bodies, SMALL, 3 * MIB);
    httpd_room_count_body(&bodies, 0, 3 * MIB);
    assert_int_equal(bodies.all, 6 * MIB);
    assert_int_equal(bodies.large, 6 * MIB);
    assert_true(httpd_room_has_bodies_left(&bodies, 8 * MIB));
    httpd_room_count_body(&bodies, 3 * MIB, 3 * MIB + 1);
    assert_false(httpd_room_has_bodies_left(&bodies, 8 * MIB));
    httpd_room_count_body(&bodies, 3 * MIB + 1, 0);
    for (int i = 0; i < 20; i++)
        httpd_room_count_body(&bodies, 0, SMALL);
    assert_true(httpd_room_has_bodies_left(&bodies, 8 * MIB));
    httpd_room_count_body(&bodies, 0, 1);
    assert_false(httpd_room_has_bodies_left(&bodies, 8 * MIB));
}

static void largest_and_of_equals_oldest_body_goes(void **state)
{
    (void)state;
    const struct httpd_room_guest guests[] = {
        {.body = 10, .age_ms = 900}, {.body = 0, .age_ms = 5000}, {.body = 30, .age_ms = 5}, {.body = 30, .age_ms = 8}};
    assert_int_equal(httpd_room_largest_body(guests, 4), 3);
    assert_int_equal(httpd_room_largest_body(guests, 3), 2);
    assert_int_equal(httpd_room_largest_body(guests, 1), 0);
    assert_int_equal(httpd_room_largest_body(guests + 1, 1), 1);
    assert_int_equal(httpd_room_largest_body(guests, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(somebody_makes_room_in_order),
        cmocka_unit_test(large_bodies_leave_a_quarter_to_small_ones),
        cmocka_unit_test(largest_and_of_equals_oldest_body_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
