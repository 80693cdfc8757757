/* What tells a file from its successor.
 *
 * The kubelet swaps a mounted Secret or ConfigMap by a symlink, so a path is looked at by stat(2) now and then: that
 * works for plain files as well, and no watch has to survive the swap. A stamp is taken before the file is read, so
 * that a change in between is seen at the next look.
 */
#ifndef PROFEFE_FILE_STAMP_H
#define PROFEFE_FILE_STAMP_H

#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

struct file_stamp {
    dev_t device;
    ino_t inode;
    struct timespec modified;
    struct timespec changed; /* also by a chmod that makes a file readable at last, and where mtime was set back */
    off_t size;
    int error; /* errno of stat, 0 = there */
};

/* Like no file's: the first look finds a change. */
#define FILE_STAMP_NONE ((struct file_stamp){.error = -1})

struct file_stamp file_stamp_of(const char *path);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

#endif
