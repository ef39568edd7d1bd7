"""Training from files larger than the memory that the process may use."""

from pathlib import Path

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Memory"
ABOUT = (
    "One epoch from a RecordIO file of 100 float32 and a label per row, as the container reads it. "
    "Before it the process trains on a few rows, to load what it needs; from then on the system "
    "grants it only so many bytes of address space more as the allowance says (`RLIMIT_AS`). "
    "*Peak* is resident memory above what the warm process had."
)
ALLOWANCE = {"quick": 64, "default": 256, "full": 1024}  # MB
TIMES = (1, 4)
ALGORITHMS = ("linear-learner", "pca")


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


def growth(case: str, what: str) -> object:
    """A figure of the large file over that of the small one."""

    def figure(results: Results) -> float | None:
        small, large = (results.row(case, f"smalgos, {times} x") for times in TIMES)
        if small is None or large is None or not small.ok or not large.ok:
            return None
        return getattr(large, what) / getattr(small, what)

    return figure


GOALS = tuple(
    Goal(f"{name}: {text}, 4 x over 1 x the allowance", limit, growth(name, what))
    for name in ALGORITHMS
    for text, limit, what in (
        ("peak memory", most(1.1), "peak_mb"), ("rows per second", least(0.9), "rate"),
    )
)  # fmt: skip
