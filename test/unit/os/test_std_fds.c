#include "common/os/std_fds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_useless(int fd)
{
    char byte = 'x';
    return fcntl(fd, F_GETFD) >= 0 && write(fd, &byte, 1) < 0 && errno == EBADF && read(fd, &byte, 1) < 0 &&
           errno == EBADF;
}

/* In a process of its own: 0 when the closed ones are filled and the others are as they were. */
static int try_without(unsigned closed)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        int status = 0;
        assert_int_equal(pid, waitpid(pid, &status, 0));
        return status;
    }
    int ends[2], bad = pipe(ends) == 0 ? 0 : 16; /* an end of a pipe does one of the two: never useless */
    for (int fd = 0; fd < 3; fd++) {
        if ((closed >> fd & 1) != 0)
            close(fd);
        else
            dup2(ends[1], fd);
    }
    std_fds_fill();
    for (int fd = 0; fd < 3; fd++)
        bad |= is_useless(fd) != ((closed >> fd & 1) != 0) ? 1 << fd : 0;
    bad |= dup(ends[0]) <= STDERR_FILENO ? 8 : 0;
    _exit(bad);
}

static void whatever_is_closed_is_filled_and_the_rest_left_alone(void **state)
{
    (void)state;
    for (unsigned closed = 0; closed < 8; closed++)
        assert_int_equal(0, try_without(closed));
}

/* What one complaint writes into a pipe. */
static size_t heard(const char *text, char out[STD_FDS_TEXT_MAX + 1])
{
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(0, pipe(fds));
    assert_true(saved >= 0 && dup2(fds[1], STDERR_FILENO) >= 0);
    std_fds_complain("program", "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t len = read(fds[0], out, STD_FDS_TEXT_MAX + 1);
    close(fds[0]);
    assert_true(len > 0);
    return (size_t)len;
}

static void complaint_is_one_line_that_a_pipe_takes_whole(void **state)
{
    (void)state;
    char out[STD_FDS_TEXT_MAX + 1], large[2 * STD_FDS_TEXT_MAX];
    assert_int_equal(strlen("program: why\n"), heard("why", out));
    assert_memory_equal("program: why\n", out, strlen("program: why\n"));
    assert_int_equal(strlen("program: \n"), heard("", out));
    memset(large, 'x', sizeof(large) - 1);
    for (size_t cut = STD_FDS_TEXT_MAX - 20; cut < STD_FDS_TEXT_MAX + 20; cut++) {
        large[cut] = '\0';
        size_t len = heard(large, out), whole = strlen("program: ") + cut + 1;
        assert_int_equal(whole < STD_FDS_TEXT_MAX ? whole : STD_FDS_TEXT_MAX, len);
        assert_int_equal('x', out[len - 2]);
        assert_int_equal('\n', out[len - 1]);
        large[cut] = 'x';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_closed_is_filled_and_the_rest_left_alone),
        cmocka_unit_test(complaint_is_one_line_that_a_pipe_takes_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
