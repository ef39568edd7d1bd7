"""The last rows of a stream, and the points that they make."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.learning import Part, require_shaped
from smalgos.learning.state import Flat

SLACK = 1024  # rows that are pushed before the buffer is moved back


class Shingle(Part):
    """The newest rows; `size` of them, each `lag` after the one before, make a point.

    A point's rows stand oldest first. With `rotating`, the row of number t stands at place
    ``t // lag % size`` instead.

    Parameters
    ----------
    size, lag : int
    width : int
        Features of a row.
    rotating : bool
    """

    rows: NDArray[np.float32]  # (span, width) the last rows, the newest one last
    guessed: NDArray[np.uint8]  # (span, width) 1 where a value was imputed
    filled: int  # rows since the shingle began, span at most: the last ones in `rows`
    arrived: int  # rows in all

    def __init__(self, size: int, lag: int, width: int, *, rotating: bool = False) -> None:
        self.size, self.lag, self.width, self.rotating = size, lag, width, rotating
        self.span = (size - 1) * lag + 1
        self.filled = self.arrived = 0
        self.guessed = np.zeros((self.span, width), np.uint8)
        self.pure = True  # whether nothing of the last rows is guessed
        self._hold(np.zeros((self.span, width), np.float32))

    def _hold(self, last: NDArray[np.float32], more: int = 0) -> None:
        """Keep the last rows, with room for more behind them."""
        self._buffer = np.zeros((self.span + more, self.width), np.float32)
        self._buffer[: self.span] = last
        self._flat, self._end = self._buffer.reshape(-1), self.span

    @property
    def last(self) -> NDArray[np.float32]:
        """The last rows (span, width), zeros where there are none."""
        return self._buffer[self._end - self.span : self._end]

    @property
    def full(self) -> bool:
        """Whether there are rows for a point."""
        return self.filled == self.span

    @property
    def nearly(self) -> bool:
        """Whether there are, together with the next one."""
        return self.filled >= self.span - 1

    @property
    def point(self) -> NDArray[np.float32]:
        """The point (size * width,) of the last rows, which are `full`."""
        if self.lag == 1 and not self.rotating:
            end = self._end * self.width
            return self._flat[end - self.span * self.width : end]
        return self._arranged(self.last[:: self.lag], self.arrived - 1)

    def clear(self) -> None:
        """Begin anew: no point reaches across."""
        self.filled = 0
        self._hold(np.zeros((self.span, self.width), np.float32))
        self.guessed, self.pure = np.zeros((self.span, self.width), np.uint8), True

    def push(self, row: Any) -> None:
        """One more row, as it came, behind others that are `pure`."""
        if self._end == len(self._buffer):
            self._hold(self.last, SLACK)
        self._buffer[self._end] = row
        self._end += 1
        self.arrived += 1
        if self.filled < self.span:
            self.filled += 1

    def next_point(self, row: Any) -> NDArray[np.float32]:
        """The point (size * width,) there would be if that row came next."""
        rows = np.concatenate([self.last[1 :: self.lag], np.reshape(row, (1, self.width))])
        return self._arranged(rows.astype(np.float32, copy=False), self.arrived)

    @property
    def next_place(self) -> slice:
        """Where in its point the next row will stand."""
        place = self.arrived // self.lag % self.size if self.rotating else self.size - 1
        return slice(place * self.width, (place + 1) * self.width)

    def _arranged(self, rows: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        """The point of rows that are oldest first, of which the newest has that number."""
        if self.rotating:  # np.roll takes several times as long
            turn = self.size - (number // self.lag + 1) % self.size
            rows = np.concatenate([rows[turn:], rows[:turn]])
        return rows.reshape(-1)

    def extend(
        self, rows: NDArray[np.float32], guessed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """More rows.

        Parameters
        ----------
        rows : ndarray of float32, shape (n, width)
        guessed : ndarray of bool, shape (n, width), optional
            Which values were imputed.

        Returns
        -------
        points : ndarray of float32, shape (m, size * width)
            Those that end with the last m rows; m < n only as long as the shingle fills.
        shares : ndarray of float64, shape (m,), or None
            Of each point that was imputed; None: nothing was.
        """
        if not len(rows):
            return np.empty((0, self.size * self.width), np.float32), None
        known = min(self.filled, self.span - 1)
        joined = np.concatenate([self.last[self.span - known :], rows])
        shares, marks = None, None
        if guessed is not None or not self.pure:
            fresh = np.zeros(rows.shape, np.uint8) if guessed is None else guessed.astype(np.uint8)
            marks = np.concatenate([self.guessed[self.span - known :], fresh])
        points = np.empty((max(len(joined) - self.span + 1, 0), self.size, self.width), np.float32)
        m = len(points)
        if marks is not None and m:
            counts, reach = marks.sum(axis=1, dtype=np.int64), range(0, self.span, self.lag)
            shares = sum(counts[j : j + m] for j in reach) / (self.size * self.width)
        numbers = (self.arrived + len(rows) - m + np.arange(m)) // self.lag
        for j in range(self.size):
            part = joined[j * self.lag : j * self.lag + m]
            if self.rotating:
                points[np.arange(m), (numbers + 1 + j) % self.size] = part
            else:
                points[:, j] = part
        self._keep(joined, marks)
        self.arrived += len(rows)
        self.filled = min(self.filled + len(rows), self.span)
        return points.reshape(m, self.size * self.width), shares

    def _keep(self, joined: NDArray[np.float32], marks: NDArray[np.uint8] | None) -> None:
        missing = max(self.span - len(joined), 0)
        last = np.zeros((self.span, self.width), np.float32)
        last[missing:] = joined[-self.span :]
        self._hold(last)
        if marks is not None:
            self.guessed = np.zeros((self.span, self.width), np.uint8)
            self.guessed[missing:] = marks[-self.span :]
            self.pure = not self.guessed.any()

    # -- as a part of a state

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> Flat:
        """All fields; rows before the shingle began are zeros."""
        self.rows = self.last
        return super().snapshot(to_host)

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Set all fields."""
        super().restore(flat, put)
        self._hold(self.rows)
        self.guessed = np.array(self.guessed, np.uint8)
        self.pure = not self.guessed.any()
        return self

    def _compare(self, flat: Mapping[str, Any]) -> None:
        self.rows = self.last
        super()._compare(flat)

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        require_shaped("shingle.rows", self.rows, (self.span, self.width), np.float32)
        require_shaped("shingle.guessed", self.guessed, (self.span, self.width), np.uint8)
        if not 0 <= self.filled <= min(self.span, self.arrived):
            raise UserError("the shingle holds rows that never came")
        if not np.isfinite(self.rows).all() or (self.guessed > 1).any():
            raise UserError("the shingle holds values that no row can have")
