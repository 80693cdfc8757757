/* Bodies that may be gzipped: a reader that inflates through the caller's buffers, and a writer.
 *
 * Reader: a body whose first byte is 0x1F is gzip (no profile.proto starts so: its wire type would be 7), all else
 * is passed through. Several gzip members (RFC 1952 §2.2) read as one stream; anything but a member after a
 * member is an error, as in Go's compress/gzip. Memory: zlib's state, 7 KB and a window of 32 KB. What comes out is
 * counted against raw_max, so a gzip bomb ends there.
 *
 * Writer: one gzip member at level 1 with an 8 KB window (windowBits 13, memLevel 7): about 100 KB of memory. The
 * 32 KB window would take twice that for 5 % less CPU at best, level 3 40 % more CPU for 12 % fewer bytes.
 *
 * All memory is taken at _init. (zlib asks for the reader's window late, when it first needs it: it gets one set
 * aside here. Only a zlib that wants more than 32 KB then, zlib-ng perhaps, goes to malloc under way.)
 */
#ifndef PROFEFE_GZ_H
#define PROFEFE_GZ_H

#include "common/base/marks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

struct gz_bytes {
    const uint8_t *ptr;
    size_t len;
};

enum gz_state {
    GZ_START,   /* no byte seen */
    GZ_RAW,     /* not gzip: passed through */
    GZ_MEMBER,  /* inside a gzip member */
    GZ_BETWEEN, /* after a whole member: the stream may end here */
};

enum {
    GZ_WINDOW = 32 * 1024, /* deflate's longest distance (RFC 1951 §2) */
};

/* Not to be moved after _init: zlib holds its address. */
struct gz_reader {
    z_stream zlib;
    void *window; /* GZ_WINDOW bytes for zlib */
    bool lent;    /* zlib has it */
    enum gz_state state;
    uint64_t raw_bytes; /* given out so far */
    uint64_t raw_max;
};

/* 0 or -ENOMEM, holding nothing. */
int gz_reader_init(struct gz_reader *reader, uint64_t raw_max);
void gz_reader_done(struct gz_reader *reader); /* also after a failed _init, of zeroed memory, and twice */

/* Leaves the check sums unchecked from now on: for the second reading of a body that passed the first. */
void gz_reader_skip_checks(struct gz_reader *reader);

/* Moves bytes from *in (advanced by what was used) to out; *ret_written says how many. Call again while it filled
 * the room or *in holds bytes. 0, or: -EBADMSG not gzip after all, check sum, garbage after the last member
 * (gz_reader_words says which); -EFBIG more than raw_max came out; -ENOMEM (see above). *ret_written is set in
 * every case. */
MUST_CHECK int gz_reader_step(struct gz_reader *reader, struct gz_bytes *in, uint8_t *out, size_t room,
                              size_t *ret_written) NONNULL(1);

/* True when the body so far ends inside a gzip member. */
bool gz_reader_is_inside(const struct gz_reader *reader);

/* Why the last step gave -EBADMSG, in zlib's words or ours. */
const char *gz_reader_words(const struct gz_reader *reader);

struct gz_writer {
    z_stream zlib;
    bool finished;
};

/* 0 or -ENOMEM, holding nothing. */
int gz_writer_init(struct gz_writer *writer);
void gz_writer_done(struct gz_writer *writer); /* also after a failed _init, of zeroed memory, and twice */

/* Compresses from *in (advanced) to out; returns the bytes written. With `last` the stream is ended once *in is used
 * up; writer->finished says when the whole of it is out. Without `last` and with *in empty nothing may come out. */
size_t gz_writer_step(struct gz_writer *writer, struct gz_bytes *in, bool last, uint8_t *out, size_t room);

#endif
