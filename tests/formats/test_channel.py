"""Streams: the same rows from arrays, files, pipes and generators; exact blocks; reading ahead."""

import contextvars
import gzip
import io
import itertools
import os
import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import PlatformError, RowError, UserError
from smalgos.formats import channel as channels
from smalgos.formats import reading
from smalgos.formats.block import Block, Csr, Ragged
from smalgos.formats.channel import Arrays, Files, Once, Pipe, ahead, channel, conform, cut, kinds
from smalgos.formats.shards import unpacked


def read_numbers(file, name, *, rows=3, width=2):
    """A stand-in reader: float32 numbers, a label and `width` features in each row."""
    data, start = b"", 0
    while True:
        more = file.read(4 * (1 + width) * rows - len(data))
        data += more
        n = len(data) // (4 * (1 + width))
        if (not more or n == rows) and n:
            numbers = np.frombuffer(data, np.float32).reshape(n, 1 + width).copy()
            if (numbers < 0).any():
                raise UserError(f"{name}: a negative number")
            yield Block({"features": numbers[:, 1:], "labels": numbers[:, 0]}, start)
            start, data = start + n, b""
        if not more:
            return


def rows(first, n, width=2):
    """n rows whose label is their number."""
    out = np.zeros((n, 1 + width), np.float32)
    out[:, 0] = np.arange(first, first + n)
    out[:, 1:] = out[:, :1] * 10 + np.arange(width)
    return out


def block_of(numbers, start=0):
    return Block({"features": numbers[:, 1:].copy(), "labels": numbers[:, 0].copy()}, start)


def labels(blocks):
    """The row numbers that blocks bring; and they count their rows from 0."""
    at, out = 0, []
    for block in blocks:
        assert block.start == at
        assert len(block) > 0
        at += len(block)
        out += block.labels.astype(int).tolist()
    return out


def folder_of(root, sizes, width=2):
    """Files of so many rows each, numbered through."""
    root.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum([0, *sizes])
    for i, (first, n) in enumerate(zip(ends, sizes, strict=False)):
        (root / f"part-{i}").write_bytes(rows(int(first), n, width).tobytes())
    return root


# cut ------------------------------------------------------------------------------------------


def mixed(n):
    """n rows with a column of every kind."""
    numbers = rows(0, n, 3)
    ragged = Ragged.of([np.arange(i % 4) + i for i in range(n)], np.int32)
    sparse = Csr.of(np.where(numbers[:, 1:] % 2 == 0, numbers[:, 1:], 0))
    return Block(
        {"features": sparse, "labels": numbers, "tokens": ragged, "weights": numbers[:, 1]}
    )


def plain(block):
    """A block as comparable lists."""
    tokens = block["tokens"]
    return (
        block.start,
        block.features.toarray().tolist(),
        block.labels.tolist(),
        [tokens.row(i).tolist() for i in range(len(tokens))],
        block.weights.tolist(),
    )


def pieces(data, whole):
    """The rows of a block in pieces of drawn sizes, some of them empty, numbered at random."""
    sizes = data.draw(st.lists(st.integers(0, 9), max_size=30))
    ends = [e for e in itertools.accumulate(sizes) if e < len(whole)]
    starts = [0, *ends]
    cuts = [whole[a:b] for a, b in zip(starts, [*ends, len(whole)], strict=True)]
    return [c.at(data.draw(st.integers(0, 5))) for c in cuts]


@settings(deadline=None)
@given(st.data())
def test_cut_does_not_depend_on_the_source(data):
    n = data.draw(st.integers(0, 60))
    size, batch = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 7))
    limit = data.draw(st.none() | st.integers(0, 70))
    skip, tail = data.draw(st.integers(0, 70)), data.draw(st.sampled_from(["keep", "drop"]))
    whole = mixed(n)
    got = cut(
        pieces(data, whole), size, batch=batch, limit=limit, tail=tail, skip=skip, like=kinds(whole)
    )
    # The slow, obvious way.
    size = max(size // batch, 1) * batch
    total = n if limit is None else min(n, limit)
    if tail == "drop" and total >= batch:
        total -= total % batch
    expected = []
    for a in range(0, total, size):
        b = min(a + size, total)
        if b > skip:
            expected.append(plain(whole[max(a, skip) : b]))
    assert [plain(b) for b in got] == expected


def test_cut_does_not_copy_what_it_need_not():
    numbers = rows(0, 100)
    given_block = Block({"features": numbers[:, 1:].copy(), "labels": numbers[:, 0].copy()})
    for block in cut([given_block], 8):
        assert np.shares_memory(block.features, given_block.features)
    blocks = list(cut([given_block[:12], given_block[12:]], 8))
    shared = [np.shares_memory(b.features, given_block.features) for b in blocks]
    assert shared == [True, False] + [True] * (len(blocks) - 2)


def test_cut_asks_for_no_more_than_it_needs():
    asked = []

    def source():
        for i in range(10):
            asked.append(i)
            yield block_of(rows(4 * i, 4))

    assert labels(cut(source(), 3, limit=8)) == list(range(8))
    assert asked == [0, 1]
    asked.clear()
    assert list(cut(source(), 3, limit=0)) == []
    assert asked == []
    first = next(cut(source(), 4))
    assert len(first) == 4
    assert asked == [0]


def test_cut_lets_go_of_its_source():
    ended = []

    def source():
        try:
            while True:
                yield block_of(rows(0, 4))
        finally:
            ended.append(True)

    sources = [source(), source()]  # not let go by being forgotten
    list(cut(sources[0], 4, limit=4))
    assert ended == [True]
    blocks = cut(sources[1], 4)
    next(blocks)
    blocks.close()
    assert ended == [True, True]


@pytest.mark.parametrize(
    ("n", "kept"),
    [(0, []), (1, [1]), (3, [3]), (4, [4]), (5, [4]), (8, [8]), (11, [8]), (19, [8, 8])],
)
def test_a_short_batch_is_dropped_unless_it_is_the_only_one(n, kept):
    blocks = [block_of(rows(i, 1)) for i in range(n)]
    assert [len(b) for b in cut(blocks, 9, batch=4, tail="drop")] == kept
    assert sum(len(b) for b in cut(blocks, 9, batch=4)) == n


def test_skipping_conforms_and_copies_nothing():
    def never(block):
        assert block.start >= 40
        return block

    blocks = cut((block_of(rows(3 * i, 3)) for i in range(20)), 10, skip=40, like=never)
    assert [(b.start, b.labels[0]) for b in blocks] == [(40, 40), (50, 50)]


# Kinds of columns -----------------------------------------------------------------------------


def test_a_stray_sparse_block_becomes_dense_and_the_other_way_round():
    dense = [block_of(rows(5 * i, 5)) for i in range(4)]
    sparse = [b.replace(features=Csr.of(b.features)) for b in dense]
    whole = np.concatenate([b.features for b in dense])
    mix = [dense[0], sparse[1], sparse[2], dense[3]]
    for size in (3, 5, 7, 20):
        got = list(cut(mix, size))
        assert all(isinstance(b.features, np.ndarray) for b in got)
        np.testing.assert_array_equal(np.concatenate([b.features for b in got]), whole)
        got = list(cut(mix, size, like=kinds(sparse[0])))
        assert all(isinstance(b.features, Csr) for b in got)
        np.testing.assert_array_equal(np.concatenate([b.features.toarray() for b in got]), whole)


def test_conform_makes_one_type_of_array():
    like = {"features": ("dense", "float32", 2), "labels": ("dense", "float32", 0)}
    features = np.asfortranarray(rows(0, 6)[:, 1:].astype(np.float64))
    given_labels = np.arange(6, dtype=np.float32)
    given_labels.setflags(write=False)
    block = conform(Block({"features": features, "labels": given_labels, "uid": features}), like)
    assert set(block.columns) == {"features", "labels"}
    for column in block.columns.values():
        assert column.dtype == np.float32
        assert column.flags.c_contiguous
        assert column.flags.writeable
    np.testing.assert_array_equal(block.features, features)


def test_conform_changes_the_type_of_sparse_and_ragged_values():
    whole = mixed(10)[3:8]
    like = {"features": ("csr", "float64", 3), "tokens": ("ragged", "float32", 0)}
    block = conform(whole, like)
    assert block.features.values.dtype == np.float64
    assert block["tokens"].values.dtype == np.float32
    assert len(block.features.values) == int(np.diff(whole.features.offsets).sum())
    np.testing.assert_array_equal(block.features.toarray(), whole.features.toarray())
    for i in range(5):
        np.testing.assert_array_equal(block["tokens"].row(i), whole["tokens"].row(i))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Block({"features": np.ones((4, 2), np.float32)}), "no labels, which are expected"),
        (block_of(rows(0, 4, 3)), "features: rows of 3, but expected rows of 2"),
        (
            Block({"features": np.ones((4, 2)), "labels": np.ones((4, 2))}),
            "labels: rows of 2, but expected single values",
        ),
        (
            Block({"features": Csr.of(np.ones((4, 5))), "labels": np.ones(4)}),
            "features: rows of 5, but expected rows of 2",
        ),
        (
            Block({"features": np.ones((4, 2)), "labels": Ragged.of([[1]] * 4, np.int32)}),
            "labels: ragged rows, but expected single values",
        ),
        (
            block_of(rows(0, 4)).replace(weights=np.ones(4)),
            "has weights, which the rows before have not",
        ),
    ],
)
def test_a_block_of_other_columns_is_an_error_at_its_first_row(bad, said):
    blocks = cut([block_of(rows(0, 5)), block_of(rows(5, 6)), bad], 4)
    with pytest.raises(RowError, match=said) as error:
        list(blocks)
    assert error.value.row == 11


# Reading ahead --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 12), st.integers(0, 4), st.none() | st.integers(0, 12), st.booleans())
def test_ahead_is_map(n, depth, bad, while_reading):
    def source():
        for i in range(n):
            if while_reading and i == bad:
                raise RowError(i, "bad")
            yield block_of(rows(i, 1))

    def prepare(block):
        i = int(block.labels[0])
        if not while_reading and i == bad:
            raise RowError(i, "bad")
        return i, threading.current_thread()

    got, error = [], None
    try:
        for i, thread in ahead(source(), prepare, depth):
            assert (thread is threading.current_thread()) == (depth == 0)
            got.append(i)
    except RowError as e:
        error = e.row
    fails = bad is not None and bad < n
    assert got == list(range(bad if fails else n))
    assert error == (bad if fails else None)


def ahead_threads():
    return [t for t in threading.enumerate() if t.name == "smalgos-ahead"]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_ahead_ends_with_its_reader(depth, taken):
    ended = []

    def source():
        try:
            for i in itertools.count():
                yield block_of(rows(i, 1))
        finally:
            ended.append(threading.current_thread().name)

    blocks = ahead(source(), None, depth)
    for _ in range(taken):
        next(blocks)
    blocks.close()
    assert ended == (["smalgos-ahead"] if taken else [])
    assert ahead_threads() == []


def test_ahead_is_bounded():
    made = []
    seen = threading.Semaphore(0)

    def prepare(block):
        made.append(int(block.labels[0]))
        seen.release()
        return block

    blocks = ahead((block_of(rows(i, 1)) for i in range(100)), prepare, 2)
    next(blocks)
    for _ in range(4):  # one taken, two waiting, one that waits for room
        assert seen.acquire(timeout=10)
    assert not seen.acquire(timeout=0.1)
    assert made == [0, 1, 2, 3]
    blocks.close()


def test_ahead_works_in_the_context_of_its_caller():
    setting = contextvars.ContextVar("setting", default="none")
    setting.set("the caller's")
    got = list(ahead([block_of(rows(0, 1))], lambda _: (setting.get(), np.geterr()["over"])))
    assert got == [("the caller's", np.geterr()["over"])]


# Streams --------------------------------------------------------------------------------------


def test_arrays():
    block = block_of(rows(0, 50), start=7)
    arrays = Arrays(block)
    assert arrays.rows == 50
    assert arrays.replayable
    assert arrays.peek().start == 0
    (whole,) = arrays.open()
    assert np.shares_memory(whole.features, block.features)
    assert labels(arrays.open()) == labels(arrays.open(limited=True)) == list(range(50))
    assert arrays.where(12) == "row 12 of the array, counted from 0"
    assert arrays.fingerprint() == "50 rows of features dense float32 2, labels dense float32 0"
    assert list(Arrays(block[:0]).open()) == list(Arrays(block[:0]).open((0, 0))) == []
    assert Arrays(block[:0]).peek() is None


def test_arrays_shuffled():
    arrays = Arrays(mixed(1000))
    taken = {}
    for order in [(0, 0), (0, 1), (1, 0), (-1, 2**40)]:
        blocks = list(arrays.open(order, rows=64))
        assert [len(b) for b in blocks] == [64] * 15 + [40]
        ids = np.concatenate([b.labels[:, 0] for b in blocks]).astype(int)
        assert sorted(ids) == list(range(1000))
        for row in (0, 63, 64, 999):
            assert arrays.where(row) == f"row {ids[row]} of the array, counted from 0"
        # The size of the pieces changes nothing, and other columns go along.
        whole = next(arrays.open(order, rows=10**6))
        assert whole.labels[:, 0].astype(int).tolist() == ids.tolist()
        np.testing.assert_array_equal(whole.weights, whole.labels[:, 1])
        assert [whole["tokens"].row(i).sum() for i in range(5)] == [
            sum(range(i, i + i % 4)) for i in ids[:5]
        ]
        taken[order] = tuple(ids)
    assert len(set(taken.values())) == 4
    again = np.concatenate([b.labels[:, 0] for b in arrays.open((0, 1))]).astype(int)
    assert tuple(again) == taken[0, 1]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_files_give_their_rows_and_names(tmp_path_factory, data):
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
    root = folder_of(tmp_path_factory.mktemp("data") / "train", sizes)
    files = Files(root, partial(read_numbers, rows=data.draw(st.integers(1, 5))))
    order = data.draw(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = data.draw(st.integers(1, 12))
    starts = np.cumsum([0, *sizes])
    got = labels(cut(files.open(order, rows=size), size))
    assert sorted(got) == list(range(sum(sizes)))
    if order is None:
        assert got == sorted(got)
    for row, number in enumerate(got):
        i = int(np.searchsorted(starts, number, side="right")) - 1
        assert files.where(row) == f"train/part-{i}, row {number - starts[i] + 1}"


def test_a_folder_is_read_as_the_platform_leaves_it(tmp_path):
    """Sub-folders kept, hidden and empty files passed over, gz unpacked, ordered as S3 lists."""
    root = tmp_path / "train"
    contents = {
        "b": rows(6, 2).tobytes(),
        "a/part-1": rows(2, 2).tobytes(),
        "a/part-0.gz": gzip.compress(rows(0, 1).tobytes()) + gzip.compress(rows(1, 1).tobytes()),
        "a-b/part-0": b"",
        "a.x/part-0": rows(4, 1).tobytes(),
        "aa/deep/er/part": rows(5, 1).tobytes(),
        ".hidden": b"!",
        "_SUCCESS": b"!",
        "_temporary/part-9": b"!",
        "..data/part-9": b"!",
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "c").symlink_to(root / "b")
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to(root / "nowhere")
    files = Files(root, read_numbers)
    # As text "." comes before "/": a.x/part-0, then a/part-0.gz.
    assert labels(files.open()) == [4, 0, 1, 2, 3, 5, 6, 7, 6, 7]
    assert files.where(2) == "train/a/part-0.gz, row 2"
    assert files.where(9) == "train/c, row 2"
    assert files.replayable
    assert files.rows is None
    assert labels([files.peek()]) == [4]
    assert labels(files.open()) == labels(files.open(limited=True))


def test_files_from_paths_and_bytes(tmp_path):
    root = folder_of(tmp_path / "data", [3, 2])
    assert labels(Files(root / "part-1", read_numbers).open()) == [3, 4]
    assert Files(root / "part-1", read_numbers).where(0) == "part-1, row 1"
    some = Files([root / "part-1", root, str(root / "part-0")], read_numbers)
    assert labels(some.open()) == [3, 4, 0, 1, 2, 3, 4, 0, 1, 2]
    whole = Files(rows(0, 5).tobytes(), read_numbers, single=True)
    assert labels(whole.open()) == labels(whole.open()) == list(range(5))
    packed = Files(memoryview(gzip.compress(rows(0, 5).tobytes())), read_numbers)
    assert labels(packed.open()) == list(range(5))
    assert whole.where(3) == "the bytes given, row 4"


def test_fingerprint_knows_names_and_sizes_only(tmp_path):
    first = Files(folder_of(tmp_path / "a", [3, 2]), read_numbers).fingerprint()
    moved = folder_of(tmp_path / "b", [3, 2])
    (moved / "part-0").write_bytes(rows(9, 3).tobytes())
    os.utime(moved / "part-0", (1, 1))
    assert Files(moved, read_numbers).fingerprint() == first
    assert str(tmp_path) not in first
    (moved / "part-0").rename(moved / "part-9")
    assert Files(moved, read_numbers).fingerprint() != first
    assert Files(folder_of(tmp_path / "c", [3, 1]), read_numbers).fingerprint() != first
    assert Files(folder_of(tmp_path / "d", [3, 2, 1]), read_numbers).fingerprint() != first


def test_shuffling_files_moves_files_and_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW_BYTES", 20 * 12)
    files = Files(folder_of(tmp_path / "train", [10] * 8), partial(read_numbers, rows=7))
    first = labels(files.open((0, 0), rows=4))
    assert sorted(first) == list(range(80))
    turns = [n // 10 for n in first]
    windows = [set(turns[i : i + 20]) for i in range(0, 80, 20)]
    assert all(len(w) == 2 for w in windows)  # a window holds 20 rows, here two files
    assert len(set.union(*windows)) == 8
    assert windows != [{0, 1}, {2, 3}, {4, 5}, {6, 7}]
    assert any(turns[i : i + 20] != sorted(turns[i : i + 20]) for i in range(0, 80, 20))
    assert labels(files.open((0, 0), rows=3)) == first
    finer = Files(tmp_path / "train", partial(read_numbers, rows=2))
    assert labels(finer.open((0, 0), rows=4)) == first
    assert labels(files.open((0, 1), rows=4)) != first
    assert labels(files.open((1, 0), rows=4)) != first


@pytest.mark.parametrize("order", [None, (0, 0)])
def test_files_that_disagree(tmp_path, order):
    root = folder_of(tmp_path / "train", [4])
    (root / "part-1").write_bytes(rows(0, 4, 3).tobytes())

    def read(file, name):
        return read_numbers(file, name, width=3 if name.endswith("1") else 2)

    with pytest.raises(UserError, match=r"train/part-[01] has .* but train/part-[01] has") as error:
        list(Files(root, read).open(order))
    assert "part-1 has features of width 3 and labels" in str(error.value)
    assert "part-0 has features of width 2 and labels" in str(error.value)

    def unlabelled(file, name):
        for block in read_numbers(file, name):
            yield block if name.endswith("0") else Block({"features": block.features})

    root = folder_of(tmp_path / "other", [4, 4])
    with pytest.raises(UserError, match="part-1 has features of width 2, but other/part-0 has "):
        list(Files(root, unlabelled).open())


def test_a_stray_kind_in_a_shuffled_window_is_no_matter(tmp_path):
    def read(file, name):
        for block in read_numbers(file, name):
            sparse = block.replace(features=Csr.of(block.features))
            yield sparse if name.endswith("1") else block

    files = Files(folder_of(tmp_path / "train", [4, 4]), read)
    (window,) = files.open((0, 0))
    assert sorted(labels([window])) == list(range(8))

    def worse(file, name):
        for block in read_numbers(file, name):
            bad = Block({"features": Ragged.of([[1]] * len(block), np.int32)})
            yield bad if name.endswith("1") else Block({"features": block.labels})

    with pytest.raises(UserError, match=r"^train/part-., row 1: features: "):
        list(Files(tmp_path / "train", worse).open((0, 0)))


def test_nothing_to_read(tmp_path):
    empty = tmp_path / "train"
    empty.mkdir()
    (empty / "_SUCCESS").write_bytes(b"!")
    (empty / "part-0").write_bytes(b"")
    with pytest.raises(UserError, match="train: no files to read"):
        Files(empty, read_numbers)
    with pytest.raises(UserError, match="missing: no such file or directory"):
        Files(tmp_path / "missing", read_numbers)
    with pytest.raises(UserError, match="train: a directory, where one file is required"):
        Files(empty, read_numbers, single=True)
    with pytest.raises(UserError, match="2 files were given"):
        Files([empty / "part-0"] * 2, read_numbers, single=True)
    with pytest.raises(UserError, match=r"^part-0: no rows"):
        Files(empty / "part-0", read_numbers).peek()
    with pytest.raises(UserError, match="no rows"):
        list(Files(b"", read_numbers).open((0, 0)))
    (empty / "part-1.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match=r"^train: no rows"):
        list(Files(empty, read_numbers).open())
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="no plain file"):
        Files(tmp_path / "fifo", read_numbers)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "train", [4, 4])
    files = Files(root, read_numbers)
    (root / "part-1").unlink()
    blocks = cut(files.open(), 4)
    assert labels([next(blocks)]) == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"train/part-1: cannot be opened: No such file"):
        next(blocks)

    class Broken(io.RawIOBase):
        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    def read(file, name):
        yield block_of(rows(0, 2))
        file.read(1)

    for packed in (False, True):
        with pytest.raises(PlatformError, match=r"part-0: cannot be read on: .*output error"):
            list(unpacked(read, Broken(), "part-0", packed))

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"train: cannot be listed: Permission denied"):
        Files(root, read_numbers)


@pytest.mark.parametrize("damage", ["cut", "flip", "tail"])
def test_a_damaged_gz(tmp_path, damage):
    packed = bytearray(gzip.compress(rows(0, 1000).tobytes()))
    if damage == "cut":
        packed = packed[:-20]
    elif damage == "flip":
        packed[-6] ^= 1  # the checksum
    else:
        packed += b"more"
    path = tmp_path / "a.gz"
    path.write_bytes(packed)
    with pytest.raises(UserError, match=r"^a\.gz: the gzip data are damaged or cut off"):
        list(Files(path, read_numbers).open())


# Sources that are read once -------------------------------------------------------------------


def source_of(n, size=3):
    for start in range(0, n, size):
        yield block_of(rows(start, min(size, n - start)))


@settings(deadline=None)
@given(st.lists(st.integers(0, 25), max_size=5), st.integers(1, 6), st.booleans())
def test_limited_readings_are_given_again(limits, size, closed):
    once = Once(source_of(20, size))
    for limit in limits:
        assert labels(cut(once.open(limited=True), 4, limit=limit)) == list(range(min(limit, 20)))
        peeked = once.peek()
        assert labels([peeked]) == list(range(min(size, 20)))
    full = once.open()
    assert labels(itertools.islice(full, 2) if closed else full) == list(
        range(min(2 * size, 20) if closed else 20)
    )
    for again in (once.open(), once.open(limited=True)):
        with pytest.raises(UserError, match=r"only once.*epochs=1"):
            next(again)


def test_once():
    once = Once(source_of(10), "standard input")
    assert not once.replayable
    assert once.rows is None
    assert labels(once.open()) == list(range(10))
    assert once.where(4) == "standard input, row 5"
    assert once.fingerprint() == "standard input"
    with pytest.raises(UserError, match=r"^standard input can be read only once"):
        once.peek()
    assert Once(iter([])).peek() is None
    assert sorted(labels(Once(source_of(10)).open((0, 0)))) == list(range(10))
    assert list(Once(iter([]), "nothing").open((0, 0))) == []
    empty = block_of(rows(0, 0))
    assert labels(Once([empty, *source_of(5), empty]).open()) == list(range(5))
    assert [b.start for b in Once([empty, *source_of(5), empty]).open()] == [0, 3]


def test_windows_hold_so_many_bytes(monkeypatch):
    whole = mixed(100)  # 8 bytes for each sparse value and offset, 16 and 4 for the others, 4 each
    monkeypatch.setattr(reading, "WINDOW_BYTES", 40 * 10)
    once = Once(whole.batches(10))
    blocks = [b.labels[:, 0].astype(int) for b in once.open((0, 0), rows=1)]
    order = np.concatenate(blocks)
    assert sorted(order) == list(range(100))
    assert 3 < np.abs(order - np.arange(100)).max() < 15
    for row in (0, 50, 99):
        assert once.where(row) == f"the data, row {order[row] + 1}"


def test_a_full_reading_that_is_left_lets_go_of_its_source():
    for taken in (1, 3):  # of those remembered, and behind them
        source = source_of(30)
        once = Once(source)
        list(cut(once.open(limited=True), 6, limit=6))
        blocks = once.open()
        for _ in range(taken):
            next(blocks)
        assert source.gi_frame is not None
        blocks.close()
        assert source.gi_frame is None
        assert not once._source._kept


def test_a_full_reading_keeps_nothing():
    once = Once(source_of(30))
    list(cut(once.open(limited=True), 6, limit=12))
    blocks = once.open()
    first = next(blocks)
    assert [b.labels[0] for b in once._source._kept] == [3, 6, 9]
    labels(itertools.chain([first], blocks))
    assert not once._source._kept


class Writer:
    """What the platform does in Pipe mode: makes path_0, fills it, makes path_1, ..."""

    def __init__(self, path, epochs, content, chunk=7):
        self.path, self.epochs, self.content, self.chunk = path, epochs, content, chunk
        self.broken = []  # FIFOs whose reader left early
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(30)
        assert not self.thread.is_alive()

    def work(self):
        for i in range(self.epochs):
            time.sleep(0.01)
            os.mkfifo(f"{self.path}_{i}")
            try:
                with open(f"{self.path}_{i}", "wb", buffering=0) as f:
                    for at in range(0, len(self.content), self.chunk):
                        f.write(self.content[at : at + self.chunk])
            except BrokenPipeError:
                self.broken.append(i)


def test_pipe_takes_a_fifo_for_each_reading(tmp_path):
    pipe = Pipe(tmp_path / "train", read_numbers, timeout=30)
    assert pipe.replayable
    assert pipe.rows is None
    assert pipe.fingerprint() == "train"
    with Writer(tmp_path / "train", 3, rows(0, 40).tobytes()) as writer:
        for epoch in range(3):
            # Limited readings of a FIFO that is there only once.
            assert labels([pipe.peek()]) == [0, 1, 2]
            assert labels(cut(pipe.open(limited=True), 5, limit=11)) == list(range(11))
            assert labels(cut(ahead(pipe.open()), 7)) == list(range(40))
            assert pipe.where(39) == f"train_{epoch}, row 40"
    assert writer.broken == []


def test_a_pipe_left_early_goes_on_with_the_next(tmp_path):
    pipe = Pipe(tmp_path / "train", read_numbers, timeout=30)
    content = rows(0, 40_000).tobytes()  # more than a pipe holds
    with Writer(tmp_path / "train", 4, content, chunk=1 << 16) as writer:
        assert labels([pipe.peek()]) == [0, 1, 2]
        reading = ahead(cut(pipe.open(), 50), depth=2)
        assert labels(itertools.islice(reading, 3)) == list(range(150))
        reading.close()
        reading = pipe.open()  # left while it still gives what it remembers
        next(reading)
        reading.close()
        assert sorted(labels(pipe.open((0, 2)))) == list(range(40_000))
        assert labels(pipe.open()) == list(range(40_000))
    assert writer.broken == [0, 1]
    assert ahead_threads() == []


def test_a_resumed_job_begins_with_the_first_fifo_again(tmp_path):
    """A new process finds train_0 again, and passes over the rows that it knows."""
    pipe = Pipe(tmp_path / "train", read_numbers, timeout=30)
    with Writer(tmp_path / "train", 1, rows(0, 30).tobytes()):
        blocks = list(cut(pipe.open(), 10, skip=20))
    assert [(b.start, len(b), b.labels[0]) for b in blocks] == [(20, 10, 20)]


def test_a_pipe_that_never_comes(tmp_path):
    pipe = Pipe(tmp_path / "train", read_numbers, timeout=0.01)
    with pytest.raises(UserError, match=r"train_0: no such pipe within 0\.01 seconds.*File mode"):
        next(pipe.open())


def test_an_error_inside_a_pipe(tmp_path):
    content = rows(0, 9)
    content[7] = -1
    pipe = Pipe(tmp_path / "train", read_numbers, timeout=30)
    got = []
    with Writer(tmp_path / "train", 1, content.tobytes()):
        blocks = ahead(cut(pipe.open(), 2))
        with pytest.raises(UserError, match=r"^train_0: a negative number"):
            got.extend(blocks)
    assert labels(got) == [0, 1, 2, 3, 4, 5]


# channel --------------------------------------------------------------------------------------


def test_channel(tmp_path, monkeypatch):
    asked = []

    def reader(content_type, **options):
        asked.append((content_type, options))
        return read_numbers

    monkeypatch.setattr(channels, "reader", reader)
    root = folder_of(tmp_path / "train", [3, 2])
    for mode in ("File", "FastFile"):
        assert labels(channel(root, "text/csv", mode=mode).open()) == list(range(5))
    assert labels(channel(root, None, label_size=0).open()) == list(range(5))
    channel(root, "", default_content_type="text/libsvm")
    with Writer(tmp_path / "x", 1, rows(0, 4).tobytes()):
        assert labels(channel(tmp_path / "x", mode="Pipe", timeout=30).open()) == list(range(4))
    recordio = "application/x-recordio-protobuf"
    assert asked == [
        ("text/csv", {}),
        ("text/csv", {}),
        (recordio, {"label_size": 0}),
        ("text/libsvm", {}),
        (recordio, {}),
    ]
    with pytest.raises(UserError, match="input mode 'pipe': must be File, FastFile or Pipe"):
        channel(root, mode="pipe")


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_all_sources_give_the_same_blocks(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("same")
    n = data.draw(st.integers(1, 40))
    content, whole = rows(0, n), block_of(rows(0, n))
    ends = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    for i, (a, b) in enumerate(zip([0, *ends], [*ends, n], strict=True)):
        (folder / "shards").mkdir(exist_ok=True)
        (folder / "shards" / f"{i}").write_bytes(content[a:b].tobytes())
    os.mkfifo(folder / "pipe_0")
    writer = threading.Thread(
        target=(folder / "pipe_0").write_bytes, args=[content.tobytes()], daemon=True
    )
    writer.start()
    read = partial(read_numbers, rows=data.draw(st.integers(1, 9)))
    size, batch = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 4))
    streams = [
        Arrays(whole),
        Files(folder / "shards", read),
        Files(content.tobytes(), read),
        Once(pieces(data, whole)),
        Pipe(folder / "pipe", read, timeout=30),
    ]
    got = [
        [
            (b.start, b.features.tobytes(), b.labels.tobytes())
            for b in ahead(cut(s.open(rows=size), size, batch=batch, tail="drop"))
        ]
        for s in streams
    ]
    writer.join()
    assert all(g == got[0] for g in got)
