"""CSV whose columns are texts, all of them: no cell is a number, and there is no header."""

import csv
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block, Ragged
from smalgos.formats.csv_cells import split_cells
from smalgos.formats.csv_pieces import BadRow, Piece, parse_pieces, read_pieces
from smalgos.formats.csv_rows import count_lines


def read_blocks(
    file: Any, name: str, texts: tuple[str, ...], delimiter: str, piece_bytes: int
) -> Iterator[Block]:
    """Read rows of texts; the cells as `smalgos.formats.csv` has them, blanks around them left out.

    Parameters
    ----------
    file : binary file
        UTF-8, which is not decoded.
    name : str
        What messages call the file.
    texts : tuple of str
        Names of the columns.
    delimiter : str
    piece_bytes : int
        About how much text is parsed at a time.

    Yields
    ------
    Block
        Each column a `Ragged` of uint8; `start` counts the rows of the file from 0.

    Raises
    ------
    UserError
        For a row with another number of cells, a quote that is never closed, a row of more than
        16 MiB, damaged compression; with file and row, counted from 1.
    """
    table = _Table(texts, delimiter)
    row, blank = 0, False
    try:
        for rows in parse_pieces(read_pieces(file, name, piece_bytes, True), table.parse):
            if len(rows.block) and blank:
                raise BadRow(0, _BLANK)
            blank = blank or rows.blank
            if len(rows.block):
                yield rows.block.at(row)
                row += len(rows.block)
    except BadRow as e:
        at, what = (0, _BLANK) if blank else (e.row, e.what)
        raise UserError(f"{name}, row {row + 1 + at}{what}") from None


_BLANK = " is blank: remove it; only the end of a file may have blank lines"


class _Rows(NamedTuple):
    """Parsed rows, and whether blank lines followed them."""

    block: Block
    blank: bool


class _Table(NamedTuple):
    texts: tuple[str, ...]
    delimiter: str

    def parse(self, piece: Piece) -> _Rows:
        """The rows of a piece, by the kernel if it can."""
        text = np.frombuffer(piece.text, np.uint8)
        lines, n = count_lines(text, piece.begin, piece.end), len(self.texts)
        values = np.empty((n, piece.end - piece.begin), np.uint8)
        offsets = np.zeros((n, lines + 1), np.int64)
        comma = np.uint8(ord(self.delimiter))
        rows = split_cells(text, piece.begin, piece.end, comma, values, offsets)
        if rows < 0:
            return self.parse_oddities(piece)
        columns = {
            name: Ragged(values[i, : offsets[i, rows]], offsets[i, : rows + 1])
            for i, name in enumerate(self.texts)
        }
        return _Rows(Block(columns), False)

    def parse_oddities(self, piece: Piece) -> _Rows:
        """The rows of a piece, one cell at a time."""
        raw = bytes(memoryview(piece.text)[piece.begin : piece.end])
        text = raw.decode("utf-8", "surrogateescape")
        skip = self.delimiter != " "
        rows: list[list[bytes]] = []
        blank = False
        lines = io.StringIO(text, newline="")
        skip = self.delimiter != " "
        read = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=skip, strict=True)
        try:
            for cells in read:
                if not cells or (len(cells) == 1 and not cells[0].strip() and len(self.texts) > 1):
                    blank = True
                    continue
                if blank:
                    raise BadRow(len(rows), _BLANK)
                if len(cells) != len(self.texts):
                    have = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
                    wanted = f"{len(self.texts)} are expected: {', '.join(self.texts)}"
                    raise BadRow(len(rows), f" has {have}, where {wanted}")
                rows.append([c.strip(" ").encode("utf-8", "surrogateescape") for c in cells])
        except csv.Error as e:
            if "end of data" in str(e):
                raise BadRow(len(rows), ": a quote is opened and never closed") from None
            raise BadRow(len(rows), f" is no CSV: {e}") from None
        return _Rows(Block(texts_of(self.texts, rows)), blank)


def all_texts(block: Block) -> list[Ragged]:
    """The columns of a block, if all are texts; else none."""
    texts = [c for c in block.columns.values() if isinstance(c, Ragged)]
    fits = len(texts) == len(block.columns) and all(c.values.dtype == np.uint8 for c in texts)
    return texts if fits else []


def texts_of(names: tuple[str, ...], rows: list[list[bytes]]) -> dict[str, Any]:
    """Columns of texts from rows of them."""
    return {name: joined([row[i] for row in rows]) for i, name in enumerate(names)}


def joined(texts: list[bytes]) -> Ragged:
    """A column of these texts."""
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return Ragged(np.frombuffer(b"".join(texts), np.uint8), ends)


def encode(block: Block, delimiter: str) -> bytes:
    """Write rows of texts, quoted where they must be."""
    columns = all_texts(block)
    out = io.StringIO(newline="")
    write = csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow
    for i in range(len(block)):
        cells = (column.row(i).tobytes().removesuffix(b"\n") for column in columns)
        write([cell.decode("utf-8", "surrogateescape") for cell in cells])
    return out.getvalue().encode("utf-8", "surrogateescape")
