"""Counted random numbers and alias tables, on Python's integers."""

import hashlib

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def key(seed: int, purpose: str, epoch: int = 0) -> int:
    """64 bits of a hash of all three."""
    named = f"{seed} {epoch} {purpose}".encode()
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")


def mix(z: int) -> int:
    """The finalizer of splitmix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Numbers:
    """The random numbers of a row, one after another."""

    def __init__(self, key: int, row: int) -> None:
        self.state = mix((key + row * GOLDEN) & MASK)

    def __next__(self) -> int:
        self.state = (self.state + GOLDEN) & MASK
        return mix(self.state)


def unit(word: int) -> np.float32:
    """The upper 24 of 64 bits as a number in [0, 1)."""
    return np.float32((word >> 40) / (1 << 24))
