"""Points with labels, and what is said of the nearest ones of a row."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.knn.parameters import KINDS, METRICS, WEIGHTS
from smalgos.algorithms.knn.space import Space
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning import Model, require_array
from smalgos.learning.rows import check_finite

ROWS = 16384  # that are made dense, or projected, at a time
LIMIT = 2**31


class KNNModel(Model):
    """Points, by list where there are lists; coded where there are codes.

    A point is called by its number in the sample, in which the labels are.
    """

    algorithm = "knn"
    kernels = "neighbours"
    optional = ("points", "order", "offsets", "centroids", "codes", "codebooks")

    labels: NDArray[np.float32]  # (n,)
    rows: NDArray[np.int64]  # (n,) numbers of the training rows
    points: NDArray[np.float32] | None = None  # (n, size) less centre; list after list
    centre: NDArray[np.float32]  # (size,)
    order: NDArray[np.int64] | None = None  # (n,) the point at each place of the lists
    offsets: NDArray[np.int64] | None = None  # (lists + 1,) places where lists begin
    centroids: NDArray[np.float32] | None = None  # (lists, size) less centre
    codes: NDArray[np.uint8] | None = None  # (n, m) list after list
    codebooks: NDArray[np.float32] | None = None  # (m, codes, size / m)
    neighbours: int  # the k of the hyperparameters
    nprobe: int
    weights: str
    predictor_type: str
    metric: str
    input_dim: int
    reduction: str
    seed: int

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return int(self.input_dim)

    @property
    def space(self) -> Space:
        """The space of the points."""
        size, unit = len(self.centre), self.metric == "COSINE"
        return Space(self.width, size, self.reduction, self.seed, unit)

    @cached_property
    def classes(self) -> NDArray[np.float32]:
        """The labels of the sample that differ, ascending."""
        return np.unique(self.labels)

    @cached_property
    def label_codes(self) -> NDArray[np.int32]:
        """Number of each point's class."""
        return np.searchsorted(self.classes, self.labels).astype(np.int32)

    # -- answers

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"predicted_label": (n,)}``, and more if it is asked for.

        Parameters
        ----------
        block : Block
        **options
            ``verbose``: neighbours' ``distances`` (n, k) and ``labels`` (n, k) as well, the
            nearest first: squared distances, or products. ``k``, ``nprobe``, ``weights`` take the
            place of the model's own.
        """
        check_finite(block, self.k)
        near, values = self.search(block.features, options.get("k"), options.get("nprobe"))
        votes = self.votes(values, options.get("weights"))
        if self.predictor_type == "regressor":
            said = self.k.mean_label(self.labels[near], votes)
        else:
            said = self.classes[self.k.majority(self.label_codes[near], votes, len(self.classes))]
        answered: dict[str, Any] = {"predicted_label": said}
        if options.get("verbose"):
            answered |= {"distances": values, "labels": self.labels[near]}
        return answered

    def shares(self, block: Block, **options: Any) -> NDArray[np.float64]:
        """The share (n, classes) of each class in the votes; options as those of `predict`."""
        check_finite(block, self.k)
        near, values = self.search(block.features, options.get("k"), options.get("nprobe"))
        votes = self.votes(values, options.get("weights"))
        found: NDArray[np.float64] = self.k.shares(self.label_codes[near], votes, len(self.classes))
        return found

    def votes(self, values: NDArray[np.float32], weights: str | None) -> NDArray[np.float64]:
        """What each neighbour counts: one, or the inverse of its distance.

        Where some are at no distance at all, they alone count.
        """
        if (weights or self.weights) == "uniform":
            return np.ones(values.shape)
        far = self.lengths(values)
        zero = far == 0
        with np.errstate(divide="ignore"):
            return np.where(zero.any(axis=1, keepdims=True), zero, 1 / far)

    def lengths(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances, ascending, of what `search` gives: 1 - cosine, or a product's negative."""
        if self.metric == "L2":
            return np.sqrt(values.astype(np.float64))
        products = values.astype(np.float64)
        return np.maximum(1 - products, 0) if self.metric == "COSINE" else -products

    def search(
        self, features: Any, k: int | None = None, nprobe: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest points of each row.

        Parameters
        ----------
        features : array or Csr, shape (n, width)
        k, nprobe : int, optional
            In the place of the model's own.

        Returns
        -------
        numbers : ndarray of int64, shape (n, k)
            Of points in the sample, the nearest first; of equally near ones the smaller.
        values : ndarray of float32, shape (n, k)
            Squared distances, of coded points estimates; or products.

        Raises
        ------
        UserError
            When rows are of another width, or there are not k points.
        """
        if features.shape[1] != self.width:
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {self.width}"
            )
        found = [
            self.near(self.space.points(features[rows], self.k) - self.centre, k, nprobe)
            for rows in self.k.chunks(features.shape[0], ROWS)
        ]
        if not found:
            k = k or self.neighbours
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        if len(found) == 1:
            return found[0]
        numbers, values = zip(*found, strict=True)
        return np.concatenate(numbers), np.concatenate(values)

    def near(
        self, points: NDArray[np.float32], k: int | None = None, nprobe: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `search`, of rows that are points of the space, less centre."""
        k, nprobe = k or self.neighbours, nprobe or self.nprobe
        if k > len(self.labels):
            raise UserError(
                f"k={k}: Expected n_neighbors <= n_samples_fit, n_samples_fit = {len(self.labels)}"
            )
        metric = "l2" if self.metric == "L2" else "ip"
        if self.centroids is None:
            numbers, values = self.k.top(points, self._searched, k, metric)
            return numbers, values
        if self.codes is not None:
            numbers, values = self.k.search_codes(points, self._searched, self._lists, k, nprobe)
            return numbers, values
        numbers = self.k.search_lists(points, self._searched, self._lists, k, nprobe)
        values = self.k.measure(points, self.points, self._places[numbers], metric)
        order = np.lexsort((numbers, values if metric == "l2" else -values), axis=1)
        return np.take_along_axis(numbers, order, 1), np.take_along_axis(values, order, 1)

    @cached_property
    def _searched(self) -> Any:
        """The points as the kernels search them."""
        if self.centroids is None:
            return self.k.Points(self.points)
        if self.codes is not None:
            return self.k.Codes(
                self.codes, self.codebooks, self.centroids, self.offsets, self.order
            )
        metric = "l2" if self.metric == "L2" else "ip"
        return self.k.Lists(self.points, self.offsets, self.order, metric)

    @cached_property
    def _lists(self) -> Any:
        return self.k.Points(self.centroids)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Where each point of the sample is."""
        assert self.order is not None
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(places))
        return places

    # -- files

    def check(self) -> None:
        """Raise `UserError` unless every shape, number and offset is what `search` relies on."""
        for name, words in (
            ("predictor_type", KINDS), ("metric", METRICS), ("weights", WEIGHTS),
            ("reduction", ("", "sign", "fjlt")),
        ):  # fmt: skip
            if getattr(self, name) not in words:
                raise UserError(f"{name} is none of {', '.join(filter(None, words))}")
        for name in ("neighbours", "nprobe", "input_dim", "seed"):
            value, most = getattr(self, name), 2**63 if name == "seed" else LIMIT
            if type(value) is not int or not (name != "seed") <= value < most:
                raise UserError(f"{name} is not a number that it can be")
        require_array("labels", self.labels, (None,))
        require_array("centre", self.centre, (None,))
        n, size = len(self.labels), len(self.centre)
        require_array("rows", self.rows, (n,), "i")
        asked = self.notes.get("hyperparameters")
        k = asked.get("k") if isinstance(asked, dict) else None
        most = max(self.neighbours, k if type(k) is int else 0)
        if most > n:
            raise UserError(f"{most} neighbours of {n} points")
        if self.labels.dtype != np.float32 or self.centre.dtype != np.float32:
            raise UserError("labels and centre must be float32")
        self._check_space(size)
        self._check_index(n, size)

    def _check_space(self, size: int) -> None:
        if self.reduction == "":
            fits = self.width <= size < 2 * self.width
        elif self.reduction == "fjlt":
            fits = 0 < size <= 1 << (self.width - 1).bit_length()
        else:
            fits = 0 < size < 2 * self.width
        if not fits:
            raise UserError(f"points of {size} coordinates, made of {self.width} features")

    def _check_index(self, n: int, size: int) -> None:
        given = [name for name in self.optional if getattr(self, name, None) is not None]
        lists = ["order", "offsets", "centroids"]
        coded = [*lists, "codes", "codebooks"]
        if given not in (["points"], ["points", *lists], coded):
            raise UserError(f"an index of {', '.join(given) or 'nothing'} is none")
        if self.points is not None:
            require_array("points", self.points, (n, size))
            if self.points.dtype != np.float32:
                raise UserError("points must be float32")
        if self.order is None or self.offsets is None or self.centroids is None:
            return
        require_array("centroids", self.centroids, (None, size))
        require_array("offsets", self.offsets, (len(self.centroids) + 1,), "i")
        require_array("order", self.order, (n,), "i")
        ends = self.offsets[0] == 0 and self.offsets[-1] == n
        if not ends or (np.diff(self.offsets) < 0).any():
            raise UserError("the lists do not hold all points, one list behind the other")
        if not np.array_equal(np.sort(self.order), np.arange(n)):
            raise UserError("order does not name every point once")
        if self.codes is not None and self.codebooks is not None:
            if self.codebooks.ndim != 3 or not self.codebooks.size or self.metric != "L2":
                raise UserError("codebooks are no tables of codes")
            m, codes, w = self.codebooks.shape
            require_array("codebooks", self.codebooks, (m, codes, w))
            require_array("codes", self.codes, (n, m), "u")
            if m * w != size or codes > self.k.CODES or self.codes.dtype != np.uint8:
                raise UserError("codes and codebooks do not fit the points")
            if self.codes.size and int(self.codes.max()) >= codes:
                raise UserError(f"a code is beyond the {codes} that there are")
        for name, dtype in (("order", np.int64), ("offsets", np.int64), ("centroids", np.float32)):
            if getattr(self, name).dtype != dtype:
                raise UserError(f"{name} must be {np.dtype(dtype)}")
