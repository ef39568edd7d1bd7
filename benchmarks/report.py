"""RESULTS.md from the rows of results.csv."""

import importlib
import itertools
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from benchmarks.goals import Results
from benchmarks.runner import Row

INTRODUCTION = """# Results of the benchmarks

Written by `python benchmarks/run.py` from `results.csv`. Every cell is a process of its own; the
cells of a table are interleaved round by round; all libraries get the same number of threads.
*Seconds* is the median of the rounds (in brackets least and most), *x ours* the median of the
rounds' ratios: how much longer the row took than the first row of its table, *CPU s* what all
threads worked. *Warm-up* (compiling, loading) is apart. *Peak* is the resident memory above what
the process held just before.
"""
LIBRARIES = ("smalgos", "numpy", "scipy", "numba", "scikit-learn")


def text(rows: Sequence[Row]) -> str:
    """The whole file."""
    parts = [INTRODUCTION]
    problems = []
    for name, group in itertools.groupby(rows, lambda row: row.problem):
        problems.append((importlib.import_module(f"benchmarks.problems.{name}"), list(group)))
    parts.append(goals(problems))
    for problem, found in problems:
        parts.append(section(problem, found))
    return "\n".join(parts)


def goals(problems: Sequence[tuple[ModuleType, list[Row]]]) -> str:
    """The table of goals."""
    lines = ["## Goals", "", "| goal | bound | measured | |", "|---|---|---|---|"]
    for problem, rows in problems:
        results = Results(rows)
        for goal in problem.GOALS:
            figure = goal.figure(results)
            unit = f" {goal.unit}" if goal.unit else ""
            if figure is None:
                told, met = "not measured", ""
            else:
                told = f"{number(figure)}{unit}"
                met = "met" if goal.limit.met(figure) else "**not met**"
            lines.append(f"| {problem.TITLE}: {goal.text} | {goal.limit}{unit} | {told} | {met} |")
    return "\n".join(lines) + "\n"


def section(problem: ModuleType, rows: Sequence[Row]) -> str:
    """The tables of one problem."""
    machines = sorted({f"{row.machine}; {row.date}" for row in rows})
    lines = [
        f"## {problem.TITLE}",
        "",
        problem.ABOUT,
        "",
        "; ".join(machines) + ". " + versions(),
        "",
    ]
    for case, group in itertools.groupby(rows, lambda row: row.case):
        found = list(group)
        lines += [f"### {case}", ""]
        if len(found) == 1 and not found[0].ok:
            lines.append(found[0].status)
        elif any(row.measure("published") is not None for row in found):
            lines += figures(found)
        else:
            lines += table(found)
        lines.append("")
    return "\n".join(lines)


def versions() -> str:
    """Of what smalgos stands on; peers' versions are in their rows."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found) + "."


def table(rows: Sequence[Row]) -> list[str]:
    """One case."""
    rated = any(row.rate is not None for row in rows)
    judged = any(row.quality for row in rows)
    warmed = any(row.warmup is not None for row in rows)
    weighed = any(row.peak_mb is not None for row in rows)
    spent = any(row.cpu is not None for row in rows)
    titles = ["library", "settings", "seconds", "x ours"] + ["CPU s"] * spent
    titles += [rows[0].unit or "rate"] * rated + ["quality"] * judged
    titles += ["peak MB"] * weighed + ["warm-up"] * warmed + [""]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in rows:
        named = f"{row.library} {row.version}".strip()
        spread = ""
        if row.rounds > 1 and row.low is not None and row.high is not None:
            spread = f" ({row.low:.3g} to {row.high:.3g})"
        cells = [named, row.settings, number(row.seconds) + spread, number(row.ratio)]
        cells += [number(row.cpu)] * spent
        cells += [number(row.rate)] * rated + [row.quality.replace("=", " ")] * judged
        cells += [number(row.peak_mb)] * weighed + [number(row.warmup)] * warmed
        cells.append("" if row.status == "ok" else row.status)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def figures(rows: Sequence[Row]) -> list[str]:
    """Published figures beside ours."""
    lines = ["| figure | published | ours | tolerance | where it comes from | |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        low, high = row.measure("low"), row.measure("high")
        bounds = f"{exact(low)} to {exact(high)}"
        told = (exact(row.measure("published")), exact(row.measure("ours")), bounds, row.note)
        met = "within" if row.ok else "**outside**"
        lines.append(f"| {row.settings} | " + " | ".join(told) + f" | {met} |")
    return lines


def number(value: float | None) -> str:
    """Four digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 10_000 else f"{value:.4g}"


def exact(value: float | None) -> str:
    """Six digits, as published figures have."""
    return "" if value is None else f"{value:.6g}"
