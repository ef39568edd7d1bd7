"""Records of batch transform: paths, filters, joined answers, by JSON's and CSV's own readers."""

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.batch.paths import Missing, Path
from smalgos.batch.records import CsvRecords, JsonRecords, Processing
from smalgos.errors import UserError
from smalgos.formats.content_type import reader
from smalgos.formats.csv import read_blocks

# Paths ---------------------------------------------------------------------------------------

RECORD = {"id": 7, "features": [1, 2, 3, 4, 5], "a b": {"x": [0], "y": None}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", RECORD),
        ("$.id", 7),
        ("$['id']", 7),
        ("$['a b'].x", [0]),
        ("$['a b']['y']", None),
        ("$['a b'].*", [[0], None]),
        ("$.features[*]", [1, 2, 3, 4, 5]),
        ("$['id','features']", {"id": 7, "features": [1, 2, 3, 4, 5]}),
        ("$[ 'id' , 'id' ]", {"id": 7}),
        ("$.features[0]", 1),
        ("$.features[-1]", 5),
        ("$.features[0,-1]", [1, 5]),
        ("$.features[ -1 , 0 ]", [5, 1]),
        ("$.features[1:4]", [2, 3, 4]),
        ("$.features[1:]", [2, 3, 4, 5]),
        ("$.features[:2]", [1, 2]),
        ("$.features[:]", [1, 2, 3, 4, 5]),
        ("$.features[-2:]", [4, 5]),
        ("$.features[:-1]", [1, 2, 3, 4]),
        ("$.features[7:9]", []),
    ],
)
def test_paths(path: str, expected: Any) -> None:
    assert Path.parse(path).select(RECORD) == expected


def test_slices_may_hold_their_end() -> None:
    for path, expected in (("$[1:3]", [1, 2, 3]), ("$[:-1]", [0, 1, 2, 3, 4]), ("$[3:]", [3, 4])):
        assert Path.parse(path, inclusive=True).select([0, 1, 2, 3, 4]) == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "character 1: a path begins with"),
        ("id", "character 1: a path begins with"),
        ("$id", "character 2: expected .name"),
        ("$.", "character 2: expected"),
        ("$.id.", "character 5: expected"),
        ("$..id", "character 2: expected"),
        ("$[", "character 2: expected"),
        ("$[]", "character 2: expected"),
        ("$[1:2:3]", "character 2: expected"),
        ("$[1,2:3]", "character 2: expected"),
        ("$[a]", "character 2: expected"),
        ('$["id"]', "character 2: expected"),
        ("$['id]", "character 2: expected"),
        ("$['a',1]", "character 2: expected"),
        ("$[?(@.x)]", "character 2: expected"),
        ("$[0] ", "character 5: expected"),
        ("$[1:].x", "character 6: nothing may follow"),
        ("$['a','b'].c", "character 11: nothing may follow"),
        ("$.*[0]", "character 4: nothing may follow"),
        ("$." + "x" * 62, "64 characters, where 63 are allowed"),
    ],
)
def test_paths_are_read_strictly(path: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^--input-filter.*{said}"):
        Path.parse(path, "--input-filter")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("$.x", "there is no 'x'"),
        ("$['id','x']", "there is no 'x'"),
        ("$.id.x", "'x' is asked of something that is no object"),
        ("$.id[0]", "elements are asked of something that is no list"),
        ("$[0]", "elements are asked"),
        ("$.id.*", "elements are asked"),
        ("$.features[5]", "there is no element 5 among 5"),
        ("$.features[0,-6]", "there is no element -6 among 5"),
    ],
)
def test_what_records_have_not(path: str, said: str) -> None:
    with pytest.raises(Missing, match=said):
        Path.parse(path).select(RECORD)


@settings(deadline=None)
@given(st.text("$.*[]',:-0123ab _", max_size=12))
def test_any_text_is_a_path_or_an_error(text: str) -> None:
    try:
        path = Path.parse(f"${text}")
    except UserError:
        return
    for value in (RECORD, [1, [2], {"a": 3}], 4, None):
        try:
            path.select(value)
        except Missing:
            assert path.steps


# Records -------------------------------------------------------------------------------------


def processing(input: str = "$", output: str = "$", join: bool = True) -> Processing:
    return Processing(Path.parse(input), Path.parse(output), join)


def run(records: Any, data: bytes, content_type: str, cut: int = 10**6) -> tuple[Any, str]:
    """What the model gets of records, and what is written when it answers with the row's sum."""
    read = records.through(reader(content_type, label_size=0))
    features, written = [], b""
    for block in read(io.BytesIO(data), "in"):
        for part in block.batches(cut):
            rows = part.features.toarray() if hasattr(part.features, "width") else part.features
            features += rows.tolist()
            written += records.finished({"score": rows.sum(axis=1)})
    return features, (written + records.finished({})).decode()


def of_csv(data: str, encoding: str = "utf-8", delimiter: str = ",", **given: Any) -> Any:
    records = CsvRecords(processing(**given), delimiter, encoding)
    return run(
        records, data.encode(encoding), f"text/csv; delimiter={delimiter!r}".replace("'", '"')
    )


def test_csv_is_filtered_and_joined() -> None:
    data = '7,1.50,2,x\n8,3,4,"y,z"\r\n'
    features, written = of_csv(data, input="$[1:3]", output="$[0,3,-1]")
    assert features == [[1.5, 2], [3, 4]]
    assert written == '7,x,3.5\n8,"y,z",7.0\n'
    assert of_csv(data, input="$[1:3]")[1] == '7,1.50,2,x,3.5\n8,3,4,"y,z",7.0\n'
    assert of_csv(data, input="$[1:3]", join=False) == ([[1.5, 2], [3, 4]], "3.5\n7.0\n")
    assert of_csv(data, input="$[2]", output="$[1]", join=True) == ([[2], [4]], "1.50\n3\n")


def test_csv_of_other_dialects() -> None:
    assert of_csv("é;1\nü;2\n", "latin-1", ";", input="$[1:]") == ([[1], [2]], "é;1;1.0\nü;2;2.0\n")
    assert of_csv("é,1\nü,2\n", "utf-16", input="$[1:]") == ([[1], [2]], "é,1,1.0\nü,2,2.0\n")
    assert of_csv("\ufeff1,2\n\n \n") == ([[1, 2]], "1,2,3.0\n")


@pytest.mark.parametrize(
    ("data", "given", "said"),
    [
        ("1,2\n3\n", {"input": "$[1]"}, r"in, row 2: \$\[1\]: there is no element 1 among 1"),
        ("1,2\n3,x\n", {"input": "$[1:]"}, "in, row 2, column 1: 'x' is not a number"),
        ("1,2\n\n3,4\n", {}, "in, row 2 is blank"),
        ("1,2\n", {"output": "$[3]"}, r"in, row 1: \$\[3\]: there is no element 3 among 3"),
        ("1,2\n", {"input": "$.id"}, "CSV has columns without names"),
        ("1,2\n", {"output": "$[0][0]"}, "CSV has columns without names"),
        ("1," + '"' + "2\n" * 70_000, {}, "in, row 1: no CSV: field larger than"),
    ],
)
def test_csv_that_cannot_be_processed(data: str, given: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^.*{said}"):
        of_csv(data, **given)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text('ab ,"\né', min_size=1), st.integers(-99, 99), st.integers(-99, 99)),
        min_size=1,
    )
)
def test_csv_cells_come_back(rows: list[tuple[str, int, int]]) -> None:
    import csv

    text = io.StringIO()
    csv.writer(text).writerows([f"-{name}", *numbers] for name, *numbers in rows)
    features, written = of_csv(text.getvalue(), input="$[1:]")
    assert features == [list(numbers) for _, *numbers in rows]
    back = list(csv.reader(io.StringIO(written, newline="")))
    assert back == [[f"-{n}", str(a), str(b), str(float(a + b))] for n, a, b in rows]
    assert len(list(read_blocks(io.BytesIO(b"1\n"), "x", label_size=0))) == 1


def of_json(
    *texts: str, envelope: str | None = None, lines: bool = True, cut: int = 9, **given: Any
):
    records = JsonRecords(processing(**given), envelope, lines)
    features, written = run(records, "\n".join(texts).encode(), "application/jsonlines", cut)
    return features, [json.loads(line) for line in written.splitlines()]


def test_json_lines_are_filtered_and_joined() -> None:
    a = '{"id": 12345678901234567890, "features": [1, 2.50], "SageMakerOutput": 0}'
    b = '{"id": "\\ud800é", "features": [3, 4]}'
    features, written = of_json(a, "", b)
    assert features == [[1, 2.5], [3, 4]]
    assert written == [
        {"id": 12345678901234567890, "features": [1, 2.5], "SageMakerOutput": {"score": 3.5}},
        {"id": "\ud800é", "features": [3, 4], "SageMakerOutput": {"score": 7}},
    ]
    features, written = of_json(a, b, input="$.features", output="$['id','SageMakerOutput']")
    assert features == [[1, 2.5], [3, 4]]
    assert written[0] == {"id": 12345678901234567890, "SageMakerOutput": {"score": 3.5}}
    _, written = of_json(a, b, output="$.SageMakerOutput.score")
    assert written == [3.5, 7]
    assert of_json(a, b, join=False)[1] == [{"score": 3.5}, {"score": 7}]
    assert of_json(a, b, join=False, output="$.score")[1] == [3.5, 7]


def test_json_that_is_no_object_is_wrapped() -> None:
    features, written = of_json("[7, [1, 2]]", input="$[1]")
    assert features == [[1, 2]]
    assert written == [{"SageMakerInput": [7, [1, 2]], "SageMakerOutput": {"score": 3}}]


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_documents_get_documents(cut: int) -> None:
    texts = (
        '{"instances": [{"features": [1]}, {"features": [2]}], "id": 1}',
        '{"instances": []}',
        '{"instances": [{"data": {"features": {"keys": [0], "shape": [1], "values": [3]}}}]}',
        '{"instances": []}',
    )
    features, written = of_json(*texts, envelope="projections", cut=cut)
    assert features == [[1], [2], [3]]
    answers = [[{"score": 1}, {"score": 2}], [], [{"score": 3}], []]
    assert written == [
        {**json.loads(text), "SageMakerOutput": {"projections": answer}}
        for text, answer in zip(texts, answers, strict=True)
    ]
    whole = texts[0].replace(", ", ",\n")
    _, (document,) = of_json(whole, envelope="projections", lines=False, cut=cut)
    assert document == written[0]


@pytest.mark.parametrize(
    ("texts", "given", "said"),
    [
        (('{"features": [1]}', "{"), {}, "in, row 2: no JSON: Expecting property name"),
        (("[1]",), {}, "in, row 1: a list of 1 is no row"),
        (('{"features": [1], "x": 1, "x": 2}',), {}, "in, row 1: 'x' is given twice"),
        (("[" * 100_000,), {}, "in, row 1: no JSON that can be read: lists or objects are nested"),
        (('{"features": [1]}', '{"features": 1}'), {}, "in, row 2: 1 in the place of a list"),
        (('{"features": [1]}',), {"input": "$.id"}, r"in, row 1: \$\.id: there is no 'id'"),
        (('{"features": [1]}',), {"output": "$.id"}, r"in, row 1: \$\.id: there is no 'id'"),
        (('{"features": [1], "x": 1e999}',), {}, "in, row 1: .*1e999 is too large a number"),
        (('{"features": [1], "x": ' + "9" * 5000 + "}",), {}, "in, row 1: cannot be written again"),
        (("\udcff",), {}, "UTF-8"),
        (('{"instances": {}}',), {"envelope": "p"}, 'in, row 1: "instances" is an object'),
        (("{",), {"envelope": "p", "lines": False}, "in: no JSON"),
    ],
)
def test_json_that_cannot_be_processed(texts: Any, given: Any, said: str) -> None:
    records = JsonRecords(
        processing(**{k: v for k, v in given.items() if k not in ("envelope", "lines")}),
        given.get("envelope"),
        given.get("lines", True),
    )
    data = "\n".join(texts).encode("utf-8", "surrogateescape")
    with pytest.raises(UserError, match=said):
        run(records, data, "application/jsonlines")


def test_records_may_be_nested_as_deep_as_they_can_be_read() -> None:
    outcomes = []
    for depth in range(50, 1100, 3):
        deep = "[" * depth + "]" * depth
        for text, path in ((f'{{"features": [1], "x": {deep}}}', "$"), (f"[[1], {deep}]", "$[0]")):
            try:
                of_json(text, input=path)
                outcomes.append("read")
            except UserError as e:
                outcomes.append(str(e)[-17:])
    assert set(outcomes) == {"read", "nested too deeply"}
