#include "common/settings/settings_help.h"

#include "common/settings/settings_flag.h"

#include <string.h>

static void write_description(struct buf *out, const struct setting *setting)
{
    buf_printf(out, "      %s", setting->help);
    if (setting->choices != NULL)
        buf_printf(out, " (%s)", setting->choices);
    if (setting->default_text != NULL)
        buf_printf(out, " (default %s)", setting->default_text);
    buf_putc(out, '\n');
}

static void write_flag(struct buf *out, const struct setting *setting, unsigned where)
{
    buf_printf(out, "  --%s VALUE\n", setting->each != NULL ? setting->each : setting->name);
    write_description(out, setting);
    buf_printf(out, "      env %s, INI [%s] %s\n", setting->env, settings_table_section(setting, where), setting->name);
}

int settings_help_write_flags(struct buf *out, unsigned where)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (settings_flag_is_there(&settings_table[id], where))
            write_flag(out, &settings_table[id], where);
    }
    return buf_error(out);
}

int settings_help_write_section(struct buf *out, unsigned where, const char *section)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        if ((setting->where & where) == 0 || strcmp(settings_table_section(setting, where), section) != 0)
            continue;
        buf_printf(out, "  %s = VALUE\n", setting->name);
        write_description(out, setting);
    }
    return buf_error(out);
}
