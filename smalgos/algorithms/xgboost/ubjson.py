"""Universal Binary JSON, as far as XGBoost's model files go: typed arrays are NumPy's.

After draft 12 of https://ubjson.org. Numbers are big-endian; lengths of texts, arrays and objects
are numbers themselves. Every length is held against the bytes that are left before anything is
allocated for it.
"""

import struct
from typing import Any

import numpy as np

DEPTH = 64  # of nested values; those of a model are less than ten deep

NUMBERS: dict[bytes, np.dtype[Any]] = {
    b"i": np.dtype(">i1"),
    b"U": np.dtype(">u1"),
    b"I": np.dtype(">i2"),
    b"l": np.dtype(">i4"),
    b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"),
    b"D": np.dtype(">f8"),
}
MARKERS = {dtype.str[1:]: marker for marker, dtype in NUMBERS.items()}
CONSTANTS = {b"Z": None, b"T": True, b"F": False}
COUNTS = frozenset(b"iUIlL")
_UNPACK = {
    marker: struct.Struct(">" + char) for marker, char in zip(NUMBERS, "bBhiqfd", strict=True)
}


def decode(data: bytes) -> Any:
    """The value that the bytes hold.

    Returns
    -------
    dict, list, str, int, float, bool, None or ndarray
        Arrays of one type of number are read-only views of `data`, big-endian.

    Raises
    ------
    ValueError
        They hold no value, or more than one; it names the byte.
    """
    reader = _Reader(data)
    try:
        value = reader.value(reader.marker(), DEPTH)
        if reader.at != len(data):
            raise ValueError("there is more behind the end")
    except ValueError as error:
        raise ValueError(f"byte {reader.at}: {error}") from None
    return value


class _Reader:
    """A place in the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        end = self.at + n
        if end > len(self.data):
            raise ValueError("cut short")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def marker(self) -> bytes:
        """The type of the next value."""
        while (found := self.take(1)) == b"N":  # stands for nothing
            pass
        return found

    def number(self, marker: bytes) -> Any:
        return _UNPACK[marker].unpack(self.take(_UNPACK[marker].size))[0]

    def count(self) -> int:
        """A length; what it counts takes a byte each at least."""
        marker = self.marker()
        n: int = self.number(marker) if marker[0] in COUNTS else -1
        if not 0 <= n <= len(self.data) - self.at:
            raise ValueError("a length that is none, or beyond the end")
        return n

    def text(self) -> str:
        return self.take(self.count()).decode()

    def value(self, marker: bytes, depth: int) -> Any:
        """The value behind its marker."""
        if depth == 0:
            raise ValueError(f"nested more than {DEPTH} deep")
        if marker == b"S":
            return self.text()
        if marker == b"[":
            return self.array(depth - 1)
        if marker == b"{":
            return self.object(depth - 1)
        if marker in _UNPACK:
            return self.number(marker)
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker == b"C":
            return self.take(1).decode()
        raise ValueError(f"{marker!r} is no type of value that is known")

    def array(self, depth: int) -> Any:
        marker = self.marker()
        if marker == b"$":
            dtype = NUMBERS.get(self.marker())
            if dtype is None:
                raise ValueError("an array of one type, which is no number")
            if self.marker() != b"#":
                raise ValueError("an array of one type without its length")
            n = self.count()
            return np.frombuffer(self.take(n * dtype.itemsize), dtype)
        if marker == b"#":
            return [self.value(self.marker(), depth) for _ in range(self.count())]
        values = []
        while marker != b"]":
            values.append(self.value(marker, depth))
            marker = self.marker()
        return values

    def object(self, depth: int) -> dict[str, Any]:
        marker = self.marker()
        if marker == b"$":
            raise ValueError("an object of one type")
        if marker == b"#":
            pairs = ((self.text(), self.marker()) for _ in range(self.count()))
            return {key: self.value(kind, depth) for key, kind in pairs}
        values = {}
        while marker != b"}":
            self.at -= 1  # the marker is that of the key's length
            key = self.text()
            values[key] = self.value(self.marker(), depth)
            marker = self.marker()
        return values


def encode(value: Any) -> bytes:
    """The bytes of a value: dicts, lists, texts, numbers, None, and arrays of one dimension.

    Python's floats become float32.
    """
    pieces: list[bytes] = []
    _write(value, pieces)
    return b"".join(pieces)


def _length(n: int) -> bytes:
    return b"L" + n.to_bytes(8, "big")


def _text(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data


def _write(value: Any, pieces: list[bytes]) -> None:
    if isinstance(value, np.ndarray):
        marker = MARKERS[value.dtype.str[1:]]
        pieces += (b"[$", marker, b"#", _length(len(value)))
        pieces.append(value.astype(NUMBERS[marker]).tobytes())
    elif isinstance(value, dict):
        pieces.append(b"{")
        for key, inner in value.items():
            pieces.append(_text(key))
            _write(inner, pieces)
        pieces.append(b"}")
    elif isinstance(value, list):
        pieces += (b"[#", _length(len(value)))
        for inner in value:
            _write(inner, pieces)
    elif isinstance(value, str):
        pieces += (b"S", _text(value))
    elif isinstance(value, bool) or value is None:
        pieces.append(b"Z" if value is None else b"T" if value else b"F")
    elif isinstance(value, int):
        pieces.append(_length(value) if value >= 0 else b"L" + struct.pack(">q", value))
    else:
        pieces.append(b"d" + struct.pack(">f", value))  # older versions have no doubles
