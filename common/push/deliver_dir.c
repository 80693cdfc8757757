#include "common/push/deliver_dir.h"

#include "common/pprof/pprof_ids.h"
#include "common/push/profile_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_BYTES = 16 * 1024 };

struct deliver_dir {
    struct delivery base; /* first: delivery_free frees it */
    struct deliver_dir_options options;
    struct profile_dir *dir;
    struct outgoing *outgoing;
    struct pprof_check *check; /* of what is written; NULL = of none */
    struct pprof_ids ids;
    struct loop_timer timer; /* armed between pieces */
};

/* ---- the ids ---- */

static void end_check(struct deliver_dir *way)
{
    way->check = pprof_check_free(way->check);
    pprof_ids_done(&way->ids);
}

static void begin_check(struct deliver_dir *way)
{
    end_check(way);
    if (outgoing_kind(way->outgoing->item.meta.type) == PROFILE_TRACE)
        return;
    if (pprof_check_new(PPROF_RAW_MAX, &way->check) < 0)
        way->ids.unchecked = true;
    else
        pprof_check_ids(way->check, &way->ids);
}

static void feed_check(struct deliver_dir *way, const char *bytes, size_t len)
{
    if (way->check != NULL)
        pprof_check_feed(way->check, bytes, len);
}

/* What is no profile at all was let into the spool as it is, and has no ids. */
static bool has_right_ids(struct deliver_dir *way, char reason[static PPROF_REASON_MAX])
{
    struct pprof_summary summary = {.verdict = PPROF_MALFORMED};
    if (way->check != NULL)
        pprof_check_finish(way->check, &summary);
    return summary.verdict != PPROF_OK || pprof_ids_are_right(&way->ids, reason);
}

/* ---- one profile ---- */

/* Each try ends here. */
static void end_try(struct deliver_dir *way, const struct delivery_end *end)
{
    profile_dir_abort(way->dir);
    end_check(way);
    way->base.done(way->base.ctx, end);
}

static void finish(struct deliver_dir *way, enum delivery_result result, const char *words)
{
    struct delivery_end end;
    delivery_end_set(&end, result, words);
    end.unchecked = way->ids.unchecked;
    end_try(way, &end);
}

/* A file too big for its file system, or a name with too many files, is this profile's matter alone. */
static void fail_writing(struct deliver_dir *way, const struct err *err)
{
    enum delivery_result result = err->code == EFBIG    ? DELIVERY_TOO_LARGE
                                  : err->code == EEXIST ? DELIVERY_REFUSED
                                                        : DELIVERY_WRITE;
    finish(way, result, err->text);
}

static void fail_reading(struct deliver_dir *way, int code)
{
    struct delivery_end end;
    delivery_end_set_unread(&end, code);
    end_try(way, &end);
}

static void commit(struct deliver_dir *way)
{
    bool was_there = false;
    char reason[PPROF_REASON_MAX], words[PPROF_REASON_MAX + 32];
    struct err err;
    if (!has_right_ids(way, reason)) {
        snprintf(words, sizeof(words), "readers refuse it: %s", reason);
        finish(way, DELIVERY_REFUSED, words);
        return;
    }
    if (profile_dir_commit(way->dir, &was_there, &err) < 0)
        fail_writing(way, &err);
    else
        finish(way, was_there ? DELIVERY_FOUND : DELIVERY_STORED, "");
}

/* 1 = more is to come, 0 = it ended here, one way or the other. */
static int write_piece(struct deliver_dir *way)
{
    char bytes[PIECE_BYTES];
    struct err err;
    int64_t n = outgoing_read(way->outgoing, bytes, sizeof(bytes));
    if (n > 0 && profile_dir_write(way->dir, bytes, (size_t)n, &err) == 0) {
        feed_check(way, bytes, (size_t)n);
        return 1;
    }
    if (n > 0)
        fail_writing(way, &err);
    else if (n < 0)
        fail_reading(way, (int)n);
    else
        commit(way);
    return 0;
}

static int begin(struct deliver_dir *way)
{
    const struct spool_item *item = &way->outgoing->item;
    const struct profile_dir_entry entry = {
        .service = way->options.service, .type = item->meta.type, .pod = way->options.pod, .target = item->meta.target,
        .time_ms = item->meta.time_ms, .is_trace = outgoing_kind(item->meta.type) == PROFILE_TRACE};
    struct err err;
    if (profile_dir_begin(way->dir, &entry, &err) == 0) {
        begin_check(way);
        return 1;
    }
    fail_writing(way, &err);
    return 0;
}

static void write_on(void *ctx)
{
    struct deliver_dir *way = ctx;
    if (!profile_dir_is_begun(way->dir) && begin(way) == 0)
        return;
    for (unsigned written = 0; written < DELIVER_DIR_TURN_BYTES; written += PIECE_BYTES) {
        if (write_piece(way) == 0)
            return;
    }
    loop_timer_arm(&way->timer, 0);
}

static int dir_send(struct delivery *delivery, struct outgoing *outgoing, struct delivery_end *end)
{
    struct deliver_dir *way = (struct deliver_dir *)delivery;
    (void)end;
    way->outgoing = outgoing;
    loop_timer_arm(&way->timer, 0);
    return 0;
}

static void dir_cancel(struct delivery *delivery)
{
    struct deliver_dir *way = (struct deliver_dir *)delivery;
    loop_timer_disarm(&way->timer);
    profile_dir_abort(way->dir);
    end_check(way);
}

static void dir_release(struct delivery *delivery)
{
    struct deliver_dir *way = (struct deliver_dir *)delivery;
    way->dir = profile_dir_free(way->dir);
}

static const struct delivery_ops ops = {.send = dir_send, .cancel = dir_cancel, .release = dir_release};

int deliver_dir_new(struct loop *loop, const struct deliver_dir_options *options, struct delivery **ret,
                    struct err *err)
{
    CLEANUP_FREE struct deliver_dir *way = calloc(1, sizeof(*way));
    if (way == NULL)
        return err_set(err, ENOMEM, "no memory for an output directory");
    int rc = profile_dir_new(options->path, options->sharer, &way->dir, err);
    if (rc < 0)
        return rc;
    way->base = (struct delivery){.ops = &ops, .destination = options->path};
    way->options = *options;
    pprof_ids_init(&way->ids);
    loop_timer_init(&way->timer, loop, write_on, way);
    struct deliver_dir *taken = TAKE_PTR(way);
    *ret = &taken->base;
    return 0;
}
