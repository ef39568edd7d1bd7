"""RecordIO: records of bytes, one after another, each behind a magic word and its length.

A frame is little-endian: uint32 magic, uint32 with a flag in its top three bits and the
length of the payload below, the payload, and zero bytes up to a multiple of four. The format
is dmlc-core's (include/dmlc/recordio.h): a writer may take every aligned magic word out of a
payload and split the record there; flag 1 then marks the first part, 2 those between, 3 the
last. Readers here join such records; writers here never split (flag 0), as the readers of
the original SDK and of Spark know whole records only.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.errors import UserError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
HEADER = 8  # bytes before a payload: magic and length
LIMIT = 1 << 29  # a record must be shorter: the length has 29 bits
RECORDS = 1 << 14  # records found at a time: what is noted of each stays in the cache

# Why a frame cannot be read.
_NO_MAGIC, _NO_HEADER, _NO_PAYLOAD, _NO_FIRST, _NO_LAST, _BAD_FLAG, _TOO_LONG = range(1, 8)
_WHY = {
    _NO_MAGIC: "no magic word (0a 23 d7 ce) where a record must begin: the file is not RecordIO,"
    " or it is damaged; write it again",
    _NO_HEADER: "the file ends inside the header of a record: it was cut short; fetch or write it"
    " again",
    _NO_PAYLOAD: "the file ends inside a record: it was cut short; fetch or write it again",
    _NO_FIRST: "a later part of a split record without its first part: the file is damaged, or"
    " was cut at its beginning; write it again",
    _NO_LAST: "a new record inside a split record that has no last part: the file is damaged;"
    " write it again",
    _BAD_FLAG: "a record with a flag above 3, which RecordIO does not have: the file is damaged;"
    " write it again",
    _TOO_LONG: f"a split record of {LIMIT} bytes or more: RecordIO holds shorter ones only; write"
    " smaller records",
}


@dataclass(frozen=True, eq=False)
class Records:
    """Some consecutive records of a file, valid until the next ones are asked for.

    Parameters
    ----------
    buffer : ndarray of uint8, shape (n_bytes,)
        Record i is ``buffer[starts[i]:ends[i]]``; split records are joined already.
    starts, ends : ndarray of int64, shape (n_records,)
    first : int
        Number of the first record within the file.
    base : int
        Byte of the file that ``buffer[0]`` is.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    first: int
    base: int

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, i: int, at: int) -> str:
        """Names record i and the place in the file of byte `at` of the buffer."""
        start = int(self.starts[i])
        flag = int(self.buffer[start - 1]) >> 5
        if flag != 0:  # its bytes were moved together
            return f"record {self.first + i} (split, from byte {self.base + start - HEADER})"
        return f"record {self.first + i}, byte {self.base + at}"


@kernel
def _word(buffer, at):  # type: ignore[no-untyped-def]
    """The little-endian uint32 at ``buffer[at]``, as int64."""
    at = np.uint64(at)
    word = np.int64(buffer[at]) | np.int64(buffer[at + np.uint64(1)]) << 8
    word |= np.int64(buffer[at + np.uint64(2)]) << 16
    return word | np.int64(buffer[at + np.uint64(3)]) << 24


@kernel
def _join(buffer, at):  # type: ignore[no-untyped-def]
    """Join the split record whose first header is at ``buffer[at]``; return where it ends.

    Parts move down over the headers between them, each behind one magic word:

        |magic 1 n|aaaa|magic 3 m|bbbbb|pad|  ->  |magic 1 n|aaaa|magic|bbbbb|...
    """
    to = at + 8
    first = True
    while True:
        word = _word(buffer, at + 4)
        flag, length = word >> 29, word & 0x1FFFFFFF
        if not first:
            for i in range(4):
                buffer[to + i] = buffer[at + i]
            to += 4
        if to != at + 8:
            for i in range(length):
                buffer[to + i] = buffer[at + 8 + i]
        to += length
        if flag == 3:
            return to
        first = False
        at += 8 + length + (-length & 3)


@kernel
def find_records(buffer, at, filled, last, starts, ends):  # type: ignore[no-untyped-def]
    """Find the complete records in ``buffer[at:filled]`` and join the split ones in place.

    buffer        (n_bytes,) uint8     in, out (joined records)
    at, filled    int64                the bytes to look at
    last          bool                 nothing follows them in the file
    starts, ends  (capacity,) int64    out: record i is buffer[starts[i]:ends[i]]
    Returns n_records, the byte after them, the reason of a fault (0: none) and its byte.
    The padding of the last record may be missing.
    """
    n = 0
    while n < len(starts) and at < filled:
        part, total = at, 0
        while True:
            if filled - part < 8:
                return n, at, _NO_HEADER if last else 0, part
            if _word(buffer, part) != MAGIC:
                return n, at, _NO_MAGIC, part
            word = _word(buffer, part + 4)
            flag, length = word >> 29, word & 0x1FFFFFFF
            if flag > 3:
                return n, at, _BAD_FLAG, part
            if part == at and flag > 1:
                return n, at, _NO_FIRST, part
            if part > at and flag < 2:
                return n, at, _NO_LAST, part
            total += length
            if total >= LIMIT:
                return n, at, _TOO_LONG, at
            end = part + 8 + length
            after = end + (-length & 3)
            if end > filled:
                return n, at, _NO_PAYLOAD if last else 0, part
            if after > filled:
                if not last:
                    return n, at, 0, part
                after = filled
            if flag == 0 or flag == 3:
                break
            part = after
            total += 4
        starts[n] = at + 8
        ends[n] = end if flag == 0 else _join(buffer, at)
        n += 1
        at = after
    return n, at, 0, at


def _fill(file: BinaryIO, name: str, buffer: NDArray[np.uint8]) -> int:
    """Read until `buffer` is full or the file ends; return the number of bytes."""
    view, filled = buffer.data, 0
    readinto: Any = getattr(file, "readinto", None)
    while filled < len(view):
        if readinto is not None:
            n = readinto(view[filled:])
        else:
            data = file.read(len(view) - filled)
            n = None if data is None else len(data)
            view[filled : filled + (n or 0)] = data or b""
        if n is None:
            raise UserError(f"{name}: has no bytes yet: open it in blocking mode")
        if n == 0:
            break
        filled += n
    return filled


def read_chunks(file: BinaryIO, name: str, *, chunk_bytes: int = 1 << 20) -> Iterator[Records]:
    """Read a RecordIO file in chunks of whole records.

    Parameters
    ----------
    file : binary file object
        Read from where it stands to its end; pipes and other sources of short reads will do.
    name : str
        What errors call the file.
    chunk_bytes : int
        Bytes held at a time. A longer record makes the buffer grow, but only as its bytes
        arrive.

    Yields
    ------
    Records
        In one buffer, which the next step overwrites.

    Raises
    ------
    UserError
        A damaged or truncated file, with the byte of the frame that cannot be read. The
        complete records before it were given out.
    """
    buffer = np.empty(max(chunk_bytes, HEADER), np.uint8)
    starts, ends = np.empty(RECORDS, np.int64), np.empty(RECORDS, np.int64)
    at = filled = base = first = 0
    last = False
    while True:
        n, at, why, fault = find_records(buffer, at, filled, last, starts, ends)
        if n:
            yield Records(buffer, starts[:n], ends[:n], first, base)
            first += n
        if why:
            raise UserError(f"{name}: record {first}, byte {base + fault}: {_WHY[why]}")
        if n == RECORDS:
            continue
        if last:
            return
        rest = filled - at
        if rest == len(buffer):
            buffer = np.concatenate((buffer, np.empty_like(buffer)))
        elif at:
            buffer[:rest] = buffer[at:filled]
        base, at = base + at, 0
        filled = rest + _fill(file, name, buffer[rest:])
        last = filled < len(buffer)


def read_records(file: BinaryIO, name: str, *, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
    """Read the payloads of a RecordIO file one by one, whatever they hold.

    Parameters and errors are those of `read_chunks`.

    Yields
    ------
    bytes
    """
    for records in read_chunks(file, name, chunk_bytes=chunk_bytes):
        for start, end in zip(records.starts.tolist(), records.ends.tolist(), strict=True):
            yield records.buffer[start:end].tobytes()


def frame(payload: bytes) -> bytes:
    """One record: `payload` behind its header, padded.

    Raises
    ------
    UserError
        2**29 bytes or more.
    """
    check_length(len(payload))
    return struct.pack("<II", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def write_records(file: BinaryIO, payloads: Iterable[bytes]) -> None:
    """Write payloads as records, one after another."""
    for payload in payloads:
        file.write(frame(payload))


def check_length(length: int) -> None:
    """Refuse a payload that the 29 bits of a frame's length cannot say."""
    if length >= LIMIT:
        raise UserError(f"a record of {length} bytes: RecordIO holds less than {LIMIT}; split it")
