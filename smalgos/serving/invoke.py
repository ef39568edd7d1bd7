"""One request to one model, without HTTP: bytes to bytes, or the reason why not."""

import contextlib
import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from smalgos.algorithms import algorithm
from smalgos.algorithms.answering import answer, asked_columns, reading
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import (
    CSV,
    GUESS_BYTES,
    JSON,
    JSON_LINES,
    RECORDIO,
    ContentType,
    Read,
    guess,
    reader,
    types,
    writer,
)
from smalgos.formats.csv_texts import joined
from smalgos.formats.recordio import MAGIC_BYTES, frame
from smalgos.formats.responses import (
    ENCODERS,
    Answer,
    Encoder,
    bare_lines,
    cells_of,
    encoder,
    quoted_lines,
)
from smalgos.learning.model import Model

NAME = "the request"  # what messages call it
ROWS = 8192  # that are predicted at a time
CELLS = 1 << 26  # numbers of an answer: their text takes some hundred megabytes

# Types by which a client says nothing of the body: its first bytes tell more.
SILENT = ("", "application/octet-stream")


class Refused(Exception):
    """A request that gets no answer.

    Parameters
    ----------
    status : int
        Of HTTP.
    said : str
        One sentence for the client.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class Reply(NamedTuple):
    """An answer: its status (200, or 204 where nothing was asked), body and bare media type."""

    status: int
    body: bytes
    type: str


def invoke(
    model: Model,
    body: bytes,
    content_type: str = "",
    accept: str = "",
    *,
    default: str = "",
    batch: bool = False,
    fields: Sequence[str] = (),
) -> Reply:
    """Answer a request.

    It runs on the calling thread alone, as far as the body is not too long for that (`formats.csv`
    reads long text by several threads).

    Parameters
    ----------
    model : Model
    body : bytes
        Rows without labels; empty: nothing is asked. RecordIO may also be one bare record, as
        batch transform sends them.
    content_type : str
        Of the body; where it says nothing, the first bytes do.
    accept : str
        Accept list.
    default : str
        Media type for who takes anything; empty: the algorithm's.
    batch : bool
        Whether this is a batch transform job, in which CSV ends with a newline.
    fields : sequence of str
        What to answer with, of models that can choose; empty: the usual fields.

    Returns
    -------
    Reply

    Raises
    ------
    Refused
        406: nothing acceptable can be written. 415: the content type is not one that can be read.
        400: the body cannot be read as what it is said to be, or does not fit the model.
        413: the answer would be too long. 500: the model has no fields to choose from.
    """
    if not body:
        return Reply(204, b"", "")
    a = algorithm(model.algorithm)
    chosen = bool(fields) and a.selected is not None
    try:
        asked = _parsed(content_type)
        if asked.type in SILENT:
            asked = guess(body[:GUESS_BYTES], default=a.content_type if a.texts else None)
    except UserError as e:
        raise Refused(415, str(e)) from e
    if a.answers_in_kind:
        accept = JSON if asked.type == JSON else JSON_LINES
    try:
        encode = _encoder(accept, default or a.accept, a.envelope, quoted=chosen)
    except UserError as e:
        raise Refused(406, str(e)) from e
    if batch and a.bare_batches and not chosen:
        encode = replace(encode, rows=bare_lines, frame=(b"", b"", b""))
    try:
        ask = a.selected(model, fields) if chosen and a.selected else None
    except UserError as e:
        raise Refused(500, str(e)) from e
    try:
        read = _reader(str(asked), **reading(model))
    except UserError as e:
        raise Refused(415, str(e)) from e
    if asked.type == RECORDIO and not body.startswith(MAGIC_BYTES):
        body = frame(body)
    try:
        with model.k.threads(1):
            said = _answers(model, body, read, ask, **a.asked(encode.parameters))
            written = b"".join(encode.body(said))
    except RowError as e:
        raise Refused(400, f"{NAME}, row {e.row + 1}: {e.what}") from e
    except UserError as e:
        raise Refused(400, str(e)) from e
    if encode.type == CSV and not batch and (chosen or not a.ends_csv):
        written = written.removesuffix(b"\n")
    return Reply(200, written, encode.type)


@functools.lru_cache(64)
def _encoder(accept: str, default: str, envelope: str, *, quoted: bool) -> Encoder:
    found = encoder(accept or None, envelope=envelope, default=default)
    return replace(found, rows=quoted_lines) if quoted and found.type == CSV else found


@functools.lru_cache(64)
def _parsed(content_type: str) -> ContentType:
    return ContentType.parse(content_type) if content_type else ContentType("")


@functools.lru_cache(64)
def _reader(content_type: str, **reading: Any) -> Read:
    return reader(content_type, label_size=0, **reading)


def _answers(
    model: Model,
    body: bytes,
    read: Read,
    ask: Callable[[Block], Answer] | None,
    **options: Any,
) -> Iterator[Answer]:
    """{response field: one entry per row} of some rows after others, in the algorithm's order."""
    cells = 0
    for block in _together(read(io.BytesIO(body), NAME), asked_columns(model)):
        for rows in block.batches(ROWS):
            given = answer(model, rows.on(model.k), ask, **options)
            cells += cells_of(given)
            if cells > CELLS:
                raise Refused(413, f"the answer has more than {CELLS} numbers: send fewer rows")
            yield given
    if not cells:
        raise UserError(f"{NAME} has no rows")


def _together(blocks: Iterable[Block], names: tuple[str, ...]) -> Iterator[Block]:
    """These columns, with short blocks put together: each answer costs more than its rows do."""
    waiting: list[Block] = []
    for whole in blocks:
        block = Block({name: whole[name] for name in names if name in whole}, whole.start)
        if waiting and _kinds(waiting[0]) != _kinds(block):  # dense and sparse, with a k or without
            yield Block.join(waiting)
            waiting = []
        waiting.append(block)
        if sum(map(len, waiting)) >= ROWS:
            yield Block.join(waiting)
            waiting = []
    if waiting:
        yield Block.join(waiting)


def _kinds(block: Block) -> list[tuple[str, type]]:
    return [(name, type(column)) for name, column in block.columns.items()]


def warm_up(model: Model) -> int:
    """Answer a tiny request of each kind, so that no client waits for compilers and imports.

    Returns
    -------
    int
        How many requests there were.
    """
    done = 0
    for content_type in types(texts="features" not in asked_columns(model)):
        write = writer(content_type, label_size=0)
        for block in _tiny(model):
            for accept in ENCODERS:
                with contextlib.suppress(UserError, Refused):  # not every format has sparse rows
                    invoke(model, write(block), content_type, accept)
                    done += 1
    return done


def _tiny(model: Model) -> Iterator[Block]:
    """A row of each kind that a model may be asked about."""
    if texts := algorithm(model.algorithm).texts:
        yield Block({name: joined([b"0.0.0.0"]) for name in texts})  # a word, and an address
        return
    row = np.zeros((1, model.width), np.float32)
    yield Block.of(row)
    yield Block({"features": Csr.of(row)})
