#!/usr/bin/env python3
"""profiles.py FOLDER: writes heap profiles as Go makes them, of about 20 KB, 200 KB and 8 MB gzipped, as
heap-SIZE.pb.gz.

One sample a stack: calls that share their callers with other stacks, four values, and the size of the allocation as a
number label, so that samples, strings and tables have about the proportions of a real program's. The same bytes with
the same zlib.
"""

import os
import random
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))
from protowire import data, number, packed  # noqa: E402

# Name: how many stacks make about that many bytes gzipped.
SIZES = {"20k": 1170, "200k": 11_500, "8m": 456_000}
GZIP_LEVEL = 1  # Go's runtime compresses with gzip.BestSpeed
PACKAGES = ("net/http", "encoding/json", "database/sql", "shop.example/cart", "shop.example/stock",
            "google.golang.org/grpc")
VERBS = ("Serve", "Read", "Write", "Decode", "Encode", "Handle", "Close", "Query", "Scan", "Walk")
NOUNS = ("Request", "Response", "Buffer", "Item", "Order", "Stream", "Frame", "Header", "Session", "Row")
FUNCTIONS_A_STACK = 0.15  # fewer than stacks: programs go through the same functions again and again
DEPTH_MAX = 32
RECENT = 50               # stacks of one part of a program stand near each other
TIME_NANOS = 1_700_000_000_000_000_000
IN_USE = 0.3              # of the stacks; what the rest allocated is freed


class Strings:
    def __init__(self):
        self.index = {"": 0}

    def __call__(self, text):
        return self.index.setdefault(text, len(self.index))

    def encode(self):
        return b"".join(data(6, text.encode()) for text in self.index)


def _functions(count, chance, strings):
    """Functions and, one a function, locations."""
    functions, locations = [], []
    for number_of in range(1, count + 1):
        package = chance.choice(PACKAGES)
        method = f"{chance.choice(VERBS)}{chance.choice(NOUNS)}{number_of}"
        name = strings(f"{package}.(*{chance.choice(NOUNS)}).{method}")
        file = strings(f"/src/{package}/{chance.choice(NOUNS).lower()}{number_of % 50}.go")
        functions.append(data(5, number(1, number_of) + number(2, name) + number(3, name) + number(4, file)))
        line = number(1, number_of) + number(2, chance.randrange(1, 3000))
        address = 0x400000 + number_of * chance.randrange(64, 4096)
        locations.append(data(4, number(1, number_of) + number(2, 1) + number(3, address) + data(4, line)))
    return b"".join(locations + functions)


def _grow(earlier, functions, chance):
    """A stack, leaf first: the callers of an earlier one, and a few calls of its own."""
    kept = chance.choice(earlier)[chance.randrange(4):] if earlier else []
    own = [1 + int(functions * chance.random() ** 2) for _ in range(chance.randrange(1, 4))]
    return (own + kept)[-DEPTH_MAX:]


def _samples(stacks, functions, chance, bytes_key):
    earlier = []
    for _ in range(stacks):
        stack = _grow(earlier[-RECENT:], functions, chance)
        earlier.append(stack)
        size = 16 << chance.randrange(12)
        count = chance.choice((1, 1, 1, 2, 3, chance.randrange(5000)))
        in_use = count if chance.random() < IN_USE else 0
        values = [count, count * size, in_use, in_use * size]
        yield data(2, packed(1, stack) + packed(2, values) + data(3, number(1, bytes_key) + number(3, size)))


def heap_profile(stacks):
    """The raw profile."""
    chance = random.Random(stacks)
    strings = Strings()
    types = b"".join(data(1, number(1, strings(kind)) + number(2, strings(unit)))
                     for kind, unit in (("alloc_objects", "count"), ("alloc_space", "bytes"),
                                        ("inuse_objects", "count"),
                                        ("inuse_space", "bytes")))
    functions = max(20, int(stacks * FUNCTIONS_A_STACK))
    samples = b"".join(_samples(stacks, functions, chance, strings("bytes")))
    mapping = data(3, number(1, 1) + number(2, 0x400000) + number(3, 0x4000000) + number(5, strings("/app")) +
                   number(7, 1))
    tables = _functions(functions, chance, strings)
    period = data(11, number(1, strings("space")) + number(2, strings("bytes"))) + number(12, 512 * 1024)
    return types + samples + mapping + tables + strings.encode() + number(9, TIME_NANOS) + period


def gzipped(raw):
    deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    return deflate.compress(raw) + deflate.flush()


def taken_now(raw):
    """The same profile with the time of now: the agent replaces one that is days off, which costs a rewriting."""
    return raw.replace(number(9, TIME_NANOS), number(9, time.time_ns()))


def write(folder, size, change=lambda raw: raw):
    """The path of the profile of that size, changed before it is compressed."""
    path = os.path.join(folder, f"heap-{size}.pb.gz")
    with open(path, "wb") as file:
        file.write(gzipped(change(heap_profile(SIZES[size]))))
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip().split("\n", maxsplit=1)[0])
    os.makedirs(sys.argv[1], exist_ok=True)
    for made_size in SIZES:
        print(write(sys.argv[1], made_size))
