"""Looks for the settings that bring each peer of Linear Learner to the loss in the least time.

``python benchmarks/tune.py [covertype | synthetic] [library ...]``; what it finds is written into
benchmarks/problems/linear_learner.py by hand, so that everybody can see and doubt it.
"""

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks.problems import linear_learner as problem  # noqa: E402
from benchmarks.runner import Cell, run_cell  # noqa: E402

THREADS = 2
SGD_RATES = [
    *({"learning_rate": "constant", "eta0": e, "alpha": 1e-6, "average": a}
      for e in (3e-4, 1e-3, 3e-3, 1e-2) for a in (False, True)),
    *({"learning_rate": "invscaling", "eta0": e, "alpha": 1e-6, "power_t": p}
      for e in (0.01, 0.03, 0.1) for p in (0.25, 0.5)),
    *({"learning_rate": "optimal", "alpha": a} for a in (1e-5, 1e-4, 1e-3)),
]  # fmt: skip
CANDIDATES: dict[str, list[dict[str, Any]]] = {
    problem.SGD: [{"max_iter": n, **r} for n in (1, 2, 3) for r in SGD_RATES],
    problem.LBFGS: [{"max_iter": n, "C": c} for n in range(5, 13) for c in (1.0, 100.0)],
    problem.SNAPML: [
        {"max_iter": n, "regularizer": r, "scaled": s}
        for n in (1, 2, 3, 4, 5, 10, 20)
        for r in (1.0, 10.0, 100.0)
        for s in (True, False)
    ],
    problem.VW: [
        {"options": f"{o}-l {rate} --passes {n}"}
        for n in (1, 2, 4, 8, 12)
        for rate in (0.1, 0.3, 0.5, 2.0)
        for o in ("", "--power_t 0.1 ", "--power_t 0.25 ")
    ],
    "smalgos": [
        {"epochs": n} | more
        for n in (1, 2, 3)
        for more in ({}, *({"mini_batch_size": b} for b in (100, 150, 250, 500, 1000, 4000)))
    ],
}
CALLS = problem.PEERS | {"smalgos": "benchmarks.peers.ours:fit_linear_learner"}


def main() -> None:
    """Print what was tried, fastest first among those that reach the loss."""
    wanted = sys.argv[1:]
    rows = {"covertype": 0, "synthetic": problem.ROWS["default"]}
    sets = [w for w in wanted if w in rows] or list(rows)
    libraries = [w for w in wanted if w not in rows] or list(CALLS)
    for name, library in itertools.product(sets, libraries):
        with tempfile.TemporaryDirectory() as folder:
            made = {"folder": folder, "rows": rows[name], "width": problem.WIDTH}
            run_cell(Cell("", "benchmarks.data:make_two_classes", made), THREADS)
            best = tried(folder, problem.LBFGS, {"max_iter": 60, "C": 100.0})["quality"]["log loss"]
            print(f"{name}: best log loss {best:.5f}; within 0.5 %: {best * 1.005:.5f}")
            found = []
            for settings in CANDIDATES[library]:
                answer = tried(folder, library, settings)
                if "seconds" not in answer:
                    print(f"  {library}: {settings}: {answer.get('status')}")
                    continue
                found.append((answer["seconds"], answer["quality"]["log loss"], settings))
            good = sorted((f for f in found if f[1] <= best * 1.005), key=lambda f: f[0])
            rest = sorted((f for f in found if f[1] > best * 1.005), key=lambda f: f[1])
            print(f"{name}, {library}: {len(good)} of {len(found)} reach it")
            for seconds, loss, settings in good[:5] + rest[:3]:
                print(f"  {seconds:8.3f} s  {loss:.5f}  {settings}", flush=True)


def tried(folder: str, library: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One run."""
    return run_cell(Cell(library, CALLS[library], {"folder": folder, **settings}), THREADS, 120)


if __name__ == "__main__":
    main()
