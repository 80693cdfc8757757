#include "common/os/file_stamp.h"

#include <errno.h>

struct file_stamp file_stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct file_stamp){.error = errno};
    return (struct file_stamp){
        .device = st.st_dev, .inode = st.st_ino, .modified = st.st_mtim, .changed = st.st_ctim, .size = st.st_size};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && same_time(a->modified, b->modified) &&
           same_time(a->changed, b->changed) && a->size == b->size && a->error == b->error;
}
