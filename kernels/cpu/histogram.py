"""Counts of scores by label, fine enough to choose a threshold from.

A float32 with its bits rearranged is an integer of the same order; its top 16 bits are the bin: a
sign, the exponent and seven bits of the mantissa, so that bins are less than 1 % wide.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import readable, run

BINS = 1 << 16
SHARE = 8  # models of a task: one cache line of a row of 32-bit scores is shared by two tasks


@kernel
def _histogram(bits, y, first, last, counts):
    """Count the scores of models [first, last).

    bits     (n, models) int32, those of float32 scores     in
    y        (n,) float32                                   in
    counts   (models, 2, 65536) int64                       in, out
    """
    for r in range(len(y)):
        label = 1 if y[r] > 0.5 else 0
        for m in range(first, last):
            b = np.int64(bits[r, m])
            key = (b ^ -1) if b < 0 else (b ^ 0x80000000)
            counts[m, label, (key >> 16) & 0xFFFF] += 1


def histogram(raw: NDArray[np.float32], y: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Count scores by label and bin.

    Parameters
    ----------
    raw : ndarray of float32, shape (n, models)
    y : ndarray, shape (n,)
        Labels 0 and 1.
    counts : ndarray of int64, shape (models, 2, 65536)
        The counts are added.
    """
    raw, y = readable(raw, np.float32), readable(y, np.float32)
    n, models = raw.shape
    if y.shape != (n,) or counts.shape != (models, 2, BINS):
        raise ValueError(f"scores {raw.shape}, labels {y.shape}, counts {counts.shape} do not fit")
    bits = raw.view(np.int32)
    firsts = range(0, models, SHARE)
    run(lambda a: _histogram(bits, y, a, min(a + SHARE, models), counts), firsts)


def bin_edges() -> NDArray[np.float32]:
    """The smallest score of each bin.

    Returns
    -------
    ndarray of float32, shape (65536,)
        Ascending; -inf and inf where the bins hold no numbers.
    """
    key = np.arange(BINS, dtype=np.uint32) << np.uint32(16)
    top = np.uint32(0x80000000)
    edges = np.where(key >= top, key ^ top, ~key).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(edges), np.where(key >= top, np.inf, -np.inf), edges).astype(
        np.float32
    )
