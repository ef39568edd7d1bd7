"""A table that numbers tokens in order of first appearance, and counts them.

Tokens are compared eight bytes at a time: those of up to eight are their own keys.
Twin: tests/reference/tokens.py.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._bits import MASK, inner, load64, trailing_zeros, word
from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import readable
from smalgos.kernels.cpu.tokens_bytes import (
    EOS,
    HALF,
    LOW,
    NEWLINE,
    ONE,
    load8,
)
from smalgos.kernels.cpu.vector import prefetch

LEAST = 1 << 10  # slots of a table at first
AHEAD = 32  # tokens whose slots are asked for before the first of them is looked up
FACTOR = word(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio
OTHER = word(0xBF58476D1CE4E5B9)  # of splitmix64's finaliser


@inner
def _short(base, size, start, length):
    """The bytes of a token of 1 to 8 of them as a word, the first one lowest, zeros above."""
    if start + 8 <= size:
        return load64(base + start) & (MASK >> word(64 - 8 * length))
    if start + length >= 8:
        return load64(base + start + length - 8) >> word(64 - 8 * length)
    key = word(0)
    for i in range(length):
        key |= load8(base + start + i) << word(8 * i)
    return key


@inner
def _long(at, length):
    """Hash of the bytes of a token of more than 8, eight at a time, the last eight maybe again."""
    h = word(length)
    for i in range(0, length - 8, 8):
        h = ((h ^ load64(at + i)) * FACTOR) & MASK
        h ^= h >> word(29)
    h = ((h ^ load64(at + length - 8)) * FACTOR) & MASK
    return h ^ h >> HALF


@inner
def _same(one, other, length):
    """Whether more than 8 bytes at two addresses are equal."""
    for i in range(0, length - 8, 8):
        if load64(one + i) != load64(other + i):
            return False
    return load64(one + length - 8) == load64(other + length - 8)


@inner
def _place(key, shift):
    """The slot where the search for a key begins."""
    h = (key * FACTOR) & MASK
    h = ((h ^ h >> HALF) * OTHER) & MASK
    return np.int64(h >> shift)


@inner
def _key(base, size, start, end):
    """What a token is found by: its bytes, or their hash; and 1 if it is long, else 0."""
    length = end - start
    if length == 0:
        return word(0), word(0)
    if length > 8:
        return _long(base + start, length), word(1)
    if length == 1 and load8(base + start) == word(NEWLINE):
        return EOS, word(0)
    return _short(base, size, start, length), word(0)


@inner
def _seek(at, length, key, long, slots, shift, arena, offsets):
    """The slot of a token, or where it would be; and its number, or -1.

    A slot is two words: the key, and the number + 1 with the flag of long tokens above. Bytes that
    are no token's are never compared: a token has no NUL, so its word tells how long it is.
    """
    k = _place(key, shift)
    last = (ONE << (word(64) - shift)) - ONE
    while True:
        note = load64(slots + 16 * k + 8)
        if note == word(0):
            return k, -1
        if load64(slots + 16 * k) == key and note >> HALF == long:
            n = np.int64(note & LOW) - 1
            if long == word(0):
                return k, n
            place = np.int64(load64(offsets + 8 * n))
            if np.int64(load64(offsets + 8 * n + 8)) - place == length and _same(
                at, arena + place, length
            ):
                return k, n
        k = np.int64((word(k) + ONE) & last)


@kernel(fastmath=False)
def _count(values, starts, ends, weights, first, slots, arena, offsets, counts, sizes):
    """Count tokens from number `first` on, and number new ones.

    values    uint8; starts, ends (m,) int64: tokens                                  in
    weights   int64: what each counts, (m,), or what all count, (1,)                  in
    slots     (2**b, 2) uint64: see `_seek`                                           in, out
    arena     uint8: tokens by number, one after another                              in, out
    offsets   (room + 1,) int64, into arena; counts (room,) int64                     in, out
    sizes     (4,) int64: numbered tokens, the most of them, bytes in arena, the most in, out
    Returns the first token that there is no room for, or m.
    """
    base, size = values.ctypes.data, len(values)
    slots_at, arena_at, offsets_at = slots.ctypes.data, arena.ctypes.data, offsets.ctypes.data
    shift = word(64 - trailing_zeros(word(len(slots))))
    each = len(weights) > 1
    tokens, most, used, most_bytes = sizes[0], sizes[1], sizes[2], sizes[3]
    keys, longs = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.uint64)
    i, many = first, len(starts)
    while i < many:
        for j in range(i, min(i + AHEAD, many)):
            key, long = _key(base, size, starts[j], ends[j])
            keys[j - i], longs[j - i] = key, long
            prefetch(slots, 2 * _place(key, shift))
        for j in range(min(AHEAD, many - i)):
            start, length = starts[i], ends[i] - starts[i]
            key, long = word(keys[j]), word(longs[j])
            k, n = _seek(base + start, length, key, long, slots_at, shift, arena_at, offsets_at)
            if n < 0:
                if long == word(0) and key == EOS:
                    length = 4
                if tokens == most or used + length > most_bytes:
                    many = i  # no more
                    break
                n = tokens
                for at in range(length):
                    if long == word(0):
                        arena[used + at] = key >> word(8 * at) & word(255)
                    else:
                        arena[used + at] = values[start + at]
                used += length
                tokens += 1
                offsets[tokens], counts[n] = used, 0
                slots[k, 0], slots[k, 1] = key, long << HALF | word(tokens)
            counts[n] += weights[i if each else 0]
            i += 1
    sizes[0], sizes[2] = tokens, used
    return i


@kernel(fastmath=False)
def _rehash(old, slots):
    """Put what is in slots into others, of which there are more; see `_count`."""
    shift = word(64 - trailing_zeros(word(len(slots))))
    for i in range(len(old)):
        if old[i, 1] != word(0):
            k = _place(word(old[i, 0]), shift)
            while slots[k, 1] != word(0):
                k = (k + 1) & (len(slots) - 1)
            slots[k, 0], slots[k, 1] = old[i, 0], old[i, 1]


@kernel(fastmath=False)
def _find(values, starts, ends, slots, arena, offsets, out):
    """out[i] = number of token i, or -1; see `_count`."""
    base, size = values.ctypes.data, len(values)
    slots_at, arena_at, offsets_at = slots.ctypes.data, arena.ctypes.data, offsets.ctypes.data
    shift = word(64 - trailing_zeros(word(len(slots))))
    keys, longs = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.uint64)
    for first in range(0, len(starts), AHEAD):
        stop = min(first + AHEAD, len(starts))
        for i in range(first, stop):
            key, long = _key(base, size, starts[i], ends[i])
            keys[i - first], longs[i - first] = key, long
            prefetch(slots, 2 * _place(key, shift))
        for i in range(first, stop):
            key, long = word(keys[i - first]), word(longs[i - first])
            start = base + starts[i]
            found = _seek(
                start, ends[i] - starts[i], key, long, slots_at, shift, arena_at, offsets_at
            )
            out[i] = found[1]


@kernel(fastmath=False)
def _begins(values, starts, ends, prefix, out):
    """out[i] = whether token i begins with the bytes of `prefix`."""
    for i in range(len(starts)):
        found = ends[i] - starts[i] >= len(prefix)
        for j in range(len(prefix)):
            found = found and values[starts[i] + j] == prefix[j]
        out[i] = found


class Table:
    """Distinct tokens, numbered in order of first appearance, and how often each came.

    Attributes
    ----------
    size, used : int
        Tokens, and their bytes.
    """

    def __init__(self) -> None:
        self._sizes = np.zeros(4, np.int64)
        self._slots = np.zeros((LEAST, 2), np.uint64)
        self._arena = np.empty(8 * LEAST, np.uint8)
        self._offsets, self._counts = np.zeros(LEAST // 2 + 1, np.int64), np.empty(LEAST // 2, int)

    @classmethod
    def of(cls, values: Any, offsets: Any, counts: Any) -> "Table":
        """From distinct tokens in the order of their numbers; equal ones become one."""
        table = cls()
        table.reserve(len(counts), int(offsets[-1] - offsets[0]))
        table.count(values, offsets[:-1], offsets[1:], counts)
        return table

    @property
    def size(self) -> int:
        """Number of distinct tokens."""
        return int(self._sizes[0])

    @property
    def used(self) -> int:
        """Their bytes."""
        return int(self._sizes[2])

    @property
    def values(self) -> NDArray[np.uint8]:
        """Bytes of the tokens, by number."""
        return self._arena[: self.used]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where in `values` each begins; shape (size + 1,)."""
        return self._offsets[: self.size + 1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each came."""
        return self._counts[: self.size]

    def clear(self) -> None:
        """Forget all tokens, but keep the memory."""
        self._sizes[:] = 0
        self._slots[:] = 0

    def count(
        self,
        values: Any,
        starts: Any,
        ends: Any,
        weights: Any = None,
        first: int = 0,
        most: int | None = None,
        most_bytes: int | None = None,
    ) -> int:
        """Count tokens, and number those that are new.

        Parameters
        ----------
        values : ndarray of uint8
        starts, ends : ndarray of int64, shape (m,)
            Where in `values` tokens are; none is empty.
        weights : ndarray of int64, shape (m,), optional
            What each counts; otherwise 1.
        first : int
            Begin with this one.
        most, most_bytes : int, optional
            Of the table.

        Returns
        -------
        int
            The first token that would be one too many; m, if all were counted.
        """
        values, starts, ends = readable(values), readable(starts), readable(ends)
        weights = np.ones(1, np.int64) if weights is None else readable(weights, np.int64)
        while True:
            sizes = self._sizes
            sizes[1] = len(self._counts) if most is None else min(most, len(self._counts))
            full = len(self._arena)
            sizes[3] = full if most_bytes is None else min(most_bytes, full)
            first = _count(
                values, starts, ends, weights, first, self._slots, self._arena, self._offsets,
                self._counts, sizes,
            )  # fmt: skip
            if first == len(starts):
                return first
            length = max(4, int(ends[first] - starts[first]))
            if (most is not None and self.size >= most) or (
                most_bytes is not None and self.used + length > most_bytes
            ):
                return first
            tokens = 2 * self.size if self.size == len(self._counts) else self.size
            self.reserve(tokens, 2 * (self.used + length) if self.used + length > full else 0)

    def merge(self, other: "Table") -> None:
        """Add the counts of another table; tokens that are new are numbered in its order."""
        self.count(other._arena, other.offsets[:-1], other.offsets[1:], other.counts)

    def find(self, values: Any, starts: Any, ends: Any) -> NDArray[np.int32]:
        """The numbers of tokens; -1 for unknown ones."""
        out = np.empty(len(starts), np.int32)
        _find(
            readable(values), readable(starts), readable(ends), self._slots, self._arena,
            self._offsets, out,
        )  # fmt: skip
        return out

    def numbered(self, values: Any, starts: Any, ends: Any) -> NDArray[np.int32]:
        """Count tokens, and give their numbers."""
        self.count(values, starts, ends)
        return self.find(values, starts, ends)

    def begins_with(self, prefix: bytes) -> NDArray[np.bool_]:
        """Which tokens begin with these bytes."""
        out = np.empty(self.size, np.bool_)
        given = np.frombuffer(bytearray(prefix), np.uint8)
        _begins(self._arena, self.offsets[:-1], self.offsets[1:], given, out)
        return out

    def reserve(self, tokens: int, size: int) -> None:
        """Make room for so many tokens of so many bytes, those that are here included."""
        if tokens > len(self._counts):
            slots = 1 << (2 * tokens - 1).bit_length()  # at most half of them are taken
            old, self._slots = self._slots, np.zeros((slots, 2), np.uint64)
            _rehash(old, self._slots)
            offsets, counts = self.offsets, self.counts
            self._offsets, self._counts = (
                np.zeros(slots // 2 + 1, np.int64),
                np.empty(slots // 2, np.int64),
            )
            self._offsets[: len(offsets)], self._counts[: len(counts)] = offsets, counts
        if size > len(self._arena):
            held = self.values
            self._arena = np.empty(size, np.uint8)
            self._arena[: len(held)] = held


@kernel(fastmath=False)
def _gathered(data, starts, ends, out):
    n = 0
    for i in range(len(starts)):
        for j in range(starts[i], ends[i]):
            out[n] = data[j]
            n += 1


def gathered(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The bytes of strings, one after another."""
    out = np.empty(int((ends - starts).sum()), np.uint8)
    _gathered(readable(data), readable(starts), readable(ends), out)
    return out
