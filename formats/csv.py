"""CSV as the algorithms take it: rows of numbers, labels first, and no header.

Text that is plainly numbers, nearly always all of it, is parsed by a kernel (`csv_rows`) in pieces
on several threads. A piece that has anything odd in it goes through Python's csv module instead,
which alone decides what is an error: the kernel gives the same numbers or gives up.
"""

import codecs
import csv
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from string import punctuation
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Array, Block
from smalgos.formats.csv_pieces import (
    FIRST_PIECE,
    PIECES,
    BadRow,
    Piece,
    Recoded,
    parse_pieces,
    read_pieces,
)
from smalgos.formats.csv_rows import count_lines, parse_rows
from smalgos.formats.csv_texts import read_blocks as read_texts
from smalgos.formats.csv_writer import encode, encode_columns

__all__ = ["encode", "encode_columns", "read_blocks", "settle", "warn_of_row_index"]

Numbers = NDArray[np.float32]

THREADED = True

# So many rows that count 0, 1, 2, ... are no accident.
INDEX_ROWS = 100


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    label_size: int = 1,
    weights: bool = False,
    delimiter: str | None = ",",
    encoding: str = "utf-8",
    missing: Literal["error", "nan"] = "error",
    first: bool = True,
    texts: tuple[str, ...] = (),
    chunk_bytes: int = 8 << 20,
) -> Iterator[Block]:
    """Read rows of numbers, or of texts, from a CSV file.

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
    delimiter : str or None
        One ASCII character between columns; None: what the first row has.
    encoding : str
        Any of Python's text encodings.
    missing : {"error", "nan"}
        What an empty cell is.
    first : bool
        Whether this is the beginning of the file, where a header, a row index and a byte-order
        mark are looked for; False for the continuation of a file.
    texts : tuple of str
        Names of the columns, if all of them are texts: see `csv_texts`.
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
    if delimiter is not None:
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
        source, encoding = Recoded(file, encoding), "utf-8"
    if texts:
        if plain and codecs.lookup(encoding).name not in ("utf-8", "ascii"):
            source = Recoded(file, encoding)
        return read_texts(source, name, texts, delimiter or ",", max(1, chunk_bytes // PIECES))
    table = _Table(name, label_size, weights, delimiter or "", encoding, missing == "nan", first)
    return _read(source, table, max(1, chunk_bytes // PIECES))


def settle(
    look: Callable[[Callable[[BinaryIO, str], Iterator[Any]]], Iterable[Any]],
    *,
    delimiter: str | None = ",",
    encoding: str = "utf-8",
) -> dict[str, str]:
    """What the first row of a channel's first file says of all: the delimiter, if it is None.

    Parameters
    ----------
    look : callable
        ``look(read)`` gives all that ``read(file, name)`` gives, file by file.
    delimiter, encoding
        As for `read_blocks`.

    Returns
    -------
    dict
        ``delimiter``, or nothing.
    """
    if delimiter is not None:
        return {}
    return {"delimiter": next(iter(look(partial(_delimiters, encoding=encoding))), ",")}


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


class _Rows(NamedTuple):
    """Parsed rows, and whether blank lines followed them."""

    lead: Numbers  # (n, label_size + weights)
    features: Numbers
    blank: bool


@dataclass(frozen=True)
class _Table:
    """What is known of the file, and how a piece of it is parsed."""

    name: str
    label_size: int
    weights: bool
    delimiter: str  # empty: not known yet
    encoding: str
    empty_is_nan: bool
    first: bool

    def width(self, piece: Piece) -> int:
        """The number of columns of the first row; 0 if all lines are blank."""
        text = io.BytesIO(memoryview(piece.text)[piece.begin : piece.end])
        rows = self._csv(io.TextIOWrapper(text, self.encoding, "replace", newline=""))
        try:
            cells = next(rows, [])
            if not cells:
                if any(rows):
                    raise BadRow(0, _BLANK)
                return 0
        except csv.Error as e:
            raise BadRow(0, f" is no CSV: {e}") from None
        needed = self.label_size + self.weights + 1
        if self.first and any(c.strip() for c in cells) and not any(map(_is_number, cells)):
            shown = ", ".join(_shown(c) for c in cells[:3]) + (", ..." if len(cells) > 3 else "")
            raise BadRow(
                0,
                f" looks like a header ({shown}): the algorithms take CSV without one;"
                " remove the first line",
            )
        if len(cells) < needed:
            weights = " and weights" if self.weights else ""
            raise BadRow(
                0,
                f" has {_columns(len(cells))}: label_size={self.label_size}{weights} needs at least"
                f" {needed}, separated by {self.delimiter!r}",
            )
        return len(cells)

    def parse(self, piece: Piece) -> _Rows:
        """The rows of a piece, by the kernel if it can."""
        width = piece.columns
        if width == 0:
            return _Rows(np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), True)
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

    def parse_oddities(self, piece: Piece, width: int) -> _Rows:
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
                    raise BadRow(len(rows), _BLANK)
                if len(cells) != width:
                    raise BadRow(
                        len(rows), f" has {_columns(len(cells))}, the first row has {width}"
                    )
                rows.append(self._numbers(cells, len(rows), doubtful))
        except csv.Error as e:
            raise BadRow(len(rows), f" is no CSV: {e}") from None
        if text.count('"') % 2:
            raise BadRow(len(rows) - 1 + blank, ": a quote is opened and never closed")
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
            raise BadRow(row, f", column {column}: {_shown(cell)} is not a number")
        if self.empty_is_nan:
            return np.nan
        raise BadRow(row, f", column {column} is empty: fill in missing values first")


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


def _delimiters(file: Any, name: str, encoding: str) -> Iterator[str]:
    """The delimiter of a file; what is wrong with it is told by whoever reads it."""
    try:
        plain = _ASCII.decode(encoding, "replace") == _ASCII.decode("ascii")
        source = file if plain else Recoded(file, encoding)
        for piece in read_pieces(source, name, FIRST_PIECE, True):
            yield _delimiter_of(piece, encoding if plain else "utf-8")
            return
    except (LookupError, UnicodeError, BadRow):
        return


def _delimiter_of(piece: Piece, encoding: str) -> str:
    """A comma, else the first other mark of the first row, else a tab or a space between cells."""
    text = bytes(memoryview(piece.text)[piece.begin : piece.end]).decode(encoding, "replace")
    line = next(filter(None, map(str.strip, text.splitlines())), "")
    if "," in line:
        return ","
    marks = [c for c in line if c in punctuation and c not in "\"'+-._"]
    return next(iter(marks), next((c for c in "\t " if c in line), ","))


def _sized(pieces: Iterator[Piece], table: _Table) -> Iterator[Piece]:
    """The pieces with the width of the first row that is not blank."""
    width = 0
    for piece in pieces:
        width = width or table.width(piece)
        yield piece._replace(columns=width)


def _read(file: Any, table: _Table, size: int) -> Iterator[Block]:
    pieces = read_pieces(file, table.name, size, table.first)
    row = 0
    blank = False
    head: list[Block] | None = [] if table.first else None
    try:
        if not table.delimiter and (piece := next(pieces, None)):
            table = replace(table, delimiter=_delimiter_of(piece, table.encoding))
            pieces = chain([piece], pieces)
        for rows in parse_pieces(_sized(pieces, table), table.parse):
            if len(rows.features) and blank:
                raise BadRow(0, _BLANK)
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
    except BadRow as e:
        at, what = (0, _BLANK) if blank else (e.row, e.what)
        raise UserError(f"{table.name}, row {row + 1 + at}{what}") from None
