"""algorithms, describe and inspect: what they say is what the code holds."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import smalgos
from smalgos.algorithms import MODULES, algorithm, load_model


def test_algorithms_names_all_of_them(invoke: Any) -> None:
    said = invoke("algorithms")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == sorted(MODULES)
    assert all(name in said.stdout for name in vars(smalgos)["_ESTIMATORS"])
    assert max(map(len, lines)) <= 100


def test_algorithms_as_json(invoke: Any) -> None:
    found = {a["name"]: a for a in json.loads(invoke("algorithms", "--json").stdout)}
    assert set(found) == set(MODULES)
    assert found["pca"]["estimators"] == ["PCA"]
    assert found["pca"]["channels"] == {"train": {"required": True}, "test": {"required": False}}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_describe_names_each_hyperparameter_once(name: str, invoke: Any) -> None:
    said = invoke("describe", name)
    assert said.exit_code == 0
    assert max(map(len, said.stdout.splitlines())) <= 100
    headlines = [
        line.split()[0].strip(",")
        for line in said.stdout.splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert headlines == list(algorithm(name).parameters.table)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_describe_as_json_holds_the_table(name: str, invoke: Any) -> None:
    told = json.loads(invoke("describe", name, "--json").stdout)
    table = algorithm(name).parameters.table
    assert [h["name"] for h in told["hyperparameters"]] == list(table)
    for given in told["hyperparameters"]:
        field = table[given["name"]]
        assert given["doc"] == field.doc
        assert given["required"] or given["default"] == field.default
        for limit in ("low", "above", "high", "below"):
            assert given.get(limit) == getattr(field, limit)


def test_describe_tells_wire_and_library_apart(tiny_algorithm: str, invoke: Any) -> None:
    said = invoke("describe", "tiny").stdout
    assert "  size, required\n      Answers per row. An integer >= 1 and <= 9.\n" in said
    assert "  flavour (or taste) = plain (Python: sweet)\n" in said
    assert "  feature_dim = auto (container only)\n" in said


@pytest.mark.parametrize("command", ["describe", "warmup"])
def test_a_misspelt_algorithm(command: str, invoke: Any) -> None:
    said = invoke(command, "linear_learner")
    assert said.exit_code == 1
    assert (
        said.stderr == "Error: unknown algorithm 'linear_learner': did you mean linear-learner?\n"
    )
    assert said.stdout == ""


def test_inspect_as_json_is_the_file(trained: Path, invoke: Any) -> None:
    told = json.loads(invoke("inspect", trained, "--json").stdout)
    model = load_model(trained)
    assert told["algorithm"] == "tiny"
    assert told["sha256"] == hashlib.sha256(trained.read_bytes()).hexdigest()
    assert told["bytes"] == trained.stat().st_size
    assert told["fields"] == {"weights": {"dtype": "float32", "shape": [2, 3]}}
    assert told["hyperparameters"] == model.notes["hyperparameters"]
    assert told["notes"]["models"] == model.notes["models"]
    assert not told["state"]


def test_inspect_a_folder(trained: Path, invoke: Any) -> None:
    said = invoke("inspect", trained.parent)
    assert said.exit_code == 0
    assert "  weights  float32, 2 x 3\n" in said.stdout
    differing = said.stdout.partition("differ from the defaults\n")[2].partition("\n\n")[0]
    assert differing == "  size  3"
    assert "feature_dim=2" in said.stdout
    assert "a table of 2 rows (shown by --models)" in said.stdout
    assert max(map(len, said.stdout.splitlines())) <= 100


def test_inspect_shows_the_candidates(trained: Path, invoke: Any) -> None:
    table = invoke("inspect", trained, "--models").stdout.rstrip().rpartition("\n\n")[2]
    assert table.splitlines() == [  # without "same", which is the same in all rows
        "   model  rate  score",
        "       0  0.25      2",
        "*      1   0.5    1.5",
    ]


def test_inspect_of_what_is_no_model(tmp_path: Path, rows: Path, invoke: Any) -> None:
    for path in (rows, tmp_path / "none", tmp_path):
        said = invoke("inspect", path)
        assert said.exit_code == 1
        assert said.stderr.startswith("Error: ")
        assert said.stderr.count("\n") == 1
        assert str(path) in said.stderr
