"""libffm: rows with fields, read by way of libsvm; what is wrong is named; both ways."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos import formats
from smalgos.errors import UserError
from smalgos.formats import Block, Csr, libffm
from smalgos.formats.content_type import guess
from tests.reference import libsvm as reference

TEXT = b"1 0:0:1 1:3:.5\n0:2 1:4:2 # 1:1\n\n1 0:1:1 2:7:1\n"


def read(text, **options):
    return list(libffm.read_blocks(io.BytesIO(text), "a.ffm", **options))


def plain(block):
    x = block.features
    return [
        (x.indices[a:b].tolist(), x.values[a:b].tolist())
        for a, b in zip(x.offsets[:-1], x.offsets[1:], strict=True)
    ]


def test_rows_and_fields():
    text = TEXT.replace(b"0:2 ", b"0 ")
    block = formats.read(text, "text/libffm")
    assert block.labels.tolist() == [1, 0, 1]
    assert plain(block) == [([0, 3], [1, 0.5]), ([4], [2]), ([1, 7], [1, 1])]
    assert libffm.fields_of(text).tolist() == [0, 0, 0, 1, 1, 0, 0, 2]
    assert libffm.fields_of(text, width=10).tolist() == [0, 0, 0, 1, 1, 0, 0, 2, 0, 0]
    assert guess(text).type == guess(b"", "rows.ffm").type == "text/libffm"


def test_columns_from_one_on():
    text = b"1 0:1:1 1:3:.5\n0 1:2:2\n"
    assert formats.read(text, "text/libffm").features.width == 3
    assert libffm.fields_of(text).tolist() == [0, 1, 1]
    assert libffm.fields_of(text, base=0).tolist() == [0, 0, 1, 1]


def test_rows_to_predict():
    (block,) = read(b"0:0:1 1:3:.5\n7 1:3:1\n", label_size=0, width=4)
    assert block.labels is None
    assert plain(block) == [([0, 3], [1, 0.5]), ([3], [1])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1 0:0:1\n0 1:1 2:3:4\n", "row 2, byte 3: '1:1' is not field:index:value"),
        (b"1 0:0:1\n\n0  x:1:1\n", "row 2, byte 4: 'x:1:1' is not field:index:value"),
        (b"1 0:0:1\n0 65536:1:1\n", "row 2, byte 3: '65536:1:1'"),
        (b"1 0:0:1 :1:1\n", "row 1, byte 9: ':1:1'"),
        (b"1 0:0:1 1:1:1:1#x\n", "row 1, byte 9: '1:1:1:1' is not"),
        (b"1 0:0:1\n0 2:1:1 3:2:a\n", "row 2, byte 11: '2:a' is not index:value with a number"),
        (b"1 0:0:1 1:0:2\n", "row 1, byte 11: '0:2' is an index that the row has already"),
        (b"a 0:0:1\n0 1\n", "row 1, byte 1: 'a' is no label"),
        (b"1 0:0:1\n0:1 1:1:1\n", "row 2 has a weight"),
        (b"1 0:9:1\n", "index 9 is beyond the 8 columns"),
    ],
)
def test_what_is_wrong_is_named(text, said):
    with pytest.raises(UserError) as caught:
        read(text, width=8)
    assert said in str(caught.value)
    assert str(caught.value).startswith("a.ffm")


def test_a_column_of_two_fields(tmp_path):
    (tmp_path / "a").write_bytes(b"1 0:0:1\n0 1:3:1\n")
    (tmp_path / "b").write_bytes(b"1 0:0:1\n\n0 1:1:1 2:3:1\n")
    with pytest.raises(
        UserError, match=r"b, row 2: index 3 is of field 2 here, elsewhere of field 1"
    ):
        formats.read(tmp_path, "text/libffm")
    with pytest.raises(UserError, match="row 1: index 3 is of field 0 here, elsewhere of field 1"):
        formats.read(b"1 0:3:1 \n0 1:3:1\n", "text/libffm")


def test_a_column_beyond_all_reason():
    with pytest.raises(UserError, match="row 2: index 2147483646 is beyond the 268435456 columns"):
        formats.read(b"1 0:1:1\n0 1:2147483646:1\n", "text/libffm")


ENTRIES = st.dictionaries(
    st.integers(0, 12), st.floats(width=32, allow_nan=False).filter(lambda v: v != 0), max_size=5
)


@settings(deadline=None, max_examples=40)
@given(st.lists(ENTRIES, min_size=1, max_size=20), st.sampled_from([8, 40, 1 << 20]), st.data())
def test_there_and_back(rows, chunk, data):
    fields = np.array(data.draw(st.lists(st.integers(0, 65_535), min_size=13, max_size=13)))
    x = np.zeros((len(rows), 13), np.float32)
    for i, row in enumerate(rows):
        x[i, list(row)] = list(row.values())
    block = Block.of(Csr.of(x), np.arange(len(rows), dtype=np.float32))
    text = libffm.encode(block, fields)
    back = Block.join(read(text, width=13, chunk_bytes=chunk))
    assert np.array_equal(back.features.toarray(), x)
    assert np.array_equal(back.labels, block.labels)
    file = io.BytesIO()
    libffm.write_blocks(file, [block[:1], block[1:]], fields)
    assert np.array_equal(libffm.fields_of(file.getvalue())[x.any(axis=0)], fields[x.any(axis=0)])
    assert np.array_equal(formats.read(file.getvalue(), "text/libffm").features.toarray(), x)


SPELT = st.sampled_from(
    ["0:1:1", "7:2:.5", "65535:3:1e3", "1:4:nan", "00001:5:2", "2:1", "x:6:1", "1:7:1:1", "1",
     "qid:3", "1:8:", "1::1", ":9:1", "3:11:1#4:5:6", "#", "99999:1:1", "-1:2:3"]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(["1", "0", "1:2", "x"]), st.lists(SPELT, max_size=4)),
                max_size=6), st.sampled_from([0, 1]), st.sampled_from([16, 1 << 20]))  # fmt: skip
def test_rows_are_those_of_libsvm_without_fields(lines, labelled, chunk):
    """Against the slow parser: fields taken out by a regular expression, the rest as libsvm."""
    text = "".join(" ".join([label, *tokens]) + "\n" for label, tokens in lines)
    good, bad = _slow(text, labelled)
    found, error = [], ""
    try:
        blocks = libffm.read_blocks(
            io.BytesIO(text.encode()), "a", width=20, label_size=labelled, chunk_bytes=chunk
        )
        for block in blocks:
            found += plain(block)
    except UserError as e:
        error = str(e)
    assert (f"row {bad}" in error) if bad else not error
    if not bad:
        assert repr(found) == repr(good)


def _slow(text, labelled):
    rows = []
    for line in text.split("\n"):
        tokens = line.partition("#")[0].split()
        if not tokens:
            continue
        lead = tokens[:1] if labelled or ":" not in tokens[0] else []
        at, entries = len(rows) + 1, []
        for token in tokens[len(lead) :]:
            field, _, entry = token.partition(":")
            fits = field.isdigit() and len(field) <= 5 and int(field) <= 65_535
            if token.startswith("qid:"):
                entries.append(token)
            elif token.count(":") != 2 or not fits:
                return [], at
            else:
                entries.append(entry)
        try:
            rows += [" ".join([*lead, *entries])]
            parsed = reference.read("\n".join(rows).encode(), width=20, label_size=labelled)
        except reference.Bad:
            return [], at
    parsed = reference.read("\n".join(rows).encode(), width=20, label_size=labelled)
    return [(list(e), [float(v) for v in e.values()]) for *_, e in parsed], 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([0, 1], "one whole number for each of the 3 columns"),
        ([0, 1, 65_536], "from 0 to 65535"),
        ([0.0, 1.0, 2.0], "one whole number"),
    ],
)
def test_fields_that_cannot_be_written(fields, said):
    with pytest.raises(UserError, match=said):
        libffm.encode(Block.of(np.ones((1, 3), np.float32)), fields)


def test_without_fields_each_column_is_one():
    text = libffm.encode(Block.of(np.float32([[1, 0, 2]]), np.float32([1])))
    assert text == b"1 0:0:1 2:2:2\n"
