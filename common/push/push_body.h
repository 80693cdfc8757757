/* The bytes of one spooled profile as they are delivered: with its labels in the samples, or as it came.
 *
 *   push_body_open ──▶ push_body_scan, again and again ──▶ push_body_read ──▶ push_body_close
 *
 * A trace is no pprof, and goes as it came whatever the options; so does what cannot be labelled (relabel.h), which the
 * scan tells by its result. Nothing here waits.
 */
#ifndef PROFEFE_PUSH_BODY_H
#define PROFEFE_PUSH_BODY_H

#include "common/push/push.h"
#include "common/values/profile_types.h"

struct push_body {
    struct spool *spool;
    const struct push_options *options;
    struct spool_item item;
    uint64_t offset;         /* of item, handed out; unlabelled bodies only */
    struct relabel *relabel; /* NULL = as it came */
    struct labels labels;    /* for the samples: options->labels and the item's own */
    char source_url[TARGET_URL_MAX + SPOOL_TYPE_MAX + 2];
    struct label own[2];     /* the item's own labels on profefe: target, profile_type */
    unsigned own_count;
};

/* How a try ended; what both ways of delivery (push_post.h, push_file.h) say to their `done`. */
struct push_end {
    enum push_result result;
    bool refused_connection; /* PUSH_NETWORK: nobody listens there */
    bool broke_inside;       /* PUSH_NETWORK: the connection broke after some of the body */
    int64_t retry_after_ms;  /* -1 = the server did not say */
    char words[ERR_TEXT_MAX];
};
typedef void push_done(void *ctx, const struct push_end *end);

void push_end_set(struct push_end *end, enum push_result result, const char *words);
void push_end_set_unread(struct push_end *end, int code); /* push_body_read or _scan gave this -Exxx */

/* What a type of the settings is: "cpu", "other/wall". */
enum profile_kind push_body_kind(const char *type);

/* spool and options are borrowed until the body is closed, by its address: no copies. */
void push_body_open(struct push_body *body, struct spool *spool, const struct push_options *options,
                    const struct spool_item *item);
void push_body_close(struct push_body *body); /* may be called again */

/* Makes it ready to be read, also once more from its beginning. *ret_unlabelled: RELABEL_DONE, or why labels that were
 * asked for are left out. */
void push_body_start(struct push_body *body, enum relabel_result *ret_unlabelled);

/* Reads about max_bytes of it ahead. 1 = go on, 0 = ready, *ret_unlabelled as above; -Exxx of spool_read. */
int push_body_scan(struct push_body *body, size_t max_bytes, enum relabel_result *ret_unlabelled);

/* The next bytes, once ready: a source for httpc; ctx is the body. 0 at the end, or -Exxx. */
int64_t push_body_read(void *ctx, char *bytes, size_t len);

/* -1 = not known before it is read. */
int64_t push_body_size(const struct push_body *body);

#endif
