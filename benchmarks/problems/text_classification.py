"""Text classifiers."""

import os
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "Text classification"
ABOUT = (
    "From a file of lines to a classifier in memory, at the same settings: word bigrams in "
    "2 000 000 buckets. fastText is lock-free, ours in both ways. Accuracy is that on the held-out "
    "texts. Predictions: one model.bin, the held-out postings as strings, the likeliest label."
)
HERE = "benchmarks.peers.text_classification:"
SHARED = {"word_ngrams": 2, "buckets": 2_000_000, "min_count": 1}
SETTINGS: dict[str, dict[str, Any]] = {
    "newsgroups": {"vector_dim": 50, "learning_rate": 0.5, "epochs": 10},
    "questions": {"vector_dim": 50, "learning_rate": 0.5, "epochs": 20},
    "polarity": {"vector_dim": 50, "learning_rate": 0.1, "epochs": 10},
}
TITLES = {
    "newsgroups": "20 Newsgroups", "questions": "TREC questions", "polarity": "sentence polarity",
}  # fmt: skip
PREDICTIONS = "predictions of one model.bin"
OURS, FREE = "smalgos", "smalgos, lock-free"
FASTER, WORSE = 1.5, -0.01


def cases(folder: Path, size: str) -> list[Case]:
    """Three sets, and the predictions of a model."""
    python = os.environ.get("SMALGOS_ORACLE_TEXT")
    missing = "" if python else "name a Python that has fasttext in SMALGOS_ORACLE_TEXT"
    found = []
    for name, own in SETTINGS.items():
        settings = SHARED | own | ({"epochs": 1, "buckets": 1000} if size == "quick" else {})
        given = {"folder": str(folder), "name": name, "settings": settings}
        cells = [
            Cell(OURS, f"{HERE}ours", given | {"deterministic": True}, seeded=True),
            Cell(FREE, f"{HERE}ours", given | {"deterministic": False}, seeded=True),
            Cell(
                "fastText",
                f"{HERE}fasttext",
                given,
                python=python,
                missing=missing,
                rounds=3,
                seeded=True,
            ),
        ]
        made = {"folder": str(folder), "name": name}
        found.append(Case(TITLES[name], cells, (f"{HERE}make", made)))
    made = {"folder": str(folder), "name": "newsgroups"}
    settings = SHARED | SETTINGS["newsgroups"]
    cells = [
        Cell(OURS, f"{HERE}ours_predicts", made),
        Cell("fastText", f"{HERE}fasttext_predicts", made, python=python, missing=missing),
    ]
    prepare = f"{HERE}make_model", made | {"settings": settings | {"buckets": 200_000}}
    found.append(Case(PREDICTIONS, cells, prepare))
    return found


def times(case: str) -> Any:
    """How often our time goes into fastText's."""

    def figure(r: Results) -> float | None:
        mine, theirs = r.seconds(case, OURS), r.seconds(case, "fastText")
        return None if mine is None or theirs is None else theirs / mine

    return figure


def gain(case: str) -> Any:
    """How much better our accuracy is."""

    def figure(r: Results) -> float | None:
        rows = [r.row(case, library) for library in (OURS, "fastText")]
        mine, theirs = (row.measure("accuracy") if row and row.ok else None for row in rows)
        return None if mine is None or theirs is None else mine - theirs

    return figure


GOALS = tuple(
    goal
    for title in TITLES.values()
    for goal in (
        Goal(f"{title}: times as fast as fastText", least(FASTER), times(title)),
        Goal(f"{title}: accuracy against fastText's", least(WORSE), gain(title), ""),
    )
)
