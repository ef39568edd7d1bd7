"""JSON and JSON Lines in and out: one grammar, against Python's json number by number."""

import io
import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalgos.errors import UserError
from smalgos.formats import csv, json_document, json_rows, jsonlines
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import reader
from tests.reference import json_rows as reference

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


class Trickle(io.BytesIO):
    """A file that gives a few bytes at a time, as pipes do."""

    def read(self, n: int | None = -1) -> bytes:
        return super().read(min(n or 1, random.Random(self.tell()).randint(1, 50)))


def lines(data: bytes, **options: Any) -> Block:
    """All rows of JSON Lines, with the blocks' numbering checked."""
    blocks = list(jsonlines.read_blocks(io.BytesIO(data), "rows.jsonl", **options))
    assert [b.start for b in blocks] == np.cumsum([0] + [len(b) for b in blocks])[:-1].tolist()
    whole = [b.replace(features=dense(b)) for b in blocks]
    return Block.join(whole) if whole else Block({"features": np.empty((0, 0), np.float32)})


def document(data: bytes, **options: Any) -> Block:
    """All rows of a document."""
    blocks = list(json_document.read_blocks(io.BytesIO(data), "rows.json", **options))
    return Block.join(blocks) if blocks else Block({"features": np.empty((0, 0), np.float32)})


def dense(block: Block) -> np.ndarray:
    features = block.features
    assert features.dtype == np.float32
    return features.toarray() if isinstance(features, Csr) else features


def bits(a: np.ndarray) -> list[Any]:
    return [a.shape, a.astype(np.float32).tobytes()]


def written(rows: list[Any]) -> tuple[bytes, bytes]:
    """Rows as lines and as a document."""
    texts = [json.dumps(row) for row in rows]
    return "\n".join(texts).encode(), f'{{"instances": [{", ".join(texts)}]}}'.encode()


# The grammar ---------------------------------------------------------------------------------

FORMS = [
    {"features": [1.5, 16.0, 14.0, 23.0]},
    {"data": {"features": {"values": [1.5, 16.0, 14.0, 23.0]}}},
    {"data": {"features": {"values": [1.5, 16.0, 14.0, 23.0], "shape": [4]}}},
    {"data": {"features": {"values": [1.5, 16.0, 14.0, 23.0], "shape": [2, 2]}}},
    {"data": {"features": {"keys": [3, 0, 2, 1], "shape": [4], "values": [23, 1.5, 14, 16]}}},
    {"features": [1.5, 16, 14, 23], "configuration": {"k": 2}, "id": "a", "label": None},
    {"data": {"features": {"values": [1.5, 16, 14, 23], "keys": None}, "other": {"values": "x"}}},
    {"features": ["1.5", 16, "1.4e1", " 23 "]},
    {"data": {"features": {"keys": ["3", 0, 2, 1], "shape": ["4"], "values": [23, "1.5", 14, 16]}}},
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_row(form: Any) -> None:
    expected = np.float32([[1.5, 16, 14, 23]])
    a, b = written([form])
    assert (dense(lines(a)) == expected).all()
    assert (dense(document(b)) == expected).all()
    with_more = b[:-1] + b', "configuration": {"verbose": "true"}}'
    assert (dense(document(with_more)) == expected).all()


def test_dense_rows_stay_dense_and_forms_may_be_mixed() -> None:
    a, b = written(FORMS[:4])
    assert isinstance(document(b).features, np.ndarray)
    a, b = written(FORMS)
    features = document(b).features
    assert isinstance(features, Csr)
    assert (features.toarray() == np.float32([1.5, 16, 14, 23])).all()
    assert dense(lines(a, chunk_bytes=60)).shape == (9, 4)


def test_kinds_do_not_change_back() -> None:
    sparse = {"data": {"features": {"keys": [1], "shape": [2], "values": [5]}}}
    a, _ = written([{"features": [1, 2]}, sparse, {"features": [0, 3]}])
    blocks = list(jsonlines.read_blocks(io.BytesIO(a), "x", chunk_bytes=10))
    assert [type(b.features) for b in blocks] == [np.ndarray, Csr, Csr]
    assert blocks[2].features.indices.tolist() == [0, 1]  # a dense row has all its columns


def test_a_row_of_zeros() -> None:
    for tensor in ({"keys": [], "shape": [3], "values": []}, {"shape": [3], "values": []}):
        _, b = written([{"data": {"features": tensor}}])
        assert bits(dense(document(b))) == bits(np.zeros((1, 3)))


def test_entries_of_one_column_are_added() -> None:
    tensor = {"keys": [2, 2], "shape": [3], "values": [1, 0.5]}
    _, b = written([{"data": {"features": tensor}}])
    assert dense(document(b)).tolist() == [[0, 0, 1.5]]


def test_lines_may_be_blank_end_in_any_way_and_trickle() -> None:
    data = b'\xef\xbb\xbf\n{"features": [1]}\r\n\r\n  \n\t{"features": [2]} \n{"features":[3]}'
    assert dense(lines(data)).tolist() == [[1], [2], [3]]
    trickled = list(jsonlines.read_blocks(Trickle(data), "x"))
    assert dense(Block.join(trickled)).tolist() == [[1], [2], [3]]
    assert len(lines(b"")) == len(lines(b" \n\n")) == 0


def test_documents_trickle() -> None:
    data = b'\xef\xbb\xbf {"instances":\r\n\t[{"features": [1]}, {"features": [2]}]}\n '
    (block,) = json_document.read_blocks(Trickle(data), "x")
    assert dense(block).tolist() == [[1], [2]]
    assert len(document(b'{"instances": []}')) == 0


NUMBER = r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?"


NUMBER = r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?"


@settings(deadline=None)
@given(st.from_regex(NUMBER, fullmatch=True))
@example("1.00000017881393432617187499")  # one bit short of halfway between two float32
@example("1.00000017881393421514957253748434595763683319091796875001")
@example("16777217")
@example("123456789012345678901234567890123456789012345")
@example("-0")
@example("1e400")
@example("7.006492321624085e-46")
def test_numbers_mean_what_they_mean_in_csv(text: str) -> None:
    a = lines(f'{{"features": [{text}]}}'.encode())
    b = next(csv.read_blocks(io.BytesIO(f"{text}\n".encode()), "x", label_size=0))
    assert bits(a.features) == bits(b.features)


def test_a_number_of_any_length() -> None:
    digits = "9" * 100_000
    data = f'{{"features": [{digits}, 0.{digits}]}}'.encode()
    assert lines(data).features.tolist() == [[np.inf, 1]]


# Refusals ------------------------------------------------------------------------------------

DEEP = "no JSON that can be read: lists or objects are nested too deeply"
DENSE = '{"features": [1, 2]}'


def sparse(**members: Any) -> str:
    tensor = {"keys": [0], "shape": [2], "values": [1], **members}
    return json.dumps({"data": {"features": {k: v for k, v in tensor.items() if v != "gone"}}})


REFUSED = [
    ("[1, 2]", r'a list of 2 is no row: write \{"features"'),
    ("null", "null is no row"),
    ("7", "7 is no row"),
    ("{}", "no features: write"),
    ('{"data": {}}', "no features: write"),
    ('{"data": 1}', "no features: write"),
    ('{"data": {"features": [1, 2]}}', "no features: write"),
    ('{"fetures": [1, 2]}', "no features: write"),
    ('{"features": [1, 2], "data": {}}', 'both "features" and "data"'),
    ('{"features": 1}', "1 in the place of a list of features"),
    ('{"features": {"values": [1, 2]}}', "an object in the place of a list"),
    ('{"features": null}', "null in the place of a list"),
    ('{"features": []}', "no features: an empty list"),
    ('{"features": ["one", 2]}', "feature 1 is no number but 'one': write a number"),
    ('{"features": [2, "nan"]}', "feature 2 is no number but 'nan': write a number"),
    ('{"features": [2, "1_0"]}', "feature 2 is no number but '1_0': write a number"),
    ('{"features": [2, ""]}', "feature 2 is no number but '': write a number"),
    ('{"features": [1, null]}', "feature 2 is no number but null: fill in missing values first"),
    ('{"features": [1, true]}', "feature 2 is no number but true: write 0 or 1"),
    ('{"features": [[1, 2]]}', "feature 1 is no number but a list of 2: write one flat list"),
    ('{"features": [1, {}]}', "feature 2 is no number but an object"),
    ('{"features": [1, NaN]}', "NaN is no JSON: fill in missing values"),
    ('{"features": [1, -Infinity]}', "-Infinity is no JSON"),
    ('{"features": [1, 02]}', "no JSON: Expecting ',' delimiter at character 19"),
    ('{"features": [1, .5]}', "no JSON: Expecting value at character"),
    ('{"features": [1, +5]}', "no JSON: Expecting value at character"),
    ('{"features": [1, 5.]}', "no JSON: Expecting ',' delimiter at character"),
    ('{"features": [1, 2]', "no JSON: Expecting ',' delimiter at character"),
    ('{"features": [1, 2,]}', "no JSON: .* at character"),
    ("{'features': [1, 2]}", "no JSON: Expecting property name"),
    ("features", "no JSON: Expecting value at character 1"),
    ('{"features": [1, 2], "features": [1, 2]}', "'features' is given twice in one object"),
    ('{"features": [1, 2], "a": {"b": 1, "b": 1}}', "'b' is given twice in one object"),
    ('{"features": [1, 2, 3]}', "has 3 features where row 1 has 2: all rows need the same"),
    (sparse(shape=[3]), "has 3 features where row 1 has 2"),
    (sparse(shape="gone"), '"keys" without a "shape": write the number of columns'),
    (sparse(shape=2), "2 in the place of a list of sizes"),
    (sparse(shape=[]), 'an empty "shape"'),
    (sparse(shape=[0]), '"shape" holds 0: sizes are whole numbers from 1 on'),
    (sparse(shape=[-2]), '"shape" holds -2'),
    (sparse(shape=[1.5]), '"shape" holds 1.5'),
    (sparse(shape=["2x"]), "size 1 is no number but '2x'"),
    (sparse(shape=[2**31]), 'a "shape" of more than 2147483647 columns'),
    (sparse(shape=[1e300] * 1000), 'a "shape" of more than'),
    (sparse(keys=[2]), "the key 2 must be a column, a whole number from 0 to 1"),
    (sparse(keys=[-1]), "the key -1 must be a column"),
    (sparse(keys=[0.5]), "the key 0.5 must be a column"),
    (sparse(keys=[1e400]), "Infinity is no JSON"),
    (sparse(keys=["a"]), "key 1 is no number but 'a': write a number"),
    (sparse(keys=[True]), "key 1 is no number but true"),
    (sparse(keys=[0, 1]), "2 keys for 1 value: one for each"),
    (sparse(keys={"0": 1}), "an object in the place of a list of keys"),
    (sparse(keys="gone"), '1 value with a "shape" of 2: write the right shape or none'),
    (sparse(values=[None]), "value 1 is no number but null"),
    (sparse(values="gone"), 'no "values" among the features'),
    (sparse(values=None), "null in the place of a list of values"),
    (sparse(value=[1]), "'value' is unknown among the features: use"),
    ('{"features": ["\\ud800"]}', r"feature 1 is no number but '\\ud800'"),
    ('{"features": [1, 2], "x": ' + "[" * 100_000 + "]" * 100_000 + "}", DEEP),
    ("[" * 100_000, DEEP),
    ('{"a":' * 100_000, DEEP),
]


@pytest.mark.parametrize(("row", "said"), REFUSED)
def test_what_is_refused(row: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^rows\.jsonl, row 2: {said}"):
        lines(f"{DENSE}\n\n{row}\n{DENSE}\n".encode())
    with pytest.raises(UserError, match=r"^rows\.json\b") as refused:
        document(f'{{"instances": [{DENSE}, {row}, {DENSE}]}}'.encode())
    if "JSON" not in said and "twice" not in said:
        assert str(refused.value).startswith("rows.json, row 2: ")
    with pytest.raises(reference.Bad):
        reference.lines(f"{DENSE}\n{row}\n".encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"features": [1]}', '^rows.json: an object without "instances": write .*jsonlines'),
        (b"[[1]]", "^rows.json: a list of 1: write"),
        (b'{"instances": {"features": [1]}}', '^rows.json: "instances" is an object: write a list'),
        (b'{"instances": [{"features": [1]}]', "no JSON: Expecting ',' delimiter at character 34"),
        (b'{"instances": [{"features": [1]}]}]', "more follows the document at character 35"),
        (b'{"instances": []} {"instances": []}', "more follows the document at character 19"),
        (b" ", "no JSON: Expecting value at character 2"),
        (b'{"instances": [{"features": [1]}], "x": "\xff"}', "byte 42 is no UTF-8"),
        ('{"instances": []}'.encode("utf-16"), "byte 1 is no UTF-8"),
    ],
)
def test_documents_that_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        document(data)
    with pytest.raises(reference.Bad):
        reference.document(data)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"instances": [{"features": [1]}]}', '"instances" belong to application/json'),
        (b'{"features": [1]} {"features": [2]}', "more follows the object at character 19"),
        (b'{"features": [1]}\x0b', "more follows the object at character 18"),
        (b'{"id": "\xff", "features": [1]}', "byte 9 of the line is no UTF-8"),
    ],
)
def test_lines_that_are_refused(line: bytes, said: str) -> None:
    with pytest.raises(UserError, match=rf"^rows\.jsonl, row 2: .*{said}"):
        lines(b'{"features": [1]}\n' + line)
    with pytest.raises(reference.Bad):
        reference.lines(line)


def test_a_width_that_is_given() -> None:
    a, b = written([{"features": [1, 2]}])
    assert len(lines(a, width=2)) == len(document(b, width=2)) == 1
    said = "row 1: has 2 features where 3 are expected"
    for read, data in ((lines, a), (document, b)):
        with pytest.raises(UserError, match=said):
            read(data, width=3)


def test_what_is_held_in_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    _, b = written([{"features": [1, 2]}])
    assert len(document(b, limit=len(b))) == 1
    with pytest.raises(UserError, match="longer than 36 bytes, and a JSON document is held in"):
        document(b, limit=len(b) - 1)
    monkeypatch.setattr(jsonlines, "MAX_LINE_BYTES", 1000)
    with pytest.raises(UserError, match="row 2: longer than 1000 bytes: there is no line end"):
        lines(b'{"features": [1]}\n' + b" " * 2000, chunk_bytes=100)


def test_a_wide_row_takes_no_room() -> None:
    tensor = {"keys": [2**31 - 2], "shape": [2**31 - 1], "values": [1]}
    _, b = written([{"data": {"features": tensor}}] * 3)
    features = document(b).features
    assert features.shape == (3, 2**31 - 1)
    assert features.indices.tolist() == [2**31 - 2] * 3


# Round trips ---------------------------------------------------------------------------------

tables = st.tuples(st.integers(0, 6), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=finite)
)


@settings(deadline=None)
@given(tables, st.booleans(), st.integers(1, 200))
def test_what_is_written_is_read_back(table: np.ndarray, as_sparse: bool, chunk: int) -> None:
    block = Block({"features": Csr.of(table) if as_sparse else table})
    expected = bits(dense(block)) if len(table) else bits(np.empty((0, 0)))
    a, b = jsonlines.encode(block), json_document.encode(block)
    assert bits(dense(lines(a, chunk_bytes=chunk))) == expected
    assert bits(dense(document(b))) == expected
    assert a.count(b"\n") == len(table)
    file = io.BytesIO()
    json_document.write_blocks(file, block.batches(2))
    assert file.getvalue() == b


def test_texts_that_are_written() -> None:
    rows = np.float32([[0.5, 2], [0, -0.0]])
    assert jsonlines.encode(Block.of(rows)) == b'{"features": [0.5, 2]}\n{"features": [0, -0]}\n'
    assert json_document.encode(Block.of(rows[:1])) == b'{"instances": [{"features": [0.5, 2]}]}\n'
    assert json_document.encode(Block.of(rows[:0])) == b'{"instances": []}\n'
    assert jsonlines.encode(Block({"features": Csr.of(rows)[1:]})) == (
        b'{"data": {"features": {"keys": [], "shape": [2], "values": []}}}\n'
    )


def test_many_rows_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.arange(30, dtype=np.float32).reshape(10, 3)
    blocks = [Block({"features": f}) for f in (table, Csr.of(table))]
    whole = [jsonlines.encode(b) for b in blocks]
    monkeypatch.setattr(json_rows, "_CELLS", 7)
    assert [jsonlines.encode(b) for b in blocks] == whole


def test_what_cannot_be_written() -> None:
    rows, column = np.ones((2, 2), np.float32), np.ones(2, np.float32)
    with pytest.raises(UserError, match="features alone: leave out labels"):
        jsonlines.encode(Block.of(rows, column))
    with pytest.raises(UserError, match="leave out weights"):
        json_document.encode(Block.of(rows, weights=column))
    for bad in (np.nan, np.inf):
        for features in (np.float32([[1, bad]]), Csr.of(np.float32([[1, bad]]))):
            with pytest.raises(UserError, match="no NaN and no infinity"):
                jsonlines.encode(Block({"features": features}))


# Mutants -------------------------------------------------------------------------------------

SEEDS = [*written(FORMS), *written([{"features": [1, 2.5e3]}, json.loads(sparse())])]
SCRAPS = [b"\n", b"\r", b" "]
SCRAPS += b"""{ } [ ] , : " 0 1 - . e \\ null true NaN "features" "data" "keys" "shape" \xff 1e99
    2147483648 "instances" \xef\xbb\xbf \x00 /""".split()


def mutant(seed: bytes, r: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(r.randint(1, 3)):
        at = r.randrange(len(data) + 1)
        upto = min(len(data), at + r.choice([0, 0, 1, 1, 2, 9]))
        data[at:upto] = r.choice([b"", r.choice(SCRAPS), bytes(data[: r.randrange(1, 30)][-9:])])
    return bytes(data)


def verdict(read: Any, data: bytes) -> Any:
    try:
        return bits(read(data))
    except (UserError, reference.Bad) as e:
        return "too wide" if "too wide" in str(e) else "refused"


def check_mutants(n: int) -> int:
    r, taken = random.Random(n), 0
    for i in range(n):
        data = mutant(SEEDS[i % len(SEEDS)], r)
        for slow, ours in ((reference.lines, lines), (reference.document, document)):
            expected = verdict(slow, data)
            if expected == "too wide":
                continue
            got = verdict(lambda data, ours=ours: dense(ours(data)), data)
            if expected == bits(np.empty(0)):
                expected = bits(np.empty((0, 0)))
            assert got == expected, data
            taken += got != "refused"
    return taken


def test_mutants_are_refused_or_read_alike() -> None:
    assert check_mutants(3000) > 100


@pytest.mark.slow
def test_many_mutants() -> None:
    assert check_mutants(100_000) > 3000


def test_the_registry_knows_both() -> None:
    a, b = written([{"features": [1, 2]}])
    for content_type, data in (
        ("application/x-jsonlines; charset=utf-8", a),
        ("application/jsonl", a),
        ("Application/JSON; charset=UTF-8", b),
    ):
        (block,) = reader(content_type, label_size=0, width=2)(io.BytesIO(data), "x")
        assert block.features.tolist() == [[1, 2]]
