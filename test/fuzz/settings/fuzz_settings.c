/* NAME=TEXT: any text as the value of a setting; an unknown name counts as some setting. A value that passes the
 * check is kept as it is and can be read by its type; one that does not changes nothing. Then the same text as
 * labels and as a name. */
#include "fuzz.h"

#include "common/settings/settings.h"
#include "common/settings/settings_check.h"
#include "common/values/labels.h"

static void read_typed(const struct settings *settings, enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    int64_t value = setting->min;
    if (setting->type == SETTING_TYPE_BOOL)
        settings_get_bool(settings, id);
    else if (setting->type == SETTING_TYPE_DURATION)
        value = settings_get_ms(settings, id);
    else if (setting->type == SETTING_TYPE_WHOLE)
        value = (int64_t)settings_get_whole(settings, id);
    must(value >= setting->min && (value <= setting->max || setting->max == 0), "expected a value in its range");
}

static void check_value(enum setting_id id, struct span text)
{
    struct settings settings;
    struct err err = {0}, set_err = {0};
    settings_init(&settings);
    struct span trimmed = span_trim(text);
    int rc = settings_check(id, trimmed, &err);
    must_be_told(rc, &err);
    must(settings_set(&settings, id, text, SETTING_FROM_ENV, &set_err) == rc, "expected set to say what check says");
    must_be_told(rc, &set_err);
    must(settings_is_set(&settings, id) == (rc == 0), "expected a value exactly when it is good");
    if (rc == 0) {
        const char *kept = settings_get(&settings, id);
        must(strlen(kept) == trimmed.len && memcmp(kept, trimmed.ptr, trimmed.len) == 0, "expected the value as given");
        read_typed(&settings, id);
        must(settings_set(&settings, id, span_of("\x01"), SETTING_FROM_FLAG, NULL) < 0, "expected rubbish refused");
        must(strcmp(kept, settings_get(&settings, id)) == 0, "expected the old value to stay");
    }
    settings_done(&settings);
}

static void check_labels(struct span text)
{
    struct labels labels = {0};
    struct warnings warnings = {0};
    struct err err = {0};
    must_be_told(labels_add_list(&labels, text, "profefe-agent", &warnings, &err), &err);
    must(labels.count <= LABELS_MAX, "expected at most 32 labels");
    for (unsigned i = 0; i < labels.count; i++) {
        struct span key = {labels.items[i].key, strlen(labels.items[i].key)};
        must(key.len > 0 && labels.items[i].value[0] != '\0', "expected a key and a value");
        must(!labels_key_is_reserved(key), "expected our own keys to be left out");
        must_be_printable(labels.items[i].value);
        must(labels_get(&labels, labels.items[i].key) == labels.items[i].value, "expected each key once");
    }
}

/* So that the corpus keeps its meaning when settings come and go, they are called by name. */
static enum setting_id choose_setting(const uint8_t *data, size_t name_len)
{
    struct span name = {(const char *)data, name_len};
    int id = settings_table_find(name, SETTING_ANNOTATION | SETTING_AGENT | SETTING_WEBHOOK);
    return (enum setting_id)(id >= 0 ? id : data[0] % SETTING_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *equals = size > 0 ? memchr(data, '=', size) : NULL;
    if (equals == NULL || size > FUZZ_SIZE_MAX)
        return 0;
    size_t name_len = (size_t)(equals - data), len = size - name_len - 1;
    enum setting_id id = choose_setting(data, name_len);
    struct span text = fuzz_copy(equals + 1, len);
    check_value(id, text);
    check_labels(text);
    settings_table_near_miss(text, SETTING_ANNOTATION | SETTING_AGENT | SETTING_WEBHOOK);
    settings_table_find(text, SETTING_ANNOTATION);
    free((char *)text.ptr);
    return 0;
}
