"""Points coded by product quantisation: a byte for each of m parts of what a centroid leaves.

Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33 (2011):
section 3.3, asymmetric distances; section 4, codes of residuals in inverted lists. With the
point's centroid c and code p, the distance of a query x is

    |x - c - p|^2 = |x - c|^2 + (|p|^2 + 2 c p) - 2 x p,

whose second term is a table for each list, whose third one for each query; a candidate costs m
look-ups in their sum.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.candidates import (
    better,
    bits,
    empty_heaps,
    lowest,
    ordered,
    replace_worst,
)
from smalgos.kernels.cpu.inverted import by_list, nearest_lists, panels_of
from smalgos.kernels.cpu.nearest import Points, assign
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned
from smalgos.kernels.cpu.vector import LANES, fma, load, splat, store

__all__ = ["CODES", "Codes", "decode", "encode", "search_codes"]

CODES = 256  # of a part: what a byte tells apart
QUERIES = 128  # of a task: their tables stay in the cache

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import FLOATS, c_ordered

    @intrinsic
    def look_up(typingctx: Any, table: Any, at: Any, codes: Any, codes_at: Any) -> Any:
        """table[at + c] for sixteen consecutive codes c, from flat element codes_at on."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            many = ir.VectorType(ir.IntType(8), LANES)
            data = [context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 2)]
            place = builder.bitcast(builder.gep(data[1], [args[3]]), many.as_pointer())
            wide = ir.VectorType(ir.IntType(64), LANES)
            numbers = builder.zext(builder.load(place, align=1), wide)
            first = builder.gep(data[0], [args[1]])
            # Addresses as integers: llvmlite has no gep over vectors of indices.
            base = builder.ptrtoint(first, ir.IntType(64))
            nothing = ir.Constant(wide, ir.Undefined)
            base = builder.insert_element(nothing, base, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            base = builder.shuffle_vector(base, nothing, zeros)
            places = builder.add(base, builder.shl(numbers, ir.Constant(wide, [2] * LANES)))
            pointers = ir.VectorType(ir.FloatType().as_pointer(), LANES)
            shape = ir.VectorType(ir.FloatType(), LANES)
            mask = ir.VectorType(ir.IntType(1), LANES)
            kind = ir.FunctionType(shape, [pointers, ir.IntType(32), mask, shape])
            name = f"llvm.masked.gather.v{LANES}f32.v{LANES}p0"
            gather = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(
                gather,
                [
                    builder.inttoptr(places, pointers),
                    ir.Constant(ir.IntType(32), 4),
                    ir.Constant(mask, [True] * LANES),
                    ir.Constant(shape, [0.0] * LANES),
                ],
            )

        n = types.int64
        return FLOATS(c_ordered(table), n, c_ordered(codes), n), codegen

else:

    def look_up(table: Any, at: int, codes: Any, codes_at: int) -> Any:
        return table.reshape(-1)[at + codes.reshape(-1)[codes_at : codes_at + LANES].astype(int)]


def encode(residuals: NDArray[np.float32], codebooks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The nearest code of each part of each row.

    Parameters
    ----------
    residuals : ndarray of float32, shape (n, m * w)
    codebooks : ndarray of float32, shape (m, codes, w)

    Returns
    -------
    ndarray of uint8, shape (n, m)
    """
    m, _, w = codebooks.shape
    out = np.empty((len(residuals), m), np.uint8)
    for s in range(m):
        part = np.ascontiguousarray(residuals[:, s * w : (s + 1) * w])
        out[:, s] = assign(part, Points(codebooks[s]))[0]
    return out


def decode(codes: NDArray[np.uint8], codebooks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Residuals (n, m * w) that codes (n, m) stand for."""
    return np.concatenate([book[codes[:, s]] for s, book in enumerate(codebooks)], axis=1)


class Codes:
    """Coded points by list; immutable.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, m)
        List after list.
    codebooks : ndarray of float32, shape (m, codes, w)
        Fewer codes than 256 may be in use.
    centroids : ndarray of float32, shape (lists, m * w)
    offsets : ndarray of int64, shape (lists + 1,)
    ids : ndarray of int64, shape (n,)
        What a point is called; of equally near ones the smaller id is nearer.
    """

    def __init__(
        self,
        codes: NDArray[np.uint8],
        codebooks: NDArray[np.float32],
        centroids: NDArray[np.float32],
        offsets: NDArray[np.int64],
        ids: NDArray[np.int64],
    ) -> None:
        m, used, w = codebooks.shape
        self.offsets, self.centroids = offsets, readable(centroids, np.float32)
        self.first, places = panels_of(offsets)
        self.ids = np.full(places.shape, -1, np.int64)  # lanes that hold no point
        self.codes = np.zeros((len(places), m, PANEL), np.uint8)
        panel, lane = np.nonzero(places >= 0)
        self.ids[panel, lane] = ids
        self.codes[panel, :, lane] = codes
        self.books = aligned(m, w, CODES)  # by features: sixteen codes lie side by side
        self.books[:, :, :used] = codebooks.transpose(0, 2, 1)
        self.squares = aligned(m, CODES)
        self.squares[:] = (self.books.astype(np.float64) ** 2).sum(axis=1)


@kernel(fastmath=False)
def _tables(x, at, start, factor, books, table, table_at):
    """table[s, j] = start[s, j] + factor * (part s of x times code j of part s).

    x        any C-ordered float32 array; the row is its flat elements from `at` on      in
    start    (m, 256) float32; books (m, w, 256) float32                                 in
    table    any C-ordered float32 array, filled from flat element table_at on           out
    """
    m, w, wide = books.shape
    flat = x.reshape(-1)
    for s in range(m):
        for j in range(0, wide, PANEL):
            total = load(start, s * wide + j)
            for c in range(w):
                given = splat(factor * flat[at + s * w + c])
                total = fma(given, load(books, (s * w + c) * wide + j), total)
            store(table, table_at + s * wide + j, total)


@kernel(fastmath=False)
def _scan(
    X, probes, squares, codes, ids, first, centroids, books, norms,
    own, shared, table, values, found,
):  # fmt: skip
    """Go through the lists and keep each query's best candidates.

    X         (q, m * w) float32                                                     in
    probes    Probes                                                                 in
    squares   (pairs,) float32, squared distances from query to centroid             in
    codes     (P, m, 16) uint8; ids (P, 16) int64, -1 in lanes without a point       in
    first, centroids, books   as in Codes; norms (m, 256) float32                    in
    own       (q, m, 256) float32: each query's table, scratch                       out
    shared, table   (m, 256) float32: a list's table, the sum of both, scratch       out
    values, found   (q, k) float32, int64: heaps (see candidates) of squared
              distances                                                              in, out
    """
    q, d = X.shape
    m, wide = norms.shape
    size = m * wide
    one = np.empty(PANEL, np.float32)
    table[:] = 0
    for i in range(q):
        _tables(X, i * d, table, np.float32(-2), books, own, i * size)
    for read in range(len(probes.lists)):
        a, b = first[probes.lists[read]], first[probes.lists[read] + 1]
        if a == b:
            continue
        _tables(centroids, probes.lists[read] * d, norms, np.float32(2), books, shared, 0)
        for pair in range(probes.starts[read], probes.starts[read + 1]):
            i = probes.queries[pair]
            for r in range(0, size, PANEL):
                store(table, r, load(shared, r) + load(own, i * size + r))
            base, bound = splat(squares[pair]), values[i, 0]
            for p in range(a, b):
                v = base
                for s in range(m):
                    v = v + look_up(table, s * wide, codes, (p * m + s) * PANEL)
                left = bits(splat(bound) < v) ^ 65535
                if left != 0:
                    store(one, 0, v)
                while left != 0:
                    lane = lowest(left)
                    left &= left - 1
                    number = ids[p, lane]
                    if number >= 0 and better(one[lane], number, bound, found[i, 0]):
                        replace_worst(values, found, i, one[lane], number)
                        bound = values[i, 0]


def search_codes(
    X: NDArray[np.float32], coded: Codes, centroids: Points, k: int, nprobe: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best k points of the nearest lists of each row, by their codes.

    Parameters
    ----------
    X : ndarray of float32, shape (n, m * w)
    coded : Codes
        Of k points at least.
    centroids : Points
        Those of `coded`.
    k, nprobe : int

    Returns
    -------
    ids : ndarray of int64, shape (n, k)
        The best first.
    squares : ndarray of float32, shape (n, k)
        Squared distances from the row to what the codes stand for.
    """
    X = readable(X, np.float32)
    m = len(coded.books)
    sizes = np.diff(coded.offsets)
    ids, out = np.empty((len(X), k), np.int64), np.empty((len(X), k), np.float32)

    def work(part: slice) -> None:
        Q = X[part]
        rows, read, squares = nearest_lists(Q, centroids, sizes, nprobe, k)
        probes, order = by_list(rows, read)
        values, found = empty_heaps(len(Q), k)
        _scan(
            Q, probes, squares[order], coded.codes, coded.ids, coded.first, coded.centroids,
            coded.books, coded.squares, aligned(len(Q), m, CODES), aligned(m, CODES),
            aligned(m, CODES), values, found,
        )  # fmt: skip
        values, ids[part] = ordered(values, found)
        out[part] = np.maximum(values, 0)

    run(work, chunks(len(X), QUERIES))
    return ids, out
