/* Is a text a value of that setting? By the type in the setting's row, and its range. Pure. */
#ifndef PROFEFE_SETTINGS_CHECK_H
#define PROFEFE_SETTINGS_CHECK_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/base/span.h"
#include "common/settings/settings_table.h"

/* 0, or -EINVAL with "expected …, got …" (the name is not repeated), or -ENOMEM. What is tolerated but worth telling
 * depends on several settings at once and is told by profile_types_parse and labels_add_list. */
MUST_CHECK int settings_check(enum setting_id id, struct span text, struct err *err);

#endif
