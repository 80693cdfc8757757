#include "common/base/version.h"

#include <microhttpd.h>

const char *version_text(void)
{
    return PROFEFE_VERSION;
}

void version_write(struct buf *out, const char *name)
{
    buf_printf(out, "%s %s\n", name, version_text());
    buf_printf(out, "libmicrohttpd %s\n", MHD_get_version());
    /* inih has no version at run time. */
}
