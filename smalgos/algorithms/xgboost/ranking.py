"""Ranking: LambdaMART over the rows of queries."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import (
    Floats,
    Groups,
    Kept,
    Objective,
    Options,
    Weights,
)
from smalgos.errors import UserError
from smalgos.kernels import load

KINDS = {"rank:pairwise": "PAIRWISE", "rank:ndcg": "NDCG", "rank:map": "MAP"}
MOST = 31  # greatest label whose gain 2**label - 1 XGBoost takes


class Ranking(Objective):
    """LambdaMART (Burges, 2010), for NDCG, average precision, or pairs alone.

    Without groups all rows are one query. A query has one weight, that of its first row; the
    mean of the weights of queries counts as 1. By default the 32 best rows of a query are paired
    with all below; ``lambdarank_pair_method="mean"`` pairs each row with some drawn by chance,
    by random numbers that belong to the row, the iteration and the seed.
    """

    def __init__(self, name: str, options: Options) -> None:
        super().__init__()
        self.k = load("ranking")
        self.name = name
        method = options.lambdarank_pair_method or "topk"
        if method not in ("topk", "mean"):
            raise UserError(f"lambdarank_pair_method={method}: give topk or mean")
        number = options.lambdarank_num_pair_per_sample
        if number is None:
            number = 32 if method == "topk" else 1
        if int(number) < 1:
            raise UserError(f"lambdarank_num_pair_per_sample={number}: must be at least 1")
        self.exponential = bool(options.number("ndcg_exp_gain", 1))
        self.pairs = self.k.Pairs(
            kind=getattr(self.k, KINDS[name]),
            mean=method == "mean",
            number=int(number),
            by_difference=bool(options.number("lambdarank_score_normalization", 1)),
            normalize=bool(options.number("lambdarank_normalization", 1)),
        )
        self.metric = "map" if name == "rank:map" else "ndcg"
        if method == "topk":
            self.metric += f"@{int(number)}"
        self._queries = Kept(self._prepared)

    def _good(self, labels: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
        if self.name == "rank:map":
            return (labels == 0) | (labels == 1), "labels 0 and 1"
        if self.name == "rank:pairwise":
            return np.ones(len(labels), np.bool_), "any number"
        if not self.exponential:
            return labels >= 0, "labels of at least 0"
        good = (labels >= 0) & (labels <= MOST) & (labels == np.floor(labels))
        return good, f"whole numbers from 0 to {MOST}; others with ndcg_exp_gain=0"

    def _prepared(self, labels: NDArray[Any], groups: Groups) -> Any:
        gain = np.asarray(labels, np.float64)
        if self.name == "rank:ndcg" and self.exponential:
            gain = np.exp2(gain) - 1
        return self.k.queries(labels, groups, gain)

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return 0.0

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """Those of LambdaMART; labels and groups are taken to stay as they are."""
        self.k.lambda_gradients(
            self.pairs, margin[0], labels, weights, self._queries(labels, groups), g[0], h[0],
            seed, iteration,
        )  # fmt: skip
