"""The public face: read, iter_blocks, write; and what importing it costs."""

import doctest
import gzip
import io
import os
import socket
import stat
import subprocess
import sys
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smalgos.formats
import smalgos.formats.io as face
from smalgos.errors import PlatformError, UserError
from smalgos.formats import Block, Csr, Ragged, iter_blocks, read, write

NAMES = ["x.csv", "x.csv.gz", "x.pbr", "x.pb.gz", "X.RECORDIO"]


def block_of(n, width=3, n_labels=1):
    rng = np.random.default_rng(n)
    features = rng.normal(size=(n, width)).astype(np.float32)
    labels = rng.integers(0, 5, (n, n_labels) if n_labels > 1 else n).astype(np.float32)
    return Block.of(features, labels if n_labels else None)


def assert_same(a, b):
    assert set(a.columns) == set(b.columns)
    for name, column in a.columns.items():
        assert b[name].dtype == column.dtype
        np.testing.assert_array_equal(b[name], column)


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(tmp_path, name):
    block, path = block_of(100), tmp_path / name
    write(path, block)
    assert_same(block, read(path))
    assert_same(block, read(str(path)))
    content = path.read_bytes()
    content_type = "csv" if "csv" in name else "recordio-protobuf"
    assert_same(block, read(content))  # by its first bytes
    assert_same(block, read(bytearray(content), content_type))
    assert_same(block, read(memoryview(content)))
    assert_same(block, read(io.BytesIO(content)))
    with open(path, "rb") as file:
        assert_same(block, read(file))
        assert file.read() == b""
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_written_one_after_another(tmp_path, name):
    block = block_of(100)
    write(tmp_path / name, block)
    at_once = (tmp_path / name).read_bytes()
    write(tmp_path / name, block.batches(7))
    one_by_one = (tmp_path / name).read_bytes()
    if name.endswith(".gz"):
        assert gzip.decompress(at_once) == gzip.decompress(one_by_one)
    else:
        assert at_once == one_by_one


def test_gz_bytes_tell_neither_name_nor_time(tmp_path):
    block = block_of(20)
    for name in ("a.csv.gz", "b.csv.gz"):
        write(tmp_path / name, block)
    a, b = ((tmp_path / name).read_bytes() for name in ("a.csv.gz", "b.csv.gz"))
    assert a == b
    assert a[3] == 0  # no name
    assert a[4:8] == bytes(4)  # no time


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(0, 2), st.lists(st.integers(0, 60), max_size=3), st.data())
def test_a_directory_is_read_in_blocks(tmp_path_factory, n, n_labels, ends, data):
    folder = tmp_path_factory.mktemp("face")
    block, suffix = block_of(n, 2, n_labels), data.draw(st.sampled_from([".csv", ".pbr"]))
    ends = sorted(min(e, n) for e in ends)
    for i, (a, b) in enumerate(zip([0, *ends], [*ends, n], strict=True)):
        write(folder / f"{i}{suffix}", block[a:b])
    content_type = f"csv; label_size={n_labels}" if suffix == ".csv" else None
    assert_same(block, read(folder, content_type))
    size = data.draw(st.integers(1, 70))
    blocks = list(iter_blocks(folder, content_type, block_rows=size))
    assert [b.start for b in blocks] == list(range(0, n, size))
    assert [len(b) for b in blocks] == [min(size, n - b.start) for b in blocks]
    assert_same(block, Block.join(blocks))


def test_sparse_rows_go_through_recordio(tmp_path):
    dense = np.zeros((5, 40), np.float32)
    dense[[0, 1, 1, 3], [3, 0, 39, 7]] = [1, -2, 3, 0.5]
    write(tmp_path / "x.pbr", Block({"features": Csr.of(dense), "labels": dense[:, 3]}))
    block = read(tmp_path)
    assert isinstance(block.features, Csr)
    assert block.features.width == 40
    np.testing.assert_array_equal(block.features.toarray(), dense)
    np.testing.assert_array_equal(block.labels, dense[:, 3])


def test_label_size_is_one_unless_it_is_said():
    assert read(b"1,2,3\n", "text/csv").labels.tolist() == [1]
    assert read(b"1,2,3\n").features.tolist() == [[2, 3]]
    bare = read(b"1,2,3\n", "text/csv; label_size=0")
    assert bare.labels is None
    assert bare.features.tolist() == [[1, 2, 3]]
    assert read(b"1,2,3\n", "csv;label_size=2").labels.tolist() == [[1, 2]]


def test_streams_that_come_in_bits():
    content = b"".join(b"%d,%d\n" % (i % 2, 5000 - i) for i in range(5000))
    ours, theirs = socket.socketpair()

    def send():
        with theirs:
            for at in range(0, len(content), 999):
                theirs.sendall(content[at : at + 999])

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    with ours, ours.makefile("rb", buffering=0) as file:
        block = read(file)
    thread.join()
    np.testing.assert_array_equal(block.features[:, 0], 5000 - np.arange(5000))

    class OnlyRead:
        """What an HTTP library may give: nothing but read(n)."""

        def __init__(self, data):
            self.data = io.BytesIO(data)

        def read(self, n):
            return self.data.read(min(n, 100))

    for data in (content, gzip.compress(content)):
        for content_type in (None, "text/csv"):
            assert_same(block, read(OnlyRead(data), content_type))


def test_a_fifo_path_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(
        target=(tmp_path / "pipe").write_bytes, args=[b"1,2\n3,4\n"], daemon=True
    )
    thread.start()
    assert read(tmp_path / "pipe", "text/csv").labels.tolist() == [1, 3]
    thread.join()


def test_standard_input_and_output(tmp_path):
    code = (
        "import sys\n"
        "from smalgos.formats import iter_blocks, write\n"
        "blocks = iter_blocks(sys.stdin.buffer, 'csv', block_rows=2)\n"
        "write('/dev/stdout', blocks, content_type='csv')\n"
    )
    text = "1,2,3\n4,5,6\n7,8,9\n"
    run = partial(subprocess.run, [sys.executable, "-c", code], input=text, text=True)
    done = run(capture_output=True)
    assert done.stdout == text, done.stderr
    with open(tmp_path / "out", "w") as out:
        out.write("before\n")
        out.flush()
        run(stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\n" + text


@pytest.mark.parametrize(
    ("source", "content_type", "said"),
    [
        (b"", None, "give content_type"),
        (b"", "csv", "no rows"),
        (io.BytesIO(), "csv", "no rows"),
        (b"hello", None, "give content_type"),
        (b"1,2\n", "text/html", "'text/html' is not supported: use"),
        (b"1,2\n", "csv; label_size=x", "whole number"),
        ("no such file.csv", None, "no such file or directory"),
        (io.StringIO("1,2\n"), None, "open the file in binary mode"),
        (io.StringIO("1,2\n"), "csv", "open the file in binary mode"),
        (3, None, "int given: expected a path, bytes or an opened file"),
        (b"1,2\n3,x\n", "csv", "the bytes given, row 2, column 2"),
        (gzip.compress(b"1,2\n" * 1000)[:-9], "csv", "the bytes given"),
    ],
)
def test_bad_sources(source, content_type, said):
    with pytest.raises(UserError, match=said):
        read(source, content_type)


def test_block_rows_must_be_positive():
    with pytest.raises(UserError, match="block_rows=0: must be at least 1"):
        iter_blocks(b"1,2\n", "csv", block_rows=0)


def test_files_of_other_widths(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n")
    (tmp_path / "b.csv").write_text("1,2,3,4\n")
    with pytest.raises(UserError, match=r"b\.csv has features of width 3 .*/a\.csv has .*width 2"):
        read(tmp_path)


# Writing --------------------------------------------------------------------------------------


def test_file_objects_are_written_and_left_open():
    block, file = block_of(3), io.BytesIO()
    write(file, block, content_type="text/csv")
    write(file, block, content_type="text/csv")
    assert_same(read(file.getvalue()), Block.join([block, block]))
    with pytest.raises(UserError, match="the file: the name does not tell"):
        write(file, block)
    named = io.BytesIO()
    named.name = "x.csv.gz"  # a GzipFile has such a name: it packs by itself
    write(named, block)
    assert_same(read(named.getvalue()), block)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old\n")

    def blocks():
        yield block_of(10)
        assert path.read_text() == "old\n"
        assert len(list(tmp_path.iterdir())) == 2
        raise ZeroDivisionError

    for target in (path, tmp_path / "new.csv.gz"):
        with pytest.raises(ZeroDivisionError):
            write(target, blocks())
        assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
    assert path.read_text() == "old\n"
    write(path, block_of(10))
    assert_same(read(path), block_of(10))


def test_a_half_written_file_is_no_part_of_its_directory(tmp_path):
    write(tmp_path / "a.csv", block_of(5))

    def blocks():
        yield block_of(7)
        assert len(list(tmp_path.iterdir())) == 2
        assert len(read(tmp_path)) == 5

    write(tmp_path / "b.csv", blocks())
    assert len(read(tmp_path)) == 12


def test_links_and_permissions_are_kept(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("")
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, block_of(3))
    assert link.is_symlink()
    assert_same(read(real), block_of(3))
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write(tmp_path / "new.csv", block_of(3))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.csv").stat().st_mode) == 0o640


def test_what_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        write(tmp_path / "nowhere" / "x.csv", block_of(3))
    with pytest.raises(UserError, match="x: the name does not tell what to write; give content_t"):
        write(tmp_path / "x", block_of(3))
    with pytest.raises(UserError, match="'text/html' is not supported"):
        write(tmp_path / "x", block_of(3), content_type="text/html")
    with pytest.raises(UserError, match="label_size=0: the rows have 1 labels each"):
        write(tmp_path / "x", block_of(3), content_type="text/csv; label_size=0")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(face.os, "fsync", full)
    with pytest.raises(PlatformError, match=r"x\.csv: cannot be written: .*No space left"):
        write(tmp_path / "x.csv", block_of(3))
    assert list(tmp_path.iterdir()) == []


# The module -----------------------------------------------------------------------------------


def test_names():
    assert set(smalgos.formats.__all__) <= set(dir(smalgos.formats))
    assert {Block, Csr, Ragged} == {
        smalgos.formats.block.Block,
        smalgos.formats.block.Csr,
        smalgos.formats.block.Ragged,
    }
    with pytest.raises(AttributeError, match=r"'smalgos\.formats' has no attribute 'nothing'"):
        smalgos.formats.nothing  # noqa: B018


def test_importing_loads_nothing_heavy():
    code = (
        "import sys\n"
        "import smalgos.formats\n"
        "print(sorted(m for m in sys.modules if m.startswith('smalgos.formats')))\n"
        "from smalgos.formats import Block, iter_blocks, read, write\n"
        "print({'numba', 'pyarrow', 'scipy', 'google.protobuf'} & set(sys.modules))\n"
    )
    assert python(code) == "['smalgos.formats']\nset()\n"


def test_examples():
    for module in (smalgos.formats, face):
        failed, tried = doctest.testmod(module)
        assert tried > 0
        assert failed == 0


@pytest.mark.compiled
def test_memory_is_bounded_by_the_block(tmp_path):
    """Four times the rows take no more memory."""
    peaks = []
    for n in (600_000, 2_400_000):
        path = tmp_path / f"{n}.csv"
        path.write_bytes(b"1,0.25,7,8,9,10,11,12,13,14\n" * n)
        tracemalloc.start()
        for _ in iter_blocks(path, block_rows=1000):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
