"""Small models of boosted trees, and their files."""

import json
from functools import lru_cache
from typing import Any

import numpy as np

from smalgos.algorithms.xgboost import exchange
from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.algorithms.xgboost.trees import Trees


def small_trees(categorical: bool = False, count: int = 2, outputs: int = 1) -> Trees:
    """A few trees of two features, by the second of which the first of them splits twice."""
    node = {
        "left": [1, 3, -1, -1, -1], "right": [2, 4, -1, -1, -1], "feature": [1, 0, 0, 0, 0],
        "threshold": [0.5, -0.25, 0, 0, 0], "default_left": [1, 0, 0, 0, 0],
        "value": [0.1, 0.2, 0.3, -0.4, 0.5], "gain": [3, 2, 0, 0, 0], "cover": [9, 6, 3, 4, 2],
    }  # fmt: skip
    arrays: dict[str, Any] = {name: values * count for name, values in node.items()}
    lengths = np.zeros(5 * count, np.int64)
    sets = np.zeros(0, np.uint32)
    if categorical:
        lengths[0], sets = 2, np.array([0b1010, 1], np.uint32)
        arrays["threshold"][0] = 0
    return Trees(
        offsets=np.arange(count + 1) * 5,
        group=np.arange(count) % outputs,
        weight=np.ones(count),
        words=np.concatenate(([0], np.cumsum(lengths))),
        sets=sets,
        **arrays,
    )


def small_models() -> dict[str, BoostedTreesModel]:
    """A model of each kind that files know."""

    def made(objective: str, booster: str = "gbtree", outputs: int = 1, **more: Any) -> Any:
        notes = {"hyperparameters": {"objective": objective}, "attributes": {"a": "b"}}
        given: dict[str, Any] = {"base": np.full(outputs, 0.5, np.float32), "trees": small_trees()}
        given |= {"columns": 2, "objective": objective, "booster": booster} | more
        return BoostedTreesModel(notes=notes, **given)

    linear = np.array([[0.5], [-1.0], [0.25]], np.float32)
    classes = small_trees(count=6, outputs=3)
    named = made("survival:aft")
    named.notes |= {"feature_names": ["a", "é"], "feature_types": ["int", "c"]}
    return {
        "squarederror": made("reg:squarederror", best_iteration=0),
        "onehot": made("binary:logistic", trees=small_trees(categorical=True)),
        "dart": made("count:poisson", "dart"),
        "gblinear": made("reg:tweedie", "gblinear", linear=linear, trees=Trees()),
        "softprob": made("multi:softprob", outputs=3, trees=classes),
        "quantile": made("rank:ndcg", trees=small_trees(count=4), parallel=2),
        "named": named,
    }


@lru_cache
def small_texts() -> dict[str, str]:
    """The JSON of small models."""
    return {name: exchange.encode(m, "json").decode() for name, m in small_models().items()}


def small_documents() -> dict[str, Any]:
    """What the files of small models say."""
    return {name: json.loads(text) for name, text in small_texts().items()}


def seeds() -> list[bytes]:
    """Booster files of both forms."""
    return [exchange.encode(m, form) for m in small_models().values() for form in ("json", "ubj")]
