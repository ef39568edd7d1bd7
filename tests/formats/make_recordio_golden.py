"""Writes files with the writers of the original SDK, for comparison with ours.

Run by a Python that has sagemaker 2.257.6 and scipy:

    python make_recordio_golden.py FOLDER               the cases below, as FOLDER/NAME.pbr
    python make_recordio_golden.py FOLDER ARRAYS.npz    those of a file that `save` made
"""

import sys
from pathlib import Path

import numpy as np


def cases():
    """Names and (features, labels); sparse features are (values, indices, offsets, width)."""
    grid = np.arange(24).reshape(4, 6)
    special = np.array([[0.0, -0.0, np.inf], [-np.inf, np.nan, 1e-45], [3.4e38, 0.1, 1 / 3]])
    wide = np.linspace(-1, 1, 3 * 45).reshape(3, 45)
    offsets = np.array([0, 3, 3, 5, 8])
    indices = np.array([0, 127, 128, 16383, 16384, 5, 69_999, 7])  # one not in ascending order
    values = np.array([1.5, -2.0, 0.0, 1e-3, 7.0, -0.5, 3.25, 1e10])
    whole = np.array([1, -1, 0, 127, 128, 2**31 - 1, -(2**31), 300])
    return {
        "dense_float32": (grid.astype(np.float32) / 7, np.arange(4, dtype=np.float32)),
        "dense_float64": (grid / 7, grid[:, 0] / 3),
        "dense_integers": ((grid - 9) ** 5, np.array([0, -1, 300, 2**31 - 1])),
        "dense_without_labels": (wide.astype(np.float32), None),
        "dense_mixed": (wide, np.array([0, 1, 128])),
        "dense_special": (special.astype(np.float32), special[0]),
        "sparse_float32": (
            (values.astype(np.float32), indices, offsets, 70_000),
            np.array([1, 0, 0, 1], np.float32),
        ),
        "sparse_float64": ((values, indices, offsets, 70_000), np.array([3, 2, 1, 0])),
        "sparse_integers": ((whole, indices, offsets, 70_000), values[:4]),
        "sparse_without_labels": ((values[:3], indices[:3], np.array([0, 0, 3, 3]), 129), None),
    }


def save(path, named):
    """Keep cases in a file."""
    arrays = {}
    for name, (features, labels) in named.items():
        parts = features if isinstance(features, tuple) else (features,)
        for i, part in enumerate((labels if labels is not None else [], *parts)):
            arrays[f"{name} {i}"] = part
    np.savez(path, **arrays)


def load(path):
    """The cases of a file."""
    arrays, named = np.load(path), {}
    for name in dict.fromkeys(key.rsplit(" ", 1)[0] for key in arrays):
        parts = [arrays[f"{name} {i}"] for i in range(5) if f"{name} {i}" in arrays]
        labels = parts[0] if len(parts[0]) else None
        features = parts[1] if len(parts) == 2 else (*parts[1:4], int(parts[4]))
        named[name] = features, labels
    return named


def main(folder, arrays=None):
    """Write all cases."""
    from sagemaker.amazon.common import (
        write_numpy_to_dense_tensor,
        write_spmatrix_to_sparse_tensor,
    )
    from scipy.sparse import csr_matrix

    for name, (features, labels) in (load(arrays) if arrays else cases()).items():
        with open(Path(folder) / f"{name}.pbr", "wb") as file:
            if isinstance(features, tuple):
                values, indices, offsets, width = features
                shape = len(offsets) - 1, width
                rows = csr_matrix((values, indices, offsets), shape=shape)
                write_spmatrix_to_sparse_tensor(file, rows, labels)
            else:
                write_numpy_to_dense_tensor(file, features, labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
