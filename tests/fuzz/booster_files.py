"""Booster files (XGBoost's JSON and UBJSON) that are wrong on purpose."""

import contextlib
import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from smalgos.algorithms.xgboost import ubjson
from tests.fuzz.model_files import VALUES as OTHERS
from tests.fuzz.model_files import WORDS, _change, _places
from tests.fuzz.small_boosters import seeds, small_texts
from tests.fuzz.spoil import pick, spoil

VALUES = [
    *OTHERS, "2147483647", "-2147483648", "16777215", "16777216", "3.5e38", "1e-45", "NaN",
    "Infinity", "-Infinity", '"5E-1"', '"[0.5,1]"', '"3"', '"-1"', '"1e9"', '"gbtree"', '"dart"',
    '"gblinear"', '"multi:softprob"', '"binary:logistic"', '"count:poisson"',
]  # fmt: skip


def generate(rng: random.Random) -> Iterator[bytes]:
    """Damaged booster files, without end."""
    valid, texts = seeds(), list(small_texts().values())
    while True:
        for _ in range(12):
            yield lie(rng, pick(rng, texts))
        for _ in range(8):
            yield spoil(rng, pick(rng, valid), pick(rng, valid), WORDS)


def lie(rng: random.Random, text: str) -> bytes:
    """A file in which one or two values are changed, in either form."""
    document = json.loads(text)
    for _ in range(1 if rng.random() < 0.7 else 2):
        places = list(_places(document))
        if places and rng.random() < 0.7:
            _change(rng, document, pick(rng, places))
        elif places:  # to what means something to boosters
            *path, key = pick(rng, places)
            node = document
            for step in path:
                node = node[step]
            node[key] = json.loads(pick(rng, VALUES))
    if rng.random() < 0.5:
        with contextlib.suppress(OverflowError, RecursionError, struct.error):
            return ubjson.encode(_typed(document))
    return json.dumps(document).encode()


def _typed(value: Any) -> Any:
    """The same with arrays where XGBoost has them."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        if value and set(map(type, value)) == {int} and max(map(abs, value)) < 1 << 31:
            return np.array(value, np.int32)
        if value and set(map(type, value)) <= {int, float}:
            with contextlib.suppress(OverflowError), np.errstate(over="ignore"):
                return np.array(value, np.float64).astype(np.float32)
        return [_typed(inner) for inner in value]
    return value
