"""Numeric CSV to a matrix."""

from pathlib import Path

from benchmarks.goals import Goal, least
from benchmarks.runner import Case, Cell

TITLE = "CSV"
ABOUT = (
    "Files of 20 columns in the page cache to a C-ordered float32 matrix. The peers read to their "
    "tables with float32 columns and are then converted; *sum* is that of all cells."
)
ROWS = {"quick": 2_000, "default": 250_000, "full": 2_000_000}
KINDS = {
    "integers": "whole numbers",
    "decimals": "three decimals",
    "digits": "float64 with 17 digits",
}
PEERS = ("pyarrow", "polars")


def cases(folder: Path, size: str) -> list[Case]:
    """A case per kind of numbers."""
    found = []
    for i, (name, kind) in enumerate(KINDS.items()):
        given = {"path": str(folder / f"{name}.csv")}
        cells = [Cell("smalgos", "benchmarks.peers.ours:read_csv", given)]
        cells += [Cell(p, f"benchmarks.peers.{p}:read_csv", given) for p in PEERS]
        prepare = (
            "benchmarks.peers.ours:make_csv",
            {"folder": str(folder), "rows": ROWS[size], "width": 20},
        )
        found.append(Case(kind, cells, None if i else prepare))
    return found


GOALS = tuple(
    Goal(f"read {kind} as fast as the faster of pyarrow and polars", least(1),
         lambda r, kind=kind: r.times(kind, *PEERS))
    for kind in KINDS.values()
)  # fmt: skip
