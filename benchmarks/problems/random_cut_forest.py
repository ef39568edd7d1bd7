"""Anomalies by random cut forests, batch."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Random Cut Forest"
ABOUT = (
    "Forests of trees with 256 samples, normal rows of 10 features. rrcf's times are of a part of "
    "the work, scaled. Of the stream, the time is that of reading records, drawing the sample and "
    "growing 100 trees, beside that of reading alone. Labelled sets: each library fits and scores "
    "all rows, with ten seeds; seconds and quality are medians over the seeds."
)
HERE = "benchmarks.peers.isolation"
OURS, READING, SKLEARN, RRCF = "smalgos", "smalgos, reading alone", "scikit-learn", "rrcf"
SHAPES = {"quick": (30_000, 10), "default": (200_000, 10), "full": (2_000_000, 10)}
STREAMS = {"quick": 20_000, "default": 1_000_000, "full": 10_000_000}
SETS = {  # and whether features are scaled
    "spambase": (False, "Spambase: spam among mail, all rows"),
    "skin": (False, "Skin: other pixels among those of skin"),
    "no skin": (False, "Skin: those of skin among other pixels"),
    "mnist": (False, "MNIST: few other digits among zeros"),
    "covertype": (True, "Covertype: class 4 among class 2, scaled"),
}
SEEDS = 10
SCORING, BUILDING = "score 200 000 rows, 50 trees", "build 100 trees"
STREAMING = "1 M rows of records"
FIGURES = {"requests": "Requests to a load balancer (NAB)", "clusters": "Two clusters (rcf-paper)",
           "taxi": "Taxi rides (NAB), shingles of 48"}  # fmt: skip


def cases(folder: Path, size: str) -> list[Case]:
    """Scoring, building, a stream, labelled sets, published figures."""
    n, d = SHAPES[size]
    given: dict[str, Any] = {"folder": str(folder)}
    made = (f"{HERE}:make", given | {"rows": n, "width": d})
    asked = 200 if size != "quick" else 3
    found = [
        Case(SCORING, [
            Cell(OURS, f"{HERE}:score_smalgos", given | {"trees": 50}),
            Cell(SKLEARN, f"{HERE}:score_sklearn", given | {"trees": 50}, "IsolationForest"),
            Cell(RRCF, f"{HERE}:score_rrcf", given | {"trees": 50, "rows": asked},
                 f"codisp of {asked} rows, scaled", rounds=1),
        ], made),
        Case(BUILDING, [
            Cell(OURS, f"{HERE}:build_smalgos", given),
            Cell(SKLEARN, f"{HERE}:build_sklearn", given, "IsolationForest"),
            Cell(RRCF, f"{HERE}:build_rrcf", given | {"trees": 10}, "10 trees, scaled", rounds=1),
        ]),
        Case(STREAMING, [
            Cell(OURS, f"{HERE}:train_on_stream", given),
            Cell(READING, f"{HERE}:read_stream", given),
        ], (f"{HERE}:make_stream", given | {"rows": STREAMS[size], "width": d})),
    ]  # fmt: skip
    for name, (scaled, title) in SETS.items() if size != "quick" else ():
        there = folder / name.replace(" ", "_")
        there.mkdir(exist_ok=True)
        given = {"folder": str(there), "seeds": SEEDS}
        cells = [
            Cell(OURS, f"{HERE}:find_smalgos", given),
            Cell(SKLEARN, f"{HERE}:find_sklearn", given, "IsolationForest"),
            Cell(RRCF, f"{HERE}:find_rrcf", given, "mean codisp"),
        ]
        made = {"folder": str(there), "name": name, "scaled": scaled}
        found.append(Case(title, cells, (f"{HERE}:make_labelled", made), rounds=1))
    if size != "quick":
        found += [
            Case(title, [Cell(OURS, f"{HERE}:{figure}", {"folder": str(folder)})], rounds=1)
            for figure, title in FIGURES.items()
        ]
    return found


def beyond(peer: str, quality: str) -> Any:
    """By how much ours is above a peer's, mean over the labelled sets."""

    def figure(r: Results) -> float | None:
        pairs = [
            (r.quality(title, OURS, quality), r.quality(title, peer, quality))
            for _, title in SETS.values()
        ]
        gains = [a - b for a, b in pairs if a is not None and b is not None]
        return sum(gains) / len(gains) if gains else None

    return figure


def reading(r: Results) -> float | None:
    """How often the time of reading goes into ours."""
    ours, alone = r.seconds(STREAMING), r.seconds(STREAMING, READING)
    return None if ours is None or alone is None else ours / alone


def built(r: Results) -> float | None:
    """Milliseconds that 100 trees take."""
    seconds = r.seconds(BUILDING)
    return None if seconds is None else 1000 * seconds


GOALS = (
    Goal("50 trees score 0.7 M rows/s", least(0.7), lambda r: r.rate(SCORING), "M rows/s"),
    Goal("scoring, 1000 times as fast as rrcf", least(1000), lambda r: r.times(SCORING, RRCF)),
    Goal("100 trees of 256 rows built in 4 ms", most(4), built, "ms"),
    Goal("a forest of a stream in 1.5 times the time of reading it", most(1.5), reading),
    *(
        Goal(f"labelled sets: {quality} no worse than {peer}'s, mean", least(0),
             beyond(peer, quality), "")
        for peer in (SKLEARN, RRCF) for quality in ("roc_auc", "average_precision")
    ),
)  # fmt: skip
