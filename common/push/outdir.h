/* A directory as a collector: each profile becomes one file.
 *
 *   DIR/SERVICE/TYPE[-NAME]/YYYYMMDDTHHMMSSZ-POD[-TARGET].pb.gz      (.trace for traces)
 *
 * TYPE-NAME is other/NAME. Each part is percent-escaped: letters, digits, '-', '.', '_' and '~' stay, but for a dot at
 * the beginning; "" is "_". A part over its ceiling is cut and ends in '~' and a hash of all of it, so that two long
 * names stay two. The time is UTC.
 *
 * Whole or not at all: bytes go to DIR/.partial-RANDOM, are synced, and get their name when they are complete. Nothing is
 * overwritten: where the name is taken by other bytes it gets -2, -3 … before its ending; where it is taken by the same
 * bytes (the agent was killed between this and forgetting the profile) that file is it. What a killed agent left as
 * .partial-RANDOM is deleted at the next begin of any agent on DIR; flock tells it from a file that is being written, so
 * several may share DIR.
 *
 * DIR is made when missing, and opened anew for each profile, so that it may be unmounted, deleted and come back.
 * DIR itself may be reached through symbolic links, what is below it may not (-ELOOP, -ENOTDIR). Files and directories
 * get the modes the umask leaves, since others are meant to read them. Calls block for as long as the disk takes: the
 * caller writes in pieces. For one profile at a time.
 */
#ifndef PROFEFE_OUTDIR_H
#define PROFEFE_OUTDIR_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OUTDIR_DIRECTORY_MAX = 200, /* bytes of an escaped directory name; names end at 255 */
    OUTDIR_POD_MAX = 140,       /* of the parts of a file name: time, pod, target, copy and ending make 250 at most */
    OUTDIR_TARGET_MAX = 80,
    OUTDIR_COPIES_MAX = 99,     /* files of one name; ours never makes two of one second, a clock set back may */
    OUTDIR_NAME_MAX = 255,
};

struct outdir_entry {
    const char *service;
    const char *type;   /* "cpu", "other/wall" */
    const char *pod;
    const char *target; /* "" = none */
    int64_t time_ms;    /* Unix time */
    bool is_trace;
};

/* The two directories and the file of an entry, relative to DIR, without a copy's number. Pure. */
struct outdir_names {
    char service[OUTDIR_NAME_MAX + 1];
    char type[OUTDIR_NAME_MAX + 1];
    char stem[OUTDIR_NAME_MAX + 1]; /* of the file */
    const char *ending;             /* ".pb.gz" */
};
void outdir_name(const struct outdir_entry *entry, struct outdir_names *ret);

struct outdir;

/* Touches nothing yet. sharer: what to call another program at work there, "agent"; borrowed. -EINVAL for an empty or too
 * long path, -ENOMEM. */
int outdir_new(const char *path, const char *sharer, struct outdir **ret, struct err *err);
struct outdir *outdir_free(struct outdir *outdir); /* aborts; NULL allowed; returns NULL */

/* Each fails with -Exxx and words that name the path; the profile is then aborted, and begins anew with outdir_begin. */
int outdir_begin(struct outdir *outdir, const struct outdir_entry *entry, struct err *err);
int outdir_write(struct outdir *outdir, const void *bytes, size_t len, struct err *err);
/* *ret_was_there: the same bytes had that name already. -EEXIST: OUTDIR_COPIES_MAX others have it. */
int outdir_commit(struct outdir *outdir, bool *ret_was_there, struct err *err);
void outdir_abort(struct outdir *outdir); /* no-op when nothing is begun */
bool outdir_is_begun(const struct outdir *outdir);

#endif
