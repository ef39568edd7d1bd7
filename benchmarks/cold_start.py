"""Starts processes and waits for them: what the cells of the problem cold_start call.

They run with -P, so that they import the installed package and not the folder they start in.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

VERSION = {"version": version("smalgos")}
ROWS = "rng = np.random.default_rng(0); X = rng.standard_normal((2000, 10), np.float32)"
FIT = f"""
import numpy as np, smalgos
{ROWS}
smalgos.{{what}}().fit(X{{y}})
"""
READ = """
from smalgos import formats
assert len(formats.read({path!r})) == 2000
"""
BARE = """
import sys, sklearn.base, numba
sys.path.append({folder!r})
from one_kernel import total
import numpy as np
total(np.ones(1000, np.float32))
"""
KERNEL = """
from numba import njit
@njit(cache=True)
def total(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i]
    return s
"""
TARGETS = {"LinearLearnerClassifier": ", X[:, 0] > 0", "LinearLearnerRegressor": ", X[:, 0]"}
FILES = {"CSV": "rows.csv", "RecordIO": "rows.pbr"}


def prepare(folder: str) -> dict:
    """Files to read, a kernel of no library, and a cache that holds all kernels."""
    import numpy as np

    from smalgos import formats

    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 10), np.float32)
    for name in FILES.values():
        formats.write(Path(folder) / name, formats.Block.of(X, (X[:, 0] > 0).astype(np.float32)))
    (Path(folder) / "one_kernel.py").write_text(KERNEL)
    for what in ("bare", *TARGETS, "PCA"):
        use(folder, what)
    return {}


def import_alone() -> dict:
    """The import, without the start of the interpreter."""
    code = "import time; t = time.perf_counter(); import smalgos; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    return VERSION | {"seconds": float(done.stdout)}


def use(folder: str, what: str, cold: bool = False) -> dict:
    """A process that fits or reads once, and ends."""
    if what == "bare":
        code = BARE.format(folder=folder)
    elif what in FILES:
        code = READ.format(path=str(Path(folder) / FILES[what]))
    else:
        code = FIT.format(what=what, y=TARGETS.get(what, ""))
    with tempfile.TemporaryDirectory() as empty:
        more = {"NUMBA_CACHE_DIR": empty if cold else str(Path(folder) / "numba")}
        began, before = time.perf_counter(), worked()
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env=os.environ | more, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - began, worked() - before
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return VERSION | {"seconds": seconds, "cpu": cpu}


def worked() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_line(folder: str) -> dict:
    """A training container's process, until it has written a line."""
    base = Path(folder) / "ml"
    config = base / "input" / "config"
    (base / "input" / "data" / "train").mkdir(parents=True, exist_ok=True)
    config.mkdir(exist_ok=True)
    for name, content in {
        "hyperparameters.json": {"predictor_type": "binary_classifier", "mini_batch_size": "100"},
        "inputdataconfig.json": {"train": {"ContentType": "text/csv"}},
        "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }.items():
        (config / name).write_text(json.dumps(content))
    data = base / "input" / "data" / "train" / "rows.csv"
    data.write_bytes((Path(folder) / FILES["CSV"]).read_bytes())
    environment = os.environ | {
        "SAGEMAKER_BASE_DIR": str(base), "SMALGOS_ALGORITHM": "linear-learner",
    }  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from smalgos.cli import main; main()", "container", "train"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.communicate()
    if not line or process.returncode:
        raise RuntimeError(f"exit code {process.returncode}, first line {line!r}")
    return VERSION | {"seconds": seconds}
