"""Training from files larger than the memory that the process may use."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell, Row

TITLE = "Memory"
ABOUT = (
    "One epoch from a RecordIO file of 100 float32 and a label per row, as the container reads it. "
    "Before it the process trains on a few rows, to load what it needs; from then on the system "
    "grants it only so many bytes of address space more as the allowance says (`RLIMIT_AS`). "
    "*Peak* is resident memory above what the warm process had."
)
ALLOWANCE = {"quick": 64, "default": 256, "full": 1024}  # MB
TIMES = (1, 4)
ALGORITHMS = ("linear-learner", "pca", "kmeans", "knn")


def cases(folder: Path, size: str) -> list[Case]:
    """Each algorithm on both files."""
    allowance = ALLOWANCE[size]
    given = {"folder": str(folder), "allowance": allowance}
    found = []
    for i, name in enumerate(ALGORITHMS):
        cells = [
            Cell(
                f"smalgos, {times} x", "benchmarks.memory:train",
                given | {"algorithm": name, "times": times}, f"file of {times * allowance} MB",
            )
            for times in TIMES
        ]  # fmt: skip
        prepare = ("benchmarks.memory:make", given | {"times": list(TIMES)})
        found.append(Case(name, cells, None if i else prepare))
    return found


def figure_of(case: str, of: Callable[[Row, Row], float]) -> Callable[[Results], float | None]:
    """What both files' rows give."""

    def figure(results: Results) -> float | None:
        small, large = (results.row(case, f"smalgos, {times} x") for times in TIMES)
        if small is None or large is None or not small.ok or not large.ok:
            return None
        if large.measure("allowance") is None:  # measured by an older version
            return None
        return of(small, large)

    return figure


def growth(small: Row, large: Row) -> float:
    """How much higher the peak is with the large file, as a share of the allowance."""
    return (large.peak_mb - small.peak_mb) / large.measure("allowance")


def speed(small: Row, large: Row) -> float:
    """Rows per second of the large file over those of the small one."""
    return large.rate / small.rate


GOALS = tuple(
    Goal(f"{name}: {text}", limit, figure_of(name, of), "")
    for name in ALGORITHMS
    for text, limit, of in (
        ("growth of the peak from 1 x to 4 x, as a share of the allowance", most(0.05), growth),
        ("rows per second, 4 x over 1 x", least(0.9), speed),
    )
)
