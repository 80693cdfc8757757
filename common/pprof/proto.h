/* The bit of protobuf's wire format that pprof needs, read in place (protobuf.dev, "Encoding").
 *
 *   field   = tag · payload          tag = varint(number << 3 | wire type)
 *   varint  = 1 to 10 bytes, 7 bits each, lowest first; overlong forms are legal
 *   payload = varint (0) · 8 bytes (1) · varint(length) · length bytes (2) · 4 bytes (5); 3 and 4 are groups
 *
 * As in google/pprof (profile/proto.go): bits above the 64th of a tenth byte are dropped, groups are refused.
 */
#ifndef PROFEFE_PROTO_H
#define PROFEFE_PROTO_H

#include <stddef.h>
#include <stdint.h>

enum {
    PROTO_VARINT = 0,
    PROTO_FIXED64 = 1,
    PROTO_BYTES = 2,
    PROTO_FIXED32 = 5,
    PROTO_VARINT_MAX = 10, /* bytes */
};

/* Bytes used (1 to 10), 0 when len ends inside the varint, -1 when it has more than 10 bytes. */
static inline int proto_read_varint(const uint8_t *bytes, size_t len, uint64_t *ret)
{
    if (len > 0 && bytes[0] < 0x80) {
        *ret = bytes[0];
        return 1;
    }
    uint64_t value = 0;
    for (int i = 0; i < PROTO_VARINT_MAX; i++) {
        if ((size_t)i >= len)
            return 0;
        value |= (uint64_t)(bytes[i] & 0x7F) << (7 * i);
        if (bytes[i] < 0x80) {
            *ret = value;
            return i + 1;
        }
    }
    return -1;
}

/* Writes value to out (room for PROTO_VARINT_MAX bytes) and returns the bytes used. */
static inline size_t proto_write_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

/* Writes the tag of field `number`. */
static inline size_t proto_write_tag(uint8_t *out, unsigned number, unsigned wire_type)
{
    return proto_write_varint(out, (uint64_t)number << 3 | wire_type);
}

#endif
