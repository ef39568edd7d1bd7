"""Principal components of a tall matrix."""

from pathlib import Path

from benchmarks.goals import Goal, least, most
from benchmarks.runner import Case, Cell

TITLE = "PCA"
ABOUT = (
    "float32 rows to 20 components, the spectrum falling like 1 / j about means of unequal size. "
    "*singular values* is the largest relative error, *angle* the sine of the largest angle "
    "between the subspace and that of an eigendecomposition in float64."
)
SHAPES = {"quick": (2_000, 30), "default": (200_000, 300), "full": (2_000_000, 300)}
COMPONENTS = 20
PEERS = ("scikit-learn", "scikit-learn-intelex")


def name(size: str) -> str:
    """Of the case."""
    n, d = SHAPES[size]
    return f"{n} x {d}"


def cases(folder: Path, size: str) -> list[Case]:
    """One matrix."""
    n, d = SHAPES[size]
    given = {"folder": str(folder), "components": COMPONENTS}
    cells = (
        Cell("smalgos", "benchmarks.peers.ours:fit_pca", given),
        Cell(PEERS[0], "benchmarks.peers.sklearn:fit_pca", given, "covariance_eigh"),
        Cell(PEERS[1], "benchmarks.peers.sklearnex:fit_pca", given, "covariance_eigh"),
    )
    made = {"folder": str(folder), "rows": n, "width": d, "components": COMPONENTS}
    return [Case(name(size), cells, ("benchmarks.peers.sklearn:make_pca", made))]


GOALS = (
    Goal("20 components of 200 000 x 300, twice as fast as the fastest peer", least(2),
         lambda r: r.times(name("default"))),
    Goal("the same, stretch: three times", least(3), lambda r: r.times(name("default"))),
    Goal("singular values to 1e-5", most(1e-5),
         lambda r: r.quality(name("default"), "smalgos", "singular values"), ""),
    Goal("principal angles below 1e-3 with float32 products", most(1e-3),
         lambda r: r.quality(name("default"), "smalgos", "angle"), ""),
)  # fmt: skip
