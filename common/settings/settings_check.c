#include "common/settings/settings_check.h"

#include "common/base/ascii.h"
#include "common/base/boolean.h"
#include "common/base/duration.h"
#include "common/base/name.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/utf8.h"
#include "common/values/address.h"
#include "common/values/image.h"
#include "common/values/labels.h"
#include "common/values/profile_types.h"
#include "common/values/quantity.h"
#include "common/values/targets.h"
#include "common/values/url.h"

#include <stdlib.h>
#include <string.h>

typedef int check_fn(const struct setting *setting, struct span text, struct err *err);

static int check_bool(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    bool value;
    return boolean_parse(text, &value, err);
}

static int check_text(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_len(text.ptr + i, text.len - i);
        if (n == 0 || utf8_is_control(text.ptr + i, text.len - i))
            return err_set(err, EINVAL, "expected UTF-8 text without control characters, got %s",
                           quote_bytes(&q, text.ptr, text.len));
        i += n;
    }
    if ((int64_t)text.len < setting->min || (int64_t)text.len > setting->max)
        return err_set(err, EINVAL, "expected %lld to %lld bytes, got %zu", (long long)setting->min,
                       (long long)setting->max, text.len);
    return 0;
}

static int check_whole(const struct setting *setting, struct span text, struct err *err)
{
    uint64_t value;
    return number_parse_u64(text, (uint64_t)setting->min, (uint64_t)setting->max, &value, err);
}

static int check_duration(const struct setting *setting, struct span text, struct err *err)
{
    int64_t value;
    return duration_parse(text, setting->min, setting->max, &value, err);
}

static bool is_choice(const char *choices, struct span text)
{
    while (*choices != '\0') {
        size_t len = strcspn(choices, "|");
        if (text.len == len && memcmp(choices, text.ptr, len) == 0)
            return true;
        choices += len + (choices[len] == '|' ? 1 : 0);
    }
    return false;
}

static int check_choice(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    if (is_choice(setting->choices, text))
        return 0;
    return err_set(err, EINVAL, "expected %s, got %s", setting->choices, quote_bytes(&q, text.ptr, text.len));
}

static bool is_number(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_digit(s.ptr[i]))
            return false;
    }
    return s.len > 0;
}

static int check_one_port(struct span item, struct err *err)
{
    struct quoted q;
    struct span port = item;
    uint64_t number;
    const char *eq = memchr(item.ptr, '=', item.len);
    if (eq != NULL) {
        struct span name = span_trim((struct span){item.ptr, (size_t)(eq - item.ptr)});
        port = span_trim((struct span){eq + 1, item.len - (size_t)(eq - item.ptr) - 1});
        if (!name_is_dns_label(name))
            return err_set(err, EINVAL, "expected NAME=PORT with NAME of a-z, 0-9 and -, got %s",
                           quote_bytes(&q, item.ptr, item.len));
    }
    bool ok = is_number(port) ? number_parse_u64(port, 1, 65535, &number, NULL) == 0 : name_is_dns_label(port);
    if (!ok)
        return err_set(err, EINVAL, "expected a port from 1 to 65535 or the name of a container port, got %s",
                       quote_bytes(&q, port.ptr, port.len));
    return 0;
}

static int check_port(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    unsigned count = 0, named = 0;
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        int rc = check_one_port(item, err);
        if (rc < 0)
            return rc;
        count++;
        named += memchr(item.ptr, '=', item.len) != NULL ? 1 : 0;
    }
    if (count == 0 || count > TARGETS_MAX)
        return err_set(err, EINVAL, "expected 1 to %d ports, got %u", TARGETS_MAX, count);
    if (count > 1 && named != count)
        return err_set(err, EINVAL, "expected a name for each of several ports, such as api=6060,worker=7070");
    return 0;
}

static int check_path(const struct setting *setting, struct span text, struct err *err)
{
    if ((int64_t)text.len > setting->max)
        return err_set(err, EINVAL, "expected a path of at most %lld bytes, got %zu", (long long)setting->max,
                       text.len);
    return url_check_path(text, err);
}

static int check_url(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct url url;
    return url_parse(text, &url, err);
}

static int check_types(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    /* Whether a text is an error does not depend on them. */
    const struct profile_types_defaults any = {.interval_ms = 60 * 1000, .cpu_seconds_ms = 1000, .grace_ms = -1};
    struct profile_types types;
    return profile_types_parse(text, &any, &types, NULL, err);
}

static int check_labels(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct labels *labels = calloc(1, sizeof(*labels));
    if (labels == NULL)
        return err_set(err, ENOMEM, "no memory");
    int rc = labels_add_list(labels, text, /* owner= */ "", /* warnings= */ NULL, err);
    free(labels);
    return rc;
}

static bool is_word(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7F)
            return false;
    }
    return true;
}

static int check_names(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        if (!is_word(item))
            return err_set(err, EINVAL, "expected words separated by commas, got %s",
                           quote_bytes(&q, item.ptr, item.len));
        int rc = setting->choices != NULL ? check_choice(setting, item, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_targets(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct targets *targets = calloc(1, sizeof(*targets));
    if (targets == NULL)
        return err_set(err, ENOMEM, "no memory");
    int rc = targets_parse(text, targets, err);
    free(targets);
    return rc;
}

static int check_listen(const struct setting *setting, struct span text, struct err *err)
{
    struct address address;
    bool optional = (setting->where & SETTING_AGENT) != 0; /* the agent works without a server of its own */
    return optional && span_equal(text, "none") ? 0 : address_parse(text, &address, err);
}

static int check_quantity(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quantity quantity;
    return span_equal(text, "none") ? 0 : quantity_parse(text, &quantity, err);
}

/* Only what keeps a wrong name from blocking a native pod for ever (seen: "bad image!" passes the API server):
 * the characters of distribution/reference, no empty part, lower-case path. The registry decides the rest. */
static int check_image(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quoted q;
    if (!image_is_reference(text))
        return err_set(err, EINVAL, "expected an image such as registry.example.com/profefe-agent:1.0, got %s",
                       quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static int check_percent(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    unsigned percent;
    return number_parse_percent(text, &percent, err);
}

static int check_object(const struct setting *setting, struct span text, struct err *err)
{
    (void)setting;
    struct quoted q;
    if (!name_is_dns_subdomain(text))
        return err_set(err, EINVAL, "expected the name of an object (a-z, 0-9, - and ., at most %d bytes), got %s",
                       NAME_DNS_SUBDOMAIN_MAX, quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static int check_spool(const struct setting *setting, struct span text, struct err *err)
{
    struct quoted q;
    struct quantity quantity;
    uint64_t bytes;
    if (span_equal(text, "memory"))
        return 0;
    if (quantity_parse(text, &quantity, NULL) < 0 || quantity_to_bytes(&quantity, &bytes) < 0 ||
        bytes < (uint64_t)setting->min || bytes > (uint64_t)setting->max)
        return err_set(err, EINVAL, "expected memory or a size from %lldKi to %lldMi, such as 64Mi, got %s",
                       (long long)setting->min / 1024, (long long)setting->max / (1024 * 1024),
                       quote_bytes(&q, text.ptr, text.len));
    return 0;
}

static check_fn *const checks[] = {
    [SETTING_TYPE_BOOL] = check_bool,       [SETTING_TYPE_TEXT] = check_text,
    [SETTING_TYPE_WHOLE] = check_whole,     [SETTING_TYPE_DURATION] = check_duration,
    [SETTING_TYPE_CHOICE] = check_choice,   [SETTING_TYPE_PORT] = check_port,
    [SETTING_TYPE_PATH] = check_path,       [SETTING_TYPE_URL] = check_url,
    [SETTING_TYPE_TYPES] = check_types,     [SETTING_TYPE_LABELS] = check_labels,
    [SETTING_TYPE_NAMES] = check_names,     [SETTING_TYPE_TARGETS] = check_targets,
    [SETTING_TYPE_LISTEN] = check_listen,   [SETTING_TYPE_QUANTITY] = check_quantity,
    [SETTING_TYPE_IMAGE] = check_image,     [SETTING_TYPE_PERCENT] = check_percent,
    [SETTING_TYPE_OBJECT] = check_object,   [SETTING_TYPE_SPOOL] = check_spool,
};

int settings_check(enum setting_id id, struct span text, struct err *err)
{
    struct quoted q;
    const struct setting *setting = &settings_table[id];
    if (text.len > SETTINGS_VALUE_MAX)
        return err_set(err, EINVAL, "expected at most %d bytes, got %zu", SETTINGS_VALUE_MAX, text.len);
    if (memchr(text.ptr, '\0', text.len) != NULL)
        return err_set(err, EINVAL, "expected text, got %s", quote_bytes(&q, text.ptr, text.len));
    return checks[setting->type](setting, text, err);
}
