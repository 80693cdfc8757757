#include "common/values/profile_types.h"

#include "common/base/duration.h"
#include "common/base/name.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/base/utf8.h"

#include <stdio.h>
#include <string.h>

const struct profile_kind_info profile_kinds[PROFILE_KIND_COUNT] = {
    [PROFILE_CPU] = {"cpu", "profile", "cpu", .timed = true},
    [PROFILE_HEAP] = {"heap", "heap", "heap"},
    [PROFILE_GOROUTINE] = {"goroutine", "goroutine", "goroutine"},
    [PROFILE_BLOCK] = {"block", "block", "block"},
    [PROFILE_MUTEX] = {"mutex", "mutex", "mutex"},
    [PROFILE_THREADCREATE] = {"threadcreate", "threadcreate", "threadcreate"},
    [PROFILE_ALLOCS] = {"allocs", "allocs", "other"},
    [PROFILE_TRACE] = {"trace", "trace", "trace", .timed = true, .fractions = true},
    [PROFILE_OTHER] = {"other", NULL, "other", .timed = true, .fractions = true},
};

enum {
    TRACE_DEFAULT_MS = 1000,
    CPU_MIN_MS = 1000,       /* Go reads whole seconds; anything else becomes 30 of them */
    CPU_EVERY_MIN_MS = 2000, /* a profile of one second must end before the next */
};

struct profile_types_item profile_types_split(struct span text)
{
    struct profile_types_item item = {.all = text, .type = text};
    const char *eq = memchr(text.ptr, '=', text.len);
    if (eq != NULL) {
        item.seconds = span_trim((struct span){eq + 1, text.len - (size_t)(eq - text.ptr) - 1});
        item.type.len = (size_t)(eq - text.ptr);
    }
    const char *colon = memchr(item.type.ptr, ':', item.type.len);
    if (colon != NULL) {
        item.every = span_trim((struct span){colon + 1, item.type.len - (size_t)(colon - item.type.ptr) - 1});
        item.type.len = (size_t)(colon - item.type.ptr);
    }
    item.type = span_trim(item.type);
    return item;
}

static int unknown_type(struct span name, struct err *err)
{
    struct quoted q;
    struct name_near near = name_near_begin(name, NAME_SLIPS_MAX);
    for (unsigned k = 0; k < PROFILE_OTHER; k++)
        name_near_offer(&near, profile_kinds[k].name);
    quote_bytes(&q, name.ptr, name.len);
    if (near.word != NULL)
        return err_set(err, EINVAL, "unknown profile type %s, did you mean %s?", q.text, near.word);
    return err_set(err, EINVAL,
                   "unknown profile type %s, expected cpu, heap, goroutine, block, mutex, threadcreate, "
                   "allocs, trace or other/NAME",
                   q.text);
}

/* One step of a path: "" and the dots would be cut out of the URL on the way. */
static bool is_step(const char *ptr, size_t len)
{
    return len > 0 && !(len == 1 && ptr[0] == '.') && !(len == 2 && ptr[0] == '.' && ptr[1] == '.');
}

/* NAME of other/NAME is a path below the pprof base, also a label value: printable UTF-8. A space is more likely a
 * forgotten comma; '?', '#' and '%' would mean something else in a URL than they do here. */
static bool is_other_name(struct span name)
{
    size_t step = 0;
    for (size_t i = 0, n; i < name.len; i += n) {
        char c = name.ptr[i];
        n = utf8_len(name.ptr + i, name.len - i);
        if (n == 0 || utf8_is_control(name.ptr + i, name.len - i) || strchr(" ?#%", c) != NULL)
            return false;
        if (c != '/')
            continue;
        if (!is_step(name.ptr + step, i - step))
            return false;
        step = i + 1;
    }
    return is_step(name.ptr + step, name.len - step);
}

static const char other_prefix[] = "other/";

bool profile_types_is_other(struct span name)
{
    return name.len >= sizeof(other_prefix) && span_has_prefix(name, other_prefix);
}

const char *profile_types_other_name(const char *type)
{
    return span_has_prefix(span_of(type), other_prefix) ? type + sizeof(other_prefix) - 1 : NULL;
}

static int find_kind(struct span name, struct profile_type *type, struct err *err)
{
    const size_t prefix = sizeof(other_prefix) - 1;
    if (name.len > PROFILE_TYPE_NAME_MAX || memchr(name.ptr, '\0', name.len) != NULL)
        return unknown_type(name, err);
    if (profile_types_is_other(name)) {
        if (!is_other_name((struct span){name.ptr + prefix, name.len - prefix}))
            return unknown_type(name, err);
        type->kind = PROFILE_OTHER;
    } else {
        unsigned k = 0;
        while (k < PROFILE_OTHER && !span_equal(name, profile_kinds[k].name))
            k++;
        if (k == PROFILE_OTHER)
            return unknown_type(name, err);
        type->kind = (enum profile_kind)k;
    }
    memcpy(type->name, name.ptr, name.len);
    type->name[name.len] = '\0';
    return 0;
}

static int set_every(const struct profile_types_item *item, const struct profile_types_defaults *defaults,
                     struct profile_type *type, struct err *err)
{
    type->every_ms = defaults->interval_ms;
    if (type->kind != PROFILE_CPU)
        type->every_ms *= PROFILE_TYPE_OTHERS_FACTOR;
    if (type->every_ms > PROFILE_TYPE_EVERY_MAX_MS)
        type->every_ms = PROFILE_TYPE_EVERY_MAX_MS;
    if (item->every.ptr == NULL)
        return 0;
    int rc = duration_parse(item->every, PROFILE_TYPE_EVERY_MIN_MS, PROFILE_TYPE_EVERY_MAX_MS, &type->every_ms, err);
    return rc < 0 ? err_wrap(err, rc, "EVERY of %s", type->name) : 0;
}

static void raise_every(const struct profile_types_item *item, struct profile_type *type, struct warnings *warnings)
{
    struct duration_text from, to;
    if (type->kind != PROFILE_CPU || type->every_ms >= CPU_EVERY_MIN_MS)
        return;
    warnings_add(warnings, "%s: a CPU profile takes whole seconds, so cpu is taken every %s instead of %s",
                 item->every.ptr != NULL ? "types" : "interval",
                 duration_format(&to, CPU_EVERY_MIN_MS), duration_format(&from, type->every_ms));
    type->every_ms = CPU_EVERY_MIN_MS;
}

static int set_seconds(const struct profile_types_item *item, const struct profile_types_defaults *defaults,
                       struct profile_type *type, struct warnings *warnings, struct err *err)
{
    const struct profile_kind_info *info = &profile_kinds[type->kind];
    bool given = item->seconds.ptr != NULL;
    if (!info->timed) {
        if (given)
            warnings_add(warnings,
                         "types: =SECONDS on %s is ignored: it would make Go send a delta profile without inuse values",
                         type->name);
        return 0;
    }
    type->seconds_ms = type->kind == PROFILE_CPU     ? defaults->cpu_seconds_ms
                       : type->kind == PROFILE_TRACE ? TRACE_DEFAULT_MS
                                                     : 0;
    if (given) {
        int64_t low = info->fractions ? PROFILE_TYPE_SECONDS_MIN_MS : CPU_MIN_MS;
        int rc = duration_parse_seconds(item->seconds, info->fractions, low, PROFILE_TYPE_SECONDS_MAX_MS,
                                        &type->seconds_ms, err);
        if (rc < 0)
            return err_wrap(err, rc, "SECONDS of %s", type->name);
    }
    if (given && item->every.ptr != NULL && type->seconds_ms >= type->every_ms) {
        struct quoted q;
        return err_set(err, EINVAL, "expected SECONDS less than EVERY, got %s",
                       quote_bytes(&q, item->all.ptr, item->all.len));
    }
    return 0;
}

/* Whole seconds where the kind wants that, and never less than its shortest profile. */
static int64_t round_seconds(enum profile_kind kind, int64_t ms)
{
    int64_t shortest = profile_kinds[kind].fractions ? PROFILE_TYPE_SECONDS_MIN_MS : CPU_MIN_MS;
    int64_t rounded = profile_kinds[kind].fractions ? ms : ms / 1000 * 1000;
    return rounded > shortest ? rounded : shortest;
}

/* Both limits at once, so that the one warning names what will be. It names the setting that SECONDS came from. */
static void limit_seconds(const struct profile_types_item *item, const struct profile_types_defaults *defaults,
                          struct profile_type *type, struct warnings *warnings)
{
    struct duration_text from, to;
    const char *why = "it must end before the next one begins";
    int64_t limit_ms = type->seconds_ms >= type->every_ms ? round_seconds(type->kind, type->every_ms / 2) : INT64_MAX;
    int64_t grace_limit_ms = defaults->grace_ms >= 0 ? round_seconds(type->kind, defaults->grace_ms / 2) : INT64_MAX;
    if (grace_limit_ms < limit_ms) {
        limit_ms = grace_limit_ms;
        why = "a profile in flight holds up the app's shutdown: at most half of the grace period";
    }
    if (type->seconds_ms <= limit_ms)
        return;
    bool by_default = item->seconds.ptr == NULL && type->kind == PROFILE_CPU;
    warnings_add(warnings, "%s: %s takes %s instead of %s, since %s", by_default ? "cpu-seconds" : "types", type->name,
                 duration_format(&to, limit_ms), duration_format(&from, type->seconds_ms), why);
    type->seconds_ms = limit_ms;
}

static bool has_type(const struct profile_types *types, const char *name)
{
    for (unsigned i = 0; i < types->count; i++) {
        if (strcmp(types->items[i].name, name) == 0)
            return true;
    }
    return false;
}

static int parse_item(struct span text, const struct profile_types_defaults *defaults, struct profile_type *ret,
                      struct warnings *warnings, struct err *err)
{
    struct profile_types_item item = profile_types_split(text);
    struct profile_type type = {0};
    int rc = find_kind(item.type, &type, err);
    if (rc == 0)
        rc = set_every(&item, defaults, &type, err);
    if (rc == 0)
        rc = set_seconds(&item, defaults, &type, warnings, err);
    if (rc < 0)
        return rc;
    raise_every(&item, &type, warnings);
    limit_seconds(&item, defaults, &type, warnings);
    *ret = type;
    return 0;
}

int profile_types_parse(struct span text, const struct profile_types_defaults *defaults, struct profile_types *ret,
                        struct warnings *warnings, struct err *err)
{
    struct profile_types types = {0};
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        struct profile_type type;
        int rc = parse_item(item, defaults, &type, warnings, err);
        if (rc < 0)
            return rc;
        if (has_type(&types, type.name))
            return err_set(err, EINVAL, "expected each type once, got %s twice", type.name);
        if (types.count == PROFILE_TYPES_MAX)
            return err_set(err, EINVAL, "expected at most %d types", PROFILE_TYPES_MAX);
        types.items[types.count++] = type;
    }
    if (types.count == 0)
        return err_set(err, EINVAL, "expected at least one profile type, such as cpu or heap");
    *ret = types;
    return 0;
}
