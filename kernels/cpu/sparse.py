"""Sparse rows against panels of sixteen columns (see `tile`)."""

from smalgos._jit import kernel
from smalgos.kernels.cpu.tile import PANEL
from smalgos.kernels.cpu.vector import fma, load, splat, store

inner = kernel(fastmath=False, inline="always")


@inner
def gather(values, indices, start, stop, b, b_at, c, c_at):
    """c[c_at:][:16] += sum of v * (row j of the panel at b_at) over the entries (v, j) of a row.

    values, indices   (nnz,) float32, (nnz,) int32                               in
    start, stop       int64, the entries of the row
    b, c              C-ordered float32 arrays; b_at, c_at flat elements         in; in, out
    Each element is one chain of fused multiply-adds in the order of the entries.
    """
    total = load(c, c_at)
    for i in range(start, stop):
        total = fma(splat(values[i]), load(b, b_at + PANEL * indices[i]), total)
    store(c, c_at, total)


@inner
def scatter(values, indices, start, stop, g, g_at, c, c_at):
    """(row j of the panel at c_at) += v * g[g_at:][:16] for each entry (v, j) of a row.

    Arguments as those of `gather`. Adds in the order of the entries.
    """
    given = load(g, g_at)
    for i in range(start, stop):
        at = c_at + PANEL * indices[i]
        store(c, at, fma(splat(values[i]), given, load(c, at)))
