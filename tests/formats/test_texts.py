"""Rows of texts: lines, CSV, JSON; and answers that hold texts."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.formats import text as lines
from smalgos.formats.block import Block
from smalgos.formats.channel import stream
from smalgos.formats.content_type import guess, reader, types, writer
from smalgos.formats.csv_texts import joined
from smalgos.formats.responses import bare_lines, csv_lines, encoder, json_lines, records

PAIR = ("entity", "ip")


class Trickle(io.RawIOBase):
    """A file that gives a few bytes at a time."""

    def __init__(self, data, step):
        self.data, self.at, self.step = data, 0, step

    def readable(self):
        return True

    def read(self, size=-1):
        size = min(size if size >= 0 else len(self.data), self.step)
        part = self.data[self.at : self.at + size]
        self.at += len(part)
        return part


def rows_of(blocks, *names):
    rows = []
    for block in blocks:
        assert block.start == len(rows)
        rows += zip(
            *([block[n].row(i).tobytes() for i in range(len(block))] for n in names), strict=True
        )
    return rows


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9), st.booleans())
def test_lines_are_those_of_the_file_however_it_is_read(parts, chunk, mark):
    data = b"\n".join(parts)
    blocks = lines.read_blocks(
        Trickle((b"\xef\xbb\xbf" if mark else b"") + data, chunk), "f", chunk_bytes=chunk
    )
    got = [row for (row,) in rows_of(blocks, "text")]
    if not mark:
        data = data.removeprefix(b"\xef\xbb\xbf")
    want = [line + b"\n" for line in data.split(b"\n")]
    assert got == (want[:-1] if not data or data.endswith(b"\n") else want)


@pytest.mark.parametrize("chunk", [1000, 1 << 20, 1 << 23])
def test_long_lines_are_cut_at_the_same_places(chunk, monkeypatch):
    monkeypatch.setattr(lines, "CUT_BYTES", 10_000)
    rng = np.random.default_rng(0)
    words = [b"x" * n for n in rng.integers(1, 50, 4000)]
    data = b"short one\n" + b" ".join(words) + b"\nlast" + b" w" * 6000
    options = {"chunk_bytes": chunk, "cut_lines": True}
    rows = [row for (row,) in rows_of(lines.read_blocks(io.BytesIO(data), "f", **options), "text")]
    assert b"".join(rows) == data + b"\n"
    assert max(map(len, rows)) <= 10_000
    assert all(row[-1:] in b" \n" for row in rows)
    whole = [
        r for (r,) in rows_of(lines.read_blocks(io.BytesIO(data), "f", cut_lines=True), "text")
    ]
    assert rows == whole


def test_lines_that_are_too_long(monkeypatch):
    monkeypatch.setattr(lines, "CUT_BYTES", 100)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 200)
    with pytest.raises(UserError, match="f: a token of more than 100 bytes"):
        list(lines.read_blocks(io.BytesIO(b"a\n" + b"x" * 300), "f", cut_lines=True))
    for chunk in (10, 1000):
        with pytest.raises(UserError, match="f, row 2: a line of more than 200 bytes"):
            list(lines.read_blocks(io.BytesIO(b"a\n" + b"x " * 300), "f", chunk_bytes=chunk))


CELLS = st.text(st.sampled_from('ab, "\n\té'), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=12), st.integers(1, 40))
def test_csv_is_that_of_the_csv_module(rows, chunk):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    read = reader("text/csv", texts=PAIR, chunk_bytes=8 * chunk)
    got = rows_of(read(io.BytesIO(out.getvalue().encode()), "f"), *PAIR)
    assert got == [tuple(cell.strip(" ").encode() for cell in row) for row in rows]


def test_plain_csv():
    data = b"a, 1.2.3.4\r\n b ,5.6.7.8\nno one,\n\n"
    got = rows_of(reader("text/csv", texts=PAIR)(io.BytesIO(data), "f"), *PAIR)
    assert got == [(b"a", b"1.2.3.4"), (b"b", b"5.6.7.8"), (b"no one", b"")]
    latin = "é|1.1.1.1\n".encode("latin-1")
    read = reader("text/csv; charset=latin-1; delimiter=|", texts=PAIR)
    assert rows_of(read(io.BytesIO(latin), "f"), *PAIR) == [("é".encode(), b"1.1.1.1")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\nc\n", "f, row 2 has 1 column, where 2 are expected: entity, ip"),
        (b"a,b\nc,d,e\n", "f, row 2 has 3 columns, where 2"),
        (b"a,b\n\nc,d\n", "f, row 2 is blank"),
        (b'a,b\n"c,d\n', "f, row 2: a quote is opened and never closed"),
    ],
)
def test_bad_csv(data, said):
    with pytest.raises(UserError, match=said):
        list(reader("text/csv", texts=PAIR)(io.BytesIO(data), "f"))


@pytest.mark.parametrize("content_type", ["text/csv", "application/json", "application/jsonlines"])
def test_what_is_written_is_read_again(content_type):
    block = Block(
        {"entity": joined([b"a b", 'é,"'.encode(), b""]), "ip": joined([b"1", b"22", b"333"])}
    )
    data = writer(content_type, label_size=0)(block)
    read = reader(content_type, texts=PAIR)
    assert rows_of(read(io.BytesIO(data), "f"), *PAIR) == rows_of([block], *PAIR)


def test_texts_are_written_as_lines():
    block = Block({"text": joined([b"a b\n", b"c"])})
    assert writer("text/plain")(block) == b"a b\nc\n"
    with pytest.raises(UserError, match="row 1: a line end within"):
        writer("text/plain")(Block({"text": joined([b"a\nb"])}))
    with pytest.raises(UserError, match="one column of texts"):
        writer("text/plain")(Block.of(np.ones((2, 3), np.float32)))


def json_rows(content_type, data, texts):
    blocks = list(reader(content_type, texts=texts)(io.BytesIO(data), "f"))
    return rows_of(blocks, *texts), [b["k"].tolist() if "k" in b else None for b in blocks]


def test_json_of_one_text():
    data = {"instances": ["a b", {"source": "c"}], "configuration": {"k": 2}}
    rows, k = json_rows("application/json", json.dumps(data).encode(), ("text",))
    assert rows == [(b"a b",), (b"c",)]
    assert k == [[2, 2]]
    data = b'{"source": "a", "k": 3}\n{"source": "b", "label": 1}\n{"label": [1, 3], "source": "c"}'
    rows, k = json_rows("application/jsonlines", data, ("text",))
    assert rows == [(b"a",), (b"__label__1 b",), (b"__label__1 __label__3 c",)]
    assert k == [[3, 1], None]
    assert json_rows("application/jsonlines", b'"a"\n', ("text",)) == ([(b"a",)], [None])


def test_json_of_two_texts():
    first = b'{"data": {"features": {"values": ["a", "1.1.1.1"]}}}'
    data = b'{"instances": [' + first + b', {"features": ["b", "2"]}]}'
    assert json_rows("application/json", data, PAIR)[0] == [(b"a", b"1.1.1.1"), (b"b", b"2")]


@pytest.mark.parametrize(
    ("row", "texts", "said"),
    [
        ("3", ("text",), "row 1: 3 is no row"),
        ('{"text": "a"}', ("text",), "an object without a text is no row"),
        ('{"source": "a", "k": 0}', ("text",), '"k" is 0: write a whole number'),
        ('{"source": "a", "k": 1.5}', ("text",), '"k" is 1.5'),
        ('{"source": "a", "label": "x y"}', ("text",), "\"label\" holds 'x y'"),
        ('{"source": "a", "label": [true]}', ("text",), '"label" holds true'),
        (r'"\ud800"', ("text",), "character 1 of a text is half of a surrogate pair"),
        ('{"features": ["a"]}', PAIR, "1 features where 2 are expected"),
        ('{"features": ["a", 1]}', PAIR, "the ip is 1, and must be a string"),
        ('{"features": ["a", "b"], "data": 1}', PAIR, 'both "features" and "data"'),
        ('{"data": {}}', PAIR, "no features"),
    ],
)
def test_bad_json(row, texts, said):
    with pytest.raises(UserError, match=said):
        list(reader("application/jsonlines", texts=texts)(io.BytesIO(row.encode()), "f"))
    document = f'{{"instances": [{row}]}}'.encode()
    with pytest.raises(UserError, match=said):
        list(reader("application/json", texts=texts)(io.BytesIO(document), "f"))
    document = b'{"instances": ["a"], "configuration": 3}'
    with pytest.raises(UserError, match='"configuration" is 3'):
        list(reader("application/json", texts=("text",))(io.BytesIO(document), "f"))


def test_formats_without_texts():
    assert types(texts=True) == [
        "application/json", "application/jsonlines", "text/csv", "text/plain"
    ]  # fmt: skip
    assert "text/plain" not in types()
    with pytest.raises(UserError, match="has no rows of texts: use application/json, "):
        reader("application/x-recordio-protobuf", texts=PAIR)
    with pytest.raises(UserError, match="'text/plain' has no rows of numbers"):
        reader("text/plain", texts=())


def test_guesses_of_texts(tmp_path):
    assert guess(b"1,2,3\n", default="text/plain").type == "text/plain"
    assert guess(b'{"source": "a"}', default="text/plain").type == "application/jsonlines"
    (tmp_path / "words.jsonl").write_text('"a"\n')
    assert guess(tmp_path / "words.jsonl", default="text/plain").type == "application/jsonlines"
    rows = stream(b"a b\nc\n", "text/plain")
    assert [len(b) for b in rows.open()] == [2]
    assert rows.where(1).endswith("row 2")


def test_answers_of_texts():
    answer = {
        "vector": np.array([[0.5, 2], [1e-9, np.nan]], np.float32),
        "word": ["a", 'é"'],
        "label": [["x", "y"], []],
        "prob": [np.array([0.98, 0.02], np.float32), np.array([], np.float32)],
        "n": np.array([1, 2]),
    }
    text = json_lines(answer).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows[0] == {
        "vector": [0.5, 2.0], "word": "a", "label": ["x", "y"], "prob": [0.98, 0.02], "n": 1,
    }  # fmt: skip
    assert rows[1]["word"] == 'é"'
    assert rows[1]["label"] == rows[1]["prob"] == []
    body = encoder("application/json", envelope="").encode({"word": ["a", "b"]})
    assert json.loads(body) == [{"word": "a"}, {"word": "b"}]
    assert encoder("application/json", envelope="").encode({"word": []}) == b"[]"
    for encode in (csv_lines, bare_lines, records):
        with pytest.raises(UserError, match="texts are answered as JSON"):
            encode({"word": ["a"]})
