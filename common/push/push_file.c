#include "common/push/push_file.h"

#include <stdio.h>

enum { PIECE_BYTES = 16 * 1024 };

static void finish(struct push_file *file, enum push_result result, const char *words)
{
    struct push_end end;
    outdir_abort(file->outdir);
    push_end_set(&end, result, words);
    file->done(file->ctx, &end);
}

/* A file too big for its file system, or a name with too many files, is this profile's matter alone. */
static void fail_writing(struct push_file *file, const struct err *err)
{
    enum push_result result = err->code == EFBIG ? PUSH_TOO_LARGE : err->code == EEXIST ? PUSH_REFUSED : PUSH_WRITE;
    finish(file, result, err->text);
}

static void fail_reading(struct push_file *file, int code)
{
    struct push_end end;
    outdir_abort(file->outdir);
    push_end_set_unread(&end, code);
    file->done(file->ctx, &end);
}

static void commit(struct push_file *file)
{
    bool was_there = false;
    struct err err;
    if (outdir_commit(file->outdir, &was_there, &err) < 0)
        fail_writing(file, &err);
    else
        finish(file, was_there ? PUSH_FOUND : PUSH_STORED, "");
}

/* 1 = more is to come, 0 = it ended here, one way or the other. */
static int write_piece(struct push_file *file)
{
    char bytes[PIECE_BYTES];
    struct err err;
    int64_t n = push_body_read(file->body, bytes, sizeof(bytes));
    if (n > 0 && outdir_write(file->outdir, bytes, (size_t)n, &err) == 0)
        return 1;
    if (n > 0)
        fail_writing(file, &err);
    else if (n < 0)
        fail_reading(file, (int)n);
    else
        commit(file);
    return 0;
}

static int begin(struct push_file *file)
{
    const struct push_options *options = file->options;
    const struct spool_item *item = &file->body->item;
    const struct outdir_entry entry = {
        .service = options->service, .type = item->meta.type, .pod = options->instance_id, .target = item->meta.target,
        .time_ms = item->meta.time_ms, .is_trace = push_body_kind(item->meta.type) == PROFILE_TRACE};
    struct err err;
    if (outdir_begin(file->outdir, &entry, &err) == 0)
        return 1;
    fail_writing(file, &err);
    return 0;
}

static void write_on(void *ctx)
{
    struct push_file *file = ctx;
    if (!outdir_is_begun(file->outdir) && begin(file) == 0)
        return;
    for (unsigned written = 0; written < PUSH_WRITE_BYTES; written += PIECE_BYTES) {
        if (write_piece(file) == 0)
            return;
    }
    loop_timer_arm(&file->timer, 0);
}

int push_file_init(struct push_file *file, struct loop *loop, const struct push_options *options, push_done *done, void *ctx,
                   struct err *err)
{
    *file = (struct push_file){.options = options, .done = done, .ctx = ctx};
    loop_timer_init(&file->timer, loop, write_on, file);
    return outdir_new(options->output_dir, options->program->noun, &file->outdir, err);
}

void push_file_done(struct push_file *file)
{
    if (file->timer.loop != NULL)
        loop_timer_disarm(&file->timer);
    file->outdir = outdir_free(file->outdir);
}

void push_file_start(struct push_file *file, struct push_body *body)
{
    file->body = body;
    loop_timer_arm(&file->timer, 0);
}
