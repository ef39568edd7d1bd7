"""A container's base directory for tests: its files, its runs."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smalgos.container.train import main

RECORDIO = "application/x-recordio-protobuf"
CSV = "text/csv"


class Box:
    """Everything below the base directory.

    Parameters
    ----------
    base : Path
    algorithm : str
    """

    def __init__(self, base: Path, algorithm: str = "linear-learner") -> None:
        self.base = base
        self.file = "xgboost-model" if algorithm == "xgboost" else "model.safetensors"
        self.environment = {"SAGEMAKER_BASE_DIR": str(base), "SMALGOS_ALGORITHM": algorithm}
        self.channels: dict[str, dict[str, str]] = {}
        (base / "input" / "config").mkdir(parents=True)
        (base / "input" / "data").mkdir()

    # -- what the platform writes

    def config(self, name: str, value: Any) -> Path:
        """One of the platform's files: an object, or text as it is."""
        path = self.base / "input" / "config" / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    def hyperparameters(self, **given: str) -> None:
        self.config("hyperparameters.json", given)

    def channel(
        self,
        name: str,
        files: Mapping[str, bytes | str] | None = None,
        content_type: str | None = None,
        mode: str = "File",
    ) -> Path:
        """A channel's entry and, but in Pipe mode, its files."""
        entry = {"TrainingInputMode": mode, "S3DistributionType": "FullyReplicated"}
        if content_type is not None:
            entry["ContentType"] = content_type
        self.channels[name] = entry
        self.config("inputdataconfig.json", self.channels)
        folder = self.base / "input" / "data" / name
        if mode != "Pipe":
            folder.mkdir(exist_ok=True)
            for file, content in (files or {}).items():
                data = content.encode() if isinstance(content, str) else content
                (folder / file).write_bytes(data)
        return folder

    def fifo(self, name: str, epoch: int) -> Path:
        path = self.base / "input" / "data" / f"{name}_{epoch}"
        if not path.exists():
            os.mkfifo(path)
        return path

    def feed(self, name: str, content: bytes, epochs: Sequence[int]) -> threading.Thread:
        """Give the same bytes in one FIFO after another, as the platform does."""
        paths = [self.fifo(name, epoch) for epoch in epochs]

        def give() -> None:
            for path in paths:
                try:
                    path.write_bytes(content)
                except BrokenPipeError:  # the reader wanted no more
                    continue

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        return thread

    # -- what comes out

    @property
    def model(self) -> Path:
        return self.base / "model" / self.file

    @property
    def failure(self) -> str:
        path = self.base / "output" / "failure"
        return path.read_text() if path.exists() else ""

    def leftovers(self) -> list[str]:
        """Files below model/ and output/ but the model and the failure."""
        found = [p for d in ("model", "output") for p in (self.base / d).rglob("*") if p.is_file()]
        return sorted(p.name for p in found if p.name not in (self.file, "failure"))

    # -- runs

    def run(self, monkeypatch: Any, capsys: Any) -> tuple[int, str]:
        """(exit code, output) of a run in this process."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main([])
        return code, capsys.readouterr().out

    def trained(self, monkeypatch: Any, capsys: Any, **given: str) -> str:
        """The output of a job that succeeds, with these hyperparameters, if any are given."""
        if given:
            self.hyperparameters(**given)
        code, out = self.run(monkeypatch, capsys)
        assert code == 0, out
        assert self.failure == ""
        return out

    def failed(self, monkeypatch: Any, capsys: Any, **given: str) -> str:
        """Why a job fails that leaves no model: by fault of the user, in one line."""
        if given:
            self.hyperparameters(**given)
        code, out = self.run(monkeypatch, capsys)
        assert code == 1, out
        assert self.failure.startswith("ClientError: ")
        assert "\n" not in self.failure
        assert not self.model.exists()
        return self.failure

    def start(self, code: str | None = None, **environment: str) -> "subprocess.Popen[str]":
        """A process of its own, which runs `code` or the module."""
        command = ["-c", code] if code else ["-m", "smalgos.container.train"]
        return subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def in_order(out: str, *patterns: str) -> None:
    """Assert that these follow one another in some output."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(out, at)
        assert found, pattern
        at = found.end()


def numbers(rows: int = 400, width: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """(features, score): the label is a function of the score's sign, size or level."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    score = features @ np.linspace(1, -1, width) + 0.3 * rng.normal(size=rows)
    return features, score


def table(features: Any, labels: Any = None) -> str:
    """CSV text."""
    columns = features if labels is None else np.column_stack([labels, features])
    return "".join(",".join(f"{v:.9g}" for v in row) + "\n" for row in columns.tolist())


def records(features: Any, labels: Any = None) -> bytes:
    """RecordIO-protobuf, written out by hand."""
    x = np.asarray(features, "<f4")
    y = None if labels is None else np.asarray(labels, "<f4").reshape(len(x), -1)
    parts = []
    for i in range(len(x)):
        record = _field(1, _entry(x[i].tobytes()))
        if y is not None:
            record += _field(2, _entry(y[i].tobytes()))
        head = (0xCED7230A).to_bytes(4, "little") + len(record).to_bytes(4, "little")
        parts.append(head + record + bytes(-len(record) % 4))
    return b"".join(parts)


def _entry(values: bytes) -> bytes:
    """An entry of the maps `features` and `label`: "values" -> Value{float32_tensor}."""
    return _field(1, b"values") + _field(2, _field(2, _field(1, values)))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a message."""
    size, n = b"", len(payload)
    while n > 127:
        size, n = size + bytes([n & 127 | 128]), n >> 7
    return bytes([number << 3 | 2]) + size + bytes([n]) + payload
