"""The sparse text of libsvm: ``label[:weight] [qid:n] index:value ...``, one row a line.

Plain text, nearly always all of it, is parsed by a kernel (`libsvm_rows`) in pieces on several
threads. A piece that has anything odd in it is parsed once more, token by token, which alone
decides what is an error: the kernel gives the same numbers or gives up.

The format tells neither how many columns there are nor whether the first one is called 0 or 1.
`settle` finds both by a look at all files of a channel; `write_blocks` sees to it that this look
finds what was written.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.csv_pieces import PIECES, BadRow, Piece, parse_pieces, read_pieces
from smalgos.formats.libsvm_rows import (
    ASCENDING,
    ENTRIES,
    FACTS,
    FORM,
    GROUPS,
    LEAST,
    MOST,
    MOST_INDEX,
    ROWS,
    WEIGHTS,
    count_marks,
    find_indices,
    parse_rows,
)
from smalgos.formats.libsvm_writer import encode, write_blocks

__all__ = ["encode", "read_blocks", "settle", "survey", "write_blocks"]

THREADED = True


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    base: int | None = None,
    width: int | None = None,
    label_size: int = 1,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Block]:
    """Read sparse rows.

    A ``#`` begins a comment, lines without a token are passed over. Numbers are written as in CSV,
    indices in digits; they may come in any order, but none twice in a row. All rows have a weight,
    or none has, and so with qid.

    Parameters
    ----------
    file : binary file
        Read sequentially, in any portions.
    name : str
        What messages call the file.
    base : {0, 1}, optional
        What the first column is called. Default: 0.
    width : int, optional
        Number of columns. Default: as many as the first `chunk_bytes` or so have; a later row that
        has more is an error.
    label_size : {0, 1}
        1: each row begins with a label. 0: rows may have one, which is passed over, as in requests;
        it is what has no colon.
    chunk_bytes : int
        About how much text is held in memory at a time. Blocks hold the rows of an eighth of it.

    Returns
    -------
    iterator of Block
        ``features`` (n, width) `Csr`, ``labels`` (n,) float32 unless `label_size` is 0, ``weights``
        (n,) float32 and ``groups`` (n,) int64, the qid, where rows have them; `start` counts the
        rows of the file from 0.

    Raises
    ------
    UserError
        For an option out of range; while iterating, for anything that is not ``index:value``, an
        index beyond the columns or given twice, a row of more than 16 MiB, damaged compression:
        with file, row and byte in the row, both counted from 1.

    Notes
    -----
    Files, and folders of them, are looked over by `settle` before they are read, which says `base`
    and `width` where the content type does not.
    """
    grammar = _Grammar.of(name, base or 0, width, base, label_size)
    pieces = read_pieces(file, name, max(1, chunk_bytes // PIECES), True, quotes=False)
    return _read(parse_pieces(pieces, grammar.parse), grammar, width)


def survey(
    file: BinaryIO, name: str, *, label_size: int = 1, chunk_bytes: int = 8 << 20
) -> Iterator[tuple[int, int]]:
    """The least and the greatest index, as written, of each part of a file that has any.

    Parameters
    ----------
    file, name, label_size, chunk_bytes
        As for `read_blocks`.

    Yields
    ------
    (int, int)

    Notes
    -----
    What is wrong with a row is not told here: whoever reads the file comes to it.
    """
    grammar = _Grammar.of(name, 0, None, None, label_size)
    try:
        for piece in read_pieces(file, name, max(1, chunk_bytes // PIECES), True, quotes=False):
            least, most = grammar.glance(piece)
            if most >= 0:
                yield least, most
    except BadRow:
        return


def settle(
    look: Callable[[Callable[[BinaryIO, str], Iterator[Any]]], Iterable[Any]],
    *,
    base: int | None = None,
    width: int | None = None,
    label_size: int = 1,
) -> dict[str, int]:
    """What the files of a channel settle together: the options of `read_blocks` left open.

    If no row of any file has an index 0, columns are counted from 1. Of rows to predict
    (`label_size` 0), `base` is not guessed: it is 0, or what the model was trained with.

    Parameters
    ----------
    look : callable
        ``look(read)`` gives all that ``read(file, name)`` gives, file by file.
    base, width, label_size
        As for `read_blocks`.

    Returns
    -------
    dict
        ``base`` and ``width``, settled or as given.
    """
    if base is None and label_size == 0:
        base = 0
    if base is None or width is None:
        least, most = MOST_INDEX, 0
        for low, high in look(lambda file, name: survey(file, name, label_size=label_size)):
            least, most = min(least, low), max(most, high)
        base = int(0 < least < MOST_INDEX) if base is None else base
        width = most + 1 - base if width is None else width
    return {"base": base, "width": width}


class _Rows(NamedTuple):
    """Parsed rows; the width of their features is not settled yet."""

    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    groups: NDArray[np.int64] | None
    features: Csr
    least: int
    most: int
    bad: str = ""  # what is wrong with the row behind them


@dataclass(frozen=True)
class _Grammar:
    """How rows are parsed."""

    name: str
    base: int
    labelled: bool

    @staticmethod
    def of(
        name: str, base: int, width: int | None, given: int | None, label_size: int
    ) -> "_Grammar":
        if given not in (None, 0, 1):
            raise UserError(f"base={given}: must be 0 or 1")
        if width is not None and not 1 <= width <= MOST_INDEX + 1:
            raise UserError(f"width={width}: must be from 1 to {MOST_INDEX + 1}")
        if label_size not in (0, 1):
            raise UserError(f"label_size={label_size}: rows of libsvm have one label: 0 or 1")
        return _Grammar(name, base, label_size == 1)

    def error(self, row: int, bad: BadRow) -> UserError:
        """What is wrong, in a row behind so many others."""
        return UserError(f"{self.name}, row {row + 1 + bad.row}{bad.what}")

    def glance(self, piece: Piece) -> tuple[int, int]:
        """The least and the greatest index of the rows of a piece."""
        if piece.text.find(b"#", piece.begin, piece.end) < 0:
            text = np.frombuffer(piece.text, np.uint8)
            least, most, sure = find_indices(text, piece.begin, piece.end, self.labelled)
            if sure:
                return int(least), int(most)
        rows = self.parse(piece)
        return rows.least, rows.most

    def parse(self, piece: Piece) -> _Rows:
        """The rows of a piece, by the kernel if it can."""
        text = np.frombuffer(piece.text, np.uint8)
        lines, colons = count_marks(text, piece.begin, piece.end)
        labels, weights = np.empty(lines, np.float32), np.empty(lines, np.float32)
        groups, offsets = np.empty(lines, np.int64), np.empty(lines + 1, np.int64)
        indices, values = np.empty(colons, np.int32), np.empty(colons, np.float32)
        facts = np.empty(FACTS, np.int64)
        plain = parse_rows(
            text, piece.begin, piece.end, self.base, self.labelled,
            labels, weights, groups, offsets, indices, values, facts,
        )  # fmt: skip
        if plain:
            n, entries, form = facts[ROWS], facts[ENTRIES], facts[FORM]
            features = Csr(values[:entries], indices[:entries], offsets[: n + 1], 0)
            if facts[ASCENDING] or not _repeats(features):
                return _Rows(
                    labels[:n],
                    weights[:n] if form & WEIGHTS else None,
                    groups[:n] if form & GROUPS else None,
                    features,
                    int(facts[LEAST]),
                    int(facts[MOST]),
                )
        return self.parse_oddities(bytes(memoryview(piece.text)[piece.begin : piece.end]))

    def parse_oddities(self, text: bytes) -> _Rows:
        """The rows of a piece, one token at a time."""
        rows: list[_Row] = []
        bad = ""
        for line in text.split(b"\n"):
            # Bytes are counted as the line has them, from 1.
            tokens = [(m[0], m.start() + 1) for m in _TOKEN.finditer(line.partition(b"#")[0])]
            if not tokens:
                continue
            try:
                row = self._row(tokens)
                _check_form(row, rows[0] if rows else row)
            except ValueError as e:
                bad = str(e)
                break
            rows.append(row)
        lengths = [len(row.entries) for row in rows]
        features = Csr(
            _float32(v for row in rows for v in row.entries.values()),
            np.array([i for row in rows for i in row.entries], np.int32),
            np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))),
            0,
        )
        form = rows[0] if rows else _Row(0.0, None, None, {})
        return _Rows(
            _float32(row.label for row in rows),
            None if form.weight is None else _float32(row.weight for row in rows),
            None if form.group is None else np.array([row.group for row in rows], np.int64),
            features,
            int(features.indices.min(initial=MOST_INDEX)),
            int(features.indices.max(initial=-1)),
            bad,
        )

    def _row(self, tokens: list[tuple[bytes, int]]) -> "_Row":
        label, weight, group = 0.0, None, None
        entries: dict[int, float] = {}
        first = tokens[0][0]
        if self.labelled:
            text, colon, more = first.partition(b":")
            what = "label:weight" if colon else "label"
            label = _number(text, first, tokens[0][1], f"no {what} of numbers")
            if colon:
                weight = _number(more, first, tokens[0][1], f"no {what} of numbers")
        if self.labelled or b":" not in first:
            tokens = tokens[1:]
        if tokens and (qid := _QID.fullmatch(tokens[0][0])):
            group = int(qid[1])
            if group > _MOST_GROUP:
                raise _bad(*tokens[0], f"greater than {_MOST_GROUP}")
            tokens = tokens[1:]
        for token, at in tokens:
            index, colon, value = token.partition(b":")
            if not (colon and index.isdigit()):
                raise _bad(token, at, "not index:value")
            column = int(index.lstrip(b"0")[: len(str(MOST_INDEX)) + 1] or b"0") - self.base
            if column < 0:
                raise _bad(
                    token, at, "an index below 1, where the first column is called 1: base=0"
                )
            if column > MOST_INDEX:
                raise _bad(token, at, f"an index above {MOST_INDEX + self.base}")
            if column in entries:
                raise _bad(token, at, "an index that the row has already")
            entries[column] = _number(value, token, at, "not index:value with a number")
        return _Row(label, weight, group, entries)

    def block(self, rows: _Rows, start: int, width: int) -> Block:
        """The rows as a block."""
        if rows.most >= width:
            entry = int(np.argmax(rows.features.indices >= width))
            row = int(np.searchsorted(rows.features.offsets, entry, side="right")) - 1
            index = rows.features.indices[entry] + self.base
            raise BadRow(
                row,
                f": index {index} is beyond the {width} columns that are expected; if there are"
                f" more, say how many: {_TYPE}; width=...",
            )
        features = Csr(rows.features.values, rows.features.indices, rows.features.offsets, width)
        labels = rows.labels if self.labelled else None
        columns = {
            "features": features, "labels": labels, "weights": rows.weights, "groups": rows.groups,
        }  # fmt: skip
        return Block({name: c for name, c in columns.items() if c is not None}, start)


class _Row(NamedTuple):
    """What the tokens of a row say."""

    label: float
    weight: float | None
    group: int | None
    entries: dict[int, float]  # column -> value


_TYPE = "text/libsvm"
_TOKEN = re.compile(rb"[^ \t\r]+")
_QID = re.compile(rb"qid:0*([0-9]{1,19})")
_MOST_GROUP = 2**63 - 1
_NUMBER = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE
)


def _number(text: bytes, token: bytes, at: int, what: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _bad(token, at, what)
    return float(text)


def _bad(token: bytes, at: int, what: str) -> ValueError:
    shown = token if len(token) <= 40 else token[:40] + b"..."
    return ValueError(f", byte {at}: {shown.decode('utf-8', 'replace')!r} is {what}")


def _check_form(row: _Row, first: _Row) -> None:
    for what, given, expected in (
        ("weight (label:weight)", row.weight, first.weight), ("qid", row.group, first.group),
    ):  # fmt: skip
        if (given is None) != (expected is None):
            raise ValueError(_unlike(what, expected is not None))


def _unlike(what: str, expected: bool) -> str:
    return (
        f" has {'no' if expected else 'a'} {what}, unlike the rows before: give it to all or none"
    )


def _float32(numbers: Iterable[float | None]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # 1e39 is inf, as in float32 it is
        return np.array(list(numbers), np.float64).astype(np.float32)


def _repeats(features: Csr) -> bool:
    """Whether a row has two entries of one column."""
    row = np.repeat(np.arange(len(features)), np.diff(features.offsets))
    places = np.sort(row << 32 | features.indices)
    return bool((places[1:] == places[:-1]).any())


def _read(parsed: Iterator[_Rows], grammar: _Grammar, width: int | None) -> Iterator[Block]:
    row = 0
    first: _Rows | None = None
    try:
        head, bad = _head(parsed) if width is None else ([], None)
        if width is None:
            width = max([0, *(rows.most for rows in head)]) + 1
        for rows in _raising(head, bad, parsed):
            if len(rows.features):
                first = first or rows
                for what, given, expected in (
                    ("weight (label:weight)", rows.weights, first.weights),
                    ("qid", rows.groups, first.groups),
                ):
                    if (given is None) != (expected is None):
                        raise BadRow(0, _unlike(what, expected is not None))
                yield grammar.block(rows, row, width)
                row += len(rows.features)
            if rows.bad:
                raise BadRow(0, rows.bad)
    except BadRow as e:
        raise grammar.error(row, e) from None


def _head(parsed: Iterator[_Rows]) -> tuple[list[_Rows], Exception | None]:
    """The rows of the first chunk, and the error that ended it."""
    head: list[_Rows] = []
    try:
        head.extend(islice(parsed, PIECES + 1))
    except (UserError, BadRow) as e:
        return head, e
    return head, None


def _raising(head: list[_Rows], bad: Exception | None, parsed: Iterator[_Rows]) -> Iterator[_Rows]:
    yield from head
    if bad:
        raise bad
    yield from parsed
