/* wrap: write fdatasync renameat2 linkat */
/* The output directory: names, whole files or none, nothing overwritten, no way out of it. */
#include "unit.h"

#include "alloc_fail.h"
#include "common/os/file.h"
#include "common/push/profile_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY "20261122T164640Z-"
#define TIME_MS INT64_C(1795366000500)

/* ---- calls that fail ---- */

static struct {
    int write, fdatasync, renameat2, linkat; /* errno; 0 = as ever */
    bool is_short; /* write takes half of it */
} fault;

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (fault.write == 0 || fd <= STDERR_FILENO)
        return __real_write(fd, bytes, len);
    if (fault.is_short && len > 1) {
        fault.is_short = false;
        return __real_write(fd, bytes, len / 2);
    }
    errno = fault.write;
    return -1;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    errno = fault.fdatasync;
    return fault.fdatasync != 0 ? -1 : __real_fdatasync(fd);
}

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    errno = fault.renameat2;
    return fault.renameat2 != 0 ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    errno = fault.linkat;
    return fault.linkat != 0 ? -1 : __real_linkat(from_fd, from, to_fd, to, flags);
}

/* ---- the bench ---- */

struct bench {
    char root[64]; /* made for the test */
    char dir[80];  /* below it, not made */
    struct profile_dir *files;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct err err = err_untouched;
    assert_non_null(bench);
    fault = (typeof(fault)){0};
    snprintf(bench->root, sizeof(bench->root), "/tmp/test-profile-dir-XXXXXX");
    assert_non_null(mkdtemp(bench->root));
    snprintf(bench->dir, sizeof(bench->dir), "%s/a/out", bench->root);
    expect_success("new", profile_dir_new(bench->dir, "agent", &bench->files, &err), &err);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fault = (typeof(fault)){0};
    profile_dir_free(bench->files);
    assert_int_equal(0, unit_delete(bench->root));
    free(bench);
    return 0;
}

static const struct profile_dir_entry cpu = {
    .service = "web", .type = "cpu", .pod = "web-1", .target = "", .time_ms = TIME_MS};

static int put_entry(struct bench *bench, const struct profile_dir_entry *entry, const char *text, bool *was_there,
                     struct err *err)
{
    int rc = profile_dir_begin(bench->files, entry, err);
    if (rc == 0)
        rc = profile_dir_write(bench->files, text, strlen(text), err);
    if (rc == 0)
        rc = profile_dir_commit(bench->files, was_there, err);
    assert_false(profile_dir_is_begun(bench->files));
    return rc;
}

static bool put(struct bench *bench, const char *text)
{
    bool was_there = false;
    struct err err = err_untouched;
    expect_success(text, put_entry(bench, &cpu, text, &was_there, &err), &err);
    return was_there;
}

static void expect_file(const struct bench *bench, const char *name, const char *expected)
{
    char path[PATH_MAX], *text = NULL;
    size_t len;
    snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
    if (file_read(path, 4096, &text, &len, NULL) < 0)
        fail_msg("%s: expected a file", path);
    expect_text(name, expected, text);
    free(text);
}

static unsigned file_count;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)path;
    (void)st;
    (void)where;
    file_count += type == FTW_F || type == FTW_SL ? 1 : 0;
    return 0;
}

static void expect_files(const struct bench *bench, unsigned expected)
{
    file_count = 0;
    nftw(bench->dir, count_one, 8, FTW_PHYS);
    assert_int_equal(expected, file_count);
}

/* ---- names ---- */

static void every_part_has_a_name_of_its_own(void **state)
{
    (void)state;
    static const struct {
        struct profile_dir_entry entry;
        const char *expected;
    } rows[] = {
        {{"web", "cpu", "web-1", "", TIME_MS, false}, "web/cpu/" DAY "web-1.pb.gz"},
        {{"web", "heap", "web-1", "api", TIME_MS, false}, "web/heap/" DAY "web-1-api.pb.gz"},
        {{"web", "trace", "web-1", "api", TIME_MS, true}, "web/trace/" DAY "web-1-api.trace"},
        {{"web", "allocs", "p", "", TIME_MS, false}, "web/allocs/" DAY "p.pb.gz"},
        {{"web", "other/wall", "p", "", TIME_MS, false}, "web/other-wall/" DAY "p.pb.gz"},
        {{"web", "other/a/b c", "p", "", TIME_MS, false}, "web/other-a%2Fb%20c/" DAY "p.pb.gz"},
        {{"web", "cpu", "p", "", 0, false}, "web/cpu/19700101T000000Z-p.pb.gz"},
        {{"web", "cpu", "p", "", INT64_MAX, false}, "web/cpu/99991231T235959Z-p.pb.gz"},
        {{"..", "..", "..", "..", TIME_MS, false}, "%2E./%2E./" DAY "%2E.-%2E..pb.gz"},
        {{".", "other/..", ".", ".", TIME_MS, false}, "%2E/other-%2E./" DAY "%2E-%2E.pb.gz"},
        {{".partial-1", "cpu", "p", "", TIME_MS, false}, "%2Epartial-1/cpu/" DAY "p.pb.gz"},
        {{"", "", "", "", TIME_MS, false}, "_/_/" DAY "_.pb.gz"},
        {{"a/b", "c\\d", "e\nf", "\xC3\xA4%", TIME_MS, false}, "a%2Fb/c%5Cd/" DAY "e%0Af-%C3%A4%25.pb.gz"},
        {{"a.b_c~d-E9", "cpu", "p", "", TIME_MS, false}, "a.b_c~d-E9/cpu/" DAY "p.pb.gz"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct profile_dir_names names;
        char got[4 * PROFILE_DIR_NAME_MAX];
        profile_dir_name(&rows[i].entry, &names);
        snprintf(got, sizeof(got), "%s/%s/%s%s", names.service, names.type, names.stem, names.ending);
        expect_text("name", rows[i].expected, got);
    }
}

static void long_names_are_cut_and_stay_different(void **state)
{
    (void)state;
    for (unsigned len = PROFILE_DIR_TARGET_MAX - 12; len < 600; len += len < 260 ? 1 : 37) {
        static const char fill[] = {'x', '/'};
        for (unsigned f = 0; f < 2; f++) {
            char one[601], other[601];
            memset(one, fill[f], len);
            one[len] = '\0';
            memcpy(other, one, len + 1);
            other[len - 1] = 'y';
            struct profile_dir_names a, b;
            profile_dir_name(&(struct profile_dir_entry){one, one, one, one, TIME_MS, false}, &a);
            profile_dir_name(&(struct profile_dir_entry){other, other, other, other, TIME_MS, false}, &b);
            assert_in_range(strlen(a.service), 1, PROFILE_DIR_DIRECTORY_MAX);
            assert_in_range(strlen(a.type), 1, PROFILE_DIR_DIRECTORY_MAX);
            assert_in_range(strlen(a.stem) + strlen("-99") + strlen(a.ending), 1, PROFILE_DIR_NAME_MAX);
            assert_string_not_equal(a.service, b.service);
            assert_string_not_equal(a.stem, b.stem);
            bool is_whole = len * (f == 0 ? 1 : 3) <= PROFILE_DIR_DIRECTORY_MAX;
            assert_int_equal(is_whole, strchr(a.service, '~') == NULL);
            /* never cut inside an escape */
            for (const char *c = strchr(a.service, '%'); c != NULL; c = strchr(c + 1, '%'))
                assert_memory_equal(c, "%2F", 3);
        }
    }
}

/* ---- files ---- */

static void a_profile_is_there_whole_or_not_at_all(void **state)
{
    struct bench *bench = *state;
    bool was_there = true;
    assert_int_equal(0, profile_dir_begin(bench->files, &cpu, NULL));
    assert_int_equal(0, profile_dir_write(bench->files, "one ", 4, NULL));
    expect_files(bench, 1); /* the unfinished one, hidden */
    assert_int_not_equal(0, access("web", F_OK));
    assert_int_equal(0, profile_dir_write(bench->files, "two", 3, NULL));
    assert_int_equal(0, profile_dir_commit(bench->files, &was_there, NULL));
    assert_false(was_there);
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "one two");
    expect_files(bench, 1);
    assert_int_equal(0, profile_dir_begin(bench->files, &cpu, NULL));
    assert_int_equal(0, profile_dir_write(bench->files, "three", 5, NULL));
    profile_dir_abort(bench->files);
    expect_files(bench, 1);
}

static void nothing_is_overwritten(void **state)
{
    struct bench *bench = *state;
    assert_false(put(bench, "one"));
    assert_false(put(bench, "two"));
    assert_false(put(bench, "six"));
    assert_true(put(bench, "two")); /* delivered before, and not known of: the agent was killed */
    assert_true(put(bench, "one"));
    assert_false(put(bench, "longer"));
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "one");
    expect_file(bench, "web/cpu/" DAY "web-1-2.pb.gz", "two");
    expect_file(bench, "web/cpu/" DAY "web-1-3.pb.gz", "six");
    expect_file(bench, "web/cpu/" DAY "web-1-4.pb.gz", "longer");
    expect_files(bench, 4);
}

static void where_rename_cannot_keep_files_a_link_does(void **state)
{
    struct bench *bench = *state;
    fault.renameat2 = EINVAL;
    assert_false(put(bench, "one"));
    assert_false(put(bench, "two"));
    assert_true(put(bench, "one"));
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "one");
    expect_file(bench, "web/cpu/" DAY "web-1-2.pb.gz", "two");
    expect_files(bench, 2);
}

static void too_many_of_one_name_are_refused(void **state)
{
    struct bench *bench = *state;
    bool was_there = false;
    struct err err = {0};
    for (unsigned i = 0; i < PROFILE_DIR_COPIES_MAX; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        assert_false(put(bench, text));
    }
    expect_failure("one more", -EEXIST, "cannot name a file", put_entry(bench, &cpu, "x", &was_there, &err), &err);
    expect_files(bench, PROFILE_DIR_COPIES_MAX);
}

static void an_empty_profile_is_a_file_too(void **state)
{
    struct bench *bench = *state;
    assert_false(put(bench, ""));
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "");
    assert_true(put(bench, ""));
}

/* ---- what goes wrong ---- */

static void each_failure_leaves_nothing_and_the_next_try_works(void **state)
{
    struct bench *bench = *state;
    static const struct {
        typeof(fault) fault;
        int code;
        const char *words;
    } rows[] = {
        {{.write = ENOSPC}, ENOSPC, "cannot write: No space left on device"},
        {{.write = ENOSPC, .is_short = true}, ENOSPC, "cannot write"},
        {{.write = EDQUOT}, EDQUOT, "cannot write"},
        {{.write = EIO}, EIO, "cannot write"},
        {{.write = EFBIG}, EFBIG, "cannot write"},
        {{.fdatasync = EIO}, EIO, "cannot write"},
        {{.fdatasync = ENOSPC}, ENOSPC, "cannot write"},
        {{.renameat2 = EXDEV}, EXDEV, "cannot name a file"},
        {{.renameat2 = EROFS}, EROFS, "cannot name a file"},
        {{.renameat2 = EINVAL, .linkat = EPERM}, EPERM, "cannot name a file"},
    };
    bool was_there = false;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err = {0};
        fault = rows[i].fault;
        expect_failure(rows[i].words, -rows[i].code, rows[i].words, put_entry(bench, &cpu, "profile", &was_there, &err),
                       &err);
        expect_contains("path", err.text, bench->dir);
        fault = (typeof(fault)){0};
        expect_files(bench, (unsigned)i > 0 ? 1 : 0);
        assert_int_equal(i > 0, put(bench, "profile"));
    }
    fault.fdatasync = EINVAL; /* a place that cannot sync */
    assert_true(put(bench, "profile"));
}

static void a_directory_that_vanished_is_made_again(void **state)
{
    struct bench *bench = *state;
    bool was_there = false;
    struct err err = {0};
    put(bench, "one");
    assert_int_equal(0, profile_dir_begin(bench->files, &cpu, NULL));
    assert_int_equal(0, unit_delete(bench->dir));
    assert_int_equal(0, profile_dir_write(bench->files, "two", 3, NULL));
    expect_failure("gone", -ENOENT, "cannot name a file", profile_dir_commit(bench->files, &was_there, &err), &err);
    assert_false(put(bench, "two"));
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "two");
}

static void what_is_no_directory_is_said(void **state)
{
    struct bench *bench = *state;
    char path[PATH_MAX];
    bool was_there = false;
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/a", bench->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_failure("a file", -ENOTDIR, "cannot make directory", put_entry(bench, &cpu, "x", &was_there, &err), &err);
    expect_contains("a file", err.text, "output directory");
}

/* Somebody else's link inside must not lead our files out of it, nor into a file of theirs. */
static void links_below_are_not_followed(void **state)
{
    struct bench *bench = *state;
    char path[PATH_MAX], outside[PATH_MAX];
    bool was_there = false;
    struct err err = {0};
    put(bench, "one");
    snprintf(outside, sizeof(outside), "%s/outside", bench->root);
    assert_int_equal(0, mkdir(outside, 0700));
    snprintf(path, sizeof(path), "%s/shop", bench->dir);
    assert_int_equal(0, symlink(outside, path));
    struct profile_dir_entry shop = cpu;
    shop.service = "shop";
    assert_int_equal(-ENOTDIR, put_entry(bench, &shop, "x", &was_there, &err));
    snprintf(path, sizeof(path), "%s/web/heap", bench->dir);
    assert_int_equal(0, symlink(outside, path));
    struct profile_dir_entry heap = cpu;
    heap.type = "heap";
    assert_int_equal(-ENOTDIR, put_entry(bench, &heap, "x", &was_there, &err));
    assert_int_equal(0, rmdir(outside)); /* empty */
    /* a link under the very name is somebody's file: the next name is taken */
    snprintf(path, sizeof(path), "%s/web/cpu/" DAY "web-2.pb.gz", bench->dir);
    assert_int_equal(0, symlink(outside, path));
    struct profile_dir_entry second = cpu;
    second.pod = "web-2";
    assert_int_equal(0, put_entry(bench, &second, "two", &was_there, NULL));
    assert_false(was_there);
    expect_file(bench, "web/cpu/" DAY "web-2-2.pb.gz", "two");
    assert_int_not_equal(0, access(outside, F_OK));
}

static void the_directory_itself_may_be_a_link(void **state)
{
    struct bench *bench = *state;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/real", bench->root);
    assert_int_equal(0, mkdir(path, 0700));
    snprintf(path, sizeof(path), "%s/a", bench->root);
    assert_int_equal(0, symlink("real", path));
    assert_false(put(bench, "one"));
    expect_file(bench, "web/cpu/" DAY "web-1.pb.gz", "one");
}

/* ---- what killed agents left ---- */

static int make_file(const struct bench *bench, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void leftovers_go_and_files_being_written_stay(void **state)
{
    struct bench *bench = *state;
    struct profile_dir *other = NULL;
    bool was_there = true;
    put(bench, "one");
    close(make_file(bench, ".partial-0123456789abcdef"));
    close(make_file(bench, ".profile")); /* not ours */
    int busy = make_file(bench, ".partial-busy");
    assert_int_equal(0, flock(busy, LOCK_EX | LOCK_NB));
    assert_int_equal(0, profile_dir_new(bench->dir, "agent", &other, NULL));
    struct profile_dir_entry heap = cpu;
    heap.type = "heap";
    assert_int_equal(0, profile_dir_begin(other, &heap, NULL)); /* another agent on the same directory */
    assert_int_equal(0, profile_dir_write(other, "heap", 4, NULL));
    put(bench, "two");
    expect_files(bench, 5); /* one, two, .profile, .partial-busy, and the other agent's */
    assert_int_equal(0, profile_dir_commit(other, &was_there, NULL));
    assert_false(was_there);
    profile_dir_free(other);
    expect_file(bench, "web/heap/" DAY "web-1.pb.gz", "heap");
    close(busy);
    put(bench, "three");
    expect_files(bench, 5); /* one, two, three, heap, .profile */
}

/* ---- begin and end ---- */

static void bad_paths_are_refused(void **state)
{
    (void)state;
    struct profile_dir *files = NULL;
    struct err err = {0};
    char path[PATH_MAX + 1];
    memset(path, 'x', PATH_MAX);
    path[PATH_MAX] = '\0';
    expect_failure("empty", -EINVAL, "expected a path", profile_dir_new("", "agent", &files, &err), &err);
    expect_failure("long", -EINVAL, "expected a path", profile_dir_new(path, "agent", &files, &err), &err);
    assert_null(files);
    assert_null(profile_dir_free(NULL));
}

static int new_attempt(void *ctx)
{
    const struct bench *bench = ctx;
    struct profile_dir *files = NULL;
    struct err err = {0};
    int rc = profile_dir_new(bench->dir, "agent", &files, &err);
    assert_int_equal(rc, -err.code);
    profile_dir_free(files);
    return rc;
}

static void without_memory_there_is_none(void **state)
{
    alloc_fail_in_turn_exactly(1, "profile_dir_new", new_attempt, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_has_a_name_of_its_own),
        cmocka_unit_test(long_names_are_cut_and_stay_different),
        cmocka_unit_test_setup_teardown(a_profile_is_there_whole_or_not_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(where_rename_cannot_keep_files_a_link_does, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_of_one_name_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_profile_is_a_file_too, setup, teardown),
        cmocka_unit_test_setup_teardown(each_failure_leaves_nothing_and_the_next_try_works, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_vanished_is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_directory_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(links_below_are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_directory_itself_may_be_a_link, setup, teardown),
        cmocka_unit_test_setup_teardown(leftovers_go_and_files_being_written_stay, setup, teardown),
        cmocka_unit_test(bad_paths_are_refused),
        cmocka_unit_test_setup_teardown(without_memory_there_is_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
