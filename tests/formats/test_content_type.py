"""Content types, Accept lists and the registry of formats."""

import gzip
import os
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.formats import content_type as ct
from smalgos.formats.block import Block
from smalgos.formats.content_type import CSV, RECORDIO, ContentType, accept, guess, reader, writer

JSON, JSON_LINES = "application/json", "application/jsonlines"
FRAME = bytes.fromhex("0a23d7ce 04000000 00000000")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/csv", ContentType(CSV)),
        (
            "Text/CSV; label_size=0; charset=utf-8",
            ContentType(CSV, {"label_size": "0", "charset": "utf-8"}),
        ),
        ("text/csv;label_size=0", ContentType(CSV, {"label_size": "0"})),
        ("  text/csv ;\tLABEL_SIZE = 1 ;; ", ContentType(CSV, {"label_size": "1"})),
        ('text/csv; charset="UTF-8"', ContentType(CSV, {"charset": "UTF-8"})),
        (r'a/b; x="p;q=\"1\""', ContentType("a/b", {"x": 'p;q="1"'})),
        ("application/json;verbose", ContentType(JSON, {"verbose": ""})),
        ("application/json; verbose=true", ContentType(JSON, {"verbose": "true"})),
        ("text/csv; label_size=1; label_size=1", ContentType(CSV, {"label_size": "1"})),
        ("csv", ContentType(CSV)),
        ("CSV;label_size=0", ContentType(CSV, {"label_size": "0"})),
        ("application/x-recordio-protobuf", ContentType(RECORDIO)),
        ("recordio-protobuf", ContentType(RECORDIO)),
        ("x-recordio-protobuf", ContentType(RECORDIO)),
    ],
)
def test_parse(text, expected):
    assert ContentType.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected type/subtype"),
        ("nonsense", "expected type/subtype"),
        ("text/", "expected type/subtype"),
        ("text/csv/x", "expected type/subtype"),
        ("text/c s v", "expected type/subtype"),
        ("text/csv, application/json", "expected type/subtype"),
        ("text/csv; label size=0", "'label size=0' is no parameter"),
        ("text/csv; =0", "'=0' is no parameter"),
        ("text/csv; label_size=0; label_size=1", "label_size is given twice, as '0' and as '1'"),
        ("x" * 500, r"\.\.\."),
    ],
)
def test_parse_refuses(text, said):
    with pytest.raises(UserError, match=said):
        ContentType.parse(text)


def test_str():
    assert str(ContentType.parse("CSV;label_size=0;  charset=utf-8")) == (
        "text/csv; label_size=0; charset=utf-8"
    )
    assert str(ContentType(JSON, {"verbose": "", "x": 'a "b"'})) == (
        r'application/json; verbose; x="a \"b\""'
    )


tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.+!", min_size=1, max_size=8)


@settings(deadline=None)
@given(
    st.tuples(tokens, tokens),
    st.dictionaries(tokens, st.text(st.characters(codec="utf-8"), max_size=12)),
)
def test_str_is_parsed_back(names, parameters):
    given_type = ContentType("/".join(names), parameters)
    assert ContentType.parse(str(given_type)) == given_type


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('ab/;=", *\\\t\u00e9\n'), max_size=30))
def test_parse_never_fails_otherwise(text):
    try:
        parsed = ContentType.parse(text)
    except UserError:
        return
    assert ContentType.parse(str(parsed)) == parsed


SUPPORTED = [JSON, "application/jsonlines", CSV, RECORDIO]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("*; q=.2", JSON),  # what Java's URLConnection sends
        ("text/csv", CSV),
        ("csv", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("text/csv, application/json", CSV),  # the SDK's PandasDeserializer
        ("application/json, text/csv", JSON),
        ("application/json;q=0.5, text/csv", CSV),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("image/png, text/csv;q=0.1", CSV),
        ("*/*, text/csv", JSON),
        ("text/csv, */*", CSV),
        ("*/*;q=0.1, text/csv", CSV),
        ("*/*, application/json;q=0", "application/jsonlines"),
        ("application/*, application/json;q=0.1, text/csv;q=0.5", "application/jsonlines"),
        ("application/x-recordio-protobuf", RECORDIO),
        ("text/csv; q=1.0, application/json;q=1", CSV),
        (" , text/csv,, ", CSV),
    ],
)
def test_accept(header, expected):
    assert accept(header, SUPPORTED, JSON) == ContentType(expected)


def test_accept_keeps_parameters():
    chosen = accept('text/html, application/json; verbose="a,b"; q=0.5', SUPPORTED, CSV)
    assert chosen == ContentType(JSON, {"verbose": "a,b"})
    assert accept("application/json;verbose", SUPPORTED, CSV).parameters == {"verbose": ""}
    assert accept("application/*;verbose", [JSON], CSV).parameters == {}
    both = "application/json;verbose=true;q=0.5, application/json"
    assert accept(both, SUPPORTED, CSV).parameters == {}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("image/png", "accept application/json, application/jsonlines, text/csv or appl"),
        ("text/csv;q=0", "no answer can be given as 'text/csv;q=0'"),
        ("*/*;q=0", "no answer"),
        ("text/csv;q=x", "q='x' must be from 0 to 1"),
        ("text/csv;q=1.5", "q='1.5' must be from 0 to 1"),
        ("text/csv;q=nan", "q='nan' must be from 0 to 1"),
        ("nonsense", "expected type/subtype"),
    ],
)
def test_accept_refuses(header, said):
    with pytest.raises(UserError, match=said):
        accept(header, SUPPORTED, JSON)


@pytest.fixture
def stand_in(monkeypatch):
    """A module in the place of the CSV reader; it answers the options it was called with."""
    module = ModuleType("smalgos.formats.csv")

    def read_blocks(file, name, *, label_size=1, encoding="utf-8", chunk_bytes=8):
        return file, name, label_size, encoding

    def encode(block, *, delimiter=","):
        return len(block), delimiter

    module.read_blocks, module.encode = read_blocks, encode
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("stand_in")
def test_reader_and_writer_pass_options():
    assert reader("text/csv")("file", "name") == ("file", "name", 1, "utf-8")
    assert reader("csv; label_size=0")("file", "name") == ("file", "name", 0, "utf-8")
    assert reader("csv", label_size=0)("file", "name")[2] == 0
    assert reader("csv; label_size=2", label_size=0, sparse=True)("file", "name")[2] == 2
    assert reader(ContentType(CSV, {"charset": "Latin-1"}))("file", "name")[3] == "latin-1"
    assert reader("csv; encoding=utf-8; charset=UTF-8")("file", "name")[3] == "utf-8"
    assert reader("csv; header=Absent")("file", "name")[2] == 1
    assert writer('csv; charset=latin-1; delimiter=";"')(Block.of(np.ones((3, 1)))) == (3, ";")


@pytest.mark.usefixtures("stand_in")
def test_writer_checks_what_reading_will_rely_on():
    bare, one = Block.of(np.ones((3, 2))), Block.of(np.ones((3, 2)), np.ones(3))
    two = Block.of(np.ones((3, 2)), np.ones((3, 2)))
    for size, block in enumerate([bare, one, two]):
        encode = writer(f"text/csv; label_size={size}")
        assert encode(block) == (3, ",")
        for other in {bare, one, two} - {block}:
            with pytest.raises(
                UserError, match=rf"label_size={size}: the rows have \d labels each"
            ):
                encode(other)
    with pytest.raises(UserError, match="utf-16: text is written as UTF-8"):
        writer("text/csv; charset=utf-16")


@pytest.mark.parametrize("made", [reader, writer])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "image/png",
            "'image/png' is not supported: use .*application/x-rec.*text/csv",
        ),
        ("text/csv; label_size=x", "label_size='x' must be a whole number from 0"),
        ("text/csv; label_size=-1", "label_size='-1' must be a whole number from 0"),
        ("text/csv; label_size", "label_size='' must be a whole number from 0"),
        ("text/csv; label_size=\u0663", "must be a whole number from 0"),
        ("text/csv; charset=klingon", "charset='klingon' must be a character encoding"),
        ("text/csv; charset=hex", "charset='hex' must be a character encoding"),
        (
            "text/csv; labelsize=0",
            "no parameter 'labelsize'; known: charset, delimiter, encoding, header, l",
        ),
        ("text/csv; header=present", "header='present' must be absent: the algorithms take CSV"),
        ("text/csv; charset=utf-8; encoding=latin-1", "two values for the encoding"),
        ("application/x-recordio-protobuf; label_size=1", "known: none"),
        ("application/json; charset=latin-1", "charset='latin-1' must be utf-8"),
    ],
)
def test_reader_and_writer_refuse(made, text, said):
    with pytest.raises(UserError, match=said):
        made(text)


def test_nothing_is_loaded_before_it_is_needed(monkeypatch):
    assert ContentType.parse("csv")
    names = [f.module for f in ct.FORMATS]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError):
        reader("text/csv; label_size=x")
    accept("*/*", [CSV], CSV)
    guess(FRAME)
    assert not set(names) & set(sys.modules)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", CSV),
        ("A.CSV", CSV),
        ("x/y.csv.gz", CSV),
        ("matrix_0.pbr", RECORDIO),
        ("a.pb", RECORDIO),
        ("a.recordio", RECORDIO),
        ("a.recordio.gz", RECORDIO),
        ("a.json", JSON),
        ("a.jsonl", JSON_LINES),
        ("a.jsonlines.gz", JSON_LINES),
    ],
)
def test_guess_by_suffix(tmp_path, name, expected):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"whatever")
    assert guess(path) == ContentType(expected)
    assert guess(os.fspath(path)) == ContentType(expected)
    assert guess(b"whatever", name) == ContentType(expected)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FRAME, RECORDIO),
        (b"1,2,3\n", CSV),
        (b"1,2,3", CSV),
        (b"\n\n 1,2\r\n", CSV),
        (b'\xef\xbb\xbfa,"b\n', CSV),
        ("é,è".encode(), CSV),
        ("1,€".encode()[:-1], CSV),  # a head may end inside a character
        (b' {"instances": [', JSON),
        (b'{ "features": [1, 2]}', JSON_LINES),
        (b'\n{"data":{"features":', JSON_LINES),
        (b"1 2:3\n", "text/libsvm"),
        (gzip.compress(FRAME), RECORDIO),
        (gzip.compress(b"1,2\n")[:-4], CSV),
    ],
)
def test_guess_by_magic(tmp_path, head, expected):
    path = tmp_path / "part-0"
    path.write_bytes(head)
    assert guess(path) == guess(head) == ContentType(expected)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"1 2:x\n",
        b"1;2\n",
        b'{"a": 1, "b": 2}\n',
        b"[1, 2]",
        b"\x00,\x01",
        b"\xff\xfe1,2",
        b"\xe9,1\n",
        b"\x1f\x8b broken, data",
        FRAME[:3],
    ],
)
def test_guess_asks(tmp_path, head):
    path = tmp_path / "part-0"
    path.write_bytes(head)
    with pytest.raises(UserError, match=r"give content_type: .*application/x-rec.*text/csv"):
        guess(head)
    with pytest.raises(UserError, match=r"^part-0: neither the name nor the first bytes"):
        guess(path)


def test_guess_of_a_directory_goes_by_its_first_file(tmp_path):
    (tmp_path / "_SUCCESS").write_bytes(FRAME)
    (tmp_path / "b.pbr").write_bytes(b"whatever")
    (tmp_path / "a").write_bytes(b"1,2\n")
    assert guess(tmp_path) == ContentType(CSV)
    with pytest.raises(UserError, match="no such file"):
        guess(tmp_path / "c")
