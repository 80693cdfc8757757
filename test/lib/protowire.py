"""The wire format of protocol buffers, as far as a profile needs it."""


def varint(value, pad=0):
    """value as a varint, made longer by pad bytes than it needs to be."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80 or pad > 0:
        pad -= 1 if value < 0x80 else 0
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value, pad=0):
    return varint(field << 3, pad) + varint(value, pad)


def data(field, payload, pad=0):
    """A string, bytes or a message."""
    return varint(field << 3 | 2, pad) + varint(len(payload), pad) + payload


def packed(field, values):
    return data(field, b"".join(map(varint, values)))
