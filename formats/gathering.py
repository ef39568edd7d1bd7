"""All rows of a stream as one block, put behind one another as they come."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.block import Block, Column, Csr, Ragged
from smalgos.formats.cutting import ahead, like_first

MARGIN = 1.02  # room that is taken, of what is expected


def gather(
    blocks: Iterable[Block], share: Callable[[], float], *, apart: bool = False
) -> Block | None:
    """All blocks as one, with columns like the first one's; None where there are none.

    Memory is that of the result, as long as rows are of about the same size.

    Parameters
    ----------
    blocks : iterable of Block
    share : callable
        How much of the source, 0 to 1, the blocks so far came from; 0: that is not known.
    apart : bool
        Read the next blocks meanwhile, on another thread.
    """
    pieces = ahead(blocks, lambda block: (block, share()), 2 if apart else 0)
    fit = like_first()
    begun = list(itertools.islice(pieces, 2))
    if len(begun) < 2:  # what comes in one piece is not copied
        return fit(begun[0][0]) if begun else None
    grown: dict[tuple[str, str], _Grown] = defaultdict(_Grown)
    for block, so_far in itertools.chain(begun, pieces):
        for name, column in fit(block).columns.items():
            for part, array in _taken_apart(column).items():
                grown[name, part].add(array, so_far)
    first = begun[0][0]
    columns: dict[str, Column] = {}
    for name, column in first.columns.items():
        parts = {part: array.whole() for (of, part), array in grown.items() if of == name}
        columns[name] = _put_together(column, parts)
    return Block(columns, first.start)


class _Grown:
    """An array that grows by its first axis."""

    def __init__(self) -> None:
        self.rows: NDArray[Any] = np.empty(0)
        self.n = 0

    def add(self, more: NDArray[Any], share: float) -> None:
        """Append what makes this share of the whole, which may be 0: unknown."""
        n, self.n = self.n, self.n + len(more)
        if self.n > len(self.rows):
            # Readers may be ahead of the rows that they have given: then the share is too large.
            room = int(MARGIN * self.n / share) if share else 0
            rows = np.empty((max(room, 2 * n, self.n), *more.shape[1:]), more.dtype)
            if n:
                rows[:n] = self.rows[:n]
            self.rows = rows
        self.rows[n : self.n] = more

    def whole(self) -> NDArray[Any]:
        return self.rows[: self.n]


def _taken_apart(column: Column) -> dict[str, NDArray[Any]]:
    if isinstance(column, Csr):
        column = column.tight()
        lengths = np.diff(column.offsets)
        return {"values": column.values, "indices": column.indices, "lengths": lengths}
    if isinstance(column, Ragged):
        column = column.tight()
        return {"values": column.values, "lengths": np.diff(column.offsets)}
    return {"rows": np.asarray(column)}


def _put_together(like: Column, parts: dict[str, NDArray[Any]]) -> Column:
    if not isinstance(like, Csr | Ragged):
        return parts["rows"]
    offsets = np.concatenate(([0], np.cumsum(parts["lengths"])))
    if isinstance(like, Csr):
        return Csr(parts["values"], parts["indices"], offsets, like.width)
    return Ragged(parts["values"], offsets)
