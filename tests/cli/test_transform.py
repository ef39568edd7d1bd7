"""predict as batch transform: folders, records, filters, joined answers."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smalgos import batch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Paths of several types; one of them has a bad record."""
    where = tmp_path / "in"
    (where / "more").mkdir(parents=True)
    (where / "a.csv").write_text("1,2\n3,4\n")
    (where / "more" / "b.csv").write_text("5,6\n7,x\n")
    (where / "c.csv.gz").write_bytes(gzip.compress(b"0.5,1\n"))
    (where / "d.jsonl").write_text('{"features": [1, 2]}\n')
    (where / "_skipped").write_text("x")
    return where


def test_a_folder_of_files(trained: Path, folder: Path, tmp_path: Path, invoke: Any) -> None:
    out = tmp_path / "out"
    (out / "more").mkdir(parents=True)
    (out / "more" / "b.csv.out").write_text("of an earlier run")
    said = invoke("predict", trained, folder, "--output", out, "--accept", "text/csv")
    assert said.exit_code == 1
    assert "more/b.csv: b.csv, row 2, column 2: 'x' is not a number" in said.stderr
    assert said.stderr.splitlines()[-1] == "Error: no answers for 1 of 4 files: more/b.csv"
    found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert found == ["a.csv.out", "c.csv.gz.out", "d.jsonl.out"]
    assert len((out / "a.csv.out").read_text().splitlines()) == 2
    assert (out / "a.csv.out").read_text().splitlines()[0] == (out / "d.jsonl.out").read_text()[:-1]


def test_a_file_into_a_folder(trained: Path, folder: Path, tmp_path: Path, invoke: Any) -> None:
    data = folder / "a.csv"
    assert invoke("predict", trained, data, "--output", tmp_path).exit_code == 0
    assert (tmp_path / "a.csv.out").read_text() == invoke("predict", trained, data).stdout
    said = invoke("predict", trained, "-", "--output", tmp_path, input=b"1,2\n")
    assert "is a folder: name a file" in said.stderr


def test_one_document_of_all_rows(trained: Path, folder: Path, invoke: Any) -> None:
    lines = invoke("predict", trained, folder / "a.csv").stdout.splitlines()
    said = invoke("predict", trained, folder / "a.csv", "--accept", "application/json")
    assert json.loads(said.stdout) == {"predictions": [json.loads(line) for line in lines]}


def test_join_on_the_command_line(trained: Path, tmp_path: Path, invoke: Any) -> None:
    data = tmp_path / "ids.csv"
    data.write_text("a,1,2\nb,3,4\n")
    plain = tmp_path / "plain.csv"
    plain.write_text("1,2\n3,4\n")
    answers = invoke("predict", trained, plain, "--accept", "text/csv").stdout.splitlines()
    filters = ("--input-filter", "$[1:]", "--join", "input")
    said = invoke("predict", trained, data, *filters)
    expected = [f"{row},{answer}" for row, answer in zip(("a,1,2", "b,3,4"), answers, strict=True)]
    assert said.stdout.splitlines() == expected
    said = invoke("predict", trained, data, *filters, "--output-filter", "$[0,-1]")
    assert said.stdout.splitlines() == [
        f"{name},{answer.rpartition(',')[2]}" for name, answer in zip("ab", answers, strict=True)
    ]
    said = invoke(
        "predict", trained, "-", *filters, "--content-type", "text/csv", input=data.read_bytes()
    )
    assert said.stdout.splitlines() == expected
    said = invoke("predict", trained, data, "--input-filter", "$[1:2]", "--inclusive-slices")
    assert said.stdout.splitlines() == answers


def test_documents_on_lines(trained: Path, tmp_path: Path, invoke: Any) -> None:
    data = tmp_path / "in.json"
    data.write_text('{"instances": [{"features": [1, 2]}, {"features": [3, 4]}]}\n' * 2)
    said = invoke("predict", trained, data, "--split", "line", "--accept", "application/json")
    first, second = (json.loads(line) for line in said.stdout.splitlines())
    assert first == second
    assert len(first["predictions"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.csv", "--input-filter", "x"), "--input-filter 'x', character 1"),
        (("a.csv", "--join", "input", "--accept", "application/json"), "--accept text/csv"),
        (("a.csv", "--split", "record"), "text/csv cannot be split by record: give --split line"),
        (("a.csv", "--split", "none", "--join", "input"), "leave out --split none"),
        (("a.csv", "--join", "input", "--content-type", "text/libsvm"), "take CSV, JSON and JSON"),
        (("", "--join", "input"), "is a folder, answered file by file: give --output"),
        (("-", "--join", "input"), "of standard input need --content-type"),
        (("a.csv", "--output", "a.csv/x"), "a.csv/x"),
        (("", "--output", "a.csv"), "a.csv"),
    ],
)
def test_what_the_command_refuses(
    trained: Path, folder: Path, invoke: Any, arguments: Any, said: str
) -> None:
    data, *options = arguments
    options = [folder / o if o.startswith("a.csv") else o for o in options]
    result = invoke(
        "predict", trained, data if data == "-" else folder / data, *options, input=b"1"
    )
    assert result.exit_code == 1, result.output
    assert said in result.stderr.splitlines()[-1]
    assert isinstance(result.exception, SystemExit)


def test_answers_of_records_do_not_depend_on_blocks(
    trained: Path, tmp_path: Path, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "in.jsonl"
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    data.write_text(
        "".join(f'{{"id": {i}, "features": {r.tolist()}}}\n' for i, r in enumerate(rows))
    )
    whole = invoke("predict", trained, data, "--join", "input").stdout
    assert [json.loads(line)["id"] for line in whole.splitlines()] == list(range(50))
    monkeypatch.setattr(batch, "ROWS", 7)
    assert invoke("predict", trained, data, "--join", "input").stdout == whole
