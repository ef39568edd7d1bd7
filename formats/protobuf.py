"""`aialgs.data.Record` messages in RecordIO frames, to and from arrays.

Features and label of a record are tensors of float32, float64 or int32 under the map key
"values": dense ones hold values alone, sparse ones values, keys (columns from 0) and a shape.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalgos.errors import UserError
from smalgos.formats import wire, wire_writer
from smalgos.formats.block import Block, Column, Csr, Ragged
from smalgos.formats.recordio import HEADER, RECORDS, Records, check_length, read_chunks
from smalgos.formats.wire_reader import fill

if TYPE_CHECKING:
    from smalgos.formats.messages import Messages

_NO_BYTES = np.empty(0, np.uint8)
_NO_SPANS = np.empty((0, 4), np.int64)
_DAMAGED = ": the record is damaged or no aialgs.data.Record; write it again"
_WHY = {
    wire.NO_END: "a number that does not end within its field" + _DAMAGED,
    wire.OVERLONG: "a number of more than 64 bits" + _DAMAGED,
    wire.PAST_END: "a field that reaches past the end of what it is in" + _DAMAGED,
    wire.BAD_TAG: "a field number or wire type that protobuf does not have" + _DAMAGED,
    wire.WIRE_TYPE: "a field of another wire type than aialgs.data.Record gives it" + _DAMAGED,
    wire.BAD_GROUP: "a group that does not end where it should" + _DAMAGED,
    wire.HALF_VALUE: "a list of values that ends within a value" + _DAMAGED,
    wire.NO_FEATURES: 'no features under the key "values": put them there',
    wire.NO_VALUES: "a tensor without values and without a shape above 0: an all-zero sparse"
    " record needs its shape",
    wire.BYTES_VALUE: "bytes where numbers are needed: write a float32, float64 or int32 tensor",
    wire.KEYS_VALUES: "as many keys as values are needed in a sparse tensor: write one for each",
    wire.NO_SHAPE: "a sparse tensor (one with keys) without a shape: write the number of columns",
    wire.BAD_SHAPE: "a dense tensor whose shape does not fit the number of its values: write the"
    " right shape, or none",
    wire.WIDE_SHAPE: "a shape of 2**31 columns or more: columns are int32; hash or drop some",
    wire.LABEL_KEYS: "a sparse label: write it dense, without keys",
    wire.BAD_KEY: "a key that is not below the number of columns, which the shape says",
}


def read_blocks(
    file: BinaryIO,
    name: str,
    *,
    uid: bool = False,
    metadata: bool = False,
    chunk_bytes: int = 1 << 20,
) -> Iterator[Block]:
    """Read a file of records as blocks.

    Parameters
    ----------
    file : binary file object
        Read from where it stands to its end; pipes and other sources of short reads will do.
    name : str
        What errors call the file.
    uid, metadata : bool
        Keep these strings, as `Ragged` columns of uint8; a record without one has an empty row.
    chunk_bytes : int
        Bytes of the file held at a time; a block comes from at most so many, unless one record
        is longer. By default they stay in a processor's second-level cache, where reading is
        twice as fast as from 8 MB.

    Yields
    ------
    Block
        ``features``: (n, d) float32 if all records of the block are dense; else a `Csr`, in
        which dense records have an entry for every column. ``labels`` if the records have them:
        (n,) float32, or (n, m) for labels of m > 1 values.

    Raises
    ------
    UserError
        Whatever cannot be read, or has not as many features or labels as the records before
        it, with the number of the record (from 0) and the byte of the file.

    Notes
    -----
    As protobuf has it: packed or not makes no difference, lists in several pieces are put
    together, the last of several tensors or of several entries "values" wins, unknown fields
    are skipped. Unlike there, a known field of a wrong wire type is an error. Entries other than
    "values" are checked as far as lengths go, and left out. A label without values is none.
    """
    work = _Work(name)
    for records in read_chunks(file, name, chunk_bytes=chunk_bytes):
        # Without the JIT, NumPy would warn of a float64 beyond float32: it becomes infinite.
        with np.errstate(over="ignore", invalid="ignore"):
            columns = work.tensors(records)
        if uid:
            columns["uid"] = work.strings(records, wire.UID)
        if metadata:
            columns["metadata"] = work.strings(records, wire.METADATA)
        yield Block(columns, records.first)


class _Work:
    """What is kept from one chunk of records to the next."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = np.empty(RECORDS, np.int64)
        self.table = np.empty((RECORDS, wire.ROW), np.int64)
        self.expect = np.full(2, -1, np.int64)

    def tensors(self, records: Records) -> dict[str, Column]:
        """The columns features and labels."""
        n, buffer, starts = len(records), records.buffer, records.starts
        rows, table, expect = self.rows, self.table, self.expect
        offsets = np.empty(n + 1, np.int64)
        walked, reason, where, n_scattered = wire.walk(
            buffer, starts, records.ends, rows, table, _NO_SPANS, _NO_BYTES
        )
        i, unfit, at, sparse, total = wire.check(starts[:walked], rows, table, expect, offsets)
        if unfit:
            raise self.error(records, i, unfit, at)
        if reason:
            raise self.error(records, walked, reason, where)
        width, n_labels = expect.tolist()
        values = np.empty(total, np.float32)
        keys = np.empty(total if sparse else 0, np.int32)
        columns: dict[str, Column] = {
            "features": Csr(values, keys, offsets, width) if sparse else values.reshape(n, width)
        }
        todo = [(wire.FEATURES, offsets, values, keys)]
        if n_labels:
            labels = np.empty(n * n_labels, np.float32)
            columns["labels"] = labels if n_labels == 1 else labels.reshape(n, n_labels)
            todo.append((wire.LABEL, np.arange(n) * n_labels, labels, keys[:0]))
        for tensor, to, out, out_keys in todo:
            raw = out.view(np.uint8)
            i, reason, at = fill(buffer, starts, rows, table, tensor, to, out, raw, out_keys)
            if reason:
                raise self.error(records, i, reason, at)
            if n_scattered:
                self.fill_pieces(records, tensor, to, out, out_keys)
        return columns

    def fill_pieces(
        self,
        records: Records,
        tensor: int,
        to: NDArray[np.int64],
        values: NDArray[np.float32],
        keys: NDArray[np.int32],
    ) -> None:
        """Decode the tensors that come in several pieces, after putting these together."""
        starts, table = records.starts, self.table[self.rows[: len(records)]]
        noted = table[:, tensor : tensor + wire.TENSOR].T  # a view
        which = np.flatnonzero(
            (noted[wire.VALUES_AT] == wire.SCATTERED) | (noted[wire.KEYS_AT] == wire.SCATTERED)
        )
        if not len(which):
            return
        table, starts, ends = table[which], starts[which], records.ends[which]
        noted = table[:, tensor : tensor + wire.TENSOR].T
        # The bytes of all values and keys of a record, one after the other.
        n_bytes = np.stack(
            [
                noted[end] - np.maximum(noted[at], 0)  # SCATTERED is below 0
                for at, end in ((wire.VALUES_AT, wire.VALUES_END), (wire.KEYS_AT, wire.KEYS_END))
            ],
            axis=1,
        )
        last = np.cumsum(n_bytes).reshape(n_bytes.shape)
        first = last - n_bytes
        spans = np.column_stack((starts + noted[wire.FROM], starts + noted[wire.END], first))
        spill = np.empty(int(n_bytes.sum()), np.uint8)
        rows = np.arange(len(which))
        wire.walk(
            records.buffer, starts, ends, np.empty_like(rows), np.empty_like(table), spans, spill
        )
        noted[wire.VALUES_AT], noted[wire.KEYS_AT] = first.T
        noted[wire.VALUES_END], noted[wire.KEYS_END] = last.T
        raw, zero = values.view(np.uint8), np.zeros_like(rows)
        i, reason, _ = fill(spill, zero, rows, table, tensor, to[which], values, raw, keys)
        if reason:
            raise self.error(records, int(which[i]), reason, int(starts[i] + noted[wire.BEGIN, i]))

    def strings(self, records: Records, column: int) -> Ragged:
        """The strings whose begin and end are in two columns of the table."""
        spans = self.table[self.rows[: len(records)], column : column + 2]
        first, last = (spans + records.starts[:, None]).T.tolist()
        view = records.buffer.data
        text = bytearray().join(view[a:b] for a, b in zip(first, last, strict=True))
        offsets = np.concatenate(([0], np.cumsum(spans[:, 1] - spans[:, 0])))
        return Ragged(np.frombuffer(text, np.uint8), offsets)

    def error(self, records: Records, i: int, reason: int, at: int) -> UserError:
        """Says what is wrong at byte `at` of the buffer, in record i."""
        row, (width, n_labels) = self.table[self.rows[i]], self.expect
        if reason == wire.WIDTH_CHANGED:
            given, wanted, what = row[wire.WIDTH], width, "features"
        elif reason == wire.LABEL_CHANGED:
            given, wanted, what = row[wire.LABEL + wire.VALUES], n_labels, "labels"
        else:
            return UserError(f"{self.name}: {records.where(i, at)}: {_WHY[reason]}")
        why = f"{given} {what} where the records before it have {wanted}"
        return UserError(
            f"{self.name}: {records.where(i, at)}: {why}: all records of a file need the same"
            " number"
        )


# --- writing

_FEATURES, _LABEL, _UID, _METADATA = 0x0A, 0x12, 0x1A, 0x22  # tags of strings and messages
_VALUES = np.frombuffer(b"values", np.uint8).copy()  # a kernel compiles again for read-only arrays
_ROWS = 1 << 11  # records encoded at a time: their bytes stay in the cache
_Put = Callable[[NDArray[np.uint8], NDArray[np.int64]], None]


def encode(block: Block, *, dtype: DTypeLike | None = None) -> bytes:
    """The rows of a block as RecordIO frames of records, byte for byte as the original SDK's.

    Parameters
    ----------
    block : Block
        Columns ``features`` (n, d) or `Csr`; ``labels`` (n,) or (n, m), if there are; ``uid``
        and ``metadata``, `Ragged` of uint8, if there are.
    dtype : dtype, optional
        What the features are converted to first.

    Returns
    -------
    bytes
        Features and labels each in a tensor of their type: float64 in a Float64Tensor, other
        floats in a Float32Tensor, integers in an Int32Tensor. Dense rows have values alone, a
        `Csr` keys and shape as well.

    Raises
    ------
    UserError
        Integers beyond int32, values that are no numbers, a record of 2**29 bytes, a column that
        records cannot hold (weights).
    """
    return b"".join(part.data for part in _encode(block, dtype))


def write_blocks(
    file: BinaryIO, blocks: Iterable[Block], *, dtype: DTypeLike | None = None
) -> None:
    """Write blocks to a file, as `encode` has them."""
    for block in blocks:
        for part in _encode(block, dtype):
            file.write(part.data)


def encode_records(
    outputs: Mapping[str, NDArray[Any]],
    *,
    uid: Ragged | None = None,
    metadata: Ragged | None = None,
) -> bytes:
    """Response records: one for each row, without features, every output an entry of the label.

    Parameters
    ----------
    outputs : mapping of str to ndarray, shape (n,) or (n, k)
        Each becomes the one value or the k values of a Float32Tensor.
    uid, metadata : Ragged of uint8, n rows, optional
        Strings of the request that are given back.
    """
    n = len(next(iter(outputs.values()), ()))
    parts = []
    for rows in (slice(i, i + _ROWS) for i in range(0, n, _ROWS)):
        puts = [
            _tensors(_LABEL, np.asarray(values[rows], np.float32), name)
            for name, values in outputs.items()
        ]
        for tag, strings in ((_UID, uid), (_METADATA, metadata)):
            if strings is not None:
                puts.append(_strings(tag, strings[rows]))
        parts.append(_frames(min(_ROWS, n - rows.start), puts).data)
    return b"".join(parts)


def _encode(block: Block, dtype: DTypeLike | None) -> Iterator[NDArray[np.uint8]]:
    unknown = set(block.columns) - {"features", "labels", "uid", "metadata"}
    if unknown:
        raise UserError(f"records have no place for {', '.join(sorted(unknown))}: leave them out")
    for part in block.batches(_ROWS):
        puts = [_tensors(_FEATURES, part.features, dtype=dtype)]
        if part.labels is not None:
            puts.append(_tensors(_LABEL, part.labels))
        for tag, name in ((_UID, "uid"), (_METADATA, "metadata")):
            if name in part:
                puts.append(_strings(tag, part[name]))
        yield _frames(len(part), puts)


def _frames(n: int, puts: list[_Put]) -> NDArray[np.uint8]:
    """The bytes of n records with the given fields."""
    sizes = np.zeros(n, np.int64)
    for put in puts:
        put(_NO_BYTES, sizes)
    check_length(int(sizes.max(initial=0)))
    framed = HEADER + sizes + (-sizes & 3)
    ends = np.cumsum(framed)
    out, at = np.empty(int(framed.sum()), np.uint8), ends - framed
    wire_writer.put_frames(sizes, out, at)
    for put in puts:
        put(out, at)
    return out


def _tensors(tag: int, rows: Any, name: str | None = None, dtype: DTypeLike | None = None) -> _Put:
    """A tensor for each row, in the entry `name` of a map."""
    n = len(rows)
    keys, keys_at, shape = _NO_BYTES, _NO_BYTES.astype(np.int64), _NO_BYTES
    if isinstance(rows, Csr):
        rows = rows.tight()
        offsets, values = rows.offsets, rows.values
        keys, keys_at = _varints(rows.indices, offsets)
        shape, _ = _varints(np.array([rows.width]), np.array([0, 1]))
    else:
        values = np.asarray(rows)
        offsets = np.arange(n + 1) * (values.size // max(n, 1))
    if dtype is not None:
        values = values.astype(dtype, copy=False)
    kind = wire.FLOAT32
    if values.dtype.kind in "biu":
        kind = wire.INT32
        numbers = values.reshape(-1)
        wrong = np.flatnonzero((numbers < -(2**31)) | (numbers >= 2**31))
        if len(wrong):
            raise UserError(f"{numbers[wrong[0]]} is beyond int32: write the values as floats")
        encoded, values_at = _varints(numbers, offsets)
    elif values.dtype.kind == "f":
        if values.dtype == np.float64:
            kind = wire.FLOAT64
        number = np.dtype("<f8" if kind == wire.FLOAT64 else "<f4")
        # Writeable, as a kernel compiles again for read-only arrays.
        values = np.require(values, number, ("C", "W"))
        encoded, values_at = values.reshape(-1).view(np.uint8), offsets * number.itemsize
    else:
        raise UserError(f"values of type {values.dtype}: records hold floats and integers")
    label = _VALUES if name is None else np.frombuffer(bytearray(name.encode()), np.uint8)
    return functools.partial(
        wire_writer.put_tensors, tag, label, kind, encoded, values_at, keys, keys_at, shape
    )


def _varints(
    numbers: NDArray[Any], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Rows of numbers as varints, and where each row begins."""
    numbers = numbers.astype(np.int64)
    sizes = np.zeros(len(offsets) - 1, np.int64)
    wire_writer.put_varints(numbers, offsets, _NO_BYTES, sizes)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    out = np.empty(int(bounds[-1]), np.uint8)
    if len(out):
        wire_writer.put_varints(numbers, offsets, out, bounds[:-1].copy())
    return out, bounds


def _strings(tag: int, rows: Ragged) -> _Put:
    """A string field of each row."""
    text = np.require(rows.values, np.uint8, ("C", "W"))
    return functools.partial(wire_writer.put_strings, tag, text, rows.offsets)


def message_classes() -> "Messages":
    """Classes of the protobuf library for single messages; see `smalgos.formats.messages`."""
    from smalgos.formats import messages

    return messages.message_classes()
