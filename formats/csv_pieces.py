"""Text cut into pieces of whole rows, in bounded memory: of CSV, and of what has no quotes."""

import codecs
import gzip
import lzma
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple, TypeVar

from smalgos.errors import UserError
from smalgos.formats.floats import MARGIN

T = TypeVar("T")

FIRST_PIECE = 16 << 10

# A chunk is read and parsed in this many pieces. More would make tasks too small for a thread,
# fewer would leave threads idle; it never depends on the machine, and so neither do the blocks.
PIECES = 8

# Bounds what is kept while a row's end is looked for: a million columns of 16 characters.
MAX_ROW_BYTES = 16 << 20


class BadRow(Exception):
    """Something wrong in a row, counted from 0 behind the rows that were parsed before."""

    def __init__(self, row: int, what: str) -> None:
        self.row, self.what = row, what


class Piece(NamedTuple):
    """Whole rows: ``text[begin:end]``, which ends in a newline, and `MARGIN` bytes around it."""

    text: bytearray
    begin: int
    end: int
    last: bool
    columns: int = 0  # of a table, once they are known


class Recoded:
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
                raise BadRow(0, why) from None
            self.ready = text.encode("utf-8", "replace")
            if not raw:
                break
        n = min(len(view), len(self.ready))
        view[:n], self.ready = self.ready[:n], self.ready[n:]
        return n


def read_pieces(
    file: Any, name: str, size: int, first: bool, *, quotes: bool = True
) -> Iterator[Piece]:
    """Cut the text behind the last newline, outside quotes if there are such, of each `size` bytes.

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
        cut = _cut(text, end) if quotes else max(text.rfind(b"\n", MARGIN, end) + 1, MARGIN)
        if last and end > MARGIN:
            if text[end - 1] != ord("\n"):
                text[end] = ord("\n")
                end += 1
            cut = end
        carry = bytes(memoryview(text)[cut:end])
        if cut > MARGIN:
            mark = first and text.startswith(codecs.BOM_UTF8, MARGIN)
            yield Piece(text, MARGIN + (len(codecs.BOM_UTF8) if mark else 0), cut, last)
            first = False
        if len(carry) > MAX_ROW_BYTES:
            quote = "a quote that is never closed, or " if quotes and b'"' in carry else ""
            raise BadRow(
                0,
                f" is longer than {MAX_ROW_BYTES} bytes: there is {quote}no line end,"
                " or this is another format",
            )


def parse_pieces(pieces: Iterator[Piece], parse: Callable[[Piece], T]) -> Iterator[T]:
    """What `parse` makes of each piece, in order; ahead on other threads if there are many.

    The first piece, which is short, and a last one that nothing is before are parsed at once: so
    text of up to a piece's size, such as that of a request, needs no other thread.
    """
    pending: deque[Future[T]] = deque()
    bad: Exception | None = None
    first = True
    with ExitStack() as stack:
        submit: Any = None
        while True:
            try:
                piece = next(pieces, None)
            except (UserError, BadRow) as e:
                bad = e  # what came before it comes first
                break
            if piece is None:
                break
            if first or (piece.last and not pending):
                yield parse(piece)
                first = False
                continue
            if submit is None:
                threads = min(PIECES, os.cpu_count() or 1)
                submit = stack.enter_context(ThreadPoolExecutor(threads)).submit
            pending.append(submit(parse, piece))
            while pending and (len(pending) == PIECES or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if bad:
            raise bad


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
