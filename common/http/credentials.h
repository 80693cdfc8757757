/* What the agent shows the collector, from a directory as Kubernetes mounts a Secret:
 *
 *   token                 bearer token, or
 *   username, password    basic authentication (RFC 7617)
 *   ca.crt                CA certificates for the collector's, in place of the system's
 *   tls.crt, tls.key      client certificate with its chain, and its key, not encrypted
 *
 * Each is optional, and so is the directory (the Secret is mounted `optional: true`): what is not there is not used,
 * and is used once it appears. The kubelet swaps all files at once through the symlink `..data`; files written in place
 * are noticed by their time and size just as well. Spaces and line ends around the token, and line ends after user name
 * and password, are not part of them.
 *
 * Nothing here is ever logged, and no text of an error holds a byte of a secret. Memory is wiped before it is freed.
 */
#ifndef PROFEFE_CREDENTIALS_H
#define PROFEFE_CREDENTIALS_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/http/httpc.h"

enum {
    CREDENTIALS_TOKEN_MAX = 7 * 1024,     /* bytes; most servers stop at header lines of 8 KiB */
    CREDENTIALS_WORD_MAX = 1024,          /* bytes of a user name or password */
    CREDENTIALS_CA_MAX = 512 * 1024,      /* Mozilla's whole bundle is 220 KB */
    CREDENTIALS_CERT_MAX = 64 * 1024,     /* a chain */
    CREDENTIALS_KEY_MAX = 32 * 1024,
    CREDENTIALS_SUMMARY_MAX = 64,
};

struct credentials;

/* Reads nothing yet. -ENOMEM, or -EINVAL for an empty or too long path. */
MUST_CHECK int credentials_new(const char *dir, struct credentials **ret, struct err *err);
struct credentials *credentials_free(struct credentials *credentials); /* wipes; NULL allowed; returns NULL */

static inline void cleanup_credentials(struct credentials **credentials)
{
    credentials_free(*credentials);
}

#define CLEANUP_CREDENTIALS CLEANUP(cleanup_credentials)

/* To be called before each try: six stat(2), and the files are read again only when they changed. 0, or -Exxx naming
 * the file and what was expected of it; then all getters give what they gave before, and the next call reads again.
 * Files swapped while they are read are read once more, so that no mixture of two Secrets is taken. */
MUST_CHECK int credentials_refresh(struct credentials *credentials, struct err *err) NONNULL(1);

/* For httpc_request.authorization: "Bearer …" or "Basic …"; NULL = neither. All borrowed until the next refresh. */
const char *credentials_authorization(const struct credentials *credentials);

/* For httpc_request.tls; never NULL. The TLS library reads the files itself when a connection is made. Their paths are
 * spelled anew whenever ca.crt, tls.crt or tls.key changed, so that no connection from before is used again. */
const struct httpc_tls *credentials_tls(const struct credentials *credentials);

/* What was found, for the log: "token, ca.crt", "username, tls.crt", "nothing". */
const char *credentials_summary(const struct credentials *credentials);

#endif
