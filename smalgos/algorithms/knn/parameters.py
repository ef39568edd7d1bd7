"""Hyperparameters of K-Nearest Neighbors, as the original spells them."""

from typing import Any

from smalgos.errors import UserError
from smalgos.learning import AUTO, Parameters, param

PLAIN, LISTS, CODED = INDEX_TYPES = ("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ")
METRICS = ("L2", "INNER_PRODUCT", "COSINE")
KINDS = ("classifier", "regressor")
WEIGHTS = ("uniform", "distance")


class KNNParameters(Parameters):
    """Hyperparameters of K-Nearest Neighbors."""

    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    k: int = param(library=5, low=1, tune=(1, 1024), doc="neighbours that are asked")
    predictor_type: str = param(
        wire=True, choices=KINDS,
        doc="classifier: the label most neighbours have; regressor: the mean of their labels",
    )  # fmt: skip
    sample_size: int = param(
        library=AUTO, auto=AUTO, low=1, tune=(256, 20_000_000), scale="log",
        doc="rows that are kept, drawn at random; auto: all of them",
    )  # fmt: skip
    dimension_reduction_type: str | None = param(
        default=None, choices=("sign", "fjlt"),
        doc="random projection to fewer features: by a matrix of signs, or by a fast "
        "Johnson-Lindenstrauss transform",
    )  # fmt: skip
    dimension_reduction_target: int | None = param(
        default=None, low=1, doc="features after the projection, fewer than before"
    )
    index_type: str = param(
        default=PLAIN, choices=INDEX_TYPES,
        doc="faiss.Flat searches exactly; faiss.IVFFlat reads the lists of the nearest centroids; "
        "faiss.IVFPQ reads them as short codes",
    )  # fmt: skip
    index_metric: str = param(
        default="L2", choices=METRICS, doc="what is near: a small distance, or a large product"
    )
    faiss_index_ivf_nlists: int = param(
        default=AUTO, auto=AUTO, low=1,
        doc="lists of faiss.IVFFlat and faiss.IVFPQ; auto: the square root of the sample's size",
    )  # fmt: skip
    faiss_index_pq_m: int | None = param(
        default=None, low=1,
        doc="bytes of a code, which faiss.IVFPQ needs; rows are padded with zeros, or projected to "
        "more features, until it divides their number",
    )  # fmt: skip
    nprobe: int = param(
        default=5, low=1, spelled=("_faiss_index_nprobe",),
        doc="lists that are read for a row; more are, until they hold k points",
    )  # fmt: skip
    weights: str = param(
        default="uniform", choices=WEIGHTS,
        doc="distance: neighbours count by the inverse of their distance",
    )  # fmt: skip
    mini_batch_size: int = param(
        default=5000, wire=lambda spec: 5000, low=1,
        doc="rows per batch; the result does not depend on it",
    )  # fmt: skip

    def cross_check(self) -> None:
        """Check rules between hyperparameters; raise `UserError`."""
        kind, target = self.dimension_reduction_type, self.dimension_reduction_target
        if kind is not None and target is None:
            raise UserError(
                f"dimension_reduction_type={kind}: give dimension_reduction_target, the number of "
                "features to reduce to"
            )
        if target is not None and kind is None:
            raise UserError(
                f"dimension_reduction_target={target}: give dimension_reduction_type, too, sign "
                "or fjlt"
            )
        if self.capacity is not None and self.capacity < self.k:
            raise UserError(f"sample_size={self.sample_size}: must be at least k={self.k}")
        if self.index_type == CODED:
            if self.faiss_index_pq_m is None:
                raise UserError(f"index_type={CODED}: give faiss_index_pq_m, the bytes of a code")
            if self.index_metric != "L2":
                raise UserError(f"index_type={CODED}: index_metric must be L2")
        if self.weights == "distance" and self.index_metric == "INNER_PRODUCT":
            raise UserError(
                "weights=distance: an inner product is no distance; take index_metric L2 or COSINE"
            )

    @property
    def capacity(self) -> int | None:
        """Rows of the sample; None: all."""
        given: Any = self.sample_size
        return None if given == AUTO else int(given)
