"""Rows as JSON objects: the grammar that JSON documents and JSON Lines share.

A row is ``{"features": [v, ...]}``, short for ``{"data": {"features": {"values": [v, ...]}}}``;
a sparse one is ``{"data": {"features": {"keys": [k, ...], "shape": [n], "values": [v, ...]}}}``,
its keys counted from 0. A number may be the text of one, ``"1.5"``, as some clients send it. Other
members of a row, such as an id, are passed over.
"""

import json
import re
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.csv_texts import all_texts

MAX_WIDTH = 2**31 - 1  # columns are int32

FORMS = '{"features": [...]} or {"data": {"features": {"keys": ..., "shape": ..., "values": ...}}}'
TENSOR = {"values", "keys", "shape"}


class Bad(Exception):
    """What is wrong, and what to do; whoever reads the file adds where."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Bad(f"{shown(twice)} is given twice in one object: keep one")
    return members


def _no_constant(name: str) -> None:
    raise Bad(f"{name} is no JSON: fill in missing values first")


_SPACE = re.compile(r"[ \t\r\n]*")
# All numbers become floats, as those of CSV: a whole number of a million digits is one, too.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=float, parse_constant=_no_constant
)


def parse(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value at a place of a text, and the place behind it.

    Raises
    ------
    Bad
        When there is none, or it holds what has no meaning here: a key twice, NaN.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as e:
        raise Bad(f"no JSON: {e.msg} at character {e.pos + 1}") from None
    except RecursionError:
        raise Bad("no JSON that can be read: lists or objects are nested too deeply") from None
    return value, behind_space(text, end)


def behind_space(text: str, at: int) -> int:
    """The next place of a text that is no white space."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def shown(value: Any) -> str:
    """A JSON value in a few characters, for messages."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


class Rows:
    """Rows put behind one another, into blocks.

    Parameters
    ----------
    name : str
        What errors call the file.
    width : int, optional
        How many features each row must have; default: as many as the first.
    """

    def __init__(self, name: str, width: int | None) -> None:
        self.name, self.width = name, width
        self._given = width is not None
        self._start = 0
        self._sparse = False
        self._clear()

    def _clear(self) -> None:
        self._values, self._keys, self._ends = array("d"), array("d"), [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, row: Any) -> None:
        """Take one more row.

        Raises
        ------
        Bad
            When it is none, or has other features than the rows before.
        """
        values, keys, width = _features(row)
        self._check_width(width)
        if keys is not None and not self._sparse:
            self._sparse = True  # all rows are, from here on; those before have all their columns
            if len(self):  # at least one row was as wide as this
                self._keys.extend(array("d", range(width)) * len(self))
        if self._sparse:
            self._keys.fromlist(list(range(width)) if keys is None else keys)
        self._values.fromlist(values)
        self._ends.append(len(self._values))

    def _check_width(self, width: int) -> None:
        if self.width is None:
            self.width = width
        if width != self.width:
            expected = f"{self.width} are expected" if self._given else f"row 1 has {self.width}"
            raise Bad(f"has {_count(width)} where {expected}: all rows need the same number")

    def error(self, why: Bad) -> UserError:
        """Says what is wrong with the row behind those taken."""
        return UserError(f"{self.name}, row {self._start + len(self) + 1}: {why}")

    def take(self) -> Block:
        """The rows since the last block: dense, or `Csr` from the first sparse row on."""
        n, start, width = len(self), self._start, self.width or 0
        with np.errstate(over="ignore"):  # 1e39 is inf, as in float32 it is
            values = np.array(self._values).astype(np.float32)
        features: Any = values.reshape(n, width) if not self._sparse else None
        if features is None:
            keys = np.array(self._keys).astype(np.int32)
            features = Csr(values, keys, np.array(self._ends, np.int64), width)
        self._start += n
        self._clear()
        return Block({"features": features}, start)


def _features(row: Any) -> tuple[list[float], list[float] | None, int]:
    """Values, keys (None: dense) and width of a row."""
    if not isinstance(row, dict):
        raise Bad(f"{shown(row)} is no row: write {FORMS}")
    if "features" in row:
        if "data" in row:
            raise Bad('both "features" and "data" are given: keep one')
        return _dense(row["features"], None)
    data = row.get("data")
    tensor = data.get("features") if isinstance(data, dict) else None
    if not isinstance(tensor, dict):
        raise Bad(f"no features: write {FORMS}")
    if unknown := tensor.keys() - TENSOR:
        raise Bad(f"{shown(min(unknown))} is unknown among the features: use {_TENSOR}")
    if "values" not in tensor:
        raise Bad(f'no "values" among the features: use {_TENSOR}')
    keys, values, shape = tensor.get("keys"), tensor["values"], tensor.get("shape")
    width = None if shape is None else _width(shape)
    # As in protobuf: no values and a shape make a row of zeros.
    if keys is None and not (values == [] and width):
        return _dense(values, width)
    return _sparse(keys or [], values, width)


_TENSOR = '"values", "keys" and "shape"'


def _dense(values: Any, width: int | None) -> tuple[list[float], None, int]:
    values = _numbers(values, "feature" if width is None else "value")
    given = len(values)
    if given == 0:
        raise Bad("no features: an empty list is no row")
    if width not in (None, given):
        raise Bad(
            f'{_count(given, "value")} with a "shape" of {width}: write the right shape or none;'
            ' a sparse row needs "keys", too'
        )
    return values, None, given


def _sparse(keys: Any, values: Any, width: int | None) -> tuple[list[float], list[float], int]:
    values, keys = _numbers(values, "value"), _numbers(keys, "key")
    if width is None:
        raise Bad('"keys" without a "shape": write the number of columns, "shape": [n]')
    if len(keys) != len(values):
        raise Bad(f"{_count(len(keys), 'key')} for {_count(len(values), 'value')}: one for each")
    if keys and not (min(keys) >= 0 and max(keys) < width and all(map(float.is_integer, keys))):
        bad = next(k for k in keys if not (0 <= k < width and k.is_integer()))
        raise Bad(f"the key {shown(bad)} must be a column, a whole number from 0 to {width - 1}")
    return values, keys, width


def _width(shape: Any) -> int:
    """The number of columns that a shape says."""
    width = 1
    for size in _numbers(shape, "size"):
        if not (size >= 1 and size.is_integer()):
            raise Bad(f'"shape" holds {shown(size)}: sizes are whole numbers from 1 on')
        width *= int(size)
        if width > MAX_WIDTH:
            raise Bad(f'a "shape" of more than {MAX_WIDTH} columns: hash or drop some')
    if not shape:
        raise Bad('an empty "shape": write the number of columns, "shape": [n]')
    return width


def _numbers(given: Any, what: str) -> list[float]:
    """What is given, if it is a list of numbers, or of their texts."""
    if not isinstance(given, list):
        raise Bad(f"{shown(given)} in the place of a list of {what}s: write [...]")
    if not set(map(type, given)) - {float}:
        return given
    values = [float(v) if isinstance(v, str) and _NUMBER.fullmatch(v) else v for v in given]
    for i, value in enumerate(values):
        if type(value) is not float:
            advice = _ADVICE.get(type(value), "")
            raise Bad(f"{what} {i + 1} is no number but {shown(value)}{advice}")
    return values


_NUMBER = re.compile(r"[ \t\r\n]*-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[ \t\r\n]*")
_ADVICE = {
    str: ": write a number",
    list: ": write one flat list for each row",
    bool: ": write 0 or 1",
    type(None): ": fill in missing values first",
}


def _count(n: int, what: str = "feature") -> str:
    return f"1 {what}" if n == 1 else f"{n} {what}s"


# --- writing

_CELLS = 1 << 20  # numbers written at a time: their text stays far below what pyarrow can hold


def encode_rows(block: Block) -> Iterator[bytes]:
    """The rows of a block in turn, some at a time, each followed by a newline.

    Raises
    ------
    UserError
        For what the grammar has no place for: labels, weights, NaN, infinities.
    """
    if texts := all_texts(block):
        yield from (_text_row([column.row(i) for column in texts]) for i in range(len(block)))
        return
    if more := ", ".join(block.columns.keys() - {"features"}):
        raise UserError(f"JSON holds features alone: leave out {more}, or choose another format")
    width = max(block.features.shape[1], 1)
    for rows in block.batches(max(1, _CELLS // width)):
        features = rows.features.tight() if isinstance(rows.features, Csr) else rows.features
        values = features.values if isinstance(features, Csr) else np.asarray(features)
        if not np.isfinite(values).all():
            raise UserError("JSON has no NaN and no infinity: fill in missing values first")
        yield _csr_text(features) if isinstance(features, Csr) else _dense_text(values)


def _text_row(texts: list[Any]) -> bytes:
    """``{"source": "..."}``, or ``{"features": ["...", "..."]}``"""
    decoded = [text.tobytes().decode(errors="replace") for text in texts]
    row: Any = {"source": decoded[0]} if len(texts) == 1 else {"features": decoded}
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _dense_text(values: Any) -> bytes:
    return _joined(('{"features": [', _lists(values.ravel(), _regular(values.shape)), "]}\n"))


def _csr_text(rows: Csr) -> bytes:
    keys, values = _lists(rows.indices, rows.offsets), _lists(rows.values, rows.offsets)
    return _joined(
        (
            '{"data": {"features": {"keys": [',
            keys,
            f'], "shape": [{rows.width}], "values": [',
            values,
            "]}}}\n",
        )
    )


def _regular(shape: tuple[int, int]) -> Any:
    return np.arange(shape[0] + 1) * shape[1]


def _lists(values: Any, offsets: Any) -> Any:
    """The numbers of each row, separated by commas, as a string array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(values).cast(pa.string())
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), texts)
    return pc.binary_join(lists, ", ")


def _joined(parts: tuple[Any, ...]) -> bytes:
    import pyarrow.compute as pc

    text = pc.binary_join_element_wise(*parts, "").buffers()[2]
    return text.to_pybytes() if text else b""  # of a fresh string array: all rows in a row
