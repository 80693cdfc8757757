#include "common/http/httpd_room.h"

enum { RESERVE_PART = 4 }; /* of the memory for bodies: a quarter is for small ones alone */

/* In the order in which they go. */
enum use { USE_SILENT, USE_IDLE, USE_SLOW, USE_GOOD_SLOW, USE_GOOD_IDLE, USE_NEEDED };

static bool has_waited(const struct httpd_room_guest *guest)
{
    return guest->stage == HTTPD_ROOM_WAITING && !guest->unread;
}

static enum use use_of(const struct httpd_room_guest *guest)
{
    if (guest->leaving)
        return USE_NEEDED;
    if (guest->stage == HTTPD_ROOM_WAITING && !guest->used)
        return guest->age_ms >= HTTPD_ROOM_SILENT_MS ? USE_SILENT : USE_NEEDED;
    if (has_waited(guest))
        return guest->good ? USE_GOOD_IDLE : USE_IDLE;
    if (guest->age_ms < HTTPD_ROOM_SLOW_MS)
        return USE_NEEDED;
    return guest->good ? USE_GOOD_SLOW : USE_SLOW;
}

static bool goes_before(const struct httpd_room_guest *a, const struct httpd_room_guest *b)
{
    enum use use_a = use_of(a), use_b = use_of(b);
    return use_a != use_b ? use_a < use_b : a->age_ms > b->age_ms;
}

/* Somebody who has a right to his place for a moment only. */
static bool is_in_grace(const struct httpd_room_guest *guest)
{
    return !guest->leaving && !guest->good && use_of(guest) == USE_NEEDED;
}

/* Among all, or only among those of the newcomer's address. */
static enum httpd_room_answer find_among(const struct httpd_room_guest *guests, size_t count, bool same_peer,
                                         size_t *ret)
{
    const struct httpd_room_guest *first = NULL;
    bool grace = false;
    for (const struct httpd_room_guest *guest = guests; guest < guests + count; guest++) {
        if (same_peer && !guest->same_peer)
            continue;
        grace = grace || is_in_grace(guest);
        if (first == NULL || goes_before(guest, first))
            first = guest;
    }
    enum use use = first != NULL ? use_of(first) : USE_NEEDED;
    if (use == USE_NEEDED || (grace && use >= USE_GOOD_SLOW))
        return HTTPD_ROOM_WAIT;
    *ret = (size_t)(first - guests);
    return use == USE_SLOW || use == USE_GOOD_SLOW ? HTTPD_ROOM_CUT_SLOW : HTTPD_ROOM_CUT_IDLE;
}

enum httpd_room_answer httpd_room_find(const struct httpd_room_guest *guests, size_t count,
                                       const struct httpd_room_limits *limits, size_t *ret)
{
    unsigned taken = 0, of_peer = 0;
    for (size_t i = 0; i < count; i++) {
        taken += guests[i].leaving ? 0 : 1;
        of_peer += !guests[i].leaving && guests[i].same_peer ? 1 : 0;
    }
    if (limits->peer_max > 0 && of_peer >= limits->peer_max)
        return find_among(guests, count, /* same_peer= */ true, ret);
    return taken < limits->places ? HTTPD_ROOM_FREE : find_among(guests, count, /* same_peer= */ false, ret);
}

static size_t large_part(size_t body)
{
    return body > HTTPD_ROOM_SMALL_BODY ? body : 0;
}

void httpd_room_count_body(struct httpd_room_bodies *bodies, size_t before, size_t after)
{
    bodies->all += after - before;
    bodies->large += large_part(after) - large_part(before);
}

bool httpd_room_has_bodies_left(const struct httpd_room_bodies *bodies, size_t max)
{
    return bodies->all <= max && bodies->large <= max - max / RESERVE_PART;
}

size_t httpd_room_largest_body(const struct httpd_room_guest *guests, size_t count)
{
    size_t largest = count;
    for (size_t i = 0; i < count; i++) {
        if (guests[i].body == 0)
            continue;
        if (largest == count || guests[i].body > guests[largest].body ||
            (guests[i].body == guests[largest].body && guests[i].age_ms > guests[largest].age_ms))
            largest = i;
    }
    return largest;
}
