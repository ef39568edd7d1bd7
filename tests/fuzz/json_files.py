"""JSON documents and JSON Lines that are wrong on purpose, and odd ones that are right."""

import random
from collections.abc import Iterator

from tests.fuzz import seeds
from tests.fuzz.csv_files import RATES
from tests.fuzz.spoil import pick, spoil

NUMBERS = [
    "0", "1", "-1", "-0", "-0.0", "0.5", "1e5", "1E-5", "1e+5", "1e-46", "1e400", "-1e400",
    "1e99999999999999999999", "3.4028235e38", "3.4028236e38", "1.4e-45", "7e-46", "16777217",
    "0.12345678", "-0.1234567890123456", "123456789012345678901", "1" * 60, "0." + "0" * 70 + "1",
    "1.00000017881393432617187499", "1 ", "\t1",
]  # fmt: skip
WRONG = [
    "+7", "007", ".5", "5.", "1e", "-", "1_0", "0x10", "nan", "NaN", "Infinity", "-Infinity", "",
    "true", "null", '"1"', "[1]", "{}", "1 2", "'1'", "\u0663", "\xa01", "1\0", '"\\ud800"', '"x',
]  # fmt: skip
SIZES = ["0", "-1", "1.5", "1e3", "2147483647", "2147483648", "1e400", "9" * 30]
MORE = [
    '"id": 7', '"id": "\\u00e4\\ud834\\udd1e"', '"label": null', '"x": {"features": [[1], {}]}',
    '"features": [1]', '"data": {}', '"data": {"features": {"values": [1]}}', '"instances": []',
    '"x": "\x7f\\"]}"', '"x": [' + "[" * 40 + "]" * 40 + "]", '"": 1, "": 1',
]  # fmt: skip
WORDS = [
    *(bytes([c]) for c in b"0123456789" * 2),
    *(bytes([c]) for c in b'{}[],:"\\.-+eE \t\r\n\0\x0b\x7f\x80\xc3\xe9\xff/'),
    b"null", b"true", b"NaN", b"[[", b"]]", b"}}", b'""', b"\\u", b"\\ud800", b'"features"',
    b'"data"', b'"keys"', b'"shape"', b'"values"', b'"instances"', b"\r\n", b"\xef\xbb\xbf",
    b"00000000", b"99999999", b"1e99", b"2147483648", b"\xc2\xa0", b"\xed\xa0\x80",
]  # fmt: skip
SPOILT = 6  # made of each file


def number(rng: random.Random, rate: float) -> str:
    """A number in some spelling, or what is none."""
    kind = rng.random()
    if kind < rate:
        return pick(rng, WRONG)
    if kind < 0.3:
        return pick(rng, NUMBERS)
    if kind < 0.6:
        return repr(rng.random() * 10.0 ** int(rng.random() * 60 - 30))
    return str(int(rng.random() * 2000 - 1000) / 8)


def numbers(rng: random.Random, n: int, rate: float) -> str:
    """A list of them."""
    return f"[{', '.join([number(rng, rate) for _ in range(n)])}]"


def row(rng: random.Random, width: int, rate: float) -> str:
    """A row, dense or sparse, with one thing wrong at that rate."""
    if rng.random() < rate:
        width += pick(rng, (-1, 1))
    kind = rng.random()
    if kind < 0.5:
        members = f'"features": {numbers(rng, width, rate)}'
    elif kind < 0.65:
        shape = f', "shape": [{width}]' if kind < 0.6 else ""
        members = f'"data": {{"features": {{"values": {numbers(rng, width, rate)}{shape}}}}}'
    else:
        n = int(rng.random() * 4)
        keys = [str(int(rng.random() * max(width, 1))) for _ in range(n)]
        if n and rng.random() < rate:
            keys[0] = pick(rng, (str(width), "-1", "0.5", "1.0", '"0"', "1e400"))
        size = pick(rng, SIZES) if rng.random() < rate else str(width)
        values = numbers(rng, n + (rng.random() < rate), rate)
        tensor = [f'"keys": [{", ".join(keys)}]', f'"shape": [{size}]', f'"values": {values}']
        rng.shuffle(tensor)
        if rng.random() < rate:
            tensor.pop()
        members = f'"data": {{"features": {{{", ".join(tensor)}}}}}'
    if rng.random() < 0.1 + rate:
        more = pick(rng, MORE if rng.random() < rate else MORE[:4])
        members = f"{members}, {more}" if rng.random() < 0.5 else f"{more}, {members}"
    return f"{{{members}}}"


def code(rng: random.Random, width: int) -> int:
    """The first byte of an input: mostly rows may have any width, sometimes this one."""
    return width if rng.random() < 0.2 else 0


def generate_lines(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.json_lines`, without end."""
    valid = seeds.json_lines()
    while True:
        width, rate = 1 + int(rng.random() * 4), pick(rng, RATES)
        ends = [pick(rng, ("\n", "\n", "\r\n", " \n", "\n\n")) for _ in range(12)]
        lines = [row(rng, width, rate) + end for end in ends[: 1 + int(rng.random() * 12)]]
        whole = bytes([code(rng, width)]) + "".join(lines).encode("utf-8", "replace")
        yield whole
        for _ in range(SPOILT):
            yield spoil(rng, whole, pick(rng, valid), WORDS)


def generate_documents(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.json_documents`, without end."""
    valid = seeds.json_documents()
    while True:
        width, rate = 1 + int(rng.random() * 4), pick(rng, RATES)
        rows = [row(rng, width, rate) for _ in range(int(rng.random() * 12))]
        space = pick(rng, ("", " ", "\n\t", "\r\n"))
        members = [f'"instances":{space}[{f",{space}".join(rows)}{space}]']
        if rng.random() < 0.2:
            members.append('"configuration": {"k": [1, "x"]}')
        if rng.random() < rate:
            members.append(pick(rng, MORE))
        rng.shuffle(members)
        text = f"{space}{{{', '.join(members)}}}{space}"
        whole = bytes([code(rng, width)]) + text.encode("utf-8", "replace")
        yield whole
        for _ in range(SPOILT):
            yield spoil(rng, whole, pick(rng, valid), WORDS)
