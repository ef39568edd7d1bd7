"""Rows in JSON by Python's json module, number by number."""

import json
from typing import Any

import numpy as np


class Bad(Exception):
    """A body that must be refused."""


class Number(str):
    """The text of a number."""


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if it names nothing twice."""
    names = [name for name, _ in pairs]
    if sorted(set(names)) != sorted(names):
        raise Bad("a name twice")
    return dict(pairs)


def no_constant(name: str) -> None:
    """NaN, Infinity."""
    raise Bad(name)


def parse(text: str) -> Any:
    """A JSON text, its numbers as texts."""
    try:
        return json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=no_constant,
            object_pairs_hook=members,
        )
    except (ValueError, RecursionError) as e:
        raise Bad(str(e)) from None


def numbers(given: Any) -> list[float]:
    """A list of numbers."""
    if type(given) is not list:
        raise Bad("no list of numbers")
    texts = [parse(v) if type(v) is str else v for v in given]
    if any(type(v) is not Number for v in texts):
        raise Bad("no list of numbers")
    return [float(v) for v in texts]


def row(given: Any) -> tuple[np.ndarray, bool]:
    """A row, dense, and whether it came sparse."""
    if type(given) is not dict or ("features" in given and "data" in given):
        raise Bad("no row")
    if "features" in given:
        tensor = {"values": given["features"]}
    elif type(given.get("data")) is dict and type(given["data"].get("features")) is dict:
        tensor = given["data"]["features"]
    else:
        raise Bad("no features")
    if not set(tensor) <= {"values", "keys", "shape"} or "values" not in tensor:
        raise Bad("unknown or missing members")
    tensor = {name: value for name, value in tensor.items() if value is not None}
    if "values" not in tensor:
        raise Bad("null")
    values = numbers(tensor["values"])
    width = None
    if "shape" in tensor:
        shape = numbers(tensor["shape"])
        if not shape or any(n < 1 or n != np.floor(n) or n == np.inf for n in shape):
            raise Bad("shape")
        width = 1
        for n in shape:
            width *= int(n)
        if width > 2**31 - 1:
            raise Bad("wide")
    with np.errstate(over="ignore"):
        rounded = np.array(values, np.float64).astype(np.float32)
    if "keys" not in tensor and (values or width is None):
        if not values or width not in (None, len(values)):
            raise Bad("shape of a dense row, or no features")
        return rounded, False
    keys = numbers(tensor.get("keys", []))
    if width is None or len(keys) != len(values):
        raise Bad("keys")
    if any(not 0 <= k < width or k != np.floor(k) for k in keys):
        raise Bad("key")
    if width > 10**6:
        raise Bad("too wide to be checked")
    dense = np.zeros(width, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.add.at(dense, np.array(keys, int), rounded)
    return dense, True


def table(rows: list[Any]) -> np.ndarray:
    """All rows; entries of one column are added."""
    dense = [row(r)[0] for r in rows]
    if len({len(r) for r in dense}) > 1:
        raise Bad("ragged")
    return np.array(dense, np.float32)


def lines(data: bytes) -> np.ndarray:
    """The rows of JSON Lines."""
    texts = [decoded(line) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    rows = [parse(text) for text in texts if text.strip(" \t\r")]
    if any(type(r) is dict and "instances" in r for r in rows):
        raise Bad("a document")
    return table(rows)


def document(data: bytes) -> np.ndarray:
    """The rows of one document."""
    whole = parse(decoded(data.removeprefix(b"\xef\xbb\xbf")))
    if type(whole) is not dict or type(whole.get("instances")) is not list:
        raise Bad("no document")
    return table(whole["instances"])


def decoded(data: bytes) -> str:
    """UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise Bad(str(e)) from None
