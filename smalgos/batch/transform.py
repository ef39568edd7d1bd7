"""Batch transform: files in, a file of answers for each out."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from smalgos.algorithms import algorithm
from smalgos.batch import answers
from smalgos.batch.records import CsvRecords, JsonRecords, Processing, Records
from smalgos.errors import UserError
from smalgos.formats.channel import Stream, stream
from smalgos.formats.content_type import (
    CSV,
    JSON,
    JSON_LINES,
    LIBFFM,
    LIBSVM,
    RECORDIO,
    TEXT,
    ContentType,
    guess,
    reader,
)
from smalgos.formats.responses import Answer, encoder
from smalgos.learning.model import Model

# How files of a content type may be split into records; the first one is what they are.
SPLITS = {
    CSV: ("line", "none"),
    JSON_LINES: ("line", "none"),
    LIBSVM: ("line", "none"),
    LIBFFM: ("line", "none"),
    TEXT: ("line", "none"),
    RECORDIO: ("record", "none"),
    JSON: ("none", "line"),
}

Report = Callable[[Stream, int], None]


class Transform:
    """What is to be done with every file.

    Parameters
    ----------
    model : Model
    content_type : str, optional
        Of the files; default: what their names, else their first bytes tell.
    accept : str, optional
        Of the answers; default: JSON Lines, and where records are processed, the type of the file.
    split : {"line", "record", "none"}, optional
        What a record is; default: what it is in files of that type. Lines of ``application/json``
        are documents each.
    processing : Processing
        For CSV, JSON and JSON Lines.
    n_jobs : int, optional
        Threads; None or -1: one per core.
    **options
        Options of the reader where the content type does not say, such as ``label_size=0``.

    Raises
    ------
    UserError
        When nothing can be answered as `accept` asks for.
    """

    def __init__(
        self,
        model: Model,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        split: str | None = None,
        processing: Processing | None = None,
        n_jobs: int | None = None,
        **options: Any,
    ) -> None:
        self._model, self._accept, self._split, self._n_jobs = model, accept, split, n_jobs
        self._content_type = ContentType.parse(content_type) if content_type else None
        self._processing = processing or Processing()
        self._options = options
        a = algorithm(model.algorithm)
        self._envelope, self._default = a.envelope, a.content_type if a.texts else None
        self._asked = a.asked(encoder(accept).parameters)

    def __call__(self, source: Any, report: Report = lambda stream, rows: None) -> Iterator[bytes]:
        """The answers to all rows of a file, a piece at a time, in bounded memory.

        Parameters
        ----------
        source : path or binary file object
        report : callable
            Told, behind each piece, the stream that is read and the number of rows of the piece.

        Raises
        ------
        UserError
            Now or while iterating, when there is something that cannot be read or answered.
        """
        kind = self._content_type
        if kind is None and self._default:  # which texts are can only be told of JSON
            special = hasattr(source, "read")
            kind = ContentType(self._default) if special else guess(source, default=self._default)
        if kind is None and (self._split or not self._processing.nothing):
            if hasattr(source, "read"):
                raise UserError("--split, filters and --join of standard input need --content-type")
            kind = guess(source)
        split = self._check_split(kind) if kind else None
        if self._processing.nothing and not (kind and kind.type == JSON and split == "line"):
            return self._plain(source, kind, report)
        assert kind is not None
        return self._processed(source, kind, split, report)

    def _check_split(self, kind: ContentType) -> str:
        allowed = SPLITS.get(kind.type, ("none",))
        split = self._split or allowed[0]
        if split not in allowed:
            raise UserError(
                f"{kind.type} cannot be split by {split}: give --split {' or '.join(allowed)}"
            )
        if not self._processing.nothing and split == "none" and kind.type != JSON:
            raise UserError("filters and --join take records: leave out --split none")
        return split

    def _plain(self, source: Any, kind: ContentType | None, report: Report) -> Iterator[bytes]:
        rows = stream(source, kind, **self._options)
        encode = encoder(self._accept, envelope=self._envelope)
        return encode.body(self._answers(rows, report))

    def _answers(self, rows: Stream, report: Report) -> Iterator[Answer]:
        for answer in answers(self._model, rows, n_jobs=self._n_jobs, **self._asked):
            yield answer
            report(rows, len(next(iter(answer.values()))))

    def _processed(
        self, source: Any, kind: ContentType, split: str | None, report: Report
    ) -> Iterator[bytes]:
        if not hasattr(source, "read") and os.path.isdir(source):
            raise UserError(f"{source} is a folder, answered file by file: give --output")
        records, read = self._records(kind, split == "line")
        if encoder(self._accept, default=kind.type).type != kind.type:
            raise UserError(f"filters and --join answer in the file's type: --accept {kind.type}")
        rows = stream(source, read=records.through(read))
        return self._finished(records, rows, report)

    def _finished(self, records: Records, rows: Stream, report: Report) -> Iterator[bytes]:
        for answer in self._answers(rows, report):
            yield records.finished(answer)
        yield records.finished({})

    def _records(self, kind: ContentType, lines: bool) -> tuple[Records, Any]:
        """The records of a file of that type, and what reads them when they are filtered."""
        if kind.type == CSV:
            given = {n: v for n, v in kind.parameters.items() if n not in ("charset", "encoding")}
            read = reader(ContentType(CSV, given), **self._options)
            return CsvRecords(self._processing, *self._dialect(kind)), read
        if kind.type in (JSON, JSON_LINES):
            envelope = self._envelope if kind.type == JSON else None
            read = reader(JSON_LINES, **self._options)
            return JsonRecords(self._processing, envelope, lines), read
        raise UserError(f"filters and --join take CSV, JSON and JSON Lines, not {kind.type}")

    def _dialect(self, kind: ContentType) -> tuple[str, str]:
        """Delimiter and encoding, as the reader of the content type finds them good."""
        reader(kind, **self._options)
        given = kind.parameters
        encoding = given.get("charset") or given.get("encoding") or "utf-8"
        return given.get("delimiter", ","), encoding.lower()
