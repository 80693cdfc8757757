#include "common/base/version.h"

const char *version_text(void)
{
    return PROFEFE_VERSION;
}

void version_write(struct buf *out, const char *name)
{
    buf_printf(out, "%s %s\n", name, version_text());
}
