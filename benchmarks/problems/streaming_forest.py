"""Anomalies in streams, by random cut forests that follow them."""

import os
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "Streaming Random Cut Forest"
ABOUT = (
    "Score each row, then take it in: 40 trees of 256 samples, normal rows, one thread, forests "
    "full before the clock starts. Ours in blocks, and one call a row; rcf3 and krcf have one call "
    "a row only and are timed on a fifth of the rows. The Java core runs in its own process, its "
    "fastest pass after the first counts."
)
HERE = "benchmarks.peers.forests"
ROWS = {"quick": 200, "default": 40_000, "full": 400_000}
WIDTHS = (10, 48)
OURS, ONE, PEERS = "smalgos", "smalgos, row by row", ("rcf3", "krcf", "Java core")
FASTER = {OURS: {10: 4.0, 48: 7.0}, ONE: {10: 2.5}}


def name(width: int) -> str:
    """Of a case."""
    return f"score and update, {width} features"


def cases(folder: Path, size: str) -> list[Case]:
    """Two widths."""
    python, classes = os.environ.get("SMALGOS_ORACLE_FORESTS"), "SMALGOS_ORACLE_RCF"
    missing = "" if os.environ.get(classes) else f"name the classes of the Java core in {classes}"
    found = []
    for width in WIDTHS:
        given: dict[str, Any] = {"folder": str(folder), "width": width}
        cells = [
            Cell(OURS, f"{HERE}:blocks", given, "blocks"),
            Cell(ONE, f"{HERE}:rows", given, "one call a row"),
            Cell("rcf3", f"{HERE}:rcf3", given, "one call a row", python=python),
            Cell("krcf", f"{HERE}:krcf", given, "one call a row", python=python),
            Cell("Java core", f"{HERE}:java", given, "loop inside", missing=missing, rounds=2),
        ]
        found.append(Case(name(width), cells, (f"{HERE}:make", given | {"rows": ROWS[size]})))
    return found


def times(ours: str, width: int) -> Any:
    """How often the time of one of ours goes into that of the fastest peer."""

    def figure(r: Results) -> float | None:
        mine = r.seconds(name(width), ours)
        others = [r.seconds(name(width), peer) for peer in PEERS]
        found = [seconds for seconds in others if seconds is not None]
        return None if mine is None or not found else min(found) / mine

    return figure


GOALS = tuple(
    Goal(f"{name(width)}: {ours}, times as fast as the fastest peer", least(bound),
         times(ours, width))
    for ours, bounds in FASTER.items() for width, bound in bounds.items()
)  # fmt: skip
