#include "common/values/labels.h"

#include "common/base/ascii.h"
#include "common/base/quote.h"
#include "common/base/utf8.h"

#include <string.h>

static const char *const reserved_keys[] = {
    "namespace", "pod", "node", "container", "target", "from", "profile_type", "trigger", "capture",
};

bool labels_key_is_reserved(struct span key)
{
    for (size_t i = 0; i < sizeof(reserved_keys) / sizeof(reserved_keys[0]); i++) {
        if (span_equal(key, reserved_keys[i]))
            return true;
    }
    return false;
}

/* What Kubernetes allows in a label key (prefix/name), so that pod labels pass as they are. */
static bool is_key(struct span key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (!ascii_is_word(c) && (i == 0 || c == '\0' || strchr("-_./", c) == NULL))
            return false;
    }
    return key.len > 0 && key.len <= LABEL_KEY_MAX;
}

static bool is_value(struct span value)
{
    for (size_t i = 0; i < value.len;) {
        size_t n = utf8_len(value.ptr + i, value.len - i);
        if (n == 0 || utf8_is_control(value.ptr + i, value.len - i) || value.ptr[i] == ',')
            return false;
        i += n;
    }
    return value.len <= LABEL_VALUE_MAX;
}

static int check(struct span key, struct span value, struct err *err)
{
    struct quoted q;
    if (!is_key(key))
        return err_set(err, EINVAL, "expected a label key of letters, digits, -, _, . and / (at most %d), got %s",
                       LABEL_KEY_MAX, quote_bytes(&q, key.ptr, key.len));
    if (!is_value(value))
        return err_set(err, EINVAL, "expected a label value of at most %d bytes of UTF-8 without commas, got %s",
                       LABEL_VALUE_MAX, quote_bytes(&q, value.ptr, value.len));
    return 0;
}

static const struct label *find(const struct labels *labels, struct span key)
{
    for (unsigned i = 0; i < labels->count; i++) {
        if (span_equal(key, labels->items[i].key))
            return &labels->items[i];
    }
    return NULL;
}

int labels_add(struct labels *labels, struct span key, struct span value, struct err *err)
{
    struct quoted q;
    int rc = check(key, value, err);
    if (rc < 0 || value.len == 0)
        return rc;
    if (find(labels, key) != NULL)
        return err_set(err, EEXIST, "label %s is there already", quote_bytes(&q, key.ptr, key.len));
    if (labels->count == LABELS_MAX)
        return err_set(err, ENOSPC, "more than %d labels", LABELS_MAX);
    struct label *label = &labels->items[labels->count++];
    memcpy(label->key, key.ptr, key.len);
    label->key[key.len] = '\0';
    memcpy(label->value, value.ptr, value.len);
    label->value[value.len] = '\0';
    return 0;
}

static int add_item(struct labels *labels, struct span item, const char *owner, struct warnings *warnings,
                    struct err *err)
{
    struct quoted q;
    const char *eq = memchr(item.ptr, '=', item.len);
    if (eq == NULL)
        return err_set(err, EINVAL, "expected KEY=VALUE,…, got %s", quote_bytes(&q, item.ptr, item.len));
    struct span key = span_trim((struct span){item.ptr, (size_t)(eq - item.ptr)});
    struct span value = span_trim((struct span){eq + 1, item.len - (size_t)(eq - item.ptr) - 1});
    if (labels_key_is_reserved(key)) {
        warnings_add(warnings, "labels: %s is set by %s itself and is left out", quote_bytes(&q, key.ptr, key.len),
                     owner);
        return 0;
    }
    int rc = check(key, value, err);
    if (rc < 0)
        return rc;
    rc = labels_add(labels, key, value, NULL);
    if (rc == -EEXIST)
        warnings_add(warnings, "labels: %s is there already; the first one counts", quote_bytes(&q, key.ptr, key.len));
    else if (rc == -ENOSPC)
        warnings_add(warnings, "labels: %s is left out: expected at most %d labels, our own included",
                     quote_bytes(&q, key.ptr, key.len), LABELS_MAX);
    return 0;
}

int labels_add_list(struct labels *labels, struct span text, const char *owner, struct warnings *warnings,
                    struct err *err)
{
    unsigned before = labels->count;
    struct span rest = text, item;
    while (span_next_item(&rest, &item)) {
        int rc = add_item(labels, item, owner, warnings, err);
        if (rc < 0) {
            labels->count = before;
            return rc;
        }
    }
    return 0;
}

const char *labels_get(const struct labels *labels, const char *key)
{
    const struct label *label = find(labels, (struct span){key, strlen(key)});
    return label != NULL ? label->value : NULL;
}
