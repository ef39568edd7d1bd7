"""The linear classifier of texts, one line after another in float64, with the same draws."""

import numpy as np

from tests.reference.negatives import Numbers, key


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x))"""
    e = np.exp(x - x.max())
    return e / e.sum()


def target(labels: list[int], line: int, seed: int, epoch: int) -> int:
    """One of the labels of a line."""
    if len(labels) == 1:
        return labels[0]
    word = next(Numbers(key(seed, "labels", epoch), line)) >> 32
    return labels[word * len(labels) >> 32]


def loss(W: np.ndarray, U: np.ndarray, rows: list[int], label: int) -> float:
    """-log p of the label."""
    return -np.log(softmax(U @ W[rows].mean(axis=0))[label])


def learn(W: np.ndarray, U: np.ndarray, rows: list[int], label: int, rate: float) -> float:
    """A step of one line; W and U are float64, changed in place. The loss before it."""
    h = W[rows].mean(axis=0)
    p = softmax(U @ h)
    g = rate * (np.eye(len(U))[label] - p)
    gained = g @ U
    U += np.outer(g, h)
    np.add.at(W, rows, np.broadcast_to(gained / len(rows), (len(rows), len(gained))))
    return -np.log(p[label])
