"""Changes that spoil a file of any kind."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One of the items; several times as fast as `Random.choice`."""
    return items[int(rng.random() * len(items))]


def spoil(
    rng: random.Random, data: bytes, other: bytes, words: Sequence[bytes], *, steady: float = 0.5
) -> bytes:
    """One to three changes of a file.

    Parameters
    ----------
    rng : random.Random
    data, other : bytes
        The file, and another one that may lend its end.
    words : sequence of bytes
        What means something in such files.
    steady : float
        Share of changes that keep the length: a word or a bit. The others put a word in, leave
        some bytes out, double them, cut the end off or take the other file's.
    """
    for _ in range(1 if rng.random() < 0.6 else 3):
        at = int(rng.random() * (len(data) + 1))
        kind = rng.random()
        if rng.random() < steady:
            if kind < 0.7:
                word = pick(rng, words)[: len(data) - at]
                data = data[:at] + word + data[at + len(word) :]
            elif at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << int(rng.random() * 8)]) + data[at + 1 :]
        elif kind < 0.3:
            data = data[:at] + pick(rng, words) + data[at:]
        elif kind < 0.5:
            data = data[:at] + data[at + 1 + int(rng.random() * 8) :]
        elif kind < 0.7:
            data = data[:at] + data[at : at + 1 + int(rng.random() * 32)] + data[at:]
        elif kind < 0.8:
            data = data[:at]
        else:
            data = data[:at] + other[int(rng.random() * (len(other) + 1)) :]
    return data
