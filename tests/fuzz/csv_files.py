"""CSV files that are wrong on purpose, and odd ones that are right."""

import random
from collections.abc import Iterator

from tests.fuzz import seeds
from tests.fuzz.properties import csv_options
from tests.fuzz.spoil import pick, spoil

RIGHT = [
    "0", "1", "-1", "+7", "007", "-0", "-0.0", ".5", "5.", "1e5", "1E-5", "1e+5", "1e-46", "1e400",
    "-1e400", "1e99999999999999999999", "3.4028235e38", "3.4028236e38", "1.4e-45", "7e-46",
    "16777217", "0.12345678", "12345678.1", "-0.1234567890123456", "1234567890123456",
    "0.12345678901234567", "123456789012345678901", "0." + "0" * 30 + "1", "1" * 60, "0" * 70 + "1",
    "nan", "-NaN", "inf", "-Infinity", " 1", "1 ", '"1"', '" 1 "', '"1\n"',
]  # fmt: skip
WRONG = [
    ".", "-", "1e", "e5", "infinit", ".nan", "-.inf", "nan.", "0x10", "1_0", "1.2.3", "", " ", '"1',
    '1"', '""', '"1""2"', '"1,2"', "x", "\t1", "1\r", "\0", "1\0", "\u0663", "\xa01", "\u2007",
    "1\x0b", "true", "1d5", "1f",
]  # fmt: skip
RATES = (0.0, 0.0, 0.01, 0.1)  # of cells that are wrong
WORDS = [
    *(bytes([c]) for c in b"0123456789" * 3),
    *(bytes([c]) for c in b".,;-+eE\"'\r\n\t nNaAiIfF_\0\x0b\x0c\x1a\x80\xc3\xe9\xff"),
    b"\r\n", b"\n\n", b'""', b'","', b"e-", b"00000000", b"99999999", b"\xef\xbb\xbf", b"\xc2\xa0",
]  # fmt: skip
SPOILT = 16  # made of each file


def cell(rng: random.Random, rate: float) -> str:
    """A number in some spelling, or what looks like one."""
    kind = rng.random()
    if kind < rate:
        return pick(rng, WRONG)
    if kind < 0.35:
        return pick(rng, RIGHT)
    if kind < 0.6:
        return repr(rng.random() * 10.0 ** int(rng.random() * 60 - 30))
    digits = str(int(rng.random() * 10.0 ** (1 + int(rng.random() * 24))))
    if kind < 0.85:
        at = int(rng.random() * (len(digits) + 1))
        digits = digits[:at] + "." + digits[at:]
    return "-" + digits if rng.random() < 0.3 else digits


def line(rng: random.Random, width: int, delimiter: str, rate: float) -> str:
    """A row of plain numbers, or of odd ones."""
    if rng.random() < 0.5:
        return delimiter.join([str(int(rng.random() * 1000) / 8) for _ in range(width)])
    return delimiter.join([cell(rng, rate) for _ in range(width)])


def generate(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.table`, without end."""
    valid = seeds.table()
    while True:
        code, rate = int(rng.random() * 256), pick(rng, RATES)
        options = csv_options(code)
        delimiter = options["delimiter"]
        width = options["label_size"] + options["weights"] + pick(rng, (0, 1, 1, 1, 2, 2, 3, 4))
        n = 1 + int(rng.random() * 12)
        lines = [line(rng, width, delimiter, rate) for _ in range(n)]
        if rng.random() < 0.02:
            lines = [line(rng, 300, delimiter, rate) for _ in range(2)]
        end = pick(rng, ("\n", "\n", "\r\n"))
        text = (end.join(lines) + end).encode(options["encoding"], "replace")
        whole = bytes([code]) + text
        yield whole
        for _ in range(SPOILT):
            yield spoil(rng, whole, pick(rng, valid), WORDS)


def single_lines(rng: random.Random) -> Iterator[bytes]:
    """Lines with commas and their end, without end."""
    while True:
        width = 1 + int(rng.random() * 4)
        whole = line(rng, width, ",", pick(rng, RATES)).encode("utf-8", "replace")
        yield whole.replace(b"\n", b" ") + b"\n"
        for _ in range(4):
            yield spoil(rng, whole, whole, WORDS).replace(b"\n", b" ") + b"\n"
