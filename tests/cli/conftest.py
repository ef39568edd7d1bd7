"""The commands, called in this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from smalgos.algorithms import MODULES
from smalgos.cli import main
from tests.cli import tiny


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``invoke("train", "tiny", ...)``: the command line, in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: Any, **options: Any) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], **options)

    return call


@pytest.fixture
def tiny_algorithm(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an algorithm that only tests know."""
    monkeypatch.setitem(MODULES, "tiny", "tiny")
    monkeypatch.setitem(sys.modules, "smalgos.algorithms.tiny", tiny)
    return "tiny"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A CSV file of 40 rows: a label, then two features."""
    path = tmp_path / "rows.csv"
    path.write_text("".join(f"{i % 2},{i}.5,{i % 7}\n" for i in range(40)))
    return path


@pytest.fixture
def trained(tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any) -> Path:
    """A trained model."""
    out = tmp_path / "model"
    done = invoke("train", "tiny", "--train", rows, "--output", out, "-p", "size=3")
    assert done.exit_code == 0, done.output
    return out / "model.safetensors"
