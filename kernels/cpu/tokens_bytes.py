"""Text as bytes: kernels that reach it by address, and where its tokens are.

64 bytes are looked at together for white space. Nothing here counts arrays in a loop: kernels take
addresses. Twin: tests/reference/tokens.py.
"""

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._bits import MASK, inner, ones, trailing_zeros, word
from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.shared import readable

PART = 1 << 18  # bytes of text whose tokens are looked up together: those of a cache
END_OF_LINE = b"</s>"  # the token that a newline is

LOW = word(0xFFFFFFFF)
ONE, HALF = word(1), word(32)
EOS = word(int.from_bytes(END_OF_LINE, "little"))
NEWLINE = 10

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _I8, _I64 = ir.IntType(8), ir.IntType(64)

    @intrinsic
    def load8(_context: Any, at: Any) -> Any:
        """The byte at an address as a word."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            byte = builder.load(builder.inttoptr(arguments[0], _I8.as_pointer()))
            return builder.zext(byte, _I64)

        return types.uint64(types.int64), code

    @intrinsic
    def white64(_context: Any, at: Any) -> Any:
        """Which of the 64 bytes from address `at` on are white space, which are newlines."""
        lanes = ir.VectorType(_I8, 64)
        pair = types.UniTuple(types.uint64, 2)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def every(value: int) -> Any:
                return ir.Constant(lanes, [value] * 64)

            loaded = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)
            white = builder.icmp_unsigned("<", builder.sub(loaded, every(9)), every(5))
            for byte in (0, 32):
                white = builder.or_(white, builder.icmp_unsigned("==", loaded, every(byte)))
            line = builder.icmp_unsigned("==", loaded, every(NEWLINE))
            marks = [builder.bitcast(mask, _I64) for mask in (white, line)]
            return context.make_tuple(builder, signature.return_type, marks)

        return pair(types.int64), code

else:

    def load8(at: int) -> int:
        """The byte at an address as a word."""
        return ctypes.string_at(int(at), 1)[0]

    def white64(at: int) -> tuple[int, int]:
        """Which of the 64 bytes from address `at` on are white space, which are newlines."""
        text = np.frombuffer(ctypes.string_at(int(at), 64), np.uint8)
        marks = (text - np.uint8(9) < 5) | (text == 0) | (text == 32), text == NEWLINE
        whites, lines = (
            int.from_bytes(np.packbits(mark, bitorder="little").tobytes(), "little")
            for mark in marks
        )
        return whites, lines


@inner
def _few(base, count):
    """As `white64`, of fewer bytes; what follows them is as white space."""
    white, line = MASK << word(count) & MASK, word(0)
    for i in range(count):
        byte = load8(base + i)
        if byte == word(0) or byte == word(32) or word(9) <= byte <= word(13):
            white |= ONE << word(i)
        if byte == word(NEWLINE):
            line |= ONE << word(i)
    return white, line


@kernel(fastmath=False)
def _bounds(values, offsets, starts, ends, rows):
    """Where tokens begin and end; a newline is a token of its own.

    values   uint8; offsets (n + 1,) int64: rows, which no token crosses      in
    starts, ends   (bytes of the rows,) int64, into values                    out
    rows     (n + 1,) int64: number of tokens before each row                 out
    Returns the number of tokens.

    Beginnings and ends alternate, so both may be collected by themselves: bits of 64 bytes at a
    time. A newline's end is the byte behind it, where no other token ends.
    """
    base = values.ctypes.data
    at, stop, last = offsets[0], offsets[-1], len(offsets) - 1
    row, begun, ended = 0, 0, 0
    before, fresh = ONE, word(0)  # the last byte was white space, was a newline
    while at < stop:
        room = min(64, stop - at)
        white, line = white64(base + at) if room == 64 else _few(base + at, room)
        first, j = word(0), row  # the bytes at which rows begin
        while j <= last and offsets[j] < at + room:
            first |= ONE << word(offsets[j] - at)
            j += 1
        behind = ((white << ONE) & MASK) | before
        begin = (~white & MASK & (behind | first)) | line
        end = ((white | first) & ~behind & MASK) | ((line << ONE) & MASK) | fresh
        before, fresh = white >> word(63), line >> word(63)
        while row < j:
            rows[row] = begun + ones(begin & ((ONE << word(offsets[row] - at)) - ONE))
            row += 1
        while begin != word(0):
            starts[begun] = at + trailing_zeros(begin)
            begun += 1
            begin &= begin - ONE
        while end != word(0):
            ends[ended] = at + trailing_zeros(end)
            ended += 1
            end &= end - ONE
        at += room
    if ended < begun:  # by the end of the text
        ends[ended] = stop
    while row <= last:
        rows[row] = begun
        row += 1
    return begun


def row_parts(offsets: NDArray[np.int64], count: int) -> list[int]:
    """Numbers of rows that cut them into about `count` parts of as many bytes, none of them small.

    Returns
    -------
    list of int
        From 0 to the number of rows.
    """
    begin, end = int(offsets[0]), int(offsets[-1])
    size = max(PART, -(-(end - begin) // count))
    cuts = np.searchsorted(offsets, np.arange(begin + size, end, size))
    return [0, *np.unique(cuts[(cuts > 0) & (cuts < len(offsets) - 1)]).tolist(), len(offsets) - 1]


def bounds(values: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Iterator[tuple[Any, ...]]:
    """Where the tokens of rows are, some rows at a time.

    Parameters
    ----------
    values : ndarray of uint8
    offsets : ndarray of int64, shape (n + 1,)
        Rows of text; no token crosses their borders.

    Yields
    ------
    values : ndarray of uint8
        As given, as kernels want it.
    starts, ends : ndarray of int64
        A newline is a token; else tokens are what is between white space.
    rows : ndarray of int64
        Number of tokens before each row, and all.
    """
    values = readable(values, np.uint8)
    cuts = row_parts(offsets, -(-int(offsets[-1] - offsets[0]) // PART) or 1)
    for a, b in pairwise(cuts):
        borders = readable(offsets[a : b + 1], np.int64)
        size = int(borders[-1] - borders[0])
        starts, ends = np.empty(size, np.int64), np.empty(size, np.int64)
        rows = np.empty(b - a + 1, np.int64)
        found = _bounds(values, borders, starts, ends, rows)
        yield values, starts[:found], ends[:found], rows
