"""libsvm in and out, against a slow twin and scikit-learn."""

import gzip
import io
import random
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file, load_svmlight_files

from smalgos import formats
from smalgos.errors import UserError
from smalgos.formats import csv_pieces, libsvm, libsvm_writer
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Files, Once, stream
from smalgos.formats.content_type import LIBSVM, reader
from smalgos.formats.libsvm import encode, read_blocks, settle, survey, write_blocks
from tests.reference import libsvm as reference

MANY = 2**31 - 1


class Trickle:
    """A file of which each call gives only a part, as pipes and sockets do."""

    def __init__(self, data, seed):
        self.data, self.random = io.BytesIO(data), random.Random(seed)

    def read(self, n):
        return self.data.read(self.random.randint(1, max(1, min(n, 50))))


def read(data, **options):
    """All rows of the bytes of a file as one block."""
    file = options.pop("file", None) or io.BytesIO(data)
    blocks = list(read_blocks(file, "a.svm", **options))
    starts = np.cumsum([0] + [len(b) for b in blocks])
    assert [b.start for b in blocks] == list(starts[:-1])
    for b in blocks:
        assert len(b) > 0
        f = b.features
        assert (f.values.dtype, f.indices.dtype, f.offsets.dtype) == ("f4", "i4", "i8")
        assert f.offsets[0] == 0
        assert len(f.values) == len(f.indices) == f.offsets[-1]
    return Block.join(blocks) if blocks else None


def bits(a):
    a = np.ascontiguousarray(a, np.float32)
    return np.where(np.isnan(a), np.float32(np.nan), a).view(np.uint32).tolist()


def assert_rows(block, rows, width=None):
    """A block holds the rows of the twin."""
    if block is None:
        assert not rows
        return
    f = block.features
    assert len(block) == len(rows)
    assert np.diff(f.offsets).tolist() == [len(entries) for *_, entries in rows]
    assert f.indices.tolist() == [i for *_, entries in rows for i in entries]
    assert bits(f.values) == bits([v for *_, entries in rows for v in entries.values()])
    assert f.width == (width or max([0, *f.indices.tolist()]) + 1)
    for name, i in (("labels", 0), ("weights", 1), ("groups", 2)):
        wanted = [row[i] for row in rows]
        assert (name in block) == (wanted[0] is not None)
        if name == "groups" and name in block:
            assert block[name].dtype == np.int64
            assert block[name].tolist() == wanted
        elif name in block:
            assert block[name].dtype == np.float32
            assert bits(block[name]) == bits(wanted)


def check(data, **options):
    """Read as the twin does: the same rows, or an error in the same row."""
    plain = {k: v for k, v in options.items() if k not in ("chunk_bytes", "file")}
    try:
        rows = reference.read(data, **plain)
    except reference.Bad as bad:
        with pytest.raises(UserError, match=rf"^a\.svm, row {bad.row}\b"):
            read(data, **options)
        return
    assert_rows(read(data, **options), rows, options.get("width"))


digits = st.text("0123456789", max_size=12)
spelled = st.one_of(
    st.floats(width=32).map(repr),
    st.floats().map(repr),
    st.floats(-1e6, 1e6).map("{:.20f}".format),
    st.builds("{:.{}e}".format, st.floats(width=32), st.integers(0, 20)),
    st.integers(-300, 70000).map(str),
    st.integers().map(str),
    st.builds("{}{}.{}".format, st.sampled_from(["", "-", "+"]), digits, digits).filter(
        lambda s: any(c.isdigit() for c in s)
    ),
    st.sampled_from(["nan", "NaN", "inf", "-inf", "Infinity", "-INFINITY", "1e400", "5e-324"]),
)
plainly = st.one_of(st.integers(0, 9).map(str), st.floats(-9, 9).map("{:.4f}".format))
columns = st.one_of(
    st.integers(1, 30), st.integers(1, 10**7), st.sampled_from([1, 12345678, 99999999, MANY - 1])
)


@st.composite
def files(draw):
    """Text of rows in all kinds of writing."""
    odd, weighted, grouped = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    value = spelled if odd else plainly
    blank = st.sampled_from([" ", " ", " ", "  ", "\t", " \r"] if odd else [" "])
    end = st.sampled_from(
        ["\n", "\n", "\r\n", " \n", " # 1:2 x\n", "\n\n", "\n#\n"] if odd else ["\n"]
    )
    lines = []
    for _ in range(draw(st.integers(0, 20))):
        line = draw(value)
        line += ":" + draw(value) if weighted else ""
        line += (
            draw(blank) + f"qid:{draw(st.integers(0, 10 ** draw(st.integers(0, 18))))}" * grouped
        )
        indices = draw(st.lists(columns, max_size=8, unique=True))
        for index in indices if odd and draw(st.booleans()) else sorted(indices):
            line += draw(blank) + f"{'00' if odd and index % 3 == 0 else ''}{index}:{draw(value)}"
        lines.append(line + draw(end))
    text = "".join(lines)
    text = text.rstrip("\r\n") if draw(st.booleans()) else text
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


chunks = st.one_of(st.integers(1, 2000), st.just(8 << 20))


@settings(deadline=None, max_examples=150)
@given(files(), st.integers(0, 1), chunks, st.booleans(), st.randoms(use_true_random=False))
def test_reads_what_python_reads(data, base, chunk_bytes, trickle, rng):
    file = Trickle(data, rng.random()) if trickle else io.BytesIO(data)
    check(data, base=base, width=MANY, chunk_bytes=chunk_bytes, file=file)


WORDS = [
    "1 ", "1 0:1\n", "0 3:2\n", "1:2 ", "qid:3 ", "2:5 ", "2:", ":", "\n", "\r\n", "#", "x", " ",
    "\t", "-", "\x0b", "9999999999:1 ", "2147483647:1 ", "2147483646:2 ", "-1:2 ", "1:1_0 ", "\0",
    "é", "1:nan ", "0", '"', "1 1:0x1\n", "qid:99999999999999999999 ", "qid:9223372036854775807 ",
    "1 000000000000000000000001:3\n", "1e9:1 ", "1:1e", "+1:1 ",
]  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(
        st.lists(st.sampled_from(WORDS)).map("".join).map(str.encode), st.binary(max_size=60)
    ),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([1, 4, MANY]),
    st.integers(1, 100),
)
@example(b"1 1:2 1:3\n", 1, 0, MANY, 8)
@example(b"1 3:2 1:3 3:1\n", 1, 0, MANY, 800)
@example(b"1 0:1\n", 1, 1, MANY, 8)
@example(b"1:2 3:4\n1 3:4\n", 1, 0, MANY, 8)
@example(b"1 qid:1 3:4\n1 3:4\n", 1, 0, MANY, 8)
@example(b"1 3:4\n1 qid:1 3:4\n", 1, 0, MANY, 800)
@example(b"3:4\n7 3:4 5:6\n", 0, 0, MANY, 8)
@example(b"x#y 3:4\n", 0, 0, MANY, 8)
@example(b"1#\n1 #\n1 0:2#", 1, 0, MANY, 8)
@example(b"1\x0b1:2\n", 1, 0, MANY, 8)
@example(b"1 0:1\n1 8:1\n", 1, 0, 8, 8)
def test_any_bytes_are_rows_or_a_user_error(data, label_size, base, width, chunk_bytes):
    check(data, label_size=label_size, base=base, width=width, chunk_bytes=chunk_bytes)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(files(), st.integers(0, 1), chunks)
def test_reads_what_python_reads_at_length(data, base, chunk_bytes):
    check(data, base=base, width=MANY, chunk_bytes=chunk_bytes)


@pytest.mark.parametrize(
    "line",
    ["1 1:2.5 3:-3", "-1 1:0.12345678901234567 77:2e-5 # so", "+1:0.5 qid:7 0:1 12345678:nan",
     "0 qid:123456789012 5:1", "3", "  1\t2:3 ", "1 3:4 2:1 2147483646:0"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_kernel_takes_ordinary_text(line, end, monkeypatch):
    """The way token by token is for oddities alone."""
    monkeypatch.setattr(libsvm._Grammar, "parse_oddities", None)
    check(b"# first\n\n" + (line + end).encode() * 20)
    check((line + end).encode() * 20, chunk_bytes=200)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"x 1:2\n", {}, "row 1, byte 1: 'x' is no label of numbers"),
        (b"1 1:2\n1:x 1:2\n", {}, "row 2, byte 1: '1:x' is no label:weight of numbers"),
        (b"#\n\n 1  1:2 3\n", {}, "row 1, byte 9: '3' is not index:value"),
        (b"1,2,3\n", {}, "row 1, byte 1: '1,2,3' is no label of numbers"),
        (b"1 -1:2\n", {}, "row 1, byte 3: '-1:2' is not index:value"),
        (b"1 3:\n", {}, "row 1, byte 3: '3:' is not index:value with a number"),
        (b"1 3:" + b"9x" * 99, {}, f"row 1, byte 3: '3:{'9x' * 19}...' is not index:value with"),
        (b"1 3:1 3:1\n", {}, "row 1, byte 7: '3:1' is an index that the row has already"),
        (b"1 2147483647:1\n", {}, "row 1, byte 3: '2147483647:1' is an index above 2147483646"),
        (b"1 0:1\n", {"base": 1}, "row 1, byte 3: '0:1' is an index below 1"),
        (b"1 0:1\n1 7:1\n", {"width": 7}, "row 2: index 7 is beyond the 7 columns that are expect"),
        (b"1 1:1\n1 8:1\n", {"width": 7, "base": 1}, "row 2: index 8 is beyond the 7 columns"),
        (b"1:2 1:1\n\n1 8:1\n", {}, "row 2 has no weight (label:weight), unlike the rows before"),
        (b"1 1:1\n1 qid:2\n", {}, "row 2 has a qid, unlike the rows before"),
        (b"1 qid:9223372036854775808\n", {}, "row 1, byte 3: 'qid:9223372036854775808' is greater"),
        (b"1 1:1 qid:2\n", {}, "row 1, byte 7: 'qid:2' is not index:value"),
    ],
)  # fmt: skip
def test_messages(data, options, message):
    for chunk_bytes in (8, 8 << 20):
        with pytest.raises(UserError) as e:
            read(data, chunk_bytes=chunk_bytes, **{"width": MANY} | options)
        assert str(e.value).startswith(f"a.svm, {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"base": 2}, "base=2"), ({"base": "1"}, "base=1"), ({"width": 0}, "width=0"),
     ({"width": 2**31}, "width=2147483648"), ({"label_size": 2}, "label_size=2")],
)  # fmt: skip
def test_options_are_checked_at_once(options, message):
    with pytest.raises(UserError, match=message):
        read_blocks(io.BytesIO(b"1 1:2\n"), "a.svm", **options)


def test_rows_before_an_error_are_given_first():
    blocks = read_blocks(io.BytesIO(b"1 2:3\n" * 100 + b"1 x\n"), "a.svm", chunk_bytes=160)
    rows = []
    with pytest.raises(UserError, match="row 101"):
        rows.extend(len(b) for b in blocks)
    assert sum(rows) > 90


def test_endless_row(monkeypatch):
    monkeypatch.setattr(csv_pieces, "MAX_ROW_BYTES", 1000)
    data = b'1 2:3 # "\n' * 10 + b"1 " + b"2:1 " * 5000
    with pytest.raises(UserError, match=r"row 11 is longer than 1000 bytes: there is no line end"):
        read(data, chunk_bytes=800)


def test_nothing_in_it():
    for data in (b"", b"\n", b"\r\n\n", b"\xef\xbb\xbf", b"# nothing\n \n#"):
        assert read(data) is None
        assert reference.read(data) == []


# Base and width -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(files(), max_size=3), st.integers(1, 500))
def test_files_settle_base_and_width_together(datas, chunk_bytes):
    datas = [data for data in datas if read(data, width=MANY) is not None]

    def look(what):
        for i, data in enumerate(datas):
            yield from what(io.BytesIO(data), str(i))

    found = settle(look)
    assert found == reference.settle(datas)
    pieces = partial(survey, chunk_bytes=chunk_bytes)
    low_high = list(look(pieces))
    if low_high:
        assert max(high for _, high in low_high) == found["width"] - 1 + found["base"]
    assert settle(look, base=0) == {"base": 0, "width": found["width"] + found["base"]}
    assert settle(look, width=9) == {"base": found["base"], "width": 9}
    assert settle(None, width=9, base=1) == {"base": 1, "width": 9}
    assert settle(None, width=9, label_size=0) == {"base": 0, "width": 9}


@settings(deadline=None)
@given(files(), st.integers(0, 1), chunks)
@example(b"1:0.5 3:2\n 7 5:1\n\t1:2 3:4\n", 1, 8)
@example(b"1 123456789:1\n1 0012345678:1 2147483646:0\n", 1, 8)
@example(b"3:1 5:1\r\n2 2:1\n", 0, 8)
@example(b"1 \r3:1\n", 1, 8)
@example(b"nan:1 3:1\n-1:1 4:1\n1:1 qid:77 5:1\n", 1, 8)
def test_a_glance_sees_what_reading_sees(data, label_size, chunk_bytes):
    try:
        rows = reference.read(data, label_size=label_size)
    except reference.Bad:
        return
    found = list(survey(io.BytesIO(data), "a", label_size=label_size, chunk_bytes=chunk_bytes))
    indices = [i for row in rows for i in row[3]]
    assert min((low for low, _ in found), default=None) == min(indices, default=None)
    assert max((high for _, high in found), default=None) == max(indices, default=None)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_glance_is_enough_for_ordinary_text(labelled, monkeypatch):
    monkeypatch.setattr(libsvm._Grammar, "parse", None)
    data = (b"1 " * labelled + b"3:0.5 77:1 1234567890:-2\r\n") * 50 + b"0 qid:3 9:1\n"
    found = list(survey(io.BytesIO(data), "a", label_size=int(labelled), chunk_bytes=200))
    assert min(low for low, _ in found) == 3
    assert max(high for _, high in found) == 1234567890


def test_requests_are_not_guessed_at():
    read_request = reader(LIBSVM, label_size=0, width=4)
    rows = Files(b"1:5 3:2\n7 2:1\n", read_request)
    assert rows.settled() == {"base": 0, "width": 4}
    block = rows.peek()
    assert block.features.toarray().tolist() == [[0, 5, 0, 2], [0, 0, 1, 0]]
    assert block.labels is None
    assert formats.read(b"1 1:5 3:2\n", LIBSVM).features.toarray().tolist() == [[5, 0, 2]]
    typed = formats.read(b"1 1:5 3:2\n", "libsvm; base=0; width=5")
    assert typed.features.toarray().tolist() == [[0, 5, 0, 2, 0]]


def test_a_folder_is_read_with_one_base_and_width(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:5\n")
    (tmp_path / "b.svm").write_text("1 4:5\n")
    (tmp_path / "c.svm.gz").write_bytes(gzip.compress(b"0 2:5 7:1\n"))
    assert formats.read(tmp_path).features.shape == (3, 7)
    (tmp_path / "d.svm").write_text("1 0:1\n")
    rows = stream(tmp_path)
    whole = Block.join(list(rows.open()))
    assert whole.features.shape == (4, 8)
    assert rows.settled() == {"base": 0, "width": 8}
    (tmp_path / "e.svm").write_text("1 0:1\n\n1 x:1\n")
    with pytest.raises(UserError, match=r"/e\.svm, row 2, byte 3: 'x:1' is not index:value"):
        formats.read(tmp_path)


def test_what_is_read_once_has_the_width_of_its_beginning():
    data = b"1 3:1\n" * 30000 + b"1 5:1\n"
    once = Once(read_blocks(io.BytesIO(data), "a.svm"), "a.svm")
    assert {b.features.width for b in once.open()} == {6}
    late = read_blocks(io.BytesIO(data), "a.svm", chunk_bytes=4000)
    with pytest.raises(UserError, match=r"row 30001: index 5 is beyond the 4 columns .*; width="):
        list(late)
    assert formats.read(io.BytesIO(b"1 3:1\n"), LIBSVM).features.width == 4


# Beside scikit-learn ------------------------------------------------------------------------------


def random_rows(n=300, width=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32) * (rng.random((n, width)) < 0.2)
    return Block.of(Csr.of(x.astype(np.float32)), rng.integers(0, 3, n).astype(np.float32))


@pytest.mark.parametrize("base", [0, 1])
def test_scikit_learn_reads_the_same(tmp_path, base):
    block = random_rows().replace(groups=np.arange(300) // 7)
    features = block.features
    shifted = Csr(features.values, features.indices + base, features.offsets, features.width + base)
    path = tmp_path / "a.svm"
    path.write_bytes(encode(block.replace(features=shifted)))
    X, y, groups = load_svmlight_file(path, dtype=np.float32, query_id=True)
    ours = formats.read(path)
    assert ours.features.shape == X.shape
    assert np.array_equal(ours.features.toarray(), X.toarray())
    assert np.array_equal(ours.features.toarray(), features.toarray())
    assert np.array_equal(ours.labels, y)
    assert np.array_equal(ours["groups"], groups)


def test_scikit_learn_settles_several_files_alike(tmp_path):
    for i, text in enumerate(["1 2:1\n0 5:2\n", "-1 1:3 9:1\n"]):
        (tmp_path / f"{i}.svm").write_text(text)
    X0, _, X1, _ = load_svmlight_files(sorted(tmp_path.iterdir()))
    ours = formats.read(tmp_path)
    assert np.array_equal(ours.features.toarray(), np.vstack([X0.toarray(), X1.toarray()]))


# Writing ------------------------------------------------------------------------------------------

float32s = st.floats(width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(float32s, float32s, st.integers(0, 2**63 - 1),
                       st.dictionaries(st.integers(0, 9), float32s)), min_size=1),
    st.booleans(), st.booleans(), st.booleans(), st.integers(1, 5),
)  # fmt: skip
def test_what_is_written_is_read_back(rows, weights, groups, dense, cut):
    labels, weight, group, entries = zip(*rows, strict=True)
    offsets = np.concatenate(([0], np.cumsum([len(e) for e in entries])))
    indices = np.array([i for e in entries for i in sorted(e)], np.int32)
    values = np.array([e[i] for e in entries for i in sorted(e)], np.float32)
    block = Block.of(Csr(values, indices, offsets, 10), np.array(labels, np.float32))
    if weights:
        block = block.replace(weights=np.array(weight, np.float32))
    if groups:
        block = block.replace(groups=np.array(group, np.int64))
    given = block.replace(features=block.features.toarray()) if dense else block
    file = io.BytesIO()
    write_blocks(file, given.batches(cut))
    back = formats.read(file.getvalue(), LIBSVM)
    assert back.features.width == 10
    assert bits(back.features.toarray()) == bits(block.features.toarray())
    for name in {"labels", "weights", "groups"} & block.columns.keys():
        assert back[name].dtype == block[name].dtype
        assert np.array_equal(back[name], block[name], equal_nan=name != "groups")
    assert back.columns.keys() == block.columns.keys()
    plain = read(encode(given), width=10)
    if not dense:
        assert plain.features.indices.tolist() == indices.tolist()
        assert bits(plain.features.values) == bits(values)


def test_written_text():
    x = np.array([[0, 0.5, 0], [1, 0, 1e20], [0, 0, 0], [0, np.nan, -1]], np.float32)
    block = Block.of(x, np.array([3, -1, 0.25, 1], np.float32))
    assert encode(block) == b"3 1:0.5\n-1 0:1 2:1e+20\n0.25\n1 1:nan 2:-1\n"
    assert encode(block[1:]) == encode(Block.of(Csr.of(x), block.labels)[1:])
    assert encode(Block.of(x)[:3]) == b"0 1:0.5\n0 0:1 2:1e+20\n0\n"
    more = block.replace(weights=np.array([1, 0.5, 2, 1], np.float32), groups=np.arange(4))
    assert encode(more)[:28] == b"3:1 qid:0 1:0.5\n-1:0.5 qid:1"[:28]
    assert encode(block[:0]) == b""
    file = io.BytesIO()
    write_blocks(file, [block[:0], block[:1], block[1:]])
    assert file.getvalue() == b"3 0:0 1:0.5 2:0\n-1 0:1 2:1e+20\n0.25\n1 1:nan 2:-1\n"


def test_columns_in_any_order_are_written_in_ascending_order():
    rows = Csr(
        np.array([1, 2, 3, 4, 5], np.float32), np.array([3, 1, 3, 0, 2], np.int32),
        np.array([0, 3, 5]), 4,
    )  # fmt: skip
    assert encode(Block.of(rows)) == b"0 1:2 3:4\n0 0:4 2:5\n"


def test_long_blocks_are_written_in_parts(monkeypatch):
    block = random_rows()
    text = encode(block)
    monkeypatch.setattr(libsvm_writer, "ENTRIES", 13)
    assert encode(block) == text
    assert encode(block.replace(features=block.features.toarray())) == text


def test_what_cannot_be_written():
    x = np.ones((2, 2), np.float32)
    for block, message in (
        (Block.of(x, x), "rows have one label, these have 2"),
        (Block.of(x, None, x[0]), "weights stand beside labels"),
        (Block.of(x, x[0]).replace(groups=np.array([0, -1])), "qid:-1 is below 0"),
    ):
        with pytest.raises(UserError, match=message):
            encode(block)
