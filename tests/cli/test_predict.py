"""predict: answers of all rows, in bounded memory, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smalgos import batch
from smalgos.algorithms import load_model
from smalgos.batch import answers
from smalgos.errors import UserError
from smalgos.formats import read
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, stream


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """The features of the training rows, without labels."""
    path = tmp_path / "features.csv"
    path.write_text("".join(f"{i}.5,{i % 7}\n" for i in range(40)))
    return path


def test_json_lines_to_standard_output(trained: Path, features: Path, invoke: Any) -> None:
    said = invoke("predict", trained, features)
    assert said.exit_code == 0
    told = [json.loads(line) for line in said.stdout.splitlines()]
    block = read(features, "text/csv; label_size=0")
    expected = load_model(trained).predict(block)
    assert list(told[0]) == ["positive", "first", "many"]  # the algorithm's order
    assert [t["first"] for t in told] == expected["first"].tolist()
    assert [t["many"] for t in told] == expected["many"].tolist()
    assert [t["positive"] for t in told] == expected["positive"].tolist()


def test_label_size_passes_labels_over(
    trained: Path, features: Path, rows: Path, invoke: Any
) -> None:
    without = invoke("predict", trained, features).stdout
    assert invoke("predict", trained, rows, "--label-size", 1).stdout == without
    typed = invoke("predict", trained, rows, "--content-type", "text/csv; label_size=1")
    assert typed.stdout == without


def test_a_label_left_in(trained: Path, rows: Path, invoke: Any) -> None:
    said = invoke("predict", trained, rows)
    assert said.exit_code == 1
    assert said.stdout == ""
    assert "rows.csv, row 1: 3 features, where the model takes 2" in said.stderr
    assert "--label-size 1" in said.stderr
    assert said.stderr.count("\n") == 1


def test_other_widths_get_no_hint(trained: Path, tmp_path: Path, invoke: Any) -> None:
    wide = tmp_path / "wide.csv"
    wide.write_text("1,2,3,4\n")
    said = invoke("predict", trained, wide)
    assert said.exit_code == 1
    assert "4 features, where the model takes 2\n" in said.stderr


def test_csv_and_standard_input(trained: Path, features: Path, invoke: Any) -> None:
    said = invoke("predict", trained, "-", "--accept", "text/csv", input=features.read_bytes())
    assert said.exit_code == 0
    positive, first, *many = said.stdout.splitlines()[3].split(",")
    assert positive == "1"
    assert many == [first] * 3


def test_records_name_their_fields(
    trained: Path, features: Path, tmp_path: Path, invoke: Any
) -> None:
    out = tmp_path / "out.pbr"
    said = invoke(
        "predict", trained, features, "--output", out, "--accept", "application/x-recordio-protobuf"
    )
    assert said.exit_code == 0, said.output
    assert out.read_bytes().count(b"positive") == 40


def test_output_is_whole_or_not_there(
    trained: Path, features: Path, tmp_path: Path, invoke: Any
) -> None:
    out = tmp_path / "out.jsonl"
    assert invoke("predict", trained, features, "--output", out).exit_code == 0
    good = out.read_bytes()
    assert good.decode() == invoke("predict", trained, features).stdout
    with open(features, "a") as file:
        file.write("1,2,3\n")
    said = invoke("predict", trained, features, "--output", out)
    assert said.exit_code == 1
    assert out.read_bytes() == good
    assert {p.name for p in tmp_path.iterdir()} == {
        "features.csv",
        "rows.csv",
        "model",
        "out.jsonl",
    }


def test_an_accept_that_cannot_be_met(trained: Path, features: Path, invoke: Any) -> None:
    said = invoke("predict", trained, features, "--accept", "image/png")
    assert said.exit_code == 1
    assert "application/jsonlines" in said.stderr


def test_answers_do_not_depend_on_blocks_or_threads(
    trained: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(trained)

    def all_answers(n_jobs: int) -> Any:
        parts = list(answers(model, stream(features, label_size=0), n_jobs=n_jobs))
        return len(parts), np.concatenate([p["many"] for p in parts])

    count, whole = all_answers(1)
    monkeypatch.setattr(batch, "ROWS", 7)
    more, cut = all_answers(3)
    assert (count, more) == (1, 6)
    assert (whole == cut).all()


def test_a_row_that_has_no_answer_is_named(trained: Path) -> None:
    model = load_model(trained)
    features = np.ones((9, 2), np.float32)
    features[6, 1] = np.nan
    with pytest.raises(UserError, match=r"row 6 .*no finite first"):
        list(answers(model, Arrays(Block.of(features))))


def test_labels_and_weights_are_passed_over(trained: Path) -> None:
    model = load_model(trained)
    features = np.float32([[1, 0], [0, 2], [0, 0]])
    column = np.zeros(3, np.float32)
    (plain,) = answers(model, Arrays(Block.of(features)))
    (labelled,) = answers(model, Arrays(Block.of(features, column, column)))
    assert (plain["many"] == labelled["many"]).all()
