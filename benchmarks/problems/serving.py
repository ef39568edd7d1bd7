"""Requests to the server."""

from pathlib import Path

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Serving"
ABOUT = (
    "A Linear Learner model of 20 features behind one worker on this machine's loopback, asked by "
    "`wrk`, which shares the cores with it; CSV in, JSON out. *Echo* is a Starlette application on "
    "uvicorn that sends the body back. Seconds are the median latency, *start* those from the "
    "start of the process to the first answer."
)
HERE = "benchmarks.serving"
SECONDS = {"quick": 1, "default": 4, "full": 10}
SMALGOS, ECHO, INSIDE = "smalgos", "Starlette echo", "smalgos, in process"
FULL, ALONE, HALF, MANY, START = (
    "one row, 16 connections", "one row, one connection", "one row, 1000 requests/s",
    "1000 rows, one connection", "start",
)  # fmt: skip


def cases(folder: Path, size: str) -> list[Case]:
    """Loads, and the start."""
    given = {"folder": str(folder)}
    loads = {
        FULL: {"rows": 1, "connections": 16},
        ALONE: {"rows": 1, "connections": 1},
        HALF: {"rows": 1, "connections": 16, "pause": 16},
        MANY: {"rows": 1000, "connections": 1},
    }
    found = []
    for name, load in loads.items():
        load = given | load | {"seconds": SECONDS[size]}
        cells = [Cell(SMALGOS, f"{HERE}:load", load | {"what": "smalgos"})]
        if name == MANY:
            cells.append(Cell(INSIDE, f"{HERE}:in_process", given | {"rows": 1000}))
        else:
            cells.append(Cell(ECHO, f"{HERE}:load", load | {"what": "echo"}))
        prepare = None if found else (f"{HERE}:prepare", given)
        found.append(Case(name, cells, prepare))
    return [*found, Case(START, [Cell(SMALGOS, f"{HERE}:start", given)])]


def beyond_echo(results: Results) -> float | None:
    """Milliseconds that an answer takes longer than an echo."""
    ours, echo = results.seconds(ALONE), results.seconds(ALONE, ECHO)
    return None if ours is None or echo is None else 1e3 * (ours - echo)


def over_inside(results: Results) -> float | None:
    """Latency of 1000 rows over the time in process."""
    ours, inside = results.seconds(MANY), results.seconds(MANY, INSIDE)
    return None if ours is None or inside is None else ours / inside


GOALS = (
    Goal("single rows a second", least(2000), lambda r: r.rate(FULL), "requests/s"),
    Goal("median latency of a single row, beyond an echo", most(0.3), beyond_echo, "ms"),
    Goal("99th percentile at 1000 requests/s", most(10),
         lambda r: r.quality(HALF, SMALGOS, "p99_ms"), "ms"),
    Goal("1000 rows, over the time in process", most(1.3), over_inside),
    Goal("start to ready, warm cache", most(2), lambda r: r.seconds(START), "s"),
)  # fmt: skip
