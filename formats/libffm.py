"""The text of libffm: ``label field:index:value ...``, one row a line; libsvm with fields.

A column is of one field, that of all its entries: `settle` finds the field of each column by a look
at all files of a channel, and refuses columns of two. What else rows may have, and how columns are
counted, is as in `libsvm`, which parses what is left without the fields.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats import libsvm_writer
from smalgos.formats.block import Block
from smalgos.formats.csv_pieces import PIECES, BadRow, Piece, parse_pieces, read_pieces
from smalgos.formats.libffm_fields import MOST_FIELD, take_fields
from smalgos.formats.libsvm import _bad, _Grammar, _read, _Rows
from smalgos.formats.libsvm_rows import MOST_INDEX

__all__ = ["encode", "fields_of", "read_blocks", "settle", "write_blocks"]

THREADED = True
UNKNOWN = -1  # the field of a column without entries
MOST_COLUMNS = 1 << 28  # whose fields are held: 1 GiB


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    base: int | None = None,
    width: int | None = None,
    label_size: int = 1,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Block]:
    """Read sparse rows; their fields are passed over: `settle` and `fields_of` tell them.

    Parameters, blocks and errors are those of `libsvm.read_blocks`, where an entry is
    ``field:index:value``, the field from 0 to 65535.
    """
    grammar = _Fielded.like(name, base or 0, width, base, label_size)
    pieces = read_pieces(file, name, max(1, chunk_bytes // PIECES), True, quotes=False)
    return _read(parse_pieces(pieces, grammar.parse), grammar, width)


def settle(
    look: Callable[[Callable[[BinaryIO, str], Iterator[Any]]], Iterable[Any]],
    *,
    base: int | None = None,
    width: int | None = None,
    label_size: int = 1,
) -> dict[str, Any]:
    """What the files of a channel settle together.

    Parameters
    ----------
    look, base, width, label_size
        As for `libsvm.settle`.

    Returns
    -------
    dict
        ``base`` and ``width``, settled or as given; and ``fields``, int32 (width,): the field of
        each column, 0 where it has no entries. Rows to predict (`label_size` 0) whose base and
        width are given are not looked at, and have no fields.

    Raises
    ------
    UserError
        When a column is of two fields, with file and row; for more than 2**28 columns.
    """
    if base is None and label_size == 0:
        base = 0
    if base is not None and width is not None and label_size == 0:
        return {"base": base, "width": width}
    if width is not None and width > MOST_COLUMNS:
        raise UserError(f"width={width}: libffm may have {MOST_COLUMNS} columns here")
    found = _Fields(None if width is None else width + 1)  # what is beyond, the reader names
    least = MOST_INDEX
    for low, indices, fields, where in look(lambda file, name: _survey(file, name, label_size)):
        least = min(least, low)
        found.add(indices, fields, where)
    base = int(0 < least < MOST_INDEX) if base is None else base
    width = max(len(found.of) - base, 1) if width is None else width
    known = np.zeros(width, np.int32)
    own = found.of[base : base + width]
    known[: len(own)] = np.maximum(own, 0)
    return {"base": base, "width": width, "fields": known}


class _Fields:
    """The field of each index that was seen, of those below `limit`."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.of = np.empty(0, np.int32)

    def add(
        self, indices: NDArray[np.int32], fields: NDArray[np.int32], where: Callable[[int], str]
    ) -> None:
        """Take entries; `where` names the row of one."""
        if self.limit is not None:
            kept = np.flatnonzero(indices < self.limit)
            indices, fields = indices[kept], fields[kept]
            if not len(indices):
                return
        if (beyond := indices >= MOST_COLUMNS).any():
            i = int(beyond.argmax())
            raise UserError(
                f"{where(i)}: index {indices[i]} is beyond the {MOST_COLUMNS} columns that libffm "
                "may have here"
            )
        most = int(indices.max()) + 1
        if most > len(self.of):
            self.of = np.concatenate([self.of, np.full(most - len(self.of), UNKNOWN, np.int32)])
        new = self.of[indices] == UNKNOWN
        # Of entries of one column the last one counts: the others are compared with it.
        self.of[indices[new]] = fields[new]
        wrong = self.of[indices] != fields
        if wrong.any():
            i = int(wrong.argmax())
            at = i if self.limit is None else int(kept[i])
            raise UserError(
                f"{where(at)}: index {indices[i]} is of field {fields[i]} here, elsewhere of field "
                f"{self.of[indices[i]]}: number the columns of different fields apart"
            )


def _survey(file: BinaryIO, name: str, label_size: int) -> Iterator[Any]:
    """(least index, indices, fields, what names the row of an entry) of each part of a file.

    What is wrong with a row is not told here: whoever reads the file comes to it.
    """
    grammar = _Fielded.like(name, 0, None, None, label_size)
    row = 0
    try:
        pieces = read_pieces(file, name, 1 << 20, True, quotes=False)
        for rows, fields in parse_pieces(pieces, grammar.parse_both):
            x, before = rows.features, row
            fields = fields[: len(x.indices)]

            def where(i: int, offsets: Any = x.offsets, before: int = before) -> str:
                at = int(np.searchsorted(offsets, i, side="right"))
                return f"{name}, row {before + at}"

            if len(x.indices):
                yield rows.least, x.indices, fields, where
            row += len(x)
            if rows.bad:
                return
    except BadRow:
        return


def fields_of(source: Any, **options: Any) -> NDArray[np.int32]:
    """The field of each column of files, as `fields` of Factorization Machines take them.

    Parameters
    ----------
    source : path, directory or bytes
        As for `smalgos.formats.read`.
    **options
        ``base`` and ``width``, where the files do not tell.

    Returns
    -------
    ndarray of int32, shape (width,)

    Raises
    ------
    UserError
    """
    from smalgos.formats.channel import stream

    text = "".join(f"; {name}={value}" for name, value in options.items())
    fields: NDArray[np.int32] = stream(source, f"text/libffm{text}").settled()["fields"]
    return fields


@dataclass(frozen=True)
class _Fielded(_Grammar):
    """How rows with fields are parsed."""

    @staticmethod
    def like(
        name: str, base: int, width: int | None, given: int | None, label_size: int
    ) -> "_Fielded":
        plain = _Grammar.of(name, base, width, given, label_size)
        return _Fielded(plain.name, plain.base, plain.labelled)

    def parse(self, piece: Piece) -> _Rows:
        return self.parse_both(piece)[0]

    def parse_both(self, piece: Piece) -> tuple[_Rows, NDArray[np.int32]]:
        """The rows of a piece, and the fields of their entries."""
        text = np.frombuffer(piece.text, np.uint8)
        fields = np.empty(piece.text.count(b":", piece.begin, piece.end) // 2, np.int32)
        count, line, token = take_fields(text, piece.begin, piece.end, self.labelled, fields)
        rows = super().parse(piece._replace(end=line))
        if line < piece.end and not rows.bad:
            tail = bytes(memoryview(piece.text)[token : piece.end]).split(None, 1)[0]
            what = f"not field:index:value, the field from 0 to {MOST_FIELD}"
            rows = rows._replace(bad=str(_bad(tail.partition(b"#")[0], token - line + 1, what)))
        return rows, fields[:count]


def encode(block: Block, fields: Sequence[int] | NDArray[Any] | None = None) -> bytes:
    """Write rows as ``label[:weight] [qid:n] field:index:value ...``.

    Parameters
    ----------
    block : Block
        As for `libsvm.encode`.
    fields : array-like of int, shape (d,), optional
        The field of each column. Default: each is a field of its own.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        As `libsvm.encode` does; for fields that do not fit.
    """
    return libsvm_writer.encode(block, _checked(block, fields))


def write_blocks(
    file: BinaryIO, blocks: Iterable[Block], fields: Sequence[int] | NDArray[Any] | None = None
) -> None:
    """Write blocks as one file that tells its columns.

    Parameters
    ----------
    file, blocks
        As for `libsvm.write_blocks`.
    fields
        As for `encode`.

    Raises
    ------
    UserError
        As `encode` does.
    """

    libsvm_writer.write_blocks(file, blocks, functools.partial(encode, fields=fields))


def _checked(block: Block, fields: Any) -> NDArray[np.int32]:
    width = block.features.shape[1]
    numbers = np.arange(width) if fields is None else np.asarray(fields)
    if numbers.shape != (width,) or numbers.dtype.kind not in "iu":
        raise UserError(f"fields: one whole number for each of the {width} columns is expected")
    if width and not 0 <= numbers.min() <= numbers.max() <= MOST_FIELD:
        raise UserError(
            f"fields must be from 0 to {MOST_FIELD}; without any, each of the {width} columns is "
            "one of its own"
        )
    return numbers.astype(np.int32)
