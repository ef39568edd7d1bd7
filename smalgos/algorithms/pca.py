"""Principal component analysis from one pass of sums.

The rows x of n x d data have scatter ``C = sum (x - mean)' (x - mean)``. Its eigenvectors with
the largest eigenvalues are the components ``v`` (d x k), the roots of these eigenvalues the
singular values ``s`` of the centred data. The sums are taken about the mean of the first rows, so
that large means cancel before they are squared: exact, mergeable, O(d^2) memory, O(n d^2) time.

Differences from the original: the trace of C and n are kept, so that shares of variance are exact;
signs are fixed (the largest loading of a component is positive); `algorithm_mode="stable"` takes
the products in float64. Components are served in ascending order, least important first, as the
original does; `smalgos.PCA` gives them in descending order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import (
    Algorithm,
    Model,
    Parameters,
    Pass,
    Spec,
    State,
    Sum,
    param,
    require_array,
    require_number,
    require_shaped,
)
from smalgos.learning.rows import blame_row, check_finite

SHIFT_ROWS = 1000  # the rows whose mean the sums are taken about
BLOCK_BYTES = 1 << 25  # of features in a block


class PCAParameters(Parameters):
    """Hyperparameters of PCA, as the original spells them."""

    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    num_components: int = param(
        library="auto", auto=lambda p, spec: min(spec.width, 10), low=1,
        doc="components that are kept; auto: 10, or all when there are fewer",
    )  # fmt: skip
    mini_batch_size: int = param(
        default=500, wire=lambda spec: 500, low=1,
        doc="rows per batch; the result does not depend on it",
    )  # fmt: skip
    algorithm_mode: str = param(
        default="regular", choices=("regular", "stable"),
        doc="regular takes products in float32 and sums in float64, stable all in float64",
    )  # fmt: skip
    extra_components: int = param(
        default=-1, low=-1, doc="oversampling of the randomized mode; ignored by the exact ones"
    )
    subtract_mean: bool = param(default=True, doc="centre the data")
    force_dense: bool = param(
        default=True, wire=lambda spec: True, doc="ignored: sparse rows stay sparse"
    )
    epochs: int = param(
        default=1, low=1, wire=lambda spec: 1, doc="ignored: one pass gives the exact sums"
    )


class PCAState(State):
    """Sums of products of the rows about a shift."""

    kernels = "moments"

    shift: NDArray[np.float32] | None  # (d,)
    gram: Sum[NDArray[np.float64]]  # (d, d) upper triangle of sum (x - shift)' (x - shift)
    total: Sum[NDArray[np.float64]]  # (d,) sum of x - shift

    def begin(self, spec: Spec) -> None:
        """Allocate the sums."""
        d = spec.width
        if self.p.num_components > d:
            raise UserError(f"num_components={self.p.num_components}: the rows have {d} features")
        self.budget = 1
        self.gram, self.total = self.k.xp.zeros((d, d)), self.k.xp.zeros(d)
        # Sparse rows are summed about zero: shifted ones would not be sparse.
        self.shift = self.k.xp.zeros(d, np.float32) if spec.sparse else None
        self.space = self.k.Space(d)

    def next_pass(self) -> Pass | None:
        """A look at the first rows for the shift, then all rows once."""
        if self.passes == 0 and not self.spec.sparse:
            return Pass("shift", self.take_shift, rows=SHIFT_ROWS, limit=SHIFT_ROWS, look=True)
        if self.epoch < self.budget:
            return Pass("train", self.update, rows=self.block_rows(), epoch=True)
        return None

    def block_rows(self) -> int:
        """Several chunks of the kernels, which are tasks for as many threads."""
        fitting = BLOCK_BYTES // (4 * max(self.spec.width, 1))
        return int(max(fitting // self.k.ROWS, 1) * self.k.ROWS)

    def take_shift(self, block: Block) -> None:
        """The mean of the first rows."""
        shift = self.k.total(block.features) / len(block)
        self.shift = np.nan_to_num(shift, posinf=0, neginf=0).astype(np.float32)

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if self.shift is not None:
            require_shaped("shift", self.shift, (self.spec.width,), np.float32)

    def update(self, block: Block) -> None:
        """Add the rows' products."""
        x, stable = block.features, self.p.algorithm_mode == "stable"
        if isinstance(x, Csr):
            bad = self.k.add_moments_csr(x.values, x.indices, x.offsets, self.gram, self.total)
        else:
            bad = self.k.add_moments(x, self.shift, self.gram, self.total, stable, self.space)
        if bad >= 0:
            blame_row(block, bad)

    def finish(self) -> "PCAModel":
        """Solve the eigenproblem of the scatter matrix."""
        if not self.seen or self.shift is None:
            raise NotReady("PCA has seen no rows yet")
        n, t = self.seen, self.total
        centre = t / n if self.p.subtract_mean else -self.shift.astype(np.float64)
        # Right on and above the diagonal: all that the eigenproblem needs.
        scatter = (
            self.gram - np.outer(t, centre) - np.outer(centre, t) + n * np.outer(centre, centre)
        )
        if not np.isfinite(scatter).all():
            raise UserError(
                "the squares of the features are beyond float32: scale the features, or take "
                "algorithm_mode=stable"
            )
        values, v = self.k.top_eigen(scatter, self.p.num_components)
        return PCAModel(
            self.k.device,
            notes={"hyperparameters": self.p.as_dict()},
            v=v.astype(np.float32),
            s=np.sqrt(np.maximum(values, 0)),
            mean=(self.shift + centre).astype(np.float32),
            trace=max(float(np.trace(scatter)), 0.0),
            n=n,
        )


class PCAModel(Model):
    """Components, most important first, and the mean they are taken about."""

    algorithm = "pca"
    kernels = "moments"

    v: NDArray[np.float32]  # (d, k)
    s: NDArray[np.float64]  # (k,) singular values of the centred data
    mean: NDArray[np.float32]  # (d,); zeros when the data were not centred
    trace: float  # of the scatter matrix: the sum of all d squared singular values
    n: int  # rows

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return len(self.v)

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"projection": (n, k)}``, ascending: the first principal component comes last."""
        check_finite(block, self.k)
        return {"projection": self.project(block.features)[:, ::-1]}

    def project(self, features: Any) -> NDArray[np.float32]:
        """Coordinates (n, k) along the components, most important first."""
        if features.shape[1] != len(self.v):
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {len(self.v)}"
            )
        if isinstance(features, Csr):
            projected = self.k.project_csr(
                features.values, features.indices, features.offsets, self.v, self.mean
            )
        else:
            projected = self.k.project(features, self.v, self.mean)
        return self.k.to_host(projected)  # type: ignore[no-any-return]

    def check(self) -> None:
        """Raise `UserError` unless the shapes fit."""
        require_array("v", self.v, (None, None))
        if not self.v.size:
            raise UserError("it has no components, or no features")
        require_array("s", self.s, (self.v.shape[1],))
        require_array("mean", self.mean, (self.v.shape[0],))
        require_number("trace", self.trace)
        require_number("n", self.n)


ALGORITHM = Algorithm(
    name="pca",
    label="PCA",
    parameters=PCAParameters,
    state=PCAState,
    model=PCAModel,
    channels=("train", "[test]"),
    envelope="projections",
    fields=("projection",),
    summary="principal components, exact, in one pass",
)
