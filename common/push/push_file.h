/* Profiles into a directory (outdir.h), in pieces of PUSH_WRITE_BYTES, with turns of the loop between them. */
#ifndef PROFEFE_PUSH_FILE_H
#define PROFEFE_PUSH_FILE_H

#include "common/push/outdir.h"
#include "common/push/push_body.h"

struct push_file {
    const struct push_options *options;
    struct outdir *outdir;
    struct push_body *body;
    struct loop_timer timer; /* armed between pieces */
    push_done *done;
    void *ctx;
};

/* options->output_dir is the directory; all borrowed. -EINVAL, -ENOMEM as outdir_new. `done` is called once for each
 * start, never from inside it. */
int push_file_init(struct push_file *file, struct loop *loop, const struct push_options *options, push_done *done, void *ctx,
                   struct err *err);
void push_file_done(struct push_file *file);

/* Writes a body that is ready to be read. */
void push_file_start(struct push_file *file, struct push_body *body);

#endif
