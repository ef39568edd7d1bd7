"""JSON Lines: a row as a JSON object on each line; the objects' grammar is that of `json_rows`."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from smalgos.formats.block import Block
from smalgos.formats.json_rows import Bad, Rows, behind_space, encode_rows, parse
from smalgos.formats.json_texts import TextRows

MAX_LINE_BYTES = 16 << 20  # as for CSV: bounds what is kept while a line's end is looked for


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    width: int | None = None,
    texts: tuple[str, ...] = (),
    chunk_bytes: int = 1 << 20,
) -> Iterator[Block]:
    """Read rows from a file of JSON Lines.

    A number is rounded as ``np.float32(float(text))``, as in CSV. Blank lines and a byte-order
    mark are skipped, the last line may lack its end.

    Parameters
    ----------
    file : binary file
        UTF-8, read sequentially, in any portions.
    name : str
        What messages call the file.
    width : int, optional
        How many features each row must have; default: as many as the first.
    texts : tuple of str
        Columns of text that rows have in the place of features: see `json_texts`.
    chunk_bytes : int
        About how much text is held in memory at a time. A block holds its rows.

    Yields
    ------
    Block
        ``features``: (n, d) float32; from the block of the first sparse row on a `Csr`, in which
        dense rows have an entry for each column. Or texts, and `k` (n,) int64 if one row has it.
        `start` counts the rows of the file from 0.

    Raises
    ------
    UserError
        For a line that is no JSON or no row, a row of another width, a line of more than 16 MiB:
        with file and row, counted from 1.
    """
    rows = TextRows(name, texts) if texts else Rows(name, width)
    try:
        for lines in read_lines(file, chunk_bytes):
            for line in lines:
                rows.add(_row(line))
            if len(rows):
                yield rows.take()
    except Bad as e:
        raise rows.error(e) from None


def _row(line: bytes) -> object:
    value = parse_line(line)
    if isinstance(value, dict) and "instances" in value:
        raise Bad('"instances" belong to application/json; JSON Lines have one row on a line')
    return value


def parse_line(line: bytes) -> object:
    """The JSON value that is a line.

    Raises
    ------
    Bad
        When there is none, or more than one.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as e:
        raise Bad(f"byte {e.start + 1} of the line is no UTF-8") from None
    value, end = parse(text, behind_space(text, 0))
    if end < len(text):
        raise Bad(f"no JSON: more follows the object at character {end + 1}")
    return value


def read_lines(file: BinaryIO, size: int = 1 << 20) -> Iterator[list[bytes]]:
    """The lines of a file, about `size` bytes of them at a time, without their ends.

    Blank lines and a byte-order mark are skipped.

    Raises
    ------
    Bad
        For a line of more than 16 MiB, behind those before it.
    """
    mark, carry = codecs.BOM_UTF8, bytearray()
    while more := file.read(size):
        *lines, last = more.split(b"\n")
        if lines:
            lines[0] = bytes(carry + lines[0]).removeprefix(mark)
            yield [line for line in lines if line.strip(b" \t\r")]
            mark, carry = b"", bytearray()
        carry += last
        if len(carry) > MAX_LINE_BYTES:
            raise Bad(f"longer than {MAX_LINE_BYTES} bytes: there is no line end, or no JSON Lines")
    line = bytes(carry).removeprefix(mark)
    yield [line] if line.strip(b" \t\r") else []


def encode(block: Block) -> bytes:
    """Write rows as JSON Lines: ``{"features": [0.5, 2]}``, sparse ones with keys and shape.

    Each float32 is written with the fewest digits that `read_blocks` reads back as the same
    float32.

    Parameters
    ----------
    block : Block
        Features (n, d) or `Csr`, and nothing else.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        For what JSON has no place for: labels, weights, NaN, infinities.
    """
    return b"".join(encode_rows(block))
