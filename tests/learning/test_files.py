"""One safe file: round trips, and everything that must not be accepted."""

import errno
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import signal
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from smalgos.errors import PlatformError, UserError
from smalgos.learning import files

DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8", ">f4", ">i8"]

ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flags": np.array([True, False, True]),
    "n": np.array(7, np.int64),
    "none": np.empty((0, 4), np.int32),
}
META = {"algorithm": "kmeans", "notes": {"best": math.inf, "$": [1, None, "é"]}}


def craft(header, data=b"", meta=None, envelope=None, length=None):
    """A file of ours with a header of the caller's, sealed as the documentation says."""
    blank = "0" * 64
    if envelope is None:
        envelope = {"format": 1, "meta": meta or {}, "sha256": blank}
    text = envelope if isinstance(envelope, str) else json.dumps(envelope, separators=(",", ":"))
    if isinstance(header, dict):
        header = {"__metadata__": {"smalgos": text}} | header
        header = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    raw = header.encode("utf-8", "surrogatepass")
    blob = (len(raw) if length is None else length).to_bytes(8, "little") + raw + data
    end = rb"\"sha256\":\"%b\"}" % blank.encode() + b'"}'
    assert blob.count(end) <= 1
    sealed = end.replace(blank.encode(), hashlib.sha256(blob).hexdigest().encode())
    return blob.replace(end, sealed)


def same(a, b):
    """Equal meta; NaN equals itself, 1 is not True and not 1.0."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b)) and str(a) == str(b)


def assert_equal(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        array = np.asarray(array)
        assert got[name].dtype == array.dtype.newbyteorder("=")
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert got[name].flags.c_contiguous
        assert got[name].flags.writeable
        assert got[name].flags.owndata


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
any_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
names = names.filter(lambda name: name != "__metadata__")
turned = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[..., ::-1] if a.ndim else a])


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(names, st.builds(lambda f, a: f(a), turned, any_array), max_size=4),
    st.dictionaries(st.text(), json_values, max_size=4),
)
@example({}, {"$float": "inf", "$$float": [{"$float": math.nan}], "": -math.inf, "z": -0.0})
@example({'","sha256":"' + "0" * 64 + '"}': np.ones(2)}, {"sha256": "0" * 64})
def test_what_is_written_is_read(given_arrays, meta):
    data = files.encode(given_arrays, meta)
    got, notes = files.decode(data, "model")
    assert_equal(got, given_arrays)
    assert same(notes, meta)
    assert data == files.encode(dict(reversed(given_arrays.items())), dict(reversed(meta.items())))


def test_write_and_read(tmp_path):
    path = tmp_path / "model.safetensors"
    files.write(path, ARRAYS, META)
    got, meta = files.read(path)
    assert_equal(got, ARRAYS)
    assert meta == META
    assert path.read_bytes() == files.encode(ARRAYS, META)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    files.write(str(path), {}, {})
    assert files.read(str(path)) == ({}, {})


def test_the_safetensors_library_opens_the_arrays(tmp_path):
    path = tmp_path / "model.safetensors"
    files.write(path, ARRAYS, META)
    theirs = safetensors.numpy.load_file(path)
    assert theirs.keys() == ARRAYS.keys()
    assert all(np.array_equal(theirs[name], array) for name, array in ARRAYS.items())
    with safetensors.safe_open(path, "np") as opened:
        assert list(opened.metadata()) == ["smalgos"]


def test_the_seal_is_what_the_documentation_says():
    data = files.encode(ARRAYS, META)
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["smalgos"]
    envelope = json.loads(text)
    assert list(envelope) == ["format", "meta", "sha256"]
    assert text == json.dumps(envelope, sort_keys=True, separators=(",", ":"))
    digits = envelope["sha256"].encode()
    assert data.count(digits) == 1
    assert hashlib.sha256(data.replace(digits, b"0" * 64)).hexdigest().encode() == digits


def test_numpy_scalars_and_tuples_are_taken_as_python_s():
    given_meta = {"a": np.float32(0.1), "b": (np.int64(3), np.bool_(True)), "c": np.float64("nan")}
    _, meta = files.decode(files.encode({}, given_meta), "x")
    assert same(meta, {"a": float(np.float32(0.1)), "b": [3, True], "c": math.nan})


@pytest.mark.parametrize(
    ("given_arrays", "meta"),
    [
        ({"a": np.array(["text"])}, {}),
        ({"a": np.array([None])}, {}),
        ({"a": np.ones(2, np.complex128)}, {}),
        ({"a": np.zeros(2, [("x", "f4")])}, {}),
        ({"a": np.array(["2020-01-01"], "M8[D]")}, {}),
        ({"__metadata__": np.ones(2)}, {}),
        ({"": np.ones(2)}, {}),
        ({1: np.ones(2)}, {}),
        ({}, {"a": np.ones(2)}),
        ({}, {"a": {1: 2}}),
        ({}, {"a": b"bytes"}),
        ({}, {"a": 1j}),
    ],
)
def test_what_cannot_be_written(given_arrays, meta, tmp_path):
    with pytest.raises(TypeError):
        files.write(tmp_path / "m", given_arrays, meta)
    assert not list(tmp_path.iterdir())


# Damage -------------------------------------------------------------------------------------------


def flips(patterns):
    data = files.encode(ARRAYS, META)
    for at in range(len(data)):
        for pattern in patterns:
            damaged = bytearray(data)
            damaged[at] ^= pattern
            with pytest.raises(UserError, match=r"^m: .+"):
                files.decode(bytes(damaged), "m")


def test_every_flipped_byte_is_an_error():
    flips([1 << bit for bit in range(8)] + [0x29, 0xFF])  # 0x29: a blank becomes a tab


@pytest.mark.slow
def test_every_other_value_of_every_byte_is_an_error():
    flips(range(1, 256))


def test_every_truncation_and_addition_is_an_error(tmp_path):
    data = files.encode(ARRAYS, META)
    path = tmp_path / "cut"
    for length in range(len(data)):
        with pytest.raises(UserError, match=r"^m: .+"):
            files.decode(data[:length], "m")
    for length in (0, 1, 7, 8, 9, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="cut: "):
            files.read(path)
    for more in (b"\0", b" ", data):
        with pytest.raises(UserError, match=r"^m: cut short or added to"):
            files.decode(data + more, "m")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=700))
def test_any_bytes_are_a_user_error(data):
    for sized in (data, len(data).to_bytes(8, "little") + data, b"\x20" + bytes(7) + b"{" + data):
        with pytest.raises(UserError, match=r"^m: .+"):
            files.decode(sized, "m")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_edit_is_a_user_error(data):
    whole = files.encode(ARRAYS, META)
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    put = data.draw(st.binary(max_size=20) | st.just(whole[a:b][::-1]))
    edited = whole[:a] + put + whole[b:]
    if edited != whole:
        with pytest.raises(UserError, match=r"^m: .+"):
            files.decode(edited, "m")


odd = st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats() | st.text(max_size=3)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "U8", "BOOL", "F8", "I64"]) | odd,
        "shape": st.lists(st.sampled_from([0, 1, 2, 1 << 31, 1 << 62]) | odd, max_size=4) | odd,
        "data_offsets": st.lists(st.integers(0, 16) | odd, max_size=3) | odd,
        "more": odd,
    },
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names, entries | odd, max_size=3), st.binary(max_size=16))
def test_any_sealed_header_is_read_or_a_user_error(header, data):
    blob = craft(header, data)
    try:
        got, _ = files.decode(blob, "m")
    except UserError:
        return
    assert sum(array.nbytes for array in got.values()) == len(data)


def entry(dtype, shape, *offsets):
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


SIZE = "a place of the wrong size"
SHAPE = "an impossible shape or place"
STRANGER = "not one that smalgos wrote"
HOSTILE = {
    "more than there is": (craft({"a": entry("F32", [1 << 40], 0, 1 << 42)}, b"1234"), "cut short"),
    "product overflows to 0": (craft({"a": entry("U8", [1 << 32, 1 << 32], 0, 0)}), SHAPE),
    "product overflows": (craft({"a": entry("U8", [(1 << 63) - 1, 2], 0, 2)}, b"12"), SHAPE),
    "empty but too large": (craft({"a": entry("F64", [0, 1 << 62, 4], 0, 0)}), SHAPE),
    "dimension of no int64": (craft({"a": entry("U8", [0, 1 << 64], 0, 0)}), SHAPE),
    "negative": (craft({"a": entry("U8", [-1, -2], 0, 2)}, b"12"), SHAPE),
    "backwards": (craft({"a": entry("U8", [0], 2, 0)}), SIZE),
    "boolean": (craft({"a": entry("U8", [True], 0, 1)}, b"1"), SHAPE),
    "float": (craft({"a": entry("U8", [2.0], 0, 2)}, b"12"), SHAPE),
    "no shape": (craft({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"1"), "is not described"),
    "three offsets": (craft({"a": entry("U8", [1], 0, 1, 1)}, b"1"), SHAPE),
    "33 dimensions": (craft({"a": entry("U8", [1] * 33, 0, 1)}, b"1"), SHAPE),
    "gap": (craft({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"123"), "begin"),
    "overlap": (craft({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"123"), "begin"),
    "same place": (
        craft({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 0, 2)}, b"12"),
        "begin",
    ),
    "bytes left over": (craft({"a": entry("U8", [1], 0, 1)}, b"12"), "added to: 1 bytes"),
    "unknown dtype": (craft({"a": entry("BF16", [1], 0, 2)}, b"12"), "unknown type 'BF16'"),
    "no dtype": (craft({"a": entry(["U8"], [1], 0, 1)}, b"1"), "unknown type"),
    "neither true nor false": (craft({"a": entry("BOOL", [2], 0, 2)}, b"\1\2"), "neither true"),
    "wrong size": (craft({"a": entry("F32", [2], 0, 4)}, b"1234"), SIZE),
    "no metadata": (craft('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"), STRANGER),
    "metadata of a stranger": (craft('{"__metadata__":{"format":"pt"}}'), STRANGER),
    "a second key": (craft('{"__metadata__":{"format":"pt","smalgos":"{}"}}'), STRANGER),
    "metadata that is no text": (craft('{"__metadata__":{"smalgos":{}}}'), "metadata is no text"),
    "metadata that is no JSON": (craft({}, envelope="{"), "damaged header: Expecting"),
    "metadata that is a list": (craft({}, envelope="[]"), "does not say its format"),
    "metadata that is a float": (craft({}, envelope='{"$float":"nan"}'), "does not say its format"),
    "no meta": (craft({}, envelope={"format": 1, "sha256": "0" * 64}), "missing"),
    "no digits": (craft({}, envelope={"format": 1, "meta": {}}), "missing"),
    "something else": (
        craft({}, envelope={"format": 1, "meta": {}, "more": 1, "sha256": "0" * 64}),
        "meta or sha256 is missing, or there is more",
    ),
    "format 0": (craft({}, envelope={"format": 0, "meta": {}, "sha256": "0" * 64}), "its format"),
    "format true": (craft({}, envelope={"format": True, "meta": {}}), "its format"),
    "other digits": (craft({}, envelope={"format": 1, "meta": {}, "sha256": "F" * 64}), "hexadec"),
    "fewer digits": (craft({}, envelope={"format": 1, "meta": {}, "sha256": "0" * 63}), "hexadec"),
    "not at its place": (
        craft({}, envelope={"format": 1, "sha256": "0" * 64, "meta": {}}),
        "the seal is not in its place",
    ),
    "name twice": (craft('{"a":1,"a":1}'), "a name comes twice"),
    "name twice inside": (craft({}, envelope='{"format":1,"format":1}'), "a name comes twice"),
    "NaN": (craft('{"a":NaN}'), "NaN is not JSON"),
    "Infinity inside": (craft({}, envelope='{"format":-Infinity}'), "-Infinity is not JSON"),
    "a float of no kind": (craft({}, envelope='{"meta":{"$float":"1e9"}}'), "way to spell a float"),
    "deep": (craft('{"a":' + "[" * 200_000), "recursion"),
    "deep inside": (craft({}, envelope="[" * 200_000), "recursion"),
    "long number": (craft('{"a":' + "9" * 10_000 + "}"), "integer string"),
    "no UTF-8": (craft('{"a":"\ud800"}'), "codec can't decode"),
    "header longer than any": (craft("{", length=1 << 62), "not a safetensors file, or damaged"),
    "header longer than the file": (craft({}, length=99_999_999), "cut short, its header"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_a_user_error(case):
    blob, words = HOSTILE[case]
    with pytest.raises(UserError, match=rf"^m: .*{words}"):
        files.decode(blob, "m")


def test_what_is_crafted_well_is_read():
    header = {"a": entry("U8", [2], 0, 2), "c": entry("F64", [0, 5], 2, 2)}
    header["b"] = entry("BOOL", [1, 1], 2, 3)
    got, meta = files.decode(craft(header, b"\x05\x06\x01", {"é": 1}), "m")
    assert_equal(got, {"a": np.uint8([5, 6]), "c": np.empty((0, 5)), "b": np.array([[True]])})
    assert meta == {"é": 1}


def test_a_hostile_length_allocates_nothing():
    tracemalloc.start()
    try:
        for case in ("more than there is", "header longer than any", "header longer than the file"):
            with pytest.raises(UserError):
                files.decode(HOSTILE[case][0], "m")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_newer_format_says_so():
    blob = craft({}, envelope={"format": 2, "all": "new"})
    with pytest.raises(UserError, match="m: written by a newer version of smalgos"):
        files.decode(blob, "m")


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "m"
    files.write(path, {"a": np.ones(1 << 20)}, {})

    def layout(header, size, real=files._layout):
        os.truncate(path, 8)
        return real(header, size)

    monkeypatch.setattr(files, "_layout", layout)
    with pytest.raises(UserError, match="m: cut short while it was read"):
        files.read(path)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "b")
    return buffer.getvalue()


def tarred(mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("model.safetensors"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\0" * 9, "not a safetensors file"),
        (b'{"json": 1}', "not a safetensors file"),
        (gzip.compress(b"x"), "gzip"),
        (tarred("w:gz"), "unpack"),
        (tarred("w"), "a tar archive"),
        (zipped(), "a zip archive"),
        *((pickle.dumps({"a": [1, 2]}, n), "pickled file, which is never opened") for n in (2, 4)),
    ],
)
def test_other_files_are_recognised(data, words, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{path}: .*{words}"):
        files.read(path)


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(UserError, match="m: "):
            files.decode(pickle.dumps(Trap(), protocol), "m")
    assert not (tmp_path / "sprung").exists()


def test_a_header_that_begins_as_a_pickle_does_is_read():
    # A header of 640 bytes: its length is written 80 02 00 ...
    for padding in range(2000):
        data = files.encode({}, {"a": " " * padding})
        if data[:2] == b"\x80\x02":
            break
    assert data[:2] == b"\x80\x02"
    assert files.decode(data, "m")[1] == {"a": " " * padding}


def test_the_safetensors_file_of_a_stranger():
    with pytest.raises(UserError, match="m: a safetensors file, but not one that smalgos wrote"):
        files.decode(safetensors.numpy.save({"a": np.ones(3)}), "m")


def test_what_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo: not a regular file"):
        files.read(tmp_path / "fifo")
    with pytest.raises(UserError, match="a folder"):
        files.read(tmp_path)
    with pytest.raises(UserError, match=f"cannot read {tmp_path}/none: No such file"):
        files.read(tmp_path / "none")
    with pytest.raises(UserError, match="cannot read"):
        files.read("/dev/null/x")


def test_expect():
    data = files.encode({}, {"kind": "model", "n": 3})
    assert files.decode(data, "m", expect={"kind": "model"}) == ({}, {"kind": "model", "n": 3})
    with pytest.raises(UserError, match="m: kind is 'model', expected 'checkpoint'"):
        files.decode(data, "m", expect={"kind": "checkpoint"})
    with pytest.raises(UserError, match="m: epoch is None, expected 3"):
        files.decode(data, "m", expect={"kind": "model", "epoch": 3})


# Whole or not at all ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), PlatformError),
        (OSError(errno.EIO, "Input/output error"), PlatformError),
        (PermissionError(errno.EACCES, "Permission denied"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_leaves_the_old_file(step, error, kind, tmp_path, monkeypatch):
    path = tmp_path / "model"
    files.write(path, {}, {"old": True})

    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(kind) as caught:
            files.write(path, ARRAYS, META)
    if kind is not KeyboardInterrupt:
        assert str(caught.value) == f"cannot write {path}: {error.strerror}"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert files.read(path)[1] == {"old": True}


def test_a_full_disk(tmp_path):
    script = (
        "import resource, sys, numpy\n"
        "from smalgos.errors import PlatformError\n"
        "from smalgos.learning import files\n"
        "files.write(sys.argv[1], {}, {'old': True})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try: files.write(sys.argv[1], {'a': numpy.ones(1 << 17)}, {})\n"
        "except PlatformError as error: sys.exit(str(error))\n"
    )
    path = tmp_path / "model"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert done.stderr.strip() == f"cannot write {path}: File too large"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert files.read(path)[1] == {"old": True}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_kill_leaves_the_old_file(step, tmp_path):
    script = (
        "import os, sys, numpy\n"
        "from smalgos.learning import files\n"
        "path = sys.argv[1]\n"
        "files.write(path, {}, {'old': True})\n"
        f"os.{step} = lambda *args: os.kill(os.getpid(), 9)\n"
        "files.write(path, {'a': numpy.ones(9)}, {})\n"
    )
    path = tmp_path / "model"
    done = subprocess.run([sys.executable, "-c", script, path])
    assert done.returncode == -signal.SIGKILL
    assert files.read(path)[1] == {"old": True}
    left = [p.name for p in tmp_path.iterdir() if p != path]
    assert len(left) == 1
    assert left[0].startswith(".")
    files.write(path, ARRAYS, META)
    assert files.read(path)[1] == META


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(UserError, match="make the folder first"):
        files.write(tmp_path / "none" / "model", {}, {})
    with pytest.raises(UserError, match="it is a folder or a device"):
        files.write(tmp_path, {}, {})
    with pytest.raises(UserError, match="it is a folder or a device"):
        files.write(os.devnull, {}, {})
    with pytest.raises(UserError, match="cannot write"):
        files.write("", {}, {})
    with pytest.raises(UserError, match="File name too long"):
        files.write(tmp_path / ("n" * 300), {}, {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        files.write(tmp_path / "file" / "model", {}, {})
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_replacing_takes_any_bytes(tmp_path):
    path = tmp_path / "vectors.txt"
    with files.replacing(path) as file:
        file.write(b"one\n")
        assert not path.exists()
    with pytest.raises(RuntimeError), files.replacing(path) as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"one\n"
    assert [p.name for p in tmp_path.iterdir()] == ["vectors.txt"]


def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "model", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "model").st_mode) == 0o640
