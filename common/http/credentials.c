#include "common/http/credentials.h"

#include "common/base/base64.h"
#include "common/base/span.h"
#include "common/os/file_stamp.h"
#include "common/os/secret.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIES_MAX = 4,   /* a Secret is not swapped several times within a millisecond */
    SPELLINGS = 64,  /* of the paths for TLS; more than connections are kept, see httpc.h */
    SPELLING_MAX = 2 * (SPELLINGS - 1), /* bytes that one adds */
    NAME_MAX_LEN = sizeof("/username") - 1,
    DIR_MAX = PATH_MAX - 1 - NAME_MAX_LEN - SPELLING_MAX,
};

enum file { TOKEN, USERNAME, PASSWORD, CA, CERT, KEY, FILES, FIRST_FOR_TLS = CA };

static const struct file_rule {
    const char *name;
    size_t max;
} rules[FILES] = {
    [TOKEN] = {"token", CREDENTIALS_TOKEN_MAX},      [USERNAME] = {"username", CREDENTIALS_WORD_MAX},
    [PASSWORD] = {"password", CREDENTIALS_WORD_MAX}, [CA] = {"ca.crt", CREDENTIALS_CA_MAX},
    [CERT] = {"tls.crt", CREDENTIALS_CERT_MAX},      [KEY] = {"tls.key", CREDENTIALS_KEY_MAX},
};

struct stamps {
    struct file_stamp files[FILES];
};

struct contents {
    struct secret files[FILES];
};

struct credentials {
    char *dir;
    char *paths[FILES];
    char *tls_paths[FILES]; /* of the files for TLS: the same ones, in the spelling of the generation */
    unsigned generation;    /* of their content */
    struct stamps stamps;   /* of what was read last */
    struct secret authorization;
    struct httpc_tls tls;
    char summary[CREDENTIALS_SUMMARY_MAX];
};

/* ---- files ---- */

static void contents_done(struct contents *contents)
{
    for (unsigned i = 0; i < FILES; i++)
        secret_done(&contents->files[i]);
}

static struct stamps take_stamps(const struct credentials *credentials)
{
    struct stamps stamps;
    for (unsigned i = 0; i < FILES; i++)
        stamps.files[i] = file_stamp_of(credentials->paths[i]);
    return stamps;
}

static bool same_stamps(const struct stamps *a, const struct stamps *b, enum file first)
{
    for (enum file i = first; i < FILES; i++) {
        if (!file_stamp_equal(&a->files[i], &b->files[i]))
            return false;
    }
    return true;
}

/* Like no file's: the next look reads. */
static void forget_stamps(struct stamps *stamps)
{
    for (unsigned i = 0; i < FILES; i++)
        stamps->files[i] = FILE_STAMP_NONE;
}

/* A file that is not there is no failure and has no bytes. */
static int read_file(const char *path, size_t max, struct secret *secret, struct err *err)
{
    struct err why;
    int rc = secret_read(path, SECRET_FROM_FILE, max, secret, &why);
    return rc == 0 || rc == -ENOENT ? 0 : err_set(err, -rc, "%s", why.text);
}

static int read_files(const struct credentials *credentials, struct contents *contents, struct err *err)
{
    for (unsigned i = 0; i < FILES; i++) {
        int rc = read_file(credentials->paths[i], rules[i].max, &contents->files[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- what is in them ---- */

static bool is_there(const struct contents *contents, enum file file)
{
    return contents->files[file].bytes != NULL;
}

static struct span without_line_ends(const struct secret *secret)
{
    size_t len = secret->len;
    while (len > 0 && (secret->bytes[len - 1] == '\n' || secret->bytes[len - 1] == '\r'))
        len--;
    return (struct span){secret->bytes, len};
}

static int expect_both(const struct credentials *credentials, const struct contents *contents, enum file one,
                       enum file other, struct err *err)
{
    if (is_there(contents, one) == is_there(contents, other))
        return 0;
    enum file missing = is_there(contents, one) ? other : one;
    enum file there = missing == one ? other : one;
    return err_set(err, EINVAL, "%s: expected %s beside it, which is missing", credentials->paths[there],
                   rules[missing].name);
}

static int check_together(const struct credentials *credentials, const struct contents *contents, struct err *err)
{
    if (is_there(contents, TOKEN) && (is_there(contents, USERNAME) || is_there(contents, PASSWORD)))
        return err_set(err, EINVAL, "%s: expected either token or username and password, got both", credentials->dir);
    int rc = expect_both(credentials, contents, USERNAME, PASSWORD, err);
    return rc == 0 ? expect_both(credentials, contents, CERT, KEY, err) : rc;
}

/* In a header: a control character could begin another one. The value itself is not shown. */
static int check_characters(const char *path, struct span text, bool spaces, struct err *err)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < ' ' || c == 0x7f)
            return err_set(err, EINVAL, "%s: expected no control character, got one as byte %zu", path, i + 1);
        if (!spaces && (c == ' ' || c > 0x7f))
            return err_set(err, EINVAL, "%s: expected printable ASCII without spaces, got another byte at %zu", path,
                           i + 1);
    }
    return 0;
}

/* The TLS library has the last word; this is for what people put there by mistake. */
static int check_pem(const char *path, const struct secret *secret, const char *kind, struct err *err)
{
    if (memmem(secret->bytes, secret->len, "-----BEGIN ", 11) == NULL ||
        memmem(secret->bytes, secret->len, kind, strlen(kind)) == NULL)
        return err_set(err, EINVAL, "%s: expected PEM with a %s", path, kind);
    return 0;
}

static int check_key(const char *path, const struct secret *key, struct err *err)
{
    if (memmem(key->bytes, key->len, "ENCRYPTED", 9) != NULL)
        return err_set(err, EINVAL, "%s: expected a key that is not encrypted, got an encrypted one", path);
    return check_pem(path, key, "PRIVATE KEY-----", err);
}

static int check_pems(const struct credentials *credentials, const struct contents *contents, struct err *err)
{
    int rc = 0;
    if (is_there(contents, CA))
        rc = check_pem(credentials->paths[CA], &contents->files[CA], "CERTIFICATE-----", err);
    if (rc == 0 && is_there(contents, CERT))
        rc = check_pem(credentials->paths[CERT], &contents->files[CERT], "CERTIFICATE-----", err);
    if (rc == 0 && is_there(contents, KEY))
        rc = check_key(credentials->paths[KEY], &contents->files[KEY], err);
    return rc;
}

/* ---- the Authorization header ---- */

static int make_bearer(const struct credentials *credentials, const struct contents *contents, struct secret *ret,
                       struct err *err)
{
    const char *path = credentials->paths[TOKEN];
    struct span token = span_trim((struct span){contents->files[TOKEN].bytes, contents->files[TOKEN].len});
    if (token.len == 0)
        return err_set(err, EINVAL, "%s: expected a token, got an empty file", path);
    int rc = check_characters(path, token, /* spaces= */ false, err);
    if (rc < 0)
        return rc;
    if (secret_new(sizeof("Bearer ") + token.len, ret) < 0)
        return err_set(err, ENOMEM, "%s: no memory for the token", path);
    memcpy(ret->bytes, "Bearer ", 7);
    memcpy(ret->bytes + 7, token.ptr, token.len);
    ret->bytes[7 + token.len] = '\0';
    return 0;
}

static int check_user(const char *path, struct span user, struct err *err)
{
    if (user.len == 0)
        return err_set(err, EINVAL, "%s: expected a user name, got an empty file", path);
    if (memchr(user.ptr, ':', user.len) != NULL)
        return err_set(err, EINVAL, "%s: expected a user name without ':', which ends it (RFC 7617)", path);
    return check_characters(path, user, /* spaces= */ true, err);
}

static int encode_basic(struct span user, struct span word, struct secret *ret)
{
    CLEANUP(secret_done) struct secret pair = {0};
    size_t len = user.len + 1 + word.len;
    if (secret_new(len, &pair) < 0 || secret_new(sizeof("Basic ") + base64_size(len), ret) < 0)
        return -ENOMEM;
    memcpy(pair.bytes, user.ptr, user.len);
    pair.bytes[user.len] = ':';
    memcpy(pair.bytes + user.len + 1, word.ptr, word.len);
    memcpy(ret->bytes, "Basic ", 6);
    *base64_encode(pair.bytes, len, ret->bytes + 6) = '\0';
    return 0;
}

static int make_basic(const struct credentials *credentials, const struct contents *contents, struct secret *ret,
                      struct err *err)
{
    struct span user = without_line_ends(&contents->files[USERNAME]);
    struct span word = without_line_ends(&contents->files[PASSWORD]);
    int rc = check_user(credentials->paths[USERNAME], user, err);
    if (rc == 0)
        rc = check_characters(credentials->paths[PASSWORD], word, /* spaces= */ true, err);
    if (rc < 0)
        return rc;
    if (encode_basic(user, word, ret) < 0)
        return err_set(err, ENOMEM, "%s: no memory for the password", credentials->paths[PASSWORD]);
    return 0;
}

static int make_authorization(const struct credentials *credentials, const struct contents *contents,
                              struct secret *ret, struct err *err)
{
    if (is_there(contents, TOKEN))
        return make_bearer(credentials, contents, ret, err);
    if (is_there(contents, USERNAME))
        return make_basic(credentials, contents, ret, err);
    return 0;
}

/* ---- taking what was read ---- */

static size_t tls_path_size(const char *dir)
{
    return strlen(dir) + SPELLING_MAX + NAME_MAX_LEN + 1;
}

/* "DIR/./././ca.crt": the client of HTTP takes it for another file, and makes a new connection. */
static void spell_tls_paths(struct credentials *credentials)
{
    char dots[SPELLING_MAX + 1] = "";
    credentials->generation++;
    for (unsigned n = 0; n < credentials->generation % SPELLINGS; n++)
        memcpy(dots + 2 * n, "/.", 3);
    for (enum file i = FIRST_FOR_TLS; i < FILES; i++)
        snprintf(credentials->tls_paths[i], tls_path_size(credentials->dir), "%s%s/%s", credentials->dir, dots,
                 rules[i].name);
}

static const char *tls_path_if(const struct credentials *credentials, const struct contents *contents, enum file file)
{
    return is_there(contents, file) ? credentials->tls_paths[file] : NULL;
}

static void summarize(struct credentials *credentials, const struct contents *contents)
{
    size_t len = 0;
    for (enum file i = 0; i < FILES; i++) {
        if (is_there(contents, i) && i != PASSWORD && i != KEY)
            len += (size_t)snprintf(credentials->summary + len, sizeof(credentials->summary) - len, "%s%s",
                                    len > 0 ? ", " : "", rules[i].name);
    }
    if (len == 0)
        snprintf(credentials->summary, sizeof(credentials->summary), "nothing");
}

static int take(struct credentials *credentials, const struct contents *contents, const struct stamps *stamps,
                struct err *err)
{
    CLEANUP(secret_done) struct secret authorization = {0};
    int rc = check_together(credentials, contents, err);
    if (rc == 0)
        rc = check_pems(credentials, contents, err);
    if (rc == 0)
        rc = make_authorization(credentials, contents, &authorization, err);
    if (rc < 0)
        return rc;
    secret_done(&credentials->authorization);
    credentials->authorization = authorization;
    authorization = (struct secret){0};
    if (!same_stamps(stamps, &credentials->stamps, FIRST_FOR_TLS))
        spell_tls_paths(credentials);
    credentials->tls = (struct httpc_tls){
        .ca_file = tls_path_if(credentials, contents, CA),
        .cert_file = tls_path_if(credentials, contents, CERT),
        .key_file = tls_path_if(credentials, contents, KEY),
    };
    credentials->stamps = *stamps;
    summarize(credentials, contents);
    return 0;
}

/* -EAGAIN when the files were swapped meanwhile, whatever was found in them. */
static int read_once(struct credentials *credentials, const struct stamps *before, struct err *err)
{
    CLEANUP(contents_done) struct contents contents = {0};
    int rc = read_files(credentials, &contents, err);
    struct stamps after = take_stamps(credentials);
    if (!same_stamps(before, &after, 0))
        return err_set(err, EAGAIN, "%s: the files change while they are read", credentials->dir);
    return rc == 0 ? take(credentials, &contents, before, err) : rc;
}

int credentials_refresh(struct credentials *credentials, struct err *err)
{
    int rc = 0;
    for (unsigned try = 0; try < TRIES_MAX; try++) {
        struct stamps stamps = take_stamps(credentials);
        if (same_stamps(&stamps, &credentials->stamps, 0))
            return 0;
        rc = read_once(credentials, &stamps, err);
        if (rc != -EAGAIN)
            break;
    }
    if (rc < 0)
        forget_stamps(&credentials->stamps);
    return rc;
}

/* ---- life ---- */

static char *join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + 1 + strlen(name) + 1;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", dir, name);
    return path;
}

static int set_up_paths(struct credentials *credentials, const char *dir)
{
    credentials->dir = strdup(dir);
    if (credentials->dir == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < FILES; i++) {
        credentials->paths[i] = join(dir, rules[i].name);
        if (i >= FIRST_FOR_TLS)
            credentials->tls_paths[i] = malloc(tls_path_size(dir));
        if (credentials->paths[i] == NULL || (i >= FIRST_FOR_TLS && credentials->tls_paths[i] == NULL))
            return -ENOMEM;
    }
    return 0;
}

int credentials_new(const char *dir, struct credentials **ret, struct err *err)
{
    if (dir[0] == '\0' || strlen(dir) > DIR_MAX)
        return err_set(err, EINVAL, "directory of credentials: expected a path of 1 to %d bytes, got %zu", DIR_MAX,
                       strlen(dir));
    CLEANUP_CREDENTIALS struct credentials *credentials = calloc(1, sizeof(*credentials));
    if (credentials == NULL || set_up_paths(credentials, dir) < 0)
        return err_set(err, ENOMEM, "no memory for credentials");
    forget_stamps(&credentials->stamps);
    snprintf(credentials->summary, sizeof(credentials->summary), "nothing");
    *ret = TAKE_PTR(credentials);
    return 0;
}

struct credentials *credentials_free(struct credentials *credentials)
{
    if (credentials == NULL)
        return NULL;
    secret_done(&credentials->authorization);
    for (unsigned i = 0; i < FILES; i++) {
        free(credentials->paths[i]);
        free(credentials->tls_paths[i]);
    }
    free(credentials->dir);
    free(credentials);
    return NULL;
}

const char *credentials_authorization(const struct credentials *credentials)
{
    return credentials->authorization.bytes;
}

const struct httpc_tls *credentials_tls(const struct credentials *credentials)
{
    return &credentials->tls;
}

const char *credentials_summary(const struct credentials *credentials)
{
    return credentials->summary;
}
