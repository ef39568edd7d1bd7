"""What a fastText classifier makes of a hidden vector: softmax, its tree, or a sigmoid a label."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outputs", "huffman"]

FAR = 10**15  # more than any count, as in fastText
STEPS, END = 512, 8  # of fastText's table of sigmoids, which covers -8 to 8
_TABLE = 1 / (1 + np.exp(-(np.arange(STEPS + 1) * (2 * END) / STEPS - END)))


def huffman(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The tree of a hierarchical softmax (Mikolov et al. 2013), with fastText's ties.

    Parameters
    ----------
    counts : ndarray of int64, shape (n,)
        How often each leaf comes, falling; together less than 10**15.

    Returns
    -------
    ndarray of int64, shape (n - 1, 2)
        The two nodes below each inner node: leaves are 0 to n - 1, inner nodes follow; the last
        one is the root. An inner node's row of the output says how likely its second is.
    """
    n = len(counts)
    weight = [int(c) for c in counts] + [FAR] * (n - 1)
    below = np.empty((max(n - 1, 0), 2), np.int64)
    leaf, node = n - 1, n
    for i in range(n - 1):
        for side in (0, 1):
            if leaf >= 0 and weight[leaf] < weight[node]:
                below[i, side], leaf = leaf, leaf - 1
            else:
                below[i, side], node = node, node + 1
        weight[n + i] = weight[below[i, 0]] + weight[below[i, 1]]
    return below


class Outputs:
    """Labels' probabilities of hidden vectors.

    Parameters
    ----------
    output : ndarray of float32, shape (labels, dim)
    loss : {"softmax", "hs", "ns", "ova"}
    counts : ndarray of int64, shape (labels,)
        How often each label came: "hs" has its tree from them.
    """

    def __init__(self, output: NDArray[np.float32], loss: str, counts: NDArray[np.int64]) -> None:
        self.output, self.loss, self.counts = output, loss, counts

    @cached_property
    def _levels(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Inner nodes from the root down, and the two below each, a level at a time."""
        n, below = len(self.counts), huffman(self.counts)
        levels, nodes = [], np.array([2 * n - 2], np.int64)
        while len(nodes := nodes[nodes >= n]):
            levels.append((nodes - n, below[nodes - n]))
            nodes = below[nodes - n].reshape(-1)
        return levels

    def probabilities(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each label is.

        Parameters
        ----------
        hidden : ndarray of float32, shape (n, dim)

        Returns
        -------
        ndarray of float32, shape (n, labels)
        """
        # Not by BLAS: a line's numbers must not depend on how many lines there are.
        wide = hidden.astype(np.float64), self.output.astype(np.float64)
        scores = np.einsum("nd,ld->nl", *wide)
        if self.loss == "softmax":
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
        elif self.loss == "hs":
            scores = self._leaves(0.5 * (1 + np.tanh(0.5 * scores)))
        else:
            scores = _by_table(scores)
        return np.asarray(scores.astype(np.float32))

    def _leaves(self, second: NDArray[np.float64]) -> NDArray[np.float64]:
        """How likely leaves are, from how likely inner nodes lead to the second below them."""
        n = len(self.counts)
        likely = np.ones((len(second), 2 * n - 1))
        for nodes, below in self._levels:
            here = likely[:, n + nodes]
            likely[:, below[:, 0]] = here * (1 - second[:, nodes])
            likely[:, below[:, 1]] = here * second[:, nodes]
        return likely[:, :n]


def _by_table(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigmoids as fastText looks them up: those of 513 places, 0 and 1 beyond."""
    inside = np.clip(np.nan_to_num(scores), -END, END)
    steps = ((inside + END) * (STEPS / (2 * END))).astype(np.int64)
    found: NDArray[np.float64] = _TABLE[steps]
    return np.where(scores < -END, 0.0, np.where(scores > END, 1.0, found))
