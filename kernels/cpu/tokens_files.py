"""Where strings and vectors are in the files of fastText and word2vec."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import readable
from smalgos.kernels.cpu.tokens_table import gathered

__all__ = ["entries", "gathered", "named_vectors", "take_vectors"]

NEWLINE, BLANK = 10, 32


@kernel(fastmath=False)
def _entries(data, at, starts, ends, counts, kinds):
    """Entries of fastText's dictionary: a string, NUL, an int64, a byte.

    data   uint8, from byte `at` on                                          in
    starts, ends, counts   (n,) int64; kinds (n,) uint8                      out
    Returns the byte behind the last entry, or -(the byte of one that is wrong).
    """
    for i in range(len(starts)):
        first = at
        while at < len(data) and data[at] != 0:
            at += 1
        if at == first or at + 10 > len(data):
            return -first
        starts[i], ends[i] = first, at
        count = np.uint64(0)
        for j in range(8):
            count |= np.uint64(data[at + 1 + j]) << np.uint64(8 * j)
        counts[i], kinds[i] = np.int64(count), data[at + 9]
        at += 10
    return at


def entries(data: NDArray[np.uint8], at: int, count: int) -> tuple[Any, ...]:
    """Entries of a dictionary of fastText, from byte `at` on.

    Returns
    -------
    starts, ends : ndarray of int64
        Where the strings are.
    counts, kinds : ndarray of int64, uint8
    end : int
        The byte behind the last one; that of an entry that is wrong, negative.
    """
    starts, ends, counts = (np.empty(count, np.int64) for _ in range(3))
    kinds = np.empty(count, np.uint8)
    end = _entries(readable(data), at, starts, ends, counts, kinds)
    return starts, ends, counts, kinds, int(end)


@kernel(fastmath=False)
def _named_vectors(data, at, size, starts, ends):
    """Rows of word2vec's binary file: newlines maybe, a word, a blank, `size` bytes.

    data   uint8, from byte `at` on                in
    starts, ends   (n,) int64: where words are     out
    Returns how many rows are whole, and where the next begins.
    """
    for i in range(len(starts)):
        first = at
        while first < len(data) and data[first] == NEWLINE:
            first += 1
        last = first
        while last < len(data) and data[last] != BLANK:
            last += 1
        if last == first or last + 1 + size > len(data):
            return i, first
        starts[i], ends[i] = first, last
        at = last + 1 + size
    return len(starts), at


def named_vectors(data: NDArray[np.uint8], at: int, count: int, size: int) -> tuple[Any, ...]:
    """Words of a binary file of word2vec, from byte `at` on; `size` bytes follow each.

    Returns
    -------
    starts, ends : ndarray of int64, shape (count,)
        Where the words are; behind each is a blank, then the vector.
    whole : int
        How many there are.
    at : int
        Where the next one begins.
    """
    starts, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    whole, at = _named_vectors(readable(data), at, size, starts, ends)
    return starts, ends, int(whole), int(at)


@kernel(fastmath=False)
def _take_vectors(data, places, out):
    for i in range(len(places)):
        for j in range(out.shape[1]):
            out[i, j] = data[places[i] + j]


def take_vectors(
    data: NDArray[np.uint8], places: NDArray[np.int64], dim: int
) -> NDArray[np.float32]:
    """Vectors of little-endian float32 that begin at any bytes.

    Returns
    -------
    ndarray of float32, shape (n, dim)
    """
    out = np.empty((len(places), dim), "<f4")
    _take_vectors(readable(data), readable(places), out.view(np.uint8).reshape(len(places), -1))
    return out.astype(np.float32, copy=False)
