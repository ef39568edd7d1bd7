"""Hyperparameters of K-Means, as the original spells them."""

from typing import Any

from smalgos.learning import Parameters, param

FACTOR = 10  # what the original's logs say that auto stands for
STARTS = 10
MANY = 1000  # starts times clusters, beyond which starts hardly differ and take long


def _starts(p: Any, spec: Any) -> int:
    # All rows take longer than K centres do, and one start by kmeans++ on them is a good one.
    return max(1, min(STARTS, MANY // p.k)) if p.solver == "webscale" else 1


class KMeansParameters(Parameters):
    """Hyperparameters of K-Means."""

    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    k: int = param(library=8, low=1, doc="number of clusters")
    solver: str = param(
        default="webscale", choices=("webscale", "lloyd"),
        doc="webscale learns from a stream in bounded memory, lloyd iterates over all rows",
    )  # fmt: skip
    mini_batch_size: int = param(
        default=5000, low=1, tune=(3000, 15000),
        doc="rows per step of the stream, and rows from which initial centres are chosen",
    )  # fmt: skip
    epochs: int = param(default=1, low=1, tune=(1, 10), doc="passes over the stream")
    init_method: str = param(
        default="random", choices=("random", "kmeans++"), tune=("random", "kmeans++"),
        doc="how the stream's initial centres are chosen among the first rows",
    )  # fmt: skip
    extra_center_factor: int = param(
        default="auto", auto=FACTOR, low=1, tune=(4, 10),
        doc=f"the stream is followed by k times as many centres; auto: {FACTOR}",
    )  # fmt: skip
    half_life_time_size: int = param(
        default=0, low=0, doc="rows after which a row counts half; 0: all count alike"
    )
    local_lloyd_init_method: str = param(
        default="kmeans++", choices=("random", "kmeans++"), doc="how Lloyd's iterations start"
    )
    local_lloyd_max_iter: int = param(default=300, low=1, doc="most iterations of Lloyd's")
    local_lloyd_num_trials: int = param(
        default="auto", auto=_starts, low=1,
        doc=f"starts of Lloyd's iterations, the best is kept; auto: {STARTS}, with more than "
        f"{MANY // STARTS} clusters {MANY} / k; for solver=lloyd 1",
    )  # fmt: skip
    local_lloyd_tol: float = param(
        default=1e-4, low=0, high=1, doc="share of the loss that an iteration must gain to go on"
    )
    eval_metrics: list[str] = param(
        default=["msd"], choices=("msd", "ssd"), wire=lambda spec: ["msd"],
        doc="what is told of test rows: mean or sum of squared distances",
    )  # fmt: skip
    shuffle: bool = param(
        default=False, library=True,
        doc="choose initial centres among rows from all over the data, not among its first ones",
    )  # fmt: skip
    force_dense: bool = param(
        default=True, wire=lambda spec: True, doc="ignored: sparse rows stay sparse"
    )
