"""Runs a worker, and tells what it was at if it fails or dies."""

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SHARE = float(os.environ.get("SMALGOS_FUZZ_RUNS", "1"))


def scaled(runs: int) -> int:
    """How many of so many runs are asked for."""
    return max(1, round(runs * SHARE))


def launch(*arguments: Any, findings: Path, **environment: str) -> str:
    """Run Python; its standard output.

    Parameters
    ----------
    *arguments : object
        A worker, as ``"-m", "tests.fuzz.mutants"``, and what it is to do.
    findings : Path
        What the names of files begin with in which inputs are left that it fails on.
    **environment : str
        Variables to set.
    """
    # A cache of kernels is for one set of flags, which the worker finds for itself.
    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=inherited | environment
    )
    if done.returncode != 0:
        died = done.returncode < 0
        how = signal.Signals(-done.returncode).name if died else f"exit {done.returncode}"
        said = [f"{' '.join(command[1:])}: {how}", done.stderr[-4000:]]
        for path in sorted(findings.parent.glob(f"{findings.name}*")):
            if path.is_file():
                said.append(f"input, in base64: {base64.b64encode(kept(path)).decode()}")
        pytest.fail("\n".join(said), pytrace=False)
    return done.stdout


def kept(path: Path) -> bytes:
    """The input in a file; the first eight bytes of a note say how long it is."""
    data = path.read_bytes()
    if path.suffix != ".note":
        return data
    return data[8 : 8 + int.from_bytes(data[:8], "little")]
