"""Components, and what rows are along them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Model, require_array, require_number
from smalgos.learning.rows import check_finite

AT_ONCE = 1024  # rows that are taken in float64, and filled where they are sparse, at once


class PCAModel(Model):
    """Components, most important first, and the mean they are taken about."""

    algorithm = "pca"
    kernels = "moments"
    optional = ("whiten",)  # of models of version 0.1

    v: NDArray[np.float32]  # (d, k)
    s: NDArray[np.float64]  # (k,) singular values of the centred data
    mean: NDArray[np.float32]  # (d,); zeros when the data were not centred
    trace: float  # of the scatter matrix: the sum of all d squared singular values
    n: int  # rows
    whiten: bool | None = None  # whether projections are scaled to a variance of 1

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return len(self.v)

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variance (k,) along the components, over n - 1."""
        found: NDArray[np.float64] = self.s**2 / max(self.n - 1, 1)
        return found

    @property
    def noise(self) -> float:
        """Mean variance along the directions that are not kept; 0 where there are none.

        Of no more than n directions, as the rows have no variance along others.
        """
        left = min(self.n, self.width) - len(self.s)
        if left <= 0:
            return 0.0
        return max(float(self.trace - (self.s**2).sum()), 0.0) / max(self.n - 1, 1) / left

    @property
    def scale(self) -> NDArray[np.float64]:
        """What projections are divided by; infinite along components without variance."""
        if not self.whiten:
            return np.ones_like(self.s)
        return np.where(self.s > 0, np.sqrt(self.variances), np.inf)

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"projection": (n, k)}``, ascending: the first principal component comes last."""
        check_finite(block, self.k)
        return {"projection": self.project(block.features)[:, ::-1]}

    def project(self, features: Any) -> NDArray[np.float32]:
        """Coordinates (n, k) along the components, most important first."""
        self._require_width(features)
        v = self.v / self.scale
        if isinstance(features, Csr):
            projected = self.k.project_csr(
                features.values, features.indices, features.offsets, v, self.mean
            )
        else:
            projected = self.k.project(features, v, self.mean)
        return self.k.to_host(projected)  # type: ignore[no-any-return]

    def restore_rows(self, projected: NDArray[Any]) -> NDArray[np.float32]:
        """Rows (n, d) in the span of the components, from their coordinates (n, k)."""
        if projected.ndim != 2 or projected.shape[1] != len(self.s):
            raise UserError(
                f"coordinates of shape {projected.shape}: the model has {len(self.s)} components"
            )
        scale = np.where(np.isfinite(self.scale), self.scale, 0)
        rows = self.k.project(np.asarray(projected, np.float32), (self.v * scale).T)
        return self.k.to_host(rows + self.mean)  # type: ignore[no-any-return]

    def log_likelihood(self, features: Any) -> NDArray[np.float64]:
        """Of each row, under probabilistic PCA; (n,).

        Normal with variances along the components, and with their mean along all other
        directions (Tipping and Bishop, J. R. Stat. Soc. B 61, 1999; Bishop, "Pattern Recognition
        and Machine Learning", section 12.2.1).

        Raises
        ------
        UserError
            Where there is a direction without variance: the density is not finite.
        """
        self._require_width(features)
        d, noise, v = self.width, self.noise, self.v.astype(np.float64)
        along = np.maximum(self.variances, noise)
        if not along.all() or (noise == 0 and len(along) < d):
            raise UserError("the rows do not vary in all directions: there is no likelihood")
        # The rest of a row is shared by all directions without a component.
        rest = 1 / noise if len(along) < d else 0.0
        logs = np.log(along).sum() + ((d - len(along)) * np.log(noise) if rest else 0.0)

        def of(rows: slice) -> NDArray[np.float64]:
            x = features[rows]
            dense: NDArray[np.float64] = np.asarray(
                x.toarray() if isinstance(x, Csr) else x, np.float64
            )
            z = dense - self.mean
            p2: NDArray[np.float64] = (z @ v) ** 2
            left = np.maximum((z * z).sum(axis=1) - p2.sum(axis=1), 0)
            distance: NDArray[np.float64] = (p2 / along).sum(axis=1) + left * rest
            found: NDArray[np.float64] = -0.5 * (distance + logs + d * np.log(2 * np.pi))
            return found

        with self.k.blas_single():
            parts: list[NDArray[np.float64]] = self.k.run(of, self.k.chunks(len(features), AT_ONCE))
        return np.concatenate(parts) if parts else np.empty(0)

    def _require_width(self, features: Any) -> None:
        if features.shape[1] != len(self.v):
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {len(self.v)}"
            )

    def check(self) -> None:
        """Raise `UserError` unless the shapes fit."""
        require_array("v", self.v, (None, None))
        if not self.v.size:
            raise UserError("it has no components, or no features")
        require_array("s", self.s, (self.v.shape[1],))
        require_array("mean", self.mean, (self.v.shape[0],))
        require_number("trace", self.trace)
        require_number("n", self.n)
        if not isinstance(self.whiten, bool | None):
            raise UserError("whiten is neither true nor false")
