#include "common/values/targets.h"

#include "common/base/ascii.h"
#include "common/base/quote.h"

#include <string.h>

static bool is_name(struct span s)
{
    if (s.len == 0 || s.len > TARGET_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!ascii_is_word(c) && ((c != '-' && c != '.' && c != '_') || i == 0))
            return false;
    }
    return true;
}

/* Splits "NAME=URL"; a "=" after the scheme belongs to the path. */
static struct span take_name(struct span *item)
{
    const char *eq = memchr(item->ptr, '=', item->len);
    const char *colon = memchr(item->ptr, ':', item->len);
    if (eq == NULL || (colon != NULL && colon < eq))
        return (struct span){NULL, 0};
    struct span name = span_trim((struct span){item->ptr, (size_t)(eq - item->ptr)});
    *item = span_trim((struct span){eq + 1, item->len - (size_t)(eq - item->ptr) - 1});
    return name;
}

static const struct target *find(const struct targets *targets, struct span name)
{
    for (unsigned i = 0; i < targets->count; i++) {
        if (span_equal(name, targets->items[i].name))
            return &targets->items[i];
    }
    return NULL;
}

static int add(struct targets *targets, struct span item, struct err *err)
{
    struct quoted q;
    struct span name = take_name(&item);
    struct url url;
    if (targets->count == TARGETS_MAX)
        return err_set(err, EINVAL, "expected at most %d targets", TARGETS_MAX);
    if (name.ptr != NULL && !is_name(name))
        return err_set(err, EINVAL, "expected a target name of letters, digits, -, . and _ (at most %d), got %s",
                       TARGET_NAME_MAX, quote_bytes(&q, name.ptr, name.len));
    int rc = url_parse(item, &url, err);
    if (rc < 0)
        return rc;
    if (find(targets, name) != NULL)
        return err_set(err, EINVAL, "expected each target once and with a name of its own, got %s twice",
                       quote_bytes(&q, name.ptr, name.len));
    size_t url_len = (size_t)(url.path.ptr + url.path.len - item.ptr);
    if (url_len > TARGET_URL_MAX)
        return err_set(err, EINVAL, "expected a target URL of at most %d bytes, got %zu", TARGET_URL_MAX, url_len);
    struct target *target = &targets->items[targets->count++];
    *target = (struct target){.is_loopback = url_is_loopback(&url)};
    if (name.len > 0)
        memcpy(target->name, name.ptr, name.len);
    memcpy(target->url, item.ptr, url_len);
    return 0;
}

int targets_parse(struct span text, struct targets *ret, struct err *err)
{
    struct targets targets = {0};
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        int rc = add(&targets, item, err);
        if (rc < 0)
            return rc;
    }
    if (targets.count == 0)
        return err_set(err, EINVAL, "expected at least one target, [NAME=]http://HOST:PORT/debug/pprof");
    *ret = targets;
    return 0;
}
