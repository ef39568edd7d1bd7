"""Boosted trees: training, predicting, memory."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Boosted trees"
ABOUT = (
    "The same depth, bins, rounds, learning rate and L2 strength for all; seconds are those of "
    "binning and training from arrays, *loss* that of held-out rows (log loss), *peak* what "
    "training takes above the process and its data. *quantised* is LightGBM's training with "
    "integer gradients of four levels, *coarse* ours with as many. LightGBM may have as many "
    "leaves as the depth allows. Each round has a seed of its own; CatBoost and scikit-learn, "
    "which are far from the fastest, run once. Predictions are of 1 M rows by 100 trees of depth "
    "6, from an array to an array. With several classes LightGBM gives softmax about half of the "
    "hessian that XGBoost does, and we do: its leaves say more in each of its rounds."
)
OURS, COARSE = "smalgos", "smalgos, coarse"
XGBOOST, LIGHTGBM, QUANTISED = "XGBoost hist", "LightGBM", "LightGBM, quantised"
CATBOOST, HGB = "CatBoost", "scikit-learn HGB"
PEERS = {
    XGBOOST: ("benchmarks.peers.xgboost:fit", {}),
    LIGHTGBM: ("benchmarks.peers.lightgbm:fit", {}),
    QUANTISED: ("benchmarks.peers.lightgbm:fit", {"quantised": True}),
    CATBOOST: ("benchmarks.peers.catboost:fit", {}),
    HGB: ("benchmarks.peers.sklearn:fit_boosted_trees", {}),
}
HIGGS, WIDE, COVERTYPE = "1 M x 28", "100 000 x 200", "Covertype, 7 classes"
SPARSE, CATEGORIES = "100 000 x 5 000, 1 % dense, sparse", "200 000 x 20, ten of 100 categories"
LEAVES, SMALL = "200 000 x 28, leaf-wise, 255 leaves", "2 000 x 10"
# rows, columns, kind of data; rounds, depth, leaves; goal: share of the fastest peer's time
PROBLEMS: dict[str, dict[str, Any]] = {
    HIGGS: {"rows": 1_000_000, "width": 28, "rounds": 100, "depth": 6, "goal": 0.4},
    WIDE: {"rows": 100_000, "width": 200, "rounds": 20, "depth": 6, "goal": 0.4},
    COVERTYPE: {"rows": 0, "width": 54, "rounds": 20, "depth": 6, "goal": 0.6,
                "kind": "covertype"},
    SPARSE: {"rows": 100_000, "width": 5_000, "rounds": 10, "depth": 6, "goal": 0.6,
             "kind": "sparse"},
    CATEGORIES: {"rows": 200_000, "width": 20, "rounds": 30, "depth": 6, "goal": 0.6,
                 "kind": "categories"},
    LEAVES: {"rows": 200_000, "width": 28, "rounds": 20, "depth": 0, "leaves": 255, "goal": 0.6},
    SMALL: {"rows": 2_000, "width": 10, "rounds": 100, "depth": 4, "goal": 0.8},
}  # fmt: skip
# What a peer has nothing for, or takes so long for that the suite would not end in time.
LACKING = {
    (SPARSE, HGB): "takes no sparse rows",
    (SPARSE, CATBOOST): "takes minutes",
    (LEAVES, CATBOOST): "its trees are symmetric",
    (LEAVES, HGB): "the slowest of all by far",
    (COVERTYPE, HGB): "the slowest of all by far",
    (WIDE, HGB): "the slowest of all by far",
}
SLOW = (CATBOOST, HGB)
SCALE = {"quick": 0.01, "default": 1.0, "full": 4.0}
PREDICT, ONE = "predict 1 M rows", "predict one row"


def cases(folder: Path, size: str) -> list[Case]:
    """Training on each set, then predictions."""
    found = []
    for name, problem in PROBLEMS.items():
        if size == "quick" and problem.get("kind") == "covertype":
            continue
        here = folder / "".join(c for c in name if c.isalnum())
        here.mkdir(exist_ok=True)
        rows = max(int(problem["rows"] * SCALE[size]), min(problem["rows"], 1000))
        kind = problem.get("kind", "dense")
        made = {"folder": str(here), "rows": rows, "width": problem["width"], "kind": kind}
        given: dict[str, Any] = {"folder": str(here), "kind": kind}
        given |= {n: problem[n] for n in ("rounds", "depth", "leaves") if n in problem}
        cells = [
            Cell(OURS, "benchmarks.peers.ours:fit_boosted_trees", given, seeded=True),
            Cell(
                COARSE, "benchmarks.peers.ours:fit_boosted_trees", given | {"steps": 4}, seeded=True
            ),
        ]
        for peer, (call, more) in PEERS.items():
            missing = LACKING.get((name, peer), "")
            rounds = 1 if peer in SLOW and name != SMALL else None
            cells.append(
                Cell(peer, call, given | more, missing=missing, rounds=rounds, seeded=True)
            )
        found.append(Case(name, cells, ("benchmarks.data:make_boosting", made)))
    folder_of_higgs = str(folder / "".join(c for c in HIGGS if c.isalnum()))
    for name, rows in ((PREDICT, 0), (ONE, 1)):
        given = {"folder": folder_of_higgs, "rows": rows}
        cells = [Cell(OURS, "benchmarks.peers.ours:predict_boosted_trees", given)]
        for peer in (XGBOOST, LIGHTGBM, CATBOOST, HGB):
            call = PEERS[peer][0].replace(":fit", ":predict")
            cells.append(Cell(peer, call, given))
        found.append(Case(name, cells))
    return found


def of_fastest(case: str, library: str = OURS, *, of: tuple[str, ...] = tuple(PEERS)) -> Any:
    """Our seconds over those of the fastest peer; medians, where one ran less often than ours."""

    def figure(results: Results) -> float | None:
        ours = results.row(case, library)
        if ours is None or not ours.ok or not ours.seconds or ours.ratio is None:
            return None
        ratios = [
            r.ratio / ours.ratio
            if r.rounds == ours.rounds and r.ratio
            else r.seconds / ours.seconds
            for r in (results.row(case, peer) for peer in of)
            if r is not None and r.ok and r.seconds
        ]
        return 1 / min(ratios) if ratios else None

    return figure


def worse(case: str, library: str, peers: tuple[str, ...]) -> Any:
    """Our loss over the least of some peers'."""

    def figure(results: Results) -> float | None:
        ours = results.quality(case, library, "loss")
        others = [results.quality(case, peer, "loss") for peer in peers]
        known = [o for o in others if o is not None]
        return None if ours is None or not known else ours / min(known)

    return figure


def memory(case: str) -> Any:
    """Our peak over the least of the peers'."""

    def figure(results: Results) -> float | None:
        ours = results.row(case)
        peers = [results.row(case, peer) for peer in PEERS]
        peaks = [r.peak_mb for r in peers if r is not None and r.ok and r.peak_mb is not None]
        if ours is None or ours.peak_mb is None or not peaks:
            return None
        return ours.peak_mb / min(peaks)

    return figure


GOALS = (
    *(Goal(f"{name}: training time, over the fastest peer's", most(problem["goal"]),
           of_fastest(name)) for name, problem in PROBLEMS.items()),
    *(Goal(f"{name}: loss, over XGBoost's and LightGBM's", most(1.01),
           worse(name, OURS, (XGBOOST, LIGHTGBM))) for name in PROBLEMS if name != SMALL),
    Goal(f"{HIGGS}: peak memory of training, over the leanest peer's", most(1), memory(HIGGS)),
    Goal("predicting 1 M rows by 100 trees, times as fast as the fastest peer", least(2),
         lambda r: r.times(PREDICT)),
    Goal("predicting one row", most(100), lambda r: (s := r.seconds(ONE)) and 1e6 * s, "us"),
)  # fmt: skip
