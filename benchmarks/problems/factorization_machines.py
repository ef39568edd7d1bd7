"""Factorization machines beside modern-fm and xLearn."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Factorization Machines"
ABOUT = (
    "Logistic factorization machines on rows with planted factors, labels drawn from their "
    "probabilities: *pairs* are one-hot users and items; *39 fields* are 13 real and 26 "
    "categorical columns, frequent categories first. Rates are rows a second over all epochs: of "
    "whole fits, but for xLearn, whose reading of text is left out. xLearn learns row by row, "
    "lock-free. Every library runs the epochs, rates, starts and batches that brought it the least "
    "log loss on 100,000 rows held out, of those tried. modern-fm is left out of the 39 fields: it "
    "takes some twenty times as long as xLearn."
)
ADAM, ADAGRAD = "smalgos, adam", "smalgos, adagrad"
MODERN, XLEARN = "modern-fm", "xLearn"
PAIRS, WIDE = "pairs, k = 64", "39 fields"
USERS_AND_ITEMS = (6_000, 3_284)
REAL, CATEGORIES = 13, 26
SKEW, FALL = 6, 0.7  # some categories are frequent, some fields matter: as in logs of clicks
ROWS = {"quick": 20_000, "default": 900_000, "full": 900_000}
WIDE_ROWS = {"quick": 20_000, "default": 5_000_000, "full": 5_000_000}
FEATURES = 1_000_000
HERE = "benchmarks.peers.modern_fm:"
FACTORS = (16, 64)


def fields(k: int) -> str:
    """Name of a case."""
    return f"{WIDE}, k = {k}"


# Settings of each library that reached the least loss of those tried.
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    PAIRS: {
        ADAM: {"epochs": 4, "optimizer": "adam", "mini_batch_size": 2000, "linear_lr": 0.011,
               "factors_lr": 0.0046, "factors_init_sigma": 0.03, "factors_wd": 2e-5},
        ADAGRAD: {"epochs": 4, "optimizer": "adagrad", "mini_batch_size": 2000, "linear_lr": 0.18,
                  "factors_lr": 0.133, "factors_wd": 2e-5},
        MODERN: {"epochs": 4, "optimizer": "adam", "learning_rate": 0.003, "l2_factors": 1e-5},
        XLEARN: {"epochs": 4, "lr": 0.1, "init": 0.1, "lambda": 2e-4},
    },
    fields(16): {
        ADAM: {"epochs": 1, "optimizer": "adam", "linear_lr": 0.004, "factors_lr": 0.001,
               "factors_init_sigma": 0.015, "eps": 1e-4},
        ADAGRAD: {"epochs": 1, "optimizer": "adagrad", "linear_lr": 0.09, "factors_lr": 0.033,
                  "factors_init_sigma": 0.0012, "eps": 24.0, "rescale_grad": 1.0},
        XLEARN: {"epochs": 1, "lr": 0.03, "init": 0.003, "lambda": 2e-6},
    },
    fields(64): {
        ADAM: {"epochs": 1, "optimizer": "adam", "linear_lr": 0.004, "factors_lr": 0.0007,
               "factors_init_sigma": 0.0075, "eps": 1e-4},
        ADAGRAD: {"epochs": 1, "optimizer": "adagrad", "linear_lr": 0.09, "factors_lr": 0.022,
                  "factors_init_sigma": 0.0012, "eps": 24.0, "rescale_grad": 1.0},
        XLEARN: {"epochs": 1, "lr": 0.02, "init": 0.003, "lambda": 2e-6},
    },
}  # fmt: skip


def side_by_side(name: str, folder: Path, made: dict[str, Any], k: int) -> Case:
    """All libraries on the same rows."""
    given, cells = {"folder": str(folder)}, []
    for library, settings in TUNED[name].items():
        said = ", ".join(f"{n}={v}" for n, v in settings.items())
        if library in (ADAM, ADAGRAD):
            call = f"{HERE}ours", {"num_factors": k}
        elif library == MODERN:
            call = f"{HERE}modern", {"n_factors": k}
        else:
            call = "benchmarks.peers.xlearn:fit", {"k": k}
        slow = {MODERN: 1, XLEARN: None if name == PAIRS else 2}.get(library)
        cells.append(Cell(library, call[0], given | settings | call[1], said, rounds=slow))
    return Case(name, cells, (f"{HERE}make", given | made))


def cases(folder: Path, size: str) -> list[Case]:
    """Pairs; many fields at two lengths of factors."""
    here = folder / "pairs"
    here.mkdir(exist_ok=True)
    made: dict[str, Any] = {"rows": ROWS[size], "sizes": list(USERS_AND_ITEMS)}
    found = [side_by_side(PAIRS, here, made, 64)]
    each = (FEATURES if size != "quick" else 20_000) // CATEGORIES
    made = {
        "rows": WIDE_ROWS[size], "sizes": [each] * CATEGORIES, "numbers": REAL, "skew": SKEW,
        "fall": FALL,
    }  # fmt: skip
    for k in FACTORS if size != "quick" else FACTORS[:1]:
        here = folder / f"fields{k}"
        here.mkdir(exist_ok=True)
        found.append(side_by_side(fields(k), here, made, k))
    return found


def times(case: str, library: str) -> Any:
    """Our rows a second over those of the fastest peer."""

    def figure(results: Results) -> float | None:
        own = results.row(case, library)
        peers = [results.row(case, peer) for peer in (MODERN, XLEARN)]
        rates = [r.rate for r in peers if r is not None and r.ok and r.rate]
        return own.rate / max(rates) if own is not None and own.ok and own.rate and rates else None

    return figure


def excess(case: str) -> Any:
    """The least loss of ours less that of the better peer."""

    def figure(results: Results) -> float | None:
        def best(*libraries: str) -> float | None:
            found = [results.quality(case, library, "log loss") for library in libraries]
            return min((x for x in found if x is not None), default=None)

        own, peer = best(ADAM, ADAGRAD), best(MODERN, XLEARN)
        return None if own is None or peer is None else own - peer

    return figure


GOALS = (
    *(Goal(f"{PAIRS}: {library.split()[1]}, times the faster peer", least(3), times(PAIRS, library))
      for library in (ADAM, ADAGRAD)),
    *(Goal(f"{case}: {library.split()[1]}, times the faster peer", least(2), times(case, library))
      for case in map(fields, FACTORS) for library in (ADAM, ADAGRAD)),
    *(Goal(f"{case}: log loss above the better peer's", most(0), excess(case), "")
      for case in (PAIRS, *map(fields, FACTORS))),
)  # fmt: skip
