"""Servers under load: what the cells of the problem serving call."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

VERSION = {"version": version("smalgos")}
WIDTH = 20
SERVE = "from smalgos.cli import main; main()"
ECHO = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def echo(request):
    return Response(await request.body(), media_type="text/csv")

app = Starlette(routes=[Route("/invocations", echo, methods=["POST"]), Route("/ping", echo)])
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", access_log=False, log_level="error")
"""
SCRIPT = """
local file = io.open({path!r}, "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "text/csv"
{delay}
"""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def prepare(folder: str) -> dict:
    """A model, and requests."""
    from smalgos.container.job import ChannelConfig, Job, execute
    from smalgos.formats import Block, write

    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, WIDTH), np.float32)
    rows = Path(folder) / "train.csv"
    write(rows, Block.of(X, (X[:, 0] > 0).astype(np.float32)))
    given = {"predictor_type": "binary_classifier", "mini_batch_size": "100"}
    execute(Job("linear-learner", given, {"train": ChannelConfig(rows, "text/csv")}, Path(folder)))
    for n in (1, 1000):
        lines = [",".join(f"{v:.6g}" for v in row) for row in X[:n].tolist()]
        (Path(folder) / f"{n}.csv").write_text("\n".join(lines) + "\n")
    with server(folder, "smalgos"):
        return {}


@contextlib.contextmanager
def server(folder: str, what: str) -> Iterator[tuple[str, float]]:
    """(address, seconds until it was ready) of a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-c", ECHO, str(port)]
    if what == "smalgos":
        command = ["-c", SERVE, "serve", folder, "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-P", *command], stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/ping").close()
                break
            time.sleep(0.01)
        yield address, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def start(folder: str) -> dict:
    """From the start of the process until the first answer."""
    with server(folder, "smalgos") as (_, seconds):
        return VERSION | {"seconds": seconds}


def load(
    folder: str, what: str, rows: int, connections: int, seconds: float, pause: int = 0
) -> dict:
    """Requests one behind another on each of some connections.

    Parameters
    ----------
    folder : str
    what : str
        "smalgos" or "echo".
    rows : int
        Of each request.
    connections : int
    seconds : float
    pause : int
        Milliseconds between an answer and the next request.
    """
    if shutil.which("wrk") is None:
        return {"status": "not at hand: wrk (apt-get install wrk)"}
    script = Path(folder) / f"{rows}-{pause}.lua"
    delay = f"function delay() return {pause} end" if pause else ""
    script.write_text(SCRIPT.format(path=str(Path(folder) / f"{rows}.csv"), delay=delay))
    with server(folder, what) as (address, _):
        command = ["wrk", "-t1", f"-c{connections}", "--latency", "-s", str(script)]
        run([*command, "-d1s", f"{address}/invocations"])
        said = run([*command, f"-d{seconds:g}s", f"{address}/invocations"])
    if "Non-2xx" in said:
        raise RuntimeError("the server refused requests")
    rate = float(found(r"Requests/sec:\s+([\d.]+)", said)[0])
    latency = {f"p{n}_ms": 1e3 * duration(said, n) for n in (50, 99)}
    return VERSION | {
        "seconds": latency["p50_ms"] / 1e3, "rate": rate, "unit": "requests/s", "quality": latency,
    }  # fmt: skip


def run(command: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def found(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of a pattern that must be there."""
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said {text!r}")
    return match.groups()


def duration(said: str, percent: int) -> float:
    """Seconds of a quantile that wrk prints."""
    number, unit = found(rf"\b{percent}%\s+([\d.]+)(us|ms|s)\b", said)
    return float(number) * UNITS[unit]


def in_process(folder: str, rows: int) -> dict:
    """Reading, predicting and writing without a server."""
    from smalgos.algorithms import load_model
    from smalgos.serving.invoke import invoke

    model = load_model(folder)
    body = (Path(folder) / f"{rows}.csv").read_bytes()
    assert json.loads(invoke(model, body, "text/csv").body)
    taken = []
    end = time.perf_counter() + 2
    while time.perf_counter() < end:
        began = time.perf_counter()
        invoke(model, body, "text/csv")
        taken.append(time.perf_counter() - began)
    return VERSION | {"seconds": float(np.median(taken))}
