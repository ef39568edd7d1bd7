"""The rows that benchmarks run on: made here, or read from the folder that SMALGOS_DATA names."""

import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np


class NotAtHand(Exception):
    """Data that neither a package nor SMALGOS_DATA has."""


def at_hand(name: str) -> Path:
    """A file below SMALGOS_DATA.

    Raises
    ------
    NotAtHand
        When there is none.
    """
    folder = os.environ.get("SMALGOS_DATA")
    if not folder:
        raise NotAtHand(f"{name}: name the folder that has it in SMALGOS_DATA")
    path = Path(folder) / name
    if not path.exists():
        raise NotAtHand(f"{name} is not in the folder that SMALGOS_DATA names")
    return path


def covertype() -> tuple[np.ndarray, np.ndarray]:
    """92 962 of the 581 012 rows of UCI Covertype: (n, 54) float32 features, classes 1 to 7."""
    import pandas as pd

    with lzma.open(at_hand("covertype/covertype_92962.csv.xz")) as file:
        table = pd.read_csv(file).to_numpy(np.float32)
    return np.ascontiguousarray(table[:, :-1]), table[:, -1].astype(np.int64)


def classes_of_two(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes by a logistic model: correlated features of unequal scale and centre.

    A fifth of the weights is zero. The best log loss that any model can reach is about 0.45.
    """
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((10, d)).astype(np.float32)
    scale = np.exp(rng.uniform(-3, 3, d)).astype(np.float32)
    centre = (scale * rng.uniform(-2, 2, d)).astype(np.float32)
    w = rng.standard_normal(d).astype(np.float32)
    w[: d // 5] = 0
    X = np.empty((n, d), np.float32)
    y = np.empty(n, np.int64)
    for a in range(0, n, 100_000):  # in parts: the whole is large
        b = min(a + 100_000, n)
        plain = 0.5 * rng.standard_normal((b - a, 10), np.float32) @ mix
        plain += rng.standard_normal((b - a, d), np.float32)
        raw = plain @ w * np.float32(2.5 / np.sqrt(np.sum((0.5 * mix @ w) ** 2) + w @ w))
        X[a:b] = plain * scale + centre
        y[a:b] = rng.random(b - a) < 1 / (1 + np.exp(-raw))
    return X, y


def low_rank(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Rows (n, d) float32 with a spectrum that falls like 1 / j, about means of unequal size."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    spread = (10 / np.arange(1, d + 1)).astype(np.float32)
    centre = rng.uniform(-3, 3, d).astype(np.float32)
    X = np.empty((n, d), np.float32)
    for a in range(0, n, 50_000):
        b = min(a + 50_000, n)
        X[a:b] = rng.standard_normal((b - a, d), np.float32) * spread @ turn + centre
    return X


def kept(folder: str, **arrays: np.ndarray) -> dict[str, Any]:
    """Write arrays where the cells of a case find them."""
    for name, array in arrays.items():
        np.save(Path(folder) / f"{name}.npy", array)
    return {}


def of(folder: str, *names: str) -> list[np.ndarray]:
    """Arrays that `kept` wrote, in memory."""
    return [np.load(Path(folder) / f"{name}.npy") for name in names]


def make_two_classes(folder: str, rows: int, width: int) -> dict[str, Any]:
    """Rows of two classes, made, or with `rows` = 0 Covertype's; a fifth held out."""
    if rows:
        X, y = classes_of_two(rows, width)
    else:
        X, classes = covertype()
        y = (classes == 2).astype(np.int64)
    order = np.random.default_rng(1).permutation(len(X))
    train, held = np.split(order, [int(0.8 * len(X))])
    return kept(folder, X=X[train], y=y[train], X_val=X[held], y_val=y[held])


def sine_classes(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, by a linear function, a product with a sine and noise of d normal features."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(d)
    X = rng.standard_normal((n, d), np.float32)
    z = X @ (w / np.sqrt(d)).astype(np.float32) + 0.7 * np.sin(2 * X[:, 0]) * X[:, 1]
    return X, (z + 0.5 * rng.standard_normal(n) > 0).astype(np.int64)


def make_boosting(folder: str, rows: int, width: int, kind: str) -> dict[str, Any]:
    """Rows to boost on: dense, sparse, with categories, or Covertype's; some held out."""
    rng = np.random.default_rng(1)
    held = max(rows // 5, 1000)
    if kind == "covertype":
        X, classes = covertype()
        y = classes - 1
        order = rng.permutation(len(X))
        X, y, held = X[order], y[order], len(X) // 5
    elif kind == "categories":
        X, y = sine_classes(rows + held, width)
        codes = rng.integers(0, 100, (rows + held, 10))
        effect = rng.standard_normal((10, 100)).astype(np.float32)
        z = X[:, :10].sum(axis=1) / 4
        for f in range(10):
            z += effect[f, codes[:, f]]
            X[:, f] = codes[:, f]
        y = (z + rng.standard_normal(len(z)) > 0).astype(np.int64)
    elif kind == "sparse":
        return _make_sparse(folder, rows, held, width)
    else:
        X, y = sine_classes(rows + held, width)
    return kept(folder, X=X[held:], y=y[held:], X_val=X[:held], y_val=y[:held])


def _make_sparse(folder: str, rows: int, held: int, width: int) -> dict[str, Any]:
    from scipy.sparse import random_array, save_npz

    rng = np.random.default_rng(1)
    w = rng.standard_normal(width).astype(np.float32)
    X = random_array((rows + held, width), density=0.01, format="csr", rng=rng, dtype=np.float32)
    z = X @ w
    y = (z + 0.5 * z.std() * rng.standard_normal(len(z)) > 0).astype(np.int64)
    save_npz(Path(folder) / "X.npz", X[held:])
    save_npz(Path(folder) / "X_val.npz", X[:held])
    return kept(folder, y=y[held:], y_val=y[:held])
