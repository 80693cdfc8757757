#include "common/base/warnings.h"

#include "common/base/utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    RAW_MAX = 1024, /* bytes of one warning before escaping and cutting */
};

const char *const warning_kind_names[WARNING_KIND_COUNT] = {
    [WARNING_OTHER] = "other",
    [WARNING_UNKNOWN_KEY] = "unknown-key",
    [WARNING_BAD_VALUE] = "bad-value",
    [WARNING_NOT_PERMITTED] = "not-permitted",
    [WARNING_NOT_INJECTED] = "not-injected",
};

void warnings_clear(struct warnings *warnings)
{
    warnings->count = 0;
    memset(warnings->of_kind, 0, sizeof(warnings->of_kind));
}

/* Like quote_escape, but quotes stay: they pass the API server. */
static void escape_and_cut(char out[static WARNING_MAX + 1], const char *raw)
{
    static const char ellipsis[] = "…";
    const size_t room = WARNING_MAX - (sizeof(ellipsis) - 1);
    size_t used = 0, cut = 0, len = strlen(raw); /* cut: where the ellipsis would go */
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(raw + i, len - i);
        bool plain = n > 0 && !utf8_is_control(raw + i, len - i);
        size_t need = plain ? n : 4;
        if (used <= room)
            cut = used;
        if (used + need > WARNING_MAX) {
            memcpy(out + cut, ellipsis, sizeof(ellipsis));
            return;
        }
        if (plain)
            memcpy(out + used, raw + i, n);
        else
            snprintf(out + used, 5, "\\x%02x", (unsigned char)raw[i]);
        used += need;
        i += plain ? n : 1;
    }
    out[used] = '\0';
}

void warnings_add_kind(struct warnings *warnings, enum warning_kind kind, const char *fmt, ...)
{
    if (warnings == NULL)
        return;
    if (warnings->count < WARNINGS_MAX) {
        char raw[RAW_MAX];
        va_list ap;
        va_start(ap, fmt);
        if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
            raw[0] = '\0';
        va_end(ap);
        escape_and_cut(warnings->text[warnings->count], raw);
    }
    warnings->count++;
    warnings->of_kind[kind]++;
    if (warnings->count > WARNINGS_MAX)
        snprintf(warnings->text[WARNINGS_MAX - 1], WARNING_MAX + 1, "and %u more warnings",
                 warnings->count - (WARNINGS_MAX - 1));
}

static bool is_kept(const struct warnings *warnings, unsigned number)
{
    return number > 0 && number <= warnings->count &&
           (number < WARNINGS_MAX || (number == WARNINGS_MAX && warnings->count == WARNINGS_MAX));
}

void warnings_continue(struct warnings *warnings, unsigned number, const char *fmt, ...)
{
    char raw[RAW_MAX];
    va_list ap;
    if (warnings == NULL || !is_kept(warnings, number))
        return;
    char *text = warnings->text[number - 1];
    size_t len = strlen(text);
    memcpy(raw, text, len);
    va_start(ap, fmt);
    if (vsnprintf(raw + len, sizeof(raw) - len, fmt, ap) < 0)
        raw[len] = '\0';
    va_end(ap);
    escape_and_cut(text, raw); /* what is escaped already stays as it is */
}

unsigned warnings_shown(const struct warnings *warnings)
{
    return warnings->count < WARNINGS_MAX ? warnings->count : WARNINGS_MAX;
}

const char *warnings_text(const struct warnings *warnings, unsigned i)
{
    return i < warnings_shown(warnings) ? warnings->text[i] : "";
}
