#include "common/os/directory.h"

#include "common/base/quote.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

int directory_make(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    for (size_t i = 1; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) == 0 || errno == EEXIST)
            continue;
        int code = errno;
        struct stat st;
        if (stat(part, &st) == 0 && S_ISDIR(st.st_mode))
            continue; /* a read-only or forbidden parent says so even for what is there */
        struct quoted quoted;
        return err_errno(err, code, "cannot make directory %s", quote_text(&quoted, part));
    }
    return 0;
}
