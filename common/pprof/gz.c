#include "common/pprof/gz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_WINDOW_BITS = 15 + 16,  /* any gzip; 16 = gzip wrapper only */
    WRITE_WINDOW_BITS = 13 + 16,
    WRITE_MEM_LEVEL = 7,
    WRITE_LEVEL = 1,
    GZIP_FIRST_BYTE = 0x1F,      /* RFC 1952 §2.3.1, ID1 */
    STEP_MAX = 1 << 30,          /* zlib counts in unsigned int */
};

/* Our own, so that zlib's memory goes the same way as all other memory of ours. ctx is the reader, NULL for
 * a writer. */
static void *zlib_alloc(void *ctx, unsigned items, unsigned size)
{
    struct gz_reader *reader = ctx;
    if (reader != NULL && reader->window != NULL && !reader->lent && (uint64_t)items * size <= GZ_WINDOW) {
        reader->lent = true;
        return reader->window;
    }
    /* zlib does not count on zeros, and pages that it never writes stay unmapped. */
    return malloc((size_t)items * size);
}

static void zlib_free(void *ctx, void *p)
{
    struct gz_reader *reader = ctx;
    if (reader != NULL && p == reader->window)
        reader->lent = false;
    else
        free(p);
}

static void set_allocator(z_stream *zlib, struct gz_reader *reader)
{
    memset(zlib, 0, sizeof(*zlib));
    zlib->zalloc = zlib_alloc;
    zlib->zfree = zlib_free;
    zlib->opaque = reader;
}

static unsigned clamp(size_t len)
{
    return len < STEP_MAX ? (unsigned)len : STEP_MAX;
}

static void advance(struct gz_bytes *bytes, size_t n)
{
    bytes->ptr += n;
    bytes->len -= n;
}

int gz_reader_init(struct gz_reader *reader, uint64_t raw_max)
{
    *reader = (struct gz_reader){.state = GZ_START, .raw_max = raw_max};
    set_allocator(&reader->zlib, reader);
    if (inflateInit2(&reader->zlib, READ_WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    reader->window = malloc(GZ_WINDOW); /* only now, so that the state does not get it */
    if (reader->window == NULL) {
        gz_reader_done(reader);
        return -ENOMEM;
    }
    return 0;
}

void gz_reader_done(struct gz_reader *reader)
{
    inflateEnd(&reader->zlib); /* refuses a stream without state, nothing more */
    reader->zlib.state = NULL;
    free(reader->window);
    reader->window = NULL;
}

void gz_reader_skip_checks(struct gz_reader *reader)
{
    inflateValidate(&reader->zlib, 0);
}

bool gz_reader_is_inside(const struct gz_reader *reader)
{
    return reader->state == GZ_MEMBER;
}

const char *gz_reader_words(const struct gz_reader *reader)
{
    return reader->zlib.msg != NULL ? reader->zlib.msg : "unknown error";
}

/* Decides by the first byte of the body, and of what follows a member. */
static int begin(struct gz_reader *reader, const struct gz_bytes *in)
{
    bool gzip = in->ptr[0] == GZIP_FIRST_BYTE;
    if (reader->state == GZ_START) {
        reader->state = gzip ? GZ_MEMBER : GZ_RAW;
        return 0;
    }
    static char garbage[] = "bytes after the end of the gzip stream";
    if (!gzip || inflateReset(&reader->zlib) != Z_OK) {
        reader->zlib.msg = garbage;
        return -EBADMSG;
    }
    reader->state = GZ_MEMBER;
    return 0;
}

static size_t pass_through(struct gz_bytes *in, uint8_t *out, size_t room)
{
    size_t n = in->len < room ? in->len : room;
    memcpy(out, in->ptr, n);
    advance(in, n);
    return n;
}

static int inflate_some(struct gz_reader *reader, struct gz_bytes *in, uint8_t *out, size_t room, size_t *ret)
{
    z_stream *zlib = &reader->zlib;
    unsigned offered = clamp(in->len), wanted = clamp(room);
    zlib->next_in = (z_const Bytef *)in->ptr;
    zlib->avail_in = offered;
    zlib->next_out = out;
    zlib->avail_out = wanted;
    int rc = inflate(zlib, Z_NO_FLUSH);
    advance(in, offered - zlib->avail_in);
    *ret = wanted - zlib->avail_out;
    if (rc == Z_STREAM_END)
        reader->state = GZ_BETWEEN;
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : -EBADMSG;
}

int gz_reader_step(struct gz_reader *reader, struct gz_bytes *in, uint8_t *out, size_t room,
                   size_t *ret_written)
{
    size_t n = 0;
    int rc = reader->raw_bytes > reader->raw_max ? -EFBIG : 0;
    /* One byte over the ceiling is enough to know, and the same however the body is cut. */
    uint64_t left = reader->raw_max - reader->raw_bytes;
    if (rc == 0 && room > left)
        room = (size_t)left + 1;
    if (rc == 0 && in->len > 0 && (reader->state == GZ_START || reader->state == GZ_BETWEEN))
        rc = begin(reader, in);
    if (rc == 0 && reader->state == GZ_RAW)
        n = pass_through(in, out, room);
    else if (rc == 0 && reader->state == GZ_MEMBER)
        rc = inflate_some(reader, in, out, room, &n);
    reader->raw_bytes += n;
    *ret_written = n;
    if (rc == 0 && reader->raw_bytes > reader->raw_max)
        return -EFBIG;
    return rc;
}

int gz_writer_init(struct gz_writer *writer)
{
    *writer = (struct gz_writer){.finished = false};
    set_allocator(&writer->zlib, NULL);
    int rc = deflateInit2(&writer->zlib, WRITE_LEVEL, Z_DEFLATED, WRITE_WINDOW_BITS, WRITE_MEM_LEVEL,
                          Z_DEFAULT_STRATEGY);
    return rc == Z_OK ? 0 : -ENOMEM;
}

void gz_writer_done(struct gz_writer *writer)
{
    deflateEnd(&writer->zlib);
    writer->zlib.state = NULL;
}

size_t gz_writer_step(struct gz_writer *writer, struct gz_bytes *in, bool last, uint8_t *out, size_t room)
{
    z_stream *zlib = &writer->zlib;
    unsigned offered = clamp(in->len), wanted = clamp(room);
    zlib->next_in = (z_const Bytef *)in->ptr;
    zlib->avail_in = offered;
    zlib->next_out = out;
    zlib->avail_out = wanted;
    /* Once set up, deflate can fail in no way that more room does not cure (zlib.h, deflate). */
    if (deflate(zlib, last && offered == in->len ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END)
        writer->finished = true;
    advance(in, offered - zlib->avail_in);
    return wanted - zlib->avail_out;
}
