#include "stamp.h"

#include <errno.h>

struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct stamp){.error = errno};
    return (struct stamp){.device = st.st_dev, .inode = st.st_ino, .modified = st.st_mtim, .size = st.st_size};
}

bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->size == b->size && a->error == b->error;
}
