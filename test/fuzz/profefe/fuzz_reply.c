/* Any bytes as the reply of a collector: the first two are the status, then comes the body. And as the value of
 * Retry-After. */
/* sees: http */

#include "fuzz.h"

#include "common/base/utf8.h"
#include "common/http/retry.h"
#include "common/profefe/profefe.h"

static bool is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(text + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void check_reply(unsigned status, struct span body)
{
    struct profefe_reply reply;
    memset(&reply, 0x55, sizeof(reply));
    profefe_reply_parse(body.ptr, body.len, &reply);
    must(memchr(reply.error, '\0', sizeof(reply.error)) != NULL, "expected an error with an end");
    for (const char *c = reply.error; *c != '\0'; c++)
        must((unsigned char)*c >= 0x20, "expected no control bytes in an error");
    if (is_utf8(body.ptr, body.len))
        must(is_utf8(reply.error, strlen(reply.error)), "expected no half character where the reply has none");
    must(reply.code >= 0 && reply.code <= 999999, "expected a code of at most six digits");
    must(reply.is_profefe || (reply.code == 0 && reply.error[0] == '\0'), "expected nothing of a stranger's reply");
    enum profefe_answer answer = profefe_judge(status, &reply);
    must(answer <= PROFEFE_WRONG, "expected one of the answers");
    must((answer == PROFEFE_STORED) == (status == 200 && reply.is_profefe && reply.code == 200),
         "expected stored only for 200 in profefe's words");
    if (answer == PROFEFE_REFUSED)
        must(reply.is_profefe && (status == 400 || status == 422), "expected a refusal only in profefe's words");
    /* A profile is dropped for good by two answers only; all other statuses keep it. */
    if (status / 100 != 4)
        must(answer != PROFEFE_REFUSED && answer != PROFEFE_TOO_LARGE, "expected only 4xx to drop a profile");
}

static void check_retry_after(const uint8_t *data, size_t size)
{
    char *text = fuzz_string(data, size);
    int64_t wait_ms = retry_parse_after(text, INT64_C(1795366000000));
    must(wait_ms >= -1 && wait_ms <= RETRY_AFTER_MAX_MS, "expected a wait of at most ten minutes");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > FUZZ_SIZE_MAX)
        return 0;
    struct span body = fuzz_copy(data + 2, size - 2);
    check_reply((unsigned)(data[0] << 8 | data[1]) % 1000, body);
    check_retry_after(data + 2, size - 2);
    free((char *)body.ptr);
    return 0;
}
