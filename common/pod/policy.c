#include "common/pod/policy.h"

void policy_done(struct policy *policy)
{
    settings_done(&policy->settings);
    limits_done(&policy->limits);
}

int policy_read(struct policy *policy, const char *path, struct err *err)
{
    const struct settings_ini_section limits = limits_section(&policy->limits);
    int rc = settings_ini_read(&policy->settings, path, SETTING_WEBHOOK, &limits, err);
    return rc == 0 ? limits_check_settings(&policy->limits, &policy->settings, path, err) : rc;
}
