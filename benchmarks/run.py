"""Runs benchmarks: ``python benchmarks/run.py [problem ...] [--rounds N] [--quick] [--full]``.

Every cell is a process of its own; results.csv and RESULTS.md beside this file are brought up to
date for the problems that were run.
"""

import argparse
import datetime
import importlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks import report  # noqa: E402
from benchmarks.runner import Row, load, run_case, save  # noqa: E402

HERE = Path(__file__).resolve().parent
PROBLEMS = (
    "recordio", "csv", "convert", "linear_learner", "kmeans", "knn", "pca", "boosted_trees",
    "random_cut_forest", "streaming_forest", "factorization_machines", "ip_insights", "text",
    "text_classification", "word_vectors", "serving", "cold_start", "memory", "published",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    given = arguments(argv)
    size = "quick" if given.quick else "full" if given.full else "default"
    rows = []
    began = time.perf_counter()
    for name in given.problems or PROBLEMS:
        rows += run_problem(name, size, given.rounds, given.threads)
        keep(rows, given.output)
    print(f"{time.perf_counter() - began:.0f} s in all; {given.output / 'RESULTS.md'}")
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Benchmarks of smalgos beside its peers.")
    parser.add_argument("problems", nargs="*", metavar="problem", help=", ".join(PROBLEMS))
    parser.add_argument("--rounds", type=int, default=5, help="of each cell; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="of every library")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see it run")
    parser.add_argument("--full", action="store_true", help="large sizes")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the results")
    given = parser.parse_args(argv)
    for name in given.problems:
        if name not in PROBLEMS:
            parser.error(f"no problem {name!r}; there are {', '.join(PROBLEMS)}")
    return given


def run_problem(name: str, size: str, rounds: int, threads: int) -> list[Row]:
    """All cases of a problem."""
    problem = importlib.import_module(f"benchmarks.problems.{name}")
    began = time.perf_counter()
    print(f"{problem.TITLE} ...", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="smalgos-bench-") as folder:
        for case in problem.cases(Path(folder), size):
            rows += run_case(
                name, case, rounds=rounds, threads=threads, say=lambda s: print(s, flush=True)
            )
    today, here = datetime.date.today().isoformat(), machine(threads)
    for row in rows:
        row.date, row.machine = today, here
    print(f"{problem.TITLE}: {time.perf_counter() - began:.0f} s", flush=True)
    return rows


def keep(rows: Sequence[Row], folder: Path) -> None:
    """Put rows in the place of their problems' former ones; write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.csv"
    done = {row.problem for row in rows}
    former = [row for row in load(path) if row.problem not in done] if path.exists() else []
    order = {name: i for i, name in enumerate(PROBLEMS)}
    merged = sorted([*former, *rows], key=lambda row: order.get(row.problem, len(order)))
    save(merged, path)
    (folder / "RESULTS.md").write_text(report.text(merged), encoding="utf-8")


def machine(threads: int) -> str:
    """Processor, cores, threads used, Python."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [s for s in info.read_text().splitlines() if s.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {threads} threads, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
