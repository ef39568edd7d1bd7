"""Principal components of tall, of wide and of sparse matrices."""

from pathlib import Path

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "PCA"
ABOUT = (
    "float32 rows to a few components, the spectrum falling like 1 / j about means of unequal size "
    "(MNIST: its training images). *singular values* is the largest relative error, *angle* the "
    "sine of the largest angle between the subspace and that of an eigendecomposition in float64, "
    "*lost* the share of the variance that as many exact components retain and these do not. The "
    "file is RecordIO; sparse rows have ten entries each."
)
TALL = {"quick": (2_000, 30), "default": (200_000, 300), "full": (2_000_000, 300)}
WIDE = {"quick": (2_000, 400), "default": (20_000, 5_000), "full": (40_000, 10_000)}
SPARSE = {"quick": (2_000, 1_000), "default": (100_000, 10_000), "full": (1_000_000, 100_000)}
COMPONENTS, MANY = 20, 50
PEERS = ("scikit-learn", "scikit-learn-intelex")
SKETCH, READING, FITTING = "smalgos, randomized", "smalgos, reading alone", "smalgos, in memory"
RANDOMIZED = {"algorithm_mode": "randomized"}
DIGITS = "MNIST"


def name(size: str, shapes: dict[str, tuple[int, int]] = TALL) -> str:
    """Of a case."""
    n, d = shapes[size]
    return f"{n} x {d}" + (", sparse" if shapes is SPARSE else "")


def cases(folder: Path, size: str) -> list[Case]:
    """A matrix of each kind, and a file."""
    tall = {"folder": str(folder / "tall"), "components": COMPONENTS}
    wide = {"folder": str(folder / "wide"), "components": MANY}
    digits = {"folder": str(folder / "digits"), "components": MANY}
    sparse = {"folder": str(folder / "sparse"), "components": COMPONENTS}
    for given in (tall, wide, digits, sparse):
        Path(given["folder"]).mkdir(exist_ok=True)
    ours, sklearn = "benchmarks.peers.ours", "benchmarks.peers.sklearn"
    exact = (
        Cell("smalgos", f"{ours}:fit_pca", tall),
        Cell(SKETCH, f"{ours}:fit_pca", tall | RANDOMIZED),
        Cell(PEERS[0], f"{sklearn}:fit_pca", tall, "covariance_eigh"),
        Cell(PEERS[1], "benchmarks.peers.sklearnex:fit_pca", tall, "covariance_eigh"),
    )
    streamed = tuple(
        Cell(library, f"{ours}:stream_pca", tall | {"part": part})
        for library, part in (("smalgos", "both"), (READING, "reading"), (FITTING, "fitting"))
    )

    def sketched(given: dict) -> tuple[Cell, ...]:
        return (
            Cell("smalgos", f"{ours}:fit_pca", given | RANDOMIZED, "randomized"),
            Cell(PEERS[0], f"{sklearn}:fit_pca", given | {"solver": "randomized"}, "randomized"),
        )

    slow = (
        Cell(PEERS[0], f"{sklearn}:fit_pca", wide, "covariance_eigh"),
        Cell(PEERS[1], "benchmarks.peers.sklearnex:fit_pca", wide, "covariance_eigh"),
    )
    thin = (
        Cell("smalgos", f"{ours}:fit_sparse_pca", sparse, "randomized"),
        Cell(PEERS[0], f"{sklearn}:fit_sparse_pca", sparse, "arpack"),
    )

    def made(given: dict, shape: tuple[int, int]) -> tuple[str, dict]:
        return f"{sklearn}:make_pca", given | {"rows": shape[0], "width": shape[1]}

    rows, width = SPARSE[size]
    entries = {"folder": sparse["folder"], "rows": rows, "width": width, "entries": 10}
    found = [
        Case(name(size), exact, made(tall, TALL[size])),
        Case(f"{name(size)}, from a file", streamed),
        Case(name(size, WIDE), sketched(wide) + (slow if size == "full" else ()),
             made(wide, WIDE[size])),
        Case(name(size, SPARSE), thin, (f"{sklearn}:make_sparse_pca", entries)),
    ]  # fmt: skip
    if size != "quick":
        found.append(Case(DIGITS, sketched(digits), (f"{sklearn}:make_digits", digits)))
    return found


def sketch_over_regular(results: Results) -> float | None:
    """Seconds of the sketch over those of all the matrix."""
    regular, sketch = (results.seconds(name("default"), of) for of in ("smalgos", SKETCH))
    return None if regular is None or sketch is None else sketch / regular


def overlap(results: Results) -> float | None:
    """Seconds from the file, over those of reading it alone and of the fit in memory."""
    case = f"{name('default')}, from a file"
    both, *apart = (results.seconds(case, of) for of in ("smalgos", READING, FITTING))
    return None if both is None or None in apart else both / sum(apart)


def peak(results: Results) -> float | None:
    """Of the sparse fit, above what was there before."""
    row = results.row(name("default", SPARSE), "smalgos")
    return row.peak_mb if row and row.ok else None


WIDE_CASE = name("default", WIDE)
GOALS = (
    Goal("20 components of 200 000 x 300, twice as fast as the fastest peer", least(2),
         lambda r: r.times(name("default"))),
    Goal("the same, stretch: three times", least(3), lambda r: r.times(name("default"))),
    Goal("singular values to 1e-5", most(1e-5),
         lambda r: r.quality(name("default"), "smalgos", "singular values"), ""),
    Goal("principal angles below 1e-3 with float32 products", most(1e-3),
         lambda r: r.quality(name("default"), "smalgos", "angle"), ""),
    Goal("there, time of randomized over that of regular", most(1), sketch_over_regular),
    Goal("50 components of 20 000 x 5 000, five times as fast as the fastest peer", least(5),
         lambda r: r.times(WIDE_CASE)),
    Goal("there, variance lost by the sketch", most(0.01),
         lambda r: r.quality(WIDE_CASE, "smalgos", "lost"), ""),
    Goal("50 components of MNIST, variance lost by the sketch", most(0.01),
         lambda r: r.quality(DIGITS, "smalgos", "lost"), ""),
    Goal("from a RecordIO file, over reading alone and fitting in memory", most(0.9), overlap),
    Goal("sparse 100 000 x 10 000 at 0.1 %, peak", most(1000), peak, " MB"),
)  # fmt: skip
