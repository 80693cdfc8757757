/* file: small files read whole, whatever they are. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/os/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[] = "/tmp/test_file_XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/f", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void write_file(size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < len; i++)
        fputc((int)(i % 251), f);
    assert_int_equal(0, fclose(f));
}

static void reads_whole_files_up_to_the_limit(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 10000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct err err = err_untouched;
        char *bytes = NULL;
        size_t len = 77;
        write_file(sizes[i]);
        expect_success("at the limit", file_read(path, sizes[i], &bytes, &len, &err), &err);
        assert_int_equal(sizes[i], len);
        for (size_t k = 0; k < len; k++)
            assert_int_equal(k % 251, (unsigned char)bytes[k]);
        assert_int_equal('\0', bytes[len]);
        free(bytes);
        if (sizes[i] == 0)
            continue;
        bytes = NULL;
        int rc = file_read(path, sizes[i] - 1, &bytes, &len, &err);
        expect_failure("over the limit", -EFBIG, "larger than", rc, &err);
        assert_null(bytes);
        assert_int_equal(sizes[i], len);
    }
}

static void failures_name_the_file_and_leave_the_output(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int rc;
        const char *words;
    } rows[] = {
        {"", -ENOENT, ": No such file"},
        {"/no/such/file", -ENOENT, "/no/such/file: No such file or directory"},
        {"/dev/null/x", -ENOTDIR, "/dev/null/x: Not a directory"},
        {"/tmp", -EISDIR, "/tmp: Is a directory"},
        {"/dev/zero", -EFBIG, "/dev/zero: larger than 100 bytes"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        char *bytes = dir;
        size_t len = 77;
        int rc = file_read(rows[i].path, 100, &bytes, &len, &err);
        expect_failure(rows[i].path, rows[i].rc, rows[i].words, rc, &err);
        assert_ptr_equal(dir, bytes);
        assert_int_equal(77, len);
    }
}

/* A FIFO that nobody writes to must not hold the start up. */
static void fifo_without_a_writer_is_empty(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t len = 77;
    unlink(path);
    assert_int_equal(0, mkfifo(path, 0600));
    assert_int_equal(0, file_read(path, 100, &bytes, &len, NULL));
    assert_int_equal(0, len);
    free(bytes);
    unlink(path);
}

struct slow_writer {
    int fd;
};

static void *write_slowly(void *ctx)
{
    struct slow_writer *writer = ctx;
    const struct timespec pause = {.tv_nsec = 100 * 1000000};
    for (int i = 0; i < 3; i++) {
        nanosleep(&pause, NULL);
        if (write(writer->fd, "line\n", 5) != 5)
            abort();
    }
    close(writer->fd);
    return NULL;
}

/* --config <(generate): bash opens the pipe before its writer has anything to say. */
static void pipe_is_read_until_its_writer_closes(void **state)
{
    (void)state;
    int fds[2];
    char fd_path[64];
    char *bytes = NULL;
    size_t len = 0;
    struct err err = err_untouched;
    pthread_t thread;
    assert_int_equal(0, pipe2(fds, O_CLOEXEC));
    struct slow_writer writer = {.fd = fds[1]};
    snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fds[0]);
    assert_int_equal(0, pthread_create(&thread, NULL, write_slowly, &writer));
    int rc = file_read(fd_path, 100, &bytes, &len, &err);
    pthread_join(thread, NULL);
    expect_success("pipe", rc, &err);
    assert_string_equal("line\nline\nline\n", bytes);
    assert_int_equal(15, len);
    free(bytes);
    close(fds[0]);
}

static void leaves_no_descriptor_open(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t len;
    int before = dup(0);
    close(before);
    write_file(10);
    assert_int_equal(0, file_read(path, 10, &bytes, &len, NULL));
    free(bytes);
    assert_int_equal(-EFBIG, file_read(path, 9, &bytes, &len, NULL));
    assert_int_equal(-EISDIR, file_read("/", 9, &bytes, &len, NULL));
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static int read_attempt(void *ctx)
{
    (void)ctx;
    char *bytes = dir;
    size_t len = 77;
    struct err err = {0};
    int rc = file_read(path, 100000, &bytes, &len, &err);
    if (rc == 0) {
        free(bytes);
        return 0;
    }
    assert_int_equal(-ENOMEM, rc);
    assert_non_null(strstr(err.text, "no memory"));
    assert_ptr_equal(dir, bytes);
    assert_int_equal(77, len);
    return rc;
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    write_file(60000);
    assert_in_range(alloc_fail_in_turn("file_read", read_attempt, NULL), 2, 30);
}

static void only_failures_of_the_moment_pass(void **state)
{
    (void)state;
    static const int passing[] = {ENOMEM, EMFILE, ENFILE, EIO, ESTALE, ETIMEDOUT};
    static const int staying[] = {0, EINVAL, ENOENT, EACCES, EISDIR, ELOOP, EFBIG};
    for (size_t i = 0; i < COUNT_OF(passing); i++)
        assert_true(file_failure_may_pass(-passing[i]));
    for (size_t i = 0; i < COUNT_OF(staying); i++)
        assert_false(file_failure_may_pass(-staying[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whole_files_up_to_the_limit),
        cmocka_unit_test(failures_name_the_file_and_leave_the_output),
        cmocka_unit_test(fifo_without_a_writer_is_empty),
        cmocka_unit_test(pipe_is_read_until_its_writer_closes),
        cmocka_unit_test(leaves_no_descriptor_open),
        cmocka_unit_test(without_memory_it_says_so),
        cmocka_unit_test(only_failures_of_the_moment_pass),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
