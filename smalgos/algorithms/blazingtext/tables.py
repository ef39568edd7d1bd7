"""The two tables of an embedding model in training, as a part of a state."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.learning import Part, require_array, require_shaped
from smalgos.learning.state import Flat


class Tables(Part):
    """Input rows (words, then n-grams, then zeros) and output rows.

    Of the many rows that n-grams may be hashed to, only those exist that the text needs: `rows`
    are their numbers. All others share the row of zeros: nothing was learnt of them.
    """

    rows: NDArray[np.int32] | None  # (m,) of n-grams, ascending, counted from 0
    input: NDArray[np.float32] | None  # (words + m, d), and a row of zeros unless m = buckets
    output: NDArray[np.float32] | None  # (outputs, d)

    def __init__(self) -> None:
        self.rows = self.input = self.output = None
        self._live: Any = None

    @property
    def ready(self) -> bool:
        """Whether there are tables."""
        return self._live is not None or self.input is not None

    def learner(self, make: Callable[[Any, Any], Any]) -> Any:
        """What trains the tables, which it has until they are asked for.

        Parameters
        ----------
        make : callable
            ``make(input, output)``: kernels' object with ``plain() -> (input, output)``.
        """
        if self._live is None:
            self._live = make(self.input, self.output)
            self.input = self.output = None
        return self._live

    def plain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both tables as they are now, in memory of their own."""
        if self._live is not None:
            given, output = self._live.plain()
            return given.copy(), output.copy()
        assert self.input is not None
        assert self.output is not None
        return self.input.copy(), self.output.copy()

    def put(self, rows: Any, given: Any, output: Any) -> None:
        """Take these tables instead."""
        self.rows, self.input, self.output, self._live = rows, given, output, None

    # -- as a part of a state

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> Flat:
        """Both tables, wherever they are."""
        if not self.ready:
            return {}
        given, output = self.plain()
        return {"rows": self.rows, "input": given, "output": output}

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Set both tables."""
        self.put(*(flat.get(name) for name in ("rows", "input", "output")))
        return self

    def merge(self, other: "Tables", base: "Tables", share: float = 0.5) -> None:
        """Move towards other by its share of what both learnt from."""
        if not other.ready:
            return
        mixed = [
            (a + np.float32(share) * (b - a)).astype(np.float32)
            for a, b in zip(self.plain(), other.plain(), strict=True)
        ]
        self.put(self.rows, *mixed)

    def require(self, words: int, outputs: int, width: int, buckets: int) -> None:
        """Raise `UserError` unless the tables, if there are any, are of that shape."""
        if not self.ready:
            return
        if self.rows is None or self.input is None or self.output is None:
            raise UserError("one of the tables is missing")
        require_numbers(self.rows, buckets)
        shape = Places.count(words, self.rows, buckets), width
        require_shaped("input", self.input, shape, np.float32)
        require_shaped("output", self.output, (outputs, width), np.float32)


def require_numbers(rows: Any, buckets: int) -> None:
    """Raise `UserError` unless rows are different numbers of buckets, ascending."""
    require_array("rows", rows, (None,), "i")
    require_shaped("rows", rows, rows.shape, np.int32)
    if len(rows) and not (rows[0] >= 0 and rows[-1] < buckets and (np.diff(rows) > 0).all()):
        raise UserError(f"rows are not numbers of {buckets} buckets, ascending")


class Places:
    """Where the rows of words and n-grams are in a table that lacks those nobody needs.

    Parameters
    ----------
    words : int
    rows : ndarray of int32, shape (m,)
        Numbers of the n-grams' rows that are there, ascending.
    buckets : int
    """

    def __init__(self, words: int, rows: NDArray[np.int32], buckets: int) -> None:
        self.missing = words + len(rows)  # where the row of zeros is
        self.complete = len(rows) == buckets
        if not self.complete:
            self.places = np.full(words + buckets, self.missing, np.int32)
            self.places[:words] = np.arange(words, dtype=np.int32)
            self.places[words + rows] = words + np.arange(len(rows), dtype=np.int32)

    @staticmethod
    def count(words: int, rows: NDArray[np.int32], buckets: int) -> int:
        """Rows of the table: those, and one of zeros if any is lacking."""
        return words + len(rows) + int(len(rows) < buckets)

    def of(self, ids: Ragged) -> Ragged:
        """Rows of the table, for numbers of words and words + numbers of buckets."""
        if self.complete:
            return ids
        tight = ids.tight()
        return Ragged(self.places.take(tight.values), tight.offsets)
