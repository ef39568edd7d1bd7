"""Two towers: vectors of entities and of addresses, whose inner product tells usual pairs.

The vector of an entity is a row of a table. That of an address begins as the sum h of the rows of
its prefixes; each of the dense layers, if there are any, adds something (He et al., CVPR 2016) that
it makes of what is positive:

    x_0 = h,  x_l = x_{l-1} + max(x_{l-1}, 0) W_l + b_l,  f = x_L        score = e . f

The loss is the cross-entropy of sigmoid(score) over pairs that were seen (label 1) and pairs that
were made up (0). All pairs of a row have its entity; so the last layer is taken to its side,
``e . (x + z W + b) = e . x + (e W') . z + e . b`` with z what is positive of x. There it is one
product for a row and not one for a pair, and the gradient of W is the sum of z over the pairs, each
times its slope, times e.

A step of `learn` has two phases. In the first one, rows are worked on, sixteen at a time, from the
tables to the gradients of what was taken from them. In the second one each row of a table, and each
panel of a layer, sums its gradients in order and moves. So sums depend on no thread.

Twin: tests/reference/ip_insights.py.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.crew import Crew
from smalgos.kernels.cpu.embedding import padded
from smalgos.kernels.cpu.ip_addresses import (
    HASH,
    PIECES,
    TABLE,
    entity_rows,
    pair_pieces,
    parse_addresses,
    pieces_of,
    shuffled_rows,
)
from smalgos.kernels.cpu.ip_encoders import Encoders
from smalgos.kernels.cpu.ip_steps import ROWS, SLOTS, Pairs, Weights, Work, cuts, learn, plan
from smalgos.kernels.cpu.negatives import bits, key, stream, unit
from smalgos.kernels.cpu.shared import chunks, jobs, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, from_panels, to_panels

__all__ = [
    "HASH",
    "TABLE",
    "Encoders",
    "Sampling",
    "Trainer",
    "encoders",
    "entity_rows",
    "key",
    "pair_pieces",
    "parse_addresses",
    "pieces_of",
    "placed",
    "plain",
    "put",
    "shuffled_rows",
    "start",
]

AT_ONCE = 1 << 18  # entries of the prefixes' table that are planned and learnt from at once
START = 0.07  # vectors begin within


class Sampling(NamedTuple):
    """The pairs that are made up.

    Parameters
    ----------
    batch : int
        Rows of a batch, within which addresses are exchanged.
    random, shuffled : int
        Pairs of each row with random addresses, and with those of other rows.
    random_key, shuffle_key : int
        Of random numbers; see `smalgos.kernels.cpu.negatives.key`.
    """

    batch: int
    random: int
    shuffled: int
    random_key: int
    shuffle_key: int


@kernel(fastmath=False)
def _fill(key, first, table, stride, width, a, b, bound):
    """Weights of records a to b, uniform in [-bound, bound)."""
    for i in range(a, b):
        origin = stream(key, first + i)
        for j in range(width):
            u = unit(bits(origin, j))
            table[i * stride + j] = (u + u - np.float32(1.0)) * np.float32(bound)


def start(rows: int, dim: int, layers: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights to learn from, as `Trainer` has them.

    Vectors start small: scores near 0 leave the loss at log 2, and all slopes large. Layers start
    with zeros: at first they give what they get.
    """
    width = padded(dim)
    panels = width // PANEL
    tables = {
        "entities": aligned(rows * SLOTS * width),
        "prefixes": aligned(TABLE * SLOTS * width),
        "layers": aligned(SLOTS, layers, panels, width, PANEL),
        "biases": aligned(SLOTS, layers, width),
    }
    stride = SLOTS * width
    for name, count, bound in (
        ("entities", rows, START),
        ("prefixes", TABLE, START / np.sqrt(PIECES)),
    ):
        table, word = tables[name], np.uint64(key(seed, name))
        run(
            lambda part, table=table, word=word, bound=bound: _fill(
                word, part.start, table[part.start * stride :], stride, dim, 0,
                part.stop - part.start, bound,
            ),
            chunks(count),
        )  # fmt: skip
    return tables


def plain(
    tables: Mapping[str, NDArray[np.float32]], rows: int, dim: int
) -> dict[str, NDArray[np.float32]]:
    """Copies of the weights of `start`'s tables.

    Returns
    -------
    dict
        entities (rows, dim), prefixes (TABLE, dim), layers (L, dim, dim), biases (L, dim).
    """
    width = padded(dim)

    def records(name: str, count: int) -> NDArray[np.float32]:
        return np.ascontiguousarray(tables[name].reshape(count, SLOTS, width)[:, 0, :dim])

    found = {"entities": records("entities", rows), "prefixes": records("prefixes", TABLE)}
    return found | _dense(tables, dim)


def _dense(tables: Mapping[str, NDArray[np.float32]], dim: int) -> dict[str, NDArray[np.float32]]:
    """Layers and biases of tables, plain."""
    layers = [from_panels(w, padded(dim))[:dim, :dim] for w in tables["layers"][0]]
    return {
        "layers": np.array(layers, np.float32).reshape(-1, dim, dim),
        "biases": np.ascontiguousarray(tables["biases"][0, :, :dim]),
    }


def put(tables: Mapping[str, NDArray[np.float32]], weights: Mapping[str, Any], dim: int) -> None:
    """Set the weights of tables to those of `plain`; the optimizer's means become 0."""
    width = padded(dim)
    for name in ("entities", "prefixes"):
        records = tables[name].reshape(-1, SLOTS, width)
        records[:, 1:] = 0
        records[:, 0, :dim] = weights[name]
    tables["layers"][:], tables["biases"][:] = 0, 0
    for layer, matrix in enumerate(weights["layers"]):
        square = np.zeros((width, width), np.float32)
        square[:dim, :dim] = matrix
        tables["layers"][0, layer] = to_panels(square)
    tables["biases"][0, :, :dim] = weights["biases"]


def placed(tables: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The same tables, each from a multiple of 64 bytes on."""
    found = {}
    for name, table in tables.items():
        at_boundary = table.__array_interface__["data"][0] % 64 == 0
        found[name] = table if at_boundary else aligned(*table.shape)
        if not at_boundary:
            found[name][:] = table
    return found


def encoders(tables: Mapping[str, NDArray[np.float32]], dim: int) -> Encoders:
    """What scores pairs by the weights of tables, which must not change meanwhile."""
    stride = SLOTS * padded(dim)
    records = {name: tables[name].reshape(-1, stride) for name in ("entities", "prefixes")}
    return Encoders(**records, **_dense(tables, dim))


class Trainer:
    """Learns.

    Parameters
    ----------
    tables : mapping of str to ndarray of float32
        Of `start`; changed in place.
    rows, dim : int
        Entities' vectors, and numbers of each.
    rate, decay : float
        Adam's rate; what of a weight is added to its gradient, but for biases.
    """

    def __init__(
        self, tables: Mapping[str, NDArray[np.float32]], rows: int, dim: int, rate: float,
        decay: float,
    ) -> None:  # fmt: skip
        self.tables, self.rows = tables, rows
        self.width, layers = padded(dim), tables["layers"].shape[1]
        panels = self.width // PANEL
        turned = aligned(layers, panels, self.width, PANEL)
        for layer in range(layers):
            matrix = from_panels(tables["layers"][0, layer], self.width)
            turned[layer] = to_panels(np.ascontiguousarray(matrix.T))
        self.weights = Weights(
            tables["entities"], tables["prefixes"], tables["layers"], turned, tables["biases"]
        )
        self.rates = float(rate), float(decay)
        self.layer_rates = float(rate) / dim**0.5, float(decay)
        self._crew: Crew | None = None
        self._work: Work | None = None

    def learn(
        self, entities: NDArray[np.int32], addresses: NDArray[np.uint64], start: int, t: int,
        sampling: Sampling,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Adam's steps over rows that begin a batch.

        A batch of B rows with K pairs each is K steps of about B pairs; or B steps of K pairs,
        where that is less.

        Parameters
        ----------
        entities : ndarray of int32, shape (n,)
            Rows of their table.
        addresses : ndarray of uint64, shape (n, 2)
            Of `parse_addresses`.
        start : int
            Number of the first row.
        t : int
            Number of the first step, from 1 on.
        sampling : Sampling

        Returns
        -------
        ndarray of float64, shape (steps, 3)
            Sum of the losses before each step, pairs that were told right, pairs.
        """
        s, n = sampling, len(entities)
        partners = shuffled_rows(n, start, s.batch, s.shuffled, s.shuffle_key)
        each = 1 + s.random + s.shuffled
        bounds, found = cuts(n, s.batch, each), []
        entities, addresses = readable(entities), readable(addresses)
        at_once = max(1, AT_ONCE // (int(np.diff(bounds).max()) * each * PIECES))
        for i in range(0, len(bounds) - 1, at_once):
            part = bounds[i : i + at_once + 1]
            rows = slice(int(part[0]), int(part[-1]))
            pieces = pair_pieces(addresses, partners, rows, start, s.random, s.random_key)
            pairs = plan(entities[rows], pieces, self.rows, part - part[0])
            found.append(self._steps(pairs, each, t + i))
        return np.concatenate(found)

    def _steps(self, pairs: Pairs, each: int, t: int) -> NDArray[np.float64]:
        rows = np.diff(pairs.bounds)
        crew, work = self._ready(int(rows.max()), each, len(rows))
        crew.run(learn, self.rates, self.layer_rates, t, self.weights, work, pairs, each)
        return np.column_stack([work.found.sum(axis=1), rows * each])

    def _ready(self, rows: int, each: int, steps: int) -> tuple[Crew, Work]:
        """Threads as many as asked for, and room for a step."""
        if self._crew is None or self._crew.asked != jobs():
            self.close()
            self._crew = Crew(jobs())
        found = np.zeros((steps, -(-rows // ROWS), 2))
        if self._work is None or self._work.rows != rows or self._work.pairs != rows * each:
            layers, width = len(self.weights.turned), self.width
            pairs, panels = rows * each, width // PANEL
            self._work = Work(
                rows, pairs, width, aligned(pairs * width),
                aligned(max(layers - 1, 0) * pairs * width),
                aligned(max(layers - 1, 0), panels, pairs, PANEL), aligned(panels, rows, PANEL),
                aligned(rows * width), aligned(rows), aligned(rows * width), found,
            )  # fmt: skip
        self._work = self._work._replace(found=found)
        return self._crew, self._work

    def close(self) -> None:
        """Let the threads go."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
