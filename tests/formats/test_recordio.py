"""RecordIO frames: what is written is read, however it comes; what is damaged is named."""

import contextlib
import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.formats.recordio import (
    _WHY,
    LIMIT,
    MAGIC_BYTES,
    check_length,
    find_records,
    frame,
    read_chunks,
    read_records,
    write_records,
)
from tests.reference.protobuf import frames, split_frame

words = st.sampled_from([MAGIC_BYTES, b"abcd", b"\0\0\0\0", MAGIC_BYTES[1:] + b"\n"])
payloads = st.builds(
    lambda words, rest: b"".join(words) + rest, st.lists(words, max_size=6), st.binary(max_size=5)
)


class Dribble(io.RawIOBase):
    """A file that gives a few bytes at a time, and has no `readinto` if told so."""

    def __init__(self, data: bytes, steps: list[int], into: bool = True) -> None:
        self.file, self.steps, self.turn = io.BytesIO(data), steps, 0
        if not into:
            self.readinto = None

    def step(self, n: int) -> int:
        self.turn += 1
        return min(n, self.steps[self.turn % len(self.steps)])

    def read(self, n: int = -1) -> bytes:
        return self.file.read(self.step(n))

    def readinto(self, buffer) -> int:
        return self.file.readinto(buffer[: self.step(len(buffer))])


@contextlib.contextmanager
def peak_below(n_bytes: int):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


def part(flag: int, payload: bytes) -> bytes:
    return MAGIC_BYTES + struct.pack("<I", flag << 29 | len(payload)) + payload


def read(data: bytes, chunk_bytes: int = 8 << 20) -> list[bytes]:
    return list(read_records(io.BytesIO(data), "f", chunk_bytes=chunk_bytes))


def test_a_frame_is_magic_length_payload_and_padding():
    assert frame(b"hello") == bytes.fromhex("0a23d7ce05000000") + b"hello\0\0\0"
    assert frame(b"") == bytes.fromhex("0a23d7ce00000000")


def test_writes_frames_one_after_another():
    file = io.BytesIO()
    write_records(file, [b"a", MAGIC_BYTES, b""])
    assert file.getvalue() == frame(b"a") + frame(MAGIC_BYTES) + frame(b"")
    assert frames(file.getvalue()) == [b"a", MAGIC_BYTES, b""]


def test_refuses_a_record_that_the_length_cannot_say():
    check_length(LIMIT - 1)
    with pytest.raises(UserError, match=r"536870912 bytes.*split it"):
        check_length(LIMIT)


@settings(deadline=None)
@given(st.lists(payloads, max_size=8), st.booleans(), st.data())
def test_reads_whole_and_split_records_from_any_source(items, split, data):
    file = b"".join((split_frame if split else frame)(p) for p in items)
    assert frames(file) == items
    steps = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    source = Dribble(file, steps, into=data.draw(st.booleans()))
    size = data.draw(st.integers(1, 64))
    assert list(read_records(source, "f", chunk_bytes=size)) == items


def test_chunks_number_their_records_and_bytes():
    items = [bytes([i]) * (i % 11) for i in range(50)]
    file, seen = b"".join(map(frame, items)), 0
    for chunk in read_chunks(io.BytesIO(file), "f", chunk_bytes=64):
        assert chunk.first == seen
        for i, (start, end) in enumerate(zip(chunk.starts, chunk.ends, strict=True)):
            at = chunk.base + int(start)
            assert file[at : at + end - start] == items[seen + i]
            assert chunk.where(i, int(start)) == f"record {seen + i}, byte {at}"
        seen += len(chunk)
    assert seen == 50


def test_more_records_than_are_found_at_a_time():
    items = [struct.pack("<I", i) for i in range(40000)]
    assert read(b"".join(map(frame, items))) == items


def test_says_where_a_split_record_is():
    file = frame(b"x") + split_frame(b"abcd" + MAGIC_BYTES + b"ef")
    (chunk,) = read_chunks(io.BytesIO(file), "f")
    assert chunk.where(1, 40) == "record 1 (split, from byte 12)"


def test_parts_with_padding_between_them_are_joined():
    file = part(1, b"abcde") + b"\0\0\0" + part(2, b"") + part(3, b"x")
    assert read(file) == [b"abcde" + MAGIC_BYTES + MAGIC_BYTES + b"x"]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_the_last_padding_may_be_missing(missing):
    file = frame(b"first") + frame(b"x")
    assert read(file[:-missing]) == [b"first", b"x"]


def padding(record: bytes) -> int:
    """Bytes behind the last part of a record."""
    at, flag = 0, 1
    while flag not in (0, 3):
        flag, n = divmod(struct.unpack_from("<I", record, at + 4)[0], 1 << 29)
        at += 8 + n + -n % 4
    return -n % 4


good = frame(b"abcd")  # 12 bytes


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (good + b"1,2,3\n4,5,6\n", "record 1, byte 12: no magic word"),
        (good + frame(b"zz") + b"zzzz" + good, "record 2, byte 24: no magic word"),
        (good + good[:7], "record 1, byte 12: the file ends inside the header"),
        (good + good[:-1], "record 1, byte 12: the file ends inside a record"),
        (good + part(2, b"abcd"), "record 1, byte 12: a later part"),
        (part(3, b"abcd"), "record 0, byte 0: a later part"),
        (part(1, b"abcd") + good, "record 0, byte 12: a new record inside"),
        (part(1, b"abcd") + part(1, b""), "record 0, byte 12: a new record inside"),
        (part(1, b"abcd"), "record 0, byte 12: the file ends inside the header"),
        (part(1, b"abcd") + part(3, b"abcd")[:9], "record 0, byte 12: the file ends inside a"),
        (good + part(4, b"abcd"), "record 1, byte 12: a record with a flag above 3"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 16, 1 << 20])
def test_a_damaged_file_is_an_error_with_its_byte(data, what, chunk_bytes):
    records = read_records(io.BytesIO(data), "train.rec", chunk_bytes=chunk_bytes)
    got = []
    with pytest.raises(UserError) as error:
        got.extend(records)
    assert set(got) <= {b"abcd", b"zz"}
    assert str(error.value).startswith(f"train.rec: {what}")
    assert "write" in str(error.value)


@settings(deadline=None, max_examples=30)
@given(st.lists(payloads, min_size=1, max_size=5), st.booleans(), st.integers(1, 40))
def test_a_truncated_file_gives_its_complete_records_and_an_error(items, split, chunk_bytes):
    parts = [(split_frame if split else frame)(p) for p in items]
    file = b"".join(parts)
    ends = np.cumsum([0] + [len(p) for p in parts])
    for cut in range(len(file)):
        complete = int(np.searchsorted(ends, cut, "right")) - 1
        missing_is_padding = ends[complete + 1] - cut <= padding(parts[complete])
        records = read_records(io.BytesIO(file[:cut]), "f", chunk_bytes=chunk_bytes)
        if cut in ends or missing_is_padding:
            assert list(records) == items[: complete + missing_is_padding]
            continue
        got = []
        with pytest.raises(UserError, match=f"record {complete}, byte"):
            got.extend(records)
        assert got == items[:complete]


@settings(deadline=None, max_examples=50)
@given(st.lists(payloads, min_size=1, max_size=5), st.data())
def test_flipped_bits_raise_nothing_but_user_errors(items, data):
    file = bytearray(b"".join(map(split_frame, items)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(UserError):
        read(bytes(file), data.draw(st.integers(1, 64)))


def test_a_hostile_length_takes_no_memory():
    data = MAGIC_BYTES + struct.pack("<I", LIMIT - 1) + b"x" * 1000
    with peak_below(2 << 20), pytest.raises(UserError, match="ends inside a record"):
        read(data, 1 << 10)


def test_the_parts_of_a_record_are_shorter_than_the_limit_together():
    first, last = part(1, b""), part(3, b"abcd")
    buffer = np.zeros(8 + LIMIT - 4 + len(last), np.uint8)  # pages never touched take no memory
    buffer[:8] = np.frombuffer(first, np.uint8)
    buffer[4:8] = np.frombuffer(struct.pack("<I", 1 << 29 | (LIMIT - 4)), np.uint8)
    buffer[-len(last) :] = np.frombuffer(last, np.uint8)
    starts, ends = np.empty(1, np.int64), np.empty(1, np.int64)
    n, at, why, fault = find_records(buffer, 0, len(buffer), True, starts, ends)
    assert (n, at, fault) == (0, 0, 0)
    assert "shorter" in _WHY[why]


def test_a_file_without_bytes_yet_is_an_error():
    class NotYet(io.RawIOBase):
        def readinto(self, buffer):
            return None

    with pytest.raises(UserError, match="blocking"):
        list(read_records(NotYet(), "pipe"))
