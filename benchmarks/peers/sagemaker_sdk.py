"""The original SDK's RecordIO functions, in an environment of their own (make oracles)."""

import io
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sagemaker.amazon.common import (
    read_records,
    write_numpy_to_dense_tensor,
    write_spmatrix_to_sparse_tensor,
)

from benchmarks.measure import measured

WARM_ROWS = 100


def read_dense(path: str) -> dict:
    """Records, then one array of features and one of labels."""

    def work():
        with open(path, "rb") as file:
            records = read_records(file)
        features = np.array(
            [r.features["values"].float32_tensor.values for r in records], np.float32
        )
        labels = np.array([r.label["values"].float32_tensor.values[0] for r in records], np.float32)
        return features, labels

    return measured(work, bytes=Path(path).stat().st_size) | {"version": version("sagemaker")}


def read_sparse(path: str) -> dict:
    """Records, then the three arrays of sparse rows and one of labels."""

    def work():
        with open(path, "rb") as file:
            records = read_records(file)
        tensors = [r.features["values"].float32_tensor for r in records]
        offsets = np.zeros(len(tensors) + 1, np.int64)
        np.cumsum([len(t.values) for t in tensors], out=offsets[1:])
        values, keys = np.empty(offsets[-1], np.float32), np.empty(offsets[-1], np.int32)
        for t, a, b in zip(tensors, offsets[:-1], offsets[1:], strict=True):
            values[a:b], keys[a:b] = t.values, t.keys
        labels = np.array([r.label["values"].float32_tensor.values[0] for r in records], np.float32)
        return values, keys, offsets, labels

    return measured(work, bytes=Path(path).stat().st_size) | {"version": version("sagemaker")}


def write_dense(folder: str, expected: str) -> dict:
    """To memory; the bytes are compared with our file."""
    features, labels = (np.load(Path(folder) / f"dense_{n}.npy") for n in ("features", "labels"))
    return _write(write_numpy_to_dense_tensor, features, labels, expected)


def write_sparse(folder: str, expected: str) -> dict:
    """To memory; the bytes are compared with our file."""
    from scipy.sparse import csr_matrix

    values, keys, offsets, labels = (
        np.load(Path(folder) / f"sparse_{n}.npy") for n in ("values", "keys", "offsets", "labels")
    )
    width = int(np.load(Path(folder) / "sparse_width.npy"))
    rows = csr_matrix((values, keys, offsets), shape=(len(labels), width))
    return _write(write_spmatrix_to_sparse_tensor, rows, labels, expected)


def _write(write, features, labels, expected: str) -> dict:
    def work(n=None):
        file = io.BytesIO()
        write(file, features[:n], labels[:n])
        return file.getvalue()

    told = measured(work, warm=lambda: work(WARM_ROWS), bytes=Path(expected).stat().st_size)
    same = told["value"] == Path(expected).read_bytes()
    return told | {"version": version("sagemaker"), "quality": {"identical": float(same)}}
