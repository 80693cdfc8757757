#include "common/pprof/pprof.h"

#include "common/base/ascii.h"
#include "common/base/quote.h"
#include "common/base/utf8.h"
#include "common/pprof/gz.h"
#include "common/pprof/pprof_foreign.h"
#include "common/pprof/pprof_walk.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 16 * 1024, /* bytes inflated at a time; more buys nothing */
    HEAD = PPROF_HEAD_MAX,
    HEAD_SHOWN = 24,    /* of it in the reason */
};
_Static_assert(WINDOW >= 2 * PPROF_WALK_REST_MAX && WINDOW >= 2 * HEAD,
               "the rest of one round leaves room for more");

const char *const pprof_verdict_names[PPROF_VERDICT_COUNT] = {
    [PPROF_OK] = "ok",
    [PPROF_EMPTY] = "empty",
    [PPROF_TEXT] = "text",
    [PPROF_MALFORMED] = "malformed",
    [PPROF_TRUNCATED] = "truncated",
    [PPROF_TOO_BIG] = "too-big",
    [PPROF_NO_MEMORY] = "no-memory",
};

/*   body ──feed──▶ gz ──▶ window ──▶ walk
 *                           │ ▲
 *                           ╰─╯ rest
 *
 * The first HEAD bytes wait in the window until they are complete, so that text is told from a broken profile
 * however the body is cut. */
struct pprof_check {
    struct gz_reader gz;
    struct pprof_walk walk;
    bool decided; /* verdict is final */
    enum pprof_verdict verdict;
    char reason[PPROF_REASON_MAX];
    size_t head_len; /* 0 = the walk has not begun */
    uint8_t head[HEAD];
    size_t held; /* bytes in the window */
    uint8_t window[WINDOW];
};

int pprof_check_new(uint64_t raw_max, struct pprof_check **ret)
{
    struct pprof_check *check = calloc(1, sizeof(*check));
    if (check == NULL)
        return -ENOMEM;
    if (gz_reader_init(&check->gz, raw_max) < 0) {
        free(check);
        return -ENOMEM;
    }
    pprof_walk_init(&check->walk, raw_max, NULL);
    *ret = check;
    return 0;
}

struct pprof_check *pprof_check_free(struct pprof_check *check)
{
    if (check != NULL)
        gz_reader_done(&check->gz);
    free(check);
    return NULL;
}

void pprof_check_watch(struct pprof_check *check, struct pprof_watch *watch)
{
    assert(check->gz.state == GZ_START);
    pprof_walk_init(&check->walk, check->gz.raw_max, watch);
}

void pprof_check_ids(struct pprof_check *check, struct pprof_ids *ids)
{
    assert(check->gz.state == GZ_START);
    check->walk.ids = ids;
}

static void decide(struct pprof_check *check, enum pprof_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The first decision stands. */
static void decide(struct pprof_check *check, enum pprof_verdict verdict, const char *fmt, ...)
{
    if (check->decided)
        return;
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(check->reason, sizeof(check->reason), fmt, ap) < 0)
        check->reason[0] = '\0';
    va_end(ap);
    check->verdict = verdict;
    check->decided = true;
}

static bool is_text_byte(uint8_t c)
{
    return (c >= 0x20 && c != 0x7F) || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Printable UTF-8 (a character cut at the end is fine) with something to read in it. */
static bool is_readable(const char *head, size_t len)
{
    bool words = false;
    for (size_t i = 0; i < len;) {
        size_t left = len - i, n = utf8_len(head + i, left);
        if (n == 0 && (left >= 4 || i == 0 || (uint8_t)head[i] < 0xC2))
            return false;
        if (n == 0)
            break;
        if (!is_text_byte((uint8_t)head[i]))
            return false;
        words = words || !ascii_is_space(head[i]);
        i += n;
    }
    return words;
}

bool pprof_head_is_text(const void *head, size_t len, char reason[static PPROF_REASON_MAX])
{
    struct quoted quoted;
    if (!is_readable(head, len))
        return false;
    size_t shown = utf8_cut(head, len, len < HEAD_SHOWN ? len : HEAD_SHOWN);
    snprintf(reason, PPROF_REASON_MAX, "text, not a profile: %s%s", quote_bytes(&quoted, head, shown),
             shown < len ? "…" : "");
    return true;
}

/* What is not a profile may be something else that is known, or text: then that is what to say. */
static void decide_broken(struct pprof_check *check, enum pprof_verdict verdict, const char *reason)
{
    char words[PPROF_REASON_MAX];
    const struct pprof_foreign *foreign = pprof_foreign_find(check->head, check->head_len);
    if (foreign != NULL)
        decide(check, foreign->verdict, "%s: %s", foreign->what, foreign->cure);
    if (!check->decided && pprof_head_is_text(check->head, check->head_len, words))
        decide(check, PPROF_TEXT, "%s", words);
    decide(check, verdict, "%s", reason);
}

/* Walks over what the window holds and moves the rest to its beginning. */
static void walk_window(struct pprof_check *check, bool last)
{
    if (check->head_len == 0) {
        if (check->held < HEAD && !last)
            return;
        check->head_len = check->held < HEAD ? check->held : HEAD;
        memcpy(check->head, check->window, check->head_len);
    }
    size_t used = pprof_walk_feed(&check->walk, check->window, check->held);
    check->held -= used;
    memmove(check->window, check->window + used, check->held);
    if (check->walk.failed)
        decide_broken(check, PPROF_MALFORMED, check->walk.reason);
}

static void decide_gz_error(struct pprof_check *check, int rc)
{
    if (rc == -EFBIG)
        decide(check, PPROF_TOO_BIG, "more than %llu bytes inflated", (unsigned long long)check->gz.raw_max);
    else if (rc == -ENOMEM)
        decide(check, PPROF_NO_MEMORY, "no memory to inflate it");
    else
        decide(check, PPROF_MALFORMED, "gzip: %s", gz_reader_words(&check->gz));
}

int pprof_check_feed(struct pprof_check *check, const void *bytes, size_t len)
{
    struct gz_bytes in = {bytes, len};
    size_t written = 0, room = 0;
    do {
        if (check->decided)
            return -EINVAL;
        room = WINDOW - check->held;
        int rc = gz_reader_step(&check->gz, &in, check->window + check->held, room, &written);
        check->held += written;
        walk_window(check, /* last= */ false);
        if (rc < 0)
            decide_gz_error(check, rc);
    } while (in.len > 0 || written == room);
    return check->decided ? -EINVAL : 0;
}

/* The end of the body has been reached without an error so far. */
static void decide_at_end(struct pprof_check *check)
{
    if (check->gz.state == GZ_START) {
        decide(check, PPROF_TRUNCATED, "the body is empty");
        return;
    }
    if (gz_reader_is_inside(&check->gz)) {
        decide(check, PPROF_TRUNCATED, "ended inside the gzip stream, after %llu bytes inflated",
               (unsigned long long)check->gz.raw_bytes);
        return;
    }
    if (check->gz.raw_bytes == 0) {
        decide(check, PPROF_MALFORMED, "the gzip stream holds nothing");
        return;
    }
    walk_window(check, /* last= */ true);
    bool inside = check->held > 0 || pprof_walk_is_inside(&check->walk);
    if (inside && check->gz.state == GZ_RAW)
        decide_broken(check, PPROF_TRUNCATED, "ended inside a field");
    else if (inside)
        decide_broken(check, PPROF_MALFORMED, "the last field passes the end of the whole gzip stream");
    if (check->decided)
        return;
    pprof_walk_finish(&check->walk);
    if (check->walk.failed)
        decide_broken(check, PPROF_MALFORMED, check->walk.reason);
    else if (check->walk.samples == 0)
        decide(check, PPROF_EMPTY, "the profile has no samples");
    else
        decide(check, PPROF_OK, "%s", "");
}

void pprof_check_finish(struct pprof_check *check, struct pprof_summary *ret)
{
    if (!check->decided)
        decide_at_end(check);
    const struct pprof_walk *walk = &check->walk;
    *ret = (struct pprof_summary){
        .verdict = check->verdict,
        .raw_bytes = check->gz.raw_bytes,
        .samples = walk->samples,
        .strings = walk->strings,
        .sample_types = walk->sample_types,
        .sample_bytes_max = walk->sample_bytes_max,
        .time_nanos = (int64_t)walk->time_nanos,
        .duration_nanos = (int64_t)walk->duration_nanos,
    };
    memcpy(ret->reason, check->reason, sizeof(ret->reason));
}
