"""CSV in and out, against Python's csv module and float."""

import gzip
import io
import lzma
import random
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.errors import UserError
from smalgos.formats import csv, csv_pieces, csv_writer
from smalgos.formats.block import Block, Csr, Ragged
from smalgos.formats.csv import encode, encode_columns, read_blocks
from smalgos.formats.csv_rows import parse_rows
from smalgos.formats.floats import MARGIN
from tests.reference import csv as reference


class Trickle:
    """A file of which each call gives only a part, as pipes and sockets do."""

    def __init__(self, data, seed):
        self.data, self.random = io.BytesIO(data), random.Random(seed)

    def read(self, n):
        return self.data.read(self.random.randint(1, max(1, min(n, 50))))


class TrickleInto(Trickle):
    """The same with `readinto`."""

    def readinto(self, view):
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def read(data, **options):
    """All rows of the bytes of a file as one block."""
    file = options.pop("file", None) or io.BytesIO(data)
    blocks = list(read_blocks(file, "train.csv", **options))
    starts = np.cumsum([0] + [len(b) for b in blocks])
    assert [b.start for b in blocks] == list(starts[:-1])
    for b in blocks:
        assert len(b) > 0
        for column in b.columns.values():
            assert column.dtype == np.float32
            assert column.flags.c_contiguous
    return Block.join(blocks) if blocks else None


def bits(a):
    a = np.ascontiguousarray(a)
    return np.where(np.isnan(a), np.float32(np.nan), a).view(np.uint32)


def check(data, **options):
    """Read as the reference does: the same bits, or an error in the same row."""
    plain = {k: v for k, v in options.items() if k not in ("chunk_bytes", "file")}
    try:
        expected = reference.read(data, **plain)
    except reference.Bad as bad:
        with pytest.raises(UserError, match=rf"^train\.csv, row {bad.row}\b"):
            read(data, **options)
        return
    block = read(data, **options)
    if block is None:
        assert len(expected[2]) == 0
        return
    for got, want in zip((block.labels, block.weights, block.features), expected, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            assert got.shape == want.shape
            assert np.array_equal(bits(got), bits(want))


digits = st.text("0123456789", max_size=12)
spelled = st.one_of(
    st.floats(width=32).map(repr),
    st.floats().map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map("{:.6g}".format),
    st.floats(-1e6, 1e6).map("{:.20f}".format),
    st.builds("{:.{}e}".format, st.floats(width=32), st.integers(0, 20)),
    st.builds("{:.{}f}".format, st.floats(-1e5, 1e5), st.integers(0, 20)),
    st.integers(-300, 70000).map(str),
    st.integers().map(str),
    st.builds("{}{}.{}".format, st.sampled_from(["", "-", "+"]), digits, digits).filter(
        lambda s: any(c.isdigit() for c in s)
    ),
    st.builds("{}.{}e{}".format, st.integers(0, 99), digits, st.integers(-60, 60)),
    st.sampled_from(["nan", "NaN", "inf", "-inf", "Infinity", "-INFINITY", "1e400", "5e-324"]),
)
plainly = st.one_of(st.integers(0, 9).map(str), st.floats(-9, 9).map("{:.4f}".format))


@st.composite
def tables(draw):
    """Options and a file of numbers in all kinds of writing."""
    label_size = draw(st.integers(0, 3))
    weights = draw(st.booleans())
    delimiter = draw(st.sampled_from(",,,;\t| "))
    missing = draw(st.sampled_from(["error", "nan"]))
    width = label_size + weights + draw(st.integers(1, 6))
    odd = draw(st.booleans())
    cell = spelled if odd else plainly
    if missing == "nan" and width > 1:
        cell = st.one_of(cell, st.just(""))
    space = st.sampled_from(["", "", "", " ", "  "] if delimiter != " " and odd else [""])
    inside = st.sampled_from(["", "", "", " ", "\t", "\n", delimiter] if odd else [""])
    end = st.sampled_from(["\n", "\r\n"])
    lines = []
    for _ in range(draw(st.integers(0, 30))):
        cells = []
        for text in draw(st.lists(cell, min_size=width, max_size=width)):
            if odd and draw(st.integers(0, 7)) == 0:
                padding = draw(inside)
                text = f'"{text}{padding if padding != delimiter else ""}"'
            cells.append(draw(space) + text + draw(space))
        lines.append(delimiter.join(cells) + draw(end))
    text = "".join(lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    else:
        text += draw(st.sampled_from(["", "\n", "\n\n\n", "\r\n\r\n"]))
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()
    options = dict(label_size=label_size, weights=weights, delimiter=delimiter, missing=missing)
    return data, options


chunks = st.one_of(st.integers(1, 2000), st.just(8 << 20))


@settings(deadline=None, max_examples=150)
@given(tables(), chunks, st.integers(0, 2), st.randoms(use_true_random=False))
def test_reads_what_python_reads(table, chunk_bytes, kind, rng):
    data, options = table
    file = (io.BytesIO(data), Trickle(data, rng.random()), TrickleInto(data, rng.random()))[kind]
    check(data, chunk_bytes=chunk_bytes, file=file, **options)


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(
        st.text('0123456789.,,,,\n\n\n\n\r"-+eE na\tif_;x\x0bé\x00').map(str.encode),
        st.lists(
            st.sampled_from(["1,2\n", "3,4\n", "5,6\r\n", "\n", '"', "x", ",", "\r", " ", "_"])
        )
        .map("".join)
        .map(str.encode),
        st.binary(max_size=60),
    ),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(["error", "nan"]),
    st.integers(1, 100),
)
@example(b'1,2\n"1"" ,3\n', 1, False, "error", 8)
@example(b"1,2\n\n1,x\n", 1, False, "error", 8)
@example(b"\n \n1,2\n", 1, False, "error", 8)
@example(b'1\n""\n2\n', 0, False, "nan", 8)
@example(b"1,2\r3,4\n5,6", 1, False, "error", 8)
@example(b'1,2\n"', 1, False, "error", 8)
@example(b"1,.nan\n", 1, False, "nan", 8)
@example(b"1,2\n3,4\x00\n", 1, False, "error", 800)
def test_any_bytes_are_rows_or_a_user_error(data, label_size, weights, missing, chunk_bytes):
    options = dict(label_size=label_size, weights=weights, missing=missing)
    check(data, chunk_bytes=chunk_bytes, **options)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(tables(), chunks)
def test_reads_what_python_reads_at_length(table, chunk_bytes):
    check(table[0], chunk_bytes=chunk_bytes, **table[1])


@pytest.mark.parametrize(
    "line",
    ["1,2.5,-3", "1,0.12345678901234567,-2.2250738585072014e-308", '"1","2.5","-3"', "1, 2.5, -3",
     "1 ,2.5 ,-3 ", "1,nan,-inf", "1,1e5,+7",
     "1e-05,-1.2345678e+07,1.234567890123456789e-01", '"1.5e+10", "-2.5E-10","0.0e+00"',
     "1,.5,5.", "1,1234567890123,12345678.12345678",
     '1, "2.5" ," 3 "', "1,Infinity,1e400"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_kernel_takes_ordinary_text(line, end, monkeypatch):
    """The way through the csv module is for oddities alone."""
    monkeypatch.setattr(csv._Table, "parse_oddities", None)
    check((line + end).encode() * 20 + end.encode())
    check((line + end).encode() * 20, chunk_bytes=200)


def test_what_stands_around_the_text_is_no_part_of_it():
    margin = b"9e-0" * (MARGIN // 4)
    text = np.frombuffer(bytearray(margin + b"7,8\n" + margin), np.uint8)
    lead, features = np.empty((1, 1), np.float32), np.empty((1, 1), np.float32)
    assert parse_rows(text, MARGIN, MARGIN + 4, np.uint8(44), False, lead, features) == 1
    assert (lead[0, 0], features[0, 0]) == (7, 8)
    text[MARGIN] = ord(" ")  # not plain
    assert parse_rows(text, MARGIN, MARGIN + 4, np.uint8(44), False, lead, features) == -1


def test_nothing_in_it():
    for data in (b"", b"\n", b"\r\n\n", b"\xef\xbb\xbf"):
        assert read(data) is None


def test_shapes():
    block = read(b"1,2,3\n4,5,6\n")
    assert block.labels.tolist() == [1, 4]
    assert block.features.tolist() == [[2, 3], [5, 6]]
    assert block.weights is None
    block = read(b"1,2,3\n4,5,6\n", label_size=0)
    assert block.labels is None
    assert block.features.shape == (2, 3)
    block = read(b"1,2,3,7\n4,5,6,8\n", label_size=2, weights=True)
    assert block.labels.tolist() == [[1, 2], [4, 5]]
    assert block.weights.tolist() == [3, 6]
    assert block.features.tolist() == [[7], [8]]


def test_long_file_on_several_threads():
    """The same bits, whatever the pieces; quotes and oddities in some of them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20000 if COMPILED else 1000, 7))
    lines = [",".join(map(repr, row)) + "\n" for row in x.tolist()]
    lines[777] = "1,2,3,4,5,6,7_\n".replace("7_", '"7\n"')
    x[777] = range(1, 8)
    data = "".join(lines).encode()
    for chunk_bytes in (1 << 14, 1 << 17, 8 << 20, 1 << 30):
        block = read(data, chunk_bytes=chunk_bytes)
        assert np.array_equal(block.labels, x[:, 0].astype(np.float32))
        assert np.array_equal(block.features, x[:, 1:].astype(np.float32))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-32"]
)
def test_encodings(encoding):
    data = "1,2.5\n3,-4\n".encode(encoding)
    for chunk_bytes in (8, 100, 8 << 20):
        block = read(data, encoding=encoding, chunk_bytes=chunk_bytes)
        assert block.labels.tolist() == [1, 3]
        assert block.features.tolist() == [[2.5], [-4]]
    with pytest.raises(UserError, match=r"row 1, column 2: 'é' is not a number"):
        read("1,é\n".encode(encoding), encoding=encoding)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"age,sex\n1,2\n", {}, "row 1 looks like a header ('age', 'sex'): the algorithms take"),
        (b'"y",a,b,c\n1,2,3,4\n', {}, "row 1 looks like a header ('y', 'a', 'b', ...)"),
        (b",age\n0,2\n", {}, "row 1 looks like a header ('', 'age')"),
        (b"1,2\n1,x\n", {}, "row 2, column 2: 'x' is not a number"),
        (b"1,M\n", {}, "row 1, column 2: 'M' is not a number"),
        (b"1;2\n", {}, "row 1 looks like a header ('1;2')"),
        (b"1,2\n1,2_0\n", {}, "row 2, column 2: '2_0' is not a number"),
        ("1,2\n1,\uff12\n".encode(), {}, "row 2, column 2: '\uff12' is not a number"),
        (b"1,2\n1," + b"x" * 99, {}, f"row 2, column 2: '{'x' * 40}...' is not a number"),
        (b"1,2\n1,\n", {}, "row 2, column 2 is empty: fill in missing values first"),
        (b"1,2\n1,  \n", {}, "row 2, column 2 is empty"),
        (b'1,2\n1,""\n', {}, "row 2, column 2 is empty"),
        (b"1,2\n1,2,3\n", {}, "row 2 has 3 columns, the first row has 2"),
        (b"1,2\n1,2\n1\n", {}, "row 3 has 1 column, the first row has 2"),
        (b"1,2\n\n1,2\n", {}, "row 2 is blank: remove it"),
        (b"\n1,2\n", {}, "row 1 is blank"),
        (b"1\n2\n", {}, "row 1 has 1 column: label_size=1 needs at least 2, separated by ','"),
        (b"1,2\n", {"weights": True}, "row 1 has 2 columns: label_size=1 and weights needs"),
        (b'1,2\n1,"2\n1,3\n', {}, "row 2, column 2: '2\\n1,3\\n' is not a number"),
        (b'1,2\n1,"2\n', {}, "row 2: a quote is opened and never closed"),
        (b"1,2\n1,2\n1," + b"9" * 200000 + b'"', {}, "row 3 is no CSV: field larger than"),
    ],
)  # fmt: skip
def test_messages(data, options, message):
    for chunk_bytes in (8, 8 << 20):
        with pytest.raises(UserError) as e:
            read(data, chunk_bytes=chunk_bytes, **options)
        assert str(e.value).startswith(f"train.csv, {message}")


def test_row_numbers_go_through_the_file():
    data = b"1,2\n" * 5000 + b'1,"3"\n' + b"1,2\n" * 5000 + b"1,x\n" + b"1,2\n" * 9000
    with pytest.raises(UserError, match="row 10002, column 2"):
        read(data, chunk_bytes=16000)


def test_rows_before_an_error_are_given_first():
    data = b"1,2\n" * 100 + b"1,x\n"
    blocks = read_blocks(io.BytesIO(data), "train.csv", chunk_bytes=160)
    rows = []
    with pytest.raises(UserError, match="row 101"):
        rows.extend(len(b) for b in blocks)
    assert sum(rows) > 90


def test_header_is_looked_for_only_at_the_beginning():
    with pytest.raises(UserError, match=r"row 1, column 1: 'a' is not a number"):
        read(b"a,b\n1,2\n", first=False)


def test_endless_row(monkeypatch):
    monkeypatch.setattr(csv_pieces, "MAX_ROW_BYTES", 1000)
    data = b"1,2\n" * 10 + b"1," + b"2" * 5000 + b"\n"
    with pytest.raises(UserError, match=r"row 11 is longer than 1000 bytes: there is no line end"):
        read(data, chunk_bytes=800)
    data = b"1,2\n" * 10 + b'1,"2\n' + b"1,2\n" * 5000
    with pytest.raises(UserError, match=r"row 11 is longer .* a quote that is never closed"):
        read(data, chunk_bytes=800)


@pytest.mark.parametrize(
    ("pack", "unpack"), [(gzip.compress, gzip.open), (lzma.compress, lzma.open)]
)
def test_cut_off_compression(pack, unpack):
    rng = np.random.default_rng(0)
    data = "".join(f"{a!r},{b!r}\n" for a, b in rng.random((3000, 2)).tolist()).encode()
    packed = pack(data)
    check(data, file=unpack(io.BytesIO(packed)))
    file = unpack(io.BytesIO(packed[: len(packed) // 2]))
    with pytest.raises(UserError, match=r"train\.csv: the compressed data is .* byte \d+ of the"):
        read(b"", file=file, chunk_bytes=80000)


def test_damaged_compression():
    packed = bytearray(gzip.compress(np.random.default_rng(0).bytes(3000)))
    packed[1000:1100] = bytes(100)
    with gzip.open(io.BytesIO(packed)) as file, pytest.raises(UserError, match="compressed data"):
        read(b"", file=file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_size": -1}, "label_size=-1"),
        ({"delimiter": ""}, "delimiter ''"),
        ({"delimiter": ",,"}, "delimiter ',,'"),
        ({"delimiter": "e"}, "delimiter 'e'"),
        ({"delimiter": "7"}, "delimiter '7'"),
        ({"delimiter": "."}, r"delimiter '\.'"),
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "§"}, "delimiter"),
        ({"encoding": "klingon"}, "encoding 'klingon'"),
        ({"encoding": "zlib"}, "encoding 'zlib'"),
        ({"encoding": "idna"}, "encoding .idna."),
        ({"missing": "0"}, "missing='0'"),
    ],
)
def test_options_are_checked_at_once(options, message):
    with pytest.raises(UserError, match=message):
        read_blocks(io.BytesIO(b"1,2\n"), "train.csv", **options)


class TestRowIndex:
    """A column that counts the rows."""

    @staticmethod
    def warnings_of(columns, **options):
        data = "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(data.encode(), **options)
        return [str(w.message) for w in caught]

    @pytest.mark.parametrize("chunk_bytes", [100, 8 << 20])
    @pytest.mark.parametrize("start", [0, 1])
    def test_first_feature(self, start, chunk_bytes):
        columns = [[7] * 300, range(start, 300 + start), range(300)]
        (message,) = self.warnings_of(columns, chunk_bytes=chunk_bytes)
        assert message.startswith(f"column 2 of train.csv counts {start}, {start + 1}, {start + 2}")
        (message,) = self.warnings_of([[3] * 300, *columns], weights=True)
        assert message.startswith("column 3 of train.csv")

    def test_label(self):
        (message,) = self.warnings_of([range(100), [7] * 100])
        assert message.startswith("column 1 of train.csv")

    def test_other_columns_and_short_files_pass(self):
        assert not self.warnings_of([[7] * 300, [7] * 300, range(300)])
        assert not self.warnings_of([range(99), range(99)])
        assert not self.warnings_of([[7] * 300, range(2, 302)])
        assert not self.warnings_of([[7] * 300, [*range(299), 0][::-1]])
        assert not self.warnings_of([range(300), range(300)], first=False)


float32s = st.floats(width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(float32s, float32s, float32s, float32s), min_size=1), st.booleans())
def test_what_is_written_is_read_back(rows, weights):
    table = np.array(rows, np.float32)
    block = Block.of(table[:, 2:], table[:, 0], table[:, 1] if weights else None)
    back = read(encode(block), weights=weights)
    assert back.columns.keys() == block.columns.keys()
    for name, column in block.columns.items():
        assert np.array_equal(bits(back[name]), bits(column))


@pytest.mark.parametrize("step", [4001, pytest.param(61, marks=pytest.mark.slow)])
def test_float32_of_all_sizes_are_read_back(step):
    step *= 1 if COMPILED else 50
    x = np.arange(1, 0x7F800000, step, dtype=np.uint32).view(np.float32)
    x = x[: len(x) // 50 * 50].reshape(-1, 50)
    assert np.array_equal(read(encode(Block.of(x)), label_size=0).features, x)


def test_written_text():
    block = Block.of(
        np.array([[1, -0.5], [0.1, 1e20], [np.nan, -np.inf]], np.float32),
        np.array([3, 1, 2], np.float32),
        np.array([1, 2, 0.25], np.float32),
    )
    assert encode(block) == b"3,1,1,-0.5\n1,2,0.1,1e+20\n2,0.25,nan,-inf\n"
    assert encode(block, delimiter=";").startswith(b"3;1;1;-0.5\n1;2")
    assert encode(Block.of(np.ones((2, 3), np.float32))) == b"1,1,1\n1,1,1\n"
    assert encode(Block.of(np.empty((0, 3), np.float32))) == b""


def test_sparse_rows_are_written_densely(monkeypatch):
    monkeypatch.setattr(csv_writer, "_CELLS", 10)
    x = np.zeros((20, 4), np.float32)
    x[::3, 1] = 2.5
    x[5, 3] = -1
    labels = np.arange(40, dtype=np.float32).reshape(20, 2)
    assert encode(Block.of(Csr.of(x), labels)) == encode(Block.of(x, labels))
    assert np.array_equal(read(encode(Block.of(Csr.of(x))), label_size=0).features, x)


def test_columns_of_a_response():
    ragged = Ragged.of([[1, 2], [], [3]], np.float32)[1:]
    columns = [np.array([7, 8]), np.array([[0.1, 0.2], [1, 2]]), ragged]
    assert encode_columns(columns) == b"7,0.1,0.2,\n8,1,2,3\n"
    assert encode_columns([np.array([True, False])]) == b"1\n0\n"
    assert encode_columns([np.array([0.1, 1 / 3])]) == b"0.1\n0.3333333333333333\n"


def test_no_rows_are_no_bytes():
    none = np.zeros(0, np.float32)
    assert encode_columns([none, none]) == b""
    assert encode(Block.of(np.zeros((0, 3), np.float32), none)) == b""


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        ("1,2;3", ","), ("1;2", ";"), ("1.5|-2e+5|", "|"), ("1\t2 3", "\t"), ("1 2", " "),
        ("7", ","), ('"1";"2"', ";"), ("\n\n1:2", ":"), ("", ","), ("nan;inf", ";"),
    ],
)  # fmt: skip
def test_a_delimiter_is_found_in_the_first_row(first, delimiter):
    def look(read):
        for text in (first, "1,2,3"):
            yield from read(io.BytesIO(text.encode()), "train.csv")

    assert csv.settle(look, delimiter=None) == {"delimiter": delimiter}
    assert csv.settle(look) == {}
    wide = first.encode("utf-16")
    found = csv.settle(lambda read: read(io.BytesIO(wide), "x"), delimiter=None, encoding="utf-16")
    assert found == {"delimiter": delimiter}


@pytest.mark.parametrize("mark", ",;|\t ")
def test_any_delimiter_is_read_where_none_is_named(mark):
    rows = np.arange(12, dtype=np.float32).reshape(3, 4) / 4
    text = "".join(mark.join(map(str, row)) + "\n" for row in rows.tolist()).encode()
    for chunk_bytes in (8 << 20, 8):
        block = read(text, delimiter=None, chunk_bytes=chunk_bytes)
        np.testing.assert_array_equal(block.features, rows[:, 1:])
    gap = text.replace(f"{mark}0.25".encode(), mark.encode())
    block = read(gap, delimiter=None, missing="nan")
    assert np.isnan(block.features[0, 0])
    assert read(b"", delimiter=None) is None
    with pytest.raises(UserError, match=r"train.csv, row 2"):
        read(b"1;2\n1,2\n", delimiter=None)
