/* Profiles into a directory (profile_dir.h), in pieces of DELIVER_DIR_TURN_BYTES, with turns of the loop between
 * them. On its way each is checked for ids that readers refuse (pprof_ids.h), since no collector does it here: such a
 * profile is DELIVERY_REFUSED in place of being written. */
#ifndef PROFEFE_DELIVER_DIR_H
#define PROFEFE_DELIVER_DIR_H

#include "common/base/err.h"
#include "common/base/marks.h"
#include "common/os/loop.h"
#include "common/push/delivery.h"

enum {
    DELIVER_DIR_TURN_BYTES = 64 * 1024, /* of a file written in one turn; labelled and checked: 5 to 30 ms of work */
};

/* All borrowed. */
struct deliver_dir_options {
    const char *path;
    const char *sharer; /* what to call another program at work there: "agent" */
    const char *service;
    const char *pod;
};

/* -EINVAL, -ENOMEM as profile_dir_new. */
MUST_CHECK int deliver_dir_new(struct loop *loop, const struct deliver_dir_options *options, struct delivery **ret,
                               struct err *err) NONNULL(1);

#endif
