"""Word vectors in word2vec's formats, text and binary, both ways.

Text: a line of ``<words> <dim>``, then for each word a line of the word and its numbers, parted by
blanks; numbers are written with the fewest digits that give the same float32 again. Files without
the first line, as GloVe's, are read, too. Binary: the same first line, then for each word its
bytes, a blank, and the numbers as little-endian float32; newlines may part words.

``gensim.models.KeyedVectors.load_word2vec_format`` and spaCy's ``init vectors`` read both.
"""

import os
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.vocabulary import decoded, texts
from smalgos.errors import PlatformError, UserError
from smalgos.formats.block import Ragged
from smalgos.kernels import load as load_kernels
from smalgos.learning.files import replacing

__all__ = ["Vectors", "decode_binary", "decode_text", "is_binary", "read", "write"]

ROWS = 1 << 12  # of text that are written together
CHUNK = 1 << 22  # bytes of text that are read together
HEAD = 64  # bytes of a first line, at most
MOST_DIM = 1 << 16
LINE = 1 << 12  # bytes behind the first line that tell text from binary
BLANK, NEWLINE, RETURN = b" ", b"\n", b"\r"
NUMERIC = b"0123456789+-.eE \t\rnaifNAIF"


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words and a vector for each.

    Parameters
    ----------
    strings : Ragged of uint8
        The words; each is there once.
    values : ndarray of float32, shape (words, dim)
    """

    strings: Ragged
    values: NDArray[np.float32]

    @property
    def words(self) -> list[str]:
        """The words as `str`; bytes that are no UTF-8 as surrogate escapes."""
        return decoded(self.strings)


def write(
    path: str | os.PathLike[str],
    strings: Ragged | Sequence[str],
    values: NDArray[np.float32],
    *,
    binary: bool = False,
) -> None:
    """Write word vectors in word2vec's format.

    Parameters
    ----------
    path : path-like
    strings : Ragged of uint8, or sequence of str
        The words.
    values : ndarray of float32, shape (words, dim)
    binary : bool

    Raises
    ------
    UserError
        A word is empty or holds white space that would end it; or the name cannot be written to.
    PlatformError
        The disk is full or faulty.
    """
    if not isinstance(strings, Ragged):
        strings = texts(strings)
    strings = strings.tight()
    if values.ndim != 2 or len(strings) != len(values):
        raise ValueError(f"{len(strings)} words, values of shape {values.shape}")
    lengths = np.diff(strings.offsets)
    white = np.isin(strings.values, np.frombuffer(BLANK + NEWLINE + RETURN + b"\0", np.uint8))
    if (lengths == 0).any() or white.any():
        bad = (
            int(np.flatnonzero(lengths == 0)[0])
            if (lengths == 0).any()
            else int(np.searchsorted(strings.offsets, np.flatnonzero(white)[0], "right") - 1)
        )
        raise UserError(
            f"word {bad} is {strings.row(bad).tobytes()!r}: word2vec's format has no words that "
            "are empty or hold white space"
        )
    with replacing(path) as file:
        file.write(b"%d %d\n" % values.shape)
        for first in range(0, len(values), ROWS):
            part = slice(first, first + ROWS)
            rows = np.ascontiguousarray(values[part], "<f4")
            _write_binary(file, strings[part], rows) if binary else _write_text(
                file, strings[part], rows
            )


def _write_binary(file: BinaryIO, strings: Ragged, rows: NDArray[np.float32]) -> None:
    words = strings.values[strings.offsets[0] : strings.offsets[-1]]
    ends = strings.offsets - strings.offsets[0]
    data = memoryview(words.tobytes())
    for i in range(len(rows)):
        file.write(data[ends[i] : ends[i + 1]])
        file.write(BLANK)
        file.write(rows[i].data)
        file.write(NEWLINE)


def _write_text(file: BinaryIO, strings: Ragged, rows: NDArray[np.float32]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    tight = strings.tight()
    offsets = pa.py_buffer(tight.offsets.astype(np.int32))
    words = pa.Array.from_buffers(
        pa.binary(), len(rows), [None, offsets, pa.py_buffer(tight.values)]
    )
    numbers = pa.array(rows.reshape(-1)).cast(pa.string()).cast(pa.binary())
    places = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1])
    cells = pc.binary_join(pa.ListArray.from_arrays(places, numbers), BLANK)
    lines = pc.binary_join_element_wise(
        pc.binary_join_element_wise(words, cells, BLANK), b"", NEWLINE
    )
    file.write(lines.buffers()[2])


# Reading ------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], *, binary: bool | None = None) -> Vectors:
    """Read word vectors in word2vec's format.

    Parameters
    ----------
    path : path-like
    binary : bool, optional
        None: look.

    Raises
    ------
    UserError
        There is no such file, or it is cut short or damaged.
    PlatformError
        The disk is faulty.

    Warns
    -----
    UserWarning
        A word comes again: the first one counts.
    """
    data = mapped(path)
    decode = decode_binary if (is_binary(data) if binary is None else binary) else decode_text
    return decode(data, os.fspath(path))


def mapped(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of a file, which are read as they are needed.

    Raises
    ------
    UserError
        There is no such file, or it is empty.
    PlatformError
        The disk is faulty.
    """
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{os.fspath(path)}: not a regular file")
        if about.st_size == 0:
            raise UserError(f"{os.fspath(path)}: empty")
        return np.asarray(np.memmap(path, np.uint8, "r"))
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise UserError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
    except OSError as error:
        raise PlatformError(f"cannot read {os.fspath(path)}: {error.strerror}") from error


def _header(data: NDArray[np.uint8]) -> tuple[int, int, int] | None:
    """Words, dimension and length of a first line of two numbers, if there is one."""
    line, newline, _ = data[:HEAD].tobytes().partition(NEWLINE)
    cells = line.split()
    if not newline or len(cells) != 2 or not all(c.isdigit() for c in cells):
        return None
    return int(cells[0]), int(cells[1]), len(line) + 1


def is_binary(data: NDArray[np.uint8]) -> bool:
    """Whether a file is binary: what stands behind its first word is no text of numbers."""
    head = _header(data)
    if head is None:
        return False
    line = data[head[2] : head[2] + LINE].tobytes().lstrip(NEWLINE).partition(NEWLINE)[0]
    _, _, numbers = line.partition(BLANK)
    return not numbers.strip() or any(byte not in NUMERIC for byte in numbers)


def _kept(strings: Ragged, values: NDArray[np.float32], name: str) -> Vectors:
    """Without words that come again."""
    table = load_kernels("tokens").Table()
    offsets = strings.offsets
    numbers = table.numbered(strings.values, offsets[:-1], offsets[1:])
    if table.size < len(strings):
        first = np.ones(len(numbers), bool)
        first[1:] = numbers[1:] > np.maximum.accumulate(numbers)[:-1]
        warnings.warn(
            f"{name}: {len(strings) - table.size} words come again: the first of each counts",
            UserWarning,
            stacklevel=4,
        )
        strings, values = strings[np.flatnonzero(first)], values[first]
    if not load_kernels("tokens").all_finite(values):
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise UserError(f"{name}: the vector of word {row} has numbers that are not finite")
    return Vectors(strings, values)


def decode_binary(data: NDArray[np.uint8], name: str) -> Vectors:
    """From the bytes of a binary file; errors call it `name`."""
    head = _header(data)
    if head is None:
        raise UserError(f"{name}: byte 0: it does not begin with a line of two numbers")
    count, dim, at = head
    if not 1 <= dim <= MOST_DIM or count * (4 * dim + 2) > len(data) - at:
        raise UserError(f"{name}: {count} words of {dim} numbers do not fit into {len(data)} bytes")
    k = load_kernels("tokens_files")
    starts, ends, whole, at = k.named_vectors(data, at, count, 4 * dim)
    if whole < count:
        raise UserError(f"{name}: byte {at}: cut short or damaged, in word {whole} of {count}")
    left = data[at:].tobytes().strip(NEWLINE)
    if left:
        raise UserError(f"{name}: byte {at}: {len(left)} bytes more than expected")
    offsets = np.concatenate(([0], np.cumsum(ends - starts))).astype(np.int64)
    strings = Ragged(k.gathered(data, starts, ends), offsets)
    if (strings.values == 0).any():
        raise UserError(f"{name}: a word has a NUL in it: the file is damaged")
    return _kept(strings, k.take_vectors(data, ends + 1, dim), name)


def decode_text(data: NDArray[np.uint8], name: str) -> Vectors:
    """From the bytes of a text file; errors call it `name`."""
    head = _header(data)
    at, row = (head[2], 1) if head else (0, 0)
    first = data[at : at + (MOST_DIM + 1) * 32].tobytes().partition(NEWLINE)[0]
    found = len(first.rstrip().split(BLANK)) - 1
    count, dim = head[:2] if head else (-1, found)
    if found != dim or not 1 <= dim <= MOST_DIM:
        raise UserError(f"{name}, row {row + 1}: a word and {found} numbers, not {dim}")
    if count * (2 * dim + 1) > len(data) - at + 1:
        raise UserError(f"{name}: {count} words of {dim} numbers do not fit into {len(data)} bytes")
    strings, values = [], []
    while at < len(data):
        end = _last_line(data, at, name, row)
        words, numbers = _parsed(data[at:end], dim, name, row)
        strings.append(words)
        values.append(numbers)
        at, row = end, row + len(words)
    if not strings:
        raise UserError(f"{name}: there are no words")
    read = Ragged.join(strings)
    if count >= 0 and len(read) != count:
        raise UserError(f"{name}: {len(read)} words, and the first line says {count}")
    return _kept(read, np.concatenate(values), name)


def _last_line(data: NDArray[np.uint8], at: int, name: str, row: int) -> int:
    """Where the last whole line of a chunk ends."""
    size = CHUNK
    while at + size < len(data):
        lines = np.flatnonzero(data[at : at + size] == NEWLINE[0])
        if len(lines):
            return at + int(lines[-1]) + 1
        size *= 2
        if size > 16 * CHUNK:
            raise UserError(f"{name}, row {row + 1}: a line of more than {16 * CHUNK} bytes")
    return len(data)


def _parsed(
    data: NDArray[np.uint8], dim: int, name: str, row: int
) -> tuple[Ragged, NDArray[np.float32]]:
    """Words and numbers of whole lines, of which `row` are before them."""
    import pyarrow as pa
    from pyarrow import csv

    text = data.tobytes()
    for line in (b" \r\n", b" \n", b"\r\n"):  # blanks at the ends of lines, as fastText writes
        text = text.replace(line, NEWLINE)
    names = [str(i) for i in range(dim + 1)]
    kinds: dict[str, Any] = dict.fromkeys(names, pa.float32())
    kinds["0"] = pa.binary()
    try:
        table = csv.read_csv(
            pa.BufferReader(text.rstrip(b" \r")),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            csv.ParseOptions(
                delimiter=" ", quote_char=False, double_quote=False, escape_char=False,
                newlines_in_values=False, ignore_empty_lines=True,
            ),
            csv.ConvertOptions(
                column_types=kinds, check_utf8=False, null_values=[], strings_can_be_null=False
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        for i, line in enumerate(text.split(NEWLINE)):
            _check_line(line, dim, f"{name}, row {row + i + 1}")
        raise UserError(f"{name}, behind row {row}: {error}") from error
    words = table.column(0).combine_chunks()
    lengths = np.array([len(w) for w in words.to_pylist()], np.int64)
    if (lengths == 0).any():
        raise UserError(f"{name}, row {row + int(np.argmin(lengths)) + 1}: the word is empty")
    values = np.empty((len(words), dim), np.float32)
    for j in range(dim):
        values[:, j] = table.column(j + 1).to_numpy()
    joined = np.frombuffer(bytearray(b"".join(words.to_pylist())), np.uint8)
    if (joined == 0).any():
        raise UserError(f"{name}, behind row {row}: a word has a NUL in it")
    return Ragged(joined, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)), values


def _check_line(line: bytes, dim: int, where: str) -> None:
    """Raise `UserError` unless a line is a word and numbers."""
    if not line:
        return
    _, *cells = line.split(BLANK)
    if len(cells) != dim:
        raise UserError(f"{where}: a word and {len(cells)} numbers, not {dim}")
    for j, cell in enumerate(cells):
        try:
            float(cell)
        except ValueError:
            raise UserError(f"{where}: number {j + 1} is {cell[:40]!r}") from None
