#include "common/settings/settings_env.h"

#include <string.h>

const char *settings_env_value(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return (*env)[len + 1] != '\0' ? *env + len + 1 : NULL;
    }
    return NULL;
}

unsigned settings_env_read(struct settings *settings, unsigned where, char *const *env, settings_bad *bad, void *ctx)
{
    unsigned count = 0;
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *setting = &settings_table[id];
        bool read = setting->env != NULL && (setting->where & where) != 0;
        const char *value = read ? settings_env_value(env, setting->env) : NULL;
        struct err err;
        if (value == NULL)
            continue;
        int rc = settings_set(settings, (enum setting_id)id, span_of(value), SETTING_FROM_ENV, &err);
        if (rc == 0)
            continue;
        err_wrap(&err, rc, "%s", setting->env);
        bad(ctx, &err);
        count++;
    }
    return count;
}
