"""The tile kernel in plain NumPy, float64."""

import numpy as np


def multiply_add(A, at, row_stride, rows, k_stride, depth, B, C):
    """C + A B for panels, from the definition; C as float64."""
    out = C.astype(np.float64)
    flat = A.reshape(-1).astype(np.float64)
    for i in range(rows):
        for k in range(depth):
            out[:, i] += flat[at + i * row_stride + k * k_stride] * B[:, k]
    return out
