#include "common/pprof/relabel.h"

#include "common/base/utf8.h"
#include "common/pprof/gz.h"
#include "common/pprof/pprof.h"
#include "common/pprof/proto.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* google/pprof proto/profile.proto */
enum {
    PROFILE_SAMPLE = 2,
    PROFILE_STRING_TABLE = 6,
    PROFILE_TIME_NANOS = 9,
    PROFILE_COMMENT = 13,
    SAMPLE_LABEL = 3,
    LABEL_KEY = 1,
    LABEL_STR = 2,
    LABEL_NUM = 3,
    LABEL_UNIT = 4,
};

enum {
    HEADER_MAX = 2 * PROTO_VARINT_MAX,               /* tag and length, or tag and number */
    PIECE_MAX = 2 + 2 * (1 + PROTO_VARINT_MAX),      /* one label in a sample */
    BLOCK_MAX = LABELS_MAX * PIECE_MAX,
    INPUT_BYTES = 8 * 1024,                          /* stored bytes read at a time */
    WINDOW_BYTES = RELABEL_SAMPLE_MAX + HEADER_MAX,  /* inflated bytes: one whole sample at least */
    STAGE_BYTES = 16 * 1024,                         /* rewritten bytes, compressed when full */
    COPY_STEP = 16,                                  /* see copy_bytes */
    COPY_SHORT = 160,
    ATOM_MAX = RELABEL_COMMENT_MAX + HEADER_MAX + 8, /* most that one step adds at once; 8 for "type=" */
    COMMENTS_MAX = 2,
};
_Static_assert((int)LABELS_MAX <= (int)PPROF_WATCH_MAX && (int)LABEL_KEY_MAX <= (int)PPROF_WATCH_TEXT_MAX,
               "every key can be watched");
_Static_assert((int)ATOM_MAX < (int)STAGE_BYTES && (int)BLOCK_MAX <= (int)ATOM_MAX,
               "each step fits into an empty stage");

const char *const relabel_result_names[RELABEL_RESULT_COUNT] = {
    [RELABEL_DONE] = "done",
    [RELABEL_SAMPLE_TOO_BIG] = "sample-too-big",
    [RELABEL_TOO_MANY_KEYS] = "too-many-keys",
    [RELABEL_NOT_A_PROFILE] = "not-a-profile",
    [RELABEL_NO_MEMORY] = "no-memory",
};

#define RENAMED_PREFIX "profefe_"

/* A label as it is written into samples. */
struct piece {
    uint8_t len;
    uint8_t bytes[PIECE_MAX];
};

struct comment {
    const char *prefix;
    const char *text;
    size_t len;
};

enum phase { SCANNING, PASSING, FIELDS, COPYING, STRINGS, COMMENTS, ENDED };

/*   source ──▶ input ──gz──▶ window ──▶ stage ──gz──▶ out
 *
 * While PASSING, source ──▶ out. */
struct relabel {
    struct relabel_request request;
    enum phase phase;
    enum relabel_result result;
    int error;       /* sticky */
    uint64_t offset; /* of the next stored byte */

    /* first reading */
    struct pprof_check *check;
    struct pprof_watch watch;
    struct pprof_summary summary;

    /* second reading */
    struct gz_reader reader;
    struct gz_writer writer;
    struct gz_bytes unread;           /* in input */
    bool input_ended;
    size_t window_at, window_end;     /* unused bytes of the window */
    struct gz_bytes staged;           /* in stage, for the writer */
    size_t stage_len;
    uint64_t copy_left;               /* COPYING: bytes of the field */
    size_t block_len;                 /* and the labels after them, 0 = none */
    uint64_t samples, strings;        /* seen; must come out as at the first reading */
    bool conflicts;                   /* a key of ours is in the string table: samples must be looked into */
    bool has_renamed;                 /* and a sample had one */
    bool replaces_time;
    bool time_written;
    unsigned tail;                    /* next string or comment to write */
    unsigned label_count;             /* of the request's, and of the comments: none when it cannot be labelled */
    unsigned comment_count;
    struct comment comments[COMMENTS_MAX];
    struct piece pieces[LABELS_MAX];
    unsigned renamed_count;           /* labels whose key is in the string table */
    unsigned renamed[LABELS_MAX];     /* their indices */
    struct piece renamed_pieces[LABELS_MAX]; /* by the label's index */
    size_t all_len;
    uint8_t all[BLOCK_MAX + COPY_STEP];   /* all pieces */
    uint8_t some[BLOCK_MAX + COPY_STEP];  /* with keys renamed that one sample has */
    const uint8_t *block;                 /* all or some */
    uint8_t input[INPUT_BYTES];
    uint8_t window[WINDOW_BYTES + COPY_STEP];
    uint8_t stage[STAGE_BYTES + COPY_STEP];
};

static void add_comment(struct relabel *relabel, const char *prefix, const char *text)
{
    if (text == NULL)
        return;
    size_t len = utf8_cut(text, strlen(text), RELABEL_COMMENT_MAX);
    relabel->comments[relabel->comment_count++] = (struct comment){prefix, text, len};
}

static void watch_keys(struct relabel *relabel)
{
    const struct labels *labels = relabel->request.labels;
    for (unsigned i = 0; i < labels->count; i++) {
        const char *key = labels->items[i].key;
        relabel->watch.items[i] = (struct pprof_watched){.text = key, .len = strlen(key)};
    }
    relabel->watch.count = labels->count;
    pprof_check_watch(relabel->check, &relabel->watch);
}

struct relabel *relabel_free(struct relabel *relabel)
{
    if (relabel == NULL)
        return NULL;
    pprof_check_free(relabel->check);
    gz_writer_done(&relabel->writer);
    gz_reader_done(&relabel->reader);
    free(relabel);
    return NULL;
}

static int64_t read_source(struct relabel *relabel, void *bytes, size_t len)
{
    int64_t n = relabel->request.source(relabel->request.source_ctx, relabel->offset, bytes, len);
    if (n < 0)
        relabel->error = (int)n;
    else
        relabel->offset += (uint64_t)n;
    return n;
}

/* --- between the readings: can it be labelled, and with what bytes --- */

/* Entries of the table: label i has its key at strings + 2 i and its value after it; the comments follow, then the keys
 * that are renamed. */
static uint64_t string_index(const struct relabel *relabel, unsigned nth)
{
    return relabel->summary.strings + nth;
}

static void build_piece(struct piece *piece, uint64_t key, uint64_t value)
{
    uint8_t label[PIECE_MAX];
    size_t len = proto_write_tag(label, LABEL_KEY, PROTO_VARINT);
    len += proto_write_varint(label + len, key);
    len += proto_write_tag(label + len, LABEL_STR, PROTO_VARINT);
    len += proto_write_varint(label + len, value);
    size_t header = proto_write_tag(piece->bytes, SAMPLE_LABEL, PROTO_BYTES);
    header += proto_write_varint(piece->bytes + header, len);
    memcpy(piece->bytes + header, label, len);
    piece->len = (uint8_t)(header + len);
}

static void rename_label(struct relabel *relabel, unsigned i)
{
    unsigned before = 2 * relabel->label_count + relabel->comment_count;
    uint64_t key = string_index(relabel, before + relabel->renamed_count);
    build_piece(&relabel->renamed_pieces[i], key, string_index(relabel, 2 * i + 1));
    relabel->renamed[relabel->renamed_count++] = i;
}

static void build_block(struct relabel *relabel)
{
    for (unsigned i = 0; i < relabel->label_count; i++) {
        struct piece *piece = &relabel->pieces[i];
        build_piece(piece, string_index(relabel, 2 * i), string_index(relabel, 2 * i + 1));
        memcpy(relabel->all + relabel->all_len, piece->bytes, piece->len);
        relabel->all_len += piece->len;
        if (relabel->watch.items[i].found > 0)
            rename_label(relabel, i);
    }
    relabel->conflicts = relabel->renamed_count > 0;
}

static enum relabel_result judge(const struct relabel *relabel)
{
    if (relabel->summary.verdict == PPROF_NO_MEMORY)
        return RELABEL_NO_MEMORY;
    if (relabel->summary.verdict != PPROF_OK)
        return RELABEL_NOT_A_PROFILE;
    if (relabel->watch.overflow)
        return RELABEL_TOO_MANY_KEYS;
    return relabel->summary.sample_bytes_max > RELABEL_SAMPLE_MAX ? RELABEL_SAMPLE_TOO_BIG : RELABEL_DONE;
}

/* A time past the year 2262 has no nanoseconds: nothing is replaced by it. */
static bool is_time_foreign(const struct relabel *relabel)
{
    enum { NANOS_PER_MS = 1000000 };
    int64_t time_ms = relabel->request.time_ms;
    return relabel->summary.verdict == PPROF_OK && time_ms > 0 && time_ms <= INT64_MAX / NANOS_PER_MS &&
           relabel->summary.time_nanos != 0 && relabel->summary.time_nanos / NANOS_PER_MS != time_ms;
}

/* Before the first byte of the second reading, and each time that it begins anew. */
static int begin_rewriting(struct relabel *relabel)
{
    gz_reader_done(&relabel->reader);
    gz_writer_done(&relabel->writer);
    if (gz_reader_init(&relabel->reader, relabel->request.raw_max) < 0 || gz_writer_init(&relabel->writer) < 0)
        return -ENOMEM;
    if (relabel->request.known_strings == 0)
        gz_reader_skip_checks(&relabel->reader);
    relabel->unread = (struct gz_bytes){0};
    relabel->staged = (struct gz_bytes){0};
    relabel->window_at = relabel->window_end = 0;
    relabel->samples = relabel->strings = 0;
    relabel->copy_left = 0;
    relabel->tail = 0;
    relabel->input_ended = relabel->time_written = relabel->has_renamed = false;
    relabel->phase = FIELDS;
    return 0;
}

/* What there is to rewrite is known. */
static void begin_second_reading(struct relabel *relabel)
{
    relabel->offset = 0;
    relabel->result = judge(relabel);
    relabel->phase = PASSING;
    relabel->replaces_time = is_time_foreign(relabel);
    if (relabel->result != RELABEL_DONE)
        relabel->label_count = relabel->comment_count = 0;
    if (relabel->label_count + relabel->comment_count == 0 && !relabel->replaces_time)
        return;
    if (begin_rewriting(relabel) < 0) {
        relabel->result = RELABEL_NO_MEMORY;
        relabel->replaces_time = false;
        return;
    }
    build_block(relabel);
}

/* The first reading is over. Its memory goes before that of the second comes. */
static void end_first_reading(struct relabel *relabel)
{
    pprof_check_finish(relabel->check, &relabel->summary);
    relabel->check = pprof_check_free(relabel->check);
    begin_second_reading(relabel);
}

static int begin_reading(struct relabel *relabel)
{
    if (relabel->request.known_strings > 0) {
        relabel->summary = (struct pprof_summary){.verdict = PPROF_OK, .strings = relabel->request.known_strings};
        begin_second_reading(relabel);
        return 0;
    }
    if (pprof_check_new(relabel->request.raw_max, &relabel->check) < 0)
        return -ENOMEM;
    watch_keys(relabel);
    return 0;
}

int relabel_new(const struct relabel_request *request, struct relabel **ret)
{
    struct relabel *relabel = calloc(1, sizeof(*relabel));
    if (relabel == NULL)
        return -ENOMEM;
    relabel->request = *request;
    relabel->label_count = request->labels->count;
    add_comment(relabel, "type=", request->type);
    add_comment(relabel, "url=", request->url);
    if (begin_reading(relabel) < 0) {
        free(relabel);
        return -ENOMEM;
    }
    *ret = relabel;
    return 0;
}

int relabel_scan(struct relabel *relabel, size_t max_bytes)
{
    for (size_t done = 0; relabel->phase == SCANNING && done < max_bytes;) {
        if (relabel->error < 0)
            return relabel->error;
        int64_t n = read_source(relabel, relabel->input, INPUT_BYTES);
        if (n < 0)
            return relabel->error;
        if (n == 0 || pprof_check_feed(relabel->check, relabel->input, (size_t)n) < 0)
            end_first_reading(relabel);
        done += (size_t)n;
    }
    return relabel->phase == SCANNING ? 1 : 0;
}

enum relabel_result relabel_get_result(const struct relabel *relabel)
{
    assert(relabel->phase != SCANNING);
    return relabel->result;
}

bool relabel_is_rewriting(const struct relabel *relabel)
{
    return relabel->phase != PASSING;
}

bool relabel_has_renamed(const struct relabel *relabel)
{
    return relabel->has_renamed;
}

bool relabel_replaces_time(const struct relabel *relabel)
{
    return relabel->replaces_time;
}

int relabel_rewind(struct relabel *relabel)
{
    relabel->offset = 0;
    if (relabel->phase != PASSING && relabel->error == 0)
        relabel->error = begin_rewriting(relabel);
    return relabel->error;
}

/* --- the second reading --- */

/* Most copies are of a few dozen bytes, where a call of memcpy costs more than the copy (musl above all). In
 * whole steps, up to COPY_STEP - 1 bytes more than asked are read and written: all buffers here end with so much
 * slack. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len >= COPY_SHORT) {
        memcpy(to, from, len);
        return;
    }
    for (size_t i = 0; i < len; i += COPY_STEP)
        memcpy(to + i, from + i, COPY_STEP);
}

static size_t stage_room(const struct relabel *relabel)
{
    return STAGE_BYTES - relabel->stage_len;
}

static void stage_bytes(struct relabel *relabel, const uint8_t *bytes, size_t len)
{
    copy_bytes(relabel->stage + relabel->stage_len, bytes, len);
    relabel->stage_len += len;
}

static void stage_text(struct relabel *relabel, const char *text, size_t len)
{
    memcpy(relabel->stage + relabel->stage_len, text, len);
    relabel->stage_len += len;
}

static void stage_header(struct relabel *relabel, unsigned number, unsigned wire_type, uint64_t value)
{
    uint8_t *out = relabel->stage + relabel->stage_len;
    size_t len = proto_write_tag(out, number, wire_type);
    relabel->stage_len += len + proto_write_varint(out + len, value);
}

/* It passed the first reading, so this is not the same body: the source broke its word. */
static int changed(struct relabel *relabel)
{
    return relabel->error = -EIO;
}

/* Reads on into the window; at the end of the body input_ended is set instead. */
static int refill(struct relabel *relabel)
{
    size_t kept = relabel->window_end - relabel->window_at, written = 0;
    memmove(relabel->window, relabel->window + relabel->window_at, kept);
    relabel->window_at = 0;
    relabel->window_end = kept;
    while (written == 0 && !relabel->input_ended) {
        if (kept == WINDOW_BYTES)
            return changed(relabel);
        uint8_t *room = relabel->window + kept;
        if (gz_reader_step(&relabel->reader, &relabel->unread, room, WINDOW_BYTES - kept, &written) < 0)
            return changed(relabel);
        if (written > 0 || relabel->unread.len > 0)
            continue;
        int64_t n = read_source(relabel, relabel->input, INPUT_BYTES);
        if (n < 0)
            return relabel->error;
        relabel->unread = (struct gz_bytes){relabel->input, (size_t)n};
        relabel->input_ended = n == 0;
    }
    relabel->window_end += written;
    return 0;
}

struct field {
    uint64_t number;
    unsigned wire_type;
    size_t header;  /* bytes of tag and, for wire type 2, length */
    uint64_t len;   /* bytes after the header */
};

/* 1 = read, 0 = ends early, -1 = no field at all. */
static int read_field(const uint8_t *bytes, size_t len, struct field *ret)
{
    uint64_t tag = 0, value = 0;
    int n = proto_read_varint(bytes, len, &tag);
    if (n <= 0)
        return n;
    *ret = (struct field){.number = tag >> 3, .wire_type = (unsigned)(tag & 7), .header = (size_t)n};
    if (ret->wire_type == PROTO_FIXED64 || ret->wire_type == PROTO_FIXED32) {
        ret->len = ret->wire_type == PROTO_FIXED64 ? 8 : 4;
        return 1;
    }
    int m = proto_read_varint(bytes + n, len - (size_t)n, &value);
    if (m <= 0)
        return m;
    ret->header += ret->wire_type == PROTO_BYTES ? (size_t)m : 0;
    ret->len = ret->wire_type == PROTO_BYTES ? value : (uint64_t)m;
    return ret->wire_type == PROTO_BYTES || ret->wire_type == PROTO_VARINT ? 1 : -1;
}

/* The key of one Label message, or 0 when readers do not see it: it has no value. The last of a field counts. */
static int read_label_key(const uint8_t *bytes, size_t len, uint64_t *ret)
{
    uint64_t values[LABEL_UNIT + 1] = {0};
    while (len > 0) {
        struct field field;
        if (read_field(bytes, len, &field) <= 0 || field.len > len - field.header)
            return -1;
        if (field.number <= LABEL_UNIT && field.wire_type == PROTO_VARINT)
            proto_read_varint(bytes + field.header, (size_t)field.len, &values[field.number]);
        bytes += field.header + field.len;
        len -= field.header + (size_t)field.len;
    }
    bool seen = values[LABEL_STR] != 0 || values[LABEL_NUM] != 0 || values[LABEL_UNIT] != 0;
    *ret = seen ? values[LABEL_KEY] : 0;
    return 0;
}

/* Bit i: label i has this key. */
static uint32_t labels_of_key(const struct relabel *relabel, uint64_t key)
{
    for (unsigned i = 0; i < relabel->watch.count; i++) {
        const struct pprof_watched *item = &relabel->watch.items[i];
        for (unsigned k = 0; k < item->found; k++) {
            if (item->index[k] == key)
                return UINT32_C(1) << i;
        }
    }
    return 0;
}
_Static_assert(LABELS_MAX <= 32, "a bit for each label");

/* Which of our keys the sample has already. */
static int find_labels(const struct relabel *relabel, const uint8_t *sample, size_t len, uint32_t *ret)
{
    uint32_t there = 0;
    while (len > 0) {
        struct field field;
        if (read_field(sample, len, &field) <= 0 || field.len > len - field.header)
            return -1;
        if (field.number == SAMPLE_LABEL && field.wire_type == PROTO_BYTES) {
            uint64_t key = 0;
            if (read_label_key(sample + field.header, (size_t)field.len, &key) < 0)
                return -1;
            there |= key != 0 ? labels_of_key(relabel, key) : 0;
        }
        sample += field.header + field.len;
        len -= field.header + (size_t)field.len;
    }
    *ret = there;
    return 0;
}

static void choose_block(struct relabel *relabel, uint32_t there)
{
    relabel->block = relabel->all;
    relabel->block_len = relabel->all_len;
    if (there == 0)
        return;
    relabel->has_renamed = true;
    relabel->block = relabel->some;
    relabel->block_len = 0;
    for (unsigned i = 0; i < relabel->label_count; i++) {
        const struct piece *piece = there >> i & 1 ? &relabel->renamed_pieces[i] : &relabel->pieces[i];
        memcpy(relabel->some + relabel->block_len, piece->bytes, piece->len);
        relabel->block_len += piece->len;
    }
}

/* 1 = staged its header and chose its labels, 0 = more of it must be at hand first. */
static int begin_sample(struct relabel *relabel, const struct field *field, const uint8_t *body, size_t have)
{
    uint32_t there = 0;
    if (field->len > RELABEL_SAMPLE_MAX && relabel->label_count > 0)
        return changed(relabel);
    if (relabel->conflicts && have < field->len)
        return 0;
    if (relabel->conflicts && find_labels(relabel, body, (size_t)field->len, &there) < 0)
        return changed(relabel);
    choose_block(relabel, there);
    relabel->samples++;
    stage_header(relabel, PROFILE_SAMPLE, PROTO_BYTES, field->len + relabel->block_len);
    return 1;
}

/* At the end: as much came as at the first reading. */
static bool is_as_before(const struct relabel *relabel)
{
    bool samples_are = relabel->request.known_strings > 0 || relabel->samples == relabel->summary.samples;
    return !gz_reader_is_inside(&relabel->reader) && samples_are && relabel->strings == relabel->summary.strings;
}

/* The first time_nanos becomes ours, any other goes: readers refuse two. */
static int replace_time(struct relabel *relabel, const struct field *field)
{
    uint64_t time_nanos = (uint64_t)relabel->request.time_ms * 1000000;
    relabel->window_at += field->header + (size_t)field->len;
    if (!relabel->time_written)
        stage_header(relabel, PROFILE_TIME_NANOS, PROTO_VARINT, time_nanos);
    relabel->time_written = true;
    return 0;
}

/* Begins the next field of the profile, or ends the profile. */
static int begin_field(struct relabel *relabel)
{
    const uint8_t *bytes = relabel->window + relabel->window_at;
    size_t have = relabel->window_end - relabel->window_at;
    struct field field;
    int rc = read_field(bytes, have, &field);
    if (rc < 0)
        return changed(relabel);
    if (rc > 0 && field.number == PROFILE_TIME_NANOS && field.wire_type == PROTO_VARINT && relabel->replaces_time)
        return replace_time(relabel, &field);
    if (rc > 0 && field.number == PROFILE_SAMPLE && field.wire_type == PROTO_BYTES) {
        rc = begin_sample(relabel, &field, bytes + field.header, have - field.header);
    } else if (rc > 0) {
        relabel->strings += field.number == PROFILE_STRING_TABLE ? 1 : 0;
        relabel->block_len = 0;
        stage_bytes(relabel, bytes, field.header);
    }
    if (rc < 0)
        return rc;
    if (rc > 0) {
        relabel->window_at += field.header;
        relabel->copy_left = field.len;
        relabel->phase = COPYING;
        return 0;
    }
    if (!relabel->input_ended)
        return refill(relabel);
    relabel->phase = STRINGS;
    return have == 0 && is_as_before(relabel) ? 0 : changed(relabel);
}

/* The rest of a field, and a sample's labels after it. */
static int copy_field(struct relabel *relabel)
{
    size_t n = relabel->window_end - relabel->window_at;
    n = relabel->copy_left < n ? (size_t)relabel->copy_left : n;
    n = stage_room(relabel) < n ? stage_room(relabel) : n;
    stage_bytes(relabel, relabel->window + relabel->window_at, n);
    relabel->window_at += n;
    relabel->copy_left -= n;
    if (relabel->copy_left > 0 && stage_room(relabel) > 0)
        return relabel->input_ended ? changed(relabel) : refill(relabel);
    if (relabel->copy_left > 0 || stage_room(relabel) < relabel->block_len)
        return 0;
    stage_bytes(relabel, relabel->block, relabel->block_len);
    relabel->phase = FIELDS;
    return 0;
}

/* One more entry of the string table. */
static void append_string(struct relabel *relabel)
{
    const struct labels *labels = relabel->request.labels;
    unsigned nth = relabel->tail++, comment = nth - 2 * relabel->label_count;
    const char *prefix = "", *text = NULL;
    size_t len = 0;
    if (nth < 2 * relabel->label_count) {
        text = nth % 2 == 0 ? labels->items[nth / 2].key : labels->items[nth / 2].value;
        len = strlen(text);
    } else if (comment < relabel->comment_count) {
        prefix = relabel->comments[comment].prefix;
        text = relabel->comments[comment].text;
        len = relabel->comments[comment].len;
    } else if (relabel->has_renamed && comment - relabel->comment_count < relabel->renamed_count) {
        prefix = RENAMED_PREFIX;
        text = labels->items[relabel->renamed[comment - relabel->comment_count]].key;
        len = strlen(text);
    } else {
        relabel->phase = COMMENTS;
        relabel->tail = 0;
        return;
    }
    stage_header(relabel, PROFILE_STRING_TABLE, PROTO_BYTES, strlen(prefix) + len);
    stage_text(relabel, prefix, strlen(prefix));
    stage_text(relabel, text, len);
}

static void append_comment(struct relabel *relabel)
{
    if (relabel->tail == relabel->comment_count) {
        relabel->phase = ENDED;
        return;
    }
    unsigned nth = 2 * relabel->label_count + relabel->tail++;
    stage_header(relabel, PROFILE_COMMENT, PROTO_VARINT, string_index(relabel, nth));
}

static int rewrite_step(struct relabel *relabel)
{
    switch (relabel->phase) {
    case FIELDS:
        return begin_field(relabel);
    case COPYING:
        return copy_field(relabel);
    case STRINGS:
        append_string(relabel);
        return 0;
    default:
        append_comment(relabel);
        return 0;
    }
}

/* Rewrites until the stage is nearly full or the profile is over. */
static int fill_stage(struct relabel *relabel)
{
    relabel->stage_len = 0;
    while (relabel->phase != ENDED && stage_room(relabel) >= ATOM_MAX) {
        int rc = rewrite_step(relabel);
        if (rc < 0)
            return rc;
    }
    relabel->staged = (struct gz_bytes){relabel->stage, relabel->stage_len};
    return 0;
}

static int64_t read_rewritten(struct relabel *relabel, uint8_t *out, size_t len)
{
    size_t done = 0;
    while (done < len && !relabel->writer.finished) {
        if (relabel->staged.len == 0 && relabel->phase != ENDED && fill_stage(relabel) < 0)
            return relabel->error;
        bool last = relabel->phase == ENDED;
        done += gz_writer_step(&relabel->writer, &relabel->staged, last, out + done, len - done);
    }
    return (int64_t)done;
}

int64_t relabel_read(struct relabel *relabel, char *out, size_t len)
{
    if (relabel->error < 0)
        return relabel->error;
    if (relabel->phase == SCANNING && relabel_scan(relabel, SIZE_MAX) < 0)
        return relabel->error;
    if (relabel->phase == PASSING)
        return read_source(relabel, out, len);
    return read_rewritten(relabel, (uint8_t *)out, len);
}
