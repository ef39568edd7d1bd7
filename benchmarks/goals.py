"""What must hold, checked against the rows of results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.runner import OURS, Row


@dataclass(frozen=True)
class Limit:
    """A bound on a figure."""

    bound: float
    upper: bool

    def met(self, figure: float) -> bool:
        """Whether a figure keeps it."""
        return figure <= self.bound if self.upper else figure >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.upper else '>='} {self.bound:g}"


def least(bound: float) -> Limit:
    """At least."""
    return Limit(bound, upper=False)


def most(bound: float) -> Limit:
    """At most."""
    return Limit(bound, upper=True)


@dataclass(frozen=True)
class Goal:
    """Something that must hold.

    Parameters
    ----------
    text : str
    limit : Limit
    figure : callable
        `Results` -> number, or None where something it needs was not measured.
    unit : str
    """

    text: str
    limit: Limit
    figure: Callable[["Results"], float | None]
    unit: str = "x"


class Results:
    """The rows of one problem, by case and library."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    def row(self, case: str, library: str = OURS, settings: str | None = None) -> Row | None:
        """A row, if it was measured."""
        for row in self.rows:
            fits = row.case == case and row.library == library
            if fits and settings in (None, row.settings):
                return row
        return None

    def rate(self, case: str, library: str = OURS) -> float | None:
        """What it handles in a second."""
        row = self.row(case, library)
        return row.rate if row and row.ok else None

    def seconds(self, case: str, library: str = OURS) -> float | None:
        """Median of the rounds."""
        row = self.row(case, library)
        return row.seconds if row and row.ok else None

    def times(self, case: str, *libraries: str) -> float | None:
        """How often our time goes into that of the fastest peer; of all peers, if none is named."""
        found = [
            row.ratio
            for row in self.rows
            if row.case == case and row.ok and row.ratio is not None and not row.ours
            and (not libraries or row.library in libraries)
        ]  # fmt: skip
        return min(found, default=None)

    def quality(self, case: str, library: str, name: str) -> float | None:
        """A quality of a row."""
        row = self.row(case, library)
        return row.measure(name) if row else None
