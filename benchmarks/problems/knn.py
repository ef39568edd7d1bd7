"""The nearest rows of queries."""

from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "K-Nearest Neighbors"
ABOUT = (
    "Ten neighbours each of queries around the same 200 centres as the rows, float32; the time is "
    "that of asking. *recall* is the share of the true ten that are found, *build* the seconds "
    "that the index takes. The curve of lists and codes is of seconds and recall, where 1 to "
    "50 lists are read."
)
HERE = "benchmarks.peers.neighbours"
SHAPES = {
    "quick": (3_000, 8, 50), "default": (300_000, 64, 2_000), "full": (3_000_000, 64, 2_000),
}  # fmt: skip
LISTS = {"quick": 50, "default": 547, "full": 1_732}
K, CODE = 10, {"quick": 4, "default": 16, "full": 16}
READ = (5, 20)
KINDS = {"faiss.IVFFlat": "lists", "faiss.IVFPQ": "codes"}
FIGURES = {"covertype": "Covertype, 92 962 rows", "abalone": "Abalone", "mnist": "MNIST"}
OURS, FAISS = "smalgos", "faiss"


def name(kind: str, read: int = 0, size: str = "default") -> str:
    """Of a case."""
    n, d, q = SHAPES[size]
    return f"{kind}, {n} x {d}, {q} queries" + (f", {read} lists read" if read else "")


def cases(folder: Path, size: str) -> list[Case]:
    """Exact search, the two approximate ones, published figures."""
    n, d, q = SHAPES[size]
    given: dict[str, Any] = {"folder": str(folder), "k": K}
    made = (f"{HERE}:make", {"rows": n, "width": d, "queries": q} | given)
    exact = (
        Cell(OURS, f"{HERE}:smalgos", given, "Flat"),
        Cell(FAISS, f"{HERE}:faiss", given, "Flat"),
        Cell("scikit-learn-intelex", f"{HERE}:intelex", given, "brute"),
        Cell("scikit-learn", f"{HERE}:scikit_learn", given, "brute"),
    )
    found = [Case(name("exact", size=size), exact, made)]
    for index, kind in KINDS.items():
        for read in READ:
            asked = given | {
                "index_type": index, "nprobe": read, "faiss_index_ivf_nlists": LISTS[size],
                "faiss_index_pq_m": CODE[size], "curve": read == READ[0],
            }  # fmt: skip
            both = [Cell(OURS, f"{HERE}:smalgos", asked), Cell(FAISS, f"{HERE}:faiss", asked)]
            found.append(
                Case(name(kind, read, size), both, made, rounds=1 if size == "quick" else 3)
            )
    if size != "quick":
        found += [
            Case(title, [Cell(OURS, f"{HERE}:{figure}", {"folder": str(folder)})], rounds=1)
            for figure, title in FIGURES.items()
        ]
    return found


def recall_beside(kind: str, read: int) -> Any:
    """Our recall less faiss's."""

    def figure(r: Results) -> float | None:
        pair = [r.quality(name(kind, read), library, "recall") for library in (OURS, FAISS)]
        return None if pair[0] is None or pair[1] is None else pair[0] - pair[1]

    return figure


GOALS = (
    Goal("exact search, twice as fast as the fastest peer", least(2),
         lambda r: r.times(name("exact"))),
    Goal("exact search: recall", least(1),
         lambda r: r.quality(name("exact"), OURS, "recall"), ""),
    *(
        Goal(f"{kind}, {read} lists read: no slower than faiss", least(1),
             lambda r, kind=kind, read=read: r.times(name(kind, read)))
        for kind in KINDS.values() for read in READ
    ),
    *(
        Goal(f"{kind}, {read} lists read: recall less faiss's", least(-0.01),
             recall_beside(kind, read), "")
        for kind in KINDS.values() for read in READ
    ),
)  # fmt: skip
