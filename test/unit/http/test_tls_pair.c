#include "common/http/tls_pair.h"

#include "alloc_fail.h"
#include "peer_pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { HOUR_S = 3600 };

static struct peer_pem pem_one, pem_two;
static char folder[] = "/tmp/profefe-tls-pair-XXXXXX";

/* Made by `openssl pkcs8 -topk8 -v2 aes256` of a key that nobody uses. */
static const char encrypted_text[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi2QWM+yzmrGgICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEMl831wGvhTjNpbzOJuOMMwEgZA0\n"
    "PLoWO2+SJKK/k29c/RQQfCS9/PUz931xRLhYHW8Uj/zVvMzGKzF6ob1crLtKH66P\n"
    "EvuRq55aRBLYjvq9b9FP1hXYfyqD39KCPjU8GjWN6IMwoWO76KVFh6mwe4O5xtLm\n"
    "V/DM2ZtylAGcjMOZDiQMkIJyv0O9j1OZdUPC3X1NErT+gj+dSUX/RpqB5mrvbjc=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

static const struct span encrypted = {encrypted_text, sizeof(encrypted_text) - 1};
static const struct span empty = {"", 0};
static const struct span garbage = {"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n", 59};

static struct span cert_of(const struct peer_pem *pem)
{
    return (struct span){pem->cert, pem->cert_len};
}

static struct span key_of(const struct peer_pem *pem)
{
    return (struct span){pem->key, pem->key_len};
}

static int parse(struct span cert, struct span key, int64_t now_s, struct tls_pair **ret, struct err *err)
{
    return tls_pair_parse((struct tls_pair_pem){"CERT", cert}, (struct tls_pair_pem){"KEY", key}, now_s, ret, err);
}

static void good_pair_is_taken_and_shared(void **state)
{
    (void)state;
    struct tls_pair *pair = NULL;
    int64_t now_s = time(NULL);
    assert_int_equal(parse(cert_of(&pem_one), key_of(&pem_one), now_s, &pair, NULL), 0);
    assert_in_range(tls_pair_expiry_s(pair), now_s + HOUR_S / 2, now_s + HOUR_S);
    assert_int_equal(tls_pair_slow_rsa_bits(pair), 0);
    assert_ptr_equal(tls_pair_hold(pair), pair);
    tls_pair_free(pair);
    assert_non_null(tls_pair_credentials(pair));
    assert_null(tls_pair_free(pair));
    assert_null(tls_pair_hold(NULL));
    assert_null(tls_pair_free(NULL));
}

static void bad_pair_is_refused_in_words(void **state)
{
    (void)state;
    const struct row {
        struct span cert, key;
        int64_t later_s; /* than now */
        int rc;
        const char *said;
    } rows[] = {
        {cert_of(&pem_one), key_of(&pem_two), 0, -EINVAL, "KEY does not belong to the certificate in CERT"},
        {cert_of(&pem_one), key_of(&pem_one), 2 * HOUR_S, -EINVAL, "CERT expired "},
        {cert_of(&pem_one), key_of(&pem_one), -2 * HOUR_S, -EAGAIN, "CERT is not valid before "},
        {cert_of(&pem_one), encrypted, 0, -EINVAL, "KEY: expected a PEM private key: "},
        {empty, key_of(&pem_one), 0, -EINVAL, "CERT: expected PEM certificates: "},
        {garbage, key_of(&pem_one), 0, -EINVAL, "CERT: expected PEM certificates: "},
        {key_of(&pem_one), key_of(&pem_one), 0, -EINVAL, "CERT: expected PEM certificates: "},
        {cert_of(&pem_one), empty, 0, -EINVAL, "KEY: expected a PEM private key: "},
        {cert_of(&pem_one), cert_of(&pem_one), 0, -EINVAL, "KEY: expected a PEM private key: "},
    };
    for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
        struct tls_pair *pair = NULL;
        struct err err;
        int rc = parse(row->cert, row->key, time(NULL) + row->later_s, &pair, &err);
        if (rc != row->rc || strncmp(err.text, row->said, strlen(row->said)) != 0)
            fail_msg("expected %d and \"%s\", got %d and \"%s\"", row->rc, row->said, rc, err.text);
        assert_null(pair);
    }
}

static const char *path_of(const char *name)
{
    static char path[2][128];
    static unsigned turn;
    char *ret = path[++turn % 2];
    snprintf(ret, sizeof(path[0]), "%s/%s", folder, name);
    return ret;
}

static void write_file(const char *name, struct span bytes)
{
    FILE *file = fopen(path_of(name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

static int load(const char *cert, const char *key, enum secret_from from, struct err *err)
{
    CLEANUP_TLS_PAIR struct tls_pair *pair = NULL;
    int rc = tls_pair_load(path_of(cert), path_of(key), from, time(NULL), &pair, err);
    assert_true((rc == 0) == (pair != NULL));
    return rc;
}

static void files_are_read_within_bounds(void **state)
{
    (void)state;
    static char large[TLS_PAIR_FILE_MAX + 1];
    memset(large, '\n', sizeof(large));
    write_file("cert", cert_of(&pem_one));
    write_file("key", key_of(&pem_one));
    write_file("empty", empty);
    write_file("large", (struct span){large, sizeof(large)});
    memcpy(large, pem_one.cert, pem_one.cert_len);
    write_file("largest", (struct span){large, sizeof(large) - 1});
    assert_int_equal(mkdir(path_of("folder"), 0700), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    const struct row {
        const char *cert, *key;
        int from_file, from_any;
    } rows[] = {
        {"cert", "key", 0, 0},
        {"largest", "key", 0, 0},
        {"large", "key", -EFBIG, -EFBIG},
        {"cert", "large", -EFBIG, -EFBIG},
        {"empty", "key", -EINVAL, -EINVAL},
        {"cert", "empty", -EINVAL, -EINVAL},
        {"folder", "key", -EINVAL, -EISDIR},
        {"cert", "folder", -EINVAL, -EISDIR},
        {"cert", "nowhere", -ENOENT, -ENOENT},
        {"cert", "pipe", -EINVAL, -EINVAL}, /* without a writer it is empty */
    };
    for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
        struct err err = {.text = ""};
        int from_file = load(row->cert, row->key, SECRET_FROM_FILE, &err);
        int from_any = load(row->cert, row->key, SECRET_FROM_ANY, &err);
        if (from_file != row->from_file || from_any != row->from_any)
            fail_msg("%s and %s: expected %d and %d, got %d and %d (%s)", row->cert, row->key, row->from_file,
                     row->from_any, from_file, from_any, err.text);
    }
}

static int load_good(void *ctx)
{
    (void)ctx;
    return load("cert", "key", SECRET_FROM_FILE, NULL);
}

static void memory_may_be_short(void **state)
{
    (void)state;
    alloc_fail_in_turn_exactly(3, "a pair of files", load_good, NULL);
}

static int set_up(void **state)
{
    (void)state;
    peer_make_pem(&pem_one, 1);
    peer_make_pem(&pem_two, 2);
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"cert", "key", "empty", "large", "largest", "pipe"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(names[i]));
    rmdir(path_of("folder"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_pair_is_taken_and_shared),
        cmocka_unit_test(bad_pair_is_refused_in_words),
        cmocka_unit_test(files_are_read_within_bounds),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
