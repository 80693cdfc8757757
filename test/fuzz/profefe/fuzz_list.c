/* Any bytes as a collector's list of profiles: the first says how long the pieces are in which it comes. */
#include "fuzz.h"

#include "common/profefe/profefe_list.h"

static const struct labels labels = {.count = 2, .items = {{"pod", "web-1"}, {"team", "a<b"}}};
static const struct label extra = {"target", "api"};
static const struct profefe_wanted wanted = {.service = "web",
                                             .type = "cpu",
                                             .created_at_ms = INT64_C(1795366000500),
                                             .labels = &labels,
                                             .extra = &extra,
                                             .extra_count = 1};

static enum profefe_list_verdict read_in(struct span body, size_t piece)
{
    struct profefe_list list;
    profefe_list_init(&list, &wanted);
    for (size_t at = 0; at < body.len; at += piece) {
        enum profefe_list_verdict before = list.verdict;
        enum profefe_list_verdict after =
            profefe_list_feed(&list, body.ptr + at, body.len - at < piece ? body.len - at : piece);
        must(after == list.verdict, "expected the verdict that is kept");
        must(before != PROFEFE_LIST_FOUND || after == before, "expected a find to stay");
        must(before != PROFEFE_LIST_BAD || after == before, "expected what is bad to stay bad");
    }
    return list.verdict;
}

static unsigned count_of(struct span body, const char *text)
{
    unsigned count = 0;
    for (size_t i = 0; i + strlen(text) <= body.len; i++)
        count += memcmp(body.ptr + i, text, strlen(text)) == 0 ? 1 : 0;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_SIZE_MAX)
        return 0;
    struct span body = fuzz_copy(data + 1, size - 1);
    enum profefe_list_verdict verdict = read_in(body, size);
    must(verdict == read_in(body, 1u + data[0] % 16), "expected the same verdict in pieces");
    if (verdict == PROFEFE_LIST_FOUND) {
        must(count_of(body, "200") > 0, "expected a find only in a list with code 200");
        must(count_of(body, "{") >= 5 && count_of(body, "[") >= 2,
             "expected a find only in an entry with three labels");
    }
    free((char *)body.ptr);
    return 0;
}
