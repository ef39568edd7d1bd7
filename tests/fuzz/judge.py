"""The verdict of the slow, obvious readers on an input, against ours."""

import codecs
import contextlib
import csv as python_csv
import io
import itertools
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from smalgos.formats.protobuf import message_classes
from tests.reference import csv as reference_csv
from tests.reference import json_rows as reference_json
from tests.reference import libsvm as reference_libsvm
from tests.reference.protobuf import MAGIC, tensor

# Faults that the library passes over: it takes a known field of a wrong wire type for an unknown
# one, nests groups to a depth of its own, passes over field number 0 inside of groups, and drops
# what a varint has beyond 64 bits.
OURS_ALONE = (
    "of another wire type",
    "a group that does not end",
    "a field number or wire type",
    "more than 64 bits",
)


# What the library may refuse and we do not: tags and lengths that take more than five bytes, and
# what is inside a value of bytes, which we never look at.
OURS_TAKE = re.compile(rb"[\x80-\xff]{5}|\x4a")


class Bad(Exception):
    """A file or record that must be refused."""


class Unsure(Exception):
    """A record about which the library may differ from us."""


class Record(NamedTuple):
    values: np.ndarray
    keys: list[int]
    width: int
    labels: np.ndarray
    texts: tuple[bytes, bytes]  # uid and metadata


def payloads(data: bytes) -> tuple[list[bytes], bool]:
    """The records of a file up to the first fault, split ones joined; whether there is none."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        parts = []
        while True:
            if len(data) - at < 8 or data[at : at + 4] != MAGIC:
                return found, False
            flag, n = divmod(struct.unpack_from("<I", data, at + 4)[0], 1 << 29)
            if (flag not in (2, 3) if parts else flag not in (0, 1)) or at + 8 + n > len(data):
                return found, False
            parts.append(data[at + 8 : at + 8 + n])
            at += 8 + n + -n % 4
            if flag in (0, 3):
                break
        found.append(MAGIC.join(parts))
    return found, True


def product(shape: list[int]) -> int:
    """The number of columns; -1 without a shape."""
    return math.prod(shape) if shape else -1


def record(payload: bytes) -> Record:
    """What a record says, by the protobuf library and the rules of `read_blocks`."""
    try:
        message = message_classes().Record.FromString(payload)
    except DecodeError:
        raise (Unsure if OURS_TAKE.search(payload) else Bad)("no message") from None
    # It drops a map entry that has an unknown field; we skip the field.
    if any(field.field_number < 3 for field in UnknownFieldSet(message)):
        raise Unsure("an entry that is unknown to the library")
    if "values" not in message.features:
        raise Bad("no features")
    labels = np.empty(0, np.float32)
    if "values" in message.label:
        label = message.label["values"]
        if label.WhichOneof("value") == "bytes":
            raise Bad("bytes")
        labels, keys, shape = tensor(label)
        if keys or (shape and product(shape) != len(labels)):
            raise Bad("label")
    if message.features["values"].WhichOneof("value") == "bytes":
        raise Bad("bytes")
    values, keys, shape = tensor(message.features["values"])
    width = product(shape)
    if len(values) and not keys:
        if width not in (-1, len(values)):
            raise Bad("shape")
        width, keys = len(values), list(range(len(values)))
    if len(keys) != len(values) or (not keys and width <= 0) or not 0 <= width < 1 << 31:
        raise Bad("tensor")
    if any(key >= width for key in keys):
        raise Bad("key")
    # What is no UTF-8 the library gives as bytes.
    texts = [t.encode() if isinstance(t, str) else t for t in (message.uid, message.metadata)]
    return Record(values, keys, width, labels, (texts[0], texts[1]))


def recordio(data: bytes, rows: dict[str, np.ndarray], error: str) -> None:
    """Assert that the rows, and the error behind them, are right."""
    found, whole = payloads(data)
    good: list[Record] = []
    try:
        for payload in found:
            one = record(payload)
            if good and (one.width, len(one.labels)) != (good[0].width, len(good[0].labels)):
                raise Bad("another width")
            good.append(one)
    except Unsure:
        return
    except Bad as e:
        whole = False
        why = str(e)
    else:
        why = "frames"
    n = len(rows.get("length", ()))
    if not error:
        assert whole, f"accepted, but {why} at record {len(good)}"
    elif whole:
        assert any(fault in error for fault in OURS_ALONE), f"refused without need: {error}"
    else:
        number = re.search(r": record (\d+)[, ]", error)
        assert number, f"the error does not name a record: {error}"
        if not any(fault in error for fault in OURS_ALONE):
            assert int(number[1]) >= len(good), f"record {len(good)} is the bad one: {error}"
    assert n <= len(good) if error else n == len(good), f"{n} rows, not {len(good)}"
    if n == 0:
        return
    good = good[:n]
    lengths = [len(r.values) for r in good]
    assert rows["length"].tolist() == lengths
    assert rows["width"].tolist() == [good[0].width]
    assert rows["column"].tolist() == [key for r in good for key in r.keys]
    _assert_numbers(rows["value"], np.concatenate([r.values for r in good]))
    labels = rows.get("labels", np.empty(0, np.float32))
    _assert_numbers(labels.reshape(-1), np.concatenate([r.labels for r in good]))
    for i, name in enumerate(("uid", "metadata")):
        texts = [r.texts[i] for r in good]
        assert rows[name].tobytes() == b"".join(texts)
        assert rows[f"{name} length"].tolist() == list(map(len, texts))


def _assert_numbers(got: np.ndarray, want: np.ndarray) -> None:
    """Equal to the bit, but for the bits of NaN, which pass through float64 in the library."""
    assert got.dtype == want.dtype == np.float32
    assert got.shape == want.shape, f"{got.shape} numbers, not {want.shape}"
    nan = np.isnan(want)
    assert (np.isnan(got) == nan).all()
    assert got[~nan].tobytes() == want[~nan].tobytes(), f"{got} is not {want}"


def table(text: bytes, rows: dict[str, np.ndarray], error: str, options: dict[str, Any]) -> None:
    """Assert that the rows, and the error behind them, are right."""
    if options.get("encoding") == "utf-16":
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        try:
            text = decoder.decode(text, final=True).encode("utf-8", "replace")
        except UnicodeError:
            assert error, "accepted, but it has no byte-order mark"
            return
        options = options | {"encoding": "utf-8"}
    bad: Exception | None = None
    try:
        labels, weights, features = reference_csv.read(text, **options)
    except (reference_csv.Bad, python_csv.Error) as e:
        bad = e
    if bad:
        assert error, f"accepted, but {bad!r}"
        named = re.search(r", row (\d+)\b", error)
        assert named, f"the error does not name a row: {error}"
        if isinstance(bad, reference_csv.Bad):
            assert int(named[1]) == bad.row, f"row {bad.row} is the bad one: {error}"
        return
    assert not error, f"refused without need: {error}"
    if not rows:
        assert len(features) == 0
        return
    _assert_numbers(rows["value"], features.reshape(-1))
    for name, want in (("labels", labels), ("weights", weights)):
        if want is None:
            assert name not in rows
        else:
            _assert_numbers(rows[name].reshape(-1), want.reshape(-1))


def sparse_text(
    text: bytes, rows: dict[str, np.ndarray], error: str, options: dict[str, Any]
) -> None:
    """Assert that the rows of libsvm, and the error behind them, are right."""
    bad: reference_libsvm.Bad | None = None
    good: list[Any] = []
    try:
        good = reference_libsvm.read(text, **options)
    except reference_libsvm.Bad as e:
        bad = e
    if bad:
        named = re.search(r", row (\d+)\b", error)
        assert named, f"accepted, or no row named, but {bad!r}: {error!r}"
        assert int(named[1]) == bad.row, f"row {bad.row} is the bad one: {error}"
        return
    assert not error, f"refused without need: {error}"
    if not rows:
        assert not good
        return
    entries = [row[3] for row in good]
    assert rows["length"].tolist() == list(map(len, entries))
    assert rows["width"].tolist() == [options["width"]]
    assert rows["column"].tolist() == [column for row in entries for column in row]
    values = [value for row in entries for value in row.values()]
    _assert_numbers(rows["value"], np.array(values, np.float32))
    for name, i in (("labels", 0), ("weights", 1), ("groups", 2)):
        wanted = [row[i] for row in good]
        if wanted[0] is None:
            assert name not in rows
        elif name == "groups":
            assert rows[name].tolist() == wanted
        else:
            _assert_numbers(rows[name], np.array(wanted, np.float32))


def json_lines(text: bytes, rows: dict[str, np.ndarray], error: str, width: int | None) -> None:
    """Assert that the rows of JSON Lines, and the error behind them, are right."""

    def instances() -> Iterator[Any]:
        for line in text.removeprefix(codecs.BOM_UTF8).split(b"\n"):
            if line.strip(b" \t\r"):
                instance = reference_json.parse(reference_json.decoded(line))
                if isinstance(instance, dict) and "instances" in instance:
                    raise reference_json.Bad("a document")
                yield instance

    _json_rows(instances(), rows, error, width)


def json_document(text: bytes, rows: dict[str, np.ndarray], error: str, width: int | None) -> None:
    """Assert that the rows of a document, or the error, are right."""
    try:
        decoded = reference_json.decoded(text.removeprefix(codecs.BOM_UTF8))
        document = reference_json.parse(decoded)
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            raise reference_json.Bad("no document")
    except reference_json.Bad:
        assert error, "accepted, but it is no document"
        assert not rows
        return
    _json_rows(iter(document["instances"]), rows, error, width)


def texts(
    code: int, names: tuple[str, ...], text: bytes, rows: dict[str, np.ndarray], error: str
) -> None:
    """Assert that rows of texts are those of Python's own readers, as far as they go."""
    found = list(zip(*(_cells(rows, name) for name in names), strict=True))
    if code < 2:
        whole = text.removeprefix(codecs.BOM_UTF8)
        assert not error
        assert b"".join(row for (row,) in found) == whole + b"\n" * (whole[-1:] not in (b"", b"\n"))
        assert all(row.count(b"\n") == row.endswith(b"\n") for (row,) in found)
        return
    whole = text.removeprefix(codecs.BOM_UTF8)
    if code < 4:
        decoded = whole.decode("utf-8", "surrogateescape")
        lines = python_csv.reader(
            io.StringIO(decoded, newline=""), skipinitialspace=True, strict=True
        )
        expected = _as_far(tuple(map(_cell, row)) for row in lines)
    elif code < 6:
        expected = _as_far(
            _texts(json.loads(line)) for line in whole.split(b"\n") if line.strip(b" \t\r")
        )
    else:
        expected = _as_far(map(_texts, json.loads(whole)["instances"])) if found else []
    for row, right in zip(found, expected, strict=False):
        labelled = len(row) == 1 and row[0].startswith(b"__label__") and row != right
        assert row[0].endswith(right[0]) if labelled else row == right
    assert len(found) <= len(expected)
    if not error:
        assert not [row for row in expected[len(found) :] if b"".join(row).strip()]


def _texts(row: Any) -> tuple[bytes, ...]:
    if isinstance(row, dict):
        inner = row["data"]["features"]["values"] if "data" in row else None
        row = row.get("source", row.get("features", inner))
    return tuple(text.encode() for text in ([row] if isinstance(row, str) else row))


def _cells(rows: dict[str, np.ndarray], name: str) -> list[bytes]:
    if name not in rows:
        return []
    ends = np.cumsum([0, *rows[f"{name} length"]]).tolist()
    values = rows[name].tobytes()
    return [values[a:b] for a, b in itertools.pairwise(ends)]


def _cell(cell: str) -> bytes:
    return cell.strip(" ").encode("utf-8", "surrogateescape")


def _as_far(rows: Iterator[Any]) -> list[Any]:
    """What there is before the first error."""
    found: list[Any] = []
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError, python_csv.Error):
        found.extend(rows)
    return found


def _json_rows(
    instances: Iterator[Any], rows: dict[str, np.ndarray], error: str, width: int | None
) -> None:
    good: list[tuple[np.ndarray, bool]] = []
    bad: reference_json.Bad | None = None
    try:
        for instance in instances:
            row, sparse = reference_json.row(instance)
            width = len(row) if width is None else width
            if len(row) != width:
                raise reference_json.Bad("another width")
            good.append((row, sparse))
    except reference_json.Bad as e:
        if "too wide" in str(e):
            return
        bad = e
    if bad:
        named = re.search(r", row (\d+): ", error)
        assert named, f"accepted, or no row named, but {bad!r}: {error!r}"
        assert int(named[1]) == len(good) + 1, f"row {len(good) + 1} is the bad one: {error}"
    else:
        assert not error, f"refused without need: {error}"
    n = len(rows.get("length", ()))
    assert n <= len(good) if bad else n == len(good), f"{n} rows, not {len(good)}"
    if n == 0:
        return
    assert rows.keys() == {"value", "column", "length", "width"}
    assert rows["width"].tolist() == [width]
    ends = np.cumsum(rows["length"])
    for (row, sparse), begin, end in zip(good, ends - rows["length"], ends, strict=False):
        columns, values = rows["column"][begin:end], rows["value"][begin:end]
        if not sparse:
            assert columns.tolist() == list(range(len(row)))
        else:
            dense = np.zeros(len(row), np.float32)
            with np.errstate(invalid="ignore"):  # inf - inf, in one column
                np.add.at(dense, columns, values)
            values = dense
        _assert_numbers(values, row)
