#include "common/settings/settings_flag.h"

#include <string.h>

bool settings_flag_is_there(const struct setting *setting, unsigned where)
{
    return (setting->where & where) != 0 && (where != SETTING_WEBHOOK || strcmp(setting->section, "server") == 0);
}

int settings_flag_find(struct span name, unsigned where)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        bool one_item = setting->each != NULL && span_equal(name, setting->each);
        if (settings_flag_is_there(setting, where) && (one_item || span_equal(name, setting->name)))
            return id;
    }
    return -1;
}

void settings_flag_offer(struct name_near *near, unsigned where)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        if (!settings_flag_is_there(setting, where))
            continue;
        if (setting->each != NULL)
            name_near_offer(near, setting->each);
        name_near_offer(near, setting->name);
    }
}

int settings_flag_set(struct settings *settings, enum setting_id id, struct span value, struct err *err)
{
    if (settings_table[id].each != NULL)
        return settings_add(settings, id, value, SETTING_FROM_FLAG, err);
    return settings_set(settings, id, value, SETTING_FROM_FLAG, err);
}
