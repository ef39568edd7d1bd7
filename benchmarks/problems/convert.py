"""Formats into one another, and libsvm and Parquet beside their peers' readers."""

from itertools import permutations
from pathlib import Path

from benchmarks.goals import Goal, least
from benchmarks.runner import Case, Cell

TITLE = "Conversion"
ABOUT = (
    "Files in the page cache. libsvm and Parquet are read to float32 arrays; *sum* is that of all "
    "values. Reading libsvm includes the look at the whole file that finds its columns. Converted "
    "are rows of 20 numbers and a label (JSON Lines: none), from file to file; *MB/s* is that "
    "of the file read."
)
ROWS = {"quick": 2_000, "default": 200_000, "full": 2_000_000}
LIBSVM, PARQUET = "read libsvm, 20 of 1 000 values", "read Parquet, 20 columns"
CONVERT = "convert 20 columns"
FORMATS = {
    "CSV": "rows.csv",
    "RecordIO": "rows.pbr",
    "libsvm": "rows.svm",
    "Parquet": "rows.parquet",
    "JSON Lines": "rows.jsonl",
}


def cases(folder: Path, size: str) -> list[Case]:
    """Two formats read, then every pair."""
    sparse, table = str(folder / "sparse.svm"), str(folder / FORMATS["Parquet"])
    prepare = ("benchmarks.peers.ours:make_files", {"folder": str(folder), "rows": ROWS[size]})
    ours, pyarrow = "benchmarks.peers.ours", "benchmarks.peers.pyarrow"
    pairs = [
        Cell(
            "smalgos", f"{ours}:convert",
            {"source": str(folder / FORMATS[a]), "target": str(folder / f"out-{FORMATS[b]}"),
             "rows": ROWS[size]},
            settings=f"{a} to {b}",
        )
        for a, b in permutations(FORMATS, 2)
    ]  # fmt: skip
    return [
        Case(
            LIBSVM,
            [
                Cell("smalgos", f"{ours}:read_libsvm", {"path": sparse}),
                Cell("scikit-learn", "benchmarks.peers.sklearn:read_libsvm", {"path": sparse}),
                Cell("xgboost", "benchmarks.peers.xgboost:read_libsvm", {"path": sparse}),
            ],
            prepare,
        ),
        Case(
            PARQUET,
            [
                Cell("smalgos", f"{ours}:read_parquet", {"path": table}),
                Cell("pyarrow", f"{pyarrow}:read_parquet", {"path": table}, "to NumPy"),
                Cell("pyarrow", f"{pyarrow}:read_parquet_by_pandas", {"path": table}, "to pandas"),
            ],
        ),
        Case(CONVERT, pairs),
    ]


GOALS = (
    Goal("read libsvm 3 x as fast as scikit-learn", least(3),
         lambda r: r.times(LIBSVM, "scikit-learn")),
)  # fmt: skip
