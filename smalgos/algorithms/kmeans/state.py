"""What both solvers share: where they begin, what rows they take, the model they make."""

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.kmeans.model import KMeansModel
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Spec, State, require_shaped
from smalgos.learning.rows import check_finite

TOO_LARGE = "the squares of the features are beyond float32: scale the features"
SAMPLE = 1024  # rows that tell whether to shift all
FAR = 64.0  # square of the mean over the variance, from which rows are shifted


class KMeansState(State):
    """Base of the states of both solvers; what is made is one of `StreamState`, `LloydState`."""

    kernels = "kmeans"

    shift: NDArray[np.float32]  # (d,) what dense rows, and centres, are taken about
    centres: NDArray[np.float32]  # what rows are compared with

    def __new__(cls, parameters: Any = None, spec: Any = None) -> "KMeansState":
        """A state of the kind that the solver needs."""
        kind: type[KMeansState] = cls
        if cls is KMeansState and parameters is not None:
            from smalgos.algorithms.kmeans.lloyd import LloydState
            from smalgos.algorithms.kmeans.stream import StreamState

            kind = LloydState if parameters.solver == "lloyd" else StreamState
        return super().__new__(kind)

    @staticmethod
    @abstractmethod
    def count(p: Any) -> int:
        """How many centres rows are compared with."""

    def begin(self, spec: Spec) -> None:
        """Allocate the centres."""
        count = self.count(self.p)
        self.shift = np.zeros(spec.width, np.float32)
        self.centres = np.zeros((count, spec.width), np.float32)
        self.given = earlier_centres(spec)
        if self.given is not None and len(self.given[0]) > count:
            raise UserError(
                f"k={self.p.k}: there are {len(self.given[0])} centres to start from, where "
                f"{count} are learnt"
            )

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Any) -> None:
        """Raise `UserError` unless a snapshot holds as many centres as would be allocated."""
        if cls is KMeansState:
            return type(cls.__new__(cls, parameters, spec)).check_size(parameters, spec, flat)
        shape = cls.count(parameters.resolved(spec)), spec.width
        require_shaped("centres", flat.get("centres"), shape, np.float32)
        return None

    def ready(self, block: Block) -> Block:
        """The block on the device, checked."""
        block = block.on(self.k)
        check_finite(block, self.k)
        return block

    def check_rows(self, rows: int, weights: Any) -> None:
        """Raise `UserError` unless there are enough of them."""
        if rows < self.p.k:
            raise UserError(
                f"k={self.p.k}: n_samples={rows} rows are fewer than clusters: take a smaller k, "
                "or more rows"
            )
        if weights is not None and not weights.any():
            raise UserError("all weights are 0: there is nothing to learn from")

    def model_of(
        self, centres: Any, mass: Any, iterations: int, attempts: Any, curve: Any
    ) -> KMeansModel:
        """A model of centres (k, d) about the shift.

        Parameters
        ----------
        attempts : ndarray
            msd of all starts.
        curve : ndarray, shape (points, 2)
            [steps, msd] on the way.
        """
        k, empty = len(mass), int((mass == 0).sum())
        if empty:
            warnings.warn(
                f"k={k}: {empty} clusters are empty: no more than {k - empty} rows, or centres of "
                "the stream, differ",
                stacklevel=2,
            )
        notes = {
            "hyperparameters": self.p.as_dict() | {"k": k},
            "attempts": attempts.tolist(),
            "iterations": iterations,
            "curve": curve.tolist(),
        }
        return KMeansModel(
            self.k.device, notes=notes, centres=centres + self.shift, mass=np.array(mass),
            shift=self.shift.copy(), msd=float(attempts.min()),
        )  # fmt: skip


def earlier_centres(spec: Spec) -> tuple[Any, Any] | None:
    """(centres (m, d), mass (m,)) to go on from: of an earlier model, or as they were given."""
    model, width = spec.side.get("model"), spec.width
    if model is not None:
        if model.width != width:
            raise UserError(
                f"the earlier model takes {model.width} features, the rows have {width}"
            )
        return np.asarray(model.centres), np.asarray(model.mass)
    given = spec.facts.get("init")
    if given is None:
        return None
    centres = np.asarray(given, np.float32)
    if centres.ndim != 2 or centres.shape[1] != width or not len(centres):
        raise UserError(f"init: centres of shape {centres.shape}, where rows have {width} features")
    if not np.isfinite(centres).all():
        raise UserError("init: a centre is NaN or infinite")
    return centres, np.zeros(len(centres))


def shift_of(features: Any) -> NDArray[np.float32]:
    """The point to take dense rows about: their mean, if they are far from the origin.

    Squared distances come from norms and products, whose rounding errors are shares of the norms.
    """
    zero = np.zeros(features.shape[1], np.float32)
    if isinstance(features, Csr):
        return zero
    x = features[:: max(len(features) // SAMPLE, 1)].astype(np.float64)
    mean = x.mean(axis=0)
    near = (mean**2).sum() <= FAR * x.var(axis=0).sum()
    return zero if near else mean.astype(np.float32)


def about(features: Any, shift: NDArray[np.float32]) -> Any:
    """Dense rows less the shift; sparse ones have none."""
    return features - shift if shift.any() else features
