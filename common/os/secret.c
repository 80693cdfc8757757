#include "common/os/secret.h"

#include "common/base/cleanup.h"
#include "common/os/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void secret_done(struct secret *secret)
{
    if (secret->bytes != NULL)
        explicit_bzero(secret->bytes, secret->cap);
    free(secret->bytes);
    *secret = (struct secret){0};
}

int secret_new(size_t cap, struct secret *ret)
{
    *ret = (struct secret){.bytes = malloc(cap), .cap = cap};
    return ret->bytes != NULL ? 0 : -ENOMEM;
}

static int check_kind(int fd, const char *path, enum secret_from from, struct err *err)
{
    struct stat st;
    if (from == SECRET_FROM_ANY)
        return 0;
    if (fstat(fd, &st) < 0)
        return err_errno(err, errno, "%s", path);
    return S_ISREG(st.st_mode) ? 0 : err_set(err, EINVAL, "%s: expected a regular file", path);
}

static int fill(int fd, const char *path, struct secret *secret, struct err *err)
{
    size_t max = secret->cap - 1;
    for (;;) {
        ssize_t n = file_read_some(fd, secret->bytes + secret->len, secret->cap - secret->len);
        if (n < 0)
            return err_errno(err, (int)-n, "%s", path);
        if (n == 0)
            return 0;
        secret->len += (size_t)n;
        if (secret->len > max)
            return err_set(err, EFBIG, "%s: expected at most %zu bytes, got more", path, max);
    }
}

int secret_read(const char *path, enum secret_from from, size_t max, struct secret *ret, struct err *err)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    CLEANUP(secret_done) struct secret secret = {0};
    int rc = check_kind(fd, path, from, err);
    if (rc < 0)
        return rc;
    if (secret_new(max + 1, &secret) < 0)
        return err_set(err, ENOMEM, "%s: no memory to read it", path);
    rc = fill(fd, path, &secret, err);
    if (rc < 0)
        return rc;
    *ret = secret;
    secret = (struct secret){0};
    return 0;
}
