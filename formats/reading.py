"""One reading of a stream: its rows numbered, shuffled if need be, and traced to their files."""

import itertools
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr, Ragged
from smalgos.formats.cutting import cut
from smalgos.formats.shuffling import Order, permutation

ROWS = 8192  # of a shuffled block, when the caller has no wish
WINDOW_BYTES = 64 << 20  # rows that are shuffled at a time


class Reading:
    """Numbers blocks from 0, shuffles them in windows, and knows which row came from where.

    Parameters
    ----------
    name : str
        Of the source, until `begin` names a file.
    order : (int, int) or None
        Seed and epoch to shuffle by.
    rows : int or None
        Rows of a shuffled block.

    Attributes
    ----------
    read : int
        Rows taken from the source so far.
    """

    def __init__(self, name: str, order: Order | None, rows: int | None) -> None:
        self._order, self._block_rows = order, rows or ROWS
        self._names, self._starts = [name], [0]
        self._window = self.read = 0  # rows of a window; rows read so far

    def begin(self, name: str) -> None:
        """What is read from here on comes from the file `name`."""
        self._names.append(name)
        self._starts.append(self.read)

    def where(self, row: int) -> str:
        """Name a row that was given out, counted from 0, by its file and its place there."""
        if self._order is not None and self._window:
            window, i = divmod(row, self._window)
            n = min(self._window, self.read - window * self._window)
            row = window * self._window + int(permutation(n, self._order, window)[i])
        return self._named(row)

    def _named(self, row: int) -> str:
        last = bisect_right(self._starts, row) - 1
        return f"{self._names[last]}, row {row - self._starts[last] + 1}"

    def blocks(self, source: Iterator[Block]) -> Iterator[Block]:
        """Number the blocks of `source`, without the empty ones; shuffle them in windows."""
        counted = self._counted(source)
        return counted if self._order is None else self._shuffled(counted, self._order)

    def _counted(self, source: Iterator[Block]) -> Iterator[Block]:
        for block in source:
            if len(block):
                start, self.read = self.read, self.read + len(block)
                yield block.at(start)

    def _shuffled(self, source: Iterator[Block], order: Order) -> Iterator[Block]:
        first = next(source, None)
        if first is None:
            return
        self._window = max(WINDOW_BYTES * len(first) // _bytes(first), self._block_rows)
        try:
            for i, window in enumerate(cut(itertools.chain([first], source), self._window)):
                p = permutation(len(window), order, i)
                for at in range(0, len(p), self._block_rows):
                    yield window.pick(p[at : at + self._block_rows]).at(window.start + at)
        except RowError as e:  # its row is counted as the source has them
            raise UserError(f"{self._named(e.row)}: {e.what}") from e


def _bytes(block: Block) -> int:
    total = 0
    for column in block.columns.values():
        if isinstance(column, Ragged | Csr):
            entries = int(column.offsets[-1] - column.offsets[0])
            total += entries * column.values.itemsize + column.offsets.nbytes
            total += entries * column.indices.itemsize if isinstance(column, Csr) else 0
        else:
            total += np.asarray(column).nbytes
    return max(total, 1)
