"""Embedding tables: rows of numbers that are looked up by number and learnt by sparse steps.

A *record* holds a row with the optimizer's slots for it: ``width`` weights padded to whole vectors
of sixteen, then each slot alike. It begins at a multiple of 64 bytes, so no cache line holds parts
of two rows: else threads that work on different rows would wait for each other.

A step is *row-sparse* ("lazy"): the gradients of a batch are brought in order by row (`lists`),
those of one row are summed in order of their position, and the row moves once. Rows that the batch
does not mention stay as they are, slots and decay included, as in MXNet's lazy updates. A row
belongs to one task, so results do not depend on the number of threads.
"""

import contextlib
import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.optimizers import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    RMSPROP,
    Optimizer,
    correct,
    has_slots,
    moved,
    optimizer,
    slots,
)
from smalgos.kernels.cpu.shared import chunks, jobs, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned
from smalgos.kernels.cpu.vector import (
    load,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
)

__all__ = ["Optimizer", "Table", "check_optimizer", "optimizer", "padded", "slots"]

DIGIT = 11  # bits of a key that one pass of the sort looks at, at most
PART = 2048  # keys of a part of a sort, at least
ROWS = 4096  # rows of a task that only copies
HUGE = 1 << 21  # bytes of a huge page
SOON = 4  # records between a prefetch and its use


def padded(width: int) -> int:
    """Floats that `width` of them take up in a record."""
    return -(-width // PANEL) * PANEL


def check_optimizer(opt: Optimizer) -> None:
    """Raise ``ValueError`` for constants under which a weight that has no gradient becomes NaN."""
    if opt.code in (ADAM, ADAGRAD, RMSPROP, ADADELTA) and not opt.epsilon > 0:
        raise ValueError(f"epsilon={opt.epsilon}: must be positive")


def zeros(size: int) -> NDArray[np.float32]:
    """Zeros that start at a multiple of 64 bytes, in huge pages where they are many.

    Rows are looked up all over a table: with pages of 4 KB, most look-ups would miss the
    processor's buffer of page addresses.
    """
    if 4 * size < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return aligned(size)
    # Private: shared memory, which Python asks for by itself, is not given huge pages.
    memory = mmap.mmap(-1, 4 * size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system may be without
        memory.madvise(mmap.MADV_HUGEPAGE)
    buffer = np.frombuffer(memory, np.uint8)
    skip = -buffer.__array_interface__["data"][0] % HUGE
    return buffer[skip : skip + 4 * size].view(np.float32)


class Sort(NamedTuple):
    """How keys are sorted, and scratch for it.

    bits, passes   int, bits of a key that a pass looks at, and how many passes there are
    entries        int, how many can be sorted
    space          (passes * 2**bits + 2 * entries,) int64
    """

    bits: int
    passes: int
    entries: int
    space: NDArray[np.int64]


def sorter(keys: int, entries: int) -> Sort:
    """What it takes to sort so many entries, by keys below `keys`."""
    bits = max(int(keys - 1).bit_length(), 1)
    passes = -(-bits // DIGIT)
    bits = -(-bits // passes)
    return Sort(bits, passes, entries, np.empty((passes << bits) + 2 * entries, np.int64))


@kernel(fastmath=False, inline="always")
def _at(i):
    """An index that is not negative: numba need not ask."""
    return np.uint64(i)


@kernel(fastmath=False)
def lists(keys, first, count, part, parts, sort, touched, starts, order):
    """Positions by key: those of one part of the keys, keys and positions ascending.

    keys          int32, not negative                                        in
    first, count  int64, where among keys to look; positions are counted from `first`
    part, parts   int64; a hash of its key says which part an entry belongs to
    sort          Sort
    touched       (>= count,) int32, the keys of the part                    out
    starts        (>= count + 1,) int32, where the positions of each begin   out
    order         (>= count,) int32, positions                               out
    Returns the number of keys. A radix sort by the lowest digit first; twin in
    tests/reference/embedding.py.
    """
    bits, passes, seen = sort.bits, sort.passes, sort.space
    a, mask = passes << bits, (1 << bits) - 1
    b = a + sort.entries
    for digit in range(passes << bits):
        seen[digit] = 0
    m = 0
    for i in range(count):
        key = np.int64(keys[first + i])
        seen[_at(a + m)] = (key << 32) | i  # written over by the next one, if of another part
        # Fibonacci hashing (Knuth, vol. 3, 6.4) of 32 bits
        m += np.int64((((key * 0x9E3779B1) & 0xFFFFFFFF) * parts) >> 32 == part)
    for i in range(m):
        entry = seen[_at(a + i)]
        for p in range(passes):
            seen[_at((p << bits) + ((entry >> (32 + p * bits)) & mask))] += 1
    for p in range(passes):
        before = 0
        for digit in range(p << bits, (p + 1) << bits):
            here = seen[digit]
            seen[digit] = b + before
            before += here
        for i in range(m):
            entry = seen[_at(a + i)]
            digit = _at((p << bits) + ((entry >> (32 + p * bits)) & mask))
            place = seen[digit]
            seen[_at(place)] = entry
            seen[digit] = place + 1
        a, b = b, a
    n, last = 0, np.int64(-1)
    for i in range(m):
        entry = seen[_at(a + i)]
        key = entry >> 32
        at = _at(n)
        touched[at], starts[at] = key, i  # written over by the next key, if this is no new one
        n += np.int64(key != last)
        last = key
        order[_at(i)] = entry & 0xFFFFFFFF
    starts[n] = m
    return n


@kernel(fastmath=False, inline="always")
def move_record(opt, correction, table, at, gap, first, gradient, g_at, width, scale, rates):
    """One step of `width` weights (padded) with one rate.

    opt, correction   of `optimizer` and `correct`
    table             float32, flat; weights are from element `at` on             in, out
    gap, first        int64; slot s of a weight lies first + s * gap behind it
    gradient          float32, flat, from element `g_at` on                       in
    scale             float, what to multiply the gradient by
    rates             (rate, decay, l1)
    """
    has_0, has_1 = has_slots(opt)
    rate, decay, l1 = splat(rates[0]), splat(rates[1]), splat(rates[2])
    for j in range(at, at + width, PANEL):
        a = load(table, j + first) if has_0 else splat(0.0)
        b = load(table, j + first + gap) if has_1 else splat(0.0)
        g = load(gradient, g_at + j - at)
        w, a, b = moved(opt, correction, load(table, j), g, a, b, scale, rate, decay, l1)
        store(table, j, w)
        if has_0:
            store(table, j + first, a)
        if has_1:
            store(table, j + first + gap, b)


@kernel(fastmath=False)
def _gather(table, stride, ids, start, stop, width, out):
    """Rows by number.

    table   records of `stride` float32, flat      in
    ids     int32                                  in
    out     (len(ids), width) float32              out
    """
    for i in range(start, stop):
        soon = np.int64(ids[min(i + SOON, stop - 1)]) * stride
        for j in range(0, width, PANEL):
            prefetch(table, soon + j)
        at = np.int64(ids[i]) * stride
        for j in range(0, width, PANEL):
            store_part(out, i * width + j, width - j, load(table, at + j))


@kernel(fastmath=False)
def _step(opt, t, table, stride, ids, part, parts, sort, found, gradients, total, scale, rates):
    """One step of the rows of one part.

    opt          Optimizer
    t            int64, number of the step
    table        records of `stride` float32, flat              in, out
    ids          (m,) int32                                     in
    part, parts, sort   as for `lists`
    found        (3, m + 1) int32                               scratch
    gradients    (m, width) float32                             in
    total        (padded width,) float32                        scratch
    scale        float
    rates        (rate, decay, l1)
    """
    touched, starts, order = found[0], found[1], found[2]
    n = lists(ids, np.int64(0), len(ids), part, parts, sort, touched, starts, order)
    width = gradients.shape[1]
    room = len(total)
    correction = correct(opt, t)
    for s in range(n):
        soon = np.int64(touched[min(s + SOON, n - 1)]) * stride
        for j in range(0, stride, PANEL):
            prefetch(table, soon + j)
        for j in range(0, room, PANEL):
            g = splat(0.0)
            for e in range(starts[s], starts[s + 1]):
                g = g + load_part(gradients, np.int64(order[e]) * width + j, width - j)
            store(total, j, g)
        at = np.int64(touched[s]) * stride
        move_record(opt, correction, table, at, room, room, total, 0, room, scale, rates)


class Table:
    """Rows of `width` float32, each with the slots of an optimizer.

    Parameters
    ----------
    rows, width : int
    opt : Optimizer, optional
        Of `optimizer`. Default: gradient descent, which has no slots.

    Attributes
    ----------
    records : ndarray of float32, flat
        Row i begins at ``i * stride``; its slot s at ``i * stride + (s + 1) * padded(width)``.
        Zeros at first.
    stride : int
        Floats of a record.

    Raises
    ------
    ValueError
        For sizes that are not positive, and an optimizer's epsilon of 0.
    """

    def __init__(self, rows: int, width: int, opt: Optimizer | None = None) -> None:
        if rows < 1 or width < 1 or rows >= 1 << 31:
            raise ValueError(f"{rows} rows of {width}: give 1 to 2**31 - 1 rows, not empty")
        self.opt = optimizer(0) if opt is None else opt
        check_optimizer(self.opt)
        self.rows, self.width, self.slots = rows, width, slots(self.opt.code)
        self.room = padded(width)
        self.stride = (1 + self.slots) * self.room
        self.records = zeros(rows * self.stride)

    def _parts(self) -> NDArray[np.float32]:
        """The records as (rows, 1 + slots, width)."""
        return self.records.reshape(self.rows, 1 + self.slots, self.room)[:, :, : self.width]

    def put(self, values: Any, slots: Sequence[Any] = ()) -> None:
        """Set all rows, and the slots; without slots, those are zeros.

        Parameters
        ----------
        values : array of float32, shape (rows, width)
        slots : sequence of arrays alike
        """
        arrays = [values, *slots]
        shape = self.rows, self.width
        if len(slots) not in (0, self.slots) or any(np.shape(x) != shape for x in arrays):
            found = [np.shape(x) for x in arrays]
            raise ValueError(f"arrays {found}, but {shape} and {self.slots} slots are expected")
        parts = self._parts()

        def copy(rows: slice) -> None:
            parts[rows, len(arrays) :] = 0
            for i, x in enumerate(arrays):
                parts[rows, i] = x[rows]

        run(copy, chunks(self.rows, ROWS))

    def plain(self) -> tuple[NDArray[np.float32], ...]:
        """Copies of the values and of each slot, (rows, width) each, the same bits."""
        parts = self._parts()
        return tuple(np.ascontiguousarray(parts[:, i]) for i in range(1 + self.slots))

    def gather(
        self, ids: NDArray[np.int32], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Rows by number.

        Parameters
        ----------
        ids : ndarray of int32, shape (m,)
        out : ndarray of float32, shape (m, width), optional

        Returns
        -------
        ndarray of float32, shape (m, width)

        Raises
        ------
        IndexError
            For a number out of range.
        """
        ids = self._numbers(ids)
        if out is None:
            out = np.empty((len(ids), self.width), np.float32)
        elif out.shape != (len(ids), self.width):
            raise ValueError(f"{len(ids)} rows of {self.width}, but room for {out.shape}")
        run(
            lambda part: _gather(
                self.records, self.stride, ids, part.start, part.stop, self.width, out
            ),
            chunks(len(ids), ROWS),
        )
        return out

    def step(
        self,
        ids: NDArray[np.int32],
        gradients: NDArray[np.float32],
        t: int,
        scale: float,
        rate: float,
        decay: float = 0.0,
        l1: float = 0.0,
    ) -> None:
        """Move the rows that are mentioned, each once.

        Parameters
        ----------
        ids : ndarray of int32, shape (m,)
        gradients : ndarray of float32, shape (m, width)
            Those of equal ids are summed, in the order of their position.
        t : int
            Number of this step of the table, from 1 on, whichever rows it moves.
        scale : float
            What to multiply sums of gradients by.
        rate, decay, l1 : float

        Raises
        ------
        IndexError
            For an id out of range; nothing has moved.
        """
        ids = self._numbers(ids)
        gradients = readable(gradients, np.float32)
        m = len(ids)
        if gradients.shape != (m, self.width):
            raise ValueError(f"{m} ids of rows of {self.width}, gradients {gradients.shape}")
        if m == 0:
            return
        parts = min(jobs(), -(-m // PART))
        rates = float(rate), float(decay), float(l1)

        def work(part: int) -> None:
            found, total = np.empty((3, m + 1), np.int32), np.empty(self.room, np.float32)
            _step(
                self.opt, t, self.records, self.stride, ids, part, parts, sorter(self.rows, m),
                found, gradients, total, float(scale), rates,
            )  # fmt: skip

        run(work, range(parts))

    def _numbers(self, ids: Any) -> NDArray[np.int32]:
        ids = readable(ids, np.int32)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.rows:
            raise IndexError(f"rows {ids.min()} to {ids.max()} of {self.rows}")
        return ids
