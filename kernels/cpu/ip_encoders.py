"""Vectors of addresses by layers of a network, and scores of pairs: see `ip_insights`."""

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.embedding import padded
from smalgos.kernels.cpu.ip_addresses import PIECES
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add, scratch, to_panels
from smalgos.kernels.cpu.vector import (
    FLOATS,
    fma,
    load,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
    sum_halves,
    vectors,
)

SCORED = 256  # rows that a task scores
# Not plain numbers, for each of which numba would compile a kernel anew.
ORIGIN, NONE = np.int64(0), np.int64(-1)


@vectors(FLOATS)
def positive(v, x):
    zero = v.number(0.0)
    return v.select(x > zero, x, zero)


@kernel(fastmath=False)
def prefix_sums(table, stride, width, pieces, source, count, out, at):
    """h of `count` addresses, from element `at` of out on."""
    for p in range(count):
        if p + 1 < count:
            for t in range(PIECES):
                soon = np.int64(pieces[source + PIECES + t]) * stride
                for j in range(0, width, PANEL):
                    prefetch(table, soon + j)
        for j in range(0, width, PANEL):
            h = load(table, np.int64(pieces[source]) * stride + j)
            for t in range(1, PIECES):
                h = h + load(table, np.int64(pieces[source + t]) * stride + j)
            store(out, at + j, h)
        source += PIECES
        at += width


@kernel(fastmath=False)
def positive_part(source, at, count, out, to):
    """What is positive of `count` elements; zeros in the place of the others."""
    for j in range(0, count, PANEL):
        store(out, to + j, positive(load(source, at + j)))


@kernel(fastmath=False)
def layer_of(source, at, count, matrix, biases, first, given):
    """What a dense layer gives, panels (W / 16, >= count, 16); no biases where `first` is -1."""
    width = matrix.shape[1]
    for q in range(width // PANEL):
        base = splat(0.0) if first < 0 else load(biases, first + q * PANEL)
        for p in range(count):
            store(given, (q * given.shape[1] + p) * PANEL, base)
    multiply_add(source, at, width, count, 1, width, matrix, given)


@kernel(fastmath=False)
def add_rows(given, count, out, at):
    """Add panels to rows, from element `at` of out on."""
    width = given.shape[0] * PANEL
    for p in range(count):
        for q in range(width // PANEL):
            to = at + p * width + q * PANEL
            store(out, to, load(out, to) + load(given, (q * given.shape[1] + p) * PANEL))


@kernel(fastmath=False)
def _score(
    entities, each, dim, prefixes, stride, width, layers, biases, ids, pieces, a, b, scores,
    vectors,
):  # fmt: skip
    """Scores of pairs a to b, and the addresses' vectors, if there is room for them."""
    count = b - a
    panels = width // PANEL
    rows, inputs = scratch(count * width), scratch(count * width)
    given = scratch(panels * count * PANEL).reshape((panels, count, PANEL))
    prefix_sums(prefixes, stride, width, pieces, a * PIECES, count, rows, ORIGIN)
    for layer in range(layers.shape[0]):
        positive_part(rows, ORIGIN, count * width, inputs, ORIGIN)
        layer_of(inputs, ORIGIN, count, layers[layer], biases, layer * width, given)
        add_rows(given, count, rows, ORIGIN)
    for i in range(count):
        at = np.int64(ids[a + i]) * each
        dot = splat(0.0)
        for j in range(0, dim, PANEL):
            dot = fma(load_part(entities, at + j, dim - j), load(rows, i * width + j), dot)
        scores[a + i] = sum_halves(dot)
    if len(vectors) > 0:
        for i in range(count):
            for j in range(0, dim, PANEL):
                store_part(vectors, (a + i) * dim + j, dim - j, load(rows, i * width + j))


class Encoders:
    """Scores pairs.

    Parameters
    ----------
    entities : ndarray of float32, shape (rows, at least dim)
    prefixes : ndarray of float32, shape (TABLE, at least dim)
        As wide as whole panels, or exactly `dim`.
    layers : ndarray of float32, shape (L, dim, dim)
    biases : ndarray of float32, shape (L, dim)
    """

    def __init__(
        self, entities: NDArray[np.float32], prefixes: NDArray[np.float32],
        layers: NDArray[np.float32], biases: NDArray[np.float32],
    ) -> None:  # fmt: skip
        count, self.dim = biases.shape
        self.width = padded(self.dim)
        self.entities = readable(entities)
        if prefixes.shape[1] % PANEL:
            wide = aligned(len(prefixes), self.width)
            wide[:, : self.dim] = prefixes
            prefixes = wide
        self.prefixes = readable(prefixes)
        self.layers = aligned(count, self.width // PANEL, self.width, PANEL)
        self.biases = aligned(1, count, self.width)  # as those that learn have it
        self.biases[0, :, : self.dim] = biases
        for layer, matrix in enumerate(layers):
            square = np.zeros((self.width, self.width), np.float32)
            square[: self.dim, : self.dim] = matrix
            self.layers[layer] = to_panels(square)

    def score(
        self, ids: NDArray[np.int32], pieces: NDArray[np.int32], *, vectors: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores of pairs; the same for a pair, whichever stand beside it.

        Parameters
        ----------
        ids : ndarray of int32, shape (n,)
            Rows of entities.
        pieces : ndarray of int32, shape (n, PIECES)
            Of `pieces_of`.
        vectors : bool
            Whether those of the addresses are wanted.

        Returns
        -------
        ndarray of float32, shape (n,)
        ndarray of float32, shape (n, dim)
            Or (0, dim).
        """
        n = len(ids)
        scores = np.empty(n, np.float32)
        found = np.empty((n if vectors else 0, self.dim), np.float32)
        ids, pieces = readable(ids), readable(pieces).reshape(-1)
        run(
            lambda part: _score(
                self.entities.reshape(-1), self.entities.shape[1], self.dim,
                self.prefixes.reshape(-1), self.prefixes.shape[1], self.width, self.layers,
                self.biases, ids, pieces, part.start, part.stop, scores, found.reshape(-1),
            ),
            chunks(n, SCORED),
        )  # fmt: skip
        return scores, found
