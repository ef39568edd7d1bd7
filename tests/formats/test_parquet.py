"""Parquet in and out, by way of pyarrow's own tables."""

import contextlib
import gzip
import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos import formats
from smalgos.errors import PlatformError, UserError
from smalgos.formats import parquet
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import stream
from smalgos.formats.content_type import PARQUET
from smalgos.formats.parquet import encode, read_blocks, write_blocks


class Trickle(io.RawIOBase):
    """A file that can be read forwards only, a few bytes at a time."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, view):
        data = self.data.read(min(len(view), 1000))
        view[: len(data)] = data
        return len(data)


def file_of(table, **options):
    """The bytes of a table."""
    file = io.BytesIO()
    pq.write_table(pa.table(table) if isinstance(table, dict) else table, file, **options)
    return file.getvalue()


def read(data, **options):
    """All rows of the bytes of a file as one block."""
    blocks = list(read_blocks(io.BytesIO(data), "a.parquet", **options))
    starts = np.cumsum([0] + [len(b) for b in blocks])
    assert [b.start for b in blocks] == list(starts[:-1])
    for b in blocks:
        for name, column in b.columns.items():
            assert column.dtype == (np.int64 if name == "groups" else np.float32)
            assert column.flags.c_contiguous
            assert column.flags.writeable
    return Block.join(blocks) if blocks else None


TYPES = [
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bool",
]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(TYPES), min_size=3, max_size=6),
    st.integers(1, 200), st.integers(0, 2), st.booleans(), st.integers(1, 100),
)  # fmt: skip
def test_reads_what_pyarrow_reads(types, n, label_size, weights, group):
    rng = np.random.default_rng(n)
    columns = [rng.integers(0, 2 if t == "bool" else 100, n).astype(t) for t in types]
    columns = [c / 7 if t == "float64" else c for c, t in zip(columns, types, strict=True)]
    data = file_of({f"c{i}": c for i, c in enumerate(columns)}, row_group_size=group)
    expected = np.stack([c.astype(np.float32) for c in columns], axis=1)
    leading = label_size + weights
    if leading == len(types):
        with pytest.raises(UserError, match=rf"has {leading} columns: label_size=2 and weights"):
            read(data, label_size=label_size, weights=weights)
        return
    block = read(data, label_size=label_size, weights=weights)
    assert np.array_equal(block.features, expected[:, leading:])
    if label_size:
        assert np.array_equal(block.labels.reshape(n, -1), expected[:, :label_size])
    else:
        assert block.labels is None
    if weights:
        assert np.array_equal(block.weights, expected[:, label_size])


@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize("large", [False, True])
def test_lists(size, large):
    rows = [[1, 2, 3], [4, 5, 6.5], [np.nan, -1, 0]]
    kind = pa.list_(pa.float64(), size) if size else pa.list_(pa.float32())
    kind = pa.large_list(pa.float32()) if large and not size else kind
    data = file_of({"y": [1, 0, 1], "x": pa.array(rows, kind)})
    block = read(data)
    assert np.array_equal(block.features, np.array(rows, np.float32), equal_nan=True)
    assert block.labels.tolist() == [1, 0, 1]


float32s = st.floats(width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[float32s] * 4, st.integers(-(2**63), 2**63 - 1)), min_size=1),
    st.sets(st.sampled_from(["labels", "weights", "groups"])),
    st.booleans(), st.integers(1, 5),
)  # fmt: skip
def test_what_is_written_is_read_back(rows, names, sparse, cut):
    table = np.array([row[:4] for row in rows], np.float32)
    columns = {
        "labels": table[:, 0], "weights": table[:, 1],
        "groups": np.array([row[4] for row in rows], np.int64),
    }  # fmt: skip
    x = np.ascontiguousarray(table[:, 2:])
    block = Block({"features": Csr.of(x) if sparse else x, **{n: columns[n] for n in names}})
    file = io.BytesIO()
    write_blocks(file, block.batches(cut))
    assert file.getvalue() == encode(block)
    back = read(file.getvalue(), label_size=0 if "labels" in names else 1)
    assert back.columns.keys() == block.columns.keys()
    for name in names:
        assert back[name].tobytes() == block[name].tobytes()
    if sparse:  # which has no zeros, and so no negative ones
        assert np.array_equal(back.features, x, equal_nan=True)
    else:
        assert back.features.tobytes() == x.tobytes()


def test_others_read_what_is_written(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    formats.write(tmp_path / "a.parquet", Block.of(x, x[:, :2], x[:, 2]))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["label_0", "label_1", "weight", "f0", "f1", "f2"]
    assert set(table.schema.types) == {pa.float32()}
    frame = table.to_pandas()
    assert np.array_equal(frame.to_numpy(), np.hstack([x[:, :2], x[:, 2:], x]))


def test_wide_rows_are_lists(monkeypatch):
    monkeypatch.setattr(parquet, "MOST_COLUMNS", 4)
    x = np.arange(35, dtype=np.float32).reshape(5, 7)
    for features in (x, Csr.of(x)):
        data = encode(Block.of(features, x[:, 0]))
        assert pq.read_table(io.BytesIO(data)).column_names == ["label", "features"]
        block = read(data)
        assert np.array_equal(block.features, x)
        assert np.array_equal(block.labels, x[:, 0])


def test_row_groups_do_not_depend_on_blocks(monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 100)
    monkeypatch.setattr(parquet, "CELLS", 150)
    x = np.random.default_rng(0).normal(size=(1030, 3)).astype(np.float32)
    whole = encode(Block.of(x))
    for size in (1, 7, 100, 1000):
        file = io.BytesIO()
        write_blocks(file, Block.of(x).batches(size))
        assert file.getvalue() == whole
    assert pq.ParquetFile(io.BytesIO(whole)).metadata.num_row_groups == 11
    sizes = [len(b) for b in read_blocks(io.BytesIO(whole), "a", label_size=0)]
    assert max(sizes) <= 50
    assert np.array_equal(read(whole).features, x)


def test_what_was_read_is_not_kept(tmp_path):
    blocks = [Block.of(np.random.default_rng(i).random((65536, 4), np.float32)) for i in range(12)]
    formats.write(tmp_path / "a.parquet", blocks)
    size = (tmp_path / "a.parquet").stat().st_size
    rows = stream(tmp_path / "a.parquet")
    tracemalloc.start()
    try:
        assert sum(map(len, rows.open())) == 12 * 65536
        assert tracemalloc.get_traced_memory()[1] < size / 2
    finally:
        tracemalloc.stop()


def test_files_that_cannot_be_sought_in(tmp_path):
    block = Block.of(np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32))
    data = encode(block)
    formats.write(tmp_path / "a.parquet.gz", block)
    assert gzip.decompress((tmp_path / "a.parquet.gz").read_bytes()) == data
    for source in (data, Trickle(data), tmp_path / "a.parquet.gz"):
        assert np.array_equal(formats.read(source).features, block.features)
    with open(tmp_path / "b.parquet", "wb") as file:
        file.write(data)
    rows = stream(tmp_path / "b.parquet")
    assert sum(map(len, rows.open())) == 3000
    assert rows.taken >= len(data)
    assert rows.size == len(data)


def test_a_full_disk_is_no_fault_of_the_user(monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.tempfile, "SpooledTemporaryFile", lambda size: Full())
    with pytest.raises(PlatformError, match=r"no temporary copy .* a\.parquet: .*No space"):
        list(read_blocks(Trickle(b"PAR1"), "a.parquet"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"y": [1, 2], "x": [1.5, None]}, "row 2, column 'x': is missing (null)"),
        ({"y": [1, 2], "x": [[1.0], None]}, "row 2, column 'x': is missing (null)"),
        ({"y": [1, 2], "x": [[1.0, 2], [2, None]]}, "row 2, column 'x': has a number that is miss"),
        ({"y": [1, 2], "x": [[1.0, 2], [2]]}, "row 2, column 'x': has 1 numbers, where the first"),
        ({"y": [1, 2], "x": ["a", "b"]}, "column 'x': string is no number: leave it out"),
        ({"y": [1, 2], "x": [["a"], ["b"]]}, "column 'x': list<element: string> is no number"),
        ({"y": [1, 2], "x": [[1], [2]], "z": [1, 2]}, "column 'x': lists are features only as the"),
        ({"y": [[1], [2]], "x": [1, 2]}, "column 'y': lists are features only as the one column"),
        ({"y": [1, 2]}, "has 1 columns: label_size=1 needs more"),
    ],
)  # fmt: skip
def test_messages(table, message):
    with pytest.raises(UserError) as e:
        read(file_of(table))
    assert str(e.value).startswith(
        f"a.parquet{',' if 'has 1 col' not in message else ''} {message}"
    )


@pytest.mark.parametrize("columns", [{"y": [1.0], "x": [1e39]}, {"y": [1e39], "x": [1.0]}])
def test_what_float32_cannot_hold_is_infinite(columns):
    block = read(file_of(columns))
    assert np.inf in (block.labels[0], block.features[0, 0])


def test_groups_are_integers():
    column = pa.field("q", pa.float64(), metadata={b"smalgos": b"groups"})
    features = pa.field("x", pa.float32(), metadata={b"smalgos": b"features"})
    table = pa.table([[0.5], [1.0]], schema=pa.schema([column, features]))
    with pytest.raises(UserError, match=r"column 'q': groups \(qid\) are integers, not double"):
        read(file_of(table))


def test_rows_are_counted_through_the_file(monkeypatch):
    monkeypatch.setattr(parquet, "CELLS", 100)
    x = [float(i) for i in range(999)] + [None]
    with pytest.raises(UserError, match=r"row 1000, column 'x': is missing"):
        read(file_of({"y": x[:1] * 1000, "x": x}, row_group_size=300))


def test_options_are_checked_at_once():
    with pytest.raises(UserError, match="label_size=-1"):
        read_blocks(io.BytesIO(), "a", label_size=-1)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_bytes_are_rows_or_a_user_error(data):
    good = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(0, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    damaged = (
        bytes(good[: data.draw(st.integers(0, len(good)))])
        if data.draw(st.booleans())
        else bytes(good)
    )
    with contextlib.suppress(UserError):
        assert len(formats.read(damaged, PARQUET)) > 0


WHOLE = encode(Block.of(np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20.0)))


def test_no_blocks():
    with pytest.raises(UserError, match="no rows to write"):
        write_blocks(io.BytesIO(), [])
    empty = encode(Block.of(np.empty((0, 2), np.float32)))
    assert read(empty) is None


def test_blocks_that_disagree():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(UserError, match="row 3: features: rows of 2, but expected rows of 3"):
        write_blocks(io.BytesIO(), [Block.of(x), Block.of(x[:, :2]).at(2)])
