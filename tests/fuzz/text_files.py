"""Rows of texts, as lines, CSV and JSON, that are wrong on purpose, and odd ones that are right."""

import random
from collections.abc import Iterator

from tests.fuzz import seeds
from tests.fuzz.spoil import pick, spoil

WORDS = [
    *(bytes([c]) for c in b'ab,"\n\r \t\0\x0b\x0c\\{}[]:.1\x80\xff'),
    b"\r\n", b"\n\n", b'""', b'","', b"\xef\xbb\xbf", b"\xc3\xa9", b"\\ud800", b'"k"', b'"label"',
    b'"source"', b'"features"', b'"values"', b'"instances"', b'"configuration"', b"null", b"1e9",
]  # fmt: skip
SPOILT = 12  # made of each file


def generate(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.texts`, without end."""
    valid = seeds.texts()
    while True:
        whole = pick(rng, valid)
        yield whole
        for _ in range(SPOILT):
            yield spoil(rng, whole, pick(rng, valid), WORDS)
