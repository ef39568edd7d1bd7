"""Random numbers by counting, and draws from a noise distribution in constant time.

Every number is a function of (seed, purpose, epoch, row, number): none is carried along, so that
draws depend neither on how rows are cut into blocks, nor on threads, nor on a resume. The numbers
of a row are a stream of splitmix64 (Steele, Lea & Flood, OOPSLA 2014) that starts where the row's
key says. Without the JIT the same is done on Python's integers.

Negatives come from a list that holds every word in proportion to its chance, in random order: rows
read it one entry after another, each from a place of its own.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

__all__ = ["bits", "key", "noise_list", "stream", "unit"]

MASK = (1 << 64) - 1
ENTRIES = 32  # of a noise list for each word, if it is not the shortest or longest
SHORTEST, LONGEST = 1 << 20 if COMPILED else 1 << 10, 1 << 24


def key(seed: int, purpose: str, epoch: int = 0) -> int:
    """The 64 bits that streams of rows start from.

    Parameters
    ----------
    seed : int
    purpose : str
        What the numbers are for: those of different purposes have nothing to do with each other.
    epoch : int

    Returns
    -------
    int
        For kernels, as ``np.uint64``.
    """
    named = f"{int(seed)} {int(epoch)} {purpose}".encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")


if COMPILED:

    @kernel
    def _mix(z):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    @kernel
    def stream(key, row):
        """Where the numbers of a row start: uint64."""
        return _mix(np.uint64(key) + np.uint64(row) * np.uint64(0x9E3779B97F4A7C15))

    @kernel
    def bits(start, number):
        """64 random bits: number `number` of a stream, from 0 on: uint64."""
        return _mix(start + np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15))

    @kernel
    def unit(word):
        """A number in [0, 1), float32, a multiple of 2**-24, of the upper 24 of 64 bits."""
        return np.float32(np.int64(word >> np.uint64(40))) * np.float32(2.0**-24)

else:

    def _mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def stream(key: Any, row: Any) -> Any:
        return _mix((int(key) + int(row) * 0x9E3779B97F4A7C15) & MASK)

    def bits(start: Any, number: Any) -> Any:
        return _mix((int(start) + (int(number) + 1) * 0x9E3779B97F4A7C15) & MASK)

    def unit(word: Any) -> Any:
        return np.float32(int(word) >> 40) * np.float32(2.0**-24)


@kernel(fastmath=False)
def _fill(chance, first, key, out):
    """Each word as often as its chance says, rounded up or down, then in random order.

    chance    (n,) float64, in proportion to them                            in
    first     float64 in [0, 1), where rounding begins
    key       uint64, see `key`
    out       int32                                                          out
    """
    total = 0.0
    for word in range(len(chance)):
        total += chance[word]
    put, reached = 0, 0.0
    for word in range(len(chance)):
        reached += chance[word]
        until = min(len(out), np.int64(np.ceil(reached / total * len(out) - first)))
        while put < until:
            out[put] = word
            put += 1
    last = out[max(put, 1) - 1]
    while put < len(out):  # sums were rounded
        out[put] = last
        put += 1
    start = stream(key, 1)
    for i in range(len(out) - 1, 0, -1):  # Fisher and Yates
        j = np.int64(((bits(start, i) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        out[i], out[j] = out[j], out[i]


def noise_list(weights: NDArray[Any], seed: int, ahead: int = 0) -> NDArray[np.int32]:
    """Words in random order, each as often as its weight says.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Not negative, in any unit; their sum is positive.
    seed : int
    ahead : int
        Entries of its beginning that follow its end, so that a reader need not look for it.

    Returns
    -------
    ndarray of int32, shape (size + ahead,)
        The size is a power of two, at least 2**20 and at most 2**24.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.
    """
    chance = np.array(weights, np.float64)
    total = chance.sum()
    if not (np.isfinite(total) and total > 0 and (chance >= 0).all()):
        raise ValueError("weights of a noise distribution: finite, not negative, not all zero")
    size = 1 << (ENTRIES * len(chance) - 1).bit_length()
    out = np.empty(min(max(size, SHORTEST), LONGEST) + ahead, np.int32)
    whole = out[: len(out) - ahead]
    word = key(seed, "noise")
    _fill(chance, (word >> 40) / (1 << 24), np.uint64(word), whole)
    out[len(whole) :] = whole[:ahead]
    return out
