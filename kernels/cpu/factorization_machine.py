"""Factorization machines of second order: trained by row-sparse steps, and scored.

A feature's record is its vector and the slots of that (see `embedding`). Linear weights with their
slots are apart: four features share a cache line, and frequent ones are often neighbours.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.kernels.cpu import shared
from smalgos.kernels.cpu.crew import Crew
from smalgos.kernels.cpu.embedding import check_optimizer, padded, zeros
from smalgos.kernels.cpu.factorization_scores import (
    FIELD_AWARE,
    FIELD_WEIGHTED,
    PAIRWISE,
    SUMS,
    Entries,
    Net,
    score,
)
from smalgos.kernels.cpu.factorization_steps import (
    GROUPS,
    LINE,
    LINEAR,
    LISTS,
    MOVED,
    RING,
    ROWS,
    SUMS_SOON,
    Given,
    Method,
    Work,
    group,
    learn,
)
from smalgos.kernels.cpu.optimizers import FTRL, Optimizer, optimizer, slots
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned

__all__ = ["SUMS", "Machine", "Optimizer", "margins", "optimizer", "slots"]

INTERACTIONS = {
    "pairwise": PAIRWISE,
    "field_aware": FIELD_AWARE,
    "field_weighted": FIELD_WEIGHTED,
}
MOST = 16  # lists of a batch
CHUNK = 1024  # rows of a task that scores
SPAN = 1 << 16  # rows that are arranged at a time

Three = tuple[float, float, float]


class Machine:
    """A factorization machine that learns.

    Parameters
    ----------
    width, num_factors : int
        Features, and numbers of a vector.
    loss : {"logistic", "squared"}
        Of labels 0 and 1, or of any.
    opt : Optimizer
        Of `optimizer`.
    rates, decays, l1 : (float, float, float)
        For bias, linear weights, vectors (and the weights of pairs of fields).
    rescale : float, optional
        What to multiply the sums of gradients over a batch by. Default: 1 / rows of the batch.
    use_bias, use_linear : bool
    interaction : {"pairwise", "field_aware", "field_weighted"}
        See `factorization_scores`.
    fields : ndarray of int32, shape (width,), optional
        Field of each feature.
    number_of_fields : int, optional
        Default: the highest of `fields`, and 1.

    Raises
    ------
    ValueError
        For sizes, fields or constants that do not fit.
    """

    def __init__(
        self,
        width: int,
        num_factors: int,
        *,
        loss: str = "logistic",
        opt: Optimizer,
        rates: Three,
        decays: Three = (0.0, 0.0, 0.0),
        l1: Three = (0.0, 0.0, 0.0),
        rescale: float | None = None,
        use_bias: bool = True,
        use_linear: bool = True,
        interaction: str = "pairwise",
        fields: NDArray[np.int32] | None = None,
        number_of_fields: int | None = None,
    ) -> None:
        if width < 1 or num_factors < 1 or width >= 1 << 31:
            raise ValueError(f"{width} features, {num_factors} factors: give 1 or more of each")
        if loss not in ("logistic", "squared"):
            raise ValueError(f"loss={loss!r}: give logistic or squared")
        check_optimizer(opt)
        if opt.code == FTRL and not min(rates) > 0:
            raise ValueError(f"rates {rates}: those of ftrl must be positive")
        self.width, self.num_factors, self.interaction = width, num_factors, interaction
        numbered = _fields(interaction, fields, width, number_of_fields)
        self.fields, self.number_of_fields = numbered
        code, n_fields = INTERACTIONS[interaction], self.number_of_fields
        self._vector = num_factors * (n_fields if code == FIELD_AWARE else 1)
        self.room, self.slots = padded(self._vector), slots(opt.code)
        self._stride = (1 + self.slots) * self.room
        self._table, self._linear = zeros(width * self._stride), zeros(width * LINEAR)
        self._bias = aligned(4 * PANEL)
        n_pairs = n_fields**2 if code == FIELD_WEIGHTED else 1
        self._pairs = aligned(4 * padded(n_pairs))
        self._net = Net(
            self._table, self._stride, num_factors, self._linear, LINEAR, 0, code,
            self.fields, n_fields, self._pairs,
        )  # fmt: skip
        groups = [tuple(map(float, three)) for three in zip(rates, decays, l1, strict=True)]
        self._method = Method(
            loss == "logistic", use_bias, use_linear, opt, *groups,
            0.0 if rescale is None else float(rescale),
        )  # fmt: skip
        self._crew: Crew | None = None
        self._work: Work | None = None
        self._known: tuple[Callable[[], Any], ...] = ()  # arrays of rows that were looked through
        self._found: tuple[NDArray[np.int8], int, bool] | None = None  # of those rows: see Given
        self._ones = np.empty(0, np.float32)

    # -- parameters

    def _places(self) -> dict[str, NDArray[np.float32]]:
        """Where each parameter, and each of its slots, lies: views of the shapes they are given."""
        d, k, m = self.width, self.num_factors, self.number_of_fields
        records = self._table.reshape(d, self._stride)
        aware = self.interaction == "field_aware"

        def vector(i: int) -> NDArray[np.float32]:
            part = records[:, i * self.room : i * self.room + self._vector]
            return np.lib.stride_tricks.as_strided(
                part, (d, m, k), (part.strides[0], 4 * k, 4)
            ) if aware else part  # fmt: skip

        out = {}
        for i in range(1 + self.slots):
            suffix = f".{i - 1}" if i else ""
            out["bias" + suffix] = self._bias[i * PANEL : i * PANEL + 1]
            out["linear" + suffix] = self._linear.reshape(d, LINEAR)[:, i]
            out["factors" + suffix] = vector(i)
            if self.interaction == "field_weighted":
                pairs = self._pairs.reshape(4, -1)[i, : m * m]
                out["field_weights" + suffix] = pairs.reshape(m, m)
        return out

    def put(self, arrays: Mapping[str, Any]) -> None:
        """Set the parameters, and the slots; slots that are not given are zeros.

        Parameters
        ----------
        arrays : mapping of str to array of float32
            ``bias`` (1,), ``linear`` (d,), ``factors`` (d, k), or (d, fields, k) if field-aware;
            ``field_weights`` (fields, fields), symmetric, if field-weighted; and of each slot
            number i of the optimizer ``bias.i`` and so on.

        Raises
        ------
        ValueError
            For an array that is missing, unknown or of another shape, or weights of pairs of
            fields that are not symmetric.
        """
        places = self._places()
        if unknown := ", ".join(sorted(arrays.keys() - places.keys())):
            raise ValueError(f"there is no {unknown} here")
        for name, place in places.items():
            if "." not in name and name not in arrays:
                raise ValueError(f"{name} is missing")
            if name in arrays and np.shape(arrays[name]) != place.shape:
                raise ValueError(f"{name} is {np.shape(arrays[name])}, but {place.shape} here")
            if name.startswith("field_weights") and name in arrays:
                _check_symmetric(arrays[name])
        for name, place in places.items():
            given = arrays.get(name, np.float32(0))
            _copy(np.broadcast_to(np.asarray(given), place.shape), place)

    def plain(self, *, slots: bool = True) -> dict[str, NDArray[np.float32]]:
        """Copies of all parameters, and maybe slots, as `put` takes them, the same bits."""
        places = {n: place for n, place in self._places().items() if slots or "." not in n}
        found = {n: np.empty(place.shape, np.float32) for n, place in places.items()}
        for name, place in places.items():
            _copy(place, found[name])
        return found

    # -- learning

    def learn(
        self,
        features: Any,
        labels: NDArray[np.float32],
        weights: NDArray[np.float32] | None,
        batch: int,
        t: int,
    ) -> NDArray[np.float64]:
        """One step for each batch of consecutive rows.

        Parameters
        ----------
        features : Csr, ndarray of float32 (n, d), or Taken of either
            Dense rows have all features. Of a `Taken`, rows are read where they are.
        labels : ndarray of float32, shape (n,)
        weights : ndarray of float32, shape (n,), optional
            They multiply losses, and what is counted.
        batch : int
            Rows of a batch; the last one may have fewer, and is divided by those.
        t : int
            Number of the first step, from 1 on (adam).

        Returns
        -------
        ndarray of float64, shape (batches, 8)
            Sums over the rows of each batch, from margins before its step: the loss, the weights;
            for the logistic loss the weights of what is right, true positives, false positives and
            false negatives (at a margin of 0 and above, the label is taken to be 1); for the
            squared loss the squared and the absolute errors; zeros.

        Raises
        ------
        IndexError
            For a feature out of range, naming its row (of the array, if they are taken from one);
            nothing has been learnt.
        """
        if batch < 1 or t < 1:
            raise ValueError(f"batch={batch}, t={t}: both count from 1")
        given = self._given(features, labels, weights, batch)
        n, span = len(given.labels), batch * max(SPAN // batch, 1)
        out = np.zeros((-(-n // batch), SUMS))
        for first in range(0, n, span):
            some, done = _between(given, first, min(first + span, n)), first // batch
            self._learn(some, t + done, out[done : done + -(-len(some.labels) // batch)])
        return out

    def _learn(self, given: Given, t: int, out: NDArray[np.float64]) -> None:
        n, batch, entries = len(given.labels), given.batch, given.entries
        needed = batch * given.length
        if given.length < 0:  # a guess
            mean = (entries.bounds[-1] - entries.bounds[0]) / (len(entries.bounds) - 1)
            needed = int(1.25 * mean * batch) + 64
        while True:
            crew, work = self._ready(n, batch, needed, entries.dense)
            work.taken[:] = 0
            crew.run(
                learn, self._net, self._method, self.room, given, work, self._bias, self._pairs,
                t, out,
            )  # fmt: skip
            needed = int(work.bounds[: len(out), -1].max())
            if needed <= work.values.shape[1]:
                return

    def _given(self, features: Any, labels: Any, weights: Any, batch: int) -> Given:
        """Rows to learn from, checked."""
        picked, n = np.empty(0, np.int64), len(features)
        if weights is None:
            if len(self._ones) < n:
                self._ones = np.ones(n, np.float32)
            weights = self._ones[:n]
        labels, weights = readable(labels, np.float32), readable(weights, np.float32)
        if labels.shape != (n,) or weights.shape != (n,):
            raise ValueError(f"{n} rows, labels {labels.shape}, weights {weights.shape}")
        if hasattr(features, "array"):
            picked, features = readable(features.rows, np.int64), features.array
            if len(picked) and not _below(picked, len(features)):
                raise IndexError(f"rows {picked.min()} to {picked.max()} of {len(features)}")
        entries, found = _entries(features, self.width), (np.empty(0, np.int8), self.width, False)
        if not entries.dense:
            # Blocks of rows by number share arrays: those are looked through once.
            arrays = features.offsets, features.indices, features.values
            known = [found() for found in self._known] if len(picked) else []
            if n and not (known and all(a is b for a, b in zip(known, arrays, strict=True))):
                _check_features(features, self.width)
                ones = _are_ones(entries.values)
                self._found = _groups(entries), _length(entries.bounds), ones
                self._known = tuple(map(weakref.ref, arrays)) if len(picked) else ()
            found = self._found or found
        return Given(entries, *found, picked, labels, weights, batch)

    def _ready(self, n: int, batch: int, entries: int, dense: bool) -> tuple[Crew, Work]:
        """Threads as many as asked for, and room for so many rows, and entries of a batch."""
        asked = shared.jobs()
        if self._crew is None or self._crew.asked != asked:
            self.close()
            self._crew = Crew(asked)
        work = self._work
        fits = work is not None and len(work.labels) >= n and work.bounds.shape[1] == batch + 1
        fits = fits and (len(work.keys) == 1) == dense and work.values.shape[1] >= entries
        if work is None or not fits:
            self._work = work = self._scratch(n, batch, entries, dense, self._crew.members)
        return self._crew, work

    def _scratch(self, n: int, batch: int, entries: int, dense: bool, members: int) -> Work:
        parts = min(members, MOST)
        pairwise, room = self.interaction == "pairwise", self.room
        sparse, tasks = 0 if dense else entries, -(-batch // ROWS)
        pairs = self.number_of_fields**2 if self.interaction == "field_weighted" else 0
        keys = np.empty((RING, sparse), np.int32)
        if dense:
            keys = np.arange(self.width, dtype=np.int32)[None]
        return Work(
            sources=np.empty(n, np.int64),
            labels=np.empty(n, np.float32),
            weights=np.empty(n, np.float32),
            bounds=np.empty((-(-n // batch), batch + 1), np.int64),
            unsorted=np.empty((members, 3, max(batch, GROUPS)), np.int64),
            keys=keys,
            owner=np.empty((RING, entries), np.int32),
            values=np.empty((RING, entries), np.float32),
            seen=zeros(0 if dense else self.width).view(np.int32),
            counted=np.ones(parts * LINE, np.int64),
            own=np.empty((parts, 2, sparse + 1), np.int32),
            found=np.zeros((LISTS, parts, 4, entries + SUMS_SOON), np.int32),
            ordered=np.empty((LISTS, parts, entries + 1), np.float32),
            counts=np.zeros((LISTS, parts), np.int64),
            slopes=np.empty(batch, np.float32),
            sums=aligned(batch * room if pairwise else 0),
            totals=np.zeros((tasks, SUMS + 1)),
            lanes=aligned(members, ROWS),
            gradients=aligned((members if pairwise else entries) * room),
            pairs=np.empty((tasks, pairs), np.float32),
            taken=np.zeros((MOVED + 1) * parts * LINE, np.int64),
        )

    # -- scoring

    def margins(self, features: Any) -> NDArray[np.float32]:
        """Margins of rows, each on its own.

        Parameters
        ----------
        features : Csr, ndarray of float32 (n, d), or Taken of either

        Returns
        -------
        ndarray of float32, shape (n,)

        Raises
        ------
        IndexError
            For a feature out of range.
        """
        return _margins(self._net, self._bias[0], features, self.width)

    def close(self) -> None:
        """Let the threads go."""
        if self._crew is not None:
            self._crew.close()
        self._crew = self._work = None


def margins(
    features: Any,
    arrays: Mapping[str, Any],
    *,
    interaction: str = "pairwise",
    fields: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """Margins of rows, from plain parameters: the bits of `Machine.margins`.

    Parameters
    ----------
    features : Csr, ndarray of float32 (n, d), or Taken of either
    arrays : mapping of str to ndarray of float32
        ``bias``, ``linear``, ``factors`` and, if field-weighted, ``field_weights``, of the shapes
        that `Machine.put` takes.
    interaction : {"pairwise", "field_aware", "field_weighted"}
    fields : ndarray of int32, shape (d,), optional

    Returns
    -------
    ndarray of float32, shape (n,)

    Raises
    ------
    IndexError
        For a feature out of range.
    """
    bias, linear = readable(arrays["bias"], np.float32), readable(arrays["linear"], np.float32)
    factors = readable(arrays["factors"], np.float32)
    width, code = len(linear), INTERACTIONS[interaction]
    many = factors.shape[1] if code == FIELD_AWARE else None
    pairs = np.zeros(1, np.float32)
    if code == FIELD_WEIGHTED:
        pairs = readable(arrays["field_weights"], np.float32)
        many = len(pairs)
    numbers, n_fields = _fields(interaction, fields, width, many)
    shape = (width, n_fields) if code == FIELD_AWARE else (width,)
    fits = bias.shape == (1,) and linear.shape == (width,) and factors.shape[:-1] == shape
    if not fits or (code == FIELD_WEIGHTED and pairs.shape != (n_fields, n_fields)):
        found = bias.shape, linear.shape, factors.shape, pairs.shape
        raise ValueError(f"arrays of shapes {found} are not those of one machine")
    net = Net(
        factors.reshape(-1), int(np.prod(factors.shape[1:])), factors.shape[-1], linear, 1, 0,
        code, numbers, n_fields, pairs.reshape(-1),
    )  # fmt: skip
    return _margins(net, bias[0], features, width)


def _margins(net: Net, bias: np.float32, features: Any, width: int) -> NDArray[np.float32]:
    if hasattr(features, "copied"):
        features = features.copied()
    entries, n = _entries(features, width), len(features)
    _check_features(features, width)
    out, unused = np.empty(n, np.float32), np.empty(0, np.float32)
    run(
        lambda rows: score(net, entries, rows.start, rows.stop, out, rows.start, unused, 0),
        chunks(n, CHUNK),
    )
    return out + bias


def _entries(features: Any, width: int) -> Entries:
    """Rows as kernels see them; a `Csr` is known by its offsets."""
    if len(features.shape) != 2 or features.shape[1] != width:
        raise ValueError(f"rows {features.shape}, but {width} features are expected")
    if hasattr(features, "offsets"):
        values, indices = readable(features.values, np.float32), readable(features.indices)
        return Entries(
            readable(indices, np.int32), values, readable(features.offsets, np.int64), False
        )
    keys = np.arange(width, dtype=np.int32)
    bounds = np.arange(len(features) + 1, dtype=np.int64) * width
    return Entries(keys, readable(features, np.float32).reshape(-1), bounds, True)


def _fields(
    interaction: str, fields: Any, width: int, many: int | None
) -> tuple[NDArray[np.int32], int]:
    """(fields or a placeholder, how many), checked."""
    if interaction not in INTERACTIONS:
        raise ValueError(f"interaction={interaction!r}: give one of {', '.join(INTERACTIONS)}")
    if interaction == "pairwise":
        return np.zeros(1, np.int32), 1
    if fields is None:
        raise ValueError(f"interaction={interaction!r} needs the field of each feature")
    numbers = readable(fields, np.int32)
    many = int(numbers.max(initial=0)) + 1 if many is None else many
    if numbers.shape != (width,) or not 0 <= numbers.min() <= numbers.max() < many:
        raise ValueError(f"fields: {width} numbers from 0 to {many - 1} are expected")
    return numbers, many


def _check_features(features: Any, width: int) -> None:
    """Raise ``IndexError`` for the first row with a feature out of range."""
    if not hasattr(features, "offsets"):
        return
    first = int(features.offsets[0])
    stored = features.indices[first : int(features.offsets[-1])]
    fine = run(lambda part: _below(stored[part], width), chunks(len(stored), 1 << 20))
    if not all(fine):
        place = int(np.argmax((stored < 0) | (stored >= width)))
        row = int(np.searchsorted(features.offsets, first + place, "right")) - 1
        raise IndexError(f"row {row} has feature {stored[place]}, but there are {width}")


def _below(numbers: Any, width: int) -> bool:
    """Whether all are 0 to width - 1; negative ones are large if they are taken for unsigned."""
    unsigned = numbers.view(f"u{numbers.itemsize}")
    return bool(unsigned.max(initial=0) < width)


def _are_ones(values: Any) -> bool:
    """Whether all values are 1; where they are not, that is seen early as a rule."""
    return all((values[a : a + SPAN] == 1).all() for a in range(0, len(values), SPAN))


def _length(offsets: Any) -> int:
    """Entries of every row, as where each has one of each category, or -1."""
    lengths = np.diff(offsets)
    return int(lengths[0]) if (lengths == lengths[0]).all() else -1


def _copy(given: Any, place: Any) -> None:
    """Copy by several threads."""

    def copy(rows: slice) -> None:
        place[rows] = given[rows]

    run(copy, chunks(len(place), CHUNK * 16))


def _between(given: Given, start: int, stop: int) -> Given:
    """Some of the rows to learn from."""
    some = slice(start, stop)
    if len(given.picked):
        given = given._replace(picked=given.picked[some])
    else:
        bounds = given.entries.bounds[start : stop + 1]
        given = given._replace(
            entries=given.entries._replace(bounds=bounds), groups=given.groups[some]
        )
    return given._replace(labels=given.labels[some], weights=given.weights[some])


def _groups(entries: Entries) -> NDArray[np.int8]:
    groups = np.empty(len(entries.bounds) - 1, np.int8)
    run(lambda rows: group(entries, rows.start, rows.stop, groups), chunks(len(groups), SPAN))
    return groups


def _check_symmetric(pairs: Any) -> None:
    if not np.array_equal(pairs, np.transpose(pairs), equal_nan=True):
        raise ValueError("field_weights must be symmetric")
