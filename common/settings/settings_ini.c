#include "common/settings/settings_ini.h"

#include "common/base/cleanup.h"
#include "common/base/quote.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    struct settings *settings;
    unsigned where;
    const struct settings_ini_section *other;
    bool seen[SETTING_COUNT];
};

static int find_ini_key(unsigned where, const char *section, const char *key)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        if ((setting->where & where) != 0 && strcmp(settings_table_section(setting, where), section) == 0 &&
            strcmp(setting->name, key) == 0)
            return id;
    }
    return -1;
}

static int unknown_key(unsigned where, const char *section, const char *key, struct err *err)
{
    struct quoted qs, qk;
    int elsewhere = settings_table_find((struct span){key, strlen(key)}, where);
    const char *near = settings_table_near_miss((struct span){key, strlen(key)}, where);
    quote_text(&qs, section);
    quote_text(&qk, key);
    if (elsewhere >= 0)
        return err_set(err, EINVAL, "unknown key %s in section %s, expected it in [%s]", qk.text, qs.text,
                       settings_table_section(&settings_table[elsewhere], where));
    if (near != NULL)
        return err_set(err, EINVAL, "unknown key %s in section %s, did you mean %s?", qk.text, qs.text, near);
    return err_set(err, EINVAL, "unknown key %s in section %s", qk.text, qs.text);
}

static bool is_list(enum setting_type type)
{
    return type == SETTING_TYPE_TYPES || type == SETTING_TYPE_LABELS || type == SETTING_TYPE_NAMES ||
           type == SETTING_TYPE_TARGETS || type == SETTING_TYPE_PORT;
}

static int no_room(const struct buf *buf, struct err *err)
{
    if (buf_error(buf) == -ENOMEM)
        return err_set(err, ENOMEM, "no memory for a setting");
    return err_set(err, EINVAL, "expected at most %d bytes", SETTINGS_VALUE_MAX);
}

int settings_ini_join(const char *value, struct buf *out, struct err *err)
{
    for (const char *line = value;; line++) {
        size_t len = strcspn(line, "\n");
        if (out->len > 0 && len > 0 && out->data[out->len - 1] != ',')
            buf_putc(out, ',');
        buf_append(out, line, len);
        line += len;
        if (*line == '\0')
            return buf_error(out) != 0 ? no_room(out, err) : 0;
    }
}

static int set_ini_value(struct settings *settings, int id, const char *value, struct err *err)
{
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, SETTINGS_VALUE_MAX);
    if (!is_list(settings_table[id].type) && strchr(value, '\n') != NULL)
        return err_set(err, EINVAL, "expected one line; an indented line goes on with the value above it");
    int rc = settings_ini_join(value, &joined, err);
    if (rc < 0)
        return rc;
    return settings_set(settings, (enum setting_id)id, span_of(buf_text(&joined)), SETTING_FROM_INI, err);
}

static int take_ini_key(void *ctx, const char *section, const char *key, const char *value, int line, struct err *err)
{
    struct reading *r = ctx;
    if (r->other != NULL && strcmp(section, r->other->name) == 0)
        return r->other->take(r->other->ctx, section, key, value, line, err);
    int id = find_ini_key(r->where, section, key);
    if (id < 0)
        return unknown_key(r->where, section, key, err);
    int rc = r->seen[id] ? err_set(err, EINVAL, "given twice") : set_ini_value(r->settings, id, value, err);
    r->seen[id] = true;
    return rc < 0 ? err_wrap(err, rc, "[%s] %s", section, key) : 0;
}

int settings_ini_read(struct settings *settings, const char *path, unsigned where,
                      const struct settings_ini_section *other, struct err *err)
{
    struct reading r = {.settings = settings, .where = where, .other = other};
    return ini_file_read(path, take_ini_key, &r, err);
}
