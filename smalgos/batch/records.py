"""Records as batch transform sees them: filtered before a model reads them, joined to its answers.

A reader is given a file that holds filtered records only, so that what is wrong with a row is said
as everywhere. Meanwhile the unfiltered records wait for their answers.
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from smalgos.batch.paths import WHOLE, Missing, Path
from smalgos.errors import UserError
from smalgos.formats.content_type import Read
from smalgos.formats.json_document import instances_of, read_text
from smalgos.formats.json_rows import Bad
from smalgos.formats.jsonlines import MAX_LINE_BYTES, parse_line, read_lines
from smalgos.formats.responses import Answer, csv_lines, json_lines
from smalgos.formats.shards import Peekable

PIECE = 1 << 16  # bytes of filtered records that are given to the reader at a time


@dataclass(frozen=True)
class Processing:
    """What is done to records before and behind a model.

    Parameters
    ----------
    input, output : Path
        What the model gets of a record; what is written of a record's answer or, if joined, of
        both.
    join : bool
        Whether answers are put behind the unfiltered records.
    """

    input: Path = WHOLE
    output: Path = WHOLE
    join: bool = False

    @property
    def nothing(self) -> bool:
        """Whether answers stay as they are."""
        return not (self.join or self.input.steps or self.output.steps)


class Records(ABC):
    """The records of one file on their way.

    Parameters
    ----------
    processing : Processing
    """

    def __init__(self, processing: Processing) -> None:
        self._do = processing
        self._name = ""
        self._written = 0
        self._waiting: deque[Any] = deque()  # filled by the thread that reads

    def through(self, read: Read) -> Read:
        """A reader of filtered records."""

        def filtered(file: BinaryIO, name: str) -> Any:
            self._name = name
            pieces = _Reads(_gathered(self._filtered(file)))
            return read(io.BufferedReader(Peekable(pieces)), name)

        return filtered

    @abstractmethod
    def _filtered(self, file: BinaryIO) -> Iterator[bytes]:
        """The text of each record for the reader."""

    @abstractmethod
    def finished(self, answer: Answer) -> bytes:
        """The text of the records whose answers are complete by this one."""

    def _select(self, path: Path, value: Any, record: int) -> Any:
        try:
            return path.select(value)
        except Missing as e:
            raise self._error(record, e) from None

    def _error(self, record: int, why: object) -> UserError:
        """Says what is wrong with a record, counted from 0."""
        return UserError(f"{self._name}, row {record + 1}: {why}")


class CsvRecords(Records):
    """Rows of CSV: lists of cells, which stay as they are written. The reader gets UTF-8.

    Parameters
    ----------
    processing : Processing
    delimiter, encoding : str
        Of the file.
    """

    def __init__(self, processing: Processing, delimiter: str, encoding: str) -> None:
        super().__init__(processing)
        for path in (processing.input, processing.output):
            if path.names or len(path.steps) > 1:
                raise UserError(f"{path.text}: CSV has columns without names: use $, $[0] or $[1:]")
        self._delimiter, self._encoding = delimiter, encoding

    def _filtered(self, file: BinaryIO) -> Iterator[bytes]:
        encoding = "utf-8-sig" if self._encoding in ("utf-8", "utf8") else self._encoding
        buffered = io.BufferedReader(file, 1 << 20)  # type: ignore[type-var]
        text = io.TextIOWrapper(buffered, encoding, "replace", newline="")
        done = 0
        lines = self._lines(text)
        rows = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=self._delimiter != " ")
        try:
            for cells in rows:
                if len(cells) < 2 and not "".join(cells).strip():
                    yield b"\n"  # blank: the reader knows whether it may be
                    continue
                if self._do.join:
                    self._waiting.append(cells)
                yield self._line(_cells(self._select(self._do.input, cells, done))).encode()
                done += 1
        except csv.Error as e:
            raise self._error(done, f"no CSV: {e}") from None
        finally:
            text.detach()  # the file is not ours to close

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        while line := text.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES:
                raise csv.Error(f"a line of more than {MAX_LINE_BYTES} characters")
            yield line

    def _line(self, cells: list[str]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="\n").writerow(cells)
        return line.getvalue()

    def finished(self, answer: Answer) -> bytes:
        """The rows of an answer: input columns, if joined, then those of the answer."""
        written = []
        for line in csv_lines(answer).decode().splitlines():
            cells = line.split(",")
            if self._do.join:
                cells = self._waiting.popleft() + cells
            written.append(self._line(_cells(self._select(self._do.output, cells, self._written))))
            self._written += 1
        return "".join(written).encode()


def _cells(chosen: Any) -> list[str]:
    return chosen if isinstance(chosen, list) else [chosen]


class JsonRecords(Records):
    """Rows of JSON Lines, or JSON documents, of which each may hold many rows.

    They are read as JSON Lines, into which documents are unfolded.

    Parameters
    ----------
    processing : Processing
    envelope : str, optional
        Records are documents, and this is the key of the list of answers in the answer to one;
        None: they are rows.
    lines : bool
        Whether each line is a record, else the whole file.
    """

    def __init__(self, processing: Processing, envelope: str | None, lines: bool) -> None:
        super().__init__(processing)
        self._envelope, self._by_line = envelope, lines
        self._answers: deque[str] = deque()

    def _filtered(self, file: BinaryIO) -> Iterator[bytes]:
        for record, text in enumerate(self._texts(file)):
            try:
                rows = self._rows(text, record)
                joined = _as_written(text) if self._do.join else None
            except Bad as e:
                raise self._error(record, e) from None
            self._waiting.append((joined, len(rows)))
            yield from (row + b"\n" for row in rows)

    def _rows(self, text: bytes, record: int) -> list[bytes]:
        if self._envelope is None and not self._do.input.steps:
            return [text]
        value = self._select(self._do.input, parse_line(text), record)
        document = self._envelope is not None and isinstance(value, dict) and "instances" in value
        rows = instances_of(value) if document else [value]
        # What a filter leaves of a row may be the list of its features alone.
        given = ({"features": row} if isinstance(row, list) else row for row in rows)
        return [_text(row).encode() for row in given]

    def _texts(self, file: BinaryIO) -> Iterator[bytes]:
        if not self._by_line:
            try:
                yield read_text(file).encode()
            except Bad as e:
                raise self._error(0, e) from None
            return
        count = 0
        try:
            for lines in read_lines(file):
                yield from lines
                count += len(lines)
        except Bad as e:
            raise self._error(count, e) from None

    def _error(self, record: int, why: object) -> UserError:
        return super()._error(record, why) if self._by_line else UserError(f"{self._name}: {why}")

    def finished(self, answer: Answer) -> bytes:
        """The records that are answered, one on each line."""
        self._answers.extend(json_lines(answer).decode().splitlines())
        written = []
        while self._waiting and self._waiting[0][1] <= len(self._answers):
            record, n = self._waiting.popleft()
            given = [json.loads(self._answers.popleft()) for _ in range(n)]
            result = given[0] if self._envelope is None else {self._envelope: given}
            if self._do.join:
                record = record if isinstance(record, dict) else {"SageMakerInput": record}
                result = {**record, "SageMakerOutput": result}
            chosen = self._select(self._do.output, result, self._written)
            try:
                written.append(_text(chosen) + "\n")
            except Bad as e:
                raise self._error(self._written, e) from None
            self._written += 1
        return "".join(written).encode()


def _as_written(text: bytes) -> Any:
    """The value of a JSON text, whole numbers whole."""
    try:
        return json.loads(text, parse_float=_finite)
    except (ValueError, RecursionError) as e:
        parse_line(text)  # says it better, if it is no JSON
        why = "nested too deeply" if isinstance(e, RecursionError) else e
        raise Bad(f"cannot be written again: {why}") from None


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        raise Bad("cannot be written again: nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _gathered(texts: Iterator[bytes]) -> Iterator[bytes]:
    parts, size = [], 0
    for text in texts:
        parts.append(text)
        size += len(text)
        if size >= PIECE:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


class _Reads:
    """Pieces of text, one at a time, of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, n: int) -> bytes:
        return next(filter(None, self._pieces), b"")
