"""Model files that are wrong on purpose, but for the seal, which is put on them later."""

import json
import math
import random
import struct
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from smalgos.learning import files
from tests.fuzz import seeds
from tests.fuzz.properties import unsealed
from tests.fuzz.spoil import pick, spoil

Path: TypeAlias = tuple[Any, ...]  # keys and indices that lead to a value in JSON


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else []


VALUES = [json.dumps(value) for value in (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**400), 0.0, 0.5,
    -0.5, 1e300, "", "x", "nan", "F32", "I64", "U8", "BOOL", "softmax_loss", "logistic",
    "hinge_loss", "regressor", "pca", "linear-learner", "multiclass_classifier", "auto", [], [0],
    [1], [2, 2], [0, 0], [2**62, 2], [[1], [1, 2]], [2**40, 0], {}, {"a": 1}, {"$float": "nan"},
    {"$float": "inf"}, {"$float": 1}, {"$$": 1}, _nested(200),
)]  # fmt: skip
WORDS = [
    *(bytes([c]) for c in b'0123456789.-+eE"{}[]:,\\ \n\0\xff'),
    b"null", b"true", b"1e999", b"NaN", b"Infinity", b"-1", b"9" * 30, b"9" * 5000, b"[" * 2000,
    b'{"":' * 2000, b"\\u0000", b"\\ud800", b'\\"', b"\xc0\x80", struct.pack("<f", math.nan),
    struct.pack("<d", math.inf),
]  # fmt: skip
SHAPES = (
    (), (0,), (1,), (2,), (3,), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (3, 1), (2, 3), (1, 1, 2),
    (5, 40),
)  # fmt: skip
TYPES = ("f4", "f8", "i4", "i8", "u1", "?", "f2")


def generate(rng: random.Random) -> Iterator[bytes]:
    """Inputs of `properties.model`, without end."""
    parts, valid = seeds.model_parts(), seeds.model()
    while True:
        arrays, meta = pick(rng, parts)
        data = unsealed(files.encode(arrays, meta))
        header, _, body = data.partition(b"\n")
        for _ in range(12):
            yield lie(rng, header) + b"\n" + body
        for _ in range(4):
            yield unsealed(files.encode(_reshaped(rng, arrays), meta))
        for _ in range(4):
            yield spoil(rng, data, pick(rng, valid), WORDS)


def lie(rng: random.Random, text: bytes) -> bytes:
    """A header in which one or two values are changed: of the arrays, or of all the rest.

    Raises
    ------
    ValueError, TypeError, KeyError
        When it is none.
    """
    header = json.loads(text)
    envelope = json.loads(header["__metadata__"]["smalgos"])
    for _ in range(1 if rng.random() < 0.8 else 2):
        about = header if rng.random() < 0.3 else envelope
        places = [path for path in _places(about) if path[0] != "__metadata__"]
        if places:
            _change(rng, about, pick(rng, places))
    if "sha256" in envelope:  # must come last, to be where the seal is looked for
        envelope["sha256"] = envelope.pop("sha256")
    header["__metadata__"]["smalgos"] = json.dumps(envelope, separators=(",", ":"))
    return json.dumps(header, separators=(",", ":")).encode()


def _places(node: Any, path: Path = ()) -> Iterator[Path]:
    """Where the values in JSON are."""
    children: Any = node.items() if isinstance(node, dict) else ()
    if isinstance(node, list):
        children = enumerate(node)
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


def _change(rng: random.Random, node: Any, path: Path) -> None:
    """Change a value: to another one, by a step, away, or give it twice."""
    for key in path[:-1]:
        node = node[key]
    key, kind = path[-1], rng.random()
    value = node[key]
    if kind < 0.6:
        node[key] = json.loads(pick(rng, VALUES))
    elif kind < 0.75 and type(value) in (int, float):
        node[key] = value + pick(rng, (1, -1, 8, -8))
    elif kind < 0.85:
        del node[key]
    elif isinstance(node, dict):
        node[pick(rng, (f"{key}.x", "a", "state.", "$x", "scalars"))] = value
    else:
        node.append(value)


def _reshaped(rng: random.Random, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of which one or two do not fit the others, or have odd numbers."""
    changed = dict(arrays)
    for _ in range(1 if rng.random() < 0.6 else 2):
        name = pick(rng, sorted(changed))
        array = np.zeros(pick(rng, SHAPES), changed[name].dtype)
        if rng.random() < 0.4:
            array = array.astype(pick(rng, TYPES))
        if array.size and array.dtype.kind == "f":
            array.flat[-1] = pick(rng, (0.0, 1.0, 3e4, math.inf, math.nan))
        changed[name] = array
    return changed
