"""The product of a tall matrix and a narrow one, in tiles that stay in registers.

The narrow operand and the result are kept in *panels* of sixteen columns: an array (P, k, 16)
holds column j of a k x m matrix in ``[j // 16, :, j % 16]``, zeros where P * 16 > m. A panel that
starts at a multiple of 64 bytes (`aligned`, `scratch`) is read fastest.

Every element of a result is one chain of fused multiply-adds in ascending order of the inner
index. So its bits depend neither on the shape of the tiles nor on what is computed beside it, and
a chain that is cut in two calls gives the bits of one.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

PANEL = 16  # columns: one AVX-512 register, two of AVX2, four of NEON


def _has_wide_registers() -> bool:
    """Whether numba compiles for a processor with AVX-512."""
    import llvmlite.binding as llvm
    import numba

    name, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES
    if name is None or name == "host":
        name = llvm.get_host_cpu_name()
        if features is None:
            return bool(llvm.get_host_cpu_features().get("avx512f"))
    known = ("x86-64-v4", "skylake-avx512", "cascadelake", "icelake-server", "sapphirerapids")
    return "+avx512f" in (features or "") or name in (*known, "znver4", "znver5")


if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import c_ordered

    I32, I64, F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
    BYTE = ir.IntType(8).as_pointer()
    VECTOR = ir.VectorType(F32, PANEL)

    def _emit(context: Any, builder: Any, sig: Any, args: Any, height: int, width: int) -> Any:
        """A tile of `height` rows and `width` panels: add to C, in registers, over all k.

        Rows at or above `rows` do the work of the last row once more: they read and write where
        it does, the same bits, so that a tile at the edge needs no branch.
        """
        at, row_stride, rows, k_stride, depth = args[1:6]
        b_at, b_panel, c_at, c_panel = args[7], args[8], args[10], args[11]

        def number(value: int) -> Any:
            return ir.Constant(I64, value)

        def size(elements: Any) -> Any:
            return builder.mul(elements, number(4))

        def pointer(i: int, offset: Any) -> Any:
            array = context.make_array(sig.args[i])(context, builder, args[i])
            return builder.bitcast(builder.gep(array.data, [offset]), BYTE)

        def place(base: Any, offset: Any, kind: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

        # A pointer whose steps LLVM cannot see: else it makes one induction variable for each
        # row, more than there are registers, at two thirds of the speed.
        opaque = ir.InlineAsm(ir.FunctionType(BYTE, [BYTE]), "", "=r,0")
        last = builder.sub(rows, number(1))
        row = [number(0)] + [
            builder.select(builder.icmp_signed("<", number(r), rows), number(r), last)
            for r in range(1, height)
        ]
        left_row = [size(builder.mul(r, row_stride)) for r in row]
        right_panel = [size(builder.mul(b_panel, number(j))) for j in range(width)]
        left_step, right_step = size(k_stride), number(4 * PANEL)
        a_first, b_first, c_first = pointer(0, at), pointer(6, b_at), pointer(9, c_at)
        ends = [
            place(c_first, size(builder.add(builder.mul(r, number(PANEL)), offset)), VECTOR)
            for r in row
            for offset in (builder.mul(c_panel, number(j)) for j in range(width))
        ]
        start = [builder.load(end, align=4) for end in ends]
        before = builder.block
        loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", depth, number(0)), loop, done)

        builder.position_at_end(loop)
        left, a, b = builder.phi(I64), builder.phi(BYTE), builder.phi(BYTE)
        sums = [builder.phi(VECTOR) for _ in ends]
        right = [builder.load(place(b, offset, VECTOR), align=4) for offset in right_panel]
        shape = ir.FunctionType(VECTOR, [VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, shape, "llvm.fma.v16f32")
        undefined = ir.Constant(VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, PANEL), [0] * PANEL)
        new = []
        for r in range(height):
            one = builder.load(place(a, left_row[r], F32))
            one = builder.insert_element(undefined, one, ir.Constant(I32, 0))
            one = builder.shuffle_vector(one, undefined, zeros)
            for j in range(width):
                new.append(builder.call(fma, [one, right[j], sums[r * width + j]]))
        next_left = builder.sub(left, number(1))
        next_a = builder.call(opaque, [builder.gep(a, [left_step])])
        next_b = builder.call(opaque, [builder.gep(b, [right_step])])
        for phi, first, later in zip(
            [left, a, b, *sums],
            [depth, a_first, b_first, *start],
            [next_left, next_a, next_b, *new],
            strict=True,
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed(">", next_left, number(0)), loop, done)

        builder.position_at_end(done)
        results = []
        for end, first, later in zip(ends, start, new, strict=True):
            total = builder.phi(VECTOR)
            total.add_incoming(first, before)
            total.add_incoming(later, loop)
            results.append((total, end))
        for total, end in results:
            builder.store(total, end, align=4)
        return context.get_dummy_value()

    def _tile(height: int, width: int) -> Any:
        def tile(ty, a, at, row_stride, rows, k_stride, depth, b, b_at, b_panel, c, c_at, c_panel):
            n = types.int64
            a, b, c = c_ordered(a), c_ordered(b), c_ordered(c, written=True)
            shape = types.void(a, n, n, n, n, n, b, n, n, c, n, n)
            return shape, lambda *given: _emit(*given, height, width)

        tile.__name__ = f"tile_{height}x{width}"
        return intrinsic(tile)

    tile_12x2 = _tile(12, 2)  # 24 of the 32 registers of AVX-512
    tile_12x1 = _tile(12, 1)  # as many chains as hide the time that an addition takes
    tile_6x2 = _tile(6, 2)  # last rows
    tile_6x1 = _tile(6, 1)  # 12 of the 16 registers of AVX2
    tile_3x1 = _tile(3, 1)  # last rows

    if _has_wide_registers():
        TALL, LOW, WIDE = 12, 6, 2
        _tall_wide, _tall, _low_wide, _low = tile_12x2, tile_12x1, tile_6x2, tile_6x1
    else:
        TALL, LOW, WIDE = 6, 3, 1
        _tall_wide, _tall, _low_wide, _low = tile_6x1, tile_6x1, tile_3x1, tile_3x1

    @kernel(fastmath=False)
    def multiply_add(A, at, row_stride, rows, k_stride, depth, B, C):
        """C += A B, each element one chain of fused multiply-adds that starts from C.

        A           any C-ordered float32 array; element (i, k) of the left operand is its flat
                    element at + i * row_stride + k * k_stride                              in
        rows, depth int64, rows of A and C; columns of A = rows of B
        B           (P, >= depth, 16) float32 panels                                        in
        C           (P, >= rows, 16) float32 panels                                         in, out
        So X @ W has row_stride = d, k_stride = 1, and X.T @ G row_stride = 1, k_stride = d.
        Twin: tests/reference/tile.py.
        """
        b_panel, c_panel = B.shape[1] * PANEL, C.shape[1] * PANEL
        panels = B.shape[0]
        i = 0
        while i < rows:
            tall = rows - i > LOW
            height = min(rows - i, TALL if tall else LOW)
            a = at + i * row_stride
            p = 0
            while p < panels:
                b, c = p * b_panel, p * c_panel + i * PANEL
                wide = panels - p >= WIDE
                if tall and wide:
                    _tall_wide(
                        A, a, row_stride, height, k_stride, depth, B, b, b_panel, C, c, c_panel
                    )
                elif tall:
                    _tall(A, a, row_stride, height, k_stride, depth, B, b, b_panel, C, c, c_panel)
                elif wide:
                    _low_wide(
                        A, a, row_stride, height, k_stride, depth, B, b, b_panel, C, c, c_panel
                    )
                else:
                    _low(A, a, row_stride, height, k_stride, depth, B, b, b_panel, C, c, c_panel)
                p += WIDE if wide else 1
            i += height

else:

    def multiply_add(A, at, row_stride, rows, k_stride, depth, B, C):
        """The same without the JIT: the product of two float32 is exact in float64."""
        row = at + np.arange(rows) * row_stride
        for k in range(depth):
            left = A.reshape(-1)[row + k * k_stride].astype(np.float64)[:, None]
            C[:, :rows] = (left * B[:, k, None].astype(np.float64) + C[:, :rows]).astype(np.float32)


@kernel(fastmath=False)
def scratch(size):
    """An uninitialised float32 array (size,) that starts at a multiple of 64 bytes."""
    buffer = np.empty(size + PANEL, np.float32)
    skip = (-(buffer.ctypes.data // 4)) % PANEL
    return buffer[skip : skip + size]


def aligned(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Zeros that start at a multiple of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.zeros(size + 64, np.uint8)
    skip = -buffer.__array_interface__["data"][0] % 64
    return buffer[skip : skip + size].view(dtype).reshape(shape)


def panels(columns: int) -> int:
    """Panels that hold so many columns."""
    return -(-columns // PANEL)


def to_panels(w: NDArray[Any]) -> NDArray[np.float32]:
    """A matrix (k, m) as panels (P, k, 16)."""
    k, m = w.shape
    out = aligned(panels(m), k, PANEL)
    for j in range(0, m, PANEL):
        out[j // PANEL, :, : min(PANEL, m - j)] = w[:, j : j + PANEL]
    return out


def from_panels(c: NDArray[Any], columns: int) -> NDArray[Any]:
    """The matrix (k, columns) that panels (P, k, 16) hold."""
    wide = c.transpose(1, 0, 2).reshape(c.shape[1], len(c) * PANEL)
    return np.ascontiguousarray(wide[:, :columns])
