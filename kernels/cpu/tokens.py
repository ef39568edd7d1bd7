"""Tokens of text, and fastText's numbers for them and their n-grams.

Where tokens are and what they are called is in `tokens_bytes` and `tokens_table`. What a token is
and how n-grams are hashed is fastText's: Joulin et al. 2016 (arXiv:1607.01759), Bojanowski et al.
2016 (arXiv:1607.04606). Twin: tests/reference/tokens.py.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._bits import MASK, inner, load64, word
from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import readable
from smalgos.kernels.cpu.tokens_bytes import (
    EOS,
    HALF,
    LOW,
    NEWLINE,
    bounds,
    load8,
    row_parts,
)
from smalgos.kernels.cpu.tokens_table import Table, gathered

__all__ = [
    "NGrams",
    "Table",
    "bounds",
    "features",
    "gathered",
    "hashes",
    "only_words",
    "pieces",
    "row_parts",
]

BASIS, PRIME = word(2166136261), word(16777619)  # of the 32-bit FNV-1a hash
SIGN = word(0xFFFFFF00)  # above a byte of 128 or more, which fastText takes for a negative number
CHAIN = word(116049371)  # what fastText hashes n-grams of words with


class NGrams(NamedTuple):
    """Which n-grams there are, and which rows they have.

    Parameters
    ----------
    nwords : int
        Rows of words, which come first.
    word_ngrams : int
        Longest n-gram of words.
    buckets : int
        Rows that n-grams share.
    min_char, max_char : int
        Lengths of n-grams of characters; a `max_char` of 0: none.
    pruned : int
        How many of the buckets are left, -1: all.
    """

    nwords: int
    word_ngrams: int
    buckets: int
    min_char: int
    max_char: int
    pruned: int


@inner
def _fnv(h, byte):
    """One more byte of the 32-bit FNV-1a hash as fastText has it, with signed bytes."""
    if byte >= word(128):
        byte |= SIGN
    return ((h ^ byte) * PRIME) & LOW


@inner
def _hash(base, start, end):
    """fastText's hash of a token."""
    h = BASIS
    if end - start == 1 and load8(base + start) == word(NEWLINE):
        for i in range(4):
            h = _fnv(h, EOS >> word(8 * i) & word(255))
        return h
    for i in range(start, end):
        h = _fnv(h, load8(base + i))
    return h


@kernel(fastmath=False)
def _hashes(values, offsets, out):
    base = values.ctypes.data
    for i in range(len(out)):
        out[i] = _hash(base, offsets[i], offsets[i + 1])


def hashes(values: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    """fastText's hash of each string."""
    out = np.empty(len(offsets) - 1, np.uint32)
    _hashes(readable(values), readable(offsets), out)
    return out


@kernel(fastmath=False)
def _only_words(found, rows, nwords, out, lengths):
    """Leave out what is -1 or no word; returns how many are left."""
    n = 0
    for row in range(len(lengths)):
        before = n
        for i in range(rows[row], rows[row + 1]):
            out[n] = found[i]
            n += np.uint32(found[i]) < np.uint32(nwords)
        lengths[row] = n - before
    return n


def only_words(
    found: NDArray[np.int32], rows: NDArray[np.int64], nwords: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers of words by row: what is -1, or `nwords` or more, is left out.

    Parameters
    ----------
    found : ndarray of int32
        Numbers of tokens.
    rows : ndarray of int64, shape (n + 1,)
        Number of tokens before each row.
    nwords : int

    Returns
    -------
    values : ndarray of int32
    lengths : ndarray of int64, shape (n,)
    """
    out, lengths = np.empty(len(found) + 1, np.int32), np.empty(len(rows) - 1, np.int64)
    return out[: _only_words(found, rows, nwords, out, lengths)], lengths


@inner
def _row(bucket, pruned, pairs):
    """The row of a bucket behind those of words, or -1; pairs is an address."""
    if pruned < 0:
        return bucket
    a, b = 0, pruned
    while a < b:
        middle = (a + b) >> 1
        if np.int64(load64(pairs + 8 * middle) & LOW) < bucket:
            a = middle + 1
        else:
            b = middle
    pair = load64(pairs + 8 * a) if a < pruned else MASK
    return np.int64(pair >> HALF) if np.int64(pair & LOW) == bucket else -1


@inner
def _byte(base, start, end, i):
    """Byte i of the token in angle brackets."""
    if i == 0:
        return word(60)
    return word(62) if i == end - start + 1 else load8(base + start + i - 1)


@inner
def _continues(byte):
    """Whether a byte of UTF-8 goes on with a character."""
    return byte & word(0xC0) == word(0x80)


@inner
def _subwords(base, start, end, low, high, buckets, nwords, pruned, pairs, out, n):
    """Append the rows of n-grams of `low` to `high` characters; returns how many there are then."""
    size = end - start + 2
    for i in range(size):
        if _continues(_byte(base, start, end, i)):
            continue
        h, j, length = BASIS, i, 1
        while j < size and length <= high:
            h = _fnv(h, _byte(base, start, end, j))
            j += 1
            while j < size and _continues(_byte(base, start, end, j)):
                h = _fnv(h, _byte(base, start, end, j))
                j += 1
            # A bracket alone is no n-gram.
            if length >= low and not (length == 1 and (i == 0 or j == size)):
                row = _row(np.int64(h % word(buckets)), pruned, pairs)
                out[n] = nwords + row
                n += row >= 0
            length += 1
    return n


@inner
def _is_end(base, start, end):
    """Whether a token is `</s>`, or the newline that stands for it."""
    length = end - start
    if length == 1:
        return load8(base + start) == word(NEWLINE)
    if length != 4:
        return False
    same = True
    for i in range(4):
        same = same and load8(base + start + i) == (EOS >> word(8 * i) & word(255))
    return same


@kernel(fastmath=False)
def _features(
    values, starts, ends, rows, found, hashed, prefix, grams, pairs, line,
    out, lengths, labels, label_lengths,
):  # fmt: skip
    """What a classifier sees of each row; see `features`.

    line   (longest row,) uint64: scratch                                               out
    Returns how many rows and labels there are.
    """
    nwords, longest, buckets, low, high, pruned = grams
    base, pairs_at, n, m = values.ctypes.data, pairs.ctypes.data, 0, 0
    chains, pieces = longest > 1 and buckets > 0, high > 0 and buckets > 0
    for row in range(len(lengths)):
        first, first_label, many = n, m, 0
        for i in range(rows[row], rows[row + 1]):
            start, end, number = starts[i], ends[i], found[i]
            if number >= nwords:
                labels[m] = number - nwords
                m += 1
                continue
            ending = _is_end(base, start, end)
            if number >= 0:
                if chains:
                    line[many] = hashed[number]
                out[n] = number
                n += 1
            else:
                is_label = end - start >= len(prefix)
                for j in range(len(prefix)):
                    is_label = is_label and load8(base + start + j) == word(prefix[j])
                if is_label:
                    continue
                if chains:
                    line[many] = _hash(base, start, end)
            many += 1
            if ending:
                break
            if pieces:
                n = _subwords(
                    base, start, end, low, high, buckets, nwords, pruned, pairs_at, out, n
                )
        if chains:
            for i in range(many):
                # As fastText has it: 32 bits with a sign, which go on above.
                h = word(line[i])
                h |= ((h >> word(31)) * LOW) << HALF
                for j in range(i + 1, min(many, i + longest)):
                    more = word(line[j])
                    more |= ((more >> word(31)) * LOW) << HALF
                    h = (h * CHAIN + more) & MASK
                    number = _row(np.int64(h % word(buckets)), pruned, pairs_at)
                    out[n] = nwords + number
                    n += number >= 0
        lengths[row], label_lengths[row] = n - first, m - first_label
    return n, m


def features(
    values: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: NDArray[np.int64],
    found: NDArray[np.int32],
    hashed: NDArray[np.uint32],
    prefix: bytes,
    grams: NGrams,
    pairs: NDArray[np.int32],
) -> tuple[Any, ...]:
    """Numbers of input rows, and labels, of each row of text.

    Parameters
    ----------
    values, starts, ends, rows
        As `bounds` gives them.
    found : ndarray of int32
        Number of each token; from `grams.nwords` on: labels.
    hashed : ndarray of uint32
        Hash of each numbered token.
    prefix : bytes
        Tokens that begin with it are labels, known or not.
    grams : NGrams
    pairs : ndarray of int32, shape (m, 2)
        Buckets that are left, ascending, and their rows.

    Returns
    -------
    values, lengths, labels, label lengths : ndarray of int32, int64, int32, int64
    """
    n, tokens = len(rows) - 1, len(starts)
    longest = int(np.diff(rows).max(initial=0))
    each = min(max(grams.word_ngrams, 1), longest) if grams.buckets > 0 else 1
    room = tokens * each
    room += _most_subwords(ends - starts, grams)
    out, labels = np.empty(room, np.int32), np.empty(tokens, np.int32)
    lengths, label_lengths = np.empty(n, np.int64), np.empty(n, np.int64)
    line = np.empty(longest, np.uint64)
    used, used_labels = _features(
        values, starts, ends, rows, found, hashed, np.frombuffer(bytearray(prefix), np.uint8),
        grams, pairs, line, out, lengths, labels, label_lengths,
    )  # fmt: skip
    return out[:used], lengths, labels[:used_labels], label_lengths


@kernel(fastmath=False)
def _pieces(values, offsets, own, grams, pairs, out, lengths):
    """Rows of each word; see `pieces`. Returns how many there are."""
    nwords, _, buckets, low, high, pruned = grams
    base, pairs_at, n = values.ctypes.data, pairs.ctypes.data, 0
    for i in range(len(own)):
        first = n
        if own[i] >= 0:
            out[n] = own[i]
            n += 1
        start, end = offsets[i], offsets[i + 1]
        if high > 0 and buckets > 0 and not _is_end(base, start, end):
            n = _subwords(base, start, end, low, high, buckets, nwords, pruned, pairs_at, out, n)
        lengths[i] = n - first
    return n


def pieces(
    values: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    own: NDArray[np.int32],
    grams: NGrams,
    pairs: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows of words and of their n-grams of characters.

    Parameters
    ----------
    values, offsets : ndarray of uint8, int64
        The words.
    own : ndarray of int32
        The row of each, -1 where it has none.
    grams : NGrams
    pairs : ndarray of int32, shape (m, 2)
        Buckets that are left, ascending, and their rows.

    Returns
    -------
    values : ndarray of int32
        The word's own row first.
    lengths : ndarray of int64
    """
    many = len(own)
    room = many + _most_subwords(np.diff(offsets), grams)
    out, lengths = np.empty(room, np.int32), np.empty(many, np.int64)
    used = _pieces(readable(values), readable(offsets), readable(own), grams, pairs, out, lengths)
    return out[:used].copy(), lengths


def _most_subwords(sizes: NDArray[np.int64], grams: NGrams) -> int:
    """No fewer than the n-grams of characters of tokens of so many bytes."""
    if grams.max_char <= 0 or grams.buckets <= 0:
        return 0
    lengths = max(0, grams.max_char - max(1, grams.min_char) + 1)
    return int(((sizes + 2) * np.minimum(sizes + 2, lengths)).sum())
