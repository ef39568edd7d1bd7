"""IP Insights: log-ins of the original's tutorial, over networks of our own making."""

import os
from pathlib import Path

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "IP Insights"
ABOUT = (
    "Log-ins as the original's tutorial makes them: vectors of 128 numbers, five random pairs and "
    "one shuffled for each that was seen, batches of 1000, Adam at 0.01. *Speed*: one epoch, "
    "made-up pairs counted; ours from texts, PyTorch from numbers, in steps as large as ours and "
    "in steps of a whole batch with all its pairs. *Tutorial*: five epochs over 2.2 million "
    "log-ins of 10,000 users; log-ins of the three days that follow are told from random "
    "addresses: at a threshold of 0, so many of these are found (recall), and are so large a "
    "share of all that are called unusual (precision). The original's tutorial has .985 and .951."
)
HERE = "benchmarks.peers.pytorch:"
OURS, STEPS, BATCHES = "smalgos", "PyTorch", "PyTorch, 7000 pairs a step"
SPEED, TUTORIAL = "speed", "tutorial"
ROWS = {"quick": 5_000, "default": 300_000, "full": 1_000_000}
USERS = {"quick": 50, "default": 10_000, "full": 10_000}


def cases(folder: Path, size: str) -> list[Case]:
    """Speed beside PyTorch; what is learnt."""
    given, python = {"folder": str(folder)}, os.environ.get("SMALGOS_ORACLE_TORCH")
    cells = [
        Cell(OURS, f"{HERE}ours", given),
        Cell(STEPS, f"{HERE}torch", given, "SparseAdam", python=python),
        Cell(BATCHES, f"{HERE}torch", given | {"step": 7000}, "SparseAdam", python=python),
    ]
    made = given | {"users": USERS[size], "rows": ROWS[size]}
    found = [Case(SPEED, cells, (f"{HERE}make", made))]
    whole = folder / "whole"
    whole.mkdir(exist_ok=True)
    given = {"folder": str(whole)}
    made = given | {"users": USERS[size], "rows": 1 << 40}
    cell = Cell(OURS, f"{HERE}ours", given | {"epochs": 5})
    found.append(Case(TUTORIAL, [cell], (f"{HERE}make", made), rounds=1))
    return found


def positives(results: Results) -> float | None:
    """Rows that were seen, in thousands a second and core."""
    row = results.row(TUTORIAL, OURS)
    if row is None or not row.ok or row.rate is None or not row.cpu or not row.seconds:
        return None
    return row.rate * 1e3 / 7 * row.seconds / row.cpu


GOALS = (
    Goal("pairs a second, times PyTorch's", least(10), lambda r: r.times(SPEED, STEPS)),
    Goal("tutorial: AUC", least(0.99), lambda r: r.quality(TUTORIAL, OURS, "AUC"), ""),
    Goal("tutorial: recall at 0", least(0.984), lambda r: r.quality(TUTORIAL, OURS, "recall"), ""),
    Goal("tutorial: precision at 0", least(0.951),
         lambda r: r.quality(TUTORIAL, OURS, "precision"), ""),
    Goal("tutorial: log-ins a second and core", least(20), positives, " k"),
)  # fmt: skip
