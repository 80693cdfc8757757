#include "common/settings/settings_flag.h"

#include <string.h>

bool settings_flag_is_there(const struct setting *setting, unsigned where)
{
    return (setting->where & where) != 0 && (where != SETTING_WEBHOOK || strcmp(setting->section, "server") == 0);
}

static int find_flag(struct span name, unsigned where)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        bool one_item = setting->each != NULL && span_equal(name, setting->each);
        if (settings_flag_is_there(setting, where) && (one_item || span_equal(name, setting->name)))
            return id;
    }
    return -1;
}

static int set_flag(struct settings *settings, enum setting_id id, const char *value, struct err *err)
{
    if (settings_table[id].each != NULL)
        return settings_add(settings, id, span_of(value), SETTING_FROM_FLAG, err);
    return settings_set(settings, id, span_of(value), SETTING_FROM_FLAG, err);
}

int settings_flag_read(struct settings *settings, unsigned where, int argc, char *const *argv, int *index,
                       struct err *err)
{
    const char *arg = argv[*index];
    if (!span_has_prefix(span_of(arg), "--"))
        return 0;
    size_t len = strcspn(arg + 2, "=");
    int id = find_flag((struct span){arg + 2, len}, where);
    if (id < 0)
        return 0;
    const char *value = arg[2 + len] == '=' ? arg + 2 + len + 1 : NULL;
    if (value == NULL) {
        if (*index + 1 >= argc)
            return err_set(err, EINVAL, "%s: expected a value after it", arg);
        value = argv[++*index];
    }
    int rc = set_flag(settings, (enum setting_id)id, value, err);
    return rc < 0 ? err_wrap(err, rc, "--%.*s", (int)len, arg + 2) : 1;
}
