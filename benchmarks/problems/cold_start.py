"""What a process pays before it does anything."""

from pathlib import Path

from benchmarks.goals import Goal, Results, most
from benchmarks.runner import Case, Cell

TITLE = "Cold start"
ABOUT = (
    "Seconds of whole processes, from their start. *Warm* finds all kernels in the cache, *cold* "
    "begins with an empty one. The bare process imports `sklearn.base` and numba and calls one "
    "cached kernel."
)
HERE = "benchmarks.cold_start"
BARE = "bare process"
IMPORT, WARM, COLD, LINE = (
    "import smalgos", "first fit, warm", "first use, cold", "container, first log line",
)  # fmt: skip
FITS = ("LinearLearnerClassifier", "LinearLearnerRegressor", "PCA")
READS = ("CSV", "RecordIO")


def cases(folder: Path, size: str) -> list[Case]:
    """Imports, first fits, first reads, the container."""
    given = {"folder": str(folder)}
    make = (f"{HERE}:prepare", given)
    fits = [Cell(f"smalgos {name}", f"{HERE}:use", given | {"what": name}) for name in FITS]
    fresh = [
        Cell(f"smalgos {name}", f"{HERE}:use", given | {"what": name, "cold": True})
        for name in FITS + READS
    ]
    found = [
        Case(IMPORT, [Cell("smalgos", f"{HERE}:import_alone")]),
        Case(WARM, [Cell(BARE, f"{HERE}:use", given | {"what": "bare"}), *fits], make),
        Case(LINE, [Cell("smalgos", f"{HERE}:first_line", given)]),
        Case(COLD, fresh, rounds=2),
    ]
    return found[:2] if size == "quick" else found


def beyond(results: Results) -> float | None:
    """Seconds of the slowest first fit over the bare process."""
    bare = results.seconds(WARM, BARE)
    fits = [results.seconds(WARM, f"smalgos {name}") for name in FITS]
    return None if bare is None or None in fits else max(fits) - bare


def slowest(names: tuple[str, ...]) -> object:
    """Seconds of the slowest first use with an empty cache."""

    def figure(results: Results) -> float | None:
        found = [results.seconds(COLD, f"smalgos {name}") for name in names]
        return None if None in found else max(found)

    return figure


GOALS = (
    Goal("`import smalgos`", most(0.2), lambda r: r.seconds(IMPORT), "s"),
    Goal("first fit, warm cache, beyond the bare process", most(1), beyond, "s"),
    Goal("first fit of the slowest algorithm, empty cache", most(10), slowest(FITS), "s"),
    Goal("first read of the slowest format, empty cache", most(10), slowest(READS), "s"),
    Goal("first log line of the container", most(5), lambda r: r.seconds(LINE), "s"),
)
