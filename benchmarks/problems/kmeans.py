"""K-Means: Lloyd's iterations, and one pass over a stream."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "K-Means"
ABOUT = (
    "Float32 rows: unit Gaussians around k centres of standard deviation 0.5 or 2, and MNIST. "
    "*Iterations*: whole fits of 20 of Lloyd's from the same rows, with labels and inertia at the "
    "end; *plain* are ours without bounds. A single row that is as near to two centres as float32 "
    "can tell, and goes the other way, was seen to grow to 5e-4 of the inertia in 20 iterations: "
    "so much may libraries differ; faiss may end lower, since it splits clusters where others are "
    "empty. *Stream*: one pass of ours beside scikit-learn's "
    "MiniBatchKMeans, both by default; *of best* is the inertia over that of the best of 10 fits "
    "of scikit-learn's KMeans."
)
OURS, PLAIN, STREAM = "smalgos", "smalgos, plain", "smalgos, stream"
SKLEARN, INTELEX, FAISS = "scikit-learn", "scikit-learn-intelex", "faiss"
MINIBATCH = "scikit-learn MiniBatchKMeans"
PEERS = (SKLEARN, INTELEX, FAISS)
ITERATIONS = 20
WITHIN = 1e-3  # of the least inertia
ROWS = {"quick": 3_000, "default": 300_000, "full": 1_000_000}
MNIST = {"quick": 3_000, "default": 60_000, "full": 60_000}
HERE = "benchmarks.peers.clusters:"


def gaussians(size: str, k: int, deviation: float) -> str:
    """Name of a case."""
    return f"{ROWS[size]} x 64, k = {k}, centres of deviation {deviation:g}"


def mnist(size: str) -> str:
    """Name of a case."""
    return f"MNIST, {MNIST[size]} x 784, k = 10"


def iterations(name: str, folder: Path, made: dict[str, Any]) -> Case:
    """Lloyd's iterations of all libraries."""
    given = {"folder": str(folder), "iterations": ITERATIONS}
    cells = (
        Cell(OURS, f"{HERE}fit_ours", given, "lloyd"),
        Cell(PLAIN, f"{HERE}fit_plain", given, "no bounds"),
        Cell(SKLEARN, f"{HERE}fit_sklearn", given, "lloyd"),
        Cell(INTELEX, f"{HERE}fit_intelex", given, "lloyd"),
        # Where clusters are empty, it splits others.
        Cell(FAISS, f"{HERE}fit_faiss", given, "all rows", does_more=True),
    )
    return Case(name, cells, (f"{HERE}make", made), within=("inertia", WITHIN))


def stream(name: str, folder: Path) -> Case:
    """One pass, on the rows of the case before."""
    given = {"folder": str(folder)}
    cells = (
        Cell(STREAM, f"{HERE}stream_ours", given, "webscale"),
        Cell(MINIBATCH, f"{HERE}stream_sklearn", given),
    )
    return Case(f"stream: {name}", cells)


def cases(folder: Path, size: str) -> list[Case]:
    """Iterations for each set of rows; streams of two of them; published figures."""
    found: list[Case] = []
    for k in (20,) if size == "quick" else (100, 1000):
        for deviation in (0.5, 2.0):
            here = folder / f"k{k}-{deviation:g}"
            here.mkdir(exist_ok=True)
            streamed = k < 1000 and deviation < 1
            made = {"folder": str(here), "rows": ROWS[size], "width": 64, "k": k,
                    "deviation": deviation, "best": streamed and size != "quick"}  # fmt: skip
            name = gaussians(size, k, deviation)
            found.append(iterations(name, here, made))
            if streamed:
                found.append(stream(name, here))
    here = folder / "mnist"
    here.mkdir(exist_ok=True)
    made = {"folder": str(here), "rows": MNIST[size], "width": 784, "k": 10, "deviation": 0.0,
            "best": size != "quick"}  # fmt: skip
    found += [iterations(mnist(size), here, made), stream(mnist(size), here)]
    if size != "quick":
        for title, call in (("models of the original", "movies"), ("MNIST, published", "mnist")):
            cell = Cell(OURS, f"{HERE}{call}", {"folder": str(folder)})
            found.append(Case(title, [cell], rounds=1))
    return found


def times(case: str, ours: str = OURS) -> Any:
    """How often one of our rows' time goes into that of the fastest peer."""

    def figure(results: Results) -> float | None:
        own = results.row(case, ours)
        peers = [results.row(case, peer) for peer in PEERS]
        ratios = [r.ratio for r in peers if r is not None and r.ok and r.ratio is not None]
        if own is None or not own.ok or own.ratio is None or not ratios:
            return None
        return min(ratios) / own.ratio

    return figure


def streaming(case: str) -> Any:
    """Seconds of MiniBatchKMeans over ours."""

    def figure(results: Results) -> float | None:
        peer = results.row(f"stream: {case}", MINIBATCH)
        return peer.ratio if peer is not None and peer.ok else None

    return figure


def of_best(case: str) -> Any:
    """Inertia of the stream over that of the best of ten fits."""
    return lambda results: results.quality(f"stream: {case}", STREAM, "of best")


BOUNDED, UNBOUNDED = {100: 2.0, 1000: 4.0}, {100: 1.5, 1000: 3.0}
SETS = [(k, deviation, gaussians("default", k, deviation))
        for k in (100, 1000) for deviation in (0.5, 2.0)]  # fmt: skip
STREAMS = [gaussians("default", 100, 0.5), mnist("default")]
GOALS = (
    *(Goal(f"{name}: times as fast as the fastest peer", least(BOUNDED[k]), times(name))
      for k, _, name in SETS),
    *(Goal(f"{name}: the same without bounds", least(UNBOUNDED[k]), times(name, PLAIN))
      for k, _, name in SETS),
    Goal("MNIST, k = 10: times as fast as the fastest peer", least(1.5), times(mnist("default"))),
    *(Goal(f"stream: {name}: inertia over the best of 10 fits", most(1.03), of_best(name), "")
      for name in STREAMS),
    *(Goal(f"stream: {name}: times as fast as MiniBatchKMeans", least(1), streaming(name))
      for name in STREAMS),
)  # fmt: skip
