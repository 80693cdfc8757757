#include "common/os/std_fds.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* poll() calls a terminal writable that has room for a byte, and write() then waits until all of a line has gone. A
 * description of our own need not wait, and leaves alone the one that the shell reads from. */
static void open_terminal_anew(void)
{
    if (!isatty(STDERR_FILENO))
        return;
    CLEANUP_CLOSE int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0)
        (void)dup2(own, STDERR_FILENO);
}

void std_fds_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/", O_PATH); /* gets the lowest free number: this one; "/" is there where /dev/null is not */
    }
    open_terminal_anew();
}

int std_fds_print(const char *program, const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return 0;
    int code = errno;
    std_fds_complain(program, "cannot write to stdout: %s", strerror(code));
    return -code;
}

/* 0 = it takes a line at this moment. A pipe without a reader counts as writable to poll(), but a write to it would
 * raise SIGPIPE. */
static int look_whether_writable(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    int found = poll(&look, 1, 0);
    if (found < 0)
        return -errno;
    if ((look.revents & POLLNVAL) != 0)
        return -EBADF;
    if ((look.revents & (POLLERR | POLLHUP)) != 0)
        return -EPIPE;
    return (look.revents & POLLOUT) != 0 ? 0 : -EAGAIN;
}

ssize_t std_fds_write_error(const char *text, size_t len)
{
    ssize_t n;
    do {
        n = look_whether_writable(STDERR_FILENO);
        if (n == 0) {
            n = write(STDERR_FILENO, text, len < STD_FDS_TEXT_MAX ? len : STD_FDS_TEXT_MAX);
            n = n < 0 ? -errno : n;
        }
    } while (n == -EINTR);
    return n;
}

void std_fds_complain(const char *program, const char *fmt, ...)
{
    char line[STD_FDS_TEXT_MAX];
    va_list ap;
    int head = snprintf(line, sizeof(line), "%s: ", program);
    va_start(ap, fmt);
    int text = vsnprintf(line + head, sizeof(line) - (size_t)head, fmt, ap);
    va_end(ap);
    size_t len = (size_t)head + (size_t)(text > 0 ? text : 0);
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    line[len] = '\n'; /* in place of the NUL */
    (void)std_fds_write_error(line, len + 1);
}
