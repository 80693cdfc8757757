#include "common/http/credentials.h"

#include "alloc_fail.h"
#include "unit.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERT "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"
#define PRIVATE "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n"

static char dir[64];
static struct credentials *credentials;

static const char *path_of(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % COUNT_OF(paths)];
    snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return path;
}

static void put_n(const char *name, const char *bytes, size_t len)
{
    FILE *file = fopen(path_of("new"), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(path_of("new"), path_of(name)), 0); /* another inode: seen however quick the test is */
}

static void put(const char *name, const char *text)
{
    put_n(name, text, strlen(text));
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_credentials.XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : credentials_new(dir, &credentials, NULL);
}

static int teardown(void **state)
{
    (void)state;
    credentials = credentials_free(credentials);
    return unit_delete(dir);
}

static void empty_dir(void)
{
    static const char *const names[] = {"token", "username", "password", "ca.crt", "tls.crt", "tls.key"};
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        (void)remove(path_of(names[i]));
}

static void refresh(const char *row)
{
    struct err err = err_untouched;
    expect_success(row, credentials_refresh(credentials, &err), &err);
}

static void refresh_fails(const char *row, int rc, const char *words)
{
    struct err err = err_untouched;
    expect_failure(row, rc, words, credentials_refresh(credentials, &err), &err);
}

/* The same file, however its path is spelled. */
static void expect_file(const char *row, const char *name, const char *path)
{
    struct stat wanted, got;
    if (path == NULL || stat(path_of(name), &wanted) < 0 || stat(path, &got) < 0 || wanted.st_ino != got.st_ino)
        fail_msg("%s: expected a path of %s, got %s", row, name, path != NULL ? path : "none");
}

/* ---- what is read ---- */

static void nothing_is_there_and_then_something_is(void **state)
{
    (void)state;
    struct credentials *elsewhere = NULL;
    char later[128];
    snprintf(later, sizeof(later), "%s/later", dir);
    assert_int_equal(credentials_new(later, &elsewhere, NULL), 0);
    assert_string_equal(credentials_summary(elsewhere), "nothing");
    assert_int_equal(credentials_refresh(elsewhere, NULL), 0); /* not even the directory */
    assert_null(credentials_authorization(elsewhere));
    assert_null(credentials_tls(elsewhere)->ca_file);
    assert_null(credentials_tls(elsewhere)->cert_file);
    assert_null(credentials_tls(elsewhere)->key_file);
    assert_int_equal(mkdir(later, 0700), 0);
    put("later/token", "t0\n");
    assert_int_equal(credentials_refresh(elsewhere, NULL), 0);
    assert_string_equal(credentials_authorization(elsewhere), "Bearer t0");
    credentials_free(elsewhere);
    assert_null(credentials_free(NULL));
}

static void authorization_is_made_of_token_or_user(void **state)
{
    (void)state;
    static const struct row {
        const char *token, *user, *word, *authorization;
    } rows[] = {
        {NULL, NULL, NULL, NULL},
        {"abc", NULL, NULL, "Bearer abc"},
        {"  a.b-c_d~e+f/g==\r\n", NULL, NULL, "Bearer a.b-c_d~e+f/g=="},
        {NULL, "Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617 §2 */
        {NULL, "test\n", "123\xc2\xa3\n", "Basic dGVzdDoxMjPCow=="},            /* RFC 7617 §2.1 */
        {NULL, "u", "", "Basic dTo="},
        {NULL, "u", " p ", "Basic dTogcCA="},
        {NULL, "u", "p:q", "Basic dTpwOnE="},
        {NULL, "us", "p:q\r\n", "Basic dXM6cDpx"},
    };
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        const char *name = row->authorization != NULL ? row->authorization : "nothing";
        empty_dir();
        if (row->token != NULL)
            put("token", row->token);
        if (row->user != NULL)
            put("username", row->user);
        if (row->word != NULL)
            put("password", row->word);
        refresh(name);
        if (row->authorization == NULL)
            assert_null(credentials_authorization(credentials));
        else
            expect_text(name, row->authorization, credentials_authorization(credentials));
    }
}

static void files_for_tls_are_named(void **state)
{
    (void)state;
    put("ca.crt", "# a bundle\n" CERT CERT);
    refresh("CA");
    const struct httpc_tls *tls = credentials_tls(credentials);
    expect_file("CA", "ca.crt", tls->ca_file);
    assert_null(tls->cert_file);
    assert_null(tls->key_file);
    assert_string_equal(credentials_summary(credentials), "ca.crt");
    put("tls.crt", CERT);
    put("tls.key", "-----BEGIN EC PRIVATE KEY-----\nQQ==\n-----END EC PRIVATE KEY-----\n");
    put("username", "u");
    put("password", "p");
    refresh("all");
    expect_file("all", "tls.crt", tls->cert_file);
    expect_file("all", "tls.key", tls->key_file);
    assert_string_equal(credentials_summary(credentials), "username, ca.crt, tls.crt");
    empty_dir();
    refresh("none");
    assert_null(tls->ca_file);
    assert_null(tls->cert_file);
    assert_null(tls->key_file);
    assert_null(credentials_authorization(credentials));
    assert_string_equal(credentials_summary(credentials), "nothing");
}

static void a_file_whose_time_was_set_back_is_read_again(void **state)
{
    (void)state;
    struct stat before;
    put("token", "one");
    refresh("first");
    assert_int_equal(stat(path_of("token"), &before), 0);
    int fd = open(path_of("token"), O_WRONLY | O_CLOEXEC); /* in place, with the same size and time */
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(pwrite(fd, "two", 3, 0), 3);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    refresh("set back");
    assert_string_equal(credentials_authorization(credentials), "Bearer two");
}

/* Reading takes memory, looking does not. */
static void files_that_did_not_change_are_not_read(void **state)
{
    (void)state;
    struct err err = {0};
    put("token", "one");
    refresh("first");
    alloc_fail_arm(0, true);
    int rc = credentials_refresh(credentials, &err);
    (void)alloc_fail_disarm();
    assert_int_equal(rc, 0);
    assert_string_equal(credentials_authorization(credentials), "Bearer one");
}

/* Another spelling is another connection: one whenever the file changed, none for a token. */
static void paths_for_tls_are_spelled_anew_with_their_files(void **state)
{
    (void)state;
    enum { CHANGES = 150, KEPT_APART = 60 };
    char(*paths)[PATH_MAX] = calloc(CHANGES, PATH_MAX);
    const struct httpc_tls *tls = credentials_tls(credentials);
    assert_non_null(paths);
    put("tls.crt", CERT);
    put("tls.key", PRIVATE);
    for (unsigned i = 0; i < CHANGES; i++) {
        put(i % 3 == 0 ? "ca.crt" : i % 3 == 1 ? "tls.crt" : "tls.key", i % 3 == 2 ? PRIVATE : CERT);
        for (unsigned tries = 0; tries < 3; tries++) {
            put("token", tries % 2 == 0 ? "t0" : "t1");
            refresh("change");
            if (tries == 0)
                snprintf(paths[i], PATH_MAX, "%s", tls->ca_file);
            expect_text("token", paths[i], tls->ca_file);
        }
        for (unsigned j = i > KEPT_APART ? i - KEPT_APART : 0; j < i; j++) {
            if (strcmp(paths[i], paths[j]) == 0)
                fail_msg("change %u: path of change %u: %s", i, j, paths[i]);
        }
        expect_file("CA", "ca.crt", tls->ca_file);
        expect_file("certificate", "tls.crt", tls->cert_file);
        expect_file("key", "tls.key", tls->key_file);
    }
    free(paths);
}

static void swapped_secret_is_read_whole(void **state)
{
    (void)state;
    assert_int_equal(symlink("..data/username", path_of("username")), 0);
    assert_int_equal(symlink("..data/password", path_of("password")), 0);
    refresh("links that lead nowhere");
    assert_null(credentials_authorization(credentials));
    static const char *const expected[] = {"Basic dTE6cDE=", "Basic dTI6cDI=", "Basic dTM6cDM="};
    for (unsigned n = 1; n <= 3; n++) {
        char name[32], text[8];
        snprintf(name, sizeof(name), "..%u", n);
        assert_int_equal(mkdir(path_of(name), 0700), 0);
        snprintf(name, sizeof(name), "..%u/username", n);
        snprintf(text, sizeof(text), "u%u", n);
        put(name, text);
        snprintf(name, sizeof(name), "..%u/password", n);
        snprintf(text, sizeof(text), "p%u", n);
        put(name, text);
        snprintf(name, sizeof(name), "..%u", n);
        assert_int_equal(symlink(name, path_of("..tmp")), 0);
        assert_int_equal(rename(path_of("..tmp"), path_of("..data")), 0);
        refresh(name);
        expect_text(name, expected[n - 1], credentials_authorization(credentials));
    }
}

/* ---- what is wrong with them ---- */

static void bad_files_are_named(void **state)
{
    (void)state;
    static const struct row {
        const char *names[3], *texts[3];
        int rc;
        const char *words;
    } rows[] = {
        {{"token"}, {""}, -EINVAL, "/token: expected a token, got an empty file"},
        {{"token"}, {" \n"}, -EINVAL, "/token: expected a token, got an empty file"},
        {{"token"}, {"s3cret\r\nX-Evil: 1"}, -EINVAL, "/token: expected no control character, got one as byte 7"},
        {{"token"}, {"s3cret\x7f"}, -EINVAL, "/token: expected no control character"},
        {{"token"}, {"s3cret two"}, -EINVAL, "/token: expected printable ASCII without spaces"},
        {{"token"}, {"s3cret\xc3\xa4"}, -EINVAL, "/token: expected printable ASCII"},
        {{"username"}, {"u"}, -EINVAL, "/username: expected password beside it, which is missing"},
        {{"password"}, {"s3cret"}, -EINVAL, "/password: expected username beside it, which is missing"},
        {{"username", "password"}, {"", "s3cret"}, -EINVAL, "/username: expected a user name, got an empty file"},
        {{"username", "password"}, {"a:b", "s3cret"}, -EINVAL, "/username: expected a user name without ':'"},
        {{"username", "password"}, {"a\nb", "s3cret"}, -EINVAL, "/username: expected no control character"},
        {{"username", "password"}, {"u", "s3cret\n1"}, -EINVAL, "/password: expected no control character"},
        {{"token", "username"}, {"t", "u"}, -EINVAL, "expected either token or username and password, got both"},
        {{"token", "password"}, {"t", "s3cret"}, -EINVAL, "expected either token or username and password, got both"},
        {{"tls.crt"}, {CERT}, -EINVAL, "/tls.crt: expected tls.key beside it, which is missing"},
        {{"tls.key"}, {PRIVATE}, -EINVAL, "/tls.key: expected tls.crt beside it, which is missing"},
        {{"ca.crt"}, {""}, -EINVAL, "/ca.crt: expected PEM with a CERTIFICATE"},
        {{"ca.crt"}, {"hello"}, -EINVAL, "/ca.crt: expected PEM with a CERTIFICATE"},
        {{"ca.crt"}, {PRIVATE}, -EINVAL, "/ca.crt: expected PEM with a CERTIFICATE"},
        {{"tls.crt", "tls.key"}, {PRIVATE, CERT}, -EINVAL, "/tls.crt: expected PEM with a CERTIFICATE"},
        {{"tls.crt", "tls.key"}, {CERT, CERT}, -EINVAL, "/tls.key: expected PEM with a PRIVATE KEY"},
        {{"tls.crt", "tls.key"}, {CERT, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"}, -EINVAL,
         "/tls.key: expected a key that is not encrypted"},
        {{"tls.crt", "tls.key"}, {CERT, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"}, -EINVAL,
         "not encrypted"},
    };
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        empty_dir();
        put("token", "good");
        refresh(row->words);
        empty_dir();
        for (unsigned i = 0; i < 3 && row->names[i] != NULL; i++)
            put(row->names[i], row->texts[i]);
        struct err err = err_untouched;
        for (unsigned i = 0; i < 2; i++) /* said as often as it is asked for */
            expect_failure(row->words, row->rc, row->words, credentials_refresh(credentials, &err), &err);
        if (strstr(err.text, "s3cret") != NULL)
            fail_msg("%s: shows the secret", err.text);
        expect_text(row->words, "Bearer good", credentials_authorization(credentials)); /* as before */
        expect_text(row->words, "token", credentials_summary(credentials));
    }
}

static void ceilings_hold(void **state)
{
    (void)state;
    static const struct row {
        const char *name, *other, *text;
        size_t max;
    } rows[] = {
        {"token", NULL, "t", CREDENTIALS_TOKEN_MAX},        {"username", "password", "u", CREDENTIALS_WORD_MAX},
        {"password", "username", "p", CREDENTIALS_WORD_MAX}, {"ca.crt", NULL, CERT, CREDENTIALS_CA_MAX},
        {"tls.crt", "tls.key", CERT, CREDENTIALS_CERT_MAX},  {"tls.key", "tls.crt", PRIVATE, CREDENTIALS_KEY_MAX},
    };
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        char *bytes = malloc(row->max + 1);
        assert_non_null(bytes);
        memset(bytes, 'x', row->max + 1);
        memcpy(bytes, row->text, strlen(row->text));
        empty_dir();
        if (row->other != NULL)
            put(row->other, strcmp(row->other, "tls.crt") == 0 ? CERT : PRIVATE "");
        if (row->other != NULL && row->other[0] != 't')
            put(row->other, "word");
        put_n(row->name, bytes, row->max);
        refresh(row->name);
        put_n(row->name, bytes, row->max + 1);
        char words[64];
        snprintf(words, sizeof(words), "/%s: expected at most %zu bytes, got more", row->name, row->max);
        refresh_fails(row->name, -EFBIG, words);
        free(bytes);
    }
    assert_true(strlen("Bearer ") + CREDENTIALS_TOKEN_MAX <= HTTPC_AUTHORIZATION_MAX);
    assert_true(strlen("Basic ") + 4 * ((2 * CREDENTIALS_WORD_MAX + 3) / 3) <= HTTPC_AUTHORIZATION_MAX);
}

static void what_is_no_file_is_no_token(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path_of("token"), 0600), 0); /* must not wait for a writer */
    refresh_fails("fifo", -EINVAL, "/token: expected a regular file");
    empty_dir();
    assert_int_equal(mkdir(path_of("ca.crt"), 0700), 0);
    refresh_fails("directory", -EINVAL, "/ca.crt: expected a regular file");
    empty_dir();
    assert_int_equal(symlink("token", path_of("token")), 0);
    refresh_fails("loop", -ELOOP, "/token: ");
    empty_dir();
    refresh("nothing");
    if (geteuid() != 0) { /* who may read everything */
        put("token", "t");
        assert_int_equal(chmod(path_of("token"), 0), 0);
        refresh_fails("mode 0", -EACCES, "/token: Permission denied");
        assert_int_equal(chmod(path_of("token"), 0400), 0);
        refresh("mode 0400");
    }
}

static void the_directory_must_be_one(void **state)
{
    (void)state;
    struct credentials *other = NULL;
    struct err err = err_untouched;
    char *longest = calloc(1, PATH_MAX + 1);
    assert_non_null(longest);
    memset(longest, '/', PATH_MAX);
    put("token", "t");
    expect_failure("empty", -EINVAL, "expected a path", credentials_new("", &other, &err), &err);
    expect_failure("long", -EINVAL, "expected a path", credentials_new(longest, &other, &err), &err);
    assert_null(other);
    expect_contains("long", err.text, "1 to 3960 bytes");
    err = err_untouched;
    char at_limit[3960 + 1]; /* DIR/././… */
    size_t len = (size_t)snprintf(at_limit, sizeof(at_limit), "%s", dir);
    for (; len < sizeof(at_limit) - 1; len++)
        at_limit[len] = at_limit[len - 1] == '/' && len < sizeof(at_limit) - 2 ? '.' : '/';
    at_limit[len] = '\0';
    expect_success("at the limit", credentials_new(at_limit, &other, &err), &err);
    for (unsigned i = 0; i < 70; i++) { /* spellings of all lengths */
        put("ca.crt", CERT);
        expect_success("at the limit", credentials_refresh(other, &err), &err);
        expect_file("at the limit", "ca.crt", credentials_tls(other)->ca_file);
    }
    other = credentials_free(other);
    free(longest);
    assert_int_equal(credentials_new(path_of("token"), &other, NULL), 0);
    expect_failure("a file", -ENOTDIR, "/token/token: ", credentials_refresh(other, &err), &err);
    credentials_free(other);
}

/* ---- memory ---- */

static int read_all(void *ctx)
{
    struct credentials *fresh = NULL;
    struct err err = err_untouched;
    const char *authorization = ctx;
    int rc = credentials_new(dir, &fresh, &err);
    if (rc < 0)
        return rc;
    rc = credentials_refresh(fresh, &err);
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_null(credentials_authorization(fresh));
        assert_null(credentials_tls(fresh)->key_file);
        alloc_fail_pause();
        assert_int_equal(credentials_refresh(fresh, NULL), 0); /* no trace is left of it */
        alloc_fail_resume();
    }
    assert_string_equal(credentials_authorization(fresh), authorization);
    expect_file("key", "tls.key", credentials_tls(fresh)->key_file);
    credentials_free(fresh);
    return rc;
}

static void each_failed_allocation_is_told(void **state)
{
    (void)state;
    char basic[] = "Basic dTpw", bearer[] = "Bearer t";
    put("ca.crt", CERT);
    put("tls.crt", CERT);
    put("tls.key", PRIVATE);
    put("token", "t");
    alloc_fail_in_turn("token", read_all, bearer);
    assert_int_equal(remove(path_of("token")), 0);
    put("username", "u");
    put("password", "p");
    alloc_fail_in_turn("user", read_all, basic);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_there_and_then_something_is),
        TEST(authorization_is_made_of_token_or_user),
        TEST(files_for_tls_are_named),
        TEST(a_file_whose_time_was_set_back_is_read_again),
        TEST(files_that_did_not_change_are_not_read),
        TEST(paths_for_tls_are_spelled_anew_with_their_files),
        TEST(swapped_secret_is_read_whole),
        TEST(bad_files_are_named),
        TEST(ceilings_hold),
        TEST(what_is_no_file_is_no_token),
        TEST(the_directory_must_be_one),
        TEST(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
