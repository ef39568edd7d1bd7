"""Thirty-two linear models in the time that others take for one."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, most
from benchmarks.runner import Case, Cell

TITLE = "Linear Learner"
ABOUT = (
    "Logistic regression on four fifths of the rows; the *log loss* is that of the last fifth. "
    "Ours trains the whole grid of 32 models and keeps one; a peer trains one model, with the "
    "settings that brought it within 0.5 % of the best loss in the least time "
    "(`benchmarks/tune.py` has what was tried). Scaling of the features is part of the time where "
    "a peer needs it; Vowpal Wabbit reads a binary cache that was made beforehand. Only in the "
    "curves of loss against time do the held-out rows choose our model, and an epoch is timed "
    "together with its look at them."
)
ROWS = {"quick": 5_000, "default": 1_000_000, "full": 5_000_000}
WIDTH = 50
TOLERANCE = 0.005

SGD, LBFGS = "scikit-learn SGDClassifier", "scikit-learn lbfgs"
SNAPML, VW = "snapml", "Vowpal Wabbit"
PEERS = {
    SGD: "benchmarks.peers.sklearn:fit_sgd",
    LBFGS: "benchmarks.peers.sklearn:fit_lbfgs",
    SNAPML: "benchmarks.peers.snapml:fit",
    VW: "benchmarks.peers.vowpalwabbit:fit",
}
COVERTYPE, SYNTHETIC = "Covertype, class 2 or not", "synthetic 1 M x 50"

# The fastest settings that reach the loss, as benchmarks/tune.py found them.
OURS: dict[str, dict[str, Any]] = {
    COVERTYPE: {"epochs": 2, "mini_batch_size": 100},
    SYNTHETIC: {"epochs": 1, "mini_batch_size": 250},
}
ONE_PASS = {
    "max_iter": 1, "learning_rate": "constant", "eta0": 0.003, "alpha": 1e-6, "average": True,
}  # fmt: skip
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    COVERTYPE: {
        SGD: ONE_PASS,
        LBFGS: {"max_iter": 6},
        SNAPML: {"max_iter": 5, "regularizer": 100.0},
        VW: {"options": "--power_t 0.1 -l 0.3 --passes 12"},
    },
    SYNTHETIC: {
        SGD: ONE_PASS,
        LBFGS: {"max_iter": 8},
        SNAPML: {"max_iter": 5, "regularizer": 100.0},
        VW: {"options": "--passes 1"},
    },
}

# Budgets that the curves of loss against time are drawn through.
STEPS: dict[str, list[dict[str, Any]]] = {
    SGD: [{"max_iter": n} for n in (1, 2, 3, 5)],
    LBFGS: [{"max_iter": n} for n in (3, 5, 7, 10, 15, 25)],
    SNAPML: [{"max_iter": n} for n in (1, 2, 5, 10, 30, 100)],
    VW: [{"options": f"--passes {n}"} for n in (1, 2, 4, 8)],
}


def cases(folder: Path, size: str) -> list[Case]:
    """Two data sets, each timed and as curves."""
    found = []
    rows = {COVERTYPE: 0, SYNTHETIC: ROWS[size]}
    for name, tuned in TUNED.items():
        if size == "quick" and name == COVERTYPE:
            continue
        here = folder / ("synthetic" if rows[name] else "covertype")
        here.mkdir(exist_ok=True)
        given = {"folder": str(here)}
        fit = "benchmarks.peers.ours:fit_linear_learner"
        cells = [
            Cell("smalgos", fit, given, "as it comes"),
            Cell("smalgos, early", fit, given | OURS[name], spelled(OURS[name])),
        ]
        cells += [Cell(p, PEERS[p], given | s, spelled(s)) for p, s in tuned.items()]
        made = given | {"rows": rows[name], "width": WIDTH}
        prepare = ("benchmarks.data:make_two_classes", made)
        found.append(Case(name, cells, prepare, ("log loss", TOLERANCE)))
        if size != "quick":
            found.append(curves(name, given))
    return found


def curves(name: str, given: dict[str, Any]) -> Case:
    """Loss against time: ours within one run, a peer's by runs of growing budgets."""
    ours = Cell("smalgos", "benchmarks.peers.ours:curve_linear_learner", given, "epoch by epoch")
    cells = [ours]
    for peer, steps in STEPS.items():
        for step in steps:
            settings = TUNED[name][peer] | step
            if peer == VW:
                options = TUNED[name][peer]["options"].partition("--passes")[0]
                settings = {"options": options + step["options"]}
            cells.append(Cell(peer, PEERS[peer], given | settings, spelled(step)))
    return Case(f"{name}: loss against time", cells, rounds=1)


def spelled(settings: dict[str, Any]) -> str:
    """For the eye."""
    return ", ".join(f"{k}={v}" if k != "options" else v for k, v in settings.items())


def slowdown(case: str, library: str) -> Any:
    """Our seconds over those of the fastest peer that reached the loss."""

    def figure(results: Results) -> float | None:
        ours = results.row(case, library)
        peers = [r for r in results.rows if r.case == case and r.ok and not r.ours]
        if ours is None or not ours.ok or ours.ratio is None or not peers:
            return None
        return ours.ratio / min(r.ratio for r in peers if r.ratio is not None)

    return figure


GOALS = tuple(
    Goal(f"{case}: 32 models, {how}, in the time of the fastest peer's one", most(1),
         slowdown(case, library))
    for case in TUNED
    for library, how in (("smalgos", "defaults"), ("smalgos, early", "stopped at the same loss"))
)  # fmt: skip
