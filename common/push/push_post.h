/* Profiles to a profefe over HTTP: posts one, or asks whether one is stored. One request at a time, on the loop.
 *
 * Each answer becomes a push_result (rule: profefe_judge). The question reads the list of the profile's second as it
 * streams by (profefe_list.h); a reply of more than PUSH_POST_LIST_MAX is given up: the profile is then sent once more,
 * which readers can tell (same service, type, pod, target and second), while one that is not sent is lost.
 */
#ifndef PROFEFE_PUSH_POST_H
#define PROFEFE_PUSH_POST_H

#include "common/profefe/profefe_list.h"
#include "common/push/push_body.h"

enum {
    PUSH_POST_REPLY_MAX = 64 * 1024, /* bytes: profefe repeats all labels, of which a byte may become \u00XX */
    PUSH_POST_LIST_MAX = 1024 * 1024, /* bytes: PROFEFE_LIST_MAX profiles of 1 KB */
};

struct push_post {
    struct httpc *httpc;
    const struct push_options *options;
    bool close_after;
    struct httpc_transfer *transfer; /* NULL = none under way */
    struct push_body *body;
    push_done *done;
    void *ctx;
    struct profefe_wanted wanted;
    struct profefe_list list;
};

/* All borrowed. `done` is called once for each send or ask that returned 0, never from inside it. */
void push_post_init(struct push_post *post, struct httpc *httpc, const struct push_options *options, push_done *done,
                    void *ctx);
void push_post_cancel(struct push_post *post);

/* Sends a body that is ready to be read. 0, or -Exxx when it cannot even begin; then *end tells how that counts. */
int push_post_send(struct push_post *post, struct push_body *body, struct push_end *end);

/* Asks whether the profile is stored. Ends as PUSH_FOUND; as PUSH_NETWORK when the collector cannot be reached, so that
 * it could not be sent either; else as PUSH_UNSURE: send it. */
int push_post_ask(struct push_post *post, struct push_body *body, struct push_end *end);

#endif
