"""Files of fastText and word2vec that are wrong on purpose."""

import random
import struct
from collections.abc import Iterator

import numpy as np

from smalgos.algorithms.blazingtext.vocabulary import decoded
from tests.algorithms import small_texts
from tests.fuzz.spoil import pick, spoil

INTEGERS = (-1, 0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 17, 255, 256, 257, 300, 2**31 - 1, -(2**31))
LONG = (-1, 0, 1, 2, 20, 260, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
WORDS = [
    *(struct.pack("<i", n) for n in INTEGERS), *(struct.pack("<q", n) for n in LONG),
    *(bytes([n]) for n in (0, 1, 2, 9, 10, 32, 127, 128, 255)),
    struct.pack("<f", np.nan), struct.pack("<f", np.inf), b"\0\0", b"the\0", b"</s>",
]  # fmt: skip
TEXT = [
    *(bytes([c]) for c in b'0123456789.-+eE \t\r\n\0\xff"'), b"nan", b"inf", b"1e999", b"9" * 30,
    b"9" * 5000, b"\n\n", b"2 2\n", b"the ",
]  # fmt: skip


def fasttext() -> list[bytes]:
    """Files of fastText."""
    return small_texts.seeds()


def word2vec() -> list[bytes]:
    """Files of word2vec, behind a byte that says whether they are binary."""
    model = small_texts.vectors()
    words, rows = decoded(model.vocabulary.strings), model.input[: len(model.vocabulary)]
    head = b"%d %d\n" % rows.shape
    lines = [
        (w + " " + " ".join(map(str, r)) + "\n").encode()
        for w, r in zip(words, rows.tolist(), strict=True)
    ]
    coded = [w.encode() + b" " + r.tobytes() for w, r in zip(words, rows, strict=True)]
    return [
        b"\0" + head + b"".join(lines), b"\0" + b"".join(lines), b"\0a 1 2\nb 3 4\na 5 6\n",
        b"\1" + head + b"".join(coded), b"\1" + head + b"\n".join(coded) + b"\n",
    ]  # fmt: skip


def generate_fasttext(rng: random.Random) -> Iterator[bytes]:
    """Damaged files of fastText, without end: most in what says how long things are."""
    valid = fasttext()
    while True:
        data = pick(rng, valid)
        at = 4 * int(rng.random() * 24)  # the numbers at the beginning
        yield data[:at] + struct.pack("<i", pick(rng, INTEGERS)) + data[at + 4 :]
        yield spoil(rng, data, pick(rng, valid), WORDS, steady=0.8)
        yield spoil(rng, data[:200], data, WORDS) + data[200:]


def generate_word2vec(rng: random.Random) -> Iterator[bytes]:
    """Damaged files of word2vec, without end."""
    valid = word2vec()
    while True:
        data = pick(rng, valid)
        yield spoil(rng, data, pick(rng, valid), TEXT if data[0] == 0 else WORDS)
