"""Rows of numbers to CSV text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from smalgos.formats.block import Array, Block, Csr, Ragged
from smalgos.formats.csv_texts import all_texts
from smalgos.formats.csv_texts import encode as encode_texts


def encode(block: Block, *, delimiter: str = ",") -> bytes:
    """Write rows as CSV: labels, then weights if the block has them, then features.

    Each float32 is written with the fewest digits that `read_blocks` reads back as the same
    float32; an integer has no decimal point, NaN and infinities are nan, inf and -inf. Each row
    ends in a newline.

    Parameters
    ----------
    block : Block
        Features (n, d) or `Csr`, which is written densely; or columns of texts alone.
    delimiter : str

    Returns
    -------
    bytes
    """
    if all_texts(block):
        return encode_texts(block, delimiter)
    parts = []
    width = sum(_width(c) for c in block.columns.values())
    for rows in block.batches(max(1, _CELLS // max(1, width))):
        given = (rows.labels, rows.weights, rows.features)
        columns = [c.toarray() if isinstance(c, Csr) else c for c in given if c is not None]
        parts.append(encode_columns(columns, delimiter=delimiter))
    return b"".join(parts)


def encode_columns(columns: Sequence[Array | Ragged], *, delimiter: str = ",") -> bytes:
    """Write columns of numbers side by side, the values of a list in a row one after another.

    Parameters
    ----------
    columns : sequence of ndarray, shape (n,) or (n, m), or Ragged
        Floating-point numbers are written as by `encode`, to the precision of their dtype.
    delimiter : str

    Returns
    -------
    bytes
        A line for each row, each ending in a newline.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    joined = []
    for column in columns:
        if isinstance(column, Ragged):
            values, offsets = column.tight().values, column.tight().offsets
        else:
            values, offsets = column.ravel(), np.arange(len(column) + 1) * _width(column)
        if values.dtype == bool:
            values = values.astype(np.int8)
        elif values.dtype == np.float32 and _are_integers(values):
            values = values.astype(np.int32)  # gives the same text, and sooner
        cells = pa.array(values).cast(pa.string())
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), cells)
        joined.append(pc.binary_join(lists, delimiter))
    rows = pc.binary_join_element_wise(*joined, delimiter)
    lines = pc.binary_join_element_wise(rows, "", "\n")
    # Of a fresh string array: all lines in a row. That of no rows may be larger than nothing.
    text: bytes = lines.buffers()[2].to_pybytes() if len(lines) else b""
    return text


def _are_integers(values: Array) -> bool:
    with np.errstate(invalid="ignore"):
        whole = (np.rint(values) == values) & (np.abs(values) < 2**24)
    return bool(whole.all()) and not np.signbit(values[values == 0]).any()


# A string array of pyarrow holds 2 GiB of text; this many cells stay far below.
_CELLS = 1 << 20


def _width(column: Any) -> int:
    return int(np.prod(column.shape[1:], dtype=np.int64))
