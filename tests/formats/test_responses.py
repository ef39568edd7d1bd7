"""Answers as bytes: every grammar read back gives the numbers that were written."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalgos.errors import UserError
from smalgos.formats import responses
from smalgos.formats.content_type import JSON
from smalgos.formats.protobuf import message_classes
from smalgos.formats.responses import ENCODERS, csv_lines, encoder, json_lines, json_list
from tests.reference.protobuf import frames

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
answers = st.integers(0, 5).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "score": arrays(np.float32, n, elements=finite),
            "predicted_label": arrays(np.int64, n, elements=st.integers(-(2**40), 2**40)),
            "projection": arrays(np.float32, (n, 3), elements=finite),
        }
    )
)


def same(text: Any, value: Any) -> bool:
    """Whether a number that was read is the float32 that was written, sign of zero included."""
    return np.float32(text).tobytes() == np.float32(value).tobytes()


@settings(deadline=None)
@given(answers)
def test_json_lines_read_back(answer: dict[str, Any]) -> None:
    lines = json_lines(answer).decode().splitlines()
    assert len(lines) == len(answer["score"])
    for i, line in enumerate(lines):
        record = json.loads(line)
        assert list(record) == list(answer)
        assert same(record["score"], answer["score"][i])
        assert record["predicted_label"] == answer["predicted_label"][i]
        assert all(map(same, record["projection"], answer["projection"][i]))


@settings(deadline=None)
@given(answers)
def test_csv_read_back(answer: dict[str, Any]) -> None:
    order = ("score", "predicted_label", "projection")
    lines = csv_lines({name: answer[name] for name in order}).decode().splitlines()
    assert len(lines) == len(answer["score"])
    for i, line in enumerate(lines):
        score, label, *projection = line.split(",")
        assert same(score, answer["score"][i])
        assert label == str(answer["predicted_label"][i])
        assert all(map(same, projection, answer["projection"][i]))


def test_floats_are_the_shortest_that_come_back() -> None:
    numbers = {"score": np.array([0.1, 1e-5, 3e20, -0.0, 1 / 3], np.float32)}
    texts = ["0.1", "0.00001", "3e+20", "-0.0", "0.33333334"]
    assert json_lines(numbers).decode().splitlines() == [f'{{"score": {t}}}' for t in texts]
    # float64 answers are float32 on the wire, as the original's are
    assert json_lines({"score": np.array([1 / 3])}) == b'{"score": 0.33333334}\n'
    assert csv_lines({"score": np.array([1 / 3])}) == b"0.33333334\n"


@settings(deadline=None)
@given(answers)
def test_few_numbers_are_written_like_many(answer: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written = []
        for few in (-1, 1000):
            patch.setattr(responses, "FEW", few)
            written.append([encode(answer) for encode in (json_lines, json_list, csv_lines)])
    assert written[0] == written[1]


@settings(deadline=None)
@given(answers)
def test_a_document_holds_the_objects_of_the_lines(answer: dict[str, Any]) -> None:
    document = json.loads(encoder("application/json", envelope="projections").encode(answer))
    lines = json_lines(answer).decode().splitlines()
    assert document == {"projections": [json.loads(line) for line in lines]}


def test_large_answers_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"score": np.arange(10, dtype=np.float32), "many": np.ones((10, 3), np.float32)}
    writers = (json_lines, json_list, csv_lines)
    whole = [write(answer) for write in writers]
    for few in (1000, 0):
        monkeypatch.setattr(responses, "FEW", few)
        monkeypatch.setattr(responses, "CELLS", 9)
        assert [write(answer) for write in writers] == whole


@pytest.mark.parametrize("accept", ENCODERS)
@pytest.mark.parametrize("cuts", [[0, 5], [0, 2, 5], [0, 0, 1, 5, 5], [0, 0]])
def test_several_answers_make_one_body(accept: str, cuts: list[int]) -> None:
    answer = {"score": np.arange(cuts[-1]) / np.float32(4), "label": np.arange(cuts[-1])}
    chosen = encoder(accept)
    pieces = [{k: v[a:b] for k, v in answer.items()} for a, b in pairwise(cuts)]
    assert b"".join(chosen.body(pieces)) == chosen.encode(answer)
    assert b"".join(chosen.body([])) == chosen.encode({k: v[:0] for k, v in answer.items()})


def test_encoder_follows_the_accept_list() -> None:
    answer = {"score": np.float32([0.5])}

    def encoded(accept: str | None = None, **options: Any) -> bytes:
        return encoder(accept, **options).encode(answer)

    assert encoded() == encoded("") == encoded("*/*") == b'{"score": 0.5}\n'
    assert encoded(default=JSON) == b'{"predictions": [{"score": 0.5}]}'
    assert encoded("application/jsonlines; verbose=true", default=JSON) == b'{"score": 0.5}\n'
    assert encoded("text/csv", default=JSON) == b"0.5\n"
    assert encoded("image/png;q=0.9, text/*;q=0.1") == b"0.5\n"
    with pytest.raises(UserError, match="application/jsonlines"):
        encoder("image/png")


def test_encoder_says_the_bare_type_and_what_was_asked_with_it() -> None:
    chosen = encoder("text/html, Application/JSON; verbose=true; q=0.5")
    assert (chosen.type, dict(chosen.parameters)) == ("application/json", {"verbose": "true"})


# The examples of the original's documentation: binary, multiclass, regression, PCA.
EXAMPLES = [
    (
        {"score": np.float32([0.4, 1]), "predicted_label": np.array([0, 1])},
        "predictions",
        '{"score": 0.4, "predicted_label": 0}, {"score": 1.0, "predicted_label": 1}',
        b"0.4,0\n1.0,1\n",
    ),
    (
        {"score": np.float32([[0.1, 0.2, 0.4, 0.3]]), "predicted_label": np.array([2])},
        "predictions",
        '{"score": [0.1, 0.2, 0.4, 0.3], "predicted_label": 2}',
        b"0.1,0.2,0.4,0.3,2\n",
    ),
    ({"score": np.float32([0.4])}, "predictions", '{"score": 0.4}', b"0.4\n"),
    (
        {"projection": np.float32([[1, 2, 3], [4, 5, 0.5]])},
        "projections",
        '{"projection": [1.0, 2.0, 3.0]}, {"projection": [4.0, 5.0, 0.5]}',
        b"1.0,2.0,3.0\n4.0,5.0,0.5\n",
    ),
]


@pytest.mark.parametrize(("answer", "envelope", "objects", "table"), EXAMPLES)
def test_the_examples_of_the_original(
    answer: dict[str, Any], envelope: str, objects: str, table: bytes
) -> None:
    def encoded(accept: str) -> bytes:
        return encoder(accept, envelope=envelope).encode(answer)

    assert encoded("application/json") == f'{{"{envelope}": [{objects}]}}'.encode()
    assert encoded("application/jsonlines") == (objects.replace("}, {", "}\n{") + "\n").encode()
    assert encoded("text/csv") == table
    body = encoded("application/x-recordio-protobuf")
    read = [message_classes().Record.FromString(payload) for payload in frames(body)]
    assert len(read) == len(next(iter(answer.values())))
    for i, record in enumerate(read):
        assert not record.features
        assert record.label.keys() == answer.keys()
        for name, values in answer.items():
            tensor = record.label[name].float32_tensor
            assert list(tensor.values) == np.ravel(values[i]).astype(np.float32).tolist()
            assert list(tensor.keys) == list(tensor.shape) == []


def test_few_numbers_are_written_as_many_are() -> None:
    """NumPy's text of a float32 is pyarrow's, wherever it is taken."""
    rng = np.random.default_rng(0)
    x = (rng.random(100_000) * 10.0 ** rng.integers(-8, 9, 100_000)).astype(np.float32)
    x[:1000] = np.arange(-500, 500)
    x[1000:1006] = [1e-4, np.nextafter(np.float32(1e-4), np.float32(0)), 1e5, 99999.99, 0.5, -0.25]
    expected = responses._shortest(x)
    found = [t for i in range(0, len(x), 4) for t in responses._shortest(x[i : i + 4])]
    assert found == expected
