"""RecordIO files that are wrong on purpose."""

import math
import random
import struct
from collections.abc import Iterator
from typing import Any

from smalgos.formats.recordio import MAGIC_BYTES, frame
from tests.fuzz import seeds
from tests.fuzz.seeds import FLOAT32, FLOAT64, INT32
from tests.fuzz.spoil import pick, spoil
from tests.reference.protobuf import split_frame, varint

EDGES = (
    0, 1, 2, 127, 128, 300, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
WORDS = [
    *(varint(n) for n in EDGES),
    *(bytes([n]) for n in (3, 5, 8, 9, 10, 13, 16, 18, 21, 26, 58, 129, 255)),
    b"\x80\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 10 + b"\x01",
    b"values",
    MAGIC_BYTES,
    *(struct.pack("<I", flag << 29 | n) for flag in (0, 1, 2, 3, 4, 7) for n in (0, 4, 2**29 - 1)),
    *(struct.pack("<f", x) for x in (0.0, -0.0, math.nan, math.inf, 1e-45)),
]
FLOATS = (0.0, -0.0, 1.0, -2.5, 1e-45, 3e38, math.nan, math.inf)
INTEGERS = (0, 1, -1, 300, 2**31 - 1, -(2**31))
FORMS = {FLOAT32: ("<f", 5), FLOAT64: ("<d", 1)}  # how struct spells a number; its wire type
RATES = (0.0, 0.0, 0.005, 0.05)  # of parts that are wrong
SPOILT = 48  # made of each file, at a hundredth of its price


def generate(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.recordio`, without end."""
    valid = seeds.recordio()
    while True:
        wire = Wire(rng, pick(rng, RATES))
        records = wire.records()
        frames = [wire.frame(record) for record in records]
        whole = b"\0" + b"".join(frames)
        yield whole
        for _ in range(SPOILT):
            if rng.random() < 0.3:
                yield spoil(rng, whole, pick(rng, valid), WORDS)
            else:
                i = int(rng.random() * len(records))
                one = frame(spoil(rng, records[i], records[-1], WORDS, steady=0.9))
                yield b"\0" + b"".join([*frames[:i], one, *frames[i + 1 :]])


class Wire:
    """Writes the parts of a file, each of them wrong at a certain rate.

    Lengths around a wrong part are right, unless they are the ones that are wrong: what is deep
    inside a record is reached.
    """

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng, self.rate = rng, rate

    def odd(self) -> bool:
        return self.rng.random() < self.rate

    def varint(self, n: int) -> bytes:
        right = varint(n)
        if not self.odd():
            return right
        if self.rng.random() < 0.5:
            return varint(pick(self.rng, EDGES))
        zeros = int(self.rng.random() * 10)  # longer than need be, or than may be
        return right[:-1] + bytes([right[-1] | 128]) + b"\x80" * zeros + b"\0"

    def field(self, number: int, kind: int, contents: bytes) -> bytes:
        if self.odd():
            wrong = ((number, kind ^ 1), (number, 7), (0, kind), (number + 1, kind))
            number, kind = pick(self.rng, wrong)
        tag = self.varint(number << 3 | kind)
        return tag + self.varint(len(contents)) + contents if kind == 2 else tag + contents

    def unknown(self, depth: int = 0) -> bytes:
        number, kind = pick(self.rng, (4, 6, 9, 1000, 2**29 - 1)), pick(self.rng, (0, 1, 2, 3, 5))
        if kind == 3:
            inner = self.unknown(depth + 1) if depth < 3 else b""
            return varint(number << 3 | 3) + inner + varint(number + self.odd() << 3 | 4)
        contents = {0: varint(pick(self.rng, EDGES)), 1: bytes(8), 2: b"what", 5: bytes(4)}
        return self.field(number, kind, contents[kind])

    def numbers(self, number: int, kind: int, values: list[Any]) -> list[bytes]:
        """The fields of a list: packed or single, in one piece or in several."""
        form, single = FORMS.get(kind, ("", 0))
        if self.odd():
            values = values[:-1] if self.rng.random() < 0.5 else [*values, *values[:1]]
        if not values:
            return []
        items = [struct.pack(form, v) if form else self.varint(v) for v in values]
        if self.rng.random() < 0.7:
            return [self.field(number, 2, b"".join(items))]
        cut = int(self.rng.random() * (len(items) + 1))
        packed = self.field(number, 2, b"".join(items[:cut]))
        return [packed, *(self.field(number, single, item) for item in items[cut:])]

    def tensor(self, kind: int, values: list[Any], keys: list[int], shape: list[int]) -> bytes:
        fields = self.numbers(1, kind, values)
        fields += self.numbers(2, INT32, keys)
        fields += self.numbers(3, INT32, shape)
        if self.odd():
            fields.append(self.unknown())
        if self.odd():
            self.rng.shuffle(fields)
        return self.field(kind, 2, b"".join(fields))

    def entry(self, tag: int, value: bytes) -> bytes:
        key = pick(self.rng, (b"", b"value", b"values2")) if self.odd() else b"values"
        parts = [self.field(1, 2, key), self.field(2, 2, value)]
        if self.odd():
            parts = [pick(self.rng, parts) for _ in range(3)]
        return self.field(tag, 2, b"".join(parts))

    def records(self) -> list[bytes]:
        """Records of one layout, but for what is wrong with them."""
        rng = self.rng
        kind, width = pick(rng, (FLOAT32, FLOAT64, INT32)), pick(rng, (1, 2, 3, 7, 40))
        sparse, named = rng.random() < 0.5, rng.random() < 0.2
        n = pick(rng, (0, 1, 3)) if sparse else width
        n_labels = pick(rng, (0, 1, 1, 2))
        numbers = INTEGERS if kind == INT32 else FLOATS
        records = []
        for _ in range(pick(rng, (1, 2, 3, 6, 12))):
            keys, shape = [], []
            if sparse:
                keys, shape = [int(rng.random() * width) for _ in range(n)], [width]
            if self.odd():
                shape = [pick(rng, EDGES) for _ in range(pick(rng, (0, 1, 2, 3)))]
            values = [pick(rng, numbers) for _ in range(n)]
            fields = [self.entry(1, self.tensor(kind, values, keys, shape))]
            if n_labels:
                labels = [pick(rng, FLOATS) for _ in range(n_labels)]
                fields.append(self.entry(2, self.tensor(FLOAT32, labels, [], [])))
            if named:
                fields.append(self.field(3, 2, pick(rng, (b"", b"a", b"bc"))))
            if self.odd():
                fields.append(self.unknown())
            if self.odd():
                rng.shuffle(fields)
            records.append(b"".join(fields))
        return records

    def frame(self, payload: bytes) -> bytes:
        if self.odd():
            return split_frame(payload)
        flag, n, padding = 0, len(payload), bytes(-len(payload) % 4)
        if self.odd():
            flag = pick(self.rng, (1, 2, 3, 5))
        if self.odd():
            n = pick(self.rng, (0, max(n - 1, 0), n + 1, n + 4, 2**29 - 1))
        if self.odd():
            padding = pick(self.rng, (b"", b"\0", b"\xff" * 4))
        return MAGIC_BYTES + struct.pack("<I", flag << 29 | n) + payload + padding
