/* A directory as a collector: each profile becomes one file.
 *
 *   DIR/SERVICE/TYPE[-NAME]/YYYYMMDDTHHMMSSZ-POD[-TARGET].pb.gz      (.trace for traces)
 *
 * TYPE-NAME is other/NAME. Each part is percent-escaped: letters, digits, '-', '.', '_' and '~' stay, but for a dot at
 * the beginning; "" is "_". A part over its ceiling is cut and ends in '~' and a hash of all of it, so that two long
 * names stay two. The time is UTC.
 *
 * Whole or not at all: bytes go to DIR/.partial-RANDOM, are synced, and get their name when they are complete. Nothing
 * is overwritten: where the name is taken by other bytes it gets -2, -3 … before its ending; where it is taken by the
 * same bytes (the agent was killed between this and forgetting the profile) that file is it. What a killed agent left
 * as .partial-RANDOM is deleted at the next begin of any agent on DIR; flock tells it from a file that is being
 * written, so several may share DIR.
 *
 * DIR is made when missing, and opened anew for each profile, so that it may be unmounted, deleted and come back.
 * DIR itself may be reached through symbolic links, what is below it may not (-ELOOP, -ENOTDIR). Files and directories
 * get the modes the umask leaves, since others are meant to read them. Calls block for as long as the disk takes: the
 * caller writes in pieces. For one profile at a time.
 */
#ifndef PROFEFE_PROFILE_DIR_H
#define PROFEFE_PROFILE_DIR_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROFILE_DIR_DIRECTORY_MAX = 200, /* bytes of an escaped directory name; names end at 255 */
    PROFILE_DIR_POD_MAX = 140, /* of the parts of a file name: time, pod, target, copy and ending make 250 at most */
    PROFILE_DIR_TARGET_MAX = 80,
    PROFILE_DIR_COPIES_MAX = 99, /* files of one name; ours never makes two of one second, a clock set back may */
    PROFILE_DIR_NAME_MAX = 255,
};

struct profile_dir_entry {
    const char *service;
    const char *type;   /* "cpu", "other/wall" */
    const char *pod;
    const char *target; /* "" = none */
    int64_t time_ms;    /* Unix time */
    bool is_trace;
};

/* The two directories and the file of an entry, relative to DIR, without a copy's number. Pure. */
struct profile_dir_names {
    char service[PROFILE_DIR_NAME_MAX + 1];
    char type[PROFILE_DIR_NAME_MAX + 1];
    char stem[PROFILE_DIR_NAME_MAX + 1]; /* of the file */
    const char *ending;             /* ".pb.gz" */
};
void profile_dir_name(const struct profile_dir_entry *entry, struct profile_dir_names *ret);

struct profile_dir;

/* Touches nothing yet. sharer: what to call another program at work there, "agent"; borrowed. -EINVAL for an empty or
 * too long path, -ENOMEM. */
MUST_CHECK int profile_dir_new(const char *path, const char *sharer, struct profile_dir **ret, struct err *err);
struct profile_dir *profile_dir_free(struct profile_dir *dir); /* aborts; NULL allowed; returns NULL */

/* Each fails with -Exxx and words that name the path; the profile is then aborted, and begins anew with
 * profile_dir_begin. */
MUST_CHECK int profile_dir_begin(struct profile_dir *dir, const struct profile_dir_entry *entry, struct err *err)
    NONNULL(1);
MUST_CHECK int profile_dir_write(struct profile_dir *dir, const void *bytes, size_t len, struct err *err) NONNULL(1);
/* *ret_was_there: the same bytes had that name already. -EEXIST: PROFILE_DIR_COPIES_MAX others have it. */
MUST_CHECK int profile_dir_commit(struct profile_dir *dir, bool *ret_was_there, struct err *err) NONNULL(1);
void profile_dir_abort(struct profile_dir *dir); /* no-op when nothing is begun */
bool profile_dir_is_begun(const struct profile_dir *dir);

#endif
