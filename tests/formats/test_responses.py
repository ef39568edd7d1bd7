"""Answers as bytes: every grammar read back gives the numbers that were written."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalgos.errors import UserError
from smalgos.formats import responses
from smalgos.formats.responses import csv_lines, encoder, json_lines

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


def test_the_grammar_of_the_original() -> None:
    answer = {"score": np.float32([0.4, 1]), "predicted_label": np.array([0, 1])}
    assert json_lines(answer) == (
        b'{"score": 0.4, "predicted_label": 0}\n{"score": 1.0, "predicted_label": 1}\n'
    )
    assert csv_lines(answer) == b"0.4,0\n1,1\n"


def test_floats_are_the_shortest_that_come_back() -> None:
    numbers = {"score": np.array([0.1, 1e-5, 3e20, -0.0, 1 / 3], np.float32)}
    texts = ["0.1", "0.00001", "3e+20", "-0.0", "0.33333334"]
    assert json_lines(numbers).decode().splitlines() == [f'{{"score": {t}}}' for t in texts]
    # float64 answers are float32 on the wire, as the original's are
    assert json_lines({"score": np.array([1 / 3])}) == b'{"score": 0.33333334}\n'
    assert csv_lines({"score": np.array([1 / 3])}) == b"0.33333334\n"


def test_large_answers_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"score": np.arange(10, dtype=np.float32), "many": np.ones((10, 3), np.float32)}
    whole = json_lines(answer), csv_lines(answer)
    monkeypatch.setattr(responses, "CELLS", 9)
    assert (json_lines(answer), csv_lines(answer)) == whole


def test_encoder_follows_the_accept_list() -> None:
    answer = {"score": np.float32([0.5])}
    assert encoder()(answer) == b'{"score": 0.5}\n'
    assert encoder("application/jsonlines; verbose=true")(answer) == b'{"score": 0.5}\n'
    assert encoder("text/csv")(answer) == b"0.5\n"
    assert encoder("image/png;q=0.9, text/*;q=0.1")(answer) == b"0.5\n"
    with pytest.raises(UserError, match="application/jsonlines"):
        encoder("image/png")
