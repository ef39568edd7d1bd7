"""Files of libsvm that are wrong on purpose, and odd ones that are right."""

import random
import re
from collections.abc import Iterator

from tests.fuzz import seeds
from tests.fuzz.csv_files import RATES, RIGHT, cell
from tests.fuzz.spoil import pick, spoil

NUMBERS = [text for text in RIGHT if text.strip(' "\n') == text]
WRONG = [
    "-1:1", "1:", ":1", "x:1", "1", "1:1:1", "1 :1", "1: 1", "99999999999:1", "2147483647:1",
    "qid:", "qid:-1", "qid:99999999999999999999", "1:0x1", "1:1_0", "\x0b1:1", "\0", "1:\xb2",
]  # fmt: skip
WORDS = [
    *(bytes([c]) for c in b"0123456789" * 3),
    *(bytes([c]) for c in b".:# -+eEqidnaf_,\r\n\t\0\x0b\x0c\x80\xff"),
    b"\r\n", b"\n\n", b"qid:", b" 1:", b"00000000", b"99999999", b"2147483646:", b"\xef\xbb\xbf",
]  # fmt: skip
SPOILT = 16  # made of each file


def value(rng: random.Random, rate: float) -> str:
    """A number in some spelling, or what looks like one."""
    if rng.random() < 0.5:
        return str(int(rng.random() * 1000) / 8)
    return pick(rng, NUMBERS) if rng.random() < 0.5 else cell(rng, rate).strip(" \n\"'") or "1"


def line(rng: random.Random, form: int, rate: float) -> str:
    """A row, with a weight and a group as the bits of the form say."""
    tokens = [value(rng, rate) + (":" + value(rng, rate) if form & 1 else "")]
    if form & 2:
        tokens.append(f"qid:{int(rng.random() * 10.0 ** int(rng.random() * 20))}")
    index = 0
    for _ in range(int(rng.random() * 6)):
        index += 1 + int(rng.random() * 10.0 ** int(rng.random() * 4))
        entry = f"{index}:{value(rng, rate)}"
        tokens.append(pick(rng, WRONG) if rng.random() < rate / 4 else entry)
    if rng.random() < 0.1:
        tokens.append("# " + value(rng, rate))
    return pick(rng, (" ", " ", " ", "  ", "\t")).join(tokens)


def generate(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.sparse_text`, without end."""
    valid = seeds.libsvm()
    while True:
        code, rate, form = int(rng.random() * 8), pick(rng, RATES), pick(rng, (0, 0, 1, 2, 3))
        lines = [line(rng, form, rate) for _ in range(1 + int(rng.random() * 12))]
        end = pick(rng, ("\n", "\n", "\r\n"))
        whole = bytes([code]) + (end.join(lines) + end).encode("utf-8", "replace")
        yield whole
        for _ in range(SPOILT):
            yield spoil(rng, whole, pick(rng, valid), WORDS)


def generate_fielded(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.fielded_text`: those of libsvm with fields, spoilt once more."""
    valid = seeds.libffm()
    entry = re.compile(rb"([ \t])(\d+:)")
    for data in generate(rng):
        field = str(int(rng.random() * 10.0 ** int(rng.random() * 6))).encode()
        whole = data[:1] + entry.sub(rb"\g<1>" + field + rb":\g<2>", data[1:])
        yield whole if rng.random() < 0.5 else spoil(rng, whole, pick(rng, valid), WORDS)
