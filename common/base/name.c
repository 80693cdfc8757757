#include "common/base/name.h"

#include "common/base/ascii.h"

#include <string.h>

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

unsigned name_distance(struct span a, const char *b)
{
    size_t blen = strlen(b);
    if (a.len > NAME_DISTANCE_MAX || blen > NAME_DISTANCE_MAX)
        return NAME_DISTANCE_MAX;
    unsigned rows[3][NAME_DISTANCE_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    memset(rows, 0, sizeof(rows));
    for (unsigned j = 0; j <= blen; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= blen; j++) {
            unsigned cost = a.ptr[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            bool swapped = i > 1 && j > 1 && a.ptr[i - 1] == b[j - 2] && a.ptr[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[blen];
}

struct name_near name_near_begin(struct span mistyped, unsigned slips)
{
    return (struct name_near){.mistyped = mistyped, .below = slips + 1};
}

void name_near_offer(struct name_near *near, const char *word)
{
    unsigned distance = name_distance(near->mistyped, word);
    if (distance >= near->below)
        return;
    near->below = distance;
    near->word = word;
}

/* What a label is, whatever its length. */
static bool is_label(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool word = ascii_is_lower(s.ptr[i]) || ascii_is_digit(s.ptr[i]);
        if (!word && (s.ptr[i] != '-' || i == 0 || i == s.len - 1))
            return false;
    }
    return s.len > 0;
}

bool name_is_dns_label(struct span text)
{
    return text.len <= NAME_DNS_LABEL_MAX && is_label(text);
}

/* k8s.io/apimachinery pkg/util/validation, IsDNS1123Subdomain. */
bool name_is_dns_subdomain(struct span text)
{
    struct span rest = text;
    bool good = text.len > 0 && text.len <= NAME_DNS_SUBDOMAIN_MAX;
    while (good && rest.ptr != NULL) {
        const char *dot = memchr(rest.ptr, '.', rest.len);
        size_t len = dot != NULL ? (size_t)(dot - rest.ptr) : rest.len;
        good = is_label((struct span){rest.ptr, len});
        rest = dot != NULL ? (struct span){dot + 1, rest.len - len - 1} : (struct span){NULL, 0};
    }
    return good;
}
