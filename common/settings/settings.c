#include "common/settings/settings.h"

#include "common/base/boolean.h"
#include "common/base/cleanup.h"
#include "common/base/duration.h"
#include "common/base/number.h"
#include "common/settings/settings_check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void settings_init(struct settings *settings)
{
    *settings = (struct settings){0};
}

void settings_done(struct settings *settings)
{
    for (int id = 0; id < SETTING_COUNT; id++)
        free(settings->values[id].text);
    settings_init(settings);
}

int settings_set(struct settings *settings, enum setting_id id, struct span text, enum setting_origin origin,
                 struct err *err)
{
    text = span_trim(text);
    int rc = settings_check(id, text, err);
    if (rc < 0)
        return rc;
    struct settings_value *value = &settings->values[id];
    if (value->text != NULL && value->origin > origin)
        return 0;
    char *copy = malloc(text.len + 1);
    if (copy == NULL)
        return err_set(err, ENOMEM, "no memory for a setting");
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    free(value->text);
    value->text = copy;
    value->origin = origin;
    return 0;
}

int settings_add(struct settings *settings, enum setting_id id, struct span item, enum setting_origin origin,
                 struct err *err)
{
    const struct settings_value *before = &settings->values[id];
    if (before->text == NULL || before->origin != origin)
        return settings_set(settings, id, item, origin, err);
    size_t room = strlen(before->text) + sizeof(",") + item.len;
    CLEANUP_FREE char *joined = malloc(room);
    if (joined == NULL)
        return err_set(err, ENOMEM, "no memory for a setting");
    snprintf(joined, room, "%s,%.*s", before->text, (int)item.len, item.ptr);
    return settings_set(settings, id, span_of(joined), origin, err);
}

int settings_copy(struct settings *to, const struct settings *from, struct err *err)
{
    bool ok = true;
    *to = *from;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const char *text = from->values[id].text;
        to->values[id].text = text != NULL ? strdup(text) : NULL;
        ok = ok && (text == NULL || to->values[id].text != NULL);
    }
    return ok ? 0 : err_set(err, ENOMEM, "no memory for settings");
}

const char *settings_get(const struct settings *settings, enum setting_id id)
{
    return settings->values[id].text != NULL ? settings->values[id].text : settings_table[id].default_text;
}

bool settings_is_set(const struct settings *settings, enum setting_id id)
{
    return settings->values[id].text != NULL;
}

static struct span get_span(const struct settings *settings, enum setting_id id)
{
    const char *text = settings_get(settings, id);
    assert(text != NULL);
    return span_of(text);
}

/* The values were checked when they were set, and a test checks the defaults: parsing cannot fail here. */

bool settings_get_bool(const struct settings *settings, enum setting_id id)
{
    bool value = false;
    int rc = boolean_parse(get_span(settings, id), &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

int64_t settings_get_ms(const struct settings *settings, enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    int64_t value = 0;
    int rc = duration_parse(get_span(settings, id), setting->min, setting->max, &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

uint64_t settings_get_whole(const struct settings *settings, enum setting_id id)
{
    const struct setting *setting = &settings_table[id];
    uint64_t value = 0;
    int rc = number_parse_u64(get_span(settings, id), (uint64_t)setting->min, (uint64_t)setting->max, &value, NULL);
    assert(rc == 0);
    (void)rc;
    return value;
}

unsigned settings_get_percent(const struct settings *settings, enum setting_id id)
{
    unsigned percent = 0;
    int rc = number_parse_percent(get_span(settings, id), &percent, NULL);
    assert(rc == 0);
    (void)rc;
    return percent;
}
