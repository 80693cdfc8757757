#include "common/os/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void std_fds_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/", O_PATH); /* gets the lowest free number: this one; "/" is there where /dev/null is not */
    }
}

int std_fds_print(const char *program, const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return 0;
    int code = errno;
    fprintf(stderr, "%s: cannot write to stdout: %s\n", program, strerror(code));
    return -code;
}
