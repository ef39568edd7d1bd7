"""The one safe file that models and checkpoints are kept in: arrays, JSON and a seal.

The layout is safetensors (https://huggingface.co/docs/safetensors, section "Format"), so that
its own library opens the arrays: a length of eight bytes, a JSON header, the arrays' bytes. The
header's metadata has one key, ``smalgos``, whose text is the compact, sorted JSON of

    {"format": 1, "meta": {...}, "sha256": "<64 hexadecimal digits>"}

The digits are the SHA-256 of the whole file in which they themselves are written as zeros.
Nothing in a file is ever run, and a file of which any byte was changed is not accepted.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from smalgos.errors import PlatformError, UserError

Arrays: TypeAlias = dict[str, NDArray[Any]]
Meta: TypeAlias = dict[str, Any]  # what JSON can say, floats of any kind included

FORMAT = 1  # raised when older versions could no longer read what is written
KEY = "smalgos"
MAX_HEADER = 100_000_000  # the limit of the safetensors library itself
MAX_DIMENSIONS = 32  # NumPy's own limit before 2.0

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}

BLANK = "0" * 64  # in the place of the digits while the file is hashed

# What people take for a model file: where the tell-tale bytes are, and what to say.
FOREIGN = (
    (0, tuple(bytes((0x80, n)) for n in range(2, 6)), "a pickled file, which is never opened"),
    (0, (b"\x1f\x8b",), "a gzip file: unpack it and give the .safetensors file inside"),
    (0, (b"PK\x03\x04", b"PK\x05\x06"), "a zip archive (.npz, .pt, ...), which is not read"),
    (257, (b"ustar",), "a tar archive: unpack it and give the .safetensors file inside"),
    (0, (b"\x93NUMPY",), "a NumPy .npy file, which is not read"),
    (0, (b"\x89HDF",), "an HDF5 file, which is not read"),
)


def write(path: str | os.PathLike[str], arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write a file that `read` accepts, whole or not at all.

    Parameters
    ----------
    path : path-like
        An existing regular file of that name is replaced.
    arrays : mapping of str to array
        Booleans, integers and floats of 8 to 64 bits, of any shape. Held once more in memory
        while they are written.
    meta : mapping of str to JSON
        None, bool, int, float (infinities and NaN too), str, and lists and dicts of these; NumPy
        scalars are taken as Python's, tuples as lists.

    Raises
    ------
    UserError
        The folder does not exist, or the name cannot be written to.
    PlatformError
        The disk is full or faulty.

    Notes
    -----
    The bytes depend on `arrays` and `meta` alone, not on the order of their entries.
    """
    pieces = _sealed(arrays, meta)
    with replacing(path) as file:
        file.writelines(pieces)


def encode(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> bytes:
    """The bytes that `write` would write."""
    return b"".join(_sealed(arrays, meta))


def read(
    path: str | os.PathLike[str], *, expect: Mapping[str, Any] | None = None
) -> tuple[Arrays, Meta]:
    """Read a file written by `write`, after checking every byte of it.

    Parameters
    ----------
    path : path-like
    expect : mapping, optional
        Entries that `meta` must have, such as ``{"kind": "checkpoint"}``.

    Returns
    -------
    arrays : dict of str to ndarray
        Writeable, C-ordered, each with memory of its own.
    meta : dict

    Raises
    ------
    UserError
        There is no such file, it is not one of ours, it was changed or cut short, a newer version
        wrote it, or it is not what was expected.
    PlatformError
        The disk is faulty.
    """
    try:
        # Asked before it is opened: opening a FIFO would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a folder: give the file inside" if os.path.isdir(path) else "not a regular file"
            raise UserError(f"{os.fspath(path)}: {kind}")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _read(file, size, os.fspath(path), expect or {})
    except OSError as error:
        raise _fault("read", path, error) from error


def decode(
    data: bytes, name: str, *, expect: Mapping[str, Any] | None = None
) -> tuple[Arrays, Meta]:
    """As `read`, from the bytes of a file; errors call them `name`."""
    return _read(io.BytesIO(data), len(data), name, expect or {})


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new binary file that takes the name `path` once it is complete and on the disk.

    Until then, and if the body fails, the name keeps what it had. A process killed in the body
    leaves a hidden ``.tmp`` file behind.

    Raises
    ------
    UserError, PlatformError
        As `write`.
    """
    target = Path(path)
    try:
        # As root, renaming would put a plain file in the place of /dev/null.
        if target.exists() and not target.is_file():
            raise UserError(f"cannot write {target}: it is a folder or a device, give a file name")
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise _fault("write", path, error) from error
    # The name itself must survive a power cut, too; some network file systems cannot promise it.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _fault(doing: str, path: str | os.PathLike[str], error: OSError) -> UserError | PlatformError:
    """Whose fault it is that a file cannot be read or written."""
    message = f"cannot {doing} {os.fspath(path)}: {error.strerror or error}"
    if isinstance(error, FileNotFoundError) and doing == "write":
        message = f"cannot write {os.fspath(path)}: make the folder first"
    callers = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    if isinstance(error, callers) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(message)
    return PlatformError(message)


# Writing ------------------------------------------------------------------------------------------


def _sealed(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> list[memoryview | bytes]:
    """The file's bytes, in pieces, so that filling in the digits copies nothing."""
    text = json.dumps(
        {"format": FORMAT, "meta": _spelled(meta, "meta"), "sha256": BLANK},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    blob = safetensors.numpy.save(_checked(arrays), {KEY: text})
    end = 8 + int.from_bytes(blob[:8], "little")
    if end - 8 > MAX_HEADER:
        raise ValueError(f"meta takes {end - 8} bytes: what is long belongs in an array")
    at = _digits(blob[:end], BLANK)
    digits = hashlib.sha256(blob).hexdigest().encode()
    view = memoryview(blob)
    return [view[:at], digits, view[at + len(digits) :]]


def _digits(header: bytes, digits: str) -> int:
    """Where in the header the digits of the seal begin.

    They end the text under `KEY`. In the header that text is a JSON string, in which every
    quote has a backslash before it, so that nothing within a string can look like its end.
    """
    before, after = rb"\"sha256\":\"", rb"\"}" + b'"}'
    seal = before + digits.encode() + after
    if header.count(seal) != 1:
        raise ValueError("damaged header: the seal is not in its place")
    return header.index(seal) + len(before)


def _checked(arrays: Mapping[str, Any]) -> Arrays:
    """Arrays as they will be written: of known types, little-endian, C-ordered."""
    known = set(DTYPES.values())
    ready = {}
    for name, given in arrays.items():
        array = np.asarray(given)
        dtype = array.dtype.newbyteorder("<")
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise TypeError(f"{name!r} cannot be the name of an array")
        if dtype not in known or array.ndim > MAX_DIMENSIONS:
            raise TypeError(f"array {name!r} of {array.dtype}, {array.ndim}-d, cannot be written")
        ready[name] = np.asarray(array, dtype, order="C")
    return ready


def _spelled(value: Any, where: str) -> Any:
    """`value` in strict JSON: ``{"$float": "inf"}``; other keys that begin with $ get one more."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_spelled(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{where} has keys that are not strings")
        return {
            f"${key}" if key.startswith("$") else key: _spelled(v, f"{where}.{key}")
            for key, v in value.items()
        }
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot say")


# Reading ------------------------------------------------------------------------------------------


def _read(
    file: io.BufferedIOBase, size: int, name: str, expect: Mapping[str, Any]
) -> tuple[Arrays, Meta]:
    head = file.read(512)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > MAX_HEADER:
        raise UserError(f"{name}: {_foreign(head)}")
    if length > size - 8:
        raise UserError(f"{name}: cut short, its header of {length} bytes is not all there")
    file.seek(8)
    raw = file.read(length)
    try:
        header = _parsed(raw, _unique)
        meta, digits = _envelope(header.pop("__metadata__", None))
        layout = _layout(header, size - 8 - length)
        at = _digits(raw, digits)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    digest = hashlib.sha256(head[:8] + raw[:at] + BLANK.encode() + raw[at + len(BLANK) :])
    arrays = {}
    for key, dtype, shape in layout:
        arrays[key] = array = np.empty(shape, dtype)
        buffer = array.reshape(-1).view(np.uint8).data
        if file.readinto(buffer) != len(buffer):
            raise UserError(f"{name}: cut short while it was read")
        digest.update(buffer)
    if digest.hexdigest() != digits:
        raise UserError(f"{name}: damaged or changed since it was written (SHA-256 differs)")
    for key, array in arrays.items():
        if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
            raise UserError(f"{name}: array {key!r} has values that are neither true nor false")
    for key, value in expect.items():
        if meta.get(key) != value:
            raise UserError(f"{name}: {key} is {meta.get(key)!r}, expected {value!r}")
    return arrays, meta


def _parsed(text: bytes | str, hook: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    """JSON, strictly; the parser calls `hook` for each object, innermost first."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=hook, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged header: {error}") from error


def _foreign(head: bytes) -> str:
    """What a file is that has not even the shape of ours."""
    if not head:
        return "empty"
    for at, marks, what in FOREIGN:
        if head[at:].startswith(marks):
            return what
    return "not a safetensors file, or damaged at its start"


def _envelope(metadata: Any) -> tuple[Meta, str]:
    """Meta and digits from the header's metadata."""
    if not isinstance(metadata, dict) or list(metadata) != [KEY]:
        raise ValueError("a safetensors file, but not one that smalgos wrote")
    if not isinstance(metadata[KEY], str):
        raise ValueError("damaged header: the metadata is no text")
    seal = _parsed(metadata[KEY], _restored)
    version = seal.get("format") if isinstance(seal, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("damaged header: it does not say its format")
    if version > FORMAT:
        raise ValueError(
            f"written by a newer version of smalgos (file format {version}, this version reads "
            f"{FORMAT}): install a newer one"
        )
    meta, digits = seal.get("meta"), seal.get("sha256")
    if len(seal) != 3 or not isinstance(meta, dict) or not isinstance(digits, str):
        raise ValueError("damaged header: meta or sha256 is missing, or there is more")
    if len(digits) != len(BLANK) or not set(digits) <= set("0123456789abcdef"):
        raise ValueError("damaged header: sha256 is not 64 hexadecimal digits")
    return meta, digits


def _layout(header: dict[str, Any], size: int) -> list[tuple[str, np.dtype[Any], list[int]]]:
    """Name, dtype and shape of the arrays, in the order of their bytes.

    The arrays must fill the `size` bytes behind the header without gap or overlap, so that what
    is allocated for them is never more than the file holds.
    """
    places = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"damaged header: array {name!r} is not described")
        dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if dtype is None:
            raise ValueError(f"array {name!r} is of unknown type {entry['dtype']!r}")
        shape = _whole_numbers(entry["shape"], name)
        offsets = _whole_numbers(entry["data_offsets"], name)
        # NumPy cannot make an array of more bytes than an int64 counts, empty ones included.
        extent = math.prod(max(n, 1) for n in shape) * dtype.itemsize
        if len(offsets) != 2 or extent >= 1 << 63:
            raise ValueError(f"damaged header: array {name!r} has an impossible shape or place")
        nbytes = math.prod(shape) * dtype.itemsize
        if offsets[1] - offsets[0] != nbytes:
            raise ValueError(f"array {name!r} has a place of the wrong size for shape {shape}")
        places.append((offsets[0], offsets[1], name, dtype, shape))
    places.sort(key=lambda place: place[:2])
    end = 0
    for begin, stop, name, _, _ in places:
        if begin != end:
            raise ValueError(f"array {name!r} does not begin where the one before it ends")
        end = stop
    if end != size:
        raise ValueError(f"cut short or added to: {end} bytes of arrays expected, {size} found")
    return [(name, dtype, shape) for _, _, name, dtype, shape in places]


def _whole_numbers(value: Any, name: str) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        raise ValueError(f"damaged header: array {name!r} has an impossible shape or place")
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in value):
        raise ValueError(f"damaged header: array {name!r} has an impossible shape or place")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name comes twice")
    return entries


def _restored(pairs: list[tuple[str, Any]]) -> Any:
    """The inverse of `_spelled` for one object."""
    entries = _unique(pairs)
    if "$float" in entries:
        if len(entries) > 1 or entries["$float"] not in ("inf", "-inf", "nan"):
            raise ValueError("not a way to spell a float")
        return float(entries["$float"])
    return {key[1:] if key.startswith("$") else key: v for key, v in entries.items()}


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
