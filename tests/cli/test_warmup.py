"""warmup: the jobs that follow from a table of hyperparameters, and that they suffice."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smalgos import _jit, warmup
from smalgos.algorithms import MODULES, algorithm
from smalgos.errors import UserError
from smalgos.formats import write
from smalgos.formats.block import Csr
from tests.cli import tiny


def test_each_word_of_a_hyperparameter_gets_a_job() -> None:
    found = list(warmup.varieties(tiny.ALGORITHM))
    base = {"size": 2, "epochs": 1}
    assert found == [base, base | {"flavour": "plain"}, base | {"flavour": "sweet"}]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_varieties_are_valid_and_cover_every_word(name: str) -> None:
    a = algorithm(name)
    found = list(warmup.varieties(a))
    for given in found:
        a.parameters(**given)  # raises where it does not fit
    for field in a.parameters.table.values():
        if field.choices and not field.transient:
            tried = {str(given.get(field.name, "")).strip("[]'") for given in found}
            assert set(field.choices) <= tried


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_tiny_model_gets_the_scores_that_describe_names(name: str, tmp_path: Path) -> None:
    a = algorithm(name)
    if a.texts:
        write(tmp_path / "rows", warmup.text_rows(a), content_type=a.content_type)
    else:
        write(tmp_path / "rows", warmup.dense_rows(), content_type="text/csv")
    given = next(warmup.varieties(a))
    outcome = warmup.train_and_ask(a, given, tmp_path / "rows", tmp_path / "model")
    found = {name for scores in outcome.scores.values() for name in scores}
    assert found <= set(a.scores)
    assert bool(found) == bool(a.scores)


def test_rows_serve_every_task() -> None:
    dense, sparse = warmup.dense_rows(), warmup.sparse_rows()
    assert set(dense.labels.tolist()) == {0.0, 1.0}
    assert dense.features.shape == (warmup.N_ROWS, warmup.N_FEATURES)
    assert isinstance(sparse.features, Csr)
    assert 0 < len(sparse.features.values) < dense.features.size


def test_warming_up_runs_the_jobs(tiny_algorithm: str) -> None:
    warmed = warmup.warm_algorithm("tiny")
    assert warmed.jobs == 2 * 3  # dense and sparse
    assert warmed.seconds > 0


def test_a_job_that_cannot_be_done_is_not_passed_over(
    tiny_algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(self: Any, block: Any) -> None:
        raise UserError("cannot learn")

    monkeypatch.setattr(tiny.TinyState, "update", update)
    with pytest.raises(UserError, match="cannot learn"):
        warmup.warm_algorithm("tiny")


def test_formats_are_written_and_read() -> None:
    assert warmup.warm_formats().jobs >= 8


@pytest.mark.compiled
def test_the_command_tells_each_part(tiny_algorithm: str, invoke: Any) -> None:
    said = invoke("warmup", "tiny")
    assert said.exit_code == 0, said.output
    formats, trained, whole = said.stdout.splitlines()
    assert formats.startswith("formats ")
    assert trained.startswith("tiny       6 jobs    0 kernels compiled")
    assert "the cache" in whole


def test_without_the_compiler_there_is_nothing_to_do(
    invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_jit, "COMPILED", False)
    said = invoke("warmup")
    assert said.exit_code == 0
    assert said.stdout == "NUMBA_DISABLE_JIT is set: there is nothing to compile.\n"


JOB = """
import sys
from smalgos.cli import main
from smalgos.warmup import _kernels
for arguments in {arguments}:
    main(arguments, standalone_mode=False)
compiled, found = _kernels()
assert found, "nothing was looked for in the cache"
sys.exit(f"compiled {{compiled}} kernels" if compiled else 0)
"""


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_job_after_warming_up_compiles_nothing(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from smalgos.cli import main; main()", "warmup", name]
    subprocess.run(command, env=environment, check=True)
    a, rows, model = algorithm(name), tmp_path / "rows.csv", tmp_path / "model"
    asked = ["predict", str(model), str(rows), "--output", str(tmp_path / "out")]
    if a.texts:
        write(rows, warmup.text_rows(a), content_type=a.content_type)
        asked += ["--content-type", a.content_type]
    else:
        numbers = ([i % 2, *(i * j % 11 for j in range(warmup.N_FEATURES))] for i in range(3000))
        rows.write_text("".join(",".join(map(str, row)) + "\n" for row in numbers))
        asked += ["--label-size", "1"]
    given = next(iter(warmup.varieties(a)))
    words = [part for n, v in given.items() for part in ("-p", f"{n}={v}")]
    train = ["train", name, "--train", str(rows), "--output", str(model), *words]
    train += ["--content-type", a.content_type] if a.texts else []
    train += ["--test", str(rows)] if "test" in a.known_channels else []
    arguments = [train, asked]
    code = JOB.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
