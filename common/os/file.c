#include "common/os/file.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_READ_CHUNK = 4096,
    FILE_WAIT_MS = 10 * 1000, /* for the next bytes of a pipe: `--config <(…)` */
};

/* Of a pipe whose writer is not through. */
static int wait_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int n = poll(&pollfd, 1, FILE_WAIT_MS);
    if (n == 0)
        return ETIMEDOUT;
    return n < 0 && errno != EINTR ? errno : 0;
}

int file_expect_regular(const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_errno(err, errno, "%s", path);
    return S_ISREG(st.st_mode) ? 0 : err_set(err, EINVAL, "%s: expected a regular file", path);
}

ssize_t file_read_some(int fd, void *to, size_t len)
{
    for (;;) {
        ssize_t n = read(fd, to, len);
        int code = n < 0 ? errno : 0;
        if (code == EAGAIN)
            code = wait_readable(fd);
        if (n >= 0 || (code != 0 && code != EINTR))
            return n >= 0 ? n : -code;
    }
}

/* Read by chunks rather than by st_size: a ConfigMap may be swapped and a FIFO has no size. */
int file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_len, struct err *err)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    CLEANUP(buf_done) struct buf bytes;
    buf_init(&bytes, max_bytes + FILE_READ_CHUNK);
    for (;;) {
        if (buf_reserve(&bytes, FILE_READ_CHUNK) < 0)
            return err_set(err, ENOMEM, "%s: no memory to read it", path);
        ssize_t n = file_read_some(fd, bytes.data + bytes.len, FILE_READ_CHUNK);
        if (n < 0)
            return err_errno(err, (int)-n, "%s", path);
        if (n == 0)
            break;
        bytes.len += (size_t)n;
        if (bytes.len > max_bytes)
            return err_set(err, EFBIG, "%s: larger than %zu bytes", path, max_bytes);
    }
    bytes.data[bytes.len] = '\0';
    *ret_len = bytes.len;
    *ret = buf_take(&bytes);
    return 0;
}

bool file_failure_may_pass(int rc)
{
    return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -EIO || rc == -ESTALE || rc == -ETIMEDOUT;
}
