"""Plain text: a row is a line with its end, as UTF-8 bytes that nobody decodes."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block, Ragged
from smalgos.formats.csv_texts import all_texts

MAX_LINE_BYTES = 16 << 20  # as for CSV: bounds what is kept while a line's end is looked for
CUT_BYTES = 1 << 14  # of a line that may be cut, which may be a whole book
WHITE = b" \t\v\f\r\0"


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    texts: tuple[str, ...] = ("text",),
    cut_lines: bool = False,
    chunk_bytes: int = 4 << 20,
) -> Iterator[Block]:
    """Read lines from a text file.

    A byte-order mark is skipped; the last line gets an end if it lacks one.

    Parameters
    ----------
    file : binary file
        Read sequentially, in any portions.
    name : str
        What messages call the file.
    texts : tuple of str
        Name of the one column.
    cut_lines : bool
        Whether a line of more than 16 KiB is cut into several rows, behind the last white space
        within that length; all rows but the line's last then lack its end.
    chunk_bytes : int
        About how much text is held in memory at a time.

    Yields
    ------
    Block
        The column, a `Ragged` of uint8; `start` counts rows from 0.

    Raises
    ------
    UserError
        For a line of more than 16 MiB that must not be cut, or that has no white space to cut at;
        where rows have several texts.
    """
    if len(texts) != 1:
        raise UserError(f"{name}: lines of text have one column, not {' and '.join(texts)}")
    done, carry, first = 0, b"", True
    while True:
        more = file.read(chunk_bytes)
        text = carry + more
        if first:
            if len(text) < len(codecs.BOM_UTF8) and more:
                carry = text
                continue
            text, first = text.removeprefix(codecs.BOM_UTF8), False
        if not more and text and not text.endswith(b"\n"):
            text += b"\n"
        ends, carry = _ends(text, name, done, cut_lines)
        if len(ends):
            offsets = np.concatenate(([0], ends))
            yield Block({texts[0]: Ragged(np.frombuffer(text, np.uint8), offsets)}, done)
            done += len(ends)
        if not more:
            return


def _ends(text: bytes, name: str, done: int, cut_lines: bool) -> tuple[np.ndarray, bytes]:
    """Where the complete rows of a text end, and what is left behind them."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    longest = CUT_BYTES if cut_lines else MAX_LINE_BYTES
    begins = np.concatenate(([0], ends))
    lengths = np.diff(np.concatenate((begins, [len(text)])))
    long = np.flatnonzero(lengths > longest)
    if len(long) and not cut_lines:
        raise UserError(
            f"{name}, row {done + int(long[0]) + 1}: a line of more than {longest} bytes: "
            "is this a text file, one text on each line?"
        )
    for i in reversed(long.tolist()):
        stop = int(ends[i]) if i < len(ends) else len(text)
        cuts = _cuts(text, int(begins[i]), stop, name)
        ends = np.concatenate((ends[:i], cuts, ends[i:]))
    return ends, text[int(ends[-1]) :] if len(ends) else text


def _cuts(text: bytes, begin: int, stop: int, name: str) -> list[int]:
    """Where a long line is cut: the same places, whatever part of it is known."""
    cuts: list[int] = []
    while stop - begin > CUT_BYTES:
        window = text[begin : begin + CUT_BYTES]
        length = max(window.rfind(WHITE[i : i + 1]) for i in range(len(WHITE))) + 1
        if length == 0:
            raise UserError(f"{name}: a token of more than {CUT_BYTES} bytes: is this text?")
        begin += length
        cuts.append(begin)
    return cuts


def encode(block: Block) -> bytes:
    """Write texts as lines; those without a line end get one.

    Parameters
    ----------
    block : Block
        One column, a `Ragged` of uint8.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        For other columns, and for a text that holds a line end before its own.
    """
    columns = all_texts(block)
    if len(columns) != 1:
        raise UserError("lines of text hold one column of texts and nothing else")
    lines = [columns[0].row(i).tobytes().removesuffix(b"\n") for i in range(len(block))]
    for i, line in enumerate(lines):
        if b"\n" in line:
            raise UserError(f"row {i + 1}: a line end within a text: replace it")
    return b"".join(line + b"\n" for line in lines)
