"""CSV as the algorithms take it: rows of numbers, labels first, and no header.

Text that is plainly numbers, nearly always all of it, is parsed by a kernel (`csv_rows`) in pieces
on several threads. A piece that has anything odd in it goes through Python's csv module instead,
which alone decides what is an error: the kernel gives the same numbers or gives up.
"""

import codecs
import csv
import gzip
import io
import lzma
import os
import warnings
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Array, Block, Csr, Ragged
from smalgos.formats.csv_rows import count_lines, parse_rows
from smalgos.formats.floats import MARGIN

Numbers = NDArray[np.float32]

# A chunk is read and parsed in this many pieces. More would make tasks too small for a thread,
# fewer would leave threads idle; it never depends on the machine, and so neither do the blocks.
PIECES = 8

FIRST_PIECE = 16 << 10

# Bounds what is kept while a row's end is looked for: a million columns of 16 characters.
MAX_ROW_BYTES = 16 << 20

# So many rows that count 0, 1, 2, ... are no accident.
INDEX_ROWS = 100


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    label_size: int = 1,
    weights: bool = False,
    delimiter: str = ",",
    encoding: str = "utf-8",
    missing: Literal["error", "nan"] = "error",
    first: bool = True,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Block]:
    """Read rows of numbers from a CSV file.

    Cells may be quoted (RFC 4180) and have spaces around them; lines end in a newline or in
    carriage return and newline, the last one may lack it; blank lines at the end and a byte-order
    mark are skipped. A number is what Python's ``float`` takes, written in ASCII without
    underscores, and is rounded as ``np.float32(float(text))``.

    Parameters
    ----------
    file : binary file
        Read sequentially, in any portions.
    name : str
        What messages call the file.
    label_size : int
        How many columns, the first ones, are labels.
    weights : bool
        Whether the column behind the labels holds the weights of the rows.
    delimiter : str
        One ASCII character between columns.
    encoding : str
        Any of Python's text encodings.
    missing : {"error", "nan"}
        What an empty cell is.
    first : bool
        Whether this is the beginning of the file, where a header, a row index and a byte-order
        mark are looked for; False for the continuation of a file.
    chunk_bytes : int
        About how much text is held in memory at a time. Blocks hold the rows of an eighth of it.

    Returns
    -------
    iterator of Block
        ``features`` (n, d), ``labels`` (n,) or (n, label_size), unless that is 0, and ``weights``
        (n,) if asked for, all float32; `start` counts the rows of the file from 0.

    Raises
    ------
    UserError
        For an option out of range; while iterating, for a header, a cell that is no number or is
        empty, a row of another length, a row of more than 16 MiB, too few columns, damaged
        compression: with file, row and column, both counted from 1.

    Warns
    -----
    UserWarning
        If the first label or the first feature counts the rows: see `warn_of_row_index`.
    """
    if label_size < 0:
        raise UserError(f"label_size={label_size}: must be at least 0")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\r\n"+-.\0':
        raise UserError(f"delimiter {delimiter!r}: must be one ASCII character such as ','")
    if delimiter.isalnum():
        raise UserError(f"delimiter {delimiter!r}: must not be a letter or a digit")
    if missing not in ("error", "nan"):
        raise UserError(f"missing={missing!r}: must be 'error' or 'nan'")
    try:
        plain = _ASCII.decode(encoding, "replace") == _ASCII.decode("ascii")
    except (LookupError, UnicodeError):
        raise UserError(f"encoding {encoding!r} is unknown, or not for files: use utf-8") from None
    source: Any = file
    if not plain:
        source, encoding = _Recoded(file, encoding), "utf-8"
    table = _Table(name, label_size, weights, delimiter, encoding, missing == "nan", first)
    return _read(source, table, max(1, chunk_bytes // PIECES))


def warn_of_row_index(values: Array, column: int, name: str) -> bool:
    """Warn if a column counts the rows, as an index does that was written with the data.

    Parameters
    ----------
    values : ndarray, shape (n,)
        The column, at least its first `INDEX_ROWS` rows; fewer prove nothing.
    column : int
        Its number in the file, counted from 1.
    name : str
        What the message calls the file.

    Returns
    -------
    bool
        Whether it counts 0, 1, 2, ... or 1, 2, 3, ...
    """
    start = values[0] if len(values) >= INDEX_ROWS else -1
    if start not in (0, 1):
        return False
    if not np.array_equal(values[:INDEX_ROWS], start + np.arange(INDEX_ROWS)):
        return False
    counts = ", ".join(str(int(v)) for v in values[:3])
    warnings.warn(
        f"column {column} of {name} counts {counts}, ...: it looks like a row index, which tells"
        " nothing about new rows; remove it (pandas: to_csv(..., index=False))",
        UserWarning,
        stacklevel=2,
    )
    return True


_ASCII = bytes(range(128))


class _Recoded:
    """A file read as UTF-8, whatever its own encoding."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.file, self.encoding = file, encoding
        self.decoder = codecs.getincrementaldecoder(encoding)("replace")
        self.ready = b""

    def readinto(self, view: memoryview) -> int:
        while not self.ready:
            raw = self.file.read(len(view))
            try:
                text = self.decoder.decode(raw, final=not raw)
            except UnicodeError as e:  # some decoders refuse what they could replace
                why = f" is not in the encoding {self.encoding!r} ({e}): name the right one"
                raise _BadRow(0, why) from None
            self.ready = text.encode("utf-8", "replace")
            if not raw:
                break
        n = min(len(view), len(self.ready))
        view[:n], self.ready = self.ready[:n], self.ready[n:]
        return n


class _Piece(NamedTuple):
    """Whole rows: ``text[begin:end]``, which ends in a newline, and `MARGIN` bytes around it."""

    text: bytearray
    begin: int
    end: int
    last: bool


class _Rows(NamedTuple):
    """Parsed rows, and whether blank lines followed them."""

    lead: Numbers  # (n, label_size + weights)
    features: Numbers
    blank: bool


class _BadRow(Exception):
    """Something wrong in a row, counted from 0 behind the rows that were parsed before."""

    def __init__(self, row: int, what: str) -> None:
        self.row, self.what = row, what


@dataclass(frozen=True)
class _Table:
    """What is known of the file, and how a piece of it is parsed."""

    name: str
    label_size: int
    weights: bool
    delimiter: str
    encoding: str
    empty_is_nan: bool
    first: bool

    def width(self, piece: _Piece) -> int:
        """The number of columns of the first row; 0 if all lines are blank."""
        text = io.BytesIO(memoryview(piece.text)[piece.begin : piece.end])
        rows = self._csv(io.TextIOWrapper(text, self.encoding, "replace", newline=""))
        try:
            cells = next(rows, [])
            if not cells:
                if any(rows):
                    raise _BadRow(0, _BLANK)
                return 0
        except csv.Error as e:
            raise _BadRow(0, f" is no CSV: {e}") from None
        needed = self.label_size + self.weights + 1
        if self.first and not any(_is_number(c) or not c.strip() for c in cells):
            shown = ", ".join(_shown(c) for c in cells[:3]) + (", ..." if len(cells) > 3 else "")
            raise _BadRow(
                0,
                f" looks like a header ({shown}): the algorithms take CSV without one;"
                " remove the first line",
            )
        if len(cells) < needed:
            weights = " and weights" if self.weights else ""
            raise _BadRow(
                0,
                f" has {_columns(len(cells))}: label_size={self.label_size}{weights} needs at least"
                f" {needed}, separated by {self.delimiter!r}",
            )
        return len(cells)

    def parse(self, piece: _Piece, width: int) -> _Rows:
        """The rows of a piece, by the kernel if it can."""
        text = np.frombuffer(piece.text, np.uint8)
        size = piece.end - piece.begin
        lines = count_lines(text, piece.begin, piece.end)
        # A row takes at least a byte for each column, whatever the lines promise.
        room = min(lines, size // width + 1)
        leading = self.label_size + self.weights
        lead = np.empty((room, leading), np.float32)
        features = np.empty((room, width - leading), np.float32)
        comma = np.uint8(ord(self.delimiter))
        n = parse_rows(text, piece.begin, piece.end, comma, self.empty_is_nan, lead, features)
        if n >= 0:
            return _Rows(lead[:n], features[:n], n < lines)
        return self.parse_oddities(piece, width)

    def parse_oddities(self, piece: _Piece, width: int) -> _Rows:
        """The rows of a piece, one cell at a time."""
        text = self._decoded(bytes(memoryview(piece.text)[piece.begin : piece.end]))
        # What float() takes beyond ASCII numbers: '1_000', and the digits of other scripts.
        doubtful = "_" in text or not text.isascii()
        rows: list[Numbers] = []
        blank = False
        try:
            for cells in self._csv(io.StringIO(text, newline="")):
                if not cells or (width > 1 and len(cells) == 1 and not cells[0].strip()):
                    blank = True
                    continue
                if blank:
                    raise _BadRow(len(rows), _BLANK)
                if len(cells) != width:
                    raise _BadRow(
                        len(rows), f" has {_columns(len(cells))}, the first row has {width}"
                    )
                rows.append(self._numbers(cells, len(rows), doubtful))
        except csv.Error as e:
            raise _BadRow(len(rows), f" is no CSV: {e}") from None
        if text.count('"') % 2:
            raise _BadRow(len(rows) - 1 + blank, ": a quote is opened and never closed")
        table = np.array(rows, np.float32).reshape(len(rows), width)
        leading = self.label_size + self.weights
        return _Rows(
            np.ascontiguousarray(table[:, :leading]),
            np.ascontiguousarray(table[:, leading:]),
            blank,
        )

    def block(self, rows: _Rows, start: int) -> Block:
        """The rows as a block."""
        columns: dict[str, Any] = {"features": rows.features}
        if self.label_size:
            m = self.label_size
            labels = rows.lead[:, 0] if m == 1 else rows.lead[:, :m]
            columns["labels"] = np.ascontiguousarray(labels)
        if self.weights:
            columns["weights"] = np.ascontiguousarray(rows.lead[:, self.label_size])
        return Block(columns, start)

    def check_index(self, block: Block) -> None:
        """Warn if the first label or the first feature of these rows counts them."""
        if self.label_size:
            warn_of_row_index(block.labels.reshape(len(block), -1)[:, 0], 1, self.name)
        column = self.label_size + self.weights + 1
        warn_of_row_index(block.features[:, 0], column, self.name)

    def _decoded(self, text: bytes) -> str:
        # What cannot be decoded cannot be part of a number either: the cell's error shows it.
        return text.decode(self.encoding, "replace")

    def _csv(self, lines: Any) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.delimiter != " ")

    def _numbers(self, cells: list[str], row: int, doubtful: bool) -> Numbers:
        try:
            if doubtful:
                raise ValueError
            values = np.array([float(c) for c in cells])
        except ValueError:
            values = np.array([self._number(c, row, i + 1) for i, c in enumerate(cells)])
        with np.errstate(over="ignore"):  # 1e39 is inf, as in float32 it is
            return values.astype(np.float32)

    def _number(self, cell: str, row: int, column: int) -> float:
        if _is_number(cell):
            return float(cell)
        if cell.strip():
            raise _BadRow(row, f", column {column}: {_shown(cell)} is not a number")
        if self.empty_is_nan:
            return np.nan
        raise _BadRow(row, f", column {column} is empty: fill in missing values first")


_BLANK = " is blank: remove it; only the end of a file may have blank lines"


def _is_number(cell: str) -> bool:
    if not cell.isascii() or "_" in cell:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "...")


def _columns(n: int) -> str:
    return "1 column" if n == 1 else f"{n} columns"


def _pieces(file: Any, name: str, size: int, first: bool) -> Iterator[_Piece]:
    """Cut the text behind the last newline outside quotes of each `size` bytes.

    The first piece is small: it settles the width, and many a request is no longer.
    """
    carry = b""
    share = min(size, FIRST_PIECE)
    done = 0
    last = False
    while not last:
        end = MARGIN + len(carry)
        # At least twice what is carried, so that a long row is not scanned over and over.
        limit = end + max(share, len(carry))
        share = size
        text = bytearray(limit + 1 + MARGIN)
        text[MARGIN:end] = carry
        while end < limit and not last:
            try:
                got = _read_into(file, memoryview(text)[end:limit])
            except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as e:
                raise UserError(
                    f"{name}: the compressed data is cut off or damaged behind byte {done} of the"
                    f" text ({e}): store the file again"
                ) from None
            done += got
            end += got
            last = got == 0
        cut = _cut(text, end)
        if last and end > MARGIN:
            if text[end - 1] != ord("\n"):
                text[end] = ord("\n")
                end += 1
            cut = end
        carry = bytes(memoryview(text)[cut:end])
        if cut > MARGIN:
            mark = first and text.startswith(codecs.BOM_UTF8, MARGIN)
            yield _Piece(text, MARGIN + (len(codecs.BOM_UTF8) if mark else 0), cut, last)
            first = False
        if len(carry) > MAX_ROW_BYTES:
            quote = "a quote that is never closed, or " if b'"' in carry else ""
            raise _BadRow(
                0,
                f" is longer than {MAX_ROW_BYTES} bytes: there is {quote}no line end,"
                " or this is no CSV",
            )


def _read_into(file: Any, view: memoryview) -> int:
    if hasattr(file, "readinto"):
        return int(file.readinto(view))
    data = file.read(len(view))
    view[: len(data)] = data
    return len(data)


def _cut(text: bytearray, end: int) -> int:
    """The place behind the last newline outside quotes, or `MARGIN`.

    Rows begin outside quotes, and a doubled quote leaves their number even.
    """
    cut = text.rfind(b"\n", MARGIN, end) + 1
    # Most texts have no quotes, and finding none is faster than counting them.
    quotes = text.count(b'"', MARGIN, cut) if text.find(b'"', MARGIN, cut) >= 0 else 0
    while quotes % 2:
        before = text.rfind(b"\n", MARGIN, cut - 1) + 1
        quotes -= text.count(b'"', max(before, MARGIN), cut)
        cut = before
    return max(cut, MARGIN)


def _parsed(pieces: Iterator[_Piece], table: _Table) -> Iterator[_Rows]:
    """The rows of the pieces in order, parsed ahead on other threads if there are several."""
    pending: deque[Future[_Rows]] = deque()
    bad: Exception | None = None
    width = 0
    with ThreadPoolExecutor(min(PIECES, os.cpu_count() or 1)) as pool:
        while True:
            try:
                piece = next(pieces, None)
                if piece is None:
                    break
                width = width or table.width(piece)
            except (UserError, _BadRow) as e:
                bad = e  # what came before it comes first
                break
            if width == 0:
                yield _Rows(np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), True)
            elif piece.last and not pending:
                yield table.parse(piece, width)
            else:
                pending.append(pool.submit(table.parse, piece, width))
            while pending and (len(pending) == PIECES or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if bad:
            raise bad


def _read(file: Any, table: _Table, size: int) -> Iterator[Block]:
    row = 0
    blank = False
    head: list[Block] | None = [] if table.first else None
    try:
        for rows in _parsed(_pieces(file, table.name, size, table.first), table):
            if len(rows.features) and blank:
                raise _BadRow(0, _BLANK)
            blank = blank or rows.blank
            if not len(rows.features):
                continue
            block = table.block(rows, row)
            if head is not None:
                head.append(block[:INDEX_ROWS])
                if sum(map(len, head)) >= INDEX_ROWS:
                    table.check_index(Block.join(head))
                    head = None
            yield block
            row += len(block)
    except _BadRow as e:
        at, what = (0, _BLANK) if blank else (e.row, e.what)
        raise UserError(f"{table.name}, row {row + 1 + at}{what}") from None


def encode(block: Block, *, delimiter: str = ",") -> bytes:
    """Write rows as CSV: labels, then weights if the block has them, then features.

    Each float32 is written with the fewest digits that `read_blocks` reads back as the same
    float32; an integer has no decimal point, NaN and infinities are nan, inf and -inf. Each row
    ends in a newline.

    Parameters
    ----------
    block : Block
        Features (n, d) or `Csr`, which is written densely.
    delimiter : str

    Returns
    -------
    bytes
    """
    parts = []
    width = sum(_width(c) for c in block.columns.values())
    for rows in block.batches(max(1, _CELLS // max(1, width))):
        given = (rows.labels, rows.weights, rows.features)
        columns = [c.toarray() if isinstance(c, Csr) else c for c in given if c is not None]
        parts.append(encode_columns(columns, delimiter=delimiter))
    return b"".join(parts)


def encode_columns(columns: Sequence[Array | Ragged], *, delimiter: str = ",") -> bytes:
    """Write columns of numbers side by side, the values of a list in a row one after another.

    Parameters
    ----------
    columns : sequence of ndarray, shape (n,) or (n, m), or Ragged
        Floating-point numbers are written as by `encode`, to the precision of their dtype.
    delimiter : str

    Returns
    -------
    bytes
        A line for each row, each ending in a newline.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    joined = []
    for column in columns:
        if isinstance(column, Ragged):
            values, offsets = column.tight().values, column.tight().offsets
        else:
            values, offsets = column.ravel(), np.arange(len(column) + 1) * _width(column)
        if values.dtype == bool:
            values = values.astype(np.int8)
        elif values.dtype == np.float32 and _are_integers(values):
            values = values.astype(np.int32)  # gives the same text, and sooner
        cells = pa.array(values).cast(pa.string())
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), cells)
        joined.append(pc.binary_join(lists, delimiter))
    rows = pc.binary_join_element_wise(*joined, delimiter)
    lines = pc.binary_join_element_wise(rows, "", "\n")
    text = lines.buffers()[2]
    return text.to_pybytes() if text else b""


def _are_integers(values: Array) -> bool:
    with np.errstate(invalid="ignore"):
        whole = (np.rint(values) == values) & (np.abs(values) < 2**24)
    return bool(whole.all()) and not np.signbit(values[values == 0]).any()


# A string array of pyarrow holds 2 GiB of text; this many cells stay far below.
_CELLS = 1 << 20


def _width(column: Any) -> int:
    return int(np.prod(column.shape[1:], dtype=np.int64))
