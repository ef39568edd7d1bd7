"""Arrays that a kernel opens by address, and random numbers by count.

A forest is some ten arrays. A call from Python pays for each array that it is given, and numba
counts references to those that one kernel hands to another, so kernels are given one number: the
address of a table of sizes and of (address, length) pairs. Whoever makes a `Table` keeps its
arrays.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

LINE = 64  # bytes

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic
    from numba.np.arrayobj import populate_array

    I64 = ir.IntType(64)

    def _entry(builder: Any, table: Any, which: Any, beyond: int = 0) -> Any:
        table = builder.inttoptr(table, I64.as_pointer())
        return builder.load(builder.gep(table, [builder.add(which, I64(beyond))]))

    @intrinsic
    def word(typingctx: Any, table: Any, which: Any) -> Any:
        """An entry of the table at an address."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _entry(builder, *args)

        return types.int64(types.int64, types.int64), codegen

    def _opened(dtype: Any) -> Any:
        @intrinsic
        def opened(typingctx: Any, table: Any, which: Any) -> Any:
            kind = types.Array(dtype, 1, "C")

            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                array = context.make_array(kind)(context, builder)
                size = I64(dtype.bitwidth // 8)
                data = builder.inttoptr(_entry(builder, *args), array.data.type)
                length = _entry(builder, *args, beyond=1)
                nobody = context.get_constant_null(types.MemInfoPointer(dtype))
                populate_array(array, data, [length], [size], size, meminfo=nobody)
                return array._getvalue()

            return kind(types.int64, types.int64), codegen

        return opened

    floats, doubles = _opened(types.float32), _opened(types.float64)
    ints, longs = _opened(types.int32), _opened(types.int64)

    @kernel(fastmath=False)
    def uniform(key, count):
        """Number `count` of the uniform ones in (0, 1) that a key stands for (splitmix64)."""
        z = np.uint64(key) + np.uint64(count) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        return (np.float64(z >> np.uint64(12)) + 0.5) * 2.0**-52

else:
    import ctypes

    def word(table: int, which: int) -> int:
        return ctypes.c_int64.from_address(int(table) + 8 * int(which)).value

    def _opened(dtype: Any) -> Any:
        def opened(table: int, which: int) -> Any:
            length, size = word(table, which + 1), np.dtype(dtype).itemsize
            if not length:
                return np.empty(0, dtype)
            memory = (ctypes.c_char * (length * size)).from_address(word(table, which))
            return np.frombuffer(memory, dtype)

        return opened

    floats, doubles = _opened(np.float32), _opened(np.float64)
    ints, longs = _opened(np.int32), _opened(np.int64)

    def uniform(key: Any, count: Any) -> float:
        mask = (1 << 64) - 1
        z = (int(key) + int(count) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z = z ^ (z >> 31)
        return ((z >> 12) + 0.5) * 2.0**-52


def aligned(n: int) -> NDArray[np.float32]:
    """Zeros, float32, from the beginning of a cache line on: else vectors lie across two."""
    memory = np.zeros(4 * n + LINE, np.uint8)
    return memory[-memory.ctypes.data % LINE :][: 4 * n].view(np.float32)


class Table:
    """Numbers and arrays as kernels find them.

    Parameters
    ----------
    entries : mapping of int to int or ndarray
        By place. An array, C-ordered and writable, takes two places.

    Attributes
    ----------
    address : int
        What kernels are given. Valid as long as this object lives.
    """

    def __init__(self, entries: Mapping[int, int | NDArray[Any]]) -> None:
        self._held = [value for value in entries.values() if isinstance(value, np.ndarray)]
        self._words = np.zeros(max(entries) + 2, np.int64)
        for place, value in entries.items():
            if isinstance(value, np.ndarray):
                if not (value.flags.c_contiguous and value.flags.writeable):
                    raise ValueError(f"entry {place}: a C-ordered, writable array is needed")
                self._words[place : place + 2] = value.ctypes.data, value.size
            else:
                self._words[place] = value
        self.address = int(self._words.ctypes.data)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("addresses do not hold elsewhere: make another table")
