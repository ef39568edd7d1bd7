"""JSON documents: ``{"instances": [row, ...]}``. The rows' grammar is that of `json_rows`."""

import codecs
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.json_rows import Bad, Rows, behind_space, encode_rows, parse, shown
from smalgos.formats.json_texts import TextRows, configured

# A document is held in memory whole; no request of the original's batch transform is longer.
LIMIT = 100 << 20


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    width: int | None = None,
    texts: tuple[str, ...] = (),
    limit: int = LIMIT,
) -> Iterator[Block]:
    """Read rows from a JSON document.

    A number is rounded as ``np.float32(float(text))``, as in CSV. A byte-order mark is skipped;
    members besides "instances" are passed over.

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
    limit : int
        Bytes that the document may have.

    Yields
    ------
    Block
        All rows, if there are some. ``features``: (n, d) float32, or a `Csr` if a row is sparse;
        dense ones have an entry for each column of it. Or texts, and maybe `k` (n,) int64.

    Raises
    ------
    UserError
        For a document that is too long, or is none; with file and row, counted from 1, for
        something that is no row or has another width.
    """
    try:
        document = parse_document(file, limit)
        instances = instances_of(document)
        rows = TextRows(name, texts, configured(document)) if texts else Rows(name, width)
    except Bad as e:
        raise UserError(f"{name}: {e}") from None
    try:
        for instance in instances:
            rows.add(instance)
    except Bad as e:
        raise rows.error(e) from None
    if len(rows):
        yield rows.take()


def parse_document(file: BinaryIO, limit: int = LIMIT) -> object:
    """The JSON value that is a file, of at most `limit` bytes.

    Raises
    ------
    Bad
        When there is none, or more than one, or too long a one.
    """
    text = read_text(file, limit)
    value, end = parse(text, behind_space(text, 0))
    if end < len(text):
        raise Bad(f"no JSON: more follows the document at character {end + 1}")
    return value


def read_text(file: BinaryIO, limit: int = LIMIT) -> str:
    """The text of a file; `Bad` when it is too long or no UTF-8."""
    parts, size = [], 0
    while part := file.read(min(1 << 20, limit + 1 - size)):
        parts.append(part)
        size += len(part)
    if size > limit:
        raise Bad(
            f"longer than {limit} bytes, and a JSON document is held in memory whole:"
            " write JSON Lines (application/jsonlines), or several files"
        )
    try:
        return b"".join(parts).removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as e:
        raise Bad(f"byte {e.start + 1} is no UTF-8, as JSON is") from None


def instances_of(document: object) -> list[object]:
    """The rows of a document; `Bad` when it is none."""
    instances = document.get("instances") if isinstance(document, dict) else None
    if isinstance(instances, list):
        return instances
    if isinstance(document, dict) and "instances" in document:
        raise Bad(f'"instances" is {shown(instances)}: write a list of rows')
    what = shown(document) if not isinstance(document, dict) else 'an object without "instances"'
    raise Bad(
        f'{what}: write {{"instances": [{{"features": [...]}}, ...]}}; one row on each line is'
        " application/jsonlines"
    )


def encode(block: Block) -> bytes:
    """Write rows as one document on a line: ``{"instances": [{"features": [0.5, 2]}, ...]}``.

    Parameters
    ----------
    block : Block
        Features (n, d) or `Csr`, and nothing else; numbers are written as by JSON Lines.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        For what JSON has no place for: labels, weights, NaN, infinities.
    """
    file = io.BytesIO()
    write_blocks(file, [block])
    return file.getvalue()


def write_blocks(file: BinaryIO, blocks: Iterable[Block]) -> None:
    """Write the rows of all blocks as one document; as `encode` for the rest."""
    before = b'{"instances": ['
    for lines in itertools.chain.from_iterable(map(encode_rows, blocks)):
        if lines:
            file.write(before + lines.removesuffix(b"\n").replace(b"\n", b", "))
            before = b", "
    file.write(b"]}\n" if before == b", " else before + b"]}\n")
