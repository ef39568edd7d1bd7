"""Entities and addresses as numbers, and the pairs that never were.

An entity is a row of a table: xxHash64 of its UTF-8 bytes (Collet, "xxHash fast digest algorithm",
2016), modulo the number of rows; any implementation of it finds the same row.

An address is 128 bits, those of IPv6; IPv4 stands in ``::ffff:0:0/96``, as RFC 4291 (2.5.5.2) maps
it. What is learnt of an address is learnt of its *prefixes*: `PIECES` rows of one table, which is
what near addresses share. The longer prefixes are too many, so that some share a row: which ones
differs with the length, and what is wrong for one is drowned by the others.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.negatives import bits, stream
from smalgos.kernels.cpu.shared import chunks, readable, run

__all__ = [
    "HASH",
    "PIECES",
    "TABLE",
    "entity_rows",
    "pair_pieces",
    "parse_addresses",
    "pieces_of",
    "shuffled_rows",
]

HASH = "xxhash64"
F = TypeVar("F")

# Lengths of prefixes.
LENGTHS_4 = (8, 12, 16)
LENGTHS_6 = (20, 32, 48)
PIECES = len(LENGTHS_4)
EXACT = 256 + 4096  # rows of the prefixes of 8 and of 12 bits of IPv4
HASHED = 1 << 13
TABLE = EXACT + HASHED

ROWS = 8192  # of a task

_P1, _P2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_P3, _P4 = np.uint64(0x165667B19E3779F9), np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)

if COMPILED:

    @kernel
    def _below(word, n):
        """A number below n <= 2**32, of the upper half of 64 bits."""
        return np.int64(((np.uint64(word) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))

else:

    def _below(word: Any, n: Any) -> Any:
        return ((int(word) >> 32) * int(n)) >> 32


def wrapping(function: F) -> F:
    """Let numbers of 64 bits overflow in silence, which compiled ones do by themselves."""
    return function if COMPILED else np.errstate(over="ignore")(function)


@kernel(fastmath=False)
def _read(text, at, count):
    """So many bytes as a number, the lowest first."""
    out = np.uint64(0)
    for i in range(count):
        out |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return out


@kernel(fastmath=False)
def _turned(x, n):
    """Rotated to the left by n bits."""
    return (x << np.uint64(n)) | (x >> np.uint64(64 - n))


@kernel(fastmath=False)
def _round(state, word):
    return _turned(state + word * _P2, 31) * _P1


@wrapping
@kernel(fastmath=False)
def _hash(text, a, b, seed):
    """xxHash64 of the bytes a to b."""
    at = a
    if b - a >= 32:
        v1, v2, v3, v4 = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while b - at >= 32:
            v1, v2 = _round(v1, _read(text, at, 8)), _round(v2, _read(text, at + 8, 8))
            v3, v4 = _round(v3, _read(text, at + 16, 8)), _round(v4, _read(text, at + 24, 8))
            at += 32
        h = _turned(v1, 1) + _turned(v2, 7) + _turned(v3, 12) + _turned(v4, 18)
        for v in (v1, v2, v3, v4):
            h = (h ^ _round(np.uint64(0), v)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(b - a)
    while b - at >= 8:
        h = _turned(h ^ _round(np.uint64(0), _read(text, at, 8)), 27) * _P1 + _P4
        at += 8
    if b - at >= 4:
        h = _turned(h ^ (_read(text, at, 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < b:
        h = _turned(h ^ (np.uint64(text[at]) * _P5), 11) * _P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@kernel(fastmath=False)
def _entities(text, offsets, first, last, rows, seed, ids, marks):
    """Rows of entities, and what else their hash says (see `entity_rows`)."""
    for i in range(first, last):
        h = _hash(text, offsets[i], offsets[i + 1], seed)
        ids[i] = np.int64(h % np.uint64(rows))
        marks[i] = _below(h, 8 * rows)


@kernel(fastmath=False)
def _ipv4(text, a, b):
    """The 32 bits of four decimal numbers between dots, or -1."""
    address, number, digits, dots = np.int64(0), np.int64(0), 0, 0
    for i in range(a, b):
        c = np.int64(text[i])
        if 48 <= c <= 57:
            number, digits = 10 * number + c - 48, digits + 1
            # A zero in front would mean octal digits to some.
            if number > 255 or (digits > 1 and number < 10):
                return np.int64(-1)
        elif c == 46 and digits > 0 and dots < 3:
            address, number, digits, dots = (address << 8) | number, np.int64(0), 0, dots + 1
        else:
            return np.int64(-1)
    if dots != 3 or digits == 0:
        return np.int64(-1)
    return (address << 8) | number


@kernel(inline="always")
def _hexadecimal(c):
    """The value of a digit, or -1."""
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1


@kernel(fastmath=False)
def _ipv6(text, a, b, groups):
    """The eight groups of 16 bits of an address as RFC 4291 (2.2) writes it; whether it is one."""
    i, n, gap = a, 0, -1
    if b - a >= 2 and text[a] == 58 and text[a + 1] == 58:
        i, gap = a + 2, 0
    while i < b:
        j, value = i, np.int64(0)
        while j < b and j - i < 5 and _hexadecimal(np.int64(text[j])) >= 0:
            value = (value << 4) | _hexadecimal(np.int64(text[j]))
            j += 1
        if j < b and text[j] == 46:  # the last 32 bits may be written as those of IPv4
            tail = _ipv4(text, i, b)
            if tail < 0 or n > 6:
                return False
            groups[n], groups[n + 1] = tail >> 16, tail & 0xFFFF
            n, i = n + 2, b
            break
        if j == i or j - i > 4 or n >= 8:
            return False
        groups[n] = value
        n, i = n + 1, j
        if i < b:
            if text[i] != 58:
                return False
            i += 1
            if i < b and text[i] == 58:
                if gap >= 0:
                    return False
                gap, i = n, i + 1
            elif i == b:
                return False
    if gap < 0:
        return n == 8
    if n == 8:
        return False
    for k in range(n - gap):
        groups[7 - k] = groups[n - 1 - k]
    for k in range(gap, 8 - (n - gap)):
        groups[k] = 0
    return True


@kernel(fastmath=False)
def _parse(text, offsets, first, last, addresses):
    """Addresses (n, 2) uint64, the upper half first; the first row that has none, or -1."""
    groups = np.zeros(8, np.int64)
    for i in range(first, last):
        a, b = offsets[i], offsets[i + 1]
        four = _ipv4(text, a, b)
        if four >= 0:
            addresses[i, 0], addresses[i, 1] = 0, (0xFFFF << 32) | four
        elif _ipv6(text, a, b, groups):
            for half in range(2):
                k = 4 * half
                upper = (groups[k] << 16) | groups[k + 1]
                lower = (groups[k + 2] << 16) | groups[k + 3]
                addresses[i, half] = (np.uint64(upper) << np.uint64(32)) | np.uint64(lower)
        else:
            return i
    return -1


@kernel(inline="always")
def _pieces(upper, lower, out, at):
    """The rows of an address's prefixes."""
    if upper == 0 and np.int64(lower >> 32) == 0xFFFF:
        address = np.int64(lower) & 0xFFFFFFFF
        out[at], out[at + 1] = address >> 24, 256 + (address >> 20)
        for k in range(2, PIECES):
            length = LENGTHS_4[k]
            out[at + k] = EXACT + _below(stream(length, address >> (32 - length)), HASHED)
    else:
        for k in range(PIECES):
            length = LENGTHS_6[k]
            prefix = upper >> np.uint64(64 - length)
            out[at + k] = EXACT + _below(stream(64 + length, prefix), HASHED)


@kernel(fastmath=False)
def _shuffle(first, last, start, key, partners):
    """One permutation of the rows of a batch for each column of partners (n, S)."""
    count = last - first
    for s in range(partners.shape[1]):
        origin = stream(key, (start + first) * 512 + s)
        for i in range(count):
            partners[first + i, s] = first + i
        for i in range(count - 1, 0, -1):
            other = first + _below(bits(origin, i), i + 1)
            now = partners[other, s]
            partners[other, s] = partners[first + i, s]
            partners[first + i, s] = now


@kernel(fastmath=False)
def _expand(addresses, partners, first, last, base, start, random, key, pieces):
    """Prefixes of each row's own address, then of random ones, then of those of other rows.

    Rows first to last go to where row `base` is the first one; row 0 has the number `start`.
    """
    share = (1 + random + partners.shape[1]) * PIECES
    for i in range(first, last):
        at = (i - base) * share
        upper, lower = addresses[i, 0], addresses[i, 1]
        four = upper == 0 and np.int64(lower >> 32) == 0xFFFF
        _pieces(upper, lower, pieces, at)
        at += PIECES
        origin = stream(key, start + i)
        for j in range(random):
            word = bits(origin, 2 * j)
            if four:
                _pieces(upper, np.uint64((0xFFFF << 32) | _below(word, 1 << 32)), pieces, at)
            else:
                high = (np.uint64(word) >> np.uint64(3)) | np.uint64(1 << 61)
                _pieces(high, np.uint64(bits(origin, 2 * j + 1)), pieces, at)
            at += PIECES
        for s in range(partners.shape[1]):
            other = partners[i, s]
            _pieces(addresses[other, 0], addresses[other, 1], pieces, at)
            at += PIECES


def entity_rows(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], rows: int, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows of a table by names.

    Parameters
    ----------
    text, offsets : ndarray
        Names (n,), of `Ragged`.
    rows : int
        Of the table.
    seed : int
        Of the hash.

    Returns
    -------
    ids : ndarray of int32, shape (n,)
        Hash modulo `rows`.
    marks : ndarray of int64, shape (n,)
        Numbers below ``8 * rows`` from other bits of the hash, by which to know a name again.
    """
    n = len(offsets) - 1
    ids, marks = np.empty(n, np.int32), np.empty(n, np.int64)
    text, offsets, word = readable(text), readable(offsets), np.uint64(seed)
    run(
        lambda part: _entities(text, offsets, part.start, part.stop, rows, word, ids, marks),
        chunks(n, ROWS),
    )
    return ids, marks


def parse_addresses(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], int]:
    """Addresses from their texts.

    Parameters
    ----------
    text, offsets : ndarray
        Of `Ragged`: IPv4 as four decimal numbers without leading zeros, IPv6 as in RFC 4291.

    Returns
    -------
    addresses : ndarray of uint64, shape (n, 2)
        The upper half of 128 bits first.
    bad : int
        The first row that is no address, behind which nothing is to be relied on; or -1.
    """
    n = len(offsets) - 1
    addresses = np.empty((n, 2), np.uint64)
    text, offsets = readable(text), readable(offsets)
    found = run(
        lambda part: _parse(text, offsets, part.start, part.stop, addresses), chunks(n, ROWS)
    )
    return addresses, next((bad for bad in found if bad >= 0), -1)


def pieces_of(addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Rows (n, PIECES) of the prefixes of addresses (n, 2)."""
    nobody = np.empty((len(addresses), 0), np.int32)
    return pair_pieces(addresses, nobody, slice(0, len(addresses)), 0, 0, 0)


def shuffled_rows(n: int, start: int, batch: int, shuffled: int, key: int) -> NDArray[np.int32]:
    """Permutations of the rows of each batch.

    Parameters
    ----------
    n, start : int
        Rows, and the number of the first one, which begins a batch.
    batch : int
        Rows of a batch; the last one may be shorter.
    shuffled : int
        Permutations.
    key : int
        Of `smalgos.kernels.cpu.negatives.key`.

    Returns
    -------
    ndarray of int32, shape (n, shuffled)
    """
    found = np.empty((n, shuffled), np.int32)
    if shuffled:
        word = np.uint64(key)
        run(lambda part: _shuffle(part.start, part.stop, start, word, found), chunks(n, batch))
    return found


def pair_pieces(
    addresses: NDArray[np.uint64], partners: NDArray[np.int32], rows: slice, start: int,
    random: int, key: int,
) -> NDArray[np.int32]:  # fmt: skip
    """Prefixes of the addresses that some rows' entities are paired with.

    Parameters
    ----------
    addresses : ndarray of uint64, shape (n, 2)
    partners : ndarray of int32, shape (n, S)
        Rows whose addresses others get, of `shuffled_rows`.
    rows : slice
        Which rows are wanted.
    start : int
        Number of the first address's row.
    random : int
        Random addresses for each row: of IPv4 all 32 bits; of rows with IPv6, which has hardly
        anything elsewhere, all bits but the first three of 2000::/3.
    key : int
        Of `smalgos.kernels.cpu.negatives.key`.

    Returns
    -------
    ndarray of int32, shape (rows, (1 + random + S) * PIECES)
        Of the own address first, then of random ones.
    """
    n, share = rows.stop - rows.start, 1 + random + partners.shape[1]
    pieces = np.empty((n, share * PIECES), np.int32)
    word, flat, addresses = np.uint64(key), pieces.reshape(-1), readable(addresses)
    run(
        lambda part: _expand(
            addresses, partners, rows.start + part.start, rows.start + part.stop, rows.start,
            start, random, word, flat,
        ),
        chunks(n, ROWS // share + 1),
    )  # fmt: skip
    return pieces
