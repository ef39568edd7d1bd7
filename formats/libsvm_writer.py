"""Rows of numbers to the text of libsvm."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr

# A string array of pyarrow holds 2 GiB of text; so many entries stay far below.
ENTRIES = 1 << 20


def encode(block: Block, fields: NDArray[np.int32] | None = None) -> bytes:
    """Write rows as ``label[:weight] [qid:n] index:value ...``, the first column being 0.

    Each float32 is written with the fewest digits that `read_blocks` reads back as the same
    float32. Entries of a row are in ascending order; of dense rows those that are not zero are
    written. Each row ends in a newline.

    Parameters
    ----------
    block : Block
        Features (n, d) or `Csr`. Rows without labels get the label 0, as Spark has it: read them
        with ``label_size=0``. The column ``groups`` becomes the qid.
    fields : ndarray of int32, shape (d,), optional
        Of libffm, ``field:`` before each index.

    Returns
    -------
    bytes

    Raises
    ------
    UserError
        For several labels in a row, weights without labels, or groups below 0.
    """
    _check(block)
    return b"".join(_lines(part, fields) for part in _parts(block))


def write_blocks(
    file: BinaryIO, blocks: Iterable[Block], write: Callable[[Block], bytes] = encode
) -> None:
    """Write blocks as one file that tells its columns.

    The first row names the first and the last column, with a zero where it has none: all readers
    take that for what it is, and see how many columns there are and that the first one is 0.

    Parameters
    ----------
    file : binary file
    blocks : iterable of Block
    write : callable
        `encode`, or what is like it.

    Raises
    ------
    UserError
        As `encode` does.
    """
    first = True
    for block in blocks:
        if first and len(block):
            file.write(write(block[:1].replace(features=_spanning(_sparse(block[:1].features)))))
            block, first = block[1:], False
        file.write(write(block))


def _check(block: Block) -> None:
    labels, groups = block.labels, block.columns.get("groups")
    if labels is not None and labels.ndim > 1 and labels.shape[1] > 1:
        raise UserError(f"libsvm: rows have one label, these have {labels.shape[1]}")
    if labels is None and block.weights is not None:
        raise UserError("libsvm: weights stand beside labels (label:weight), these rows have none")
    if isinstance(groups, np.ndarray) and len(groups) and groups.min() < 0:
        raise UserError(f"libsvm: qid:{groups.min()} is below 0")


def _parts(block: Block) -> Iterator[Block]:
    """A block in parts of so many entries that their text is of moderate size, and sparse."""
    width = 1 if isinstance(block.features, Csr) else max(1, block.features.shape[1])
    for dense in block.batches(max(1, ENTRIES // width)):
        rows = dense.replace(features=_ordered(_sparse(dense.features)))
        ends = rows.features.offsets - rows.features.offsets[0]
        at = 0
        while at < len(rows):
            stop = int(np.searchsorted(ends, ends[at] + ENTRIES, side="right")) - 1
            stop = min(max(stop, at + 1), len(rows))
            yield rows[at:stop]
            at = stop


def _sparse(features: Any) -> Csr:
    return features if isinstance(features, Csr) else Csr.of(np.asarray(features))


def _ordered(rows: Csr) -> Csr:
    """The same with columns ascending in each row, entries of one column added."""
    rows = rows.tight()
    row = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    places = row << 32 | rows.indices
    if (places[1:] > places[:-1]).all():
        return rows
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((rows.values, rows.indices, rows.offsets), rows.shape, copy=True)
    matrix.sum_duplicates()
    return Csr(matrix.data, matrix.indices, matrix.indptr.astype(np.int64), rows.width)


def _spanning(row: Csr) -> Csr:
    """A row with entries of the first and the last column."""
    row = row.tight()
    ends = np.setdiff1d(np.array([0, row.width - 1], np.int32), row.indices)
    indices = np.concatenate([row.indices, ends])
    values = np.concatenate([row.values, np.zeros(len(ends), row.values.dtype)])
    return Csr(values, indices, np.array([0, len(indices)]), row.width)


def _lines(block: Block, fields: NDArray[np.int32] | None) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = block.features.tight()
    labels = np.zeros(len(rows), np.float32) if block.labels is None else block.labels.reshape(-1)
    lead = _texts(labels)
    if block.weights is not None:
        lead = pc.binary_join_element_wise(lead, _texts(block.weights), ":")
    if "groups" in block:
        groups = pa.array(block["groups"]).cast(pa.string())
        lead = pc.binary_join_element_wise(lead, groups, " qid:")
    indices = pa.array(rows.indices).cast(pa.string())
    if fields is not None:
        of_entries = pa.array(fields[rows.indices]).cast(pa.string())
        indices = pc.binary_join_element_wise(of_entries, indices, ":")
    entries = pc.binary_join_element_wise(" ", indices, ":", _texts(rows.values), "")
    lists = pa.ListArray.from_arrays(pa.array(rows.offsets.astype(np.int32)), entries)
    lines = pc.binary_join_element_wise(lead, pc.binary_join(lists, ""), "\n", "")
    text = lines.buffers()[2]
    return text.to_pybytes() if text else b""


def _texts(values: NDArray[Any]) -> Any:
    """Numbers as the shortest text that means them."""
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    if values.dtype == bool:
        values = values.astype(np.int8)
    return pa.array(values).cast(pa.string())
