"""convert: rows from each format to each, kept to the last bit."""

import gzip
import io
import os
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smalgos.cli import main
from smalgos.formats import Block, Csr, read, write
from smalgos.formats.content_type import FORMATS, columns

SUFFIXES = [".csv", ".pbr", ".svm", ".parquet"]
JSON = [".json", ".jsonl"]  # of features alone


def some_rows(n: int = 500, *, width: int = 7) -> Block:
    """Rows with columns of zeros at both ends, huge and tiny numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)) * 10.0 ** rng.integers(-45, 38, (n, width))
    x[:, [0, -1]] = 0
    x[rng.random((n, width)) < 0.5] = 0
    return Block.of(x.astype(np.float32), rng.normal(size=n).astype(np.float32))


def dense(features: Any) -> Any:
    return features.toarray() if isinstance(features, Csr) else features


def assert_same(a: Block, b: Block) -> None:
    assert a.columns.keys() == b.columns.keys()
    for name in a.columns:
        assert dense(a[name]).dtype == dense(b[name]).dtype
        assert np.array_equal(dense(a[name]), dense(b[name]))


@pytest.mark.parametrize(("first", "second"), [*product(SUFFIXES, SUFFIXES)])
def test_every_pair_keeps_every_row(first: str, second: str, tmp_path: Path, invoke: Any) -> None:
    rows = some_rows()
    names = [tmp_path / f"{i}{suffix}" for i, suffix in enumerate((first, second, first))]
    write(names[0], rows)
    for source, target in pairwise(names):
        done = invoke("convert", source, target)
        assert done.exit_code == 0, done.output
        assert done.output == ""
        assert_same(read(target), rows)


UNLABELLED = {".csv": ("--label-size", 0), ".svm": ("--drop", "labels")}  # libsvm has always some


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in product(SUFFIXES + JSON, repeat=2) if set(pair) & set(JSON)],
)
def test_every_pair_with_json_keeps_every_row(
    first: str, second: str, tmp_path: Path, invoke: Any
) -> None:
    rows = Block.of(some_rows(100).features)
    names = [tmp_path / f"{i}{suffix}" for i, suffix in enumerate((first, second, first))]
    write(names[0], rows)
    for source, target in pairwise(names):
        done = invoke("convert", source, target, *UNLABELLED.get(source.suffix, ()))
        assert done.exit_code == 0, done.output
        assert done.output == ""
        typed = "text/csv; label_size=0" if target.suffix == ".csv" else None
        assert np.array_equal(dense(read(target, typed).features), rows.features)


def test_sparse_rows_stay_sparse(tmp_path: Path, invoke: Any) -> None:
    wide = "0 0:0.5 99999:2\n0 \n0 7:-3e-45 8:3.4028235e38\n"
    names = [tmp_path / name for name in ("a.svm", "b.jsonl", "c.json", "d.jsonl.gz", "e.svm")]
    names[0].write_text(wide)
    for source, target in pairwise(names):
        done = invoke("convert", source, target, *UNLABELLED.get(source.suffix, ()))
        assert done.exit_code == 0, done.output
    assert names[1].read_text().splitlines()[0] == (
        '{"data": {"features": {"keys": [0, 99999], "shape": [100000], "values": [0.5, 2]}}}'
    )
    assert gzip.decompress(names[3].read_bytes()) == names[1].read_bytes()
    features = read(names[-1]).features
    assert isinstance(features, Csr)
    assert np.array_equal(features.toarray(), read(names[0]).features.toarray())


def test_json_in_pipes(invoke: Any) -> None:
    lines = b'{"features": [1, 2.5]}\n{"id": 7, "features": [3, 4]}\n'
    typed = ("--from", "application/jsonlines", "--to")
    done = invoke("convert", "-", "-", *typed, "application/json", input=lines)
    document = done.stdout_bytes
    assert document == b'{"instances": [{"features": [1, 2.5]}, {"features": [3, 4]}]}\n'
    done = invoke("convert", "-", "-", "--to", "csv", input=document)  # its first bytes tell
    assert done.stdout == "1,2.5\n3,4\n"


@pytest.mark.parametrize("suffix", JSON)
def test_what_json_cannot_hold(suffix: str, tmp_path: Path, invoke: Any) -> None:
    source, target = tmp_path / "a.csv", tmp_path / f"b{suffix}"
    source.write_text("1,2\n3,inf\n")
    done = invoke("convert", source, target)
    assert done.exit_code == 1
    assert "cannot hold labels: leave them out by --drop labels" in done.output
    done = invoke("convert", source, target, "--drop", "labels")
    assert done.exit_code == 1
    assert "JSON has no NaN and no infinity" in done.output
    assert not target.exists()


def test_weights_and_groups(tmp_path: Path, invoke: Any) -> None:
    n = 50
    rows = some_rows(n).replace(
        weights=np.linspace(0, 1, n, dtype=np.float32), groups=np.arange(n) // 7
    )
    start, there, back = (tmp_path / name for name in ("a.svm", "b.parquet", "c.svm.gz"))
    write(start, rows)
    for source, target in ((start, there), (there, back)):
        assert invoke("convert", source, target).exit_code == 0
        assert_same(read(target), rows)
    assert gzip.decompress(back.read_bytes()) == start.read_bytes()
    csv = tmp_path / "d.csv"
    refused = invoke("convert", there, csv)
    assert refused.exit_code == 1
    assert "text/csv cannot hold groups: leave them out by --drop groups" in refused.output
    assert not csv.exists()
    assert invoke("convert", there, csv, "--drop", "groups").exit_code == 0
    weighted = ("--from", "text/csv; weights=1")
    assert invoke("convert", csv, tmp_path / "e.parquet", *weighted).exit_code == 0
    assert_same(read(tmp_path / "e.parquet"), rows_without(rows, "groups"))
    done = invoke("convert", start, tmp_path / "f.pbr", "--drop", "groups")
    assert "cannot hold weights" in done.output


def rows_without(rows: Block, name: str) -> Block:
    return Block({n: c for n, c in rows.columns.items() if n != name})


def test_labels(tmp_path: Path, invoke: Any) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.parquet"
    source.write_text("1,2,3\n4,5,6\n")
    assert invoke("convert", source, target, "--label-size", 0).exit_code == 0
    assert read(target).columns.keys() == {"features"}
    assert invoke("convert", source, target, "--label-size", 2).exit_code == 0
    assert read(target).labels.tolist() == [[1, 2], [4, 5]]
    done = invoke("convert", target, tmp_path / "c.svm")
    assert done.exit_code == 1
    assert "rows have one label, these have 2" in done.output
    assert invoke("convert", target, tmp_path / "c.svm", "--drop", "labels").exit_code == 0
    assert (tmp_path / "c.svm").read_text() == "0 0:3\n0 0:6\n"


def test_a_folder(tmp_path: Path, invoke: Any) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        (tmp_path / "in" / f"{i}.svm").write_text(f"{i} {i + 1}:1\n")
    assert invoke("convert", tmp_path / "in", tmp_path / "out.csv").exit_code == 0
    assert (tmp_path / "out.csv").read_text() == "0,1,0,0\n1,0,1,0\n2,0,0,1\n"


def test_pipes(tmp_path: Path, invoke: Any) -> None:
    given = b"1,2,3\n4,5,6\n"
    done = invoke("convert", "-", "-", "--to", "libsvm", input=given)
    assert done.stdout == "1 0:2 1:3\n4 0:5 1:6\n"
    done = invoke("convert", "-", "-", "--to", "parquet", input=given)
    table = done.stdout_bytes
    assert read(table).features.tolist() == [[2, 3], [5, 6]]
    again = invoke("convert", "-", "-", "--from", "parquet", "--to", "csv", input=table)
    assert again.stdout_bytes == given
    typed = ("--from", "text/libsvm; base=1; width=4", "--to", "csv")
    assert invoke("convert", "-", "-", *typed, input=b"1 1:2\n").stdout == "1,2,0,0,0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,x\n", "a.csv, row 2, column 2: 'x' is not a number"),
        ("", "a.csv: no rows"),
        ("1,2\n" * 700_000 + "1\n", "a.csv, row 700001 has 1 column"),
    ],
)
def test_nothing_is_left_of_what_fails(
    text: str, message: str, tmp_path: Path, invoke: Any
) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.parquet"
    source.write_text(text)
    target.write_text("what was there")
    done = invoke("convert", source, target)
    assert done.exit_code == 1
    assert message in done.output
    assert target.read_text() == "what was there"
    assert len(os.listdir(tmp_path)) == 2


def test_names_that_tell_nothing(tmp_path: Path, invoke: Any, rows: Path) -> None:
    done = invoke("convert", rows, tmp_path / "b")
    assert done.exit_code == 1
    assert "the name does not tell the format; give --to: " in done.output
    assert invoke("convert", tmp_path / "none.csv", tmp_path / "b.svm").exit_code == 1


def test_the_bar_counts_bytes(
    rows: Path, tmp_path: Path, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    monkeypatch.setattr("sys.stderr", said)
    main(["convert", str(rows), str(tmp_path / "b.svm")], standalone_mode=False)
    assert "100%" in said.getvalue()


def test_the_help_says_what_formats_hold(invoke: Any) -> None:
    said = invoke("convert", "--help").output
    for form in FORMATS:
        if form.type.endswith(("json", "jsonlines")) or form.texts == "only":
            continue
        line = next(s for s in said.splitlines() if s.strip().startswith(form.type))
        for name in ("weights", "groups"):
            assert (name in line) == (name in columns(form.type)), line
