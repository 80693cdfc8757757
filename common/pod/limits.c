#include "common/pod/limits.h"

#include "common/base/cleanup.h"
#include "common/base/duration.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"
#include "common/settings/settings_check.h"
#include "common/values/image.h"
#include "common/values/prefix.h"
#include "common/values/profile_types.h"
#include "common/values/quantity.h"
#include "common/values/url.h"

#include <stdlib.h>
#include <string.h>

#define OF_THE_CLUSTER "(limit of the cluster)"

static const char fixed[] = "fixed";

/* ---- reading the section ---- */

void limits_done(struct limits *limits)
{
    for (int id = 0; id < SETTING_COUNT; id++)
        free(limits->of[id].text);
    *limits = (struct limits){0};
}

bool limits_can_hold(enum setting_id id)
{
    unsigned where = settings_table[id].where;
    return (where & SETTING_ANNOTATION) != 0 && (where & SETTING_WRITTEN) == 0 && id != SETTING_ENABLE;
}

static int unknown_limit(struct span name, struct err *err)
{
    struct quoted q;
    const char *near = settings_table_near_miss(name, SETTING_ANNOTATION);
    quote_bytes(&q, name.ptr, name.len);
    if (near != NULL && !span_equal(name, near))
        return err_set(err, EINVAL, "[limits] unknown key %s, did you mean %s?", q.text, near);
    return err_set(err, EINVAL, "[limits] unknown key %s, expected the name of an annotation that can be limited",
                   q.text);
}

/* The ini_file_handler of the section. */
static int take_limit(void *ctx, const char *section, const char *key, const char *value, int line, struct err *err)
{
    (void)section;
    struct limits *limits = ctx;
    struct span name = span_of(key);
    int id = settings_table_find(name, SETTING_ANNOTATION);
    if (id < 0 || !limits_can_hold((enum setting_id)id))
        return unknown_limit(name, err);
    struct limits_text *limit = &limits->of[id];
    if (limit->text != NULL)
        return err_set(err, EINVAL, "[limits] %s: given twice", key);
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, SETTINGS_VALUE_MAX);
    int rc = settings_ini_join(value, &joined, err);
    if (rc < 0)
        return err_wrap(err, rc, "[limits] %s", key);
    limit->text = strdup(buf_text(&joined));
    limit->line = line;
    return limit->text != NULL ? 0 : err_set(err, ENOMEM, "no memory for a limit");
}

struct settings_ini_section limits_section(struct limits *limits)
{
    return (struct settings_ini_section){.name = "limits", .take = take_limit, .ctx = limits};
}

/* ---- LOW..HIGH ---- */

/* Amounts of one setting in one unit: milliseconds, hundredths of a percent, nanos … */
struct range {
    struct span low_text, high_text; /* empty = open */
    unsigned __int128 low, high;
};

static int read_amount(const struct setting *setting, struct span text, unsigned __int128 *ret, struct err *err)
{
    int64_t ms;
    uint64_t whole;
    unsigned percent;
    struct quantity quantity;
    int rc;
    switch (setting->type) {
    case SETTING_TYPE_DURATION:
        rc = duration_parse(text, setting->min, setting->max, &ms, err);
        *ret = rc == 0 ? (unsigned __int128)ms : 0;
        return rc;
    case SETTING_TYPE_WHOLE:
        rc = number_parse_u64(text, (uint64_t)setting->min, (uint64_t)setting->max, &whole, err);
        *ret = rc == 0 ? whole : 0;
        return rc;
    case SETTING_TYPE_PERCENT:
        rc = number_parse_percent(text, &percent, err);
        *ret = rc == 0 ? percent : 0;
        return rc;
    default:
        rc = quantity_parse(text, &quantity, err);
        *ret = rc == 0 ? quantity.nano : 0;
        return rc;
    }
}

static int read_bound(const struct setting *setting, struct span text, unsigned __int128 *ret, struct err *err)
{
    return text.len > 0 ? read_amount(setting, text, ret, err) : 0;
}

static int read_range(const struct setting *setting, struct span text, struct range *ret, struct err *err)
{
    struct quoted q;
    const char *dots = memmem(text.ptr, text.len, "..", 2);
    quote_bytes(&q, text.ptr, text.len);
    *ret = (struct range){.high = ~(unsigned __int128)0};
    if (dots == NULL || text.len == 2)
        return err_set(err, EINVAL, "expected LOW..HIGH, LOW.., ..HIGH or fixed, got %s", q.text);
    ret->low_text = span_trim((struct span){text.ptr, (size_t)(dots - text.ptr)});
    ret->high_text = span_trim((struct span){dots + 2, text.len - (size_t)(dots - text.ptr) - 2});
    int rc = read_bound(setting, ret->low_text, &ret->low, err);
    if (rc == 0)
        rc = read_bound(setting, ret->high_text, &ret->high, err);
    if (rc == 0 && ret->low > ret->high)
        return err_set(err, EINVAL, "expected LOW..HIGH with LOW at most HIGH, got %s", q.text);
    return rc < 0 ? -EINVAL : 0;
}

static int out_of_range(const struct range *range, struct span got, struct err *err)
{
    struct quoted q;
    struct span low = range->low_text, high = range->high_text;
    quote_bytes(&q, got.ptr, got.len);
    if (low.len > 0 && high.len > 0)
        return err_set(err, EINVAL, "expected %.*s to %.*s " OF_THE_CLUSTER ", got %s", (int)low.len, low.ptr,
                       (int)high.len, high.ptr, q.text);
    if (low.len > 0)
        return err_set(err, EINVAL, "expected %.*s or more " OF_THE_CLUSTER ", got %s", (int)low.len, low.ptr, q.text);
    return err_set(err, EINVAL, "expected at most %.*s " OF_THE_CLUSTER ", got %s", (int)high.len, high.ptr, q.text);
}

static bool in_range(const struct range *range, unsigned __int128 amount)
{
    return amount >= range->low && amount <= range->high;
}

/* The kubelet sets no cgroup limit for 0 (pkg/kubelet/kuberuntime/kuberuntime_container_linux.go, 1.34). */
static bool is_no_bound(enum setting_id id, unsigned __int128 amount)
{
    return amount == 0 && (id == SETTING_CPU_LIMIT || id == SETTING_MEMORY_LIMIT);
}

/* Without a limit a container takes what it likes; without a request it is promised nothing, or what its limit says. */
static bool permits_none(enum setting_id id, const struct range *range)
{
    bool request = id == SETTING_CPU_REQUEST || id == SETTING_MEMORY_REQUEST;
    return range->high_text.len == 0 && (!request || range->low_text.len == 0);
}

static int check_range(enum setting_id id, struct span limit, struct span value, struct err *err)
{
    const struct setting *setting = &settings_table[id];
    struct range range;
    unsigned __int128 amount;
    bool permitted;
    int rc = read_range(setting, limit, &range, err);
    if (rc < 0)
        return rc;
    if (setting->type == SETTING_TYPE_SPOOL && span_equal(value, "memory"))
        return 0; /* its room is the agent's own, inside its memory limit */
    if (setting->type == SETTING_TYPE_QUANTITY && span_equal(value, "none")) {
        permitted = permits_none(id, &range);
    } else {
        rc = read_amount(setting, value, &amount, err);
        if (rc < 0)
            return -EINVAL;
        permitted = in_range(&range, amount) && (!is_no_bound(id, amount) || permits_none(id, &range));
    }
    return permitted ? 0 : out_of_range(&range, value, err);
}

/* ---- lists ---- */

static bool has_item(struct span list, struct span word)
{
    struct span item;
    while (span_next_item(&list, &item)) {
        if (item.len == word.len && memcmp(item.ptr, word.ptr, word.len) == 0)
            return true;
    }
    return false;
}

static int not_in_list(struct span limit, const char *what, struct span got, struct err *err)
{
    struct quoted q;
    return err_set(err, EINVAL, "expected %s %.*s " OF_THE_CLUSTER ", got %s", what, (int)limit.len, limit.ptr,
                   quote_bytes(&q, got.ptr, got.len));
}

static int check_member(enum setting_id id, struct span limit, struct span value, struct err *err)
{
    (void)id;
    return has_item(limit, value) ? 0 : not_in_list(limit, "one of", value, err);
}

/* A server may take /team/../admin for /admin, also with %2e for a dot. */
static bool climbs(struct span url)
{
    return memmem(url.ptr, url.len, "/..", 3) != NULL || memchr(url.ptr, '%', url.len) != NULL;
}

/* How much of a URL says whose it is. */
static size_t owner_len(struct span text, const struct url *url)
{
    const char *end = url->host.ptr + url->host.len;
    if (end < text.ptr + text.len && *end == ']')
        end++;
    return (size_t)(end - text.ptr);
}

static int check_url(enum setting_id id, struct span limit, struct span value, struct err *err)
{
    (void)id;
    struct quoted q;
    struct url url;
    struct span rest = limit, prefix;
    int rc = url_parse(value, &url, err);
    if (rc < 0)
        return rc;
    while (!climbs(value) && span_next_item(&rest, &prefix)) {
        if (prefix_permits(prefix, value, owner_len(value, &url), ":/"))
            return 0;
    }
    return err_set(err, EINVAL, "expected a URL that begins with one of %.*s " OF_THE_CLUSTER " in whole names, got %s",
                   (int)limit.len, limit.ptr, quote_bytes(&q, value.ptr, value.len));
}

static int check_image(enum setting_id id, struct span limit, struct span value, struct err *err)
{
    (void)id;
    return image_is_permitted(limit, value) ? 0 : not_in_list(limit, "an image that begins with one of", value, err);
}

static bool permits_type(struct span limit, struct span name)
{
    return has_item(limit, name) ||
           (profile_types_is_other(name) && has_item(limit, span_of(profile_kinds[PROFILE_OTHER].name)));
}

static int check_types(enum setting_id id, struct span limit, struct span value, struct err *err)
{
    (void)id;
    struct span rest = value, text;
    while (span_next_item(&rest, &text)) {
        struct profile_types_item item = profile_types_split(text);
        if (!permits_type(limit, item.type))
            return not_in_list(limit, "types among", item.type, err);
    }
    return 0;
}

/* ---- the limits as they are written ---- */

typedef int check_fn(enum setting_id id, struct span limit, struct span value, struct err *err);

static int refuse_limit(struct span limit, const char *expected, struct err *err)
{
    struct quoted q;
    return err_set(err, EINVAL, "expected %s, got %s", expected, quote_bytes(&q, limit.ptr, limit.len));
}

static int read_range_limit(enum setting_id id, struct span limit, struct err *err)
{
    struct range range;
    return read_range(&settings_table[id], limit, &range, err);
}

/* Each item alone is a good value of the setting. */
static int read_values(enum setting_id id, struct span limit, struct err *err)
{
    struct span rest = limit, item;
    while (span_next_item(&rest, &item)) {
        int rc = settings_check(id, item, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_type_names(enum setting_id id, struct span limit, struct err *err)
{
    struct span rest = limit, item;
    while (span_next_item(&rest, &item)) {
        if (memchr(item.ptr, ':', item.len) != NULL || memchr(item.ptr, '=', item.len) != NULL)
            return refuse_limit(item, "the name of a type; interval and cpu-seconds limit EVERY and SECONDS", err);
        int rc = span_equal(item, "other") ? 0 : settings_check(id, item, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What is only the beginning of a URL: a scheme and at least something of a host. */
static int read_url_prefixes(enum setting_id id, struct span limit, struct err *err)
{
    (void)id;
    struct span rest = limit, item;
    while (span_next_item(&rest, &item)) {
        bool http = item.len > 7 && memcmp(item.ptr, "http://", 7) == 0;
        bool https = item.len > 8 && memcmp(item.ptr, "https://", 8) == 0;
        if (!http && !https)
            return refuse_limit(item, "a prefix such as http://profefe.profefe-system.svc:10100", err);
    }
    return 0;
}

static int read_image_prefixes(enum setting_id id, struct span limit, struct err *err)
{
    (void)id;
    return settings_check(SETTING_IMAGE_PREFIXES, limit, err);
}

/* By type of setting: how a limit is read and what it means. A type without a row takes `fixed` only. */
static const struct grammar {
    int (*read)(enum setting_id id, struct span limit, struct err *err);
    check_fn *check;
    const char *help;
} grammars[SETTING_TYPE_SPOOL + 1] = {
    [SETTING_TYPE_DURATION] = {read_range_limit, check_range, "LOW..HIGH"},
    [SETTING_TYPE_WHOLE] = {read_range_limit, check_range, "LOW..HIGH"},
    [SETTING_TYPE_PERCENT] = {read_range_limit, check_range, "LOW..HIGH"},
    [SETTING_TYPE_QUANTITY] = {read_range_limit, check_range, "LOW..HIGH"},
    [SETTING_TYPE_SPOOL] = {read_range_limit, check_range, "LOW..HIGH"},
    [SETTING_TYPE_CHOICE] = {read_values, check_member, "VALUE,..."},
    [SETTING_TYPE_OBJECT] = {read_values, check_member, "NAME,..."},
    [SETTING_TYPE_TYPES] = {read_type_names, check_types, "TYPE,..."},
    [SETTING_TYPE_URL] = {read_url_prefixes, check_url, "PREFIX,..."},
    [SETTING_TYPE_IMAGE] = {read_image_prefixes, check_image, "PREFIX,..."},
};

static bool has_empty_item(struct span list)
{
    struct span item;
    unsigned count = 0;
    for (; span_next_item(&list, &item); count++) {
        if (item.len == 0)
            return true;
    }
    return count == 0;
}

static int read_limit(enum setting_id id, struct span limit, struct err *err)
{
    const struct grammar *grammar = &grammars[settings_table[id].type];
    if (span_equal(limit, fixed))
        return 0;
    if (grammar->read == NULL)
        return refuse_limit(limit, "fixed, which is the only limit of this setting", err);
    if (has_empty_item(limit))
        return refuse_limit(limit, "a limit", err);
    return grammar->read(id, limit, err);
}

/* ---- checking values ---- */

/* Whose value it is. */
enum owner { OF_A_POD, OF_THE_WEBHOOK };

/* *ret_by is the limit that refuses. */
static int check_one(const struct limits *limits, enum setting_id id, enum setting_id by, struct span value,
                     enum owner owner, enum setting_id *ret_by, struct err *err)
{
    struct quoted q;
    struct span limit = span_of(limits->of[by].text);
    *ret_by = by;
    if (limit.ptr == NULL || value.ptr == NULL)
        return 0;
    if (span_equal(limit, fixed))
        return owner == OF_THE_WEBHOOK
                   ? 0
                   : err_set(err, EINVAL, "expected no %s of a pod's own " OF_THE_CLUSTER ", got %s",
                             id == by ? "value" : settings_table[by].name, quote_bytes(&q, value.ptr, value.len));
    return grammars[settings_table[by].type].check(by, limit, value, err);
}

/* SECONDS may end in s, which cpu-seconds does not. */
static struct span whole_seconds(struct span seconds)
{
    if (seconds.len > 0 && seconds.ptr[seconds.len - 1] == 's')
        seconds.len--;
    return seconds;
}

static int check_type_times(const struct limits *limits, struct span types, enum owner owner,
                            enum setting_id *ret_by, struct err *err)
{
    struct span text;
    while (span_next_item(&types, &text)) {
        struct profile_types_item item = profile_types_split(text);
        int rc = check_one(limits, SETTING_TYPES, SETTING_INTERVAL, item.every, owner, ret_by, err);
        if (rc == 0 && span_equal(item.type, profile_kinds[PROFILE_CPU].name))
            rc = check_one(limits, SETTING_TYPES, SETTING_CPU_SECONDS, whole_seconds(item.seconds), owner, ret_by,
                           err);
        if (rc < 0)
            return err_wrap(err, rc, "%.*s", (int)item.type.len, item.type.ptr);
    }
    return 0;
}

static int check_value(const struct limits *limits, enum setting_id id, struct span value, enum owner owner,
                       enum setting_id *ret_by, struct err *err)
{
    int rc = check_one(limits, id, id, value, owner, ret_by, err);
    return rc == 0 && id == SETTING_TYPES ? check_type_times(limits, value, owner, ret_by, err) : rc;
}

int limits_check(const struct limits *limits, enum setting_id id, struct span value, struct err *err)
{
    enum setting_id by;
    return limits != NULL ? check_value(limits, id, value, OF_A_POD, &by, err) : 0;
}

void limits_get_range(const struct limits *limits, enum setting_id id, struct span *ret_low, struct span *ret_high)
{
    struct range range = {0};
    struct span limit = span_of(limits != NULL ? limits->of[id].text : NULL);
    if (limit.ptr != NULL && !span_equal(limit, fixed) && read_range(&settings_table[id], limit, &range, NULL) < 0)
        range = (struct range){0}; /* it was checked when it was read */
    *ret_low = range.low_text.len > 0 ? range.low_text : (struct span){NULL, 0};
    *ret_high = range.high_text.len > 0 ? range.high_text : (struct span){NULL, 0};
}

static int check_written(const struct limits *limits, enum setting_id id, const char *path, struct err *err)
{
    const struct limits_text *limit = &limits->of[id];
    int rc = limit->text != NULL ? read_limit(id, span_of(limit->text), err) : 0;
    return rc < 0 ? err_wrap(err, rc, "%s:%d: [limits] %s", path, limit->line, settings_table[id].name) : 0;
}

static int check_own(const struct limits *limits, const struct settings *settings, enum setting_id id, const char *path,
                     struct err *err)
{
    enum setting_id by;
    struct span own = span_of(settings_get(settings, id));
    if (own.ptr == NULL)
        return 0;
    int rc = check_value(limits, id, own, OF_THE_WEBHOOK, &by, err);
    return rc < 0 ? err_wrap(err, rc, "%s:%d: [limits] %s: the webhook's own %s does not satisfy it", path,
                             limits->of[by].line, settings_table[by].name, settings_table[id].name)
                  : 0;
}

/* No value is a request that is high enough and a limit that is low enough. */
static int check_order(const struct limits *limits, enum setting_id request, enum setting_id limit, const char *path,
                       struct err *err)
{
    struct span low, high, unused;
    struct quantity least, most;
    limits_get_range(limits, request, &low, &unused);
    limits_get_range(limits, limit, &unused, &high);
    if (quantity_parse(low, &least, NULL) < 0 || quantity_parse(high, &most, NULL) < 0 ||
        quantity_compare(&least, &most) <= 0)
        return 0;
    return err_set(err, EINVAL, "%s:%d: [limits] %s: expected at most %.*s, the highest %s, got %.*s", path,
                   limits->of[request].line, settings_table[request].name, (int)high.len, high.ptr,
                   settings_table[limit].name, (int)low.len, low.ptr);
}

int limits_check_settings(const struct limits *limits, const struct settings *settings, const char *path,
                          struct err *err)
{
    int rc = 0;
    for (int id = 0; rc == 0 && id < SETTING_COUNT; id++)
        rc = check_written(limits, (enum setting_id)id, path, err);
    for (int id = 0; rc == 0 && id < SETTING_COUNT; id++) {
        if (limits_can_hold((enum setting_id)id))
            rc = check_own(limits, settings, (enum setting_id)id, path, err);
    }
    if (rc == 0)
        rc = check_order(limits, SETTING_CPU_REQUEST, SETTING_CPU_LIMIT, path, err);
    return rc == 0 ? check_order(limits, SETTING_MEMORY_REQUEST, SETTING_MEMORY_LIMIT, path, err) : rc;
}

int limits_write_help(struct buf *out)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        const char *help = grammars[setting->type].help;
        if (limits_can_hold((enum setting_id)id))
            buf_printf(out, "  %s = %s%sfixed\n", setting->name, help != NULL ? help : "", help != NULL ? " | " : "");
    }
    return buf_error(out);
}
