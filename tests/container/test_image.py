"""The Dockerfile without an engine: its RUN lines in a fresh environment, then both commands."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from smalgos import formats
from smalgos._jit import COMPILED
from smalgos.formats.block import Block

ROOT = Path(__file__).resolve().parents[2]
READY = 60.0  # seconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMPILED, reason="the image holds compiled kernels"),
    pytest.mark.skipif(os.name != "posix", reason="the image is one of Linux"),
]


def instructions():
    """(name, rest) of each instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", "").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def variables(prefix, given):
    """The environment that ENV instructions make, with another PREFIX."""
    told = dict(given)
    for name, rest in instructions():
        if name == "ENV":
            for variable, value in re.findall(r"(\w+)=(\S+)", rest):
                told[variable] = re.sub(r"\$(\w+)", lambda m: told.get(m[1], ""), value)
                if variable == "PREFIX":
                    told["PREFIX"] = str(prefix)
    return told


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The environment of a container, once the RUN lines have been carried out."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "VIRTUAL_ENV"))}
    kept["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{kept['PATH']}"
    told = variables(folder / "opt", kept)
    for name, rest in instructions():
        if name == "RUN":
            subprocess.run(["sh", "-ec", rest], cwd=source, env=told, check=True)
    return told


@pytest.fixture
def base(tmp_path):
    """/opt/ml where that can be made, else another folder in its place."""
    real = Path("/opt/ml")
    with contextlib.suppress(OSError):
        real.mkdir(parents=True)
        yield real
        shutil.rmtree(real)
        return
    yield tmp_path


def test_both_commands(image, base):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)).astype(np.float32)
    y = (X @ [1, -2, 0] > 0).astype(np.float32)
    settings = {"predictor_type": "binary_classifier", "epochs": "3", "mini_batch_size": "50"}
    config, data = base / "input/config", base / "input/data/train"
    config.mkdir(parents=True)
    data.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(settings))
    (config / "inputdataconfig.json").write_text(json.dumps({"train": {}}))
    formats.write(data / "rows.pbr", Block.of(X, y))
    told = image | {"SMALGOS_ALGORITHM": "linear-learner", "SAGEMAKER_BASE_DIR": str(base)}
    kernels = sorted(Path(image["NUMBA_CACHE_DIR"]).rglob("*.nbc"))

    done = subprocess.run(["train"], env=told, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (base / "model/model.safetensors").is_file()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["serve"], env=told | {"SAGEMAKER_BIND_TO_PORT": str(port)})
    try:
        deadline = time.monotonic() + READY
        while ask(port, "GET", "/ping")[0] != 200:
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.1)
        status, body = ask(port, "POST", "/invocations", b"2,-2,0\n-2,2,0\n", "text/csv")
        assert status == 200
        labels = [row["predicted_label"] for row in json.loads(body)["predictions"]]
        assert labels == [1, 0]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    # Nothing had to be compiled.
    assert sorted(Path(image["NUMBA_CACHE_DIR"]).rglob("*.nbc")) == kernels


def ask(port, method, path, body=None, content_type=None):
    """(status, body); status 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": content_type} if content_type else {}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()
