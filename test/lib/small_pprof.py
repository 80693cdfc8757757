"""Small pprof profiles that can be told apart, and a reader that says whether a body is one of them, whole.

Each carries its name as the name of its only function, and the number of its samples in that name, so that what arrives
can be checked without what was sent: `SERIAL/SAMPLES`. Labels may be added to samples on the way, and strings at the
end.
"""

import base64
import gzip
import itertools
import os
import re
import time
import zlib

from protowire import data, number

NANOS = 1_000_000_000
STRING_BYTES = 64 * 1024  # padding comes in strings of this size
NAME = re.compile(rb"profile-([a-z0-9-]+)/(\d+)")


class Broken(ValueError):
    """Not a whole profile of ours; the text says why."""


def raw(serial, time_nanos, samples=2, padding=b""):
    """A profile, not compressed. padding: bytes that are put into the string table."""
    name = f"profile-{serial}/{samples}".encode()
    strings = [b"", b"things", b"count", name]
    strings += [padding[at:at + STRING_BYTES] for at in range(0, len(padding), STRING_BYTES)]
    return b"".join([
        data(1, number(1, 1) + number(2, 2)),
        *(data(2, number(1, 1) + number(2, index + 1)) for index in range(samples)),
        data(4, number(1, 1) + data(4, number(1, 1))),
        data(5, number(1, 1) + number(2, 3)),
        *(data(6, string) for string in strings),
        number(9, time_nanos)])


def noise(size):
    """Bytes of text that hardly compress."""
    return base64.b64encode(os.urandom(size * 3 // 4 + 3))[:size]


def sized(serial, time_nanos, size):
    """A gzipped profile of about so many bytes."""
    body = raw(serial, time_nanos, padding=noise(max(0, size - 400)))
    return gzip.compress(body, 0)


class Maker:
    """Profiles with serials of their own, each with a whole second of its own: two profiles of one type in one second
    count as one (that is how readers drop what was stored twice)."""

    def __init__(self):
        # In the past, so that numbering never gets ahead of the clock, but on the same day: a time that is far off is
        # replaced by the agent's own.
        self.first_second = int(time.time()) - 6 * 3600
        self.serials = itertools.count()

    def nanos(self, serial):
        return (self.first_second + int(serial)) * NANOS

    def take(self, size=0):
        """The serial and the gzipped body of a new profile."""
        serial = f"{next(self.serials):06d}"
        nanos = self.nanos(serial)
        return serial, sized(serial, nanos, size) if size else gzip.compress(raw(serial, nanos), 1)


def _read_varint(body, at):
    value = shift = 0
    while True:
        if at >= len(body) or shift > 63:
            raise Broken(f"a number is cut at byte {at} of {len(body)}")
        value |= (body[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 0x80:
            return value, at


def fields(body):
    """Yields (field, value) of a message; the value is bytes for what has a length."""
    at = 0
    while at < len(body):
        tag, at = _read_varint(body, at)
        if tag & 7 == 0:
            value, at = _read_varint(body, at)
        elif tag & 7 == 2:
            length, at = _read_varint(body, at)
            if length > len(body) - at:
                raise Broken(f"field {tag >> 3} of {length} bytes is cut at byte {at} of {len(body)}")
            value, at = body[at:at + length], at + length
        else:
            raise Broken(f"wire type {tag & 7} at byte {at}")
        yield tag >> 3, value


def unzip(body):
    """One whole gzip stream and nothing after it."""
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body)
    except zlib.error as error:
        raise Broken(f"{len(body)} bytes: {error}") from error
    if not stream.eof or stream.unused_data:
        raise Broken(f"{len(body)} bytes: the gzip stream has {'no end' if not stream.eof else 'bytes after it'}")
    return plain


def read(body):
    """The serial and the time in whole seconds of a whole gzipped profile of ours; raises Broken for anything else."""
    samples, seconds, strings = 0, 0, []
    for field, value in fields(unzip(body)):
        samples += field == 2
        if field == 9:
            seconds = value // NANOS
        if field == 6:
            strings.append(value)
    if len(strings) < 4 or not (match := NAME.fullmatch(strings[3])):
        raise Broken(f"the name is not where it was put: {strings[:5]}")
    if samples != int(match[2]):
        raise Broken(f"{match[0]} has {samples} samples")
    return match[1].decode(), seconds
