#include "common/pprof/pprof_walk.h"

#include "common/pprof/pprof_ids.h"
#include "common/pprof/proto.h"

#include <assert.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the walker can be inside of. Messages have a row in `fields`; the rest is payload. */
enum kind {
    PROFILE,
    VALUE_TYPE,
    PERIOD_TYPE,
    SAMPLE,
    LABEL,
    MAPPING,
    LOCATION,
    LINE,
    FUNCTION,
    MESSAGES,
    LOCATION_IDS = MESSAGES, /* packed lists */
    VALUES,
    COMMENTS,
    BYTES, /* skipped */
};

/* What becomes of a field. */
enum action {
    SKIP,    /* unknown: any wire type */
    NUMBER,  /* a varint that is of no interest */
    KEEP,    /* a varint kept in slot `arg` until the message ends: the last one counts, as in protobuf */
    TIME,    /* time_nanos */
    LIST,    /* varints of kind `arg`, packed or one by one */
    MESSAGE, /* of kind `arg` */
    TEXT,    /* a string of the string table */
};

struct field {
    uint8_t action;
    uint8_t arg;
};

/* Slots of the message kinds. */
enum { TOP_DROP_FRAMES, TOP_KEEP_FRAMES, TOP_DEFAULT_TYPE, TOP_DOC_URL };
enum { TYPE_TYPE, TYPE_UNIT };
enum { SAMPLE_VALUES }; /* how many so far */
enum { LABEL_KEY, LABEL_STR, LABEL_NUM, LABEL_UNIT };
enum { MAPPING_ID, MAPPING_FILE, MAPPING_BUILD_ID };
enum { LOCATION_ID };
enum { LINE_FUNCTION };
enum { FUNCTION_ID, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILE };

enum { FIELDS = 16 };

/* google/pprof proto/profile.proto; a number without an entry is skipped. */
static const struct field fields[MESSAGES][FIELDS] = {
    [PROFILE] = {[1] = {MESSAGE, VALUE_TYPE}, [2] = {MESSAGE, SAMPLE}, [3] = {MESSAGE, MAPPING},
                 [4] = {MESSAGE, LOCATION}, [5] = {MESSAGE, FUNCTION}, [6] = {TEXT, 0},
                 [7] = {KEEP, TOP_DROP_FRAMES}, [8] = {KEEP, TOP_KEEP_FRAMES}, [9] = {TIME, 0},
                 [10] = {NUMBER, 0}, [11] = {MESSAGE, PERIOD_TYPE}, [12] = {NUMBER, 0},
                 [13] = {LIST, COMMENTS}, [14] = {KEEP, TOP_DEFAULT_TYPE}, [15] = {KEEP, TOP_DOC_URL}},
    [VALUE_TYPE] = {[1] = {KEEP, TYPE_TYPE}, [2] = {KEEP, TYPE_UNIT}},
    [PERIOD_TYPE] = {[1] = {KEEP, TYPE_TYPE}, [2] = {KEEP, TYPE_UNIT}},
    [SAMPLE] = {[1] = {LIST, LOCATION_IDS}, [2] = {LIST, VALUES}, [3] = {MESSAGE, LABEL}},
    [LABEL] = {[1] = {KEEP, LABEL_KEY}, [2] = {KEEP, LABEL_STR}, [3] = {KEEP, LABEL_NUM},
               [4] = {KEEP, LABEL_UNIT}},
    [MAPPING] = {[1] = {KEEP, MAPPING_ID}, [2] = {NUMBER, 0}, [3] = {NUMBER, 0}, [4] = {NUMBER, 0},
                 [5] = {KEEP, MAPPING_FILE}, [6] = {KEEP, MAPPING_BUILD_ID}, [7] = {NUMBER, 0},
                 [8] = {NUMBER, 0}, [9] = {NUMBER, 0}, [10] = {NUMBER, 0}},
    [LOCATION] = {[1] = {KEEP, LOCATION_ID}, [2] = {NUMBER, 0}, [3] = {NUMBER, 0}, [4] = {MESSAGE, LINE},
                  [5] = {NUMBER, 0}},
    [LINE] = {[1] = {KEEP, LINE_FUNCTION}, [2] = {NUMBER, 0}, [3] = {NUMBER, 0}},
    [FUNCTION] = {[1] = {KEEP, FUNCTION_ID}, [2] = {KEEP, FUNCTION_NAME}, [3] = {KEEP, FUNCTION_SYSTEM_NAME},
                  [4] = {KEEP, FUNCTION_FILE}, [5] = {NUMBER, 0}},
};

static const struct field unknown_field = {SKIP, 0};
enum { DURATION_NANOS = 10 }; /* NUMBER at the top, yet told in the summary */

static const char *const kind_names[] = {
    [PROFILE] = "profile", [VALUE_TYPE] = "sample type", [PERIOD_TYPE] = "period type", [SAMPLE] = "sample",
    [LABEL] = "label", [MAPPING] = "mapping", [LOCATION] = "location", [LINE] = "line", [FUNCTION] = "function",
    [LOCATION_IDS] = "list of locations", [VALUES] = "list of values", [COMMENTS] = "list of comments",
    [BYTES] = "field",
};

/* The bytes at hand. */
struct input {
    const uint8_t *ptr;
    const uint8_t *end;
};

static struct pprof_walk_frame *top(struct pprof_walk *walk)
{
    return &walk->frames[walk->depth];
}

static bool fail(struct pprof_walk *walk, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Returns false, so that a step can end in `return fail(…)`. */
static bool fail(struct pprof_walk *walk, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(walk->reason, sizeof(walk->reason), fmt, ap) < 0)
        walk->reason[0] = '\0';
    va_end(ap);
    walk->failed = true;
    return false;
}

static void use(struct pprof_walk *walk, struct input *in, uint64_t n)
{
    in->ptr += n;
    walk->position += n;
}

/* Bytes at hand that belong to the innermost message. */
static size_t at_hand(struct pprof_walk *walk, const struct input *in)
{
    uint64_t left = top(walk)->end - walk->position;
    size_t have = (size_t)(in->end - in->ptr);
    return left < have ? (size_t)left : have;
}

/* A field goes on after the bytes at hand: more may come, unless its message ends here. */
static bool cut(struct pprof_walk *walk, const struct input *in)
{
    if (top(walk)->end - walk->position > (uint64_t)(in->end - in->ptr))
        return false;
    return fail(walk, "a field passes the end of its %s at byte %llu", kind_names[top(walk)->kind],
                (unsigned long long)walk->position);
}

static bool bad_varint(struct pprof_walk *walk)
{
    return fail(walk, "a number has more than %d bytes at byte %llu", PROTO_VARINT_MAX,
                (unsigned long long)walk->position);
}

static bool wrong_type(struct pprof_walk *walk, uint64_t number, unsigned type)
{
    return fail(walk, "field %llu of a %s has wire type %u at byte %llu", (unsigned long long)number,
                kind_names[top(walk)->kind], type, (unsigned long long)walk->position);
}

static void note_index(struct pprof_walk *walk, uint64_t index)
{
    if (index > walk->index_max)
        walk->index_max = index;
}

/* False for the id that may not be 0. */
static bool note_id(struct pprof_walk *walk, enum pprof_id_set set, uint64_t id)
{
    if (walk->ids != NULL && id != 0)
        pprof_ids_add(walk->ids, set, id);
    return id != 0;
}

static void push(struct pprof_walk *walk, enum kind kind, uint64_t len)
{
    assert(walk->depth + 1 < PPROF_WALK_DEPTH);
    walk->depth++;
    *top(walk) = (struct pprof_walk_frame){.kind = (uint8_t)kind, .end = walk->position + len};
}

/* Looks a string of the table up among the watched ones. */
static void watch_string(struct pprof_walk *walk, const uint8_t *text, size_t len)
{
    for (unsigned i = 0; i < walk->watch->count; i++) {
        struct pprof_watched *item = &walk->watch->items[i];
        if (item->len != len || memcmp(item->text, text, len) != 0)
            continue;
        if (item->found == PPROF_WATCH_INDICES)
            walk->watch->overflow = true;
        else
            item->index[item->found++] = walk->strings;
    }
}

static bool is_watched_length(const struct pprof_walk *walk, uint64_t len)
{
    return len <= PPROF_WATCH_TEXT_MAX && (walk->watched_lengths >> len & 1) != 0;
}

/* Skips len bytes of payload, now or as they come. */
static bool skip(struct pprof_walk *walk, struct input *in, uint64_t len)
{
    if (len <= (uint64_t)(in->end - in->ptr))
        use(walk, in, len);
    else
        push(walk, BYTES, len);
    return true;
}

/* An entry of the string table; header = the bytes of tag and length, not used yet. */
static bool take_string(struct pprof_walk *walk, struct input *in, size_t header, uint64_t len)
{
    if (walk->strings == 0 && len > 0)
        return fail(walk, "the first entry of the string table is not empty");
    bool watched = is_watched_length(walk, len);
    if (watched && header + len > at_hand(walk, in))
        return cut(walk, in);
    use(walk, in, header);
    if (watched)
        watch_string(walk, in->ptr, (size_t)len);
    walk->strings++;
    return skip(walk, in, len);
}

static void count_message(struct pprof_walk *walk, enum kind kind, uint64_t len)
{
    if (kind == SAMPLE) {
        walk->samples++;
        if (len > walk->sample_bytes_max)
            walk->sample_bytes_max = len;
    } else if (kind == VALUE_TYPE) {
        walk->sample_types++;
    }
}

static void end_sample(struct pprof_walk *walk, uint64_t values)
{
    if (walk->samples == 1 || values < walk->values_min)
        walk->values_min = values;
    if (values > walk->values_max)
        walk->values_max = values;
}

/* What the innermost message leaves behind at its end; false when it lacks the number that may not be 0. */
static bool close_message(struct pprof_walk *walk, enum kind kind, const uint64_t *slots)
{
    switch (kind) {
    case VALUE_TYPE:
        note_index(walk, slots[TYPE_TYPE]);
        note_index(walk, slots[TYPE_UNIT]);
        return true;
    case PERIOD_TYPE: /* the last one counts */
        memcpy(walk->period_type, slots, sizeof(walk->period_type));
        return true;
    case SAMPLE:
        end_sample(walk, slots[SAMPLE_VALUES]);
        return true;
    case LABEL: /* the unit is read only without a string */
        note_index(walk, slots[LABEL_KEY]);
        note_index(walk, slots[LABEL_STR] != 0 ? slots[LABEL_STR] : slots[LABEL_UNIT]);
        return true;
    case MAPPING:
        note_index(walk, slots[MAPPING_FILE]);
        note_index(walk, slots[MAPPING_BUILD_ID]);
        return note_id(walk, PPROF_IDS_MAPPINGS, slots[MAPPING_ID]);
    case FUNCTION:
        note_index(walk, slots[FUNCTION_NAME]);
        note_index(walk, slots[FUNCTION_SYSTEM_NAME]);
        note_index(walk, slots[FUNCTION_FILE]);
        return note_id(walk, PPROF_IDS_FUNCTIONS, slots[FUNCTION_ID]);
    case LOCATION:
        return note_id(walk, PPROF_IDS_LOCATIONS, slots[LOCATION_ID]);
    case LINE:
        return note_id(walk, PPROF_IDS_IN_LINES, slots[LINE_FUNCTION]);
    default:
        return true;
    }
}

/* Messages that are wholly at hand: most of them, and most of a profile. They need no frame, and no look at what is at
 * hand before each number. False = something is unusual or wrong: then the walk goes through the message once more,
 * field by field, and says what. So nothing may be done here that it must not do twice: a message's own id is noted as
 * the last thing. */

static uint64_t load_le64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

/* Runs through packed varints eight bytes at a time, where `ends` has the top bit of each byte that ends one. False
 * when one may be zero (then its last byte is zero, but for bits of a tenth byte) or has ten bytes or more. */
static bool count_varints(const uint8_t *at, const uint8_t *end, bool zero_allowed, uint64_t *ret)
{
    const uint64_t tops = UINT64_C(0x8080808080808080), ones = UINT64_C(0x0101010101010101);
    uint64_t count = 0;
    unsigned run = 0; /* bytes of the varint under way */
    for (; end - at >= 8; at += 8) {
        uint64_t word = load_le64(at);
        uint64_t ends = ~word & tops;
        bool has_zero = ((word - ones) & ends) != 0;
        if (ends == 0 || (has_zero && !zero_allowed))
            return false;
        run += (unsigned)__builtin_ctzll(ends) / 8 + 1;
        if (run >= PROTO_VARINT_MAX)
            return false;
        run = (unsigned)__builtin_clzll(ends) / 8;
        count += (ends >> 7) * ones >> 56; /* the sum of its bytes */
    }
    for (; at < end; at++) {
        run++;
        if (*at >= 0x80)
            continue;
        if (run >= PROTO_VARINT_MAX || (*at == 0 && !zero_allowed))
            return false;
        run = 0;
        count++;
    }
    *ret = count;
    return run == 0;
}

/* The locations of a list that was counted. */
static void note_locations(struct pprof_walk *walk, const uint8_t *at, const uint8_t *end)
{
    uint64_t id = 0;
    for (int n; at < end && (n = proto_read_varint(at, (size_t)(end - at), &id)) > 0; at += n)
        note_id(walk, PPROF_IDS_SAMPLED, id);
}

/* A packed list; *values grows by the elements that are values. */
static bool take_whole_list(struct pprof_walk *walk, enum kind list, const uint8_t *at, const uint8_t *end,
                            uint64_t *values)
{
    uint64_t count = 0;
    if (list == COMMENTS || !count_varints(at, end, /* zero_allowed= */ list == VALUES, &count))
        return false;
    *values += list == VALUES ? count : 0;
    if (walk->ids != NULL && list == LOCATION_IDS)
        note_locations(walk, at, end);
    return true;
}

static bool take_whole_message(struct pprof_walk *walk, enum kind kind, const uint8_t *at, const uint8_t *end)
{
    uint64_t slots[PPROF_WALK_SLOTS] = {0};
    while (at < end) {
        uint64_t value = 0;
        unsigned tag = *at++;
        int n = proto_read_varint(at, (size_t)(end - at), &value);
        if (tag >= 0x80 || n <= 0)
            return false;
        at += n;
        struct field field = fields[kind][tag >> 3];
        if ((tag & 7) == PROTO_VARINT) {
            if (field.action == KEEP)
                slots[field.arg] = value;
            else if (field.action != NUMBER && field.action != SKIP)
                return false;
            continue;
        }
        if ((tag & 7) != PROTO_BYTES || value > (uint64_t)(end - at))
            return false;
        const uint8_t *payload = at;
        at += value;
        bool fine = field.action == SKIP;
        if (field.action == LIST)
            fine = take_whole_list(walk, (enum kind)field.arg, payload, at, &slots[SAMPLE_VALUES]);
        else if (field.action == MESSAGE)
            fine = take_whole_message(walk, (enum kind)field.arg, payload, at);
        if (!fine)
            return false;
    }
    return close_message(walk, kind, slots);
}

/* The payload of a message: in one go, or from its first field on. */
static bool take_message(struct pprof_walk *walk, struct input *in, enum kind kind, uint64_t len)
{
    count_message(walk, kind, len);
    if (len <= (uint64_t)(in->end - in->ptr) && take_whole_message(walk, kind, in->ptr, in->ptr + len))
        use(walk, in, len);
    else
        push(walk, kind, len);
    return true;
}

/* A field of wire type 2. */
static bool take_bytes(struct pprof_walk *walk, struct input *in, uint64_t number, struct field field,
                       size_t header, uint64_t len)
{
    uint64_t room = walk->depth > 0 ? top(walk)->end - walk->position - header : walk->raw_max;
    if (len > room)
        return fail(walk, "a field of %llu bytes in a %s at byte %llu, where at most %llu fit",
                    (unsigned long long)len, kind_names[top(walk)->kind], (unsigned long long)walk->position,
                    (unsigned long long)room);
    switch ((enum action)field.action) {
    case TEXT:
        return take_string(walk, in, header, len);
    case SKIP:
        use(walk, in, header);
        return skip(walk, in, len);
    case MESSAGE:
        use(walk, in, header);
        return take_message(walk, in, (enum kind)field.arg, len);
    case LIST:
        use(walk, in, header);
        push(walk, (enum kind)field.arg, len);
        return true;
    default:
        return wrong_type(walk, number, PROTO_BYTES);
    }
}

/* One element of a list, packed or alone; owner is the message it belongs to. */
static bool take_element(struct pprof_walk *walk, enum kind list, struct pprof_walk_frame *owner,
                         uint64_t value)
{
    if (list == VALUES)
        owner->slots[SAMPLE_VALUES]++;
    else if (list == COMMENTS)
        note_index(walk, value);
    else if (!note_id(walk, PPROF_IDS_SAMPLED, value))
        return fail(walk, "a sample refers to location 0 before byte %llu", (unsigned long long)walk->position);
    return true;
}

/* A field of wire type 0, used already. */
static bool take_number(struct pprof_walk *walk, uint64_t number, struct field field, uint64_t value)
{
    switch ((enum action)field.action) {
    case SKIP:
        return true;
    case NUMBER:
        if (walk->depth == 0 && number == DURATION_NANOS)
            walk->duration_nanos = value;
        return true;
    case KEEP:
        top(walk)->slots[field.arg] = value;
        return true;
    case TIME:
        walk->time_nanos = value;
        return true;
    case LIST:
        return take_element(walk, (enum kind)field.arg, top(walk), value);
    default:
        return wrong_type(walk, number, PROTO_VARINT);
    }
}

/* A field of 4 or 8 bytes: nothing that profile.proto knows has one. */
static bool take_fixed(struct pprof_walk *walk, struct input *in, uint64_t number, struct field field,
                       size_t header, unsigned type)
{
    size_t len = header + (type == PROTO_FIXED64 ? 8 : 4);
    if (len > at_hand(walk, in))
        return cut(walk, in);
    if (field.action != SKIP)
        return wrong_type(walk, number, type);
    use(walk, in, len);
    return true;
}

/* The varint after the tag: a number or a length. */
static bool take_varint(struct pprof_walk *walk, struct input *in, uint64_t number, struct field field,
                        size_t header, unsigned type)
{
    uint64_t value = 0;
    int n = proto_read_varint(in->ptr + header, at_hand(walk, in) - header, &value);
    if (n <= 0)
        return n == 0 ? cut(walk, in) : bad_varint(walk);
    header += (size_t)n;
    if (type == PROTO_BYTES)
        return take_bytes(walk, in, number, field, header, value);
    use(walk, in, header);
    return take_number(walk, number, field, value);
}

static bool walk_field(struct pprof_walk *walk, struct input *in)
{
    uint64_t tag = 0;
    int n = proto_read_varint(in->ptr, at_hand(walk, in), &tag);
    if (n <= 0)
        return n == 0 ? cut(walk, in) : bad_varint(walk);
    uint64_t number = tag >> 3;
    struct field field = number < FIELDS ? fields[top(walk)->kind][number] : unknown_field;
    unsigned type = (unsigned)(tag & 7);
    if (field.action == TIME && walk->time_nanos != 0)
        return fail(walk, "time_nanos twice: concatenated profiles, at byte %llu",
                    (unsigned long long)walk->position);
    if (type == PROTO_VARINT || type == PROTO_BYTES)
        return take_varint(walk, in, number, field, (size_t)n, type);
    if (type == PROTO_FIXED64 || type == PROTO_FIXED32)
        return take_fixed(walk, in, number, field, (size_t)n, type);
    return wrong_type(walk, number, type);
}

static bool walk_list(struct pprof_walk *walk, struct input *in)
{
    enum kind list = (enum kind)top(walk)->kind;
    struct pprof_walk_frame *owner = top(walk) - 1;
    for (size_t left = at_hand(walk, in); left > 0;) {
        uint64_t value = 0;
        int n = proto_read_varint(in->ptr, left, &value);
        if (n <= 0)
            return n == 0 ? cut(walk, in) : bad_varint(walk);
        use(walk, in, (uint64_t)n);
        left -= (size_t)n;
        if (!take_element(walk, list, owner, value))
            return false;
    }
    return true;
}

static bool end_message(struct pprof_walk *walk)
{
    const struct pprof_walk_frame *frame = top(walk);
    if (!close_message(walk, (enum kind)frame->kind, frame->slots))
        return fail(walk, "a %s without %s before byte %llu", kind_names[frame->kind],
                    frame->kind == LINE ? "a function" : "an id", (unsigned long long)walk->position);
    walk->depth--;
    return true;
}

/* One field, one piece of payload, or one end; false when it can go no further. */
static bool step(struct pprof_walk *walk, struct input *in)
{
    if (walk->position == top(walk)->end)
        return end_message(walk);
    if (in->ptr == in->end)
        return false;
    if (top(walk)->kind < MESSAGES)
        return walk_field(walk, in);
    if (top(walk)->kind == BYTES) {
        use(walk, in, at_hand(walk, in));
        return true;
    }
    return walk_list(walk, in);
}

void pprof_walk_init(struct pprof_walk *walk, uint64_t raw_max, struct pprof_watch *watch)
{
    *walk = (struct pprof_walk){.raw_max = raw_max, .watch = watch};
    walk->frames[0] = (struct pprof_walk_frame){.kind = PROFILE, .end = UINT64_MAX};
    for (unsigned i = 0; watch != NULL && i < watch->count; i++)
        walk->watched_lengths |= UINT64_C(1) << watch->items[i].len;
}

size_t pprof_walk_feed(struct pprof_walk *walk, const uint8_t *bytes, size_t len)
{
    struct input in = {bytes, bytes + len};
    while (!walk->failed && step(walk, &in)) {
    }
    return (size_t)(in.ptr - bytes);
}

bool pprof_walk_is_inside(const struct pprof_walk *walk)
{
    return walk->depth > 0;
}

static bool has_a_value_for_each_type(const struct pprof_walk *walk)
{
    return walk->values_min == walk->sample_types && walk->values_max == walk->sample_types;
}

void pprof_walk_finish(struct pprof_walk *walk)
{
    const uint64_t *slots = walk->frames[0].slots;
    for (unsigned i = 0; i < PPROF_WALK_SLOTS; i++)
        note_index(walk, slots[i]);
    note_index(walk, walk->period_type[TYPE_TYPE]);
    note_index(walk, walk->period_type[TYPE_UNIT]);
    if (walk->strings == 0)
        fail(walk, "no string table");
    else if (walk->index_max >= walk->strings)
        fail(walk, "a string index of %llu, but the string table has %llu entries",
             (unsigned long long)walk->index_max, (unsigned long long)walk->strings);
    else if (walk->samples > 0 && walk->sample_types == 0)
        fail(walk, "samples, but no sample type");
    else if (walk->samples > 0 && !has_a_value_for_each_type(walk))
        fail(walk, "samples of %llu to %llu values, expected %llu, one for each sample type",
             (unsigned long long)walk->values_min, (unsigned long long)walk->values_max,
             (unsigned long long)walk->sample_types);
}
