"""Runs the cells of a case, each in a process of its own, interleaved round by round."""

import csv
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cell import MARK, ROOT

OURS = "smalgos"
CELL = Path(__file__).with_name("cell.py")
LIMIT = 600  # seconds of one cell
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "ARROW_IO_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One library at one case.

    Parameters
    ----------
    library : str
        As shown; ours are "smalgos" and names that begin so.
    call : str
        ``module:function``, called in the process; see `benchmarks.measure.measured` for what
        it answers. It may add ``quality`` {name: number}, ``curve`` [[seconds, number], ...],
        ``status`` and ``version``. Instead of times it may answer ``figures``, a list of [what,
        published, ours, least, most, where these bounds come from].
    arguments : dict
        JSON values.
    settings : str
        Shown beside the library.
    python : str, optional
        Interpreter of another environment; None with a `missing` says why there is none.
    missing : str
        Why the cell cannot run.
    rounds : int, optional
        Of one that is slow and far from the fastest: no more than so many.
    seeded : bool
        Whether the call takes the number of the round as its ``seed``; quality is the median.
    does_more : bool
        Whether its quality may be better by work that the others are not asked for: it is no
        yardstick for theirs.
    """

    library: str
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: str = ""
    python: str | None = None
    missing: str = ""
    rounds: int | None = None
    seeded: bool = False
    does_more: bool = False


@dataclass(frozen=True)
class Case:
    """Cells that are set side by side; the first one is what the others are measured by.

    Parameters
    ----------
    name : str
    cells : sequence of Cell
    prepare : (str, dict), optional
        ``module:function`` and arguments, called once before the rounds, in its own process.
    within : (str, float), optional
        Name of a quality, the lower the better, and how far above the best of all a cell may end
        without being called not converged.
    rounds : int, optional
        Where it makes no sense to measure more often.
    """

    name: str
    cells: Sequence[Cell]
    prepare: tuple[str, dict[str, Any]] | None = None
    within: tuple[str, float] | None = None
    rounds: int | None = None


@dataclass
class Row:
    """What came of a cell: a line of results.csv."""

    problem: str
    case: str
    library: str
    settings: str = ""
    version: str = ""
    seconds: float | None = None  # median of the rounds
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    cpu: float | None = None  # seconds of all threads
    warmup: float | None = None
    ratio: float | None = None  # median of the rounds' seconds / ours
    peak_mb: float | None = None
    rate: float | None = None
    unit: str = ""
    quality: str = ""  # "name=value; name=value"
    status: str = "ok"
    curve: str = ""  # "seconds:value seconds:value"
    note: str = ""
    date: str = ""
    machine: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.status == "ok"

    @property
    def ours(self) -> bool:
        """Whether it is a row of this library."""
        return self.library.startswith(OURS)

    def measure(self, name: str) -> float | None:
        """A quality by name."""
        found = dict(part.split("=") for part in self.quality.split("; ") if part)
        return float(found[name]) if name in found else None


def environment(threads: int) -> dict[str, str]:
    """Of every cell: as many threads for all, nothing of this machine's home but its cache."""
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))


def run_cell(cell: Cell, threads: int, limit: float = LIMIT) -> dict[str, Any]:
    """The answer of one process."""
    if cell.missing:
        return {"status": cell.missing}
    command = [cell.python or sys.executable, "-P", str(CELL), cell.call]
    try:
        done = subprocess.run(
            [*command, json.dumps(cell.arguments)],
            env=environment(threads), cwd=ROOT, capture_output=True, text=True, timeout=limit,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"status": f"failed: not done after {limit:.0f} s"}
    except OSError as e:
        return {"status": f"failed: {e.strerror}"}
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        said = (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
        return {"status": f"failed: exit code {done.returncode}: {said}"}
    answer: dict[str, Any] = json.loads(lines[-1][len(MARK) :])
    return answer


def run_case(
    problem: str, case: Case, *, rounds: int, threads: int, say: Callable[[str], None]
) -> list[Row]:
    """Measure a case: every cell once per round, the next round in the other direction."""
    if case.prepare is not None:
        began = time.perf_counter()
        made = run_cell(Cell("", *case.prepare), threads)
        if "status" in made:
            say(f"  {case.name}: {made['status']}")
            return [
                Row(problem, case.name, c.library, c.settings, status=made["status"])
                for c in case.cells
            ]
        say(f"  {case.name}: data made in {time.perf_counter() - began:.1f} s")
    answers: dict[int, list[dict[str, Any]]] = {i: [] for i in range(len(case.cells))}
    for r in range(case.rounds or rounds):
        for i in list(answers)[:: -1 if r % 2 else 1]:
            cell = case.cells[i]
            if answers[i] and "seconds" not in answers[i][-1]:
                continue  # what failed once is not tried again
            if cell.rounds is not None and r >= cell.rounds:
                continue
            if cell.seeded:
                cell = dataclasses.replace(cell, arguments=cell.arguments | {"seed": r})
            answer = run_cell(cell, threads)
            answers[i].append(answer)
            told = (
                f"{answer['seconds']:.3f} s" if "seconds" in answer else answer.get("status", "ok")
            )
            say(f"  {case.name}, round {r + 1}: {cell.library}: {told}")
    rows = []
    for i, cell in enumerate(case.cells):
        if "figures" in answers[i][-1]:
            rows += _figures(problem, case, cell, answers[i][-1])
        else:
            rows.append(_row(problem, case, cell, answers[i], answers[0]))
    if case.within is not None:
        judge(rows, *case.within, {c.library for c in case.cells if c.does_more})
    return rows


def _row(
    problem: str,
    case: Case,
    cell: Cell,
    answers: list[dict[str, Any]],
    ours: list[dict[str, Any]],
) -> Row:
    row = Row(problem, case.name, cell.library, cell.settings, rounds=len(answers))
    last = answers[-1]
    row.version = last.get("version", "")
    row.settings = last.get("settings", row.settings)
    row.status = last.get("status", "ok")
    if "seconds" not in last:
        return row
    seconds = [a["seconds"] for a in answers]
    row.seconds, row.low, row.high = statistics.median(seconds), min(seconds), max(seconds)
    pairs = [
        a["seconds"] / b["seconds"] for a, b in zip(answers, ours, strict=False) if "seconds" in b
    ]
    row.ratio = statistics.median(pairs) if pairs else None
    for name in ("cpu", "warmup", "peak_mb", "rate"):
        values = [a[name] for a in answers if a.get(name) is not None]
        setattr(row, name, statistics.median(values) if values else None)
    row.unit = last.get("unit", "")
    row.quality = "; ".join(
        f"{name}={statistics.median(a['quality'][name] for a in answers):.8g}"
        for name in last.get("quality", {})
    )
    row.curve = " ".join(f"{t:.4f}:{v:.6f}" for t, v in last.get("curve", ()))
    return row


def _figures(problem: str, case: Case, cell: Cell, answer: dict[str, Any]) -> list[Row]:
    rows = []
    for what, published, ours, low, high, why in answer["figures"]:
        row = Row(problem, case.name, cell.library, what, answer["version"], rounds=1, note=why)
        row.quality = f"published={published:.7g}; ours={ours:.7g}; low={low:.7g}; high={high:.7g}"
        row.status = "ok" if low <= ours <= high else "outside"
        rows.append(row)
    return rows


def judge(rows: Sequence[Row], name: str, tolerance: float, apart: Collection[str] = ()) -> None:
    """Mark the rows whose quality ends further than `tolerance` above the best one.

    Libraries that stand apart are no yardstick.
    """
    found = {id(row): row.measure(name) for row in rows}
    known = [found[id(row)] for row in rows if row.library not in apart]
    best = min((v for v in known if v is not None and v == v), default=None)
    for row in rows:
        value = found[id(row)]
        if best is not None and value is not None and not value <= best * (1 + tolerance):
            row.status = f"did not converge: {name} more than {tolerance:.1%} above the best"


# The table of results -----------------------------------------------------------------------------


def save(rows: Sequence[Row], path: Path) -> None:
    """Write results.csv."""
    names = [f.name for f in dataclasses.fields(Row)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for row in rows:
            values = [getattr(row, name) for name in names]
            table.writerow(
                [f"{v:.6g}" if isinstance(v, float) else "" if v is None else v for v in values]
            )


def load(path: Path) -> list[Row]:
    """Read results.csv."""
    numbers = {f.name for f in dataclasses.fields(Row) if "float" in str(f.type)}
    rows = []
    with open(path, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            values: dict[str, Any] = dict(line)
            for name in numbers:
                values[name] = float(values[name]) if values[name] else None
            rows.append(Row(**values | {"rounds": int(values["rounds"])}))
    return rows
