"""Boosted trees: each round grows trees on the gradients of the loss that the ones before leave.

A row's margin is ``base + sum of leaf values``; with g and h the first and second derivatives of
the loss by it, a leaf that holds rows with sums G and H says ``-eta S(G) / (H + lambda)``, S the
soft threshold at alpha, and the split of a node is the one that takes most from the loss (Chen and
Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016). Values are binned once; gradients
are rounded to integers by chance, so that sums do not depend on the order of rows.

Cost: O(n d log(leaves)) per tree; memory 2 n d bytes for bins and about 30 n for the rest.

Differences from the original: `tree_method` exact and approx run as hist; gradients are rounded
(to 11 bits or more, so that nothing is seen of it); the same data, seed and hyperparameters give
the same bytes for any number of threads.
"""

from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.algorithms.xgboost.parameters import XGBoostParameters
from smalgos.algorithms.xgboost.reading import reading
from smalgos.algorithms.xgboost.selectable import selected
from smalgos.algorithms.xgboost.state import BoostedTreesState
from smalgos.formats.content_type import CSV, LIBSVM
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="xgboost",
    label="XGBoost",
    parameters=XGBoostParameters,
    state=BoostedTreesState,
    model=BoostedTreesModel,
    channels=("train", "[validation]", "[model]"),
    envelope="predictions",
    fields=("score",),
    content_type=LIBSVM,
    reading=reading,
    accept=CSV,
    ends_csv=True,
    bare_batches=True,
    selected=selected,
    file="xgboost-model",
    estimators="boosted_trees",
    summary="boosted trees",
)
