#include "common/pprof/gotrace.h"

#include "common/base/ascii.h"
#include "common/pprof/pprof_foreign.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void gotrace_check_init(struct gotrace_check *check)
{
    *check = (struct gotrace_check){0};
}

/* "go 1.NN trace", filled up with NULs, at least one of which is there whatever the version's length. */
static bool is_header(const char *head)
{
    static const char start[] = "go 1.", end[] = " trace";
    size_t at = sizeof(start) - 1;
    if (memcmp(head, start, at) != 0)
        return false;
    size_t digits = at;
    while (at < GOTRACE_HEADER_BYTES && ascii_is_digit(head[at]))
        at++;
    if (at == digits || at + sizeof(end) > GOTRACE_HEADER_BYTES || memcmp(head + at, end, sizeof(end) - 1) != 0)
        return false;
    for (at += sizeof(end) - 1; at < GOTRACE_HEADER_BYTES; at++) {
        if (head[at] != '\0')
            return false;
    }
    return true;
}

static bool is_trace(const struct gotrace_check *check)
{
    return check->head_len >= GOTRACE_HEADER_BYTES && is_header(check->head);
}

static bool begins_as_trace(const struct gotrace_check *check)
{
    return check->head_len >= 5 && memcmp(check->head, "go 1.", 5) == 0;
}

int gotrace_check_feed(struct gotrace_check *check, const void *bytes, size_t len)
{
    size_t room = sizeof(check->head) - check->head_len;
    size_t taken = len < room ? len : room;
    memcpy(check->head + check->head_len, bytes, taken);
    check->head_len += taken;
    check->bytes += len;
    /* What is no trace is read on to the end of the head, so that text can be told from a broken trace. */
    return check->head_len == sizeof(check->head) && !is_trace(check) ? -EINVAL : 0;
}

#define EXPECTED "expected a Go execution trace, which begins with \"go 1.NN trace\""

/* What is no trace: something else that is known, text, or neither. What comes gzipped is most likely a profile. */
static enum pprof_verdict judge_other(const struct gotrace_check *check, char reason[static PPROF_REASON_MAX])
{
    bool is_gzip = check->head_len >= 2 && memcmp(check->head, "\x1f\x8b", 2) == 0;
    const struct pprof_foreign *foreign = pprof_foreign_find(check->head, check->head_len);
    if (is_gzip) {
        snprintf(reason, PPROF_REASON_MAX, "gzip, as profiles are: " EXPECTED);
    } else if (foreign != NULL && !begins_as_trace(check)) {
        snprintf(reason, PPROF_REASON_MAX, "%s: " EXPECTED, foreign->what);
        return foreign->verdict;
    } else if (pprof_head_is_text(check->head, check->head_len, reason)) {
        return PPROF_TEXT;
    } else {
        snprintf(reason, PPROF_REASON_MAX, EXPECTED);
    }
    return PPROF_MALFORMED;
}

static enum pprof_verdict judge(const struct gotrace_check *check, char reason[static PPROF_REASON_MAX])
{
    const char *words = "";
    if (check->bytes == 0)
        words = "the body is empty";
    else if (!is_trace(check))
        return judge_other(check, reason);
    else if (check->bytes == GOTRACE_HEADER_BYTES)
        words = "ended after the header of the trace";
    snprintf(reason, PPROF_REASON_MAX, "%s", words);
    return words[0] != '\0' ? PPROF_TRUNCATED : PPROF_OK;
}

void gotrace_check_finish(const struct gotrace_check *check, struct pprof_summary *ret)
{
    *ret = (struct pprof_summary){.raw_bytes = check->bytes};
    ret->verdict = judge(check, ret->reason);
}
