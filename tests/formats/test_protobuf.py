"""Records: our reader and writer against the protobuf library and the original SDK's files."""

import contextlib
import io
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalgos._jit import COMPILED
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr, Ragged
from smalgos.formats.protobuf import (
    encode,
    encode_records,
    message_classes,
    read_blocks,
    write_blocks,
)
from smalgos.formats.recordio import frame, write_records
from tests.formats import make_recordio_golden as golden
from tests.formats.test_recordio import Dribble, peak_below
from tests.reference.protobuf import (
    field,
    frames,
    message,
    row,
    rows,
    split_frame,
    varint,
)

FLOAT32, FLOAT64, INT32, BYTES = 2, 3, 7, 9
PACKED = {FLOAT32: "<f", FLOAT64: "<d"}
SINGLE = {FLOAT32: 5, FLOAT64: 1, INT32: 0}


def read(data: bytes, **options) -> Block:
    """All rows as one block, whatever blocks they came in."""
    blocks = list(read_blocks(io.BytesIO(data), "f", **options))
    if len({type(b.features) for b in blocks}) > 1:
        blocks = [b.replace(features=dense(b.features)) for b in blocks]
    return Block.join(blocks)


def dense(features):
    if isinstance(features, Csr):
        with np.errstate(over="ignore", invalid="ignore"):
            return features.toarray()
    return features


def number(kind: int, value) -> bytes:
    return struct.pack(PACKED[kind], value) if kind in PACKED else varint(int(value))


def tensor(kind, values=(), keys=(), shape=()) -> bytes:
    """The contents of a tensor, all packed."""
    out = b""
    for n, items, of in ((1, values, kind), (2, keys, INT32), (3, shape, INT32)):
        if len(items):
            out += message(n, b"".join(number(of, v) for v in items))
    return out


def entry(contents: bytes, kind: int = FLOAT32, name: bytes = b"values", tag: int = 1) -> bytes:
    """A map entry with a tensor: tag 1 features, 2 label."""
    return message(tag, message(1, name) + message(2, message(kind, contents)))


def dense_record(values, label=None, kind=FLOAT32) -> bytes:
    out = entry(tensor(kind, values), kind)
    return out if label is None else out + entry(tensor(FLOAT32, [label]), tag=2)


# --- random records, in all the ways in which protobuf lets a message be written

floats32 = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0])
NUMBERS = {
    FLOAT32: floats32,
    FLOAT64: st.floats() | floats32,
    INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 300),
}
kinds = st.sampled_from([FLOAT32, FLOAT64, INT32])


@st.composite
def unknown(draw, depth=0) -> bytes:
    """A field that no message of the schema has, of any wire type."""
    n, kind = draw(st.integers(10, 2**29 - 1) | st.integers(10, 20)), draw(st.integers(0, 5))
    if kind in (3, 4):
        inner = [draw(unknown(depth + 1)) for _ in range(draw(st.integers(0, 2)))]
        return field(n, 3, b"".join(inner) if depth < 3 else b"")
    size = {1: 8, 5: 4}.get(kind)
    if kind == 0:
        return field(n, 0, varint(draw(st.integers(0, 2**64 - 1))))
    return field(n, kind, draw(st.binary(min_size=size or 0, max_size=size or 9)))


@st.composite
def littered(draw, fields) -> bytes:
    """Fields in the order given, with unknown ones between them now and then."""
    if draw(st.integers(0, 5)):
        return b"".join(fields)
    return b"".join(x for f in fields for x in (f, draw(unknown())))


@st.composite
def merged(draw, lists):
    """Lists in one, each in its order."""
    lists, out = [list(x) for x in lists if x], []
    while lists:
        one = draw(st.sampled_from(lists))
        out.append(one.pop(0))
        lists = [x for x in lists if x]
    return out


@st.composite
def pieces(draw, n, kind, items):
    """The fields of one list of a tensor: packed or single, in one piece or in several."""
    out, items = [], list(items)
    plain = draw(st.booleans())
    while items:
        if plain or draw(st.booleans()):
            count = len(items) if plain else draw(st.integers(1, len(items)))
            out.append(message(n, b"".join(number(kind, v) for v in items[:count])))
        else:
            count = 1
            out.append(field(n, SINGLE[kind], number(kind, items[0])))
        items = items[count:]
        if not plain and draw(st.integers(0, 6)) == 0:
            out.append(message(n, b""))
    return out


@st.composite
def tensors(draw, kind, values, keys, shape):
    """The fields of a Value that holds this tensor, maybe in several pieces, maybe after others."""
    lists = [
        draw(pieces(1, kind, values)),
        draw(pieces(2, INT32, keys)),
        draw(pieces(3, INT32, shape)),
    ]
    parts = draw(merged(lists)) if draw(st.booleans()) else [x for y in lists for x in y]
    cut = draw(st.integers(0, len(parts)) | st.just(len(parts)))
    out = [message(kind, draw(littered(p))) for p in (parts[:cut], parts[cut:])]
    if draw(st.integers(0, 4)) == 0:
        other = draw(kinds.filter(lambda k: k != kind))
        out.insert(0, message(other, tensor(other, [1, 2], [3], [4])))
        if draw(st.booleans()):
            out.insert(0, message(kind, tensor(kind, [7, 8, 9], [200, 1])))
    return out


@st.composite
def entries(draw, tag, kind, values, keys=(), shape=()):
    """Map entries of which the last "values" is this tensor."""
    fields = draw(tensors(kind, values, keys, shape))
    cut = draw(st.integers(0, len(fields)) | st.just(len(fields)))
    parts = [message(2, draw(littered(fields[:cut])))]
    if cut < len(fields):
        parts.append(message(2, draw(littered(fields[cut:]))))
    parts.insert(draw(st.integers(0, len(parts))), message(1, b"values"))
    if draw(st.integers(0, 6)) == 0:
        parts.insert(0, message(1, b"valves"))
    out = [message(tag, b"".join(parts))]  # unknown fields here: see the test below
    if draw(st.integers(0, 4)) == 0:
        out.insert(0, entry(tensor(INT32, [5], [6], [7]), INT32, tag=tag))
    if draw(st.integers(0, 4)) == 0:
        out.append(entry(tensor(FLOAT32, [5.0]), name=draw(names), tag=tag))
    return out


names = st.sampled_from([b"", b"value", b"values2", b"score", "größe".encode()])
texts = st.sampled_from(["", "a", "row 7", "größe"])


@st.composite
def records(draw, width, n_labels, sparse):
    """One record of `width` features; sparse: yes, no, or None for any."""
    kind = draw(kinds)
    sparse = draw(st.booleans()) if sparse is None else sparse
    keys, shape = [], []
    if sparse:
        keys = draw(st.lists(st.integers(0, width - 1), max_size=6))
        factor = draw(st.sampled_from([f for f in range(1, width + 1) if width % f == 0]))
        shape = draw(st.sampled_from([[width], [factor, width // factor]]))
    n = len(keys) if sparse else width
    values = draw(st.lists(NUMBERS[kind], min_size=n, max_size=n))
    groups = [draw(entries(1, kind, values, keys, shape))]
    if n_labels:
        kind = draw(kinds)
        labels = draw(st.lists(NUMBERS[kind], min_size=n_labels, max_size=n_labels))
        groups.append(draw(entries(2, kind, labels)))
    for n, text in ((3, draw(texts)), (4, draw(texts)), (5, draw(texts))):
        if text:
            groups.append([message(n, text.encode())])
    return draw(littered(draw(merged(groups))))


any_kind = st.sampled_from([True, False, None])


@st.composite
def files(draw, max_records=6, sparse=any_kind):
    """Payloads of records that fit together, some of them of one layout."""
    width = draw(st.integers(1, 6) | st.sampled_from([120, 300, 70_000]))
    kind = draw(sparse) if width < 1000 else True
    one = records(width, draw(st.integers(0, 2)), kind)
    payloads = draw(st.lists(one, min_size=1, max_size=max_records))
    if draw(st.booleans()):
        payloads += [payloads[-1]] * draw(st.integers(1, 4))
    return payloads


def assert_same_rows(block: Block, want, strings: bool = False) -> None:
    assert len(block) == len(want)
    np.testing.assert_array_equal(dense(block.features), np.stack([r.features for r in want]))
    assert dense(block.features).dtype == np.float32
    if len(want[0].labels):
        labels = block.labels.reshape(len(want), -1)
        np.testing.assert_array_equal(labels, np.stack([r.labels for r in want]))
        assert block.labels.dtype == np.float32
    else:
        assert block.labels is None
    if strings:
        assert [block["uid"].row(i).tobytes() for i in range(len(want))] == [r.uid for r in want]
        metadata = [block["metadata"].row(i).tobytes() for i in range(len(want))]
        assert metadata == [r.metadata for r in want]


def check_reader(payloads, split, data) -> None:
    file = b"".join(map(split_frame if split else frame, payloads))
    steps = data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=4))
    size = data.draw(st.integers(1, 400) | st.just(8 << 20))
    want = rows(file)
    options = dict(uid=True, metadata=True)
    blocks = list(read_blocks(Dribble(file, steps), "f", chunk_bytes=size, **options))
    at = 0
    for block in blocks:
        assert block.start == at
        at += len(block)
        mine = want[block.start : at]
        assert isinstance(block.features, Csr) == any(r.sparse for r in mine)
        assert_same_rows(block, mine, strings=True)
    assert at == len(want)


@settings(deadline=None, max_examples=40)
@given(files(), st.booleans(), st.data())
def test_reader_agrees_with_the_library(payloads, split, data):
    check_reader(payloads, split, data)


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(files(), st.booleans(), st.data())
def test_reader_agrees_with_the_library_at_length(payloads, split, data):
    check_reader(payloads, split, data)


@settings(deadline=None, max_examples=25)
@given(files(sparse=st.booleans()), st.data())
def test_reading_in_pieces_changes_nothing(payloads, data):
    file = b"".join(map(frame, payloads))
    whole = read(file)
    steps = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=4))
    source = Dribble(file, steps, into=data.draw(st.booleans()))
    part = Block.join(list(read_blocks(source, "f", chunk_bytes=data.draw(st.integers(1, 200)))))
    names = ["values", "indices", "offsets"] if isinstance(whole.features, Csr) else ["T"]
    for name in names:
        a, b = getattr(whole.features, name), getattr(part.features, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert (whole.labels is None) == (part.labels is None)
    if whole.labels is not None:
        np.testing.assert_array_equal(whole.labels, part.labels)


@settings(deadline=None, max_examples=6)
@given(files(max_records=3), st.integers(1, 100))
def test_a_truncated_file_is_never_silently_shorter(payloads, chunk_bytes):
    parts = list(map(frame, payloads))
    file, ends = b"".join(parts), np.cumsum([0] + [len(p) for p in parts])
    for cut in range(len(file)):
        complete = int(np.searchsorted(ends, cut, "right")) - 1
        whole = ends[complete + 1] - cut <= -len(payloads[complete]) % 4  # padding is missing
        blocks = read_blocks(io.BytesIO(file[:cut]), "f", chunk_bytes=chunk_bytes)
        if cut in ends or whole:
            assert sum(map(len, blocks)) == complete + whole
            continue
        got = []
        with pytest.raises(UserError, match=f"f: record {complete}, byte"):
            got.extend(blocks)
        assert sum(map(len, got)) == complete


def check_flips(payloads, data) -> None:
    file = bytearray(b"".join(map(frame, payloads)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(1, 400))
    with contextlib.suppress(UserError):
        list(read_blocks(io.BytesIO(file), "f", uid=True, metadata=True, chunk_bytes=size))


@settings(deadline=None, max_examples=60)
@given(files(max_records=3), st.data())
def test_flipped_bytes_raise_nothing_but_user_errors(payloads, data):
    check_flips(payloads, data)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(files(max_records=3), st.data())
def test_flipped_bytes_raise_nothing_but_user_errors_at_length(payloads, data):
    check_flips(payloads, data)


# --- one rule each


def test_dense_float32():
    block = read(frame(dense_record([1.5, 2.5], 3)) + frame(dense_record([4, 5], 6)))
    assert block.features.tolist() == [[1.5, 2.5], [4, 5]]
    assert block.labels.tolist() == [3, 6]
    assert {c.dtype for c in block.columns.values()} == {np.dtype("f4")}


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT64, INT32])
def test_every_tensor_becomes_float32(kind):
    block = read(frame(entry(tensor(kind, [7, -2, 2**24 + 1]), kind)))
    assert block.features.tolist() == [[7, -2, 2**24]]


def test_labels_of_several_values_are_a_matrix():
    label = entry(tensor(FLOAT64, [1, 2, 3]), FLOAT64, tag=2)
    assert read(frame(dense_record([1]) + label) * 2).labels.tolist() == [[1, 2, 3]] * 2


def test_a_label_without_values_is_none():
    assert read(frame(dense_record([1]) + entry(b"", tag=2))).labels is None


def test_an_all_zero_sparse_row_is_zeros():
    block = read(frame(entry(tensor(FLOAT32, [], [], [5]))) * 2)
    assert isinstance(block.features, Csr)
    assert block.features.toarray().tolist() == [[0] * 5] * 2


def test_keys_are_row_major_and_stay_as_they_are():
    features = read(frame(entry(tensor(FLOAT32, [1, 2, 4], [5, 0, 5], [2, 3])))).features
    assert features.indices.tolist() == [5, 0, 5]
    assert features.toarray().tolist() == [[2, 0, 0, 0, 0, 5]]


def test_dense_rows_among_sparse_ones_have_an_entry_for_every_column():
    file = frame(dense_record([0, 3])) + frame(entry(tensor(FLOAT32, [7], [1], [2])))
    features = read(file).features
    assert features.indices.tolist() == [0, 1, 1]
    assert features.values.tolist() == [0, 3, 7]


def test_a_float64_beyond_float32_is_infinite():
    with np.errstate(all="raise"):
        block = read(frame(entry(tensor(FLOAT64, [1e300, -1e300]), FLOAT64)))
    assert block.features.tolist() == [[np.inf, -np.inf]]


def test_uid_and_metadata_are_kept_on_request():
    uids = ["", "a", "much longer"]
    file = b"".join(frame(dense_record([1]) + message(3, u.encode())) for u in uids)
    assert set(read(file).columns) == {"features"}
    block = read(file, uid=True, metadata=True)
    assert [bytes(block["uid"].row(i)).decode() for i in range(3)] == uids
    assert len(block["metadata"]) == 3
    assert len(block["metadata"].values) == 0


def test_an_unknown_field_in_a_map_entry_is_skipped():
    # As in C++ and Java; the library for Python sets such an entry aside as a whole.
    contents = message(1, b"values") + field(9, 0, b"\1") + message(2, message(FLOAT32, b""))
    contents += message(2, message(FLOAT32, tensor(FLOAT32, [1, 2])))
    assert read(frame(message(1, contents))).features.tolist() == [[1, 2]]


def test_an_empty_file_has_no_blocks():
    assert list(read_blocks(io.BytesIO(), "f")) == []


def test_a_record_longer_than_a_chunk():
    values = np.arange(5000)
    file = frame(dense_record(values)) * 3
    for size in (1, 5000, 30_000):
        blocks = list(read_blocks(io.BytesIO(file), "f", chunk_bytes=size))
        np.testing.assert_array_equal(Block.join(blocks).features, [values] * 3)


def test_records_of_one_layout_may_change_their_numbers_only():
    # The second and third are compared with a model; the last has its varints cut elsewhere.
    label = [entry(tensor(INT32, v), INT32, tag=2) for v in ([1, 2], [3, 300], [4, 5], [400, 6])]
    payloads = [dense_record([i]) + v for i, v in enumerate(label)] * 3
    payloads.sort(key=len)
    assert_same_rows(read(b"".join(map(frame, payloads))), [row(p) for p in payloads])


# --- errors

LABEL = entry(tensor(FLOAT32, [1]), tag=2)
GOOD = dense_record([1, 2])  # 32 bytes in its frame: the payload of the next is at 40


def wrong(contents: bytes, kind: int = FLOAT32) -> bytes:
    return entry(contents, kind)


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "byte 40: no features under the key"),
        (LABEL, "byte 40: no features under the key"),
        (entry(tensor(FLOAT32, [1, 2]), name=b"value"), "byte 40: no features under the key"),
        (message(1, message(1, b"values")), "byte 42: a tensor without values"),
        (wrong(b""), "byte 42: a tensor without values"),
        (wrong(tensor(FLOAT32, [], [], [0])), "byte 42: a tensor without values"),
        (wrong(message(1, b"abc"), BYTES), "byte 42: bytes where numbers are needed"),
        (wrong(tensor(FLOAT32, [1, 2], [1], [2])), "byte 42: as many keys as values"),
        (wrong(tensor(FLOAT32, [], [1], [2])), "byte 42: as many keys as values"),
        (wrong(tensor(FLOAT32, [1], [1])), "byte 42: a sparse tensor (one with keys) without"),
        (wrong(tensor(FLOAT32, [1, 2], [], [3])), "byte 42: a dense tensor whose shape"),
        (wrong(tensor(FLOAT32, [1], [1], [2**31])), "byte 42: a shape of 2**31"),
        (wrong(tensor(FLOAT32, [1], [1], [2**20, 2**20])), "byte 42: a shape of 2**31"),
        (wrong(tensor(FLOAT32, [1], [1], [2**63, 2])), "byte 42: a shape of 2**31"),
        (wrong(tensor(FLOAT32, [1], [1], [-1])), "byte 42: a shape of 2**31"),
        (wrong(tensor(FLOAT32, [1], [2], [2])), "byte 62: a key that is not below"),
        (wrong(tensor(FLOAT32, [1], [-1], [2])), "byte 62: a key that is not below"),
        (wrong(message(2, b"\x80" * 10 + b"\1") + tensor(FLOAT32, [1], [], [2])), "more than 64"),
        (wrong(tensor(FLOAT32, [1, 2, 3])), "byte 42: 3 features where the records before it"),
        (GOOD + LABEL, "byte 66: 1 labels where the records before it have 0"),
        (GOOD + entry(tensor(FLOAT32, [1], [0], [1]), tag=2), "byte 66: a sparse label"),
        (GOOD + entry(tensor(FLOAT32, [1], [], [2]), tag=2), "byte 66: a dense tensor whose"),
        (GOOD + entry(b"", BYTES, tag=2), "byte 66: bytes where numbers"),
        (GOOD + b"\x80", "byte 64: a number that does not end"),
        (GOOD + b"\x80" * 10 + b"\1", "byte 64: a number of more than 64 bits"),
        (GOOD + b"\xff" * 9 + b"\2", "byte 64: a number of more than 64 bits"),
        (GOOD + b"\x52\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", "byte 64: a field that reaches"),
        (GOOD + b"\x52\2a", "byte 64: a field that reaches past the end"),
        (GOOD + b"\x51abcdefg", "byte 64: a field that reaches past the end"),
        (GOOD + b"\x55abc", "byte 64: a field that reaches past the end"),
        (GOOD + b"\2\0", "byte 64: a field number or wire type"),
        (GOOD + b"\x56\0", "byte 64: a field number or wire type"),
        (GOOD + varint(2**32 + 8) + b"\0", "byte 64: a field number or wire type"),
        (GOOD + b"\x08\1", "byte 64: a field of another wire type"),
        (GOOD + b"\x0b\x0c", "byte 64: a field of another wire type"),
        (GOOD + field(3, 0, b"\1"), "byte 64: a field of another wire type"),
        (GOOD + b"\x54", "byte 64: a group that does not end"),
        (GOOD + b"\x53", "byte 64: a group that does not end"),
        (GOOD + b"\x53\x5c", "byte 65: a group that does not end"),
        (GOOD + b"\x53" * 101, "byte 164: a group that does not end"),
        (message(1, field(1, 0, b"\1")), "byte 42: a field of another wire type"),
        (message(1, message(2, field(2, 0, b"\1"))), "byte 44: a field of another wire type"),
        (wrong(field(1, 1, b"12345678")), "byte 54: a field of another wire type"),
        (wrong(field(2, 5, b"1234")), "byte 54: a field of another wire type"),
        (wrong(message(1, b"12345")), "byte 54: a list of values that ends within"),
        (wrong(message(1, b"1234567"), FLOAT64), "byte 54: a list of values that ends within"),
        (wrong(message(1, b"\1\x80"), INT32), "byte 54: a number that does not end"),
        (wrong(message(1, b"\1" + b"\x80" * 10 + b"\1"), INT32), "byte 57: a number of more"),
        (wrong(tensor(FLOAT32, [1]) + message(2, b"\x80")), "byte 60: a number that does not"),
        (wrong(tensor(FLOAT32, [1]) + message(3, b"\x80")), "byte 60: a number that does not"),
        (wrong(message(3, b"\x80" * 10 + b"\1")), "byte 54: a number of more than 64"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_byte(payload, what):
    file = frame(GOOD) + frame(payload)
    with pytest.raises(UserError) as error:
        read(file)
    assert str(error.value).startswith("f: record 1, ")
    assert what in str(error.value)


@pytest.mark.parametrize("keys", [[[3], [0]], [[0], [-1]], [[0], [2**40]]])
def test_a_bad_key_in_pieces_is_an_error(keys):
    contents = tensor(FLOAT32, [1, 2], [], [3]) + b"".join(tensor(FLOAT32, [], k) for k in keys)
    file = frame(entry(tensor(FLOAT32, [1], [1], [3]))) + frame(entry(contents))
    with pytest.raises(UserError, match="f: record 1, byte 46: a key that is not below"):
        read(file)


def test_an_overlong_value_in_pieces_is_an_error():
    contents = message(1, b"\1") + message(1, b"\x80" * 10 + b"\1")
    with pytest.raises(UserError, match="f: record 1, byte 38: a number of more than 64"):
        read(frame(entry(tensor(INT32, [1, 2]), INT32)) + frame(entry(contents, INT32)))


def test_an_error_in_a_split_record_names_its_first_byte():
    payload = b"\x52\6ab" + b"\x0a\x23\xd7\xce" + GOOD + b"\0"
    file = frame(GOOD) + split_frame(payload)
    assert len(file) > len(frame(GOOD) + frame(payload))
    with pytest.raises(UserError, match=r"record 1 \(split, from byte 32\): a field number"):
        read(file)


def test_the_first_of_several_errors_is_named():
    file = frame(GOOD) * 3 + frame(dense_record([1])) + frame(b"\x80")
    with pytest.raises(UserError, match=r"record 3, .*1 features where .* have 2"):
        read(file)


def test_a_hostile_shape_takes_no_memory():
    sparse = frame(entry(tensor(FLOAT32, [1], [1], [2**31 - 1])))
    with peak_below(8 << 20):
        block = read(sparse * 100, chunk_bytes=1 << 12)
    assert block.features.shape == (100, 2**31 - 1)


def test_memory_is_bounded_by_the_chunk():
    one = frame(dense_record(np.arange(100), 1))
    n_records = 100_000 if COMPILED else 2_000  # 45 MB

    class Endless(io.RawIOBase):
        left = n_records * len(one)

        def readinto(self, buffer) -> int:
            begin, n = -self.left % len(one), min(len(buffer), self.left, 50_000)
            buffer[:n] = (one * (n // len(one) + 2))[begin : begin + n]
            self.left -= n
            return n

    with peak_below(8 << 20):
        n = sum(len(block) for block in read_blocks(Endless(), "f", chunk_bytes=1 << 18))
    assert n == n_records


# --- writing


def test_a_record_as_the_schema_has_it():
    payload = frames(encode(Block.of(np.array([[1, 2]], np.float32), np.array([3.0]))))[0]
    Record = message_classes().Record
    record = Record()
    record.features["values"].float32_tensor.values.extend([1, 2])
    record.label["values"].float64_tensor.values.extend([3])
    assert payload == record.SerializeToString()


def as_block(features, labels) -> Block:
    if isinstance(features, tuple):
        values, indices, offsets, width = features
        features = Csr(values, indices.astype(np.int32), offsets.astype(np.int64), width)
    return Block.of(features, labels)


@pytest.mark.parametrize("name", list(golden.cases()))
def test_writes_the_bytes_of_the_original_sdk(name):
    want = (Path(__file__).parent / "golden" / f"{name}.pbr").read_bytes()
    block = as_block(*golden.cases()[name])
    assert encode(block) == want
    back = read(want)
    np.testing.assert_array_equal(dense(back.features), dense(block.features).astype("f4"))


@pytest.mark.slow
@pytest.mark.skipif(
    "SMALGOS_ORACLE_SDK" not in os.environ,
    reason="SMALGOS_ORACLE_SDK names no Python with sagemaker 2.257.6 and scipy",
)
def test_writes_the_bytes_of_the_original_sdk_on_random_arrays(tmp_path):
    rng, named = np.random.default_rng(0), {}
    types = [np.float32, np.float64, np.int64]
    for i in range(60):
        n, d = int(rng.integers(1, 30)), int(rng.choice([1, 3, 31, 32, 33, 200, 5000]))
        rows = (rng.standard_cauchy((n, d)) * 100).astype(types[i % 3])
        rows[rng.random((n, d)) < rng.random()] = 0
        labels = [None, *(rng.integers(-300, 300, n).astype(t) for t in types)][i // 3 % 4]
        if i % 2:
            csr = Csr.of(rows)
            named[f"case{i}"] = (csr.values, csr.indices, csr.offsets, d), labels
        else:
            named[f"case{i}"] = rows, labels
    golden.save(tmp_path / "arrays.npz", named)
    python = os.environ["SMALGOS_ORACLE_SDK"]
    command = [python, golden.__file__, str(tmp_path), str(tmp_path / "arrays.npz")]
    subprocess.run(command, check=True, capture_output=True)
    for name, case in named.items():
        assert encode(as_block(*case)) == (tmp_path / f"{name}.pbr").read_bytes(), name


@st.composite
def blocks(draw) -> Block:
    n, d = draw(st.integers(1, 5)), draw(st.integers(1, 7) | st.sampled_from([40, 200]))
    types = st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])

    def matrix(shape):
        dtype = np.dtype(draw(types))
        within = {"i": st.integers(-(2**31), 2**31 - 1), "f": st.floats(width=32)}
        return draw(
            arrays(dtype, shape, elements=within.get(dtype.kind if dtype.itemsize > 1 else ""))
        )

    features = matrix((n, d))
    if draw(st.booleans()):
        features = Csr.of(features)
    labels = draw(st.sampled_from([None, (n,), (n, 1), (n, 3)]))
    columns = dict(features=features)
    if labels:
        columns["labels"] = matrix(labels)
    for name in ("uid", "metadata"):
        if draw(st.booleans()):
            strings = [draw(texts).encode() for _ in range(n)]
            columns[name] = Ragged.of([list(s) for s in strings], np.uint8)
    return Block(columns)


def check_writer(block) -> None:
    data = encode(block)
    want = rows(data)  # by the library
    features = block.features.toarray() if isinstance(block.features, Csr) else block.features
    np.testing.assert_array_equal(features.astype("f4"), np.stack([r.features for r in want]))
    for i, record in enumerate(want):
        labels = np.ravel(block.labels[i]) if block.labels is not None else []
        np.testing.assert_array_equal(np.asarray(labels, "f4"), record.labels)
        for name in ("uid", "metadata"):
            text = block[name].row(i).tobytes() if name in block else b""
            assert getattr(record, name) == text
    assert_same_rows(read(data, uid=True, metadata=True), want, strings=True)
    again = message_classes().Record.FromString(frames(data)[0])
    assert again.SerializeToString() == frames(data)[0]
    file = io.BytesIO()
    write_blocks(file, [block[:1], block[1:]])
    assert file.getvalue() == data


@settings(deadline=None, max_examples=40)
@given(blocks())
def test_what_is_written_is_read_by_the_library_and_by_us(block):
    check_writer(block)


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(blocks())
def test_what_is_written_is_read_by_the_library_and_by_us_at_length(block):
    check_writer(block)


def test_features_may_be_converted():
    block = Block.of(np.array([[1, 2]], np.float64))
    assert encode(block, dtype=np.float32) == encode(Block.of(np.array([[1, 2]], np.float32)))
    file = io.BytesIO()
    write_blocks(file, [block], dtype=np.float32)
    assert file.getvalue() == encode(block, dtype=np.float32)


def test_any_layout_in_memory_is_written():
    X = np.arange(12, dtype=np.float32).reshape(3, 4)
    want = encode(Block.of(X))
    frozen = X.copy()
    frozen.flags.writeable = False
    for same in (np.asfortranarray(X), frozen, X.astype(">f4"), np.repeat(X, 2, axis=1)[:, ::2]):
        assert encode(Block.of(same)) == want
    assert encode(Block.of(X)[1:]) == want[len(want) // 3 :]
    csr = Csr.of(X)
    assert encode(Block.of(csr)[1:]) == encode(Block.of(Csr.of(X[1:])))


def test_more_rows_than_are_encoded_at_a_time():
    X = np.arange(5000, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(read(encode(Block.of(X, X[:, 0]))).features, X)
    data = encode_records({"score": X[:, 0]})
    assert [message_classes().Record.FromString(p) for p in frames(data)[4998:]] == [
        message_classes().Record.FromString(frames(encode_records({"score": X[i]}))[0])
        for i in (4998, 4999)
    ]


def test_no_rows_are_no_bytes():
    assert encode(Block.of(np.empty((0, 3), np.float32))) == b""
    assert encode_records({"score": np.empty(0)}) == b""


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integers_beyond_int32_are_refused(value):
    with pytest.raises(UserError, match=f"{value} is beyond int32"):
        encode(Block.of(np.array([[1, value]])))


def test_what_records_cannot_hold_is_refused():
    with pytest.raises(UserError, match="no place for weights"):
        encode(Block.of(np.ones((1, 1)), weights=np.ones(1)))
    with pytest.raises(UserError, match="values of type <U1"):
        encode(Block.of(np.array([["a"]])))


def test_responses_are_labels_without_features():
    outputs = {
        "score": np.array([[0.25, 0.75], [0.5, 0.5]]),
        "predicted_label": np.array([1, 0]),
    }
    data = encode_records(outputs, uid=Ragged.of([list(b""), list(b"row 1")], np.uint8))
    first, second = (message_classes().Record.FromString(p) for p in frames(data))
    assert not first.features
    assert set(first.label) == {"score", "predicted_label"}
    assert list(first.label["score"].float32_tensor.values) == [0.25, 0.75]
    assert list(first.label["predicted_label"].float32_tensor.values) == [1]
    assert not first.HasField("uid")
    assert second.uid == "row 1"
    assert list(second.label["predicted_label"].float32_tensor.values) == [0]


def test_message_classes_know_the_whole_schema():
    Record = message_classes().Record
    record = Record(uid="1", metadata="{}", configuration="{}")
    record.features["a"].bytes.value.append(b"x")
    record.features["a"].bytes.content_type = "image/png"
    record.label["values"].int32_tensor.keys.append(2**63)
    assert Record.FromString(record.SerializeToString()) == record
    assert Record.DESCRIPTOR.full_name == "aialgs.data.Record"
    assert message_classes() is message_classes()


def test_messages_of_the_library_are_read():
    messages = []
    for i in range(3):
        record = message_classes().Record()
        record.features["values"].float64_tensor.values.extend([i, 0.5])
        record.label["values"].int32_tensor.values.append(-i)
        messages.append(record)
    file = io.BytesIO()
    write_records(file, (r.SerializeToString() for r in messages))
    block = read(file.getvalue())
    assert block.features.tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert block.labels.tolist() == [0, -1, -2]
